"""Time limits that know when the process stood still: a sleeping laptop, a Lambda between two requests, SIGSTOP.

A limit that ran out meanwhile says nothing about the other side. So somebody looks at the clock every second. If much
more has gone by, the process stood still, and what was awaited has two more seconds: the answer may have arrived long
ago. The clock is the event loop's, and one that goes on while the machine sleeps, as the loop's may not.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import anyio

_TICK: Final = 1.0  # seconds, as all here
_LATE: Final = 1.0  # a busy machine's delay, and no standstill
_LONG: Final = 5.0  # what no step of a token call survives; less, if the whole call has less time
_GRACE: Final = 2.0  # after a standstill


def outside_clock() -> float:
    """Returns seconds that go on while the machine sleeps."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.time() if boot is None else time.clock_gettime(boot)


class StandstillWatch:
    """Watches over one piece of work with time limits.

    Args:
        deadline: of the whole work, by ``anyio.current_time()``.
        budget: seconds that such a piece of work has in all.

    Attributes:
        was_frozen: whether the process stood still, as far as was looked at.
    """

    __slots__ = ("_deadline", "_grace", "_limits", "_long", "_seen", "was_frozen")

    def __init__(self, deadline: float, budget: float) -> None:
        self.was_frozen = False
        self._deadline, self._long = deadline, min(_LONG, budget)
        self._limits: dict[anyio.CancelScope, float] = {}
        self._grace = 0.0  # until when no limit counts
        self._seen = (anyio.current_time(), outside_clock())

    def check(self) -> bool:
        """Looks at the clocks; returns whether the process has stood still since the work began."""
        now, outside = anyio.current_time(), outside_clock()
        late = max(now - self._seen[0], outside - self._seen[1]) - _TICK
        self._seen = now, outside
        if late > _LATE and (late >= self._long or now > self._deadline):
            self.was_frozen = True
            self._grace = now + _GRACE
        return self.was_frozen

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watches over the block.

        Raises:
            TimeoutError: the deadline has passed, and the block was cancelled.
            What the block raises.
        """
        failures, has_ended = list[Exception](), False
        async with anyio.create_task_group() as group:
            group.start_soon(self._tick)
            with self._limit(self._deadline):
                try:
                    yield
                    has_ended = True
                except Exception as error:  # the group would wrap it
                    failures.append(error)
            self.check()
            group.cancel_scope.cancel()
        for failure in failures:
            raise failure
        if not has_ended:
            raise TimeoutError

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Ends the block after these seconds; more than ``_TICK`` of them.

        Raises:
            TimeoutError: they have passed.
        """
        with self._limit(anyio.current_time() + seconds) as scope:
            yield
        if scope.cancelled_caught:
            raise TimeoutError(f"no answer within {seconds:g} s")

    @contextmanager
    def _limit(self, end: float) -> Iterator[anyio.CancelScope]:
        with anyio.CancelScope() as scope:
            self._limits[scope] = end
            try:
                yield scope
            finally:
                del self._limits[scope]

    async def _tick(self) -> None:
        while True:
            self.check()
            now = anyio.current_time()
            if now >= self._grace:
                for scope in [scope for scope, end in self._limits.items() if end <= now]:
                    scope.cancel()
            ends = [max(end, self._grace) - now for end in self._limits.values()]
            await anyio.sleep(min((_TICK, *(seconds for seconds in ends if seconds > 0))))
