"""A simulated process with a trio run: its clock tells the scheduler when it is idle, an instrument each step."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from .scheduler import Process


def run(process: Process, main: Callable[[], Awaitable[None]]) -> None:
    """Runs ``main`` to its end."""
    clock = _Clock(process)
    trio.run(main, clock=clock, instruments=[_Steps(process, clock)], strict_exception_groups=True)


class _Clock(trio.abc.Clock):
    """trio asks it how long to wait only when no task can run: then other processes do.

    Not the first time: ``run_sync_soon`` wakes trio through a socket, which it looks at after asking.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self.has_looked = False

    def start_clock(self) -> None:
        """There is nothing to start."""

    def current_time(self) -> float:
        return self._process.time()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        if self.has_looked:
            self._process.idle(deadline)
        self.has_looked = not self.has_looked
        return 0.0


class _Steps(trio.abc.Instrument):
    def __init__(self, process: Process, clock: _Clock) -> None:
        self._process = process
        self._clock = clock

    def after_task_step(self, task: Any) -> None:
        self._clock.has_looked = False
        try:
            self._process.after_step()
        except Exception:
            logging.getLogger(__name__).exception("the simulation is broken: trio would leave this instrument out")
            raise
