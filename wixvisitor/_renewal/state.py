"""A visitor's token state: the snapshot, and what was learnt about it. Nothing here awaits.

Every change is made under the lock, a ``threading.Lock`` that is held for microseconds. An ``asyncio.Lock`` would
belong to one event loop, and a session may be used in several. The refresher takes the same lock to start a renewal.
"""

from __future__ import annotations

import math
from typing import Final

import attrs

from wixvisitor._renewal import decision
from wixvisitor._renewal.changes import ChangeReason, TokensChanged
from wixvisitor._renewal.decision import PASS_THROUGH, Action, Cooldown, Need, Rest, Snapshot, State, Unread, Unsaved
from wixvisitor._renewal.limiter import raise_cooldown
from wixvisitor._renewal.lineage import Lineage
from wixvisitor._renewal.run import Outcome
from wixvisitor._renewal.settings import Settings
from wixvisitor._tokens import EMPTY_TOKENS, TokenRole, Tokens
from wixvisitor.errors import ConfigurationError, SessionExpired, TokenRequestError, WixVisitorError

_GRANTED: Final = (ChangeReason.MINTED, ChangeReason.RENEWED, ChangeReason.REPLACED)
_ADOPTED: Final = -math.inf  # 401s are not passed on, and another process renewed what is held


class Late(Exception):
    """The tokens were changed since this job began; its outcome is dropped."""


class TokenState:
    """One visitor's token state.

    Attributes:
        held: the snapshot, swapped in one assignment; None before the store was read.
        cooldown: the visitor's own last cooldown, also when it is over; None once a renewal has succeeded.
        consistent: the last ``X-Wix-Consistent`` that Wix sent to this visitor, ``""`` for none.
        edition: counts the changes of the tokens. A job that began in an earlier edition is late.
        lock: guards every change; all visitors of a pool have the same one.

    Concurrency: safe from any task and thread.
    """

    __slots__ = (
        "_grants",
        "_passing_since",
        "_same_since",
        "_settings",
        "consistent",
        "cooldown",
        "edition",
        "held",
        "key",
        "lock",
    )

    def __init__(self, settings: Settings, key: str, tokens: Tokens | None) -> None:
        self.key = key
        self.lock = settings.lock
        self.edition = 0
        self.consistent = ""
        self._settings = settings
        self.cooldown = settings.limiter.cooldown(key)
        self._passing_since: float | None = None
        self._grants = 0
        self._same_since: float | None = None  # when a renewal after a 401 brought the same token again
        self.held = None if tokens is None else attrs.evolve(self.given(tokens), unsaved=Unsaved(seeds=None))

    def given(self, tokens: Tokens) -> Snapshot:
        """Returns the snapshot of tokens from the application. They are saved first, over whatever the store holds."""
        return decision.snapshot_of(
            self._settings.server_clock.limited(tokens),
            renew_before=self._settings.renew_before,
            jitter=self._settings.jitter(),
            version=Unread.UNREAD,
            unsaved=Unsaved(),
        )

    def fresh(self) -> Snapshot | None:
        """Returns the snapshot if its token is fresh, else None. Takes no lock."""
        held, settings = self.held, self._settings
        if held is not None and settings.clock() + settings.server_clock.offset < held.fresh_until:
            return held
        return None

    def working(self) -> Snapshot | None:
        """Returns the snapshot if its token works by the clock and is saved, else None."""
        held = self.held
        return held if held and not held.unsaved and held.unexpired(self._settings.server_clock.now()) else None

    def tokens(self) -> Tokens:
        """Returns the tokens that are held, empty ones before the store was read."""
        held = self.held
        return EMPTY_TOKENS if held is None else held.tokens

    def lineage(self) -> Lineage | None:
        """Returns the lineage of what is held (rule 7)."""
        held = self.held
        return None if held is None else held.lineage

    def next_action(self, need: Need) -> tuple[Snapshot | None, Action]:
        """Returns the snapshot, and what a caller with this need does next."""
        held, now, rest = self.held, self._settings.clock(), Rest.NONE
        state = decision.state_of(held, now + self._settings.server_clock.offset)
        if state is not State.FRESH:
            rest = decision.rest_of(self._cooldown_at(now), now)
        return held, decision.decide(state, need, rest)

    def next_after_401(self, rejected: Snapshot, route: str) -> tuple[Snapshot | None, Action]:
        """Notes that an API answered 401 to this token; returns the snapshot, and what its caller does next.

        Args:
            rejected: the token that was sent.
            route: where the 401 came from; some routes answer 401 whatever the token is (``routes``).
        """
        now, may_renew = self._settings.clock(), self._settings.limiter.may_renew_for(route)
        with self.lock:
            held = self.held
            if held is None or not held.value:
                return held, Action.PASS_ON  # forgotten meanwhile: the request was another visitor's
            is_same = not held.is_after(rejected)
            passes_on = not may_renew or self._passes_on(now, is_same=is_same)
            if is_same and not passes_on:
                held = self.held = attrs.evolve(held, rejected=True)
            state = decision.state_of(held, now + self._settings.server_clock.offset)
            if is_same and state is not State.UNSAVED:
                state = State.REJECTED
            rest = Rest.PASSING_ON if passes_on else decision.rest_of(self._cooldown_at(now), now)
            return held, decision.decide(state, Need.ANOTHER, rest)

    def _passes_on(self, now: float, *, is_same: bool) -> bool:
        """Whether a renewal would not help against a 401, or cannot be made."""
        if self._passing_since is not None and 0 <= now - self._passing_since < PASS_THROUGH:
            return True
        if not self.tokens().refresh_token.value:
            return True
        if is_same and self._same_since is not None and 0 <= now - self._same_since < PASS_THROUGH:
            self._pass_through(now)  # a renewal has just brought this very token: another one would not help
            return True
        return False

    def raise_cause(self) -> None:
        """Raises the cause of the cooldown as this task's own exception; returns if the cooldown has just ended."""
        now = self._settings.clock()
        cooldown = self._cooldown_at(now)
        if cooldown is None or cooldown.cause is None:
            return
        if cooldown is not self.cooldown:
            raise_cooldown(cooldown, now)
        error = cooldown.cause._again()
        if isinstance(error, TokenRequestError):
            error.retry_after = max(0.0, cooldown.until - now)
        raise error from cooldown.cause

    def replay_rejected(self, replayed: Snapshot) -> bool:
        """Notes that an API rejected a replay, which had a new token.

        Returns:
            Whether the 401 was not about the token. It may have been about the token if another token is held by now,
            or if this token was adopted from the store: Wix has not granted it just now.
        """
        with self.lock:
            if self.held is None:
                return True
            if self.held.value != replayed.value or self._passing_since == _ADOPTED:
                return False
            self._pass_through(self._settings.clock())
            return True

    def _pass_through(self, now: float) -> None:
        self._passing_since, self._same_since = now, None

    def note_consistent(self, held: Snapshot, value: str) -> None:
        """Keeps an answer's ``X-Wix-Consistent``, if the request's visitor is still held."""
        with self.lock:
            if self.tokens().refresh_token.value == held.tokens.refresh_token.value:
                self.consistent = value

    def forget(self) -> TokensChanged | None:
        """Drops the visitor, and returns what changed, None if there was no visitor."""
        with self.lock:
            old = self.tokens()
            self.edition += 1
            self.held = self._passing_since = None
            self._end_cooldown()
            self.consistent = ""
        if old == EMPTY_TOKENS:
            return None
        return TokensChanged(ChangeReason.FORGOTTEN, self.key, old.refresh_token.role, TokenRole.NONE)

    def note_forgotten(self, gone: Lineage | None) -> None:
        """Remembers that the visitor was forgotten, in case the store goes back in time (rule 7)."""
        with self.lock:
            if self.held is None and gone is not None:
                self.held = decision.snapshot_of(EMPTY_TOKENS, renew_before=0.0, jitter=0.0, lineage=gone)

    def note_loaded(self, snapshot: Snapshot, edition: int) -> None:
        """Holds what a caller has read by itself, if the tokens were neither loaded, set nor forgotten since."""
        with self.lock:
            if self.held is None and edition == self.edition:
                self.held = snapshot

    def publish(self, outcome: Outcome, edition: int | None) -> TokensChanged | None:
        """Swaps the snapshot and returns what changed, None if the tokens did not.

        Args:
            outcome: what a job found.
            edition: the state's when the job began; None: what the application sets is never late.

        Raises:
            Late: others were set or forgotten since (rule 4, LATE LOSES).
        """
        with self.lock:
            if edition not in (None, self.edition):
                raise Late
            old, held, before = self.tokens(), outcome.held, self.held
            if outcome.reason in _GRANTED:
                self._grants += 1
                is_same = before is not None and before.rejected and before.value == held.value
                self._same_since = self._settings.clock() if is_same else None
            self.held = held if held.grant == self._grants else attrs.evolve(held, grant=self._grants)
            self._note_store(outcome.error)
            if outcome.reason is None or old == outcome.held.tokens:
                return None
            self.edition += 1
            if outcome.error is None or not outcome.error._backs_off:
                self._end_cooldown()
            if outcome.reason is ChangeReason.ADOPTED:
                self._passing_since = _ADOPTED
            elif outcome.reason is not ChangeReason.RENEWED or self._passing_since == _ADOPTED:
                self._passing_since = None  # another visitor, or the first token that this session was granted
            new = outcome.held.tokens.refresh_token
            if new.value != old.refresh_token.value and outcome.reason is not ChangeReason.RENEWED:
                self.consistent = ""  # it was another visitor's
            roles = old.refresh_token.role, new.role
            return TokensChanged(outcome.reason, self.key, *roles)

    def fail(self, error: WixVisitorError, need: Need, edition: int) -> None:
        """Starts a cooldown, if Wix was asked and failed, and if no other tokens were set since."""
        answered = isinstance(error, ConfigurationError | SessionExpired) and error.status_code is not None
        if not (answered or isinstance(error, TokenRequestError)) or not error._asked_wix:
            return  # Wix was not asked; a store's failures have their own time limits
        now, retry_after = self._settings.clock(), getattr(error, "retry_after", None)
        # A background renewal replaces no visitor. So its refusal must not stop callers that may replace one.
        cause = None if need is Need.BACKGROUND and isinstance(error, SessionExpired) else error
        with self.lock:
            if edition == self.edition:
                self.cooldown = decision.next_cooldown(
                    self.cooldown, now, self._settings.jitter(), cause=cause, retry_after=retry_after
                )
                self._settings.limiter.note_cooldown(self.key, self.cooldown)

    def _note_store(self, error: WixVisitorError | None) -> None:
        """Starts a cooldown if the store contradicted itself; the next save that works ends it."""
        if error is not None and error._backs_off:
            now, jitter = self._settings.clock(), self._settings.jitter()
            self.cooldown = decision.next_cooldown(self.cooldown, now, jitter, cause=error, retry_after=None)
        elif self.cooldown is not None and self.cooldown.cause is not None and self.cooldown.cause._backs_off:
            self._end_cooldown()

    def _end_cooldown(self) -> None:
        if self.cooldown is not None:
            self.cooldown = None
            self._settings.limiter.note_cooldown(self.key, None)

    def _cooldown_at(self, now: float) -> Cooldown | None:
        """Returns the cooldown that lasts now: the visitor's own, or the pool's if that lasts longer."""
        own, pools = self.cooldown, self._settings.limiter.pool_cooldown()
        if own is None or not own.active(now) or (pools is not None and own.cause is None):
            return pools
        is_longer = pools is not None and pools.until > own.until
        return pools if is_longer and isinstance(own.cause, TokenRequestError) else own
