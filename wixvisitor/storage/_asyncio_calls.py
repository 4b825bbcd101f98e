"""Runs a call of a server's client to its end or to its deadline, even if its caller is cancelled.

A call that is interrupted inside the client (redis-py, SQLAlchemy) loses its connection, and it stays unknown whether
the server got it. So a cancelled caller waits for the end of the call, usually some milliseconds at most, or for the
deadline if the server hangs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import anyio
import anyio.lowlevel

from wixvisitor.errors import StorageError

T = TypeVar("T")

_GRACE: Final = 0.1  # seconds in which a call that is over its deadline can put its connection in order
_leaving: Final[set[asyncio.Task[Any]]] = set()  # asyncio itself keeps only weak references to tasks


def check_asyncio(storage: str, library: str) -> None:
    """Raises ``StorageError`` unless this is a task of asyncio's.

    Args:
        storage: the name of the store's class.
        library: the name of what it is built on.
    """
    try:
        if asyncio.current_task() is not None:
            return
    except RuntimeError:
        pass
    raise StorageError(f"{storage} works on asyncio only, as {library} does; use SQLiteStorage or FileStorage on trio")


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
    """Waits until the task has ended or the time is over. Returns the caller's cancellation meanwhile, else None."""
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
    """Retrieves the task's result, so that asyncio does not log it."""
    if task.done() and not task.cancelled():
        task.exception()
