"""Decides when a doubtful answer to a renewal counts as a refusal. Pure: no clock, no lock.

A gateway, a firewall or an overloaded server may also answer 400, 401 or 403 with JSON, and a visitor must not be lost
because of it. So a doubtful answer counts only when the same answer comes again, after this time:

================================================================= ========= =====================================
what happened since the visitor's first doubtful answer            counts    because
================================================================= ========= =====================================
a renewal of another visitor succeeded                            after 2 s Wix renews, but not this token
no renewal succeeded, fewer than three visitors have such answers 60 s      a gateway's failure would have ended
no renewal succeeded, three or more visitors have such answers    10 min    a firewall may block all renewals
================================================================= ========= =====================================

A mint that succeeds proves nothing: a firewall may block one grant type and pass the other.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Final, NamedTuple

SOON: Final = 2.0  # seconds, as all here
LATER: Final = 60.0
MUCH_LATER: Final = 600.0
MANY: Final = 3  # visitors
_REMEMBERED: Final = 4_096  # visitors with a doubtful answer; the oldest is dropped


class _Doubt(NamedTuple):
    token: int
    answer: str
    since: float


class Doubts:
    """What a pool knows of its visitors' doubtful answers."""

    __slots__ = ("_open", "_renewed_at")

    def __init__(self) -> None:
        self._open: OrderedDict[str, _Doubt] = OrderedDict()
        self._renewed_at = -math.inf

    def is_confirmed(self, visitor: str, token: int, answer: str, now: float) -> bool:
        """Notes a doubtful answer, and returns whether it counts as a refusal.

        Args:
            visitor: its key.
            token: the hash of the refresh token that was sent.
            answer: its kind; answers of the same kind have the same text here.
            now: epoch seconds.
        """
        doubt = self._open.get(visitor)
        if doubt is None or (doubt.token, doubt.answer) != (token, answer) or now < doubt.since:
            self._open[visitor] = _Doubt(token, answer, now)
            self._open.move_to_end(visitor)
            while len(self._open) > _REMEMBERED:
                self._open.popitem(last=False)
            return False
        return now - doubt.since >= self._needed(doubt)

    def _needed(self, doubt: _Doubt) -> float:
        if self._renewed_at >= doubt.since:  # another visitor's renewal; its own would have ended it
            return SOON
        first = next(iter(self._open.values())).since
        return MUCH_LATER if len(self._open) >= MANY and self._renewed_at < first else LATER

    def renewed(self, visitor: str, now: float) -> None:
        """Notes that Wix renewed this visitor's token."""
        self._renewed_at = now
        self._open.pop(visitor, None)

    def end(self, visitor: str) -> None:
        """Forgets this visitor's doubt, because it was replaced or has other tokens."""
        self._open.pop(visitor, None)
