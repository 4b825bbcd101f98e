"""What a visitor's jobs do: renew, set, exchange a login, forget. The refresher decides when they start."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import attrs

from wixvisitor._http.compat import Unanswered
from wixvisitor._renewal import reports
from wixvisitor._renewal.changes import ChangeReason
from wixvisitor._renewal.decision import Action, Cooldown, Need, Snapshot
from wixvisitor._renewal.endpoint import TokenEndpoint
from wixvisitor._renewal.events import PauseBegan, PauseEnded
from wixvisitor._renewal.lane import Job
from wixvisitor._renewal.loading import KnownRecords, read
from wixvisitor._renewal.observers import described
from wixvisitor._renewal.records import Records
from wixvisitor._renewal.run import Outcome, Renewal
from wixvisitor._renewal.settings import Settings
from wixvisitor._renewal.state import Late, TokenState
from wixvisitor._tasks.log import fields, logger
from wixvisitor._tokens import RefreshToken, TokenRole, Tokens
from wixvisitor._wire.members import exchange_error
from wixvisitor._wire.redaction import safe_cause
from wixvisitor._wire.token_endpoint import Refused, TokenRequest
from wixvisitor.errors import WixVisitorError


@attrs.define(eq=False, repr=False, match_args=False)
class Rejection:
    """A 401 of an API.

    Attributes:
        token: the snapshot whose access token was sent.
        route: where it came from; some routes answer 401 whatever the token is (``routes``).
        unanswered: the 401, which is read before its caller waits for a renewal; None if no caller waits.
        was_taken: whether it was read.
    """

    token: Snapshot
    route: str
    unanswered: Unanswered | None
    was_taken: bool = False

    async def take(self) -> bool:
        """Reads the 401, so that its connection is free for the renewal. Returns False if it was read before."""
        if self.was_taken or self.unanswered is None:
            return False
        await self.unanswered.take()
        self.was_taken = True
        return True


@attrs.define(eq=False, repr=False, match_args=False)
class Work:
    """What the jobs of one visitor do. It is made when a job starts, because most visitors are idle."""

    settings: Settings
    state: TokenState
    endpoint: TokenEndpoint

    async def load(self, known: KnownRecords | None) -> None:
        """Reads the store without a job, as a storage allows whose loads end at once."""
        edition = self.state.edition
        self.endpoint.check_open()
        found = await read(self._records(), known)
        self.state.note_loaded(found.snapshot, edition)

    async def renew(self, job: Job, need: Need, rejection: Rejection | None) -> Outcome | None:
        """Renews if that is still needed, and publishes what came of it; None if it was not needed any more."""
        edition = self.state.edition
        if not self._is_still_needed(need, rejection):
            return None
        self.endpoint.check_open()
        renewal = Renewal(self.settings, self._records(), self.endpoint, need, self.state.held, job.now_saves)
        if need is Need.ANOTHER and rejection is not None:
            renewal.may_ask = partial(self.settings.limiter.take_renewal_for, rejection.route)
        try:
            outcome = await renewal.run()
            self._publish(outcome, edition)
        except Late:
            raise
        except WixVisitorError as error:
            self._note_failure(error, need, edition)
            raise
        except Exception as error:
            raise self._unexpected(error) from safe_cause(error, self._secrets())
        if outcome.error is not None:
            raise outcome.error
        return outcome

    async def guarded(self, work: Callable[[], Awaitable[object]]) -> bool:
        """Does a piece of work. What fails unexpectedly becomes an error without tokens."""
        try:
            await work()
            return True
        except (WixVisitorError, Late):
            raise
        except Exception as error:
            raise self._unexpected(error) from safe_cause(error, self._secrets())

    async def set(self, given: Snapshot) -> None:
        """Saves the application's tokens, then publishes them."""
        given = attrs.evolve(given, lineage=self.state.lineage())
        outcome = await Renewal(self.settings, self._records(), self.endpoint, Need.LOADED, given).run()
        self._publish(attrs.evolve(outcome, reason=ChangeReason.SET), None)
        if outcome.error is not None:
            raise outcome.error

    async def exchange(self, request: TokenRequest) -> Tokens:
        """Returns a member's tokens for a login. They are not adopted here."""
        self.endpoint.check_open()
        seconds = self.settings.renew_timeout
        try:
            async with self.settings.limiter.permit(self.state.key, is_new=False, seconds=seconds) as permit:
                await permit.confirm(seconds)
                answer = await self.endpoint.exchange(request, anyio.current_time() + seconds, permit)
        except WixVisitorError as error:
            error._was_frozen = False  # a login is not repeated after a standstill: its code may have been used
            raise
        if isinstance(answer, Refused):
            raise exchange_error(answer.answer)
        return Tokens(answer.access_token, RefreshToken(answer.refresh_token or "", TokenRole.MEMBER))

    async def forget(self) -> None:
        """Removes the visitor from memory, then from the store."""
        lineage, before = self.state.lineage(), self.state.cooldown
        event = self.state.forget()
        try:
            self.state.note_forgotten(await self._records().forget(lineage))
        finally:
            self.settings.observers.tell(event)
            self._tell_pause(before)

    def _is_still_needed(self, need: Need, rejection: Rejection | None) -> bool:
        """Whether a renewal is needed now that its time has come: the job before it may have set fresh tokens."""
        if need in (Need.LOADED, Need.FORCED):
            return True
        if need is Need.BACKGROUND:
            return next_action(self.state, Need.TOKEN)[1] is Action.USE_AND_RENEW
        return next_action(self.state, need, rejection)[1] in (Action.LOAD, Action.SAVE, Action.RENEW)

    def _publish(self, outcome: Outcome, edition: int | None) -> None:
        """Publishes the outcome, and tells what changed."""
        before = self.state.cooldown
        event = self.state.publish(outcome, edition)
        self.settings.observers.tell(event)
        self._tell_pause(before)

    def _note_failure(self, error: WixVisitorError, need: Need, edition: int) -> None:
        """Starts the visitor's cooldown, and tells of it. A standstill of the process is no failure."""
        if error._was_frozen:
            text = "wixvisitor: the process stood still while the token endpoint was asked"
            logger.info(text, extra=fields(self.state.key))
            return
        before = self.state.cooldown
        self.state.fail(error, need, edition)
        self._tell_pause(before)
        reports.log_failure(error, need, self.state.key, still_works=self.state.working() is not None)

    def _tell_pause(self, before: Cooldown | None) -> None:
        """Tells that the visitor's own token requests pause, or work again."""
        now, observers, key = self.state.cooldown, self.settings.observers, self.state.key
        if now is before or not observers.listeners:
            return
        if now is None:
            observers.tell(PauseEnded(key=key))
        else:
            seconds = now.until - now.since
            observers.tell(PauseBegan(key=key, seconds=seconds, failures=now.failures, **described(now.cause)))

    def _unexpected(self, error: Exception) -> WixVisitorError:
        return reports.unexpected(error, self._secrets())

    def _secrets(self) -> tuple[str, str]:
        tokens = self.state.tokens()
        return tokens.access_token.value, tokens.refresh_token.value

    def _records(self) -> Records:
        return Records(self.settings, self.state.key)


def next_action(state: TokenState, need: Need, rejection: Rejection | None = None) -> tuple[Snapshot | None, Action]:
    """Returns the snapshot, and what a caller with this need does next."""
    if rejection is None:
        return state.next_action(need)
    return state.next_after_401(rejection.token, rejection.route)
