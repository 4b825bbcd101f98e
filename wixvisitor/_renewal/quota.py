"""The cap for new visitors in a minute. Pure: the caller has the clock and the lock."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Final

_MINUTE: Final = 60.0  # seconds


class Quota:
    """Counts the new visitors of the last minute and the reservations.

    A new visitor counts from its reservation until a minute after Wix's answer, because Wix counts it when it is minted
    and it may have waited before.
    """

    __slots__ = ("_made", "_reserved", "_told_at", "number")

    def __init__(self, number: int | None) -> None:
        self.number = number
        self._reserved = 0
        self._made: deque[float] = deque()
        self._told_at = -inf

    def take(self, now: float) -> tuple[float, bool]:
        """Reserves a new visitor.

        Returns:
            0.0 if it is reserved, else the seconds until one can be; and whether the log has not said so for a minute.
        """
        if self.number is None:
            return 0.0, False
        while self._made and not 0 <= now - self._made[0] < _MINUTE:
            self._made.popleft()
        if len(self._made) + self._reserved < self.number:
            self._reserved += 1
            return 0.0, False
        is_news = not 0 <= now - self._told_at < _MINUTE
        if is_news:
            self._told_at = now
        return (self._made[0] if self._made else now) + _MINUTE - now, is_news

    def settle(self, now: float, *, has_minted: bool) -> None:
        """Ends a reservation, whether a visitor was minted or not."""
        if self.number is None:
            return
        self._reserved -= 1
        if has_minted:
            self._made.append(now)
