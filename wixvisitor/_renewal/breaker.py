"""The circuit breaker of a pool's token requests. Pure: no clock, no lock.

Wix limits a site, not a visitor, and an outage hits all visitors. So one breaker serves all. It has three states:

========== =========================== ============================================================================
state      when                        a visitor that needs the endpoint
========== =========================== ============================================================================
closed     there is no cooldown        asks
open       a cooldown lasts            gets the cooldown's cause at once
half-open  a cooldown is over, and no  asks for all visitors (the probe), if no other visitor does so already. All
           call has succeeded since    others wait for its answer: a success closes the breaker, a failure doubles the
                                       cooldown
========== =========================== ============================================================================

Rules:

1. A 429 opens the breaker, for as long as Wix says.
2. Any other failure opens it once ``STREAK`` different visitors in a row have failed, with no success between them.
3. The trouble of a visitor whose last call failed may be its own. So its next failure neither opens the breaker nor
   extends or doubles the cooldown, and it is no probe. It waits until another visitor has asked, for at most
   ``MAX_WAIT``. It does not wait if every other visitor has failed as well.
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

STREAK: Final = 3  # visitors in a row that must fail before the failure counts as the site's
MAX_WAIT: Final = 60.0  # seconds after its own failure that a visitor waits for another visitor to ask
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
        cooldown: the last cooldown, also when it is over; None once a call has succeeded.
        probe: the visitor that asks for all, None if there is none.
    """

    __slots__ = ("_failed_at", "_streak", "cooldown", "probe")

    def __init__(self) -> None:
        self.cooldown: Cooldown | None = None
        self.probe: str | None = None
        self._streak: set[str] = set()
        self._failed_at: OrderedDict[str, float] = OrderedDict()

    def admit(self, visitor: str, now: float, is_hopeless: Callable[[], bool]) -> Admission:
        """Returns what this visitor does next.

        Args:
            visitor: its key.
            now: epoch seconds.
            is_hopeless: returns whether the last call of every live visitor failed; called only if rule 3 needs it.
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
        """Returns whether the last call of each of these visitors failed."""
        return all(visitor in self._failed_at for visitor in visitors)

    def seconds_to_wait(self, visitor: str, now: float) -> float:
        """Returns the seconds that this visitor waits for another to ask (rule 3); 0.0 if its last call succeeded."""
        failed_at = self._failed_at.get(visitor)
        if failed_at is None or now < failed_at:
            return 0.0
        return max(0.0, failed_at + MAX_WAIT - now)

    def succeeded(self, visitor: str) -> None:
        """Notes that Wix granted this visitor tokens, which closes the breaker."""
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
            cause: what the other visitors are told. A ``status_code`` of 429 is the site's limit.
            now: epoch seconds.
            jitter: from 0 to 1.
            retry_after: seconds that Wix asked to wait.
            began: when the call was made. A call that began before the cooldown brings no news.

        Returns:
            Whether this failure has opened the breaker.
        """
        self.left(visitor)
        was_its_own = visitor in self._failed_at
        self._failed_at[visitor] = now
        self._failed_at.move_to_end(visitor)
        if was_its_own:
            return False
        while len(self._failed_at) > _REMEMBERED:
            self._failed_at.popitem(last=False)
        cooldown = self.cooldown
        if cooldown is not None and (cooldown.active(now) or began <= cooldown.since):  # the call was under way then
            self.cooldown = decision.extended(cooldown, now, retry_after)
            return False
        if self.cooldown is None:
            self._streak.add(visitor)
            if getattr(cause, "status_code", None) != 429 and len(self._streak) < STREAK:
                return False
        self._streak.clear()
        self.cooldown = decision.next_cooldown(self.cooldown, now, jitter, cause=cause, retry_after=retry_after)
        return True

    def left(self, visitor: str) -> None:
        """Notes that this visitor's permit is back. If it was the probe, another visitor may become the probe."""
        if self.probe == visitor:
            self.probe = None
