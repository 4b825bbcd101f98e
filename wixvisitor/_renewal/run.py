"""One renewal, from the lease to the saved tokens. It publishes nothing: it returns an ``Outcome``.

    take the lease → load again → decide again → ask Wix → save if no other process did → give the lease back

Losing a race is no error: the tokens that were saved first count, and the loser adopts them.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Literal

import anyio
import attrs

from wixvisitor._renewal import decision
from wixvisitor._renewal.changes import ChangeReason
from wixvisitor._renewal.decision import Need, Snapshot, Unread, Unsaved
from wixvisitor._renewal.endpoint import TokenEndpoint
from wixvisitor._renewal.events import LeaseWaited
from wixvisitor._renewal.limiter import Permit
from wixvisitor._renewal.lineage import Lineage, later
from wixvisitor._renewal.records import Records, Stored, contradiction, snapshot_of_record
from wixvisitor._renewal.settings import Settings
from wixvisitor._tasks.log import fields, logger
from wixvisitor._tokens import EMPTY_TOKENS, RefreshToken, TokenRole, Tokens
from wixvisitor._wire.catalog import CATALOG_KEY
from wixvisitor._wire.redaction import without_frames
from wixvisitor._wire.token_endpoint import Granted, Refused, described
from wixvisitor.errors import ConfigurationError, SessionExpired, StorageError, WixVisitorError
from wixvisitor.storage import VersionConflict

_ROUNDS: Final = 4  # maximum re-reads before giving up
_CONFLICTS: Final = 3  # maximum attempts to save
_LEASE: Final = 0.35  # of ``renew_timeout``; as long as a lease lasts
_PATIENCE: Final = 0.75  # of it; two leases have run out by then, and the rest is for asking Wix
_MIN: Final = 1.0 - _PATIENCE  # of it; what Wix gets to answer at least, however long the store has taken


@attrs.frozen(eq=False, repr=False, match_args=False)
class Outcome:
    """The result of a renewal.

    Attributes:
        held: what the session holds from now on.
        reason: why the tokens changed, None if they did not.
        error: what the callers get although ``held`` counts (rule 6: granted, but not saved).
    """

    held: Snapshot
    reason: ChangeReason | None = None
    error: WixVisitorError | None = None


class _Lap:
    """A stopwatch: each ``took`` returns the seconds since the ``took`` before."""

    def __init__(self) -> None:
        self._since = anyio.current_time()

    def took(self) -> float:
        since, self._since = self._since, anyio.current_time()
        return self._since - since


@attrs.define(eq=False, repr=False, match_args=False)
class Renewal:
    """One renewal, for one need.

    Attributes:
        held: what the session held when the renewal started, None before the store was read.
        now_saves: called when there are new tokens to save: from then on the renewal must not be cancelled.
        may_ask: returns whether Wix may still be asked once the lease is there; if not, the token counts as before.
        permit: the permission to ask Wix.
        left: seconds that Wix may still take to answer. They pass only while Wix is asked, not while the store works.
    """

    settings: Settings
    records: Records
    endpoint: TokenEndpoint
    need: Need
    held: Snapshot | None
    now_saves: Callable[[], None] = lambda: None
    may_ask: Callable[[], bool] = lambda: True
    permit: Permit = attrs.field(init=False)
    left: float = attrs.field(init=False, default=0.0)

    async def run(self) -> Outcome:
        """Returns what the session holds next.

        Raises:
            TokenRequestError, ConfigurationError: Wix could not be asked; nothing changed.
            SessionExpired: Wix refused, and the policy forbids replacing this role.
            StorageError: the store could not be read; nothing changed.
        """
        if self.held is not None and self.held.unsaved:
            if self.held.version is Unread.UNREAD:
                return await self._save_given(self.held)
            waiting, saved = self.held.unsaved, attrs.evolve(self.held, unsaved=None)
            self.records.seeds = waiting.seeds or ()
            return await self._save(saved, None, must=True, is_renewal=waiting.is_renewal, stands=waiting.lineage)
        if self.need is Need.LOADED:
            return Outcome(await self._load())
        return await self._with_the_lease()

    async def _renew(self) -> Outcome:
        refusal: Refused | None = None
        refused: frozenset[str] = frozenset()
        for _ in range(_ROUNDS):
            held = await self._load(refused)
            if self._is_enough(held):
                return Outcome(held, self._adopted_or_not(held))
            token = held.tokens.refresh_token.value
            if not token:
                if not self.need.may_mint and self._was_forgotten(held):
                    return Outcome(held, ChangeReason.ADOPTED, _nobody_to_renew())
                self._check_may_mint(held.tokens)
                return await self._mint(held, ChangeReason.MINTED)
            if refusal is not None and token in refused:
                self._check_may_replace(held.tokens, refusal)
                return await self._mint(held, ChangeReason.REPLACED)
            if not self.may_ask():
                return Outcome(attrs.evolve(held, rejected=False))
            async with self._asking() as deadline:
                answer = await self.endpoint.renew(token, deadline, self.permit)
            if isinstance(answer, Granted):
                return await self._renewed(held, answer)
            refusal = answer
            refused |= {token}  # read again: another process may have saved newer tokens (REFUSAL ONLY)
        raise StorageError("the store's record changes faster than it can be renewed")

    def _is_enough(self, found: Snapshot) -> bool:
        return decision.is_enough(found, self.held, self.need, self.settings.server_clock.now())

    def _check_may_mint(self, tokens: Tokens) -> None:
        """Raises unless a session without a refresh token may become a new visitor."""
        role = decision.role_of(tokens)
        if role is TokenRole.NONE and not self.need.may_mint:
            raise _nobody_to_renew()
        if not (self.need.may_mint and decision.may_replace(role, self.settings.on_refused)):
            raise SessionExpired(f"The {role} has no refresh token, so the session cannot go on.", role=role)

    def _check_may_replace(self, tokens: Tokens, refusal: Refused) -> None:
        """Raises unless a refused session becomes a new visitor (rule 2, POLICY)."""
        role = decision.role_of(tokens)
        if self.need.may_replace and decision.may_replace(role, self.settings.on_refused):
            return
        raise SessionExpired(
            f"Wix refused the {role}'s refresh token ({refusal.answer.status_code}).",
            role=role,
            **described(refusal.answer),
        )

    async def _mint(self, held: Snapshot, reason: ChangeReason) -> Outcome:
        async with self._asking() as deadline:
            granted = await self.endpoint.mint(deadline, self.permit)
        self.permit.has_minted = True
        tokens = decision.after_mint(granted.access_token, granted.refresh_token)
        new = self._hold_granted(tokens, held, granted)
        return await self._save(new, reason, must=True, is_renewal=False)

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[float]:
        """Yields the deadline for Wix's answer. Wix's time passes only in this block, not while the store works."""
        await self.permit.confirm(self.settings.renew_timeout)
        since = anyio.current_time()
        try:
            yield since + max(self.left, _MIN * self.settings.renew_timeout)
        finally:
            self.left -= anyio.current_time() - since

    async def _renewed(self, held: Snapshot, granted: Granted) -> Outcome:
        tokens = decision.after_renewal(held.tokens, granted.access_token, granted.refresh_token)
        must = decision.must_be_saved(held.tokens, tokens)
        new = self._hold_granted(tokens, held, granted)
        return await self._save(new, ChangeReason.RENEWED, must=must, is_renewal=True)

    async def _save_given(self, given: Snapshot) -> Outcome:
        """Saves tokens from the application over what the store holds now, but over nothing that is saved later."""
        waiting = given.unsaved or Unsaved()
        lineage = waiting.lineage or self.records.new_identity(given.lineage)
        for _ in range(_ROUNDS):
            try:
                version, stored = await self.records.look()
                if stored is not None and self._counts_instead(stored, given.tokens, waiting):
                    return Outcome(self._hold_stored(stored), ChangeReason.ADOPTED)
                given = attrs.evolve(given, version=version if self.settings.conditional else Unread.UNREAD)
                if waiting.seeds is None:
                    self.records.add_seed(given.tokens)
                lineage = waiting.lineage or self.records.new_identity(given.lineage)
                version = await self.records.save(given.tokens, given.version, lineage)
            except VersionConflict:
                continue
            except StorageError as error:
                waiting = attrs.evolve(waiting, lineage=lineage)
                if given.version is not Unread.UNREAD:  # else it is all to be done again
                    waiting = attrs.evolve(waiting, seeds=self.records.seeds)
                    given = attrs.evolve(given, lineage=later(given.lineage, self.records.lineage))
                return Outcome(attrs.evolve(given, unsaved=waiting), None, error)
            return Outcome(attrs.evolve(given, version=version, lineage=lineage, unsaved=None))
        waiting = attrs.evolve(waiting, lineage=lineage)
        return Outcome(attrs.evolve(given, version=Unread.UNREAD, unsaved=waiting), None, contradiction("set"))

    def _counts_instead(self, stored: Stored, tokens: Tokens, waiting: Unsaved) -> bool:
        """Whether the record that was just read counts, and not the given tokens.

        The record counts if it had these tokens as a seed, or holds later tokens of the same visitor: a restart changes
        nothing. It counts as well if it was saved after the first attempt to save these tokens.
        """
        stands = stored.lineage
        is_later = waiting.lineage is not None and stands is not None and not waiting.lineage.is_after(stands)
        is_known = self.records.knows_seed(tokens) or decision.is_older_copy(tokens, stored.tokens)
        return is_later or (waiting.seeds is None and is_known)

    async def _save(
        self, new: Snapshot, reason: ChangeReason | None, *, must: bool, is_renewal: bool, stands: Lineage | None = None
    ) -> Outcome:
        """Saves before a caller gets the tokens (rule 6, SAVE FIRST), over the record before ``new``, no later one.

        Args:
            new: what was granted, with the version and the lineage of the record that it follows.
            reason: why the tokens change.
            must: whether the visitor would be lost without the save.
            is_renewal: whether these tokens are of the same visitor.
            stands: the lineage of a new identity since the first attempt; None: this is the first attempt.
        """
        self.now_saves()
        error = contradiction("saved")
        for _ in range(_CONFLICTS):
            lineage = stands or self._next(new.lineage, is_renewal=is_renewal)
            try:
                try:
                    version = await self.records.save(new.tokens, new.version, lineage)
                    return Outcome(attrs.evolve(new, version=version, lineage=lineage), reason)
                except VersionConflict:
                    winner = await self.records.load()
            except StorageError as failure:
                error, stands = failure, lineage
                break
            if winner is not None and not self._may_save_over(winner, new):
                return self._lost_to(winner, new, reason)
            new = attrs.evolve(new, version=None if winner is None else winner.version)
        if must:
            stands = None if is_renewal else stands
            waiting = Unsaved(self.records.seeds, is_renewal=is_renewal, lineage=stands)
            return Outcome(attrs.evolve(new, unsaved=waiting), reason, error)
        logger.warning(
            "wixvisitor: renewed, but could not be saved; going on from memory: %s",
            error,
            extra=self._about(error),
        )
        return Outcome(new, reason)

    def _next(self, base: Lineage | None, *, is_renewal: bool) -> Lineage:
        """Returns the lineage of the record that follows ``base``, later than all that is known."""
        ours = None if self.held is None else self.held.lineage
        if is_renewal and base is not None and (ours is None or not ours.is_after(base)):
            return base.renewed()
        return self.records.new_identity(base, ours)

    def _may_save_over(self, winner: Stored, new: Snapshot) -> bool:
        """Whether the store still shows what ``new`` follows, or went back. Else another process saved first."""
        if winner.tokens == new.tokens:  # this session's own save, whose reply was lost
            return False
        return winner.version == new.version or (new.lineage is not None and new.lineage.is_after(winner.lineage))

    def _lost_to(self, winner: Stored, new: Snapshot, reason: ChangeReason | None) -> Outcome:
        """Returns the tokens that another process saved first: they count."""
        if winner.tokens == new.tokens:
            return Outcome(attrs.evolve(new, version=winner.version, lineage=winner.lineage), reason)
        return Outcome(self._hold_stored(winner), ChangeReason.ADOPTED)

    async def _load(self, refused: frozenset[str] = frozenset()) -> Snapshot:
        """Returns the later of what the store holds and what the session holds (rule 7, GOES BACK).

        Args:
            refused: the refresh tokens that Wix refused in this renewal. A snapshot with one of them does not win any
                more, unless a member would become a visitor.
        """
        stored = await self.records.load()
        ours = self.held
        if ours is None:
            return self._hold_stored(stored)
        if stored is None:  # for example evicted
            return attrs.evolve(ours, version=None)
        if ours.tokens == stored.tokens:
            return attrs.evolve(ours, version=stored.version, lineage=later(ours.lineage, stored.lineage))
        if stored.version is not None and stored.version == ours.version:
            return ours  # what is held is newer than what could be saved
        if ours.lineage is not None and ours.lineage.is_after(stored.lineage):
            logs_out = _is_member(ours.tokens) and not _is_member(stored.tokens)
            if logs_out or ours.tokens.refresh_token.value not in refused:
                return attrs.evolve(ours, version=stored.version)
        return self._hold_stored(stored)

    def _was_forgotten(self, held: Snapshot) -> bool:
        """Whether another process has forgotten the visitor that this session holds."""
        return held is not self.held and self.held is not None and self.held.tokens != EMPTY_TOKENS

    def _adopted_or_not(self, found: Snapshot) -> ChangeReason | None:
        return None if self.held is None or found.tokens == self.held.tokens else ChangeReason.ADOPTED

    def _hold_stored(self, stored: Stored | None) -> Snapshot:
        return snapshot_of_record(self.settings, stored)

    def _hold_granted(self, tokens: Tokens, held: Snapshot, granted: Granted) -> Snapshot:
        """Returns the snapshot of tokens that Wix has just granted, over the record that ``held`` is of."""
        return decision.snapshot_of(
            tokens,
            renew_before=self.settings.renew_before,
            jitter=self.settings.jitter(),
            lifetime=granted.lifetime,
            version=held.version,
            lineage=held.lineage,
        )

    async def _with_the_lease(self) -> Outcome:
        """Waits for a permit and for the lease, then renews, or adopts what the lease's holder has saved meanwhile.

        The lease only saves calls. It runs out under a holder that is stopped, or has no answer of Wix's for so long,
        and the next holder asks once more. Where it cannot be had, or two in a row run out, the renewal goes ahead
        without it. A renewal that waits for the lease leaves its permit to other visitors.
        """
        seconds, holder, lap = self.settings.renew_timeout, os.urandom(16).hex(), _Lap()
        queued = waited = slept = 0.0  # for a permit; for the lease, with the store's own time and without
        while True:
            async with self._permit(seconds - queued) as self.permit:
                queued += lap.took()
                remaining = await self._acquire(holder, _LEASE * seconds) if waited < _PATIENCE * seconds else 0.0
                waited += lap.took()
                if remaining <= 0:
                    if slept:
                        self._tell_lease("taken_over" if waited < _PATIENCE * seconds else "went_ahead", waited)
                    self.left = seconds - slept
                    try:
                        return await self._renew()
                    finally:
                        await self._release(holder)
            await anyio.sleep(min(remaining, 0.02 + 0.08 * self.settings.jitter()))
            slept += (pause := lap.took())
            held = await self._load()
            waited += pause + lap.took()
            if self._is_enough(held):
                self._tell_lease("adopted", waited)
                return Outcome(held, ChangeReason.ADOPTED)
            if waited >= _PATIENCE * seconds:
                logger.info(
                    "wixvisitor: the lease's holder has not renewed in %g s; going ahead",
                    waited,
                    extra=self._about(),
                )

    def _about(self, error: Exception | None = None) -> dict[str, Any]:
        return fields(self.records.key, error=error)

    def _tell_lease(self, outcome: Literal["adopted", "taken_over", "went_ahead"], seconds: float) -> None:
        observers = self.settings.observers
        if observers.listeners:
            observers.tell(LeaseWaited(key=self.records.key, outcome=outcome, seconds=seconds))

    def _permit(self, seconds: float) -> AbstractAsyncContextManager[Permit]:
        has_nothing = self.held is None or self.held.tokens == EMPTY_TOKENS
        is_new = has_nothing and self.records.key != CATALOG_KEY  # the catalogue's serves many
        return self.settings.limiter.permit(self.records.key, is_new=is_new, seconds=seconds)

    async def _acquire(self, holder: str, seconds: float) -> float:
        try:
            return await self.records.acquire_lease(holder, seconds)
        except StorageError as error:
            logger.warning(
                "wixvisitor: no lease to be had, going ahead without: %s",
                error,
                extra=self._about(error),
            )
            return 0.0
        except BaseException:
            await self._release(holder)  # cancelled: the store may have granted it all the same
            raise

    async def _release(self, holder: str) -> None:
        with anyio.CancelScope(shield=True), anyio.move_on_after(2.0):
            try:
                await self.records.release_lease(holder)
            except StorageError as error:
                logger.warning(
                    "wixvisitor: the lease could not be given back, it will run out: %s",
                    error,
                    extra=self._about(error),
                )


async def renewed_elsewhere(
    settings: Settings, endpoint: TokenEndpoint, key: str, refresh_token: RefreshToken, *, is_first: bool = True
) -> Tokens:
    """Renews a refresh token that is not the session's, and saves nothing.

    Raises:
        TokenRequestError, ConfigurationError: Wix could not be asked.
        SessionExpired: Wix refused.
    """
    seconds = settings.renew_timeout
    try:
        async with settings.limiter.permit(key, is_new=False, seconds=seconds) as permit:
            answer = await endpoint.renew(refresh_token.value, anyio.current_time() + seconds, permit)
    except WixVisitorError as error:
        if error._was_frozen and is_first:
            return await renewed_elsewhere(settings, endpoint, key, refresh_token, is_first=False)
        raise without_frames(error)._again() from error
    if isinstance(answer, Refused):
        role = refresh_token.role
        raise SessionExpired(f"Wix refused the {role}'s refresh token.", role=role, **described(answer.answer))
    old = Tokens(EMPTY_TOKENS.access_token, refresh_token)
    return decision.after_renewal(old, answer.access_token, answer.refresh_token)


def _nobody_to_renew() -> ConfigurationError:
    return ConfigurationError("There is no refresh token to renew; generate_visitor_tokens() makes a visitor.")


def _is_member(tokens: Tokens) -> bool:
    return decision.role_of(tokens) is TokenRole.MEMBER
