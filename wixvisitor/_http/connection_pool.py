"""The connection pool of our own client: a connection belongs to one request at a time.

It stands where httpcore's own pool stands, below ``httpx.AsyncHTTPTransport``, and lets that pool make the connections.
What differs: nothing looks through all connections for a request, and only a response that was read to its end gives
its connection back. Every other end (error, deadline, cancellation, a response left early) throws it away, so that no
end can leave a connection that no request uses (encode/httpcore#1093).
"""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterator
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from wixvisitor._http.idle import Idle, Snapshot
from wixvisitor._http.requests import URGENT
from wixvisitor._tasks.capacity import Capacity
from wixvisitor._tasks.closing import close_surely

if TYPE_CHECKING:
    import httpcore

MAX_CONNECTIONS: Final = 100  # requests under way at once, and connections; httpx's own number
SECURE: Final = (b"https", b"wss")
_SCHEMES: Final = (*SECURE, b"http", b"ws")


class Sources(Protocol):
    """Gives, for a scheme, the httpcore pool that makes the connections."""

    def __call__(self, scheme: bytes, /) -> httpcore.AsyncConnectionPool:
        """Returns the pool for this scheme."""
        ...

    async def aclose(self) -> None:
        """Closes all of them."""
        ...


class ExclusivePool:
    """Sends requests, at most ``MAX_CONNECTIONS`` at once; the others wait in a line. Urgent ones do not wait.

    Args:
        sources: who makes the connections.

    Concurrency: many tasks of one event loop.
    Cancellation: closes the request's connection, and nothing else.
    """

    def __init__(self, sources: Sources) -> None:
        import httpcore  # noqa: PLC0415 - it is slow to import, and httpx imports it now

        self._httpcore = httpcore
        self._sources = sources
        self._places = Capacity(MAX_CONNECTIONS)
        self._idle = Idle()
        self._open: set[Snapshot] = set()
        self._is_closed = False

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """Sends the request; the response's body is still to be read.

        Raises:
            httpcore.PoolTimeout: no place became free within ``timeout["pool"]`` seconds.
            What httpcore's own pool raises.
        """
        source = self._sources(request.url.scheme)
        if not _is_httpcores_own(type(source).handle_async_request):  # a tool that answers in its place, as respx does
            return await source.handle_async_request(request)
        waits = URGENT not in request.extensions
        if waits and not self._places.take_now():
            await self._wait(request)
        held = None
        try:
            held = await self._free(request.url)
            if held is None:
                held = self._new(source, request)
                await self._make_room()
            response = await held.connection.handle_async_request(request)
        except BaseException as error:
            self._leave(waits=waits)
            if held is not None:
                await self._throw_away(held, error)
            raise
        held.note_answer(response)
        body = _Body(self, held, response.stream, waits=waits)
        return self._httpcore.Response(
            response.status, headers=response.headers, content=body, extensions=response.extensions
        )

    async def _wait(self, request: httpcore.Request) -> None:
        try:
            await self._places.take(request.extensions.get("timeout", {}).get("pool"))
        except TimeoutError:
            raise self._httpcore.PoolTimeout("all of the client's connections are busy") from None
        if self._is_closed:
            self._places.give_back()
            raise self._httpcore.ConnectError("the client has been closed")

    async def _free(self, url: httpcore.URL) -> Snapshot | None:
        """Returns the connection to this origin that was used last, if one is free and still open."""
        while (held := self._idle.take((url.scheme, url.host, url.port))) is not None:
            if held.is_usable():
                return held
            await self._throw_away(held)
        return None

    def _new(self, source: httpcore.AsyncConnectionPool, request: httpcore.Request) -> Snapshot:
        url = request.url
        if url.scheme not in _SCHEMES:
            raise self._httpcore.UnsupportedProtocol(f"the URL has an unsupported protocol: {url.scheme.decode()}://")
        held = Snapshot(source.create_connection(url.origin), (url.scheme, url.host, url.port))
        self._open.add(held)
        if url.scheme in SECURE:
            held.watch_opening(request)
        return held

    async def _make_room(self) -> None:
        """Closes the connection that has been idle longest if there are too many now."""
        if len(self._open) > MAX_CONNECTIONS and (oldest := self._idle.take_oldest()) is not None:
            await self._throw_away(oldest)

    def _leave(self, *, waits: bool) -> None:
        if waits:
            self._places.give_back()

    async def _end(self, held: Snapshot, *, waits: bool, error: BaseException | None) -> None:
        """Keeps the connection of a response that was read to its end, and closes those that were idle for too long."""
        self._leave(waits=waits)
        if error is not None or self._is_closed or not held.connection.is_idle():
            await self._throw_away(held, error)
            return
        self._idle.put(held)
        while (expired := self._idle.take_oldest(than=time.monotonic())) is not None:
            await self._throw_away(expired)

    async def _throw_away(self, held: Snapshot, error: BaseException | None = None) -> None:
        self._open.discard(held)
        if not isinstance(error, GeneratorExit) and (closing := held.closing()):  # that one allows no waiting
            await close_surely(*closing)

    async def aclose(self) -> None:
        """Closes all connections, also those under way, and sends away who waits."""
        self._is_closed = True
        held, self._open, self._idle = self._open, set(), Idle()
        self._places.send_away()
        await close_surely(*(close for one in held for close in one.closing()), self._sources.aclose)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class _Body:
    """A response's body, which gives the connection back when it is closed."""

    __slots__ = ("_held", "_is_closed", "_pool", "_stream", "_waits")

    def __init__(self, pool: ExclusivePool, held: Snapshot, stream: Any, *, waits: bool) -> None:
        self._pool, self._held, self._stream, self._waits = pool, held, stream, waits
        self._is_closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        source: AsyncIterator[bytes] = aiter(self._stream)
        return source

    async def aclose(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        error = None
        try:
            await self._stream.aclose()
        except BaseException as raised:
            error = raised
            raise
        finally:
            await self._pool._end(self._held, waits=self._waits, error=error)


@functools.cache
def _is_httpcores_own(function: object) -> bool:
    import httpcore  # noqa: PLC0415 - as above

    place = httpcore.__file__.removesuffix("__init__.py")
    return isinstance(function, FunctionType) and function.__code__.co_filename.startswith(place)
