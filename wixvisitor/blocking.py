"""Visitors for code that is not async: scripts, Flask, Streamlit, Lambda.

The classes have the names, arguments and promises of the async ones, without ``await``. All calls of a process run in
one event loop in a background thread, so a thousand threads share one renewal as a thousand tasks do::

    with BlockingVisitorSession("your-client-id") as visitor:
        cart = visitor.get("/ecom/v1/carts/current").json()

The thread starts at the first call. It ends when everything is closed, or with the process: a script may end without
closing anything. A forked child makes its own thread and connections.

Concurrency: everything here may be shared between threads.
Cancellation: Ctrl-C cancels the waiting call; the visitor is unchanged.
Raises: what the async methods raise, and ``RuntimeError`` if the calling thread runs an event loop.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import ParamSpec, Self, TypedDict, TypeVar, Unpack

from wixvisitor._auth import VisitorAuth
from wixvisitor._blocking_proxy import BlockingProxy, CallingProxy, ClosableProxy, blocking
from wixvisitor._http.arguments import AnyClient, ClientMaker
from wixvisitor._pool import VisitorPool
from wixvisitor._renewal.changes import Event, Policy, TokensChanged
from wixvisitor._session import VisitorSession
from wixvisitor._tasks.background_loop import Call, background
from wixvisitor._tokens import Tokens
from wixvisitor._wire.token_endpoint import TokenAnswer, Verdict
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
    clock: Callable[[], float] | None
    max_retries: int
    is_refusal: Callable[[TokenAnswer], bool] | None


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


class BlockingMembers(BlockingProxy[Members]):
    """``session.members`` without ``await``."""

    __slots__ = ()

    start_login = blocking(Members.start_login)
    finish_login = blocking(Members.finish_login)
    login = blocking(Members.login)
    register = blocking(Members.register)
    verify = blocking(Members.verify)
    complete = blocking(Members.complete)
    send_password_reset = blocking(Members.send_password_reset)
    logout = blocking(Members.logout)
    login_external = blocking(Members.login_external)


class BlockingRedirects(BlockingProxy[Redirects]):
    """``session.redirects`` without ``await``."""

    __slots__ = ()
    create = blocking(Redirects.create)


class BlockingCheckout(BlockingProxy[Checkout]):
    """``session.checkout`` without ``await``."""

    __slots__ = ()
    url = blocking(Checkout.url)


class BlockingVisitorSession(CallingProxy[VisitorSession], ClosableProxy[VisitorSession]):
    """One Wix visitor, for code that is not async. Its arguments and methods are those of ``VisitorSession``.

    Use it with ``with``, or call ``close()`` at the end. A closed session can be used again.

    Raises:
        ConfigurationError: an argument is wrong.

    Concurrency: thread-safe; share it between threads.
    """

    __slots__ = ()

    def __init__(self, client_id: str, **arguments: Unpack[SessionArguments]) -> None:
        inner = VisitorSession(client_id, **arguments)
        super().__init__(inner, inner)

    @classmethod
    def _of_pool(cls, inner: VisitorSession, pool: object) -> Self:
        session = cls.__new__(cls)
        BlockingProxy.__init__(session, inner, pool)
        return session

    _load = blocking(VisitorSession.__aenter__)

    def __enter__(self) -> Self:
        """Reads the storage; mints no visitor. Raises ``StorageError`` if it cannot be read."""
        self._load()
        return self

    def close(self) -> None:
        """As ``VisitorSession.aclose``; the pool closes its own sessions. May be called twice."""
        if self._owner is self._inner:
            super().close()

    generate_visitor_tokens = blocking(VisitorSession.generate_visitor_tokens)
    set_tokens = blocking(VisitorSession.set_tokens)
    renew_token = blocking(VisitorSession.renew_token)
    auth_headers = blocking(VisitorSession.auth_headers)
    request = blocking(VisitorSession.request)
    get = blocking(VisitorSession.get)
    head = blocking(VisitorSession.head)
    options = blocking(VisitorSession.options)
    post = blocking(VisitorSession.post)
    put = blocking(VisitorSession.put)
    patch = blocking(VisitorSession.patch)
    delete = blocking(VisitorSession.delete)
    graphql = blocking(VisitorSession.graphql)

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
    def max_retries(self) -> int:
        """How often a reading call of ``wixvisitor.apis`` is sent again."""
        return self._inner.max_retries

    @property
    def auth(self) -> VisitorAuth:
        """As ``VisitorSession.auth``: for async clients, which run in an event loop of their own."""
        return self._inner.auth

    @property
    def members(self) -> BlockingMembers:
        """Logins, registrations and logouts of this visitor."""
        return BlockingMembers(self._inner.members, self._owner)

    @property
    def redirects(self) -> BlockingRedirects:
        """Addresses of Wix's own pages."""
        return BlockingRedirects(self._inner.redirects, self._owner)

    @property
    def checkout(self) -> BlockingCheckout:
        """The checkout of this visitor's cart."""
        return BlockingCheckout(self._inner.checkout, self._owner)


class BlockingVisitorPool(ClosableProxy[VisitorPool]):
    """Many visitors of one site, for code that is not async. Its arguments and methods are those of ``VisitorPool``.

    Use it with ``with``, or call ``close()`` at the end.

    Raises:
        ConfigurationError: an argument is wrong.

    Concurrency: thread-safe; share it between threads.
    """

    __slots__ = ()

    def __init__(self, client_id: str, **arguments: Unpack[PoolArguments]) -> None:
        inner = _Pool(client_id, **arguments)
        super().__init__(inner, inner)

    _open = blocking(VisitorPool.__aenter__)
    _session = blocking(VisitorPool.session)

    def __enter__(self) -> Self:
        self._owner.is_closed = False
        self._open()
        return self

    def close(self) -> None:
        """As ``VisitorPool.aclose``. May be called twice."""
        self._owner.is_closed = True
        super().close()

    def session(self, key: str) -> BlockingVisitorSession:
        """As ``VisitorPool.session``: equal keys lead to the same visitor."""
        return BlockingVisitorSession._of_pool(self._session(key), self._owner)

    forget = blocking(VisitorPool.forget)
    status = blocking(VisitorPool.status)


def run(function: Callable[P, Awaitable[R]], /, *arguments: P.args, **options: P.kwargs) -> R:
    """Runs an async function in the background loop, for example ``run(storage.aclose)``. Returns its result.

    Args:
        function: an async function.
        arguments: its arguments.
        options: its keyword arguments.

    Raises: what the function raises; ``RuntimeError`` if this thread runs an event loop.
    """
    return background.run(None, Call(functools.partial(function, *arguments, **options)))
