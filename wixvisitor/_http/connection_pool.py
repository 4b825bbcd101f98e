"""The connection pool of our own client: each connection belongs to one request at a time.

It replaces httpcore's pool below ``httpx.AsyncHTTPTransport``, and uses that pool only to make connections. There are
two differences. No step searches all connections. And a connection is reused only after a response was read to its end.
After any other end (error, deadline, cancellation, a response left early) it is closed, so that no connection can
remain in the pool without a request (encode/httpcore#1093).
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

MAX_CONNECTIONS: Final = 100  # connections, and requests at the same time; httpx's default
SECURE: Final = (b"https", b"wss")
_SCHEMES: Final = (*SECURE, b"http", b"ws")


class PoolFactory(Protocol):
    """Returns, for a scheme, the httpcore pool that makes the connections."""

    def __call__(self, scheme: bytes, /) -> httpcore.AsyncConnectionPool:
        """Returns the pool for this scheme."""
        ...

    async def aclose(self) -> None:
        """Closes all of the pools."""
        ...


class ExclusivePool:
    """Sends requests, at most ``MAX_CONNECTIONS`` at once. The others wait in a queue; urgent ones do not wait.

    Args:
        factory: returns the httpcore pool that makes the connections.

    Concurrency: safe from many tasks of one event loop.
    Cancellation: closes the request's connection. Other requests are not affected.
    """

    def __init__(self, factory: PoolFactory) -> None:
        import httpcore  # noqa: PLC0415 - a slow import; httpx has done it by now

        self._httpcore = httpcore
        self._factory = factory
        self._capacity = Capacity(MAX_CONNECTIONS)
        self._idle = Idle()
        self._open: set[PooledConnection] = set()
        self._is_closed = False

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """Sends the request. Returns the response before its body is read.

        Raises:
            httpcore.PoolTimeout: ``MAX_CONNECTIONS`` requests were running for all of ``timeout["pool"]`` seconds.
            What httpcore's own pool raises.
        """
        httpcore_pool = self._factory(request.url.scheme)
        # A tool such as respx has replaced the method, and answers itself.
        if not _is_httpcore_function(type(httpcore_pool).handle_async_request):
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
            raise self._httpcore.PoolTimeout("all connections of the HTTP client are busy") from None
        if self._is_closed:
            self._capacity.release()
            raise self._httpcore.ConnectError("the HTTP client was closed while the request waited for a connection")

    async def _free(self, url: httpcore.URL) -> PooledConnection | None:
        """Returns an idle connection to this origin that is still open, the last used first; None if there is none."""
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
        """Closes the connection that has been idle longest, if there are now too many."""
        if len(self._open) > MAX_CONNECTIONS and (oldest := self._idle.take_oldest()) is not None:
            await self._discard(oldest)

    def _leave(self, *, waits: bool) -> None:
        if waits:
            self._capacity.release()

    async def _end(self, pooled: PooledConnection, *, waits: bool, error: BaseException | None) -> None:
        """Keeps the connection if its response was read to the end. Closes connections that were idle for too long."""
        self._leave(waits=waits)
        if error is not None or self._is_closed or not pooled.connection.is_idle():
            await self._discard(pooled, error)
            return
        self._idle.put(pooled)
        while (expired := self._idle.take_oldest(than=time.monotonic())) is not None:
            await self._discard(expired)

    async def _discard(self, pooled: PooledConnection, error: BaseException | None = None) -> None:
        self._open.discard(pooled)
        if not isinstance(error, GeneratorExit) and (closing := pooled.closing()):  # GeneratorExit forbids an await
            await close_shielded(*closing)

    async def aclose(self) -> None:
        """Closes all connections, also those in use. Requests that wait for one get a ``ConnectError``."""
        self._is_closed = True
        pooled, self._open, self._idle = self._open, set(), Idle()
        self._capacity.release_all()
        await close_shielded(*(close for one in pooled for close in one.closing()), self._factory.aclose)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class _Body:
    """A response's body. Closing it returns the connection to the pool."""

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
def _is_httpcore_function(function: object) -> bool:
    """Whether a function is httpcore's own, and not a replacement by a tool."""
    import httpcore  # noqa: PLC0415 - a slow import; httpx has done it by now

    directory = httpcore.__file__.removesuffix("__init__.py")
    return isinstance(function, FunctionType) and function.__code__.co_filename.startswith(directory)
