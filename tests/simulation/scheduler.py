"""Who runs next, and what time it is: several processes in one, a step at a time, all by one seed.

Each simulated process is a thread with an event loop of its own, and exactly one of them runs at any moment: it hands
the baton back after some steps, or when it has nothing to do before a time that it names. The scheduler then picks
who goes on. Time passes only when nobody can go on, so that nothing ever really waits. A process that is stopped is
not picked; one that is killed is cut off from the world and wound up while time stands still.
"""

from __future__ import annotations

import heapq
import itertools
import random
import threading
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

import anyio

from . import on_asyncio, on_trio

BACKENDS = {"asyncio": on_asyncio.run, "trio": on_trio.run}
_MOST_STEPS = 400_000
_PATIENCE = 30.0  # real seconds in which a process hands the baton back; it takes milliseconds
_QUANTUM = 6  # steps that a process has in a row, on average


class Killed(Exception):
    """What a process meets that asks for anything after its end: nobody sees it."""


class Endless(Exception):
    """The processes go on and on, or wait for each other."""


class Process:
    """A simulated process.

    Attributes:
        name: as in the trace.
        wakes_at: until when it has nothing to do.
        stopped_until: until when it is not picked.
        stopped_for: seconds in all that it was stopped.
        killed: whether it is cut off from the world.
        ended: whether its thread is over, or hangs.
        error: what its main function raised.
    """

    def __init__(self, scheduler: Scheduler, name: str, main: Callable[[], Awaitable[None]], backend: str) -> None:
        self.scheduler = scheduler
        self.name = name
        self.wakes_at = self.stopped_until = self.stopped_for = 0.0
        self.killed = self.ended = False
        self.error: BaseException | None = None
        self._main = main
        self._left = 0
        self._go, self._back = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._back.acquire()
        self._scope: anyio.CancelScope | None = None
        self._thread = threading.Thread(target=self._run, args=(BACKENDS[backend],), daemon=True)
        self._thread.start()

    # Called by the scheduler, while no process runs

    def go_on(self) -> None:
        """Lets the process run until it hands the baton back."""
        self._left = int(self.scheduler.random.expovariate(1 / _QUANTUM))
        self._go.release()
        if not self._back.acquire(timeout=_PATIENCE):
            self.ended = True
            raise Endless(f"{self.name} hangs: it waits for something that is no event of its loop's, such as a lock")
        if self.ended:
            self._thread.join()

    def stop(self, seconds: float) -> None:
        """Stops the whole process, as SIGSTOP does: its timers go off when it goes on."""
        self.stopped_until = self.scheduler.now + seconds
        self.stopped_for += seconds

    def kill(self) -> None:
        """Ends the process here and now: what it asked for is under way, but nothing of it counts any more."""
        self.killed = self.scheduler.is_winding_up = True
        while not self.ended:
            self.go_on()
        self.scheduler.is_winding_up = False

    # Called in the process

    def time(self) -> float:
        """The time that its event loop sees. One that is being wound up sees its timers go off at once."""
        return max(self.scheduler.now, self.wakes_at if self.killed and self.wakes_at < inf else 0.0)

    def after_step(self) -> None:
        """One task took one step."""
        self.scheduler.after_step(self)
        self._left -= 1
        if self._left < 0:
            self._hand_over(self.scheduler.now)

    async def carry(self, work: Callable[[], Any], *, there: float, back: float, arrives: bool = True) -> list[Any]:
        """Has something done in the world, ``there`` seconds from now and whatever becomes of this process meanwhile.

        Returns:
            What ``work`` returned, in a list, after ``back`` seconds more; ``[]`` if it did not arrive.
        """
        answer: list[Any] = []
        if arrives and not self.killed:
            self.scheduler.at(self.scheduler.now + there, lambda: answer.append(work()))
        await anyio.sleep(there + back)
        return answer

    def idle(self, until: float) -> None:
        """Nothing can be done before ``until``."""
        self._hand_over(until)

    def _hand_over(self, wakes_at: float) -> None:
        self.wakes_at = wakes_at
        self._back.release()
        self._go.acquire()
        if self.killed and self._scope is not None:
            self._scope.cancel()

    def _run(self, run: Callable[..., None]) -> None:
        self._go.acquire()
        try:
            run(self, self._main_in_scope)
        except BaseException as error:
            self.error = error
        self.ended = True
        self._back.release()

    async def _main_in_scope(self) -> None:
        with anyio.CancelScope() as self._scope:
            if not self.killed:
                await self._main()
        self._scope = None


class Scheduler:
    """The one source of time and of chance.

    Attributes:
        now: seconds since the world began.
        is_winding_up: whether a process that was killed is being wound up, whose time makes no sense.
        random: every choice is drawn from it.
        steps: how many were taken.
        after_step: called after each, in the process that took it.
    """

    def __init__(self, seed: int, after_step: Callable[[Process], None]) -> None:
        self.now = 0.0
        self.random = random.Random(seed)
        self.steps = 0
        self.is_winding_up = False
        self.processes: list[Process] = []
        self._after_step = after_step
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def start(self, name: str, main: Callable[[], Awaitable[None]], backend: str) -> Process:
        """Starts a process; it runs when it is picked."""
        process = Process(self, name, main, backend)
        self.processes.append(process)
        return process

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Does something in the world, outside all processes, at this time."""
        heapq.heappush(self._agenda, (when, next(self._order), action))

    def after_step(self, process: Process) -> None:
        """Counts a step."""
        self.steps += 1
        self._after_step(process)

    def run(self, is_over: Callable[[], bool]) -> None:
        """Goes on until all processes have ended.

        Args:
            is_over: whether to leave early; whoever does has to ``kill`` the processes.

        Raises:
            Endless: they never end.
            BaseException: what a process's main function raised.
        """
        while not is_over():
            self.processes = [process for process in self.processes if not self._has_ended(process)]
            if self._agenda and self._agenda[0][0] <= self.now:
                heapq.heappop(self._agenda)[2]()
            elif ready := [process for process in self.processes if self._is_ready(process)]:
                self.random.choice(ready).go_on()
            elif not self.processes and not self._agenda:
                return
            else:
                self._let_time_pass()
            if self.steps > _MOST_STEPS:
                raise Endless(f"{_MOST_STEPS:,} steps, and no end")

    def _is_ready(self, process: Process) -> bool:
        return max(process.wakes_at, process.stopped_until) <= self.now

    def _let_time_pass(self) -> None:
        times = [max(process.wakes_at, process.stopped_until) for process in self.processes]
        self.now = min([*times, *(entry[0] for entry in self._agenda[:1])])
        if self.now == inf:
            names = ", ".join(process.name for process in self.processes)
            raise Endless(f"nothing will ever happen, and there still are {names}")

    @staticmethod
    def _has_ended(process: Process) -> bool:
        if process.ended and process.error is not None and not process.killed:
            raise process.error
        return process.ended
