"""One visitor's tokens: decides for every caller, and starts the visitor's jobs. What a job does is in ``work``.

One loop serves every caller: ``decision.TABLE`` says what happens next; the caller uses the token, fails, or waits for
a job of the visitor's lane and decides again.

The token state's lock covers *deciding and starting*. Never done under it: network, storage, callbacks, anything that
awaits.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from wixvisitor._checks import checked_refresh, checked_tokens
from wixvisitor._http.clients import Connections
from wixvisitor._http.compat import Unanswered
from wixvisitor._renewal.changes import ChangeReason
from wixvisitor._renewal.decision import Action, Need, Snapshot
from wixvisitor._renewal.endpoint import TokenEndpoint
from wixvisitor._renewal.events import TokenWaited
from wixvisitor._renewal.lane import GRACE, LAST_STEPS, Job, Lane
from wixvisitor._renewal.loading import KnownRecords
from wixvisitor._renewal.run import renewed_elsewhere
from wixvisitor._renewal.settings import Settings
from wixvisitor._renewal.state import TokenState
from wixvisitor._renewal.work import Rejection, Work, next_action
from wixvisitor._tokens import RefreshToken, Tokens
from wixvisitor._wire.token_endpoint import TokenAnswer, TokenRequest
from wixvisitor.errors import ConfigurationError, SessionExpired, StorageError, TokenRequestError, WixVisitorError

CLOSING = GRACE + LAST_STEPS  # seconds that closing takes at most
_ROUNDS = 8  # how often a caller decides again before it gives up
_ASKED = (ChangeReason.MINTED, ChangeReason.RENEWED, ChangeReason.REPLACED)


class Refresher:
    """One visitor's tokens.

    Attributes:
        state: what is held; the way to a fresh token without any waiting.

    Concurrency: safe from any number of tasks; event loops may follow one another.
    Cancellation: a cancelled caller leaves the job running for all other callers.
    """

    __slots__ = ("_endpoint", "_lane", "settings", "state")

    def __init__(self, settings: Settings, key: str, endpoint: TokenEndpoint, tokens: Tokens | None) -> None:
        self.settings = settings
        self.state = TokenState(settings, key, tokens)
        self._endpoint = endpoint
        self._lane = Lane(self.state.lock)

    @property
    def connections(self) -> Connections:
        """What its requests are sent through."""
        return self._endpoint.connections

    async def load(self, known: KnownRecords | None = None) -> None:
        """Reads the store if that was not done yet, and saves given tokens. Mints nothing.

        Args:
            known: what was made of records that were read before; a record that did not change is not parsed again.
        """
        held = self.state.held
        if held is None and self.settings.loads_end_at_once and not self._lane:
            await self._work().load(known)
        if held is not None and held.was_forgotten:  # the store may know of a new visitor
            await self._join(Need.LOADED)
        await self._get(Need.LOADED)

    async def usable(self) -> Snapshot:
        """Returns a token that works by the clock; waits for the one renewal if need be.

        Raises:
            TokenRequestError, ConfigurationError, SessionExpired, StorageError: there is none to be had.
        """
        held = await self._get(Need.TOKEN)
        assert held is not None  # only a 401 is passed on
        return held

    async def after_rejection(self, token: Snapshot, unanswered: Unanswered | None, route: str) -> Snapshot | None:
        """Returns another token after an API answered 401 to this one, None if the 401 is the caller's to see.

        Rule 3: renews at most once for a token, mints nothing, and not at all while 401s are passed through.

        Args:
            token: what was sent.
            unanswered: the 401. With None the caller does not wait, and the renewal goes on in the background.
            route: where the 401 came from.

        Raises:
            SessionExpired, StorageError: the renewal ended the session, or could not save the new tokens.
        """
        rejection = Rejection(token, route, unanswered)
        if unanswered is not None:
            return await self._get(Need.ANOTHER, rejection)
        _, action = next_action(self.state, Need.ANOTHER, rejection)
        if action is Action.FAIL:
            self._fail(Need.ANOTHER)
        elif action in (Action.RENEW, Action.SAVE):
            self._start(Need.ANOTHER, rejection)
        return None

    async def renew(self, refresh_token: RefreshToken | None) -> Tokens:
        """Asks Wix, whatever the clock says; see ``VisitorSession.renew_token``."""
        if refresh_token is not None and not checked_refresh(refresh_token).value:
            raise ConfigurationError("refresh_token: it is empty, so there is nothing to renew")
        await self.load()
        ours = self.state.tokens().refresh_token
        if refresh_token is None or refresh_token.value == ours.value:
            await self._get(Need.FORCED)
            return self.state.tokens()
        tokens = await renewed_elsewhere(self.settings, self._endpoint, self.state.key, refresh_token)
        if not ours.value:
            await self.set(tokens)
        return tokens

    async def set(self, tokens: Tokens) -> None:
        """Adopts these tokens: saves them, then publishes them, whatever a renewal under way brings later.

        Cancellation: they are saved and published all the same.
        """
        checked_tokens(tokens)
        await self._in_order(partial(self._work().set, self.state.given(tokens)), "set_tokens")

    async def log_in(self, request: TokenRequest, *, adopts: bool = True) -> Tokens:
        """Exchanges a login for a member's tokens, in order with what was set before and after.

        Args:
            request: the exchange.
            adopts: whether the tokens are saved and adopted here; if not, the caller keeps them under another key.

        Returns:
            The member's tokens.

        Raises:
            MemberLoginError: Wix refused the login; nothing changed.
            TokenRequestError, ConfigurationError: Wix could not be asked; nothing changed.
            StorageError: the tokens could not be saved; they are held, and the next use saves them again.

        Cancellation: the code has been used, and the tokens are saved and adopted all the same.
        """
        work, granted = self._work(), list[Tokens]()

        async def log_in() -> None:
            granted.append(await work.exchange(request))
            if adopts:
                await work.set(self.state.given(granted[0]))

        await self._in_order(log_in, "log_in")
        return granted[0]

    async def post(self, request: TokenRequest) -> TokenAnswer:
        """Returns the answer of Wix's sign-on or of ``token-info``; raises what ``TokenEndpoint.post`` raises."""
        self._endpoint.check_open()
        return await self._endpoint.post(request)

    async def forget(self) -> None:
        """Removes the visitor from the store and from memory, after whatever was set before.

        Cancellation: it is removed all the same.
        """
        await self._in_order(self._work().forget, "forget")

    def start_to_forget(self) -> None:
        """Does what ``forget`` does, and does not wait for it: for a caller that is cancelled."""
        self._add(self._work().forget, "forget")

    async def aclose(self) -> None:
        """Ends what is under way in this event loop: lets it finish for 2 s, then cancels it, and tells who waits.

        It takes 3 s at most. What a store does not end by then is left behind.
        """
        await self._lane.aclose()

    def note_replay(self, route: str, *, is_rejected: bool) -> None:
        """Notes what came of a request that was sent once more with a fresh token."""
        self.settings.limiter.note_replay(route, self.state.key, is_rejected=is_rejected)

    # The loop: decide, then use, fail, or wait for the lane

    async def _get(self, need: Need, rejection: Rejection | None = None) -> Snapshot | None:
        """Returns what the need asks for; None if a 401 is the caller's to see."""
        for _ in range(_ROUNDS):
            held, action = next_action(self.state, need, rejection)
            if action is Action.USE_AND_RENEW:
                self._start(Need.BACKGROUND)
            if action in (Action.USE, Action.USE_AND_RENEW):
                return held
            if action is Action.PASS_ON:
                return None
            if action is Action.FAIL:
                self._fail(need)
                continue  # the cooldown has just ended
            if rejection is not None and await rejection.take():
                continue  # that took its time
            try:
                has_asked = await self._join(need if action is Action.RENEW else Need.LOADED, rejection)
            except WixVisitorError as error:
                return self._after_failure(need, error)
            if need is Need.FORCED and action is Action.RENEW and has_asked:
                return self.state.held
        if need in (Need.ANOTHER, Need.LOADED):
            return None
        raise TokenRequestError(
            "Renewals kept ending without a token that works: is the clock right, or does something cancel them?"
        )

    def _fail(self, need: Need) -> None:
        """Raises the cause of the cooldown; returns if it has just ended."""
        try:
            self.state.raise_cause()
        except WixVisitorError:
            if need is not Need.LOADED:
                self.settings.observers.tell(TokenWaited(key=self.state.key, outcome="paused", seconds=0.0))
            raise

    def _after_failure(self, need: Need, error: WixVisitorError) -> Snapshot | None:
        """Returns the token that goes on although a renewal failed, None if a 401 is the caller's to see; or raises."""
        working = self.state.working() if need is Need.TOKEN else None
        if working is not None and not (working.rejected and isinstance(error, SessionExpired)):
            return working
        if need is Need.ANOTHER and isinstance(error, TokenRequestError | ConfigurationError):
            return None
        raise error

    # Jobs

    def _start(self, need: Need, rejection: Rejection | None = None) -> Job:
        """Returns the renewal at the end of the lane, or adds one."""
        with self.state.lock:
            job = self._lane.last_renewal()
            if job is None:
                held = self.state.held
                job = Job(need, self._owner(), saves=held is not None and held.unsaved is not None)
                self._lane.add(job, partial(self._work().renew, job, need, rejection), name=need.name.lower())
            return job

    async def _join(self, need: Need, rejection: Rejection | None = None) -> bool:
        """Waits for the renewal at the end of the lane; meanwhile holds what is still unanswered.

        Returns:
            Whether it asked Wix and brought new tokens.
        """
        job = self._start(need, rejection)
        if need is Need.LOADED:
            return await self._result(job, need, rejection)
        with self.settings.observers.waiting(self.state.key):
            return await self._result(job, need, rejection)

    async def _result(self, job: Job, need: Need, rejection: Rejection | None) -> bool:
        unanswered = None if rejection is None else rejection.unanswered
        await (job.wait() if unanswered is None else unanswered.hold_while(job.wait))
        if job.was_closed:
            raise _closed(job)
        if job.need is Need.BACKGROUND and isinstance(job.error, SessionExpired):
            return False  # a background renewal replaces no visitor; a caller that waits decides again
        if need.may_mint and job.need is not Need.TOKEN and _found_nobody(job.error):
            return False  # a 401 found nothing to renew, as after a logout elsewhere; a caller may mint
        _raise(job)
        return job.result is not None and job.result.reason in _ASKED

    async def _in_order(self, step: Callable[[], Awaitable[object]], name: str) -> None:
        """Does one piece of work after the other, in a task of its own: the last call wins, in the store as well."""
        job = self._add(step, name)
        await job.wait()
        _raise(job)
        if job.result is None and job.error is None:
            raise _cut_off(name)

    def _add(self, step: Callable[[], Awaitable[object]], name: str) -> Job:
        self._lane.check_outside()
        with self.state.lock:
            job = Job(None, self._owner())
            self._lane.add(job, partial(self._work().guarded, step), name=name)
        return job

    def _owner(self) -> object:
        """Returns the pool's live session of this visitor, which is kept while a job is under way."""
        return self.settings.limiter.live.get(self.state.key)

    def _work(self) -> Work:
        return Work(self.settings, self.state, self._endpoint)


def _raise(job: Job) -> None:
    """Raises the job's failure as this task's own exception. A standstill is no failure: the caller decides again."""
    error = job.error
    if isinstance(error, WixVisitorError) and not error._was_frozen:
        raise error._again() from error


def _closed(job: Job) -> WixVisitorError:
    if job.saves or job.need is Need.LOADED:
        return StorageError("The session was closed before the store had answered; the visitor is unchanged.")
    return TokenRequestError("The session was closed before Wix had answered; the visitor is unchanged.")


def _cut_off(name: str) -> WixVisitorError:
    if name == "log_in":
        return TokenRequestError(
            "The session was closed before the login was complete. Begin a new login: its code may have been used."
        )
    return StorageError(f"the session was closed before the store had answered to {name}; try again")


def _found_nobody(error: Exception | None) -> bool:
    """Whether a renewal that may mint no visitor failed without asking Wix."""
    return isinstance(error, ConfigurationError) and error.status_code is None
