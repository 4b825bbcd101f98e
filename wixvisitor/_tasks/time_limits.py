"""Time limits that notice a standstill of the process: a sleeping laptop, a Lambda between two requests, SIGSTOP.

A limit that expires during a standstill says nothing about the server. So a task checks the clocks every second. If
much more than a second has passed, the process stood still. Then the awaited work gets two more seconds, because the
answer may have arrived long ago. Two clocks are checked: the event loop's, and one that runs while the machine sleeps,
because the loop's may stop then.
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import anyio

# All in seconds.
_TICK: Final = 1.0  # between two checks
_LATE: Final = 1.0  # a busy machine can delay a check for this long; that is not a standstill
_LONG: Final = 5.0  # a standstill of this length exceeds every limit within a token call
_GRACE: Final = 2.0  # more time for the work after a standstill


def outside_clock() -> float:
    """Returns the seconds of a clock that runs while the machine sleeps.

    Linux has one for this (clock_gettime(2)), and macOS's ``CLOCK_MONOTONIC`` is one, though ``time.monotonic`` is not
    (clock_gettime(3)). Windows's monotonic clock includes the sleep (QueryPerformanceCounter).
    """
    if sys.platform == "darwin":
        return time.clock_gettime(time.CLOCK_MONOTONIC)
    elif sys.platform == "win32":
        return time.monotonic()
    else:
        boot = getattr(time, "CLOCK_BOOTTIME", None)
        return time.time() if boot is None else time.clock_gettime(boot)


class StandstillWatch:
    """Limits the time of one piece of work, and notices standstills of the process meanwhile.

    Args:
        deadline: of the whole work, by ``anyio.current_time()``.
        budget: seconds that such work may take in all.

    Attributes:
        was_frozen: whether the process has stood still, as of the last check.
    """

    __slots__ = ("_deadline", "_grace", "_limits", "_long", "_seen", "was_frozen")

    def __init__(self, deadline: float, budget: float) -> None:
        self.was_frozen = False
        self._deadline, self._long = deadline, min(_LONG, budget)
        self._limits: dict[anyio.CancelScope, float] = {}
        self._grace = 0.0  # no limit ends the work before this time
        self._seen = (anyio.current_time(), outside_clock())

    def check(self) -> bool:
        """Checks the clocks; returns whether the process has stood still since the work began."""
        now, outside = anyio.current_time(), outside_clock()
        late = max(now - self._seen[0], outside - self._seen[1]) - _TICK
        self._seen = now, outside
        if late > _LATE and (late >= self._long or now > self._deadline):
            self.was_frozen = True
            self._grace = now + _GRACE
        return self.was_frozen

    def is_over(self) -> bool:
        """Returns whether the deadline of the whole work has passed."""
        return anyio.current_time() >= self._deadline

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Runs the block until the deadline, and checks the clocks meanwhile.

        Raises:
            TimeoutError: the deadline passed, and the block was cancelled.
            What the block raises.
        """
        failures, has_ended = list[Exception](), False
        async with anyio.create_task_group() as group:
            group.start_soon(self._tick)
            with self._limit(self._deadline):
                try:
                    yield
                    has_ended = True
                except Exception as error:  # raised inside the task group, it would come out as an exception group
                    failures.append(error)
            self.check()
            group.cancel_scope.cancel()
        for failure in failures:
            raise failure
        if not has_ended:
            raise TimeoutError

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Ends the block after this many seconds, which must be more than ``_TICK``.

        Raises:
            TimeoutError: the seconds have passed.
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
