"""When a pool leaves the token endpoint alone: a circuit breaker for all of its visitors. Pure: no clock, no lock.

Wix's limits are the site's and not the visitor's, and so is an outage. The breaker has three states:

========== =========================== ============================================================================
state      when                        a visitor that needs the endpoint
========== =========================== ============================================================================
closed     there is no pause           asks
open       a pause lasts               gets the pause's cause at once
half-open  a pause is over, and no     asks for all the others (the probe), if no other visitor does so already. The
           call has succeeded since    others wait for its answer: a success closes the breaker, a failure doubles the
                                       pause
========== =========================== ============================================================================

Rules:

1. A 429 opens the breaker, for as long as Wix says.
2. Every other failure opens it once ``STREAK`` different visitors in a row have met one, with no success between.
3. A visitor whose own last call failed has trouble of its own: its next failure neither opens the breaker, nor extends
   or doubles the pause. It is no probe. It waits until another visitor has asked, for at most ``LONGEST_WAIT``, and not
   at all where every other visitor has failed as well.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable
from enum import Enum, auto
from typing import Final

from wixvisitor._renewal import decision
from wixvisitor._renewal.decision import Cooldown
from wixvisitor.errors import WixVisitorError

STREAK: Final = 3  # visitors in a row that meet a failure before it counts as the site's
LONGEST_WAIT: Final = 60.0  # seconds after its own failure in which a visitor waits for another one to ask
_REMEMBERED: Final = 4_096  # visitors whose last call failed; the oldest is dropped


class Admission(Enum):
    """What a visitor that needs the endpoint does."""

    GO = auto()
    PROBE = auto()
    WAIT = auto()
    FAIL = auto()


class Breaker:
    """What a pool knows of the token endpoint.

    Attributes:
        cooldown: the last pause, also when it is over; None once a call has succeeded.
        probe: the visitor that asks for all, None if there is none.
    """

    __slots__ = ("_failed_at", "_streak", "cooldown", "probe")

    def __init__(self) -> None:
        self.cooldown: Cooldown | None = None
        self.probe: str | None = None
        self._streak: set[str] = set()
        self._failed_at: OrderedDict[str, float] = OrderedDict()

    def admit(self, visitor: str, now: float, is_hopeless: Callable[[], bool]) -> Admission:
        """Returns what this visitor does.

        Args:
            visitor: its key.
            now: epoch seconds.
            is_hopeless: whether the last call of every live visitor has failed; asked only where rule 3 needs it.
        """
        if self.cooldown is None:
            return Admission.GO
        if self.cooldown.active(now):
            return Admission.FAIL
        if self.probe is not None:
            return Admission.WAIT
        if visitor not in self._failed_at:
            return Admission.PROBE
        if self.seconds_to_wait(visitor, now) <= 0 or is_hopeless():
            return Admission.GO
        return Admission.WAIT

    def have_failed(self, visitors: Iterable[str]) -> bool:
        """Returns whether the last call of each of these visitors has failed."""
        return all(visitor in self._failed_at for visitor in visitors)

    def seconds_to_wait(self, visitor: str, now: float) -> float:
        """Returns for how long this visitor waits for another one to ask (rule 3); 0.0 if its last call succeeded."""
        failed_at = self._failed_at.get(visitor)
        if failed_at is None or now < failed_at:
            return 0.0
        return max(0.0, failed_at + LONGEST_WAIT - now)

    def succeeded(self, visitor: str) -> None:
        """Notes that Wix granted this visitor tokens: the breaker is closed."""
        self.cooldown = self.probe = None
        self._streak.clear()
        self._failed_at.pop(visitor, None)

    def failed(
        self,
        visitor: str,
        cause: WixVisitorError,
        now: float,
        jitter: float,
        *,
        retry_after: float | None,
        began: float = math.inf,
    ) -> bool:
        """Notes that Wix gave this visitor no usable answer.

        Args:
            visitor: its key.
            cause: what the other visitors are told; a ``status_code`` of 429 is the site's limit.
            now: epoch seconds.
            jitter: from 0 to 1.
            retry_after: seconds that Wix asked to wait.
            began: when the call was made. One from before a pause says nothing that the pause does not know.

        Returns:
            Whether the breaker has been opened by it.
        """
        self.left(visitor)
        was_its_own = visitor in self._failed_at
        self._failed_at[visitor] = now
        self._failed_at.move_to_end(visitor)
        if was_its_own:
            return False
        while len(self._failed_at) > _REMEMBERED:
            self._failed_at.popitem(last=False)
        if self.cooldown is not None and (
            self.cooldown.active(now) or began <= self.cooldown.since
        ):  # it was under way then
            self.cooldown = decision.extended(self.cooldown, now, retry_after)
            return False
        if self.cooldown is None:
            self._streak.add(visitor)
            if getattr(cause, "status_code", None) != 429 and len(self._streak) < STREAK:
                return False
        self._streak.clear()
        self.cooldown = decision.next_cooldown(self.cooldown, now, jitter, cause=cause, retry_after=retry_after)
        return True

    def left(self, visitor: str) -> None:
        """Notes that this visitor's turn is over. If it was the probe and brought no answer, another one may be it."""
        if self.probe == visitor:
            self.probe = None
