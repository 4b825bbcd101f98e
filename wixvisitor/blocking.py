"""Visitors for code that is not async: scripts, Flask, Streamlit, Lambda.

The classes have the names, arguments and promises of the async ones, without ``await``. All calls of a process run in
one event loop in a background thread, so a thousand threads share one renewal as a thousand tasks do::

    with BlockingVisitorSession("your-client-id") as visitor:
        cart = visitor.get("/ecom/v1/carts/current").json()

The thread starts at the first call. It ends when everything is closed, or with the process: a script may end without
closing anything. A forked child makes its own thread and connections.

Concurrency: everything here may be shared between threads.
Errors: those of the async methods, and ``RuntimeError`` where a thread runs an event loop: use the async classes there.
An interrupt (Ctrl-C) cancels the call, which leaves what a cancellation leaves: the visitor is never harmed.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypedDict, TypeVar, Unpack

import httpx

from wixvisitor._auth import VisitorAuth
from wixvisitor._http.arguments import AnyClient, ClientMaker, RequestArguments, URLTypes
from wixvisitor._http.sync_response import read_in_loop
from wixvisitor._pool import VisitorPool
from wixvisitor._renewal.changes import Event, Policy, TokensChanged
from wixvisitor._session import VisitorSession
from wixvisitor._tasks.background_loop import Call, background
from wixvisitor._tokens import Tokens
from wixvisitor._wire.token_endpoint import TokenAnswer, Verdict
from wixvisitor.errors import ConfigurationError
from wixvisitor.members import Checkout, Members, Redirects
from wixvisitor.storage import TokenStorage

__all__ = [
    "BlockingCheckout",
    "BlockingMembers",
    "BlockingRedirects",
    "BlockingVisitorPool",
    "BlockingVisitorSession",
    "run",
]

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A")


class _SharedArguments(TypedDict, total=False):
    storage: TokenStorage | None
    client: AnyClient | ClientMaker | None
    base_url: str | None
    allowed_origins: Sequence[str]
    renew_before: float
    on_refused: Policy
    on_change: Callable[[TokensChanged], object] | None
    on_event: Callable[[Event], None] | None
    renew_timeout: float
    judge_refusal: Callable[[TokenAnswer], Verdict] | None
    is_refusal: Callable[[TokenAnswer], bool] | None
    clock: Callable[[], float] | None


class SessionArguments(_SharedArguments, total=False):
    """The optional arguments of ``VisitorSession``, which has their defaults and says what they are."""

    tokens: Tokens | None
    key: str


class PoolArguments(_SharedArguments, total=False):
    """The optional arguments of ``VisitorPool``, which has their defaults and says what they are."""

    max_token_requests: int
    new_visitors_per_minute: int | None


class _Pool(VisitorPool):
    is_closed = False  # in every event loop, for its sessions as well


class _Blocking(Generic[A]):
    """An async object whose methods are called in the background loop."""

    __slots__ = ("__weakref__", "_inner", "_user")

    def __init__(self, inner: A, user: Any) -> None:
        self._inner, self._user = inner, user

    def _run(self, work: Call[R]) -> R:
        if getattr(self._user, "is_closed", False):
            raise ConfigurationError("This BlockingVisitorPool is closed. Enter it again, or make another one.")
        return background.run(self._user, work)

    def __repr__(self) -> str:
        return f"<blocking {self._inner!r}>"


def _blocking(method: Callable[Concatenate[Any, P], Awaitable[R]]) -> Callable[Concatenate[_Blocking[Any], P], R]:
    """Returns an async method as a plain one, with the same arguments and documentation."""

    @functools.wraps(method)
    def call(self: _Blocking[Any], /, *arguments: Any, **options: Any) -> R:
        work = Call(functools.partial(method, self._inner, *arguments, **options))
        del arguments, options  # error reporters print local variables
        return self._run(work)

    return call


class BlockingMembers(_Blocking[Members]):
    """``session.members`` without ``await``."""

    __slots__ = ()

    start_login = _blocking(Members.start_login)
    finish_login = _blocking(Members.finish_login)
    login = _blocking(Members.login)
    register = _blocking(Members.register)
    verify = _blocking(Members.verify)
    complete = _blocking(Members.complete)
    send_password_reset = _blocking(Members.send_password_reset)
    logout = _blocking(Members.logout)
    login_external = _blocking(Members.login_external)


class BlockingRedirects(_Blocking[Redirects]):
    """``session.redirects`` without ``await``."""

    __slots__ = ()
    create = _blocking(Redirects.create)


class BlockingCheckout(_Blocking[Checkout]):
    """``session.checkout`` without ``await``."""

    __slots__ = ()
    url = _blocking(Checkout.url)


class _Closed(_Blocking[A]):
    __slots__ = ()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes it. May be called twice."""
        background.close(self._user)


class BlockingVisitorSession(_Closed[VisitorSession]):
    """One Wix visitor, for code that is not async. Its arguments and methods are those of ``VisitorSession``.

    Use it with ``with``, or call ``close()`` at the end. A closed session can be used again.
    Raises ``ConfigurationError`` if an argument is wrong.
    """

    __slots__ = ()

    def __init__(self, client_id: str, **arguments: Unpack[SessionArguments]) -> None:
        inner = VisitorSession(client_id, **arguments)
        super().__init__(inner, inner)

    @classmethod
    def _of_pool(cls, inner: VisitorSession, pool: object) -> Self:
        session = cls.__new__(cls)
        _Blocking.__init__(session, inner, pool)
        return session

    _load = _blocking(VisitorSession.__aenter__)

    def __enter__(self) -> Self:
        """Reads the storage; mints no visitor. Raises ``StorageError`` if it cannot be read."""
        self._load()
        return self

    def close(self) -> None:
        """As ``VisitorSession.aclose``; the pool closes its own sessions. May be called twice."""
        if self._user is self._inner:
            super().close()

    generate_visitor_tokens = _blocking(VisitorSession.generate_visitor_tokens)
    set_tokens = _blocking(VisitorSession.set_tokens)
    renew_token = _blocking(VisitorSession.renew_token)
    auth_headers = _blocking(VisitorSession.auth_headers)
    request = _blocking(VisitorSession.request)
    get = _blocking(VisitorSession.get)
    head = _blocking(VisitorSession.head)
    options = _blocking(VisitorSession.options)
    post = _blocking(VisitorSession.post)
    put = _blocking(VisitorSession.put)
    patch = _blocking(VisitorSession.patch)
    delete = _blocking(VisitorSession.delete)
    graphql = _blocking(VisitorSession.graphql)

    def get_tokens(self) -> Tokens:
        """As ``VisitorSession.get_tokens``."""
        return self._inner.get_tokens()

    def logged_in(self) -> bool:
        """As ``VisitorSession.logged_in``."""
        return self._inner.logged_in()

    @property
    def client_id(self) -> str:
        """The site's client ID."""
        return self._inner.client_id

    @property
    def key(self) -> str:
        """The key of this visitor's record in the storage."""
        return self._inner.key

    @property
    def auth(self) -> VisitorAuth:
        """As ``VisitorSession.auth``: for async clients, which run in an event loop of their own."""
        return self._inner.auth

    @property
    def members(self) -> BlockingMembers:
        """Logins, registrations and logouts of this visitor."""
        return BlockingMembers(self._inner.members, self._user)

    @property
    def redirects(self) -> BlockingRedirects:
        """Addresses of Wix's own pages."""
        return BlockingRedirects(self._inner.redirects, self._user)

    @property
    def checkout(self) -> BlockingCheckout:
        """The checkout of this visitor's cart."""
        return BlockingCheckout(self._inner.checkout, self._user)

    @contextmanager
    def stream(self, method: str, url: URLTypes, **arguments: Unpack[RequestArguments]) -> Iterator[httpx.Response]:
        """``with visitor.stream("GET", …) as response``: the body is read as it comes, with ``iter_bytes`` and so on.

        Raises: as ``request``.
        """
        opening = self._inner.stream(method, url, **arguments)
        del arguments  # error reporters print local variables
        with background.entered(self._user, opening) as response:
            yield read_in_loop(response, self._run)

    def call(
        self,
        function: Callable[Concatenate[VisitorSession, P], Awaitable[R]],
        /,
        *arguments: P.args,
        **options: P.kwargs,
    ) -> R:
        """Runs an async function in the background loop, with the async session as its first argument.

        For example ``visitor.call(my_function, "apples", number=3)``. Raises what the function raises. The function
        must not call this blocking session: it uses the async one that it gets.
        """
        return self._run(Call(functools.partial(function, self._inner, *arguments, **options)))


class BlockingVisitorPool(_Closed[VisitorPool]):
    """Many visitors of one site, for code that is not async. Its arguments and methods are those of ``VisitorPool``.

    Use it with ``with``, or call ``close()`` at the end.
    Raises ``ConfigurationError`` if an argument is wrong.
    """

    __slots__ = ()

    def __init__(self, client_id: str, **arguments: Unpack[PoolArguments]) -> None:
        inner = _Pool(client_id, **arguments)
        super().__init__(inner, inner)

    _open = _blocking(VisitorPool.__aenter__)
    _session = _blocking(VisitorPool.session)

    def __enter__(self) -> Self:
        self._user.is_closed = False
        self._open()
        return self

    def close(self) -> None:
        """As ``VisitorPool.aclose``. May be called twice."""
        self._user.is_closed = True
        super().close()

    def session(self, key: str) -> BlockingVisitorSession:
        """As ``VisitorPool.session``: equal keys lead to the same visitor."""
        return BlockingVisitorSession._of_pool(self._session(key), self._user)

    forget = _blocking(VisitorPool.forget)
    status = _blocking(VisitorPool.status)


def run(function: Callable[P, Awaitable[R]], /, *arguments: P.args, **options: P.kwargs) -> R:
    """Runs an async function in the background loop, for example ``run(storage.aclose)``; raises what it raises."""
    return background.run(None, Call(functools.partial(function, *arguments, **options)))
