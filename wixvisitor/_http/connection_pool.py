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

from wixvisitor._http.idle import Idle, PooledConnection
from wixvisitor._http.requests import URGENT
from wixvisitor._tasks.capacity import Capacity
from wixvisitor._tasks.closing import close_shielded

if TYPE_CHECKING:
    import httpcore

MAX_CONNECTIONS: Final = 100  # requests under way at once, and connections; httpx's own number
SECURE: Final = (b"https", b"wss")
_SCHEMES: Final = (*SECURE, b"http", b"ws")


class PoolFactory(Protocol):
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
        factory: who makes the connections.

    Concurrency: many tasks of one event loop.
    Cancellation: closes the request's connection, and nothing else.
    """

    def __init__(self, factory: PoolFactory) -> None:
        import httpcore  # noqa: PLC0415 - it is slow to import, and httpx imports it now

        self._httpcore = httpcore
        self._factory = factory
        self._capacity = Capacity(MAX_CONNECTIONS)
        self._idle = Idle()
        self._open: set[PooledConnection] = set()
        self._is_closed = False

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """Sends the request; the response's body is still to be read.

        Raises:
            httpcore.PoolTimeout: no place became free within ``timeout["pool"]`` seconds.
            What httpcore's own pool raises.
        """
        httpcore_pool = self._factory(request.url.scheme)
        if not _is_httpcores_own(
            type(httpcore_pool).handle_async_request
        ):  # a tool that answers in its place, as respx does
            return await httpcore_pool.handle_async_request(request)
        waits = URGENT not in request.extensions
        if waits and not self._capacity.try_acquire():
            await self._wait(request)
        pooled = None
        try:
            pooled = await self._free(request.url)
            if pooled is None:
                pooled = self._new(httpcore_pool, request)
                await self._make_room()
            response = await pooled.connection.handle_async_request(request)
        except BaseException as error:
            self._leave(waits=waits)
            if pooled is not None:
                await self._discard(pooled, error)
            raise
        pooled.note_answer(response)
        body = _Body(self, pooled, response.stream, waits=waits)
        return self._httpcore.Response(
            response.status, headers=response.headers, content=body, extensions=response.extensions
        )

    async def _wait(self, request: httpcore.Request) -> None:
        try:
            await self._capacity.acquire(request.extensions.get("timeout", {}).get("pool"))
        except TimeoutError:
            raise self._httpcore.PoolTimeout("all of the client's connections are busy") from None
        if self._is_closed:
            self._capacity.release()
            raise self._httpcore.ConnectError("the client has been closed")

    async def _free(self, url: httpcore.URL) -> PooledConnection | None:
        """Returns the connection to this origin that was used last, if one is free and still open."""
        while (pooled := self._idle.take((url.scheme, url.host, url.port))) is not None:
            if pooled.is_usable():
                return pooled
            await self._discard(pooled)
        return None

    def _new(self, httpcore_pool: httpcore.AsyncConnectionPool, request: httpcore.Request) -> PooledConnection:
        url = request.url
        if url.scheme not in _SCHEMES:
            raise self._httpcore.UnsupportedProtocol(f"the URL has an unsupported protocol: {url.scheme.decode()}://")
        pooled = PooledConnection(httpcore_pool.create_connection(url.origin), (url.scheme, url.host, url.port))
        self._open.add(pooled)
        if url.scheme in SECURE:
            pooled.watch_opening(request)
        return pooled

    async def _make_room(self) -> None:
        """Closes the connection that has been idle longest if there are too many now."""
        if len(self._open) > MAX_CONNECTIONS and (oldest := self._idle.take_oldest()) is not None:
            await self._discard(oldest)

    def _leave(self, *, waits: bool) -> None:
        if waits:
            self._capacity.release()

    async def _end(self, pooled: PooledConnection, *, waits: bool, error: BaseException | None) -> None:
        """Keeps the connection of a response that was read to its end, and closes those that were idle for too long."""
        self._leave(waits=waits)
        if error is not None or self._is_closed or not pooled.connection.is_idle():
            await self._discard(pooled, error)
            return
        self._idle.put(pooled)
        while (expired := self._idle.take_oldest(than=time.monotonic())) is not None:
            await self._discard(expired)

    async def _discard(self, pooled: PooledConnection, error: BaseException | None = None) -> None:
        self._open.discard(pooled)
        if not isinstance(error, GeneratorExit) and (closing := pooled.closing()):  # that one allows no waiting
            await close_shielded(*closing)

    async def aclose(self) -> None:
        """Closes all connections, also those under way, and sends away who waits."""
        self._is_closed = True
        pooled, self._open, self._idle = self._open, set(), Idle()
        self._capacity.release_all()
        await close_shielded(*(close for one in pooled for close in one.closing()), self._factory.aclose)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class _Body:
    """A response's body, which gives the connection back when it is closed."""

    __slots__ = ("_is_closed", "_pool", "_pooled", "_stream", "_waits")

    def __init__(self, pool: ExclusivePool, pooled: PooledConnection, stream: Any, *, waits: bool) -> None:
        self._pool, self._pooled, self._stream, self._waits = pool, pooled, stream, waits
        self._is_closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        httpcore_pool: AsyncIterator[bytes] = aiter(self._stream)
        return httpcore_pool

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
            await self._pool._end(self._pooled, waits=self._waits, error=error)


@functools.cache
def _is_httpcores_own(function: object) -> bool:
    import httpcore  # noqa: PLC0415 - as above

    place = httpcore.__file__.removesuffix("__init__.py")
    return isinstance(function, FunctionType) and function.__code__.co_filename.startswith(place)
