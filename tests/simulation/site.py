"""Judges how one pool treats the site's token endpoint: its pause, its poisoned visitors, its turns, its cap.

It sees the calls that leave the process, their answers, and what callers are told; it does not ask the code. What it
cannot know for certain it leaves open: a pause lasts at least as long as is said here, and a visitor's last call has
failed if it surely has. Two things that happen at one moment may have happened in either order.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from wixvisitor import TokenRequestError

if TYPE_CHECKING:
    from .scheduler import Process

Fail = Callable[[int, str], None]

STORE_LIMIT = 9.9  # seconds; a call of the store that takes a little longer is given up
EPS = 1e-6  # seconds; what happens within them happens at once
_SOON = 0.05  # seconds in which a caller is told of a pause
_STREAK = 3  # visitors in a row that meet a failure, before it is the site's
_ATTEMPTS = 3  # of one call
MAX_ATTEMPT = 10.0  # seconds
_MAX = 60.0  # seconds that a pause lasts at most, unless Wix names a time …
_LONGEST_NAMED = 300.0  # … which is kept up to here
_ID = re.compile(r"call-\d+")


@attrs.define(eq=False)
class Call:
    """All that one renewal asks Wix, its repeats included.

    Attributes:
        key: for whom.
        work: the flight that asks.
        began: when the first attempt left.
        failed_before: whether the visitor's call before this one had failed, as far as is known.
        surely_failed_before: whether it had for certain; one that was frozen has not failed.
        stopped_for: seconds that the process had been stopped when it began.
        is_new: whether a visitor is made that has nothing to lose yet.
        is_cut: whether the application has set other tokens since.
        attempts: how many there were; the last one is under way if ``is_out``.
        status: of the last answer, None for none.
        has_failed: whether that was of no use.
        last: when the last attempt ended.
        ended: when the call was over, None as long as it may be repeated.
    """

    key: str
    work: Any
    began: float
    failed_before: bool
    surely_failed_before: bool
    stopped_for: float
    is_new: bool
    is_cut: bool = False
    attempts: int = 0
    is_out: bool = False
    attempt_began: float = 0.0
    status: int | None = None
    has_failed: bool = False
    retry_after: float | None = None
    last: float = 0.0
    ended: float | None = None
    id: str = ""


@attrs.define(eq=False)
class Cooldown:
    """A pause that must last.

    Attributes:
        began: when the answer came that it is due to.
        until: how long it lasts at least.
        latest: how long it lasts at most, if nothing prolongs it.
        number: how many there were in a row.
        cause: the answer's name, "" if there was none.
        status: its status.
    """

    began: float
    until: float
    latest: float
    number: int
    cause: str
    status: int | None


@attrs.define(eq=False)
class _Waiting:
    """A shopper who waits for a turn, and the calls that have started since."""

    since: float
    new: int = 0
    known: int = 0


class Site:
    """What one pool was seen to do.

    Args:
        process: where it lives.
        fail: keeps a violation.
        is_idle: whether neither the store nor Wix works for a visitor; while the store does, it has its turn.
        renew_timeout: seconds.
        turns: ``max_token_requests``.
        cap: ``new_visitors_per_minute``.

    Attributes:
        served: how many calls were granted tokens.
    """

    def __init__(
        self,
        process: Process,
        fail: Fail,
        *,
        is_idle: Callable[[str], bool],
        renew_timeout: float,
        limiter: int,
        cap: int | None,
        has_wild_clock: bool,
    ) -> None:
        self._process, self._fail, self._cap = process, fail, cap
        self._is_idle = is_idle
        self._renew_timeout, self._limiter = renew_timeout, limiter
        self._has_wild_clock = has_wild_clock
        self.served = 0
        self._open: list[Call] = []
        self._by_id: dict[str, Call] = {}
        self._failed: set[str] = set()
        self._unknown: set[str] = set()
        self._streak: set[str] = set()
        self._cooldown: Cooldown | None = None  # the last one, until a call succeeds
        self._is_sure = True  # whether all failures since then are known
        self._granted: list[tuple[float, str]] = []
        self._waiting: dict[str, _Waiting] = {}
        self._made: list[float] = []
        self._unanswered_at = -1e9
        self._ending: set[str] = set()
        self._set_at: dict[str, float] = {}
        self._is_closing = False

    @property
    def _now(self) -> float:
        return self._process.scheduler.now

    # What the pool does

    def starts(self, key: str, work: Any, name: str, *, is_new: bool) -> Call:
        """A call to the token endpoint leaves the process; ``name`` stands in its answer."""
        self._settle()
        call = next((call for call in self._open if call.work is work), None)
        if call is None:
            has_failed, stopped_for = key in self._failed, self._process.stopped_for
            is_sure = has_failed and key not in self._unknown
            call = Call(key, work, self._now, has_failed, is_sure, stopped_for, is_new)
            self._open.append(call)
            self._check_turn(call)
        call.attempts += 1
        call.is_out, call.attempt_began, call.id = True, self._now, name
        self._by_id[name] = call
        self._check_pause(call)
        return call

    def granted(self, call: Call, served_at: float) -> None:
        """Wix granted tokens, which it did at ``served_at``."""
        self._ends(call, 200, None)
        self.served += 1
        self._granted.append((self._now, call.key))
        self._cooldown, self._is_sure = None, True
        self._streak.clear()
        self._failed.discard(call.key)
        self._unknown.discard(call.key)
        if self._was_stopped(call):  # the answer may have been there too late
            self._unknown.add(call.key)
        if call.is_new:
            self._check_cap(served_at)

    def refused(self, call: Call) -> None:
        """Wix refused the refresh token: an answer, and no failure."""
        self._ends(call, 400, None)
        call.attempts = 0  # a new visitor may be made next, which is another call

    def failed(self, call: Call, status: int | None, retry_after: float | None) -> None:
        """There was no usable answer. A 429 is the site's at once; anything else when it is not repeated."""
        self._ends(call, status, retry_after)
        self._unanswered_at, call.has_failed = self._now, True
        if status == 429 or call.attempts >= _ATTEMPTS:
            self._note_failure(call)
        if call.attempts >= _ATTEMPTS:
            self._is_over(call)

    def broke_off(self, call: Call) -> None:
        """The attempt was cancelled in the process: its time or the call's was over, or the pool is being closed.

        After an attempt that had all of its time, the call may be repeated.
        """
        self._ends(call, None, None)
        self._unanswered_at = self._now
        call.is_cut = call.is_cut or abs(call.attempt_began - self._set_at.get(call.key, -1.0)) <= EPS
        if self._is_closing or call.is_cut or call.key in self._ending or self._was_stopped(call):
            self._is_over(call)
            self._unknown.add(call.key)
            self._is_sure = False
            return
        seconds = self._now - call.attempt_began
        if seconds >= MAX_ATTEMPT - EPS:
            self.failed(call, None, None)
            return
        self._is_over(call)
        least = 0.25 * self._renew_timeout if call.attempts == 1 else min(1.0, 0.1 * self._renew_timeout)
        if seconds < 0.9 * least:
            self._fail(12, f"{self._process.name} asks Wix for {call.key} and waits {seconds:.3f} s for the answer")
        self._note_failure(call)

    def gives_back(self, key: str) -> None:
        """The lease is given back, so that the renewal is over."""
        for call in [call for call in self._open if call.key == key and not call.is_out]:
            self._finish(call)

    def finds_lease_taken(self, key: str) -> None:
        """A visitor leaves its turn to others while another process renews it."""
        self._waiting.pop(key, None)

    def closes(self) -> None:
        """The application closes the pool: calls under way are broken off."""
        self._is_closing = True

    def forgets(self, key: str) -> None:
        """The application forgets a visitor, whose call under way is broken off."""
        self._ending.add(key)

    def sets(self, key: str) -> None:
        """The application sets other tokens, which breaks off the call under way for those before.

        A call that begins at the same moment is broken off as well.
        """
        self._set_at[key] = self._now
        for call in self._open:
            if call.key == key:
                call.is_cut = True

    def is_stopped(self) -> None:
        """The process is stopped: what comes then comes late, and in any order."""
        self._unknown |= {call.key for call in self._open}
        self._streak.clear()
        self._waiting.clear()

    # What its callers are told

    def waits(self, key: str) -> None:
        """A shopper whose token has expired asks for another one."""
        self._settle()
        if key not in self._failed and key not in self._unknown and not self._calls_of(key):
            self._waiting[key] = _Waiting(self._now)

    def has_waited(self, key: str) -> None:
        """It has been served, or told. Its turn need not have come to a call, where another process was faster."""
        if self._waiting.pop(key, None) is not None:
            for waiting in self._waiting.values():
                waiting.known += 1

    def is_its_own(self, key: str) -> bool:
        """Whether the last call of this visitor has failed, or may have."""
        self._settle()
        return key in self._failed or key in self._unknown

    def told(self, key: str, error: BaseException, since: float, *, is_idle: bool, stopped: float) -> None:
        """A caller got an error.

        Args:
            key: whose.
            error: what.
            since: when it began to wait, with its visitor loaded.
            is_idle: whether neither a call nor the store worked for this visitor then.
            stopped: seconds that the process was stopped since.
        """
        self._settle()
        if not isinstance(error, TokenRequestError) or stopped or self._has_wild_clock:
            return
        text = str(error)
        if "gave no answer within" in text and self._unanswered_at < since - _LONGEST_NAMED - self._renew_timeout:
            self._fail(12, f"{self._process.name} says that Wix gave no answer for {key}, and has not asked it")
        found = _ID.search(f"{error.request_id} {text}")
        cause = self._by_id.get(found.group()) if found else None
        if cause is not None and cause.key != key:
            self._check_is_the_sites(key, cause, since)
        pause = self._cooldown
        if pause is not None and pause.began < since - EPS and self._now < pause.until - EPS and is_idle:
            self._check_error(key, error, pause, cause, self._now - since)

    # Books

    def _calls_of(self, key: str) -> list[Call]:
        return [call for call in self._open if call.key == key]

    def _was_stopped(self, call: Call) -> bool:
        return self._process.stopped_for != call.stopped_for

    def _ends(self, call: Call, status: int | None, retry_after: float | None) -> None:
        call.is_out, call.status, call.retry_after, call.last = False, status, retry_after, self._now
        call.has_failed = False

    def _settle(self) -> None:
        """Finds out which calls are over: their work is done, and there will be no repeat."""
        for call in [call for call in self._open if not call.is_out and call.work.done]:
            self._finish(call)

    def _finish(self, call: Call) -> None:
        self._is_over(call)
        if call.has_failed and call.is_cut:  # before it was repeated: the pool does not know of a failure
            self._unknown.add(call.key)
            self._is_sure = False
        elif call.has_failed and call.status != 429:
            self._note_failure(call)

    def _is_over(self, call: Call) -> None:
        if call in self._open:
            self._open.remove(call)
            call.ended = self._now

    def _note_failure(self, call: Call) -> None:
        """The visitor's own last call has failed. Begins, prolongs or doubles the pause, if that is sure."""
        key, was_own, is_unknown = call.key, call.key in self._failed, call.key in self._unknown
        self._failed.add(key)
        self._unknown.discard(key)
        if self._was_stopped(call):
            self._unknown.add(key)
            self._is_sure = False
        elif is_unknown or any(at >= call.last - EPS for at, _ in self._granted[-1:]):
            self._is_sure = False
            if self._cooldown is not None:  # this failure may have prolonged it
                named = min(call.retry_after or 0.0, _LONGEST_NAMED)
                self._cooldown.latest = max(self._cooldown.latest, call.last + named)
        elif not was_own:
            self._counts(call)

    def _counts(self, call: Call) -> None:
        at, named, pause = call.last, min(call.retry_after or 0.0, _LONGEST_NAMED), self._cooldown
        if pause is not None and call.began < pause.until:
            if named and at > pause.until:
                pause.began = at  # it was over, and lasts again from now on
            pause.until = max(pause.until, at + named if named else 0.0)  # it was under way when the pause began
            pause.latest = max(pause.latest, pause.until)
            return
        if pause is None:
            self._streak.add(call.key)
            if call.status != 429 and len(self._streak) < _STREAK:
                return
        self._streak.clear()
        number = pause.number + 1 if pause is not None else 1
        longest = min(_MAX, 2.0 ** (number - 1))
        # Where a failure before this one is unknown, a pause may have begun with that one.
        low, high = (0.5 * longest, longest) if self._is_sure else (0.0, _MAX)
        low, high = (named, named) if named else (low, high)
        self._cooldown = Cooldown(at, at + low, at + high, number, call.id if call.status else "", call.status)

    # The rules

    def _check_pause(self, call: Call) -> None:
        """Rule 10: nothing starts while the pause lasts, and after it one call goes first."""
        pause, now, name = self._cooldown, self._now, self._process.name
        if pause is None or self._has_wild_clock:
            return
        if pause.began + EPS < now < pause.until - EPS:
            self._fail(10, f"{name} asks Wix for {call.key}, {pause.until - now:.3f} s before its pause is over")
        if now < pause.until or call.failed_before or call.key in self._unknown or call.began < pause.until:
            return
        others = (other for other in self._open if other is not call and other.began >= pause.until)
        for other in others:
            if not other.failed_before and other.key not in self._unknown and not self._was_stopped(other):
                self._fail(10, f"{name} asks Wix for {call.key} and for {other.key} at once, before it has answered")

    def _check_turn(self, call: Call) -> None:
        """Rule 13: while a renewal waits, at most every fourth turn is a new visitor's."""
        self._waiting.pop(call.key, None)
        for key, waiting in self._waiting.items():
            waiting.new += call.is_new
            waiting.known += not call.is_new
            allowed = self._limiter + 1 + (waiting.known + self._limiter) / 3
            if waiting.new > allowed and not self.is_its_own(key) and self._is_idle(key):
                self._fail(13, f"{self._process.name} lets {key} wait for {waiting.new} new visitors")

    def _check_cap(self, served_at: float) -> None:
        """Rule 13: in any minute no more new visitors are made than the cap says."""
        self._made = [at for at in self._made if served_at - at < 60.0 - EPS] + [served_at]
        if self._cap is not None and len(self._made) > self._cap and not self._has_wild_clock:
            self._fail(13, f"{self._process.name} makes {len(self._made)} new visitors in a minute")

    def _check_is_the_sites(self, key: str, cause: Call, since: float) -> None:
        """Rule 11: what one visitor meets is its own, once another one was served."""
        name = self._process.name
        if cause.surely_failed_before:
            self._fail(11, f"{name} tells {key} of {cause.key}'s failure, whose last call had failed before")
        ended = cause.ended
        if ended is not None and any(ended + EPS < at < since - EPS for at, _ in self._granted):
            self._fail(11, f"{name} tells {key} of {cause.key}'s failure, and others have been served since")

    def _check_error(
        self, key: str, error: TokenRequestError, pause: Cooldown, cause: Call | None, seconds: float
    ) -> None:
        """Rule 10: who comes while the pause lasts is told at once, by what, and for how long.

        A visitor whose own call failed may have a pause of its own, which is no shorter.
        """
        where = f"{self._process.name} tells {key}"
        if seconds > _SOON:
            self._fail(10, f"{where} of the pause after {seconds:.3f} s")
        left = error.retry_after
        if error.status_code is not None and not error.request_id:
            self._fail(10, f"{where} {error.status_code}, and not which request it was")
        if left is None:
            self._fail(10, f"{where} of the pause, and not how long it lasts")
        elif cause is not None and cause.id == pause.cause:
            earliest, latest = pause.until - self._now, pause.latest - self._now
            latest = max(latest, _LONGEST_NAMED) if cause.key == key else latest
            if error.status_code != pause.status or not earliest - 0.01 <= left <= latest + 0.01:
                self._fail(10, f"{where} {error.status_code}, {left:.3f} s; the pause lasts {earliest:.3f} s more")
