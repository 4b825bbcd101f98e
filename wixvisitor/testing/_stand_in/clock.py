"""The clock of a stand-in: it may run faster than real time."""

import math
import time
from collections.abc import Callable
from threading import Lock
from typing import Final

MAX_SPEED: Final = 86_400.0
"""The largest speed: a day in a second."""
_LATEST: Final = 250_000_000_000.0  # in the year 9892; dates in answers end with the year 9999


class Clock:
    """Returns seconds since the epoch. Calling the clock reads it.

    Args:
        start: The time that the clock shows first; None is the real time.
        speed: How many seconds pass in a real second.
        real: The real time in seconds since the epoch.
        ticks: Real seconds, counted from any point. They measure what passes at another speed than 1.

    At speed 1 the clock follows ``real``, also over a suspend of the machine. It stops in the year 9892.

    Concurrency: safe from any thread.
    """

    def __init__(
        self,
        *,
        start: float | None = None,
        speed: float = 1.0,
        real: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lock = Lock()
        self._real = real
        self._ticks = ticks
        self._speed = checked_speed(speed)
        self._set(real() if start is None else start)

    def __call__(self) -> float:
        """The time."""
        with self._lock:
            return self._now()

    @property
    def speed(self) -> float:
        """How many seconds pass in a real second."""
        return self._speed

    @speed.setter
    def speed(self, speed: float) -> None:
        speed = checked_speed(speed)
        with self._lock:
            now = self._now()
            self._speed = speed
            self._set(now)

    def advance(self, seconds: float) -> None:
        """Moves the clock forward."""
        with self._lock:
            self._set(self._now() + seconds)

    def _set(self, now: float) -> None:
        self._base, self._since = now, self._elapsed()

    def _now(self) -> float:
        return min(self._base + (self._elapsed() - self._since) * self._speed, _LATEST)

    def _elapsed(self) -> float:
        return self._real() if self._speed == 1.0 else self._ticks()


def checked_speed(speed: float) -> float:
    """Returns the speed.

    Raises:
        ValueError: It is not from 0 to ``MAX_SPEED``.

    """
    if not (math.isfinite(speed) and 0 <= speed <= MAX_SPEED):
        raise ValueError(f"the speed must be from 0 to {MAX_SPEED:,.0f}")
    return float(speed)
