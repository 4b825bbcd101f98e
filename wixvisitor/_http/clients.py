"""Where requests go out: the caller's client, or one of our own per event loop."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import httpx

from wixvisitor._http import internals
from wixvisitor._http.arguments import AnyClient, ClientMaker
from wixvisitor._http.compat import family_of
from wixvisitor._http.isolation import Ways
from wixvisitor._http.requests import RequestBuilder
from wixvisitor._tasks import shared_task
from wixvisitor._tasks.locks import forkable_lock
from wixvisitor.errors import ConfigurationError


class Connection(NamedTuple):
    """A client, the view of it that sends without storing cookies, the module of both, and what builds requests.

    ``ways`` are the transports that our requests take.
    """

    client: Any
    view: Any
    family: ModuleType
    builder: RequestBuilder
    ways: Ways


class Connections:
    """Gives the connection for the running event loop.

    Args:
        client: the caller's, never closed here; or a function that makes one, called once in each event loop, since a
            client cannot live longer than the loop it was first used in; None: httpx's, with timeouts of ours.
        may_see: whether the token may go to a URL, also when a redirect leads there.

    Raises:
        ConfigurationError: it is none of these.

    Concurrency: safe from many tasks and threads.
    """

    __slots__ = ("_closed_in", "_given", "_lock", "_make", "_may_see", "_own")

    def __init__(
        self, client: AnyClient | ClientMaker | None, may_see: Callable[[Any], bool] = lambda _: False
    ) -> None:
        is_made_here = client is None or (callable(client) and not isinstance(client, httpx.AsyncClient))
        self._make: Callable[[], Any] = _httpx_client if client is None else client  # type: ignore[assignment]
        self._may_see = may_see
        self._given = None if is_made_here else _connection(client, may_see)
        self._own: dict[object, Connection] = {}
        self._closed_in: tuple[object, ...] = ()  # event loops
        self._lock = forkable_lock()

    def current(self) -> Connection:
        """Returns the connection; opens our own client if need be.

        Raises:
            ConfigurationError: see ``check_open``.
        """
        if self._closed_in:
            self.check_open()
        if self._given is not None:
            return self._given
        loop = shared_task.current_loop()
        return self._own.get(loop) or self._open(loop)

    def _open(self, loop: object) -> Connection:
        with self._lock:
            for old in [old for old in self._own if shared_task.has_ended(old)]:
                del self._own[old]
            return self._own.get(loop) or self._own.setdefault(loop, _connection(self._made(), self._may_see))

    def _made(self) -> Any:
        try:
            return self._make()
        except OSError as error:  # the certificates cannot be read, for instance because no descriptor is left
            raise httpx.ConnectError(f"no client could be made: {error}") from error
        except Exception as error:  # httpx says ValueError, ImportError or InvalidURL, and quotes what it was given
            from wixvisitor._http.proxies import complaint  # noqa: PLC0415 - needed once something is wrong

            names = {kind.__name__ for kind in type(error).__mro__}
            if names.isdisjoint({"ValueError", "ImportError", "InvalidURL"}) or (reason := complaint()) is None:
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
        self.open()
        self._closed_in += (shared_task.current_loop(),)

    def open(self) -> None:
        """Takes ``close`` back, and forgets event loops that have ended."""
        loop = shared_task.current_loop()
        self._closed_in = tuple(one for one in self._closed_in if one is not loop and not shared_task.has_ended(one))

    async def aclose(self) -> None:
        """Closes the running loop's client of our own. The next use opens another, unless ``close`` was called."""
        own = self._own.pop(shared_task.current_loop(), None)
        if own is not None:
            await own.client.aclose()


def _httpx_client() -> httpx.AsyncClient:
    from wixvisitor._http.own_client import own_client  # noqa: PLC0415 - needs httpcore, which a caller's client may not

    return own_client()


def _connection(client: Any, may_see: Callable[[Any], bool]) -> Connection:
    family = family_of(client)
    ways = Ways(family)
    view = internals.view_of(client, family, ways, may_see)
    builder = RequestBuilder(
        client, view, family, sending=internals.SENDING, lead_through=internals.lead_marked_through
    )
    return Connection(client, view, family, builder, ways)
