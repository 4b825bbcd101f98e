"""A simulated process with an asyncio loop: its selector tells the scheduler when it is idle, the loop each step.

Tasks that are ready at once run in an order of the scheduler's choice, as they do on trio; all else keeps its order.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from math import inf
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .scheduler import Process


def run(process: Process, main: Callable[[], Awaitable[None]]) -> None:
    """Runs ``main`` to its end."""
    with asyncio.Runner(loop_factory=lambda: _Loop(process)) as runner:
        runner.run(main())  # type: ignore[arg-type]


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """asyncio asks it once before each batch of tasks, with how long it would wait."""

    def __init__(self, process: Process) -> None:
        super().__init__()
        self._process = process
        self.loop: Any = None

    def select(self, timeout: float | None = None) -> list[Any]:
        events = super().select(0)
        if not events and (timeout is None or timeout > 0):
            self._process.idle(inf if timeout is None else self._process.time() + timeout)
        self.loop.shuffle()
        return events


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, process: Process) -> None:
        self._process = process
        self._random = process.scheduler.random
        selector = _Selector(process)
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        return self._process.time()

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        return super().call_soon(self._step, callback, *args, context=context)

    def _step(self, callback: Any, *args: Any) -> None:
        try:
            callback(*args)
        finally:
            self._process.after_step()

    def create_task(self, coro: Any, **arguments: Any) -> Any:
        return _Task(coro, loop=self, **arguments)

    def shuffle(self) -> None:
        """Puts the tasks that are ready into an order of chance. It must not depend on addresses, as sets do."""
        ready: Any = self._ready  # type: ignore[attr-defined]
        places = [index for index, handle in enumerate(ready) if isinstance(_owner(handle), _Task)]
        if len(places) > 1:
            handles = sorted((ready[index] for index in places), key=lambda handle: _owner(handle).serial)
            self._random.shuffle(handles)
            for index, handle in zip(places, handles, strict=True):
                ready[index] = handle


class _Task(asyncio.Task[Any]):
    def __init__(self, coro: Any, *, loop: Any, **arguments: Any) -> None:
        loop._count = self.serial = getattr(loop, "_count", 0) + 1
        super().__init__(coro, loop=loop, **arguments)


def _owner(handle: Any) -> Any:
    """The task that a handle runs a step of, if it does."""
    args = handle._args
    return getattr(args[0], "__self__", None) if args else None
