"""What must hold, and whoever looks whether it does.

 1. a visitor's identity changes only after Wix refused exactly its refresh token, or the app set other tokens;
 2. under one key nobody acts as anybody but the one who was saved; a loser's extra visitor is used for no request;
 3. one renewal for a visitor in a process; one among all for a lease, and one for each holder that stalls or dies;
 4. every caller ends in time, with a token or a typed error of its own; one that is cancelled ends at once;
 5. no request carries a token that its process knows to be expired or turned down;
 6. newer tokens are never overwritten by older ones; no member becomes a visitor unasked;
 7. after the last fault everything recovers, without a restart;
 8. no token in anything that is logged or raised;
 9. no task, socket, lease or lock is left behind.

The watch sees what the store saves, what is sent, and after every step what each session holds. It knows nothing of
the code that it watches but the public names, the ledger's snapshot and the lock.
"""

from __future__ import annotations

import logging
import traceback
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from wixvisitor import EMPTY_TOKENS, Tokens, TokenRole, VisitorSession

from .wix import CLIENT_ID, EPOCH, Identity, WixModel

if TYPE_CHECKING:
    from .scheduler import Process

RENEW_TIMEOUT = 15.0
BOUND = 90.0  # seconds in which every call has ended; see ``reliability.md``
_SLACK = 0.01
_LONGEST_PAUSE = 60.0
_TOKEN_TEXT = "JWS."  # every token has it, and nothing else


class Violation(AssertionError):
    """An invariant does not hold."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"invariant {number}: {text}")
        self.number = number


@attrs.define(eq=False)
class _Asking:
    """How far one process's renewal of one visitor has come, as the store sees it."""

    holder: str
    since: float
    stopped_for: float
    last_answer: str = "asked"
    needs_nothing: bool = False


@attrs.define(eq=False)
class _Seen:
    """What one session was seen to hold."""

    held: Any = None
    tokens: Tokens = EMPTY_TOKENS


class Watch:
    """Looks whether the invariants hold; keeps the first violation.

    Attributes:
        violation: the first.
        trace: what happened, a line each.
        requests: how many calls left the processes.
        policy: ``on_rejected``.
    """

    def __init__(self) -> None:
        self.violation: Violation | None = None
        self.trace: list[str] = []
        self.requests = 0
        self.policy = "auto"
        self.wix: WixModel
        self.now: Callable[[], float]
        self.sessions: dict[tuple[Process, str], VisitorSession] = {}
        self.forced: dict[tuple[Process, str], int] = defaultdict(int)
        self.in_flight: dict[tuple[Process, str], int] = defaultdict(int)
        self._saved_ever: dict[str, set[Identity]] = defaultdict(set)
        self._nobody_until: dict[str, float] = {}
        self._saved_at: dict[str, tuple[float, Process]] = {}
        self._stored: dict[str, Tokens] = {}
        self._open_sets: dict[tuple[Process, str], list[Tokens]] = defaultdict(list)
        self._set_at: dict[tuple[Process, str], float] = {}
        self._loads_fresh: dict[tuple[Process, str], bool] = {}
        self._set_ever: dict[str, list[Tokens]] = defaultdict(list)
        self._asking: dict[tuple[Process, str], _Asking] = {}
        self._task_keys: dict[tuple[Process, int], str] = {}
        self._seen: dict[VisitorSession, _Seen] = {}
        self._turned_down: dict[tuple[Process, str], float] = {}
        self._failed_at: dict[tuple[Process, str], float] = {}
        self._errors: list[BaseException] = []

    def fail(self, number: int, text: str) -> None:
        """Keeps the violation if it is the first."""
        if self.violation is None:
            self.violation = Violation(number, text)
            self.trace.append(f"VIOLATION {self.violation}")

    def note(self, process: Process, text: str) -> None:
        """Adds a line to the trace."""
        self.trace.append(f"{process.scheduler.now:10.3f} {process.name:4} {text}")

    # The store

    def saved(self, process: Process, key: str, value: Any, *, since: float, is_conditional: bool) -> None:
        """The store is about to keep ``value``, as this process asked at ``since``."""
        key, new = _bare(key), Tokens.from_dict(value)
        before = self.stored(key)
        self.note(process, f"saves {self._name(new)} over {self._name(before)} of {key}")
        if not any(_is_same(new, tokens) for tokens in self._open_sets[process, key]):
            # A store that compares nothing may be written over by a save that was under way when the app set tokens.
            if self._is_shared or since > self._set_at.get((process, key), -1.0):
                self._check_change(before, new, f"{process.name} saves {key}")
            if self._is_shared and not is_conditional:
                self.fail(6, f"{process.name} saves over whatever there is of {key}, though the app set nothing")
        identity = self.wix.identity(new.access_token.value)
        if identity is not None:
            self._saved_ever[key].add(identity)
        self._check_pair(new, "the store")
        if before == EMPTY_TOKENS:
            self._nobody_until[key] = process.scheduler.now
        self._stored[key] = new
        self._saved_at[key] = (process.scheduler.now, process)

    _is_shared = True

    def is_private(self) -> None:
        """The store compares nothing, and one process has it: it may save as it likes."""
        self._is_shared = False

    def stored(self, key: str) -> Tokens:
        """What the store holds for this key."""
        return self._stored.get(key, EMPTY_TOKENS)

    def process_is_gone(self, process: Process) -> None:
        """A process was killed: nobody looks at it any more. What it had asked the store to save may still arrive."""
        for places in (self.sessions, self.in_flight, self.forced, self._asking):
            for place in [place for place in places if place[0] is process]:
                del places[place]

    def deleted(self, key: str) -> None:
        """The store forgets a record, as the app asked."""
        self._stored.pop(_bare(key), None)

    def at_store(self, process: Process, key: str) -> None:
        """A task of this process is about to load; if it then asks for tokens, they are for this key."""
        place = process, _bare(key)
        self._task_keys[process, anyio.get_current_task().id] = place[1]
        self._loads_fresh[place] = self._held_is_fresh(*place)

    def store_failed(self, process: Process, key: str) -> None:
        """A call of the store failed, so that a renewal may have."""
        self._failed_at[process, _bare(key)] = process.scheduler.now

    def asks_for_lease(self, process: Process, key: str, holder: str) -> None:
        """A renewal begins, or asks again."""
        now, place = process.scheduler.now, (process, _bare(key))
        asking = self._asking.get(place)
        if asking is None or asking.holder != holder:
            asking = self._asking[place] = _Asking(holder, now, process.stopped_for)
        asking.needs_nothing = self._was_renewed_elsewhere(*place)

    def lease_answered(self, process: Process, key: str, answer: str) -> None:
        """The store said ``granted`` or ``taken``, or nothing: ``failed``."""
        self._asking[process, _bare(key)].last_answer = answer
        self.note(process, f"lease of {_bare(key)}: {answer}")

    # Wix

    def token_call_starts(self, process: Process) -> str:
        """Returns for which key a token call is; the task that makes it has just read the store."""
        key = self._task_keys.get((process, anyio.get_current_task().id), "?")
        place = process, key
        self.requests += 1
        self.note(process, f"asks Wix for tokens for {key}")
        self.in_flight[place] += 1
        if self.in_flight[place] > 1:
            self.fail(3, f"{process.name} has {self.in_flight[place]} renewals of {key} under way")
        asking = self._asking.get(place)
        if asking is not None:
            self._check_turn(process, key, asking)
            if not self.forced[place] and asking.needs_nothing:
                self.fail(3, f"{process.name} renews {key}, though the store had fresh tokens when it took the lease")
        elif not self.forced[place] and self._loads_fresh.get(place):
            self.fail(3, f"{process.name} renews {key}, though it holds fresh tokens")
        return key

    def token_call_ends(self, process: Process, key: str, status: int | None) -> None:
        """It has its answer, or none (None)."""
        self.in_flight[process, key] -= 1
        if status != 200:
            self._failed_at[process, key] = process.scheduler.now
        self.note(process, f"token answer for {key}: {status}")

    def sends(self, process: Process, key: str, value: str) -> None:
        """A request with this access token is about to leave the process."""
        self.requests += 1
        session = self.sessions.get((process, key))
        if session is None:
            return
        held, now = session.get_tokens().access_token, process.scheduler.now
        identity = self.wix.identity(value)
        self.note(process, f"asks the API as {self.short(identity)} for {key}")
        if identity not in self._saved_ever[key]:
            self.fail(2, f"{process.name} acts for {key} as {self.short(identity)}, whom nobody saved")
        if held.value != value:
            self.fail(2, f"{process.name} sends for {key} another token than it holds")
        elif held.expires_at <= session._settings.clock():
            self.fail(5, f"{process.name} sends a token for {key} that it knows to be expired")
        failed_at = self._failed_at.get((process, key), -1e9)
        if session._refresher.ledger.held.rejected and now - failed_at > _LONGEST_PAUSE:
            self.fail(5, f"{process.name} sends a token for {key} that it knows to be turned down")

    def api_answers(self, process: Process, value: str, status: int) -> None:
        """An answer reached the process."""
        if status == 401:
            self._turned_down.setdefault((process, value), process.scheduler.now)

    # The app

    def app_sets(self, process: Process, key: str, tokens: Tokens) -> None:
        """``set_tokens`` is about to be called."""
        self.note(process, f"sets {self._name(tokens)} for {key}")
        self._open_sets[process, key].append(tokens)
        self._set_at[process, key] = process.scheduler.now
        self._set_ever[key].append(tokens)

    def app_has_set(self, process: Process, key: str, tokens: Tokens) -> None:
        """It returned, so that what was set before is over."""
        earlier = self._open_sets[process, key]
        if tokens in earlier:
            del earlier[: earlier.index(tokens)]

    def app_drops(self, process: Process, key: str) -> None:
        """The app forgets the visitor: nothing that it set counts any more."""
        self._open_sets.pop((process, key), None)

    def ended(self, process: Process, what: str, seconds: float, error: BaseException | None) -> None:
        """A call of the app has ended; it was not cancelled."""
        self.note(process, f"{what} ended after {seconds:.3f} s: {'well' if error is None else type(error).__name__}")
        if seconds > BOUND:
            self.fail(4, f"{what} took {seconds:.1f} s in {process.name}")
        if error is not None:
            self._check_error(error)

    def cancelled(self, process: Process, what: str, seconds: float) -> None:
        """A call of the app has ended, which was cancelled so many seconds before."""
        if seconds > _SLACK:
            self.fail(4, f"{what} was cancelled in {process.name} and went on for {seconds:.2f} s")

    def logged(self, record: logging.LogRecord) -> None:
        """Something was logged."""
        text = record.getMessage()
        if record.exc_info:
            text += "".join(traceback.format_exception(*record.exc_info))
        if _TOKEN_TEXT in text:
            self.fail(8, f"a log record holds a token: {text[:60]}")

    # After every step

    def after_step(self, process: Process) -> None:
        """Looks at what the sessions of this process hold."""
        for (owner, key), session in self.sessions.items():
            if owner is process and not process.killed:
                self._look_at(process, key, session)

    def _look_at(self, process: Process, key: str, session: VisitorSession) -> None:
        held, seen = session._refresher.ledger.held, self._seen.setdefault(session, _Seen())
        if held is seen.held:
            return
        before, seen.held = seen.tokens, held
        seen.tokens = session.get_tokens()
        if seen.tokens == before:
            return
        self.note(process, f"holds {self._name(seen.tokens)} for {key}")
        self._check_pair(seen.tokens, process.name)
        if not any(_is_same(seen.tokens, tokens) for tokens in self._set_ever[key]):
            self._check_change(before, seen.tokens, f"{process.name} holds {key}", self._saved_ever[key])

    # The rules

    def _check_change(self, old: Tokens, new: Tokens, where: str, saved: set[Identity] | None = None) -> None:
        """Rules 1 and 6: who may follow whom."""
        before, after = (self.wix.identity(tokens.access_token.value) for tokens in (old, new))
        if before is None or after is None or before == after:
            self._check_order(old, new, where)
            return
        if saved and (after in saved or self._was_nobody(where.split()[-1])):
            return  # adopted, or minted where nobody was: whether it may be saved is judged when it is
        if old.refresh_token.value not in self.wix.refused:
            self.fail(1, f"{where}: {self.short(after)} replaces {self.short(before)}, whom Wix has not refused")
        elif old.refresh_token.role is TokenRole.MEMBER and self.policy != "new_visitor":
            self.fail(6, f"{where}: the member {self.short(before)} becomes the visitor {self.short(after)}")

    def _was_nobody(self, key: str) -> bool:
        """Whether the store held nobody a moment ago: a mint may have begun then, and its save have failed."""
        return self.stored(key) == EMPTY_TOKENS or self._nobody_until.get(key, -1e9) > self.now() - RENEW_TIMEOUT

    def _check_order(self, old: Tokens, new: Tokens, where: str) -> None:
        before, after = (self.wix.grants.get(tokens.access_token.value) for tokens in (old, new))
        if before is None or after is None or before.identity != after.identity:
            return
        if after.serial < before.serial:
            self.fail(6, f"{where}: tokens of grant {after.serial} replace those of grant {before.serial}")

    def _check_pair(self, tokens: Tokens, where: str) -> None:
        """Rule 6: an access token stands with the refresh token that came with it, or a later one."""
        grant = self.wix.grants.get(tokens.access_token.value)
        if grant is None or tokens.refresh_token == EMPTY_TOKENS.refresh_token:
            return
        kept, granted = (
            self.wix.refresh_serials.get(value, 0) for value in (tokens.refresh_token.value, grant.refresh_token)
        )
        if kept < granted:
            self.fail(6, f"{where}: keeps refresh token {kept}, though grant {grant.serial} brought {granted}")

    def _check_turn(self, process: Process, key: str, asking: _Asking) -> None:
        """Rule 3: whoever asks Wix has the lease, or could not have it, or has waited for its holder."""
        waited = process.scheduler.now - asking.since
        stalled = process.stopped_for > asking.stopped_for
        if asking.last_answer == "taken" and waited < RENEW_TIMEOUT / 2 - _SLACK and not stalled:
            self.fail(3, f"{process.name} renews {key} without the lease, after {waited:.2f} s")

    def _was_renewed_elsewhere(self, process: Process, key: str) -> bool:
        """Whether the store has tokens of another process that are fresh, so that whoever looks need not ask."""
        _, saver = self._saved_at.get(key, (0.0, process))
        return saver is not process and self._is_fresh(process, key, self.stored(key))

    def _held_is_fresh(self, process: Process, key: str) -> bool:
        session = self.sessions.get((process, key))
        return session is not None and self._is_fresh(process, key, session.get_tokens())

    def _is_fresh(self, process: Process, key: str, tokens: Tokens) -> bool:
        """Whether no renewal is due by this process's clock, and it has not heard that the token is turned down."""
        session, value = self.sessions.get((process, key)), tokens.access_token.value
        if session is None or not value or (process, value) in self._turned_down:
            return False
        lifetime = self.wix.lifetime
        return session._settings.clock() < tokens.access_token.expires_at - 0.3 * lifetime

    def _check_error(self, error: BaseException) -> None:
        """Rules 4 and 8: an error of its own, and no secret in it."""
        if _TOKEN_TEXT in "".join(traceback.format_exception(error)):
            self.fail(8, f"an exception's traceback holds a token: {type(error).__name__}")
        if any(known is error for known in self._errors):
            self.fail(4, f"one {type(error).__name__} was raised to two callers")
            return
        self._errors.append(error)
        cause = error.__cause__
        while cause is not None:
            is_shared = any(known is cause for known in self._errors)
            if is_shared and cause.__traceback__ is not None:
                self.fail(4, f"two errors share a cause that has a traceback: {type(cause).__name__}")
            if is_shared:
                return
            self._errors.append(cause)
            cause = cause.__cause__

    def _name(self, tokens: Tokens) -> str:
        grant = self.wix.grants.get(tokens.access_token.value)
        return "nobody" if grant is None else f"{self.short(grant.identity)} (grant {grant.serial})"

    def short(self, identity: Identity | None) -> str:
        """A name for the trace."""
        return "nobody" if identity is None else f"{identity[1] or 'visitor'} {self.wix.number(identity)}"


def _is_same(one: Tokens, other: Tokens) -> bool:
    """Whether these are the same secrets; a wrong clock may have cost them some of their time."""
    return (one.access_token.value, one.refresh_token) == (other.access_token.value, other.refresh_token)


def _bare(key: str) -> str:
    return key.removeprefix(f"{CLIENT_ID}:")


def wall_clock(process: Process, skew: float) -> float:
    """What a process's clock shows."""
    return EPOCH + process.scheduler.now + skew
