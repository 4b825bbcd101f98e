"""Clients of servers, one in each event loop, because these clients work in one event loop only."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

import attrs

from wixvisitor._tasks.locks import fork_safe_lock

C = TypeVar("C")
T = TypeVar("T")


@attrs.define(eq=False, repr=False)
class _Own(Generic[C]):
    """A client of our own in one event loop.

    Attributes:
        client: the client.
        closing: a generator. The event loop ends it when the loop shuts down, and that closes the client.
        calls: the tasks whose calls are under way.
        finalizer: closes the client if the store is dropped without being closed. It keeps the client alive until then,
            because clients warn about connections that the garbage collector finds.
    """

    client: C
    closing: AsyncGenerator[None]
    calls: set[asyncio.Task[Any]] = attrs.field(factory=set)
    finalizer: Any = None


class PerLoop(Generic[C]):
    """Makes a client in each event loop at its first call there, and closes it there.

    Args:
        make: returns a new client. It does not wait.
        close: closes a client.
        timeout: seconds that closing waits for calls under way.
    """

    def __init__(self, make: Callable[[], C], close: Callable[[C], Awaitable[object]], timeout: float) -> None:
        self._make = make
        self._close = close
        self._timeout = timeout
        self._own: dict[asyncio.AbstractEventLoop, _Own[C]] = {}
        self._lock = fork_safe_lock()

    async def run(self, call: Callable[[C], Awaitable[T]]) -> T:
        """Returns what the call returns, which gets this event loop's client."""
        own = self._own.get(asyncio.get_running_loop()) or await self._open()
        task: Any = asyncio.current_task()
        own.calls.add(task)
        try:
            return await call(own.client)
        finally:
            own.calls.discard(task)

    async def aclose(self) -> None:
        """Closes this event loop's client when its calls have ended. The next call opens another."""
        own = self._own.pop(asyncio.get_running_loop(), None)
        if own is None:
            return
        if own.calls:
            await asyncio.wait(own.calls, timeout=self._timeout)
        own.finalizer.detach()
        await own.closing.aclose()

    async def _open(self) -> _Own[C]:
        loop = asyncio.get_running_loop()
        client = self._make()
        own = _Own(client, _closing(client, self._close))
        await anext(own.closing)  # runs to its yield without waiting, so no other task runs in between
        own.finalizer = weakref.finalize(self, _close_later, loop, own.closing)
        with self._lock:
            for ended in [other for other in self._own if other.is_closed()]:
                self._own.pop(ended).finalizer.detach()
            self._own[loop] = own
        return own


async def _closing(client: C, close: Callable[[C], Awaitable[object]]) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        with suppress(Exception):  # an error in closing leaves nothing more to close
            await close(client)


def _close_later(loop: asyncio.AbstractEventLoop, closing: AsyncGenerator[None]) -> None:
    """Closes the client in its own event loop: at once if the loop runs, else when it runs again.

    A loop that was closed without ``shutdown_asyncgens()`` cannot close anything. The garbage collector closes the
    sockets then, and Python warns about them.
    """
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(lambda: loop.create_task(closing.aclose()))
