"""Repairs the connection pool of a caller's ``httpx.AsyncClient`` after a request of ours was cancelled or failed.

httpcore 1.0, below httpx, loses a connection if a request is cancelled before it connects (encode/httpcore#1093). So
the pool is repaired after each request of ours that did not end well. httpcore also searches all connections for each
request in its queue, so that cancelled callers are held up. So our requests wait in a queue of our own.
"""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Iterable
from types import ModuleType
from typing import Any

import anyio
import httpx

from wixvisitor._http import internals
from wixvisitor._http.requests import REQUEST_MARKER, URGENT
from wixvisitor._tasks.capacity import Capacity
from wixvisitor._tasks.log import logger

_WITHOUT_SOCKETS = (httpx.MockTransport, httpx.ASGITransport)
_KNOWN = ("wixvisitor", "httpx_aiohttp", "respx", "pytest_httpx")  # packages whose transports need no recovery
_queues: weakref.WeakKeyDictionary[Any, Capacity] = weakref.WeakKeyDictionary()  # one per pool; sessions share it
_warned: set[type] = set()


def recovering(transport: Any, family: ModuleType) -> Any:
    """Returns a transport that sends through this one and repairs its pool; this one itself if that is not needed.

    The pool is searched in the transport and in the transports that it wraps.
    """
    if family is not httpx or _is_known(transport):
        return transport
    candidates = [transport, *internals.inner_transports(transport)]
    pools = [pool for one in candidates if internals.is_httpcore_pool(pool := internals.pool_of(one))]
    if pools:
        return RecoveringTransport(transport, pools)
    if not any(map(_is_known, candidates)):
        _warn(type(transport))
    return transport


def _is_known(transport: Any) -> bool:
    kinds = (*type(transport).__mro__, type(internals.pool_of(transport)))
    return isinstance(transport, _WITHOUT_SOCKETS) or any(_package(kind) in _KNOWN for kind in kinds)


def _package(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def _warn(kind: type) -> None:
    if kind not in _warned:
        _warned.add(kind)
        logger.warning(
            "wixvisitor: the transport %s.%s has no connection pool of httpx that wixvisitor could find. If it has "
            "one, it is not repaired after cancelled requests (docs/explanation/one-visitor.md)",
            kind.__module__,
            kind.__qualname__,
        )


class RecoveringTransport(httpx.AsyncBaseTransport):
    """Sends through another transport, and repairs its pool. Sends at most as many requests as it has connections.

    Further requests wait in a queue, except token calls.

    Args:
        transport: the caller's transport. It is never closed here.
        pools: the connection pools of httpcore below it.

    Concurrency: safe from many tasks of one event loop.
    Cancellation: the pool is repaired.
    """

    def __init__(self, transport: Any, pools: list[Any]) -> None:
        self._transport, self._pools = transport, pools
        self._queue = _queue_of(pools)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends the request.

        Raises:
            httpx.PoolTimeout: all connections were busy for all of ``timeout["pool"]`` seconds.
            What the transport raises.
        """
        extensions = request.extensions
        queue = None if URGENT in extensions else self._queue
        if queue is not None and not queue.try_acquire():
            request.extensions = await _wait_for_capacity(queue, request)
        use = _Use(self._pools, queue, extensions.get(REQUEST_MARKER))
        try:
            response: httpx.Response = await self._transport.handle_async_request(request)
        except BaseException as error:
            await use.end(error)
            raise
        finally:
            if request.extensions is not extensions:
                request.extensions = extensions  # a redirect or replay of this request gets its full time again
        if response.is_closed:  # a transport that caches or logs has read it already
            use.leave()
        else:
            response.stream = _Stream(response.stream, use)
        return response


def _queue_of(pools: list[Any]) -> Capacity | None:
    """Returns the queue for a pool; None if the pool has no limit, or if there are several pools with limits."""
    number = internals.max_requests_of(pools[0]) if len(pools) == 1 else None
    if number is None:
        return None
    return _queues.get(pools[0]) or _queues.setdefault(pools[0], Capacity(number))


async def _wait_for_capacity(queue: Capacity, request: httpx.Request) -> dict[str, Any]:
    """Waits for a slot. Returns the request's extensions, with the rest of the pool timeout."""
    timeout = request.extensions.get("timeout", {})
    seconds, began = timeout.get("pool"), anyio.current_time()
    try:
        await queue.acquire(seconds)
    except TimeoutError:
        raise httpx.PoolTimeout("all connections of the HTTP client are busy", request=request) from None
    left = None if seconds is None else max(0.0, seconds - (anyio.current_time() - began))
    return {**request.extensions, "timeout": {**timeout, "pool": left}}


class _Use:
    """One request's use of the pools, from its start to its end."""

    __slots__ = ("_mark", "_pools", "_queue")

    def __init__(self, pools: Iterable[Any], queue: Capacity | None, mark: object) -> None:
        self._pools, self._queue, self._mark = pools, queue, mark

    def leave(self) -> None:
        if self._queue is not None:
            self._queue.release()

    async def end(self, error: BaseException | None, *, had_response: bool = False) -> None:
        """Leaves the queue and repairs the pools."""
        self.leave()
        if not isinstance(error, GeneratorExit):  # GeneratorExit forbids an await
            for pool in self._pools:
                await internals.recover(pool, self._mark if had_response else None)


class _Stream(httpx.AsyncByteStream):
    """A response's body. Closing it ends the request's use of the pools."""

    def __init__(self, stream: Any, use: _Use) -> None:
        self._stream, self._use = stream, use
        self._source: AsyncIterator[bytes] | None = None
        self._is_whole = self._is_closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._source = aiter(self._stream)
        return self

    async def __anext__(self) -> bytes:
        assert self._source is not None
        try:
            return await anext(self._source)
        except StopAsyncIteration:
            self._is_whole = True
            raise

    async def aclose(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        try:
            await self._stream.aclose()
        except BaseException as error:
            await self._use.end(error, had_response=True)
            raise
        if self._is_whole:
            self._use.leave()
        else:
            await self._use.end(None, had_response=True)
