"""Runs a call of redis-py to its end or to its deadline, whatever happens to whoever waits for it.

A call that is torn out of redis-py costs its connection, and nobody knows whether the server got it. So a caller that
is cancelled waits for the end, which is a fraction of a millisecond away, or the deadline if the server hangs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import anyio
import anyio.lowlevel

from wixvisitor.errors import StorageError

T = TypeVar("T")

_GRACE: Final = 0.1  # seconds that a call gets to leave its connection in order when its time is over
_leaving: Final[set[asyncio.Task[Any]]] = set()  # asyncio itself keeps only weak references to tasks


def check_asyncio() -> None:
    """Raises ``StorageError`` unless this is a task of asyncio's."""
    try:
        if asyncio.current_task() is not None:
            return
    except RuntimeError:
        pass
    raise StorageError("RedisStorage works on asyncio only, as redis-py does; use SQLiteStorage or FileStorage on trio")


async def finish(call: Callable[[], Coroutine[Any, Any, T]], seconds: float) -> T:
    """Returns what the call returns.

    Raises:
        TimeoutError: it took longer than ``seconds``; it has been cancelled.

    Cancellation: asyncio's and anyio's alike take effect when the call has ended.
    """
    await anyio.lowlevel.checkpoint_if_cancelled()
    task, cancelled = asyncio.create_task(call()), None
    with anyio.CancelScope(shield=True):
        cancelled = await _wait(task, seconds)
        if not task.done():
            await _give_up(task)
    if cancelled is not None:
        _silence(task)
        raise cancelled
    if task.cancelled() or not task.done():
        raise TimeoutError
    return task.result()


async def _wait(task: asyncio.Task[Any], seconds: float) -> asyncio.CancelledError | None:
    """Returns when the task has ended or the time is over: None, or how the caller was cancelled meanwhile."""
    loop = asyncio.get_running_loop()
    cancelled, left, deadline = None, seconds, loop.time() + seconds
    while not task.done() and left > 0:
        try:
            await asyncio.wait({task}, timeout=left)
        except asyncio.CancelledError as error:
            cancelled = error
        left = deadline - loop.time()
    return cancelled


async def _give_up(task: asyncio.Task[Any]) -> None:
    _leaving.add(task)
    task.add_done_callback(_leaving.discard)
    task.add_done_callback(_silence)
    task.cancel()
    await asyncio.wait({task}, timeout=_GRACE)


def _silence(task: asyncio.Task[Any]) -> None:
    """Takes note of how the task ended, so that asyncio does not log it."""
    if task.done() and not task.cancelled():
        task.exception()
