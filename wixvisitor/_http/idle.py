"""The connections of our own client, and the collection of the idle ones."""

from __future__ import annotations

import select
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import httpcore

KEEP: Final = 5.0  # seconds that an idle connection is kept; httpx's default

Origin = tuple[bytes, bytes, int | None]


class PooledConnection:
    """A connection of httpcore's, with its origin, its idle time and its socket's state.

    Attributes:
        idle_since: when its last request ended, by ``time.monotonic``.
    """

    __slots__ = ("_is_readable", "_opened", "connection", "idle_since", "origin")

    def __init__(self, connection: httpcore.AsyncConnectionInterface, origin: Origin) -> None:
        self.connection, self.origin = connection, origin
        self.idle_since = 0.0
        self._is_readable: Callable[[], object] | None = None
        self._opened: httpcore.AsyncNetworkStream | None = None

    def watch_opening(self, request: httpcore.Request) -> None:
        """Remembers the socket during the TLS handshake: httpcore does not close it if the handshake is cancelled."""
        theirs = request.extensions.get("trace")

        async def trace(event: str, info: dict[str, Any]) -> None:
            if event == "connection.connect_tcp.complete":
                self._opened = info["return_value"]
            if theirs is not None:
                await theirs(event, info)

        request.extensions = {**request.extensions, "trace": trace}

    def note_answer(self, response: httpcore.Response) -> None:
        """Notes that the connection is established. From now on its socket tells whether the server has closed it."""
        if self._is_readable is None:
            self._opened = None
            self._is_readable = _readiness_of(response.extensions.get("network_stream")) or self.connection.has_expired

    def is_usable(self) -> bool:
        """Whether another request may be sent: it is idle, not for too long, and the server has not closed it."""
        is_young = time.monotonic() - self.idle_since < KEEP
        return is_young and self.connection.is_idle() and not (self._is_readable and self._is_readable())

    def closing(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        """Returns the functions that close the connection; none if it is closed already."""
        functions = () if self.connection.is_closed() else (self.connection.aclose,)
        return functions if self._opened is None else (*functions, self._opened.aclose)


def _readiness_of(stream: Any) -> Callable[[], object] | None:
    """Returns a function that tells whether the socket is readable. An idle one is if the server has closed it.

    httpcore's own ``has_expired`` checks the same and takes five times as long.
    """
    sock = None if stream is None else stream.get_extra_info("socket")
    if sock is not None and sys.platform != "win32" and hasattr(select, "poll"):  # old versions of macOS lack it, too
        poll = select.poll()
        poll.register(sock.fileno(), select.POLLIN)
        return lambda: poll.poll(0)
    return None


class Idle:
    """The idle connections. A request gets the last used one; the first used one is closed first. Each step is O(1)."""

    __slots__ = ("_all", "_by_origin")

    def __init__(self) -> None:
        self._all: OrderedDict[PooledConnection, None] = OrderedDict()  # in the order of ``idle_since``
        self._by_origin: dict[Origin, deque[PooledConnection]] = {}

    def put(self, pooled: PooledConnection) -> None:
        """Adds a connection that is idle from now on."""
        pooled.idle_since = time.monotonic()
        self._all[pooled] = None
        self._by_origin.setdefault(pooled.origin, deque()).append(pooled)

    def take(self, origin: Origin) -> PooledConnection | None:
        """Removes and returns the connection to this origin that was used last; None if there is none."""
        those = self._by_origin.get(origin)
        if not those:
            return None
        pooled = those.pop()
        self._remove(pooled, those)
        return pooled

    def take_oldest(self, *, than: float | None = None) -> PooledConnection | None:
        """Removes and returns the connection that has been idle longest.

        Args:
            than: if given, a time by ``time.monotonic``: returns None unless the connection is too old at that time.
        """
        oldest = next(iter(self._all), None)
        if oldest is None or (than is not None and than - oldest.idle_since < KEEP):
            return None
        those = self._by_origin[oldest.origin]
        those.popleft()  # the connection that is idle longest of all is also the first of its origin
        self._remove(oldest, those)
        return oldest

    def _remove(self, pooled: PooledConnection, those: deque[PooledConnection]) -> None:
        del self._all[pooled]
        if not those:
            del self._by_origin[pooled.origin]
