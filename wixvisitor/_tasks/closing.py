"""Closing that is completed even if the task that asks for it is cancelled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import anyio

from wixvisitor._tasks.shared_task import loaded

_MAX: Final = 1.0  # seconds for one call; closing a socket takes microseconds
_under_way: set[Any] = set()  # asyncio keeps no strong reference to its tasks


async def close_shielded(*close: Callable[[], Awaitable[object]]) -> None:
    """Awaits each of these functions, for at most a second each. Ignores what they raise.

    On asyncio they run in a separate task: an anyio shield does not stop ``task.cancel()`` or ``asyncio.timeout``, and
    a second cancellation would leave a socket open.

    Cancellation: the caller stops waiting; the closing continues.
    """
    asyncio = loaded("asyncio")
    with anyio.CancelScope(shield=True):
        if asyncio is None or not _runs_in(asyncio):
            await _close(close)
            return
        task = asyncio.get_running_loop().create_task(_close(close))
        _under_way.add(task)
        task.add_done_callback(_under_way.discard)
        await asyncio.shield(task)


async def _close(close: tuple[Callable[[], Awaitable[object]], ...]) -> None:
    for one in close:
        with suppress(Exception), anyio.move_on_after(_MAX):
            await one()


def _runs_in(asyncio: Any) -> bool:
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False
