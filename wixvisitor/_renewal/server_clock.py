"""Wix's time, which decides when a token expires. Pure but for the clock that it is given.

A machine's clock may be wrong by hours, and it may be set while a process runs. Tokens expire by Wix's clock, so every
``expires_at`` here, in memory and in the store, is by Wix's clock. The difference to the machine's clock is learnt from
the ``Date`` of Wix's answers. A difference of less than a minute is ignored.

========================= =======================================================================================
what came                 what is believed
========================= =======================================================================================
an answer to a token call its date; Wix wrote it between the call and its arrival
an answer of an API       its date, if it is later than expected: caches keep old answers with their dates
========================= =======================================================================================

If a token answer contradicts the date of an API, that API has a clock of its own. From then on no API's date is
believed; otherwise each of its answers would lead to a renewal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from wixvisitor._renewal import decision
from wixvisitor._tokens import EMPTY_TOKENS, AccessToken, Tokens

_TOLERANCE: Final = 60.0  # seconds that clocks may differ
_RESOLUTION: Final = 1.0  # seconds; the resolution of a Date header


class ServerClock:
    """Wix's clock as one pool, or one session without a pool, knows it.

    Args:
        clock: the machine's, in seconds since the epoch.

    Attributes:
        offset: seconds that Wix's clock is ahead of the machine's; 0.0 while nothing else is known.
        is_unset: whether no answer has told the time yet.
        trusts_exp: whether granted tokens expire at their own ``exp``. Those of a stand-in for Wix may not.

    Concurrency: safe from any task and thread; the last answer counts.
    """

    __slots__ = ("_believes_apis", "_clock", "_was_told_by_api", "is_unset", "offset", "trusts_exp")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._believes_apis = True
        self._was_told_by_api = False  # what is known now
        self.is_unset = True
        self.offset = 0.0
        self.trusts_exp = True

    def now(self) -> float:
        """Returns Wix's time in seconds since the epoch."""
        return self._clock() + self.offset

    def note_token_answer(self, date: float | None, asked_at: float) -> float:
        """Learns the time from an answer to a token call.

        Args:
            date: what Wix's clock showed, None if the answer does not tell.
            asked_at: what the machine's showed when the call was made.

        Returns:
            When the call was made, by Wix's clock. A token's life counts from there.
        """
        if date is None:
            return asked_at + self.offset
        now = self._clock()
        earliest = min(now, asked_at)  # the clock may have been set back meanwhile
        least, most = date - now, date + _RESOLUTION - earliest
        if self.offset < least - _TOLERANCE:
            self._set(least)
        elif self.offset > most + _TOLERANCE:
            self._believes_apis = self._believes_apis and not self._was_told_by_api
            self._set(most)
        self.is_unset = self._was_told_by_api = False
        asked_at += self.offset
        return asked_at if asked_at < date + _TOLERANCE - _RESOLUTION else date  # no call is later than its answer

    def note_api_answer(self, date: float | None) -> None:
        """Learns the time from an answer of an API, if Wix's clock is later than was thought."""
        self.is_unset = False
        if date is None or not self._believes_apis:
            return
        offset = date - self._clock()
        if offset > self.offset + _TOLERANCE:
            self._was_told_by_api = True
            self._set(offset)

    def note_grant(self, granted: AccessToken) -> None:
        """Learns whether a token that Wix has just granted has the right ``exp``."""
        tokens = Tokens(granted, EMPTY_TOKENS.refresh_token)
        self.trusts_exp = decision.adopted(tokens) is tokens

    def limited(self, tokens: Tokens) -> Tokens:
        """Returns tokens that Wix did not grant just now, with an ``expires_at`` no later than their own ``exp``."""
        return decision.adopted(tokens) if self.trusts_exp else tokens

    def _set(self, offset: float) -> None:
        self.offset = offset if abs(offset) > _TOLERANCE else 0.0
