"""Where requests go out: the caller's client, or one of our own per event loop."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx

from wixvisitor._http import internals
from wixvisitor._http.compat import family_of
from wixvisitor._http.isolation import Transports
from wixvisitor._http.requests import RequestBuilder
from wixvisitor._tasks import shared_task
from wixvisitor._tasks.locks import fork_safe_lock
from wixvisitor.errors import ConfigurationError

if TYPE_CHECKING:
    import httpx2

    AnyClient = httpx.AsyncClient | httpx2.AsyncClient


class Connection(NamedTuple):
    """A client, the view of it that sends without storing cookies, the module of both, and what builds requests.

    ``transports`` are the transports that our requests take.
    """

    client: Any
    view: Any
    family: ModuleType
    builder: RequestBuilder
    transports: Transports


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

    __slots__ = ("_callers_connection", "_lock", "_make", "_may_see", "_own_by_loop")

    def __init__(
        self, client: AnyClient | Callable[[], AnyClient] | None, may_see: Callable[[Any], bool] = lambda _: False
    ) -> None:
        is_made_here = client is None or (callable(client) and not isinstance(client, httpx.AsyncClient))
        self._make: Callable[[], Any] = _httpx_client if client is None else client  # type: ignore[assignment]
        self._may_see = may_see
        self._callers_connection = None if is_made_here else _connection(client, may_see)
        self._own_by_loop: dict[object, Connection] = {}
        self._lock = fork_safe_lock()

    def current(self) -> Connection:
        """Returns the connection; opens our own client if need be."""
        if self._callers_connection is not None:
            return self._callers_connection
        loop = shared_task.current_loop()
        return self._own_by_loop.get(loop) or self._open(loop)

    def _open(self, loop: object) -> Connection:
        with self._lock:
            for old in [old for old in self._own_by_loop if shared_task.has_ended(old)]:
                del self._own_by_loop[old]
            return self._own_by_loop.get(loop) or self._own_by_loop.setdefault(
                loop, _connection(self._made(), self._may_see)
            )

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

    async def aclose(self) -> None:
        """Closes the running loop's client of our own. The next use opens another."""
        own = self._own_by_loop.pop(shared_task.current_loop(), None)
        if own is not None:
            await own.client.aclose()


def _httpx_client() -> httpx.AsyncClient:
    from wixvisitor._http.own_client import own_client  # noqa: PLC0415 - needs httpcore, which a caller's client may not

    return own_client()


def _connection(client: Any, may_see: Callable[[Any], bool]) -> Connection:
    family = family_of(client)
    transports = Transports(family)
    view = internals.view_of(client, family, transports, may_see)
    builder = RequestBuilder(
        client, view, family, send_methods=internals.SEND_METHODS, route_marked=internals.route_marked_requests
    )
    return Connection(client, view, family, builder, transports)
