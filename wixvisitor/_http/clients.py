"""The client that sends requests: the caller's, or one of our own for each event loop."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable
from types import ModuleType
from typing import Any, NamedTuple

import httpx

from wixvisitor._http import internals
from wixvisitor._http.arguments import AnyClient, ClientMaker
from wixvisitor._http.compat import family_of, is_client, is_mock
from wixvisitor._http.isolation import Transports
from wixvisitor._http.loop_end import close, owner_of
from wixvisitor._http.requests import RequestBuilder
from wixvisitor._tasks import shared_task
from wixvisitor._tasks.locks import fork_safe_lock
from wixvisitor.errors import ConfigurationError


class Connection(NamedTuple):
    """A client and what is needed to send requests through it.

    Attributes:
        client: the client, of httpx or httpx2.
        view: the view of the client that sends without storing cookies.
        family: the module of both: httpx or httpx2.
        builder: builds the requests.
        transports: chooses the transport of each request.
        owner: closes the client at the end of its event loop; None if it is the caller's client.
    """

    client: Any
    view: Any
    family: ModuleType
    builder: RequestBuilder
    transports: Transports
    owner: AsyncGenerator[None] | None = None


class Connections:
    """Provides the connection for the running event loop.

    Args:
        client: the caller's client, which is never closed here. Or a function that makes a client: it is called once
            in each event loop, since a client cannot be used after the loop of its first use has ended. None makes an
            ``httpx.AsyncClient`` with our timeouts.
        may_see: returns whether the token may be sent to a URL, also after a redirect.
        check: called with each client that the function has made; raises if it does not fit.

    Raises:
        ConfigurationError: ``client`` is none of these.

    Concurrency: safe from many tasks and threads.
    """

    __slots__ = ("_callers_connection", "_check", "_closed_in", "_lock", "_make", "_may_see", "_own_by_loop")

    def __init__(
        self,
        client: AnyClient | ClientMaker | None,
        may_see: Callable[[Any], bool] = lambda _: False,
        check: Callable[[Any], None] = lambda _: None,
    ) -> None:
        is_made_here = client is None or (callable(client) and not is_client(client))
        if is_made_here and inspect.iscoroutinefunction(client) and not is_mock(client):
            raise ConfigurationError("client: expected a client, or a plain function; it is called, not awaited")
        self._make: Callable[[], Any] = _httpx_client if client is None else client  # type: ignore[assignment]
        self._may_see, self._check = may_see, check
        self._callers_connection = None if is_made_here else _connection(client, may_see)
        self._own_by_loop: dict[object, Connection] = {}
        self._closed_in: tuple[object, ...] = ()  # event loops
        self._lock = fork_safe_lock()

    def current(self) -> Connection:
        """Returns the connection; opens our own client if need be.

        Raises:
            ConfigurationError: see ``check_open``.
        """
        if self._closed_in:
            self.check_open()
        if self._callers_connection is not None:
            return self._callers_connection
        loop = shared_task.current_loop()
        return self._own_by_loop.get(loop) or self._open(loop)

    def _open(self, loop: object) -> Connection:
        with self._lock:
            for old in [old for old in self._own_by_loop if shared_task.has_ended(old)]:
                del self._own_by_loop[old]
            found = self._own_by_loop.get(loop)
            if found is None:
                made = _connection(self._made(), self._may_see)
                found = self._own_by_loop[loop] = made._replace(owner=owner_of(made.client, loop))
            return found

    def _made(self) -> Any:
        client = self._make_client()
        self._check(client)
        return client

    def _make_client(self) -> Any:
        try:
            return self._make()
        except OSError as error:  # the certificates cannot be read, for example because no file descriptor is left
            raise httpx.ConnectError(f"the HTTP client could not be created: {error}") from error
        except Exception as error:  # a wrong proxy variable; httpx's message quotes it, and it may hold a password
            from wixvisitor._http.proxies import environment_error  # noqa: PLC0415 - needed only after an error

            names = {kind.__name__ for kind in type(error).__mro__}
            if names.isdisjoint({"ValueError", "ImportError", "InvalidURL"}) or (reason := environment_error()) is None:
                raise
            raise ConfigurationError(reason) from None

    def check_open(self) -> None:
        """Returns if requests may go out.

        Raises:
            ConfigurationError: ``close`` was called in this event loop.
        """
        if self._closed_in and shared_task.current_loop() in self._closed_in:
            raise ConfigurationError(
                "This VisitorPool is closed. Make another one, or enter it again: async with pool: …"
            )

    def close(self) -> None:
        """Lets nothing go out in this event loop, until ``open`` is called. Another event loop is as it was."""
        self._note_loop(is_closed=True)

    def open(self) -> None:
        """Takes ``close`` back, and forgets event loops that have ended."""
        self._note_loop(is_closed=False)

    def _note_loop(self, *, is_closed: bool) -> None:
        loop = shared_task.current_loop()
        with self._lock:
            others = (one for one in self._closed_in if one is not loop and not shared_task.has_ended(one))
            self._closed_in = (*others, loop) if is_closed else tuple(others)

    async def aclose(self) -> None:
        """Closes the running loop's client of our own. The next use opens another, unless ``close`` was called."""
        own = self._own_by_loop.pop(shared_task.current_loop(), None)
        if own is not None:
            await close(own.client, own.owner)


def _httpx_client() -> httpx.AsyncClient:
    from wixvisitor._http.own_client import own_client  # noqa: PLC0415 - imports httpcore; a caller's client may not

    return own_client()


def _connection(client: Any, may_see: Callable[[Any], bool]) -> Connection:
    family = family_of(client)
    transports = Transports(family)
    view = internals.view_of(client, family, transports, may_see)
    builder = RequestBuilder(
        client, view, family, send_methods=internals.SEND_METHODS, route_marked=internals.route_marked_requests
    )
    return Connection(client, view, family, builder, transports)
