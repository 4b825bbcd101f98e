"""Mistakes with the site's pause, the turns, the store's time and the order of what is set: one patch each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from unittest.mock import patch

import anyio
import attrs

from wixvisitor._renewal import limiter, permit_queue, quota
from wixvisitor._renewal.breaker import Admission, Breaker
from wixvisitor._renewal.decision import Unread
from wixvisitor._renewal.doubts import Doubts
from wixvisitor._renewal.lane import Job, Lane
from wixvisitor._renewal.records import Records
from wixvisitor._renewal.run import Outcome, Renewal
from wixvisitor._renewal.server_clock import ServerClock
from wixvisitor.errors import TokenRequestError, WixVisitorError


def _a_pause_for_each_alone() -> Any:
    """No failure pauses the pool: each visitor learns for itself."""

    def failed(self: Breaker, visitor: str, *_: Any, **_named: Any) -> bool:
        self.left(visitor)
        return False

    return patch.object(Breaker, "failed", failed)


def _one_pauses_all() -> Any:
    """A visitor whose own last call failed counts like any other, again and again."""
    failed = Breaker.failed

    def forgetful(self: Breaker, *arguments: Any, **named: Any) -> bool:
        self._failed_at.clear()
        return failed(self, *arguments, **named)

    return patch.object(Breaker, "failed", forgetful)


def _all_ask_after_the_pause() -> Any:
    """When a pause is over all ask at once, and nobody waits for the first one's answer."""

    def admit(self: Breaker, _visitor: str, now: float, _is_hopeless: Any) -> Admission:
        return Admission.FAIL if self.cooldown is not None and self.cooldown.active(now) else Admission.GO

    return patch.object(Breaker, "admit", admit)


def _no_doubling() -> Any:
    """Each pause is as short as the first one."""
    failed = Breaker.failed

    def as_the_first(self: Breaker, *arguments: Any, **named: Any) -> bool:
        if self.cooldown is not None:
            self.cooldown = attrs.evolve(self.cooldown, failures=0)
        return failed(self, *arguments, **named)

    return patch.object(Breaker, "failed", as_the_first)


def _what_is_left_is_not_said() -> Any:
    """Who is sent away is told what Wix said to the first one, however long ago."""

    def as_it_was(cause: WixVisitorError, _seconds: float) -> WixVisitorError:
        return limiter.not_asked(cause._again())

    return patch.object(limiter, "_cause_of_cooldown", as_it_was)


def _a_turn_outlives_the_pause() -> Any:
    """Who has its turn asks Wix when the store has answered, whatever has happened meanwhile."""

    async def whatever(self: limiter.Permit, _seconds: float) -> None:
        """It is not looked at again."""

    return patch.object(limiter.Permit, "confirm", whatever)


def _one_line_for_all() -> Any:
    """Renewals and new visitors stand in one line."""

    def in_one_line(self: permit_queue.Queue) -> None:
        self.under_way = self.in_a_row = 0
        line: dict[Any, None] = {}
        self.lines = line, line

    return patch.object(permit_queue.Queue, "__init__", in_one_line)


def _the_cap_counts_nothing() -> Any:
    """There is always room for one more new visitor."""
    return patch.object(quota.Quota, "take", lambda self, now: (0.0, False))


def _the_cap_counts_reservations() -> Any:
    """A new visitor counts when it joins the line, and no more when a minute has passed since."""
    take = quota.Quota.take

    def count_at_once(self: quota.Quota, now: float) -> tuple[float, bool]:
        seconds, is_news = take(self, now)
        if not seconds:
            self._reserved -= 1
            self._made.append(now)
        return seconds, is_news

    def give_back(self: quota.Quota, now: float, *, has_minted: bool) -> None:
        if not has_minted and self._made:
            self._made.pop()

    return patch.multiple(quota.Quota, take=count_at_once, settle=give_back)


def _deadline_before_the_load() -> Any:
    """Wix's time starts before the store is read."""
    run = Renewal.run

    async def in_time(self: Renewal) -> Outcome:
        try:
            with anyio.fail_after(self.settings.renew_timeout):
                return await run(self)
        except TimeoutError:
            raise TokenRequestError("The token endpoint gave no answer within its time.") from None

    return patch.object(Renewal, "run", in_time)


def _unordered_sets() -> Any:
    """What is set waits for nothing that was set before."""
    do = Lane._do

    async def at_once(self: Lane, job: Job, work: Callable[[], Awaitable[object]], before: Any) -> object:
        return await do(self, job, work, [one for one in before if one.need is not None])

    return patch.object(Lane, "_do", at_once)


def _closing_forgets_what_is_set() -> Any:
    """Closing ends renewals, and leaves under way what the app has set."""
    aclose, here = Lane.aclose, Lane.here

    async def some(self: Lane) -> None:
        with patch.object(Lane, "here", lambda lane: [job for job in here(lane) if job.need is not None]):
            await aclose(self)

    return patch.object(Lane, "aclose", some)


def _a_late_write_wins() -> Any:
    """What the app sets is saved over whatever there is when the store gets to it."""

    async def unread(self: Records) -> Unread:
        return Unread.UNREAD

    return patch.object(Records, "version", unread)


def _once_is_enough() -> Any:
    """A doubtful answer is a refusal at once."""
    return patch.object(Doubts, "is_confirmed", lambda _self, *_: True)


def _each_by_its_own_clock() -> Any:
    """What Wix's answers say of the time is not looked at, and neither is what tokens say of their end."""
    return patch.multiple(
        ServerClock,
        note_token_answer=lambda _self, _date, asked_at: asked_at,
        note_api_answer=lambda _self, _date: None,
        limited=lambda _self, tokens: tokens,
    )


def _soon_is_enough() -> Any:
    """The same doubtful answer 2 s later is a refusal, though no other visitor was renewed."""
    return patch.object(Doubts, "_needed", lambda _self, _doubt: 2.0)


MISTAKES: tuple[tuple[str, Callable[[], Any], tuple[int, ...], str], ...] = (
    ("a pause for each visitor alone", _a_pause_for_each_alone, (10,), "crowd"),
    ("one visitor pauses all", _one_pauses_all, (11,), "crowd"),
    ("all ask after the pause", _all_ask_after_the_pause, (10,), "crowd"),
    ("a pause that does not double", _no_doubling, (10,), "crowd"),
    ("what is left is not said", _what_is_left_is_not_said, (10,), "crowd"),
    ("a turn outlives the pause", _a_turn_outlives_the_pause, (10,), "crowd"),
    ("one line for all", _one_line_for_all, (13,), "crowd"),
    ("the cap counts nothing", _the_cap_counts_nothing, (13,), "crowd"),
    ("the cap counts reservations", _the_cap_counts_reservations, (13,), "crowd"),
    ("deadline before the load", _deadline_before_the_load, (12,), "slow store"),
    ("unordered sets", _unordered_sets, (6,), "slow store"),
    ("closing forgets what is set", _closing_forgets_what_is_set, (6, 9), "slow store"),
    ("a late write wins", _a_late_write_wins, (1, 6), "slow store"),
    ("one doubtful answer is a refusal", _once_is_enough, (1, 6), "shop"),
    ("each by its own clock", _each_by_its_own_clock, (5,), "shop"),
    ("two doubtful answers are a refusal", _soon_is_enough, (1, 6), "crowd"),
)
"""Name, patch, the invariants that it violates, and in which kind of world."""
