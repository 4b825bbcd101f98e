"""Who starts a renewal and who waits for it: the only caller of decision, endpoint and storage.

The lock (the ledger's) covers *deciding and starting*. Never done under it: network, storage, callbacks, anything that
awaits. There is at most one renewal under way in an event loop; another loop (in another thread) counts as another
process, and meets this one in the storage.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import anyio
import attrs

from wixvisitor._checks import checked_refresh, checked_tokens
from wixvisitor._http.compat import Unanswered
from wixvisitor._renewal import decision
from wixvisitor._renewal.decision import Purpose, Snapshot, Step, Unread
from wixvisitor._renewal.endpoint import TokenEndpoint
from wixvisitor._renewal.records import Records
from wixvisitor._renewal.run import Outcome, Renewal, Superseded
from wixvisitor._renewal.settings import ChangeReason, Settings, TokensChanged
from wixvisitor._renewal.state import TokenState
from wixvisitor._tasks import shared_task
from wixvisitor._tasks.shared_task import SharedTask
from wixvisitor._tokens import EMPTY_TOKENS, RefreshToken, Tokens
from wixvisitor._wire.redaction import redact, safe_cause, without_frames
from wixvisitor._wire.token_endpoint import Refused, described
from wixvisitor.errors import ConfigurationError, SessionExpired, StorageError, TokenRequestError, WixVisitorError

logger = logging.getLogger("wixvisitor")

_ROUNDS = 8  # how often a waiter decides anew before it gives up
_GRACE = 2.0  # seconds that a renewal under way has to finish when the session is closed …
_LAST_STEPS = 1.0  # … and then to end
CLOSING = _GRACE + _LAST_STEPS  # seconds that closing takes at most
_PURPOSES = {Step.LOAD: Purpose.LOAD, Step.SAVE: Purpose.SAVE, Step.RENEW: Purpose.NEED}
_ASKED = (ChangeReason.MINTED, ChangeReason.RENEWED, ChangeReason.REPLACED)


class Refresher:
    """One visitor's tokens.

    Attributes:
        ledger: what is held; the way to a fresh token without any waiting.
        owners: the pool's live sessions by key; this visitor's is kept while a renewal is under way.

    Concurrency: safe from any number of tasks; event loops may follow one another.
    Cancellation: a cancelled caller leaves the renewal running for everybody else.
    """

    __slots__ = (
        "_endpoint",
        "_flights",
        "_lane",
        "owners",
        "settings",
        "state",
    )

    def __init__(self, settings: Settings, key: str, endpoint: TokenEndpoint, tokens: Tokens | None) -> None:
        self.settings = settings
        self.owners: Mapping[str, object] = {}
        self.state = TokenState(settings, key, tokens)
        self._endpoint = endpoint
        self._flights: tuple[tuple[SharedTask, Purpose], ...] = ()  # at most one in each event loop
        self._lane: tuple[SharedTask, ...] = ()  # what the application sets and forgets, in this order

    async def load(self) -> None:
        """Reads the store if that was not done yet, and saves given tokens. Mints nothing."""
        for number in range(_ROUNDS):
            held = self.state.held
            if held is not None and held.unsaved:
                await self._join(Purpose.SAVE)
            elif held is None or (held.was_forgotten and number == 0):
                await self._join(Purpose.LOAD)
            else:
                return

    async def usable(self) -> Snapshot:
        """Returns a token that works by the clock; waits for the one renewal if need be.

        Raises:
            TokenRequestError, ConfigurationError, SessionExpired, StorageError: there is none to be had.
        """
        for _ in range(_ROUNDS):
            held, step = self.state.next_step()
            if held is not None and step in (Step.USE, Step.USE_AND_RENEW):
                if step is Step.USE_AND_RENEW:
                    self._start(Purpose.AGEING)
                return held
            if step is Step.FAIL:
                self.state.raise_cause()
            try:
                await self._join(_PURPOSES.get(step, Purpose.NEED))  # FAIL, but the pause has just ended
            except WixVisitorError as error:
                working = self.state.working()
                if working is None or (working.rejected and isinstance(error, SessionExpired)):
                    raise
                return working
        raise TokenRequestError(
            "Renewals kept ending without a token that works: is the clock right, or does something cancel them?"
        )

    async def renew(self, refresh_token: RefreshToken | None) -> Tokens:
        """Asks Wix, whatever the clock says; see ``VisitorSession.renew_token``."""
        if refresh_token is not None and not checked_refresh(refresh_token).value:
            raise ConfigurationError("refresh_token: it is empty, so there is nothing to renew")
        await self.load()
        ours = self.state.tokens().refresh_token
        if refresh_token is None or refresh_token.value == ours.value:
            for _ in range(_ROUNDS):  # what was under way may have found tokens without asking Wix
                if await self._join(Purpose.FORCED):
                    break
            return self.state.tokens()
        tokens = await self._renewed_elsewhere(refresh_token)
        if not ours.value:
            await self.set(tokens)
        return tokens

    async def after_rejection(self, rejected: Snapshot, unanswered: Unanswered | None, route: str) -> Snapshot | None:
        """Returns another token after an API answered 401 to this one, None if the 401 is the caller's to see.

        Rule 3: renews at most once for a token, mints nothing, and not at all while 401s are passed through.

        Args:
            rejected: the token that was sent.
            unanswered: the 401, which is read before anybody waits for a renewal; with None it goes on in the
                background.
            route: where the 401 came from; some answer 401 whatever the token is (``routes``).

        Raises:
            SessionExpired, StorageError: the renewal ended the session, or could not save whom it made.
        """
        was_taken = False
        for _ in range(_ROUNDS):  # a renewal that was under way before the 401 may end with the very same token
            held = self.state.reject(rejected) if self._may_renew(rejected, route) else None
            if held is None or not held.value:  # logged out meanwhile: that request was somebody's
                return None
            if held.is_after(rejected) and not held.unsaved:
                if not held.rejected and held.unexpired(self.settings.server_clock.now()):
                    return held
                rejected = held  # turned down as well, to somebody else
                continue
            purpose = Purpose.SAVE if held.unsaved else Purpose.REJECTED
            if unanswered is None:
                self._start(purpose, route)
                return None
            if not was_taken:
                await unanswered.take()
                was_taken = True
                continue  # it took its time
            try:
                await self._join(purpose, unanswered, route)
            except (TokenRequestError, ConfigurationError):
                return None
        return None

    def note_replay(self, route: str, *, is_turned_down: bool) -> None:
        """Notes what came of a request that was sent once more with a fresh token."""
        self.settings.limiter.note_replay(route, self.state.key, is_turned_down=is_turned_down)

    def _may_renew(self, rejected: Snapshot, route: str) -> bool:
        held = self.state.held
        has_other = held is not None and held.is_after(rejected)
        return has_other or self.settings.limiter.may_renew_for(route)

    async def set(self, tokens: Tokens) -> None:
        """Adopts these tokens: saves them, then publishes them, whatever a renewal under way brings later.

        Cancellation: they are saved and published all the same.
        """
        checked_tokens(tokens)
        await self._in_turn(partial(self._set, self.state.given(tokens)), "set_tokens")

    async def _in_turn(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        """Does one piece of work after the other, in a task of its own: the last call wins, in the store as well."""
        for running in self._under_way():
            running.check_outside()
        flight = SharedTask(self._owner())
        with self.state.lock:
            self.state.supersede()
            before = [running for running, purpose in self._flights if purpose is Purpose.SAVE]
            before += self._lane[-1:]
            self._lane += (flight,)
        flight.start(partial(self._do_in_turn, work, flight, before), name=f"wixvisitor: {name}")
        await flight.wait()
        self._raise(flight)
        if flight.result is None and flight.error is None:
            raise StorageError(f"the session was closed before the store had answered to {name}; try again")

    async def forget(self) -> None:
        """Removes the visitor from the store and from memory, after whatever was set before.

        Cancellation: it is removed all the same.
        """
        await self._in_turn(self._forget, "forget")

    async def aclose(self) -> None:
        """Ends what is under way in this event loop: lets it finish for 2 s, then cancels it, and tells who waits.

        It takes 3 s at most. What a store does not end by then is left behind.
        """
        loop, since = shared_task.current_loop(), anyio.current_time()
        for _ in range(_ROUNDS):  # who waited for the store may go on to ask Wix
            flights = [flight for flight in self._under_way() if flight.loop is loop]
            left = _GRACE + _LAST_STEPS - (anyio.current_time() - since)
            if not flights or left <= 0:
                return
            async with anyio.create_task_group() as group:
                for flight in flights:
                    group.start_soon(flight.close, left - _LAST_STEPS, min(left, _LAST_STEPS))
            await shared_task.checkpoint()

    def _under_way(self) -> list[SharedTask]:
        flights = (*(flight for flight, _ in self._flights), *self._lane)
        return [flight for flight in flights if not flight.done]

    # Deciding and starting: under the lock

    def _start(self, purpose: Purpose, route: str = "") -> tuple[SharedTask, Purpose]:
        """Returns the flight under way in this event loop and what for, or starts one."""
        loop, state = shared_task.current_loop(), self.state
        with state.lock:
            self._flights = tuple(
                pair for pair in self._flights if not pair[0].done and not shared_task.has_ended(pair[0].loop)
            )
            for pair in self._flights:
                if pair[0].loop is loop:
                    return pair
            flight, generation = SharedTask(self._owner()), state.generation
            if state.held is not None and state.held.unsaved:
                purpose = Purpose.SAVE  # nothing else can be done before
            renewal = self._renewal(purpose, state.held, generation)
            if purpose is Purpose.REJECTED:
                renewal.may_ask = partial(self.settings.limiter.take_renewal_for, route)
            work = partial(self._fly, renewal, flight, generation)
            if self._lane:  # it waits until all is set and forgotten that was asked for before
                work = partial(self._after, self._lane[-1], work)
            flight.start(work, name=f"wixvisitor: {purpose.name.lower()}")
            self._flights += ((flight, purpose),)
            return flight, purpose

    def _renewal(self, purpose: Purpose, held: Snapshot | None, generation: int | None) -> Renewal:
        return Renewal(
            self.settings,
            self._records(),
            self._endpoint,
            purpose,
            held,
            is_wanted=lambda: generation in (None, self.state.generation),
        )

    # In the flight's own task

    async def _fly(self, renewal: Renewal, flight: SharedTask, generation: int) -> Outcome:
        try:
            outcome = await renewal.run()
            event = self.state.publish(outcome, generation)
        except Superseded:
            if not self.settings.conditional and renewal.purpose is not Purpose.SAVE:
                await self._save_again()
            raise
        except WixVisitorError as error:
            if error._was_frozen:
                logger.info("wixvisitor: the process stood still while the token endpoint was asked")
                raise
            self.state.fail(error, renewal.purpose, generation)
            self._log_failure(error, renewal.purpose)
            raise
        except Exception as error:
            raise self._unexpected(error) from safe_cause(error, _secrets(self.state.tokens()))
        finally:
            with self.state.lock:  # an idle visitor keeps no flight
                self._flights = tuple(pair for pair in self._flights if pair[0] is not flight)
        self._tell(event)
        if outcome.error is not None:
            raise outcome.error
        return outcome

    def _log_failure(self, error: WixVisitorError, purpose: Purpose) -> None:
        """Logs once what no caller is told, however many there are."""
        level = logging.WARNING if error._asked_wix else logging.DEBUG  # the pool's pause has its own line
        if purpose is Purpose.AGEING:
            logger.log(level, "wixvisitor: the renewal in the background failed, the token still works: %s", error)
        elif purpose is Purpose.REJECTED and isinstance(error, TokenRequestError | ConfigurationError):
            logger.log(level, "wixvisitor: a 401, and the renewal failed for now: %s", error)
        elif purpose is Purpose.NEED and self.state.working() is not None:
            logger.log(level, "wixvisitor: the renewal failed, the token still works: %s", error)

    def _unexpected(self, error: Exception) -> WixVisitorError:
        """Logs a bug, ours or of what was handed to us, and returns what the callers are told."""
        trace = "".join(traceback.format_exception(error))  # as text: a log record would keep the frames with tokens
        logger.error(
            "wixvisitor: something failed in an unexpected way\n%s", redact(trace, _secrets(self.state.tokens()))
        )
        return WixVisitorError(f"Something failed in an unexpected way: {type(error).__name__}")

    async def _save_again(self) -> None:
        """Repairs a store without compare-and-set, which a late renewal may just have written over (rule 4)."""
        for flight in [flight for flight in self._lane if flight.loop is shared_task.current_loop()]:
            await flight.wait()
        held = self.state.held
        try:
            if held is not None:
                await self._records().save(held.tokens, Unread.UNREAD, held.lineage)
        except StorageError as error:
            logger.warning("wixvisitor: the store may hold older tokens until the next renewal: %s", error)

    async def _after(self, before: SharedTask, work: Callable[[], Awaitable[Outcome]]) -> Outcome:
        if before.loop is shared_task.current_loop():
            await before.wait()
        return await work()

    async def _do_in_turn(
        self, work: Callable[[], Awaitable[None]], flight: SharedTask, before: list[SharedTask]
    ) -> bool:
        try:
            for earlier in before:
                if earlier.loop is flight.loop:
                    await earlier.wait()
            await work()
            return True
        except (WixVisitorError, Superseded):
            raise
        except Exception as error:
            raise self._unexpected(error) from safe_cause(error, _secrets(self.state.tokens()))
        finally:
            with self.state.lock:
                self._lane = tuple(other for other in self._lane if other is not flight)

    async def _set(self, given: Snapshot) -> None:
        given = attrs.evolve(given, lineage=self.state.lineage())
        outcome = await self._renewal(Purpose.SAVE, given, None).run()
        self._tell(self.state.publish(attrs.evolve(outcome, reason=ChangeReason.SET), self.state.generation))
        if outcome.error is not None:
            raise outcome.error

    async def _forget(self) -> None:
        for flight, _ in self._flights:
            if flight.loop is shared_task.current_loop():
                await flight.end()  # it may be about to save whom we delete, in a thread that cannot be cancelled
                await flight.wait()
        lineage, event = self.state.lineage(), self.state.forget()
        try:
            self.state.note_forgotten(await self._records().forget(lineage))
        finally:
            self._tell(event)

    def _tell(self, event: TokensChanged | None) -> None:
        if event is None:
            return
        logger.info("wixvisitor: tokens %s (%s -> %s)", event.reason, event.old_role, event.new_role)
        if self.settings.on_change is None:
            return
        try:
            self.settings.on_change(event)
        except Exception:
            logger.exception("wixvisitor: on_change raised; the tokens are in use all the same")

    # Waiting

    async def _join(self, purpose: Purpose, unanswered: Unanswered | None = None, route: str = "") -> bool:
        """Waits for the flight under way, or for a new one; meanwhile holds what is still unanswered.

        Returns:
            Whether it asked Wix and brought new tokens.
        """
        flight, why = self._start(purpose, route)
        await (flight.wait() if unanswered is None else unanswered.hold_while(flight.wait))
        if flight.was_closed:
            raise self._closed(why)
        if why is Purpose.AGEING and isinstance(flight.error, SessionExpired):
            return False  # in the background nobody is replaced; who waits in earnest decides anew
        if purpose.may_mint and not why.may_mint and _found_nobody(flight.error):
            return False  # another's 401 found that there is nobody to renew, as after a logout elsewhere: decide anew
        self._raise(flight)
        return flight.result is not None and flight.result.reason in _ASKED

    def _closed(self, why: Purpose) -> WixVisitorError:
        if why in (Purpose.LOAD, Purpose.SAVE):
            return StorageError("The session was closed before the store had answered; the visitor is unchanged.")
        return TokenRequestError("The session was closed before Wix had answered; the visitor is unchanged.")

    def _raise(self, flight: SharedTask) -> None:
        """Raises the flight's failure as this task's own exception; a standstill is none: decide anew."""
        error = flight.error
        if isinstance(error, WixVisitorError) and not error._was_frozen:
            raise error._again() from error

    async def _renewed_elsewhere(self, refresh_token: RefreshToken, *, is_first: bool = True) -> Tokens:
        seconds = self.settings.renew_timeout
        try:
            async with self.settings.limiter.permit(self.state.key, is_new=False, seconds=seconds) as permit:
                answer = await self._endpoint.renew(refresh_token.value, anyio.current_time() + seconds, permit)
        except WixVisitorError as error:
            if error._was_frozen and is_first:
                return await self._renewed_elsewhere(refresh_token, is_first=False)
            raise without_frames(error)._again() from error
        if isinstance(answer, Refused):
            role = refresh_token.role
            raise SessionExpired(f"Wix refused the {role}'s refresh token.", role=role, **described(answer.answer))
        old = Tokens(EMPTY_TOKENS.access_token, refresh_token)
        return decision.after_renewal(old, answer.access_token, answer.refresh_token)

    def _owner(self) -> object:
        return self.owners.get(self.state.key)

    def _records(self) -> Records:
        return Records(self.settings, self.state.key)  # made when needed: most visitors are idle


def _found_nobody(error: Exception | None) -> bool:
    """Whether a renewal that may mint nobody failed without asking Wix."""
    return isinstance(error, ConfigurationError) and error.status_code is None


def _secrets(tokens: Tokens) -> tuple[str, str]:
    return tokens.access_token.value, tokens.refresh_token.value
