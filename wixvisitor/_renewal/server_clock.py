"""What time it is by Wix's clock, which decides when a token ends. Pure but for the clock that it is given.

A machine's clock may be wrong by hours: ahead, behind, or set while a process runs. Tokens end by Wix's clock, so all
that is said of a token's end here, in memory and in the store, is by Wix's clock. The difference to the machine's own
is learnt from the ``Date`` of Wix's answers; up to a minute of it is left alone.

========================= =======================================================================================
what came                 is believed
========================= =======================================================================================
an answer to a token call whatever it says; Wix gave it at some time between the call and its arrival
an answer of an API       only if Wix's clock is later than was thought: caches keep old answers with their dates
========================= =======================================================================================

An API whose date a token answer contradicts has a clock of its own: from then on no API's date is believed, or each of
its answers would lead to a renewal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from wixvisitor._renewal import decision
from wixvisitor._tokens import EMPTY_TOKENS, AccessToken, Tokens

_TOLERANCE: Final = 60.0  # seconds that clocks may differ without any consequence
_RESOLUTION: Final = 1.0  # seconds; a Date has whole ones


class ServerClock:
    """Wix's clock as one pool, or one session without a pool, knows it.

    Args:
        clock: the machine's, in seconds since the epoch.

    Attributes:
        offset: seconds that Wix's clock is ahead of the machine's; 0.0 while nothing else is known.
        is_unset: whether no answer has told the time yet.
        trusts_exp: whether tokens that Wix grants end when they themselves say so. Those of a stand-in may not.

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
        earliest = min(now, asked_at)  # if it was set back meanwhile, what it shows now is what counts
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
        """Learns whether a token that Wix has just granted says itself when it ends."""
        tokens = Tokens(granted, EMPTY_TOKENS.refresh_token)
        self.trusts_exp = decision.adopted(tokens) is tokens

    def limited(self, tokens: Tokens) -> Tokens:
        """Returns tokens from elsewhere with an end no later than their own."""
        return decision.adopted(tokens) if self.trusts_exp else tokens

    def _set(self, offset: float) -> None:
        self.offset = offset if abs(offset) > _TOLERANCE else 0.0
