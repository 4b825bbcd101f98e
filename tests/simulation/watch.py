"""Whoever looks whether the invariants hold.

The watch sees what the store saves, what is sent, and after every step what each session holds. It knows nothing of
the code that it watches but the public names, the ledger's snapshot and the clock.
"""

from __future__ import annotations

import logging
import traceback
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from wixvisitor import EMPTY_TOKENS, TokenRole, Tokens, VisitorSession
from wixvisitor._tasks.shared_task import SharedTask, _inside
from wixvisitor.storage import VersionConflict

from .doubt import PoolDoubts
from .invariants import Violation, Wrong, belong_together, holds_token, is_ones_own, may_follow
from .logins import Logins
from .logouts import Logouts
from .past import Asked, Past, State
from .site import STORE_LIMIT, Call, Site
from .wix import CLIENT_ID, EPOCH, NOT_ABOUT_THE_TOKEN, Answer, Identity, WixModel

if TYPE_CHECKING:
    from .scheduler import Process
    from .store import Lease

_SLACK = 0.01
_LONGEST_PAUSE = 60.0  # seconds, after failures, and for 401s that are not about the token
_CLOCKS_DIFFER = 100.0  # seconds: a minute that clocks may differ, and what calls take
_SHORTEST_LEASE = 0.26  # of a renewal; a lease lasts longer, and nobody who is well keeps one for so long after asking


@attrs.define(eq=False)
class _Asking:
    """How far one process's renewal of one visitor has come, as the store sees it."""

    holder: str
    since: float
    stopped_for: float
    run_out: int
    last_answer: str = "asked"
    found: Tokens | None = None


@attrs.define(eq=False)
class _Seen:
    """What one session was seen to hold."""

    held: Any = None
    tokens: Tokens = EMPTY_TOKENS
    state: State | None = None  # the last one that was read, or saved for certain


class Watch:
    """Looks whether the invariants hold; keeps the first violation.

    Attributes:
        violation: the first.
        trace: what happened, a line each.
        requests: how many calls left the processes.
        slowest: seconds that the slowest call of the app took.
        policy: ``on_refused``.
        leases: the store's, None if it has none.
        renew_timeout: seconds.
        bound: seconds in which every call has ended.
        has_wild_clocks: whether clocks differ by more than can be told apart; then nothing is known to be late.
        calls_hang: whether a call of the store goes on when it is given up; the store sees no failure then.
        sites: how each process's pool treats the token endpoint.
        logins, logouts: the judges of logins and checkouts, and of logouts.
    """

    def __init__(self) -> None:
        self.violation: Violation | None = None
        self.trace: list[str] = []
        self.requests = 0
        self.slowest = 0.0
        self.policy = "auto"
        self.renew_timeout = 15.0
        self.bound = 90.0
        self.calls_hang = self.has_wild_clocks = False
        self.sites: dict[Process, Site] = {}
        self.wix: WixModel
        self.now: Callable[[], float]
        self.leases: dict[str, Lease] | None = None
        self.sessions: dict[tuple[Process, str], VisitorSession] = {}
        self.forced: dict[tuple[Process, str], int] = defaultdict(int)
        self.in_flight: dict[tuple[Process, str], int] = defaultdict(int)
        self.at_store_now: dict[tuple[Process, str], int] = defaultdict(int)
        self._saved_ever: dict[str, set[Identity]] = defaultdict(set)
        self._nobody_until: dict[str, float] = {}
        self._saved_by: dict[str, Process] = {}
        self._stored: dict[str, Tokens] = {}
        self._stored_before: dict[str, Tokens] = {}
        self._kept_since: dict[str, float] = {}
        self._open_sets: dict[tuple[Process, str], list[Tokens]] = defaultdict(list)
        self._set_at: dict[tuple[Process, str], float] = {}
        self._set_and_saved: dict[tuple[Process, str], list[Tokens]] = defaultdict(list)
        self._forgets_at: dict[tuple[Process, str], float] = {}
        self._deleted: dict[tuple[Process, str], int] = defaultdict(int)
        self._loads_fresh: dict[tuple[Process, str], bool] = {}
        self._set_ever: dict[str, list[Tokens]] = defaultdict(list)
        self._set_order: dict[tuple[Process, str], list[Tokens]] = defaultdict(list)
        self._set_and_stored: dict[str, tuple[Process, int]] = {}
        self._asking: dict[tuple[Process, str], _Asking] = {}
        self._run_out: dict[str, int] = defaultdict(int)
        self._task_keys: dict[tuple[Process, int], str] = {}
        self._seen: weakref.WeakKeyDictionary[VisitorSession, _Seen] = weakref.WeakKeyDictionary()
        self._ends: dict[tuple[Process, str], weakref.ref[VisitorSession]] = {}
        self._absent_at: dict[tuple[Process, str], float] = {}
        self._past = Past()
        self._turned_down: dict[tuple[Process, str], str] = {}
        self._failed_at: dict[tuple[Process, str], float] = {}
        self._store_failed_at: dict[tuple[Process, str], float] = {}
        self._site_failed_at: dict[Process, float] = {}
        self._doubts: dict[tuple[Process, str], PoolDoubts] = defaultdict(PoolDoubts)
        self._told_time_at: dict[Process, float] = {}
        self._doubted: set[tuple[Process, str]] = set()
        self._last_401: dict[tuple[Process, str], tuple[str, float]] = {}
        self._turned_away_at: dict[tuple[Process, str], float] = {}
        self._asked_at: dict[tuple[Process, str], float] = {}
        self._holders: dict[str, Process] = {}
        self._things = 0
        self._errors: list[BaseException] = []
        self._long_forgets: dict[tuple[Process, str], int] = defaultdict(int)
        self.logins = Logins(self)
        self.logouts = Logouts(self)

    def fail(self, number: int, text: str) -> None:
        """Keeps the violation if it is the first."""
        if self.violation is None:
            self.violation = Violation(number, text)
            self.trace.append(f"VIOLATION {self.violation}")

    def note(self, process: Process, text: str) -> None:
        """Adds a line to the trace."""
        self.trace.append(f"{process.scheduler.now:10.3f} {process.name:4} {text}")

    # The store

    def meets(self, process: Process, key: str, session: VisitorSession) -> None:
        """The app has this visitor's session. What a session knew is gone with it."""
        place = process, key
        self.sessions[place] = session
        known = self._ends.get(place)
        if known is None or known() is not session:
            self._ends[place] = weakref.ref(session, lambda _: self._session_is_gone(process, key))

    def _session_is_gone(self, process: Process, key: str) -> None:
        """Nobody has it any more: the next one knows nothing but what it reads."""
        self._past.forget((process, key))
        for one in [one for one, whose in self._turned_down.items() if (one[0], whose) == (process, key)]:
            del self._turned_down[one]

    def asks_to_save(self, process: Process, key: str, value: Any) -> Asked:
        """A process is about to ask the store to keep ``value``. Returns what it knows."""
        place, now = (process, _bare(key)), process.scheduler.now
        session = self.sessions.get(place)
        seen = None if session is None else self._seen.get(session)
        return self._past.asks(place, Tokens.from_dict(value), seen and seen.state, now)

    def has_saved(self, process: Process, key: str, value: Any, version: str, asked: Asked) -> None:
        """A process is told that the store has saved.

        After too long a time nobody may have listened any more. Then the session says so, but for a mere renewal.
        """
        new, held = Tokens.from_dict(value), _tokens(asked.held)
        is_renewal = self.wix.identity(new.access_token.value) == self.wix.identity(held.access_token.value) is not None
        if process.scheduler.now - asked.since <= STORE_LIMIT or not is_renewal:
            self._past.learns((process, _bare(key)), version, has_saved=True)

    def has_not_saved(self, process: Process, key: str, value: Any, error: BaseException) -> None:
        """A process is told that the store has not, or nothing."""
        if not isinstance(error, VersionConflict):
            self._past.gives_up((process, _bare(key)), Tokens.from_dict(value), process.scheduler.now)

    def has_read(self, process: Process, key: str, version: str | None) -> None:
        """A process has read what it asked for."""
        place = process, _bare(key)
        if version is None:
            self._absent_at[place] = process.scheduler.now
        self._past.learns(place, version)

    def saved(
        self,
        process: Process,
        key: str,
        value: Any,
        version: str,
        asked: Asked,
        *,
        is_conditional: bool,
    ) -> None:
        """The store is about to keep ``value`` as this version, in the place of another, as this process asked."""
        key, new = _bare(key), Tokens.from_dict(value)
        place, before, replaced = (process, key), self.stored(key), self._past.now(key)
        self.note(process, f"saves {self._name(new)} over {self._name(before)} of {key}")
        has_gone_back = key in self._past.rolled_back
        bases = self._past.bases(replaced, asked, wins=self._wins) if has_gone_back else [replaced]
        is_set = any(_is_same(new, tokens) for tokens in self._open_sets[place])
        went_back = self._past.rolled_back.get(key, -1.0)
        is_forgotten = new == EMPTY_TOKENS and self._is_forgetting(process, key)
        self._deleted[place] += is_forgotten
        # A save that was under way when the store went back may find what it follows, though more was saved since; and
        # a store that compares nothing is written over by one that hung, as if it were restored from a backup.
        is_late, now = asked.since <= went_back, process.scheduler.now
        if not self._is_shared and (asked.since <= self._set_at.get(place, -1.0) or now - asked.since > STORE_LIMIT):
            is_late, self._past.rolled_back[key] = True, now
        if not self._is_shared and has_gone_back:  # it may have been read before
            is_late = is_late or asked.since - self.bound < went_back
        if not is_set and not is_forgotten and not is_late:
            self._check_save(process, key, new, before, bases)
            if self._is_shared and not is_conditional:
                self.fail(6, f"{process.name} saves over whatever there is of {key}, though the app set nothing")
        if self._is_shared and not is_late:
            self._check_return(process, key, new, replaced, asked, is_set=is_set)
        if is_forgotten:
            self._set_and_stored.pop(key, None)
        elif not is_late:
            self._check_order(process, key, before, new)
        base = None if is_set or new == EMPTY_TOKENS else self._renewed_of(new, bases)
        if base is not None and _is_later(asked.held, base):  # that one was refused, so that this begins anew after it
            base = None
        identity = self.wix.identity(new.access_token.value)
        self._past.accepts(place, version, new, identity, replaced if is_conditional else None, asked, base)
        self._keep(process, key, new)

    def _check_save(self, process: Process, key: str, new: Tokens, before: Tokens, bases: list[State | None]) -> None:
        """Rules 1, 6 and 14: who is saved follows whom the store has, or a later one that the process knows."""
        where = f"{process.name} saves {key}"
        if before != EMPTY_TOKENS and self.wix.identity(new.access_token.value) is None:
            self.fail(1, f"{process.name} saves nobody over {self._name(before)} of {key}")
        wrongs = {base: list(may_follow(_tokens(base), new, self.wix, self.policy)) for base in bases}
        if key not in self._past.rolled_back:
            self._judge(where, wrongs[bases[0]])
            return
        followed = [base for base in bases if not wrongs[base]]
        if not followed:
            self.fail(14, f"{where} after the store went back in time: {wrongs[bases[0]][0][1]}")
        elif self._went_back_before(process, key) and self._passes_over(before, new, followed):
            self.fail(14, f"{where}: {self._name(new)} is new, though the store has {self._name(before)}")

    def _went_back_before(self, process: Process, key: str) -> bool:
        """Whether the renewal that is under way began after the store went back."""
        asking = self._asking.get((process, key))
        began = asking.since if asking is not None and asking.last_answer == "granted" else self.now() - self.bound
        return self._past.rolled_back[key] < began

    def _passes_over(self, before: Tokens, new: Tokens, followed: list[State | None]) -> bool:
        """Whether a new visitor replaces a refused one, and whom the store has was not asked for.

        But a member does not become the visitor whom the store has.
        """
        if not any(may_follow(before, new, self.wix, self.policy)):
            return False
        others = [_tokens(base) for base in followed]
        identity = self.wix.identity(new.access_token.value)
        return all(
            one != EMPTY_TOKENS
            and self.wix.identity(one.access_token.value) != identity
            and not (_is_member(one) and not _is_member(before))
            for one in others
        )

    def _check_return(
        self, process: Process, key: str, new: Tokens, replaced: State | None, asked: Asked, *, is_set: bool
    ) -> None:
        """Rules 6 and 14: nobody comes back after a logout, and what is set late is not saved over what is newer."""
        old = self._past.last_of(key, self.wix.identity(new.access_token.value))
        if replaced is None:
            return
        if not is_set and replaced.tokens == EMPTY_TOKENS and old is not None and replaced.is_later(old):
            self.fail(14, f"{process.name} saves {self._name(new)} for {key}, who was logged out or forgotten")
        is_late = is_set and new != EMPTY_TOKENS and not self.has_wild_clocks
        if is_late and asked.decided < asked.since and replaced.is_decided_after(asked.decided):
            self.fail(
                6, f"{process.name} saves {self._name(new)} late, over a later {self._name(replaced.tokens)} of {key}"
            )

    def _renewed_of(self, new: Tokens, bases: list[State | None]) -> State | None:
        """Which of these the tokens renew, None if they are another visitor's."""
        identity = self.wix.identity(new.access_token.value)
        same = [one for one in bases if one and self.wix.identity(one.tokens.access_token.value) == identity]
        return max(same, key=lambda one: (one.line.number, one.renewals), default=None)

    def _keep(self, process: Process, key: str, new: Tokens) -> None:
        self._set_and_saved[process, key] += [one for one in self._open_sets[process, key] if _is_same(new, one)]
        identity = self.wix.identity(new.access_token.value)
        if identity is not None:
            self._saved_ever[key].add(identity)
        self.logins.reaches(process, key, new)
        self._judge(f"the store, {key}", belong_together(new, self.wix))
        self._is_now(key, new, process)

    def _is_now(self, key: str, new: Tokens, process: Process | None) -> None:
        before = self.stored(key)
        if before == EMPTY_TOKENS:
            self._nobody_until[key] = self.now()
        self._stored_before[key] = before
        self._stored[key], self._kept_since[key] = new, self.now()
        if process is not None:
            self._saved_by[key] = process

    def went_back(self, key: str, version: str | None) -> None:
        """The store has gone back in time: this record is as it was, None if there was none."""
        key = _bare(key)
        state = self._past.goes_back(self.now(), key, version)
        old, new = self._name(self.stored(key)), self._name(_tokens(state))
        self.trace.append(f"{self.now():10.3f} store goes back from {old} to {new} for {key}")
        self._is_now(key, _tokens(state), state.process if state else None)

    def _check_order(self, process: Process, key: str, before: Tokens, new: Tokens) -> None:
        """Rule 6, of what the app sets: what was set first is never saved over what was set later."""
        order = [index for index, tokens in enumerate(self._set_order[process, key]) if _is_same(tokens, new)]
        owner, last = self._set_and_stored.get(key, (None, -1))
        if order and owner is process and order[-1] < last and self._is_shared:
            self.fail(6, f"{process.name} saves {self._name(new)} for {key}, and the app has set another one since")
        if order:
            first = [index for index in order if owner is not process or index > last]
            self._set_and_stored[key] = process, (first or order)[0 if first else -1]
        elif self.wix.identity(before.access_token.value) != self.wix.identity(new.access_token.value):
            self._set_and_stored.pop(key, None)

    _is_shared = True

    def is_private(self) -> None:
        """The store compares nothing, and one process has it: it may save as it likes."""
        self._is_shared = False

    def stored(self, key: str) -> Tokens:
        """What the store holds for this key."""
        return self._stored.get(key, EMPTY_TOKENS)

    def stored_before(self, key: str) -> Tokens:
        """What it held before that."""
        return self._stored_before.get(key, EMPTY_TOKENS)

    def _forget_doubts(self, process: Process) -> None:
        self._told_time_at.pop(process, None)
        for place in [place for place in self._doubts if place[0] is process]:
            del self._doubts[place]

    def is_passed_over(self, key: str, held: Tokens) -> bool:
        """Whether the store has somebody to go on with, and has had for longer than any pause lasts."""
        stored = self.stored(key)
        is_old = self.now() - self._kept_since.get(key, self.now()) > _LONGEST_PAUSE + self.renew_timeout
        logs_out = _is_member(held) and not _is_member(stored)
        value = stored.refresh_token.value
        return is_old and bool(value) and value not in self.wix.refused and not logs_out

    def process_is_gone(self, process: Process) -> None:
        """A process was killed: nobody looks at it any more. What it had asked the store to save may still arrive."""
        self.sites.pop(process, None)
        self._forget_doubts(process)
        for places in (self.sessions, self.in_flight, self.forced, self._asking):
            for place in [place for place in places if place[0] is process]:
                del places[place]

    def pool_is_gone(self, process: Process) -> None:
        """The app has closed its pool, or its sessions: others take their place."""
        self.logins.closes(process)
        self._forget_doubts(process)
        for place in [place for place in self.sessions if place[0] is process]:
            del self.sessions[place]
        for place in [place for place in self._asking if place[0] is process]:
            del self._asking[place]
        for one in [one for one in self._turned_down if one[0] is process]:
            del self._turned_down[one]

    def deleted(self, process: Process, key: str) -> None:
        """The store forgets a record, as the app asked."""
        place = process, _bare(key)
        self.note(process, f"deletes {place[1]}")
        self._deleted[place] += 1
        if not self._is_forgetting(*place):
            self.fail(1, f"{process.name} deletes {place[1]}, though the app has not asked for it")
        self._past.deletes(place, process.scheduler.now)
        self._stored.pop(place[1], None)
        self._kept_since[place[1]] = process.scheduler.now
        self._set_and_stored.pop(place[1], None)

    def _is_forgetting(self, process: Process, key: str) -> bool:
        is_recent = process.scheduler.now - self._forgets_at.get((process, key), -1e9) <= self.bound
        return is_recent or self._long_forgets[process, key] > 0

    def at_store(self, process: Process, key: str) -> None:
        """A renewal of this process is about to load; if it then asks for tokens, they are for this key."""
        place = process, _bare(key)
        self._task_keys[process, _work_under_way()] = place[1]
        self._loads_fresh[place] = self._held_is_fresh(*place)

    @contextmanager
    def store_works(self, process: Process, key: str) -> Iterator[None]:
        """A call of the store is under way."""
        place, scheduler = (process, _bare(key)), process.scheduler
        under_way = [key]
        if self.calls_hang:
            scheduler.at(scheduler.now + STORE_LIMIT, lambda: [self._store_failed(process, key) for key in under_way])
        self.at_store_now[place] += 1
        try:
            yield
        except BaseException:
            self._store_failed(process, key)
            raise
        finally:
            under_way.clear()
            self.at_store_now[place] -= 1
            self._asked_at[place] = process.scheduler.now

    def _store_failed(self, process: Process, key: str) -> None:
        """A call of the store failed, so that a renewal may have."""
        place, now = (process, _bare(key)), process.scheduler.now
        self._failed_at[place] = self._store_failed_at[place] = now

    def asks_for_lease(self, process: Process, key: str, holder: str) -> None:
        """A renewal begins, or asks again."""
        now, place = process.scheduler.now, (process, _bare(key))
        asking = self._asking.get(place)
        if asking is None or asking.holder != holder:
            asking = self._asking[place] = _Asking(holder, now, process.stopped_for, self._run_out[place[1]])
        asking.found = self._renewed_elsewhere(*place)

    def lease_taken(self, process: Process, key: str, holder: str) -> None:
        """The store gives a lease."""
        if self._holders.setdefault(holder, process) is not process:
            self.fail(
                3, f"{process.name} asks for the lease of {_bare(key)} in the name of {self._holders[holder].name}"
            )

    def lease_ran_out(self, key: str, lease: Lease) -> None:
        """Somebody takes a lease that was not given back: its holder has stalled, died, or waits for Wix."""
        place, now = (lease.process, _bare(key)), lease.process.scheduler.now
        self._run_out[place[1]] += 1
        if now - lease.since < _SHORTEST_LEASE * self.renew_timeout:
            self.fail(3, f"a lease of {place[1]} ran out after {now - lease.since:.3f} s")
        asking = self._asking.get(place)
        knows = asking is not None and (asking.holder, asking.last_answer) == (lease.holder, "granted")
        is_well = not lease.process.killed and lease.process.stopped_for == lease.stopped_for
        is_over = not (self.in_flight[place] or self.at_store_now[place])
        is_over = is_over and self._asked_at.get(place, now) < now - _SHORTEST_LEASE * self.renew_timeout
        if knows and is_well and is_over and self._store_failed_at.get(place, -1e9) < lease.since:
            self.fail(9, f"{lease.process.name} has not given back the lease of {place[1]}")

    def lease_was_lost(self, key: str) -> None:
        """The store has gone back in time, and the lease is gone. Who asked for it may go on, and so may others."""
        self._run_out[_bare(key)] += 1

    def lease_answered(self, process: Process, key: str, answer: str) -> None:
        """The store said ``granted`` or ``taken``, or nothing: ``failed``."""
        asking = self._asking.get((process, _bare(key)))
        if asking is not None:  # else the pool that asked has been closed since
            asking.last_answer = answer
        if answer == "taken" and process in self.sites:
            self.sites[process].finds_lease_taken(_bare(key))
        self.note(process, f"lease of {_bare(key)}: {answer}")

    def gives_lease_back(self, process: Process, key: str) -> None:
        """A renewal is over, however it ended."""
        if process in self.sites:
            self.sites[process].gives_back(_bare(key))

    # Wix

    def call_of_site(self, process: Process, key: str, name: str, *, is_mint: bool) -> Call | None:
        """Tells the pool's judge of a token call, and returns what it knows of it."""
        site, work = self.sites.get(process), _flight_under_way()
        if site is None or work is None or process.killed:
            return None
        return site.starts(key, work, name, is_new=is_mint and not self._saved_ever[key])

    def doubtful(self, process: Process, key: str, token: str, answer: Answer) -> bool:
        """An answer arrives that may be a refusal. Returns whether it counts as one by now."""
        self.note(process, f"is told {answer.status} of {key}, which is doubtful")
        doubts = self._doubts[process, "" if process in self.sites else key]
        counts = doubts.answered(key, token, answer, now=process.scheduler.now, stopped_for=process.stopped_for)
        if counts:
            self.wix.refused.add(token)
        return counts

    def granted(self, process: Process, key: str, *, is_renewal: bool) -> None:
        """Tokens arrive."""
        doubts = self._doubts[process, "" if process in self.sites else key]
        doubts.granted(key, is_renewal=is_renewal, now=process.scheduler.now)

    def token_call_starts(self, process: Process, key_of_login: str | None = None) -> str:
        """Returns for which key a token call is; the renewal that makes it has just read the store.

        Args:
            process: where it is made.
            key_of_login: of the exchange of a login, which needs no lease.
        """
        key = key_of_login or self._task_keys.get((process, _work_under_way()), "?")
        place = process, key
        self.requests += 1
        self.note(process, f"asks Wix for tokens for {key}")
        self.in_flight[place] += 1
        if process.killed:  # nothing of it reaches anybody
            return key
        if self.in_flight[place] > 1:
            self.fail(3, f"{process.name} has {self.in_flight[place]} renewals of {key} under way")
        self._asked_at[place] = process.scheduler.now
        if key_of_login is not None:
            return key
        asking = self._asking.get(place)
        if self.leases is not None:
            self._check_turn(process, key, asking, self.leases.get(f"{CLIENT_ID}:{key}"))
        if asking is not None:
            found = asking.found  # when it asked for the lease, and still
            if found is not None and found == self._renewed_elsewhere(*place) and not self.forced[place]:
                self.fail(3, f"{process.name} renews {key}, though the store had fresh tokens when it took the lease")
        elif not self.forced[place] and self._loads_fresh.get(place) and self._held_is_fresh(process, key):
            self.fail(3, f"{process.name} renews {key}, though it holds fresh tokens")
        return key

    def token_call_ends(self, process: Process, key: str, status: int | None, *, is_granted: bool) -> None:
        """It has its answer, or none (None)."""
        self.in_flight[process, key] -= 1
        self._asked_at[process, key] = process.scheduler.now
        if not is_granted:
            self._failed_at[process, key] = process.scheduler.now
            if process in self.sites:  # it may pause all of the pool
                self._site_failed_at[process] = process.scheduler.now
        self.note(process, f"token answer for {key}: {status}")

    def sends(self, process: Process, key: str, value: str) -> None:
        """A request with this access token is about to leave the process."""
        self.requests += 1
        session = self.sessions.get((process, key))
        if session is None:
            return
        held, now = session.get_tokens().access_token, process.scheduler.now
        identity = self.wix.identity(value)
        self.note(process, f"asks the API as {self.wix.name(identity)} for {key}")
        if process in self.sites:
            self.sites[process].has_waited(key)
        if identity not in self._saved_ever[key]:
            self.fail(2, f"{process.name} acts for {key} as {self.wix.name(identity)}, whom nobody saved")
        if held.value != value:
            self.fail(2, f"{process.name} sends for {key} another token than it holds")
        elif held.expires_at <= session._settings.server_clock.now():
            self.fail(5, f"{process.name} sends a token for {key} that it knows to be expired")
        self._check_has_not_ended(process, key, value)
        failed_at = max(self._failed_at.get((process, key), -1e9), self._site_failed_at.get(process, -1e9))
        if process.stopped_for:  # for longer than a renewal may take: it was given up
            failed_at = max(failed_at, process.stopped_until)
        failed_at = max(failed_at, self._turned_away_at.get((process, key), -1e9))
        if (process, value) in self._turned_down and now - failed_at > _LONGEST_PAUSE:
            self.fail(5, f"{process.name} sends a token for {key} that it knows to be turned down")

    def told_time(self, process: Process) -> None:
        """An answer with Wix's time has arrived."""
        self._told_time_at[process] = process.scheduler.now

    def clock_moves(self, process: Process) -> None:
        """What the process was told of Wix's time does not count any more."""
        self._told_time_at.pop(process, None)

    def _check_has_not_ended(self, process: Process, key: str, value: str) -> None:
        """Rule 5, of the clock: once told the time by a token answer, a process knows which tokens have ended."""
        ended_for = self.wix.ended_for(value)
        if process in self._told_time_at and ended_for > _CLOCKS_DIFFER and not process.stopped_for:
            self.fail(5, f"{process.name} sends a token for {key} that ended {ended_for:.0f} s ago by Wix's clock")

    def turned_away(self, process: Process, key: str, value: str, body: bytes) -> None:
        """A 401 reached the process. If it looks as if it were not about the token, they are passed on for a minute.

        It does if Wix says so, and if the token that came after another one that was turned down is turned down, too.
        Those that are passed on teach nothing.
        """
        place, now = (process, key), process.scheduler.now
        is_about = body != NOT_ABOUT_THE_TOKEN.body
        self.note(
            process, f"is turned away as {self._name_of(value)} for {key}{'' if is_about else ', for no good reason'}"
        )
        known, since = self._last_401.get(place, ("", -1e9))
        self._last_401[place] = value, now
        self._doubted.add((process, value))
        if not is_about or (known != value and now - since < self.bound):
            self._turned_away_at[place] = now
        if is_about and now - self._turned_away_at.get(place, -1e9) > _LONGEST_PAUSE:
            self._turned_down[process, value] = key

    def is_doubted(self, process: Process, value: str) -> bool:
        """Whether an API has turned this access token down, or seemed to."""
        return (process, value) in self._doubted

    # The app

    def new_thing(self) -> int:
        """The number of a thing that nobody has in the cart yet."""
        self._things += 1
        return self._things

    def has_put(self, process: Process, key: str, thing: int, *, was_told: bool) -> None:
        """Something was put into the cart, as far as the caller knows: once, and into the cart of somebody saved."""
        carts = self.wix.carts[thing]
        if len(carts) > 1 or (was_told and not carts):
            self.fail(2, f"{process.name} put thing {thing} for {key} into {len(carts)} carts")
        if not set(carts) <= self._saved_ever[key]:
            self.fail(2, f"{process.name} put thing {thing} for {key} into the cart of {self.wix.name(carts[0])}")

    def app_sets(self, process: Process, key: str, tokens: Tokens) -> None:
        """``set_tokens`` is about to be called."""
        self.note(process, f"sets {self._name(tokens)} for {key}")
        self._sets(process, key, tokens)
        self._past.begins((process, key), tokens, process.scheduler.now)

    def _sets(self, process: Process, key: str, tokens: Tokens) -> None:
        if process in self.sites:
            self.sites[process].sets(key)
        self._open_sets[process, key].append(tokens)
        self._set_at[process, key] = process.scheduler.now
        self._set_ever[key].append(tokens)
        self._set_order[process, key].append(tokens)

    def app_logs_in(self, process: Process, key: str, unknown: Tokens) -> None:
        """``finish_login`` is about to be called; ``unknown`` stands for the tokens that it brings."""
        self.note(process, f"finishes {unknown.access_token.value} for {key}")
        self._sets(process, key, unknown)

    def login_is_granted(self, process: Process, key: str, unknown: Tokens, tokens: Tokens) -> None:
        """Wix has granted these tokens: from now on they may be held and saved."""
        self.note(process, f"is granted {self._name(tokens)} for {key} by {unknown.access_token.value}")
        self._past.begins((process, key), tokens, process.scheduler.now)
        for known in (self._open_sets[process, key], self._set_ever[key], self._set_order[process, key]):
            known[:] = [tokens if one is unknown else one for one in known]

    def login_is_void(self, process: Process, key: str, tokens: Tokens) -> None:
        """The login has failed: from now on they may not. The order of all others stays."""
        for known in (self._open_sets[process, key], self._set_ever[key]):
            known[:] = [one for one in known if one is not tokens]

    def store_has_failed(self, process: Process, key: str, *, since: float) -> bool:
        """Whether a call of the store for this visitor has failed, or hangs, in this process."""
        return self._store_failed_at.get((process, key), -1e9) >= since or self.at_store_now[process, key] > 0

    def has_been_stored(self, key: str, seconds: float) -> bool:
        """Whether the store has held the same for so long."""
        return key in self._kept_since and self.now() - self._kept_since[key] > seconds

    def has_gone_back(self, key: str) -> bool:
        """Whether this record has gone back in time."""
        return key in self._past.rolled_back

    def app_has_not_set(self, process: Process, key: str, tokens: Tokens) -> None:
        """It raised: the tokens are to be saved later."""
        self._past.gives_up((process, key), tokens, process.scheduler.now)

    def app_has_set(self, process: Process, key: str, tokens: Tokens) -> None:
        """It returned, so that the store has it, and what was set before is over."""
        earlier = self._open_sets[process, key]
        if tokens in earlier:
            del earlier[: earlier.index(tokens)]
        saved = self._set_and_saved[process, key]
        if tokens in saved:
            saved.remove(tokens)
        else:
            self.fail(1, f"{process.name} has not saved what the app set for {key}")

    def app_forgets(self, process: Process, key: str, *, takes_long: bool = False) -> tuple[int, list[Tokens]]:
        """``forget`` is about to be called. Returns how many deletions there were, and what may still be saved.

        A logout ``takes_long``: it asks Wix before.
        """
        self.note(process, f"{'logs out' if takes_long else 'forgets'} {key}")
        self._long_forgets[process, key] += takes_long
        self._forgets_at[process, key] = process.scheduler.now
        if not takes_long:
            self.app_has_not_forgotten(process, key)
        if process in self.sites:
            self.sites[process].forgets(key)
        return self._deleted[process, key], list(self._open_sets[process, key])

    def app_ends_to_forget(self, process: Process, key: str) -> None:
        """A logout has ended, or has surely come to its end."""
        self._long_forgets[process, key] -= 1
        self._forgets_at[process, key] = process.scheduler.now

    def app_has_forgotten(self, process: Process, key: str, before: tuple[int, list[Tokens]]) -> None:
        """The visitor is forgotten, and what was set before is over."""
        deleted, earlier = before
        was_absent = self._absent_at.get((process, key), -1.0) >= self._forgets_at[process, key]
        if self._deleted[process, key] == deleted and not was_absent:
            self.fail(1, f"{process.name} has not deleted {key}, though the app asked for it")
        self._open_sets[process, key] = [one for one in self._open_sets[process, key] if one not in earlier]

    def app_has_not_forgotten(self, process: Process, key: str) -> None:
        """It raised, or goes on: the session holds nobody any more, also one that the app has let go."""
        known = self._ends.get((process, key))
        session = known() if known is not None else None
        if session is not None and session in self._seen:
            self._seen[session].state = None

    def is_idle(self, process: Process, key: str) -> bool:
        """Whether neither a token call nor the store works for this visitor in this process."""
        return not self.in_flight[process, key] and not self.at_store_now[process, key]

    def ended(self, process: Process, what: str, seconds: float, error: BaseException | None) -> None:
        """A call of the app has ended; it was not cancelled."""
        self.note(process, f"{what} ended after {seconds:.3f} s: {'well' if error is None else type(error).__name__}")
        self.slowest = max(self.slowest, seconds)
        if seconds > self.bound:
            self.fail(4, f"{what} took {seconds:.1f} s in {process.name}")
        if error is not None:
            self._judge(what, is_ones_own(error, self._errors, self.wix))

    def cancelled(self, process: Process, what: str, seconds: float) -> None:
        """A call of the app has ended, which was cancelled so many seconds before."""
        if seconds > _SLACK:
            self.fail(4, f"{what} was cancelled in {process.name} and went on for {seconds:.2f} s")

    def logged(self, record: logging.LogRecord) -> None:
        """Something was logged."""
        text = record.getMessage()
        if record.exc_info:
            text += "".join(traceback.format_exception(*record.exc_info))
        if record.levelno >= logging.ERROR:
            self.fail(4, f"something unexpected was logged: {text[:100]}")
        if holds_token(text, self.wix):
            self.fail(8, f"a log record holds a token: {text[:60]}")

    # After every step

    def after_step(self, process: Process) -> None:
        """Looks at what the sessions of this process hold."""
        for (owner, key), session in self.sessions.items():
            if owner is process and not process.killed:
                self._look_at(process, key, session)

    def _look_at(self, process: Process, key: str, session: VisitorSession) -> None:
        held, seen, place = session._refresher.state.held, self._seen.setdefault(session, _Seen()), (process, key)
        if held is seen.held:
            return
        was_unsaved, before, seen.held = seen.held is not None and seen.held.unsaved, seen.tokens, held
        seen.tokens, state = session.get_tokens(), seen.state
        if held is None:  # forgotten, with all that was known
            self._session_is_gone(process, key)
            seen.state = None
        elif not held.unsaved:
            seen.state = self._past.known(place, held.value) or self._still(state, held.value)
        if seen.tokens == before:
            return
        self.note(process, f"holds {self._name(seen.tokens)} for {key}")
        self.logins.reaches(process, key, seen.tokens)
        where = f"{process.name} holds {key}"
        self._judge(where, belong_together(seen.tokens, self.wix))
        if key in self._past.rolled_back:
            self._check_holds(where, place, state, before, seen)
            return
        is_winners = was_unsaved and _is_same(seen.tokens, self.stored(key))  # whoever saves first wins
        if not is_winners and not self._may_be_taken_over(before, seen.tokens, key):
            self._judge(where, may_follow(before, seen.tokens, self.wix, self.policy))

    def _still(self, state: State | None, access_token: str) -> State | None:
        """The state that a session goes on from while what it renewed is not saved; None where that is not certain."""
        identity = self.wix.identity(access_token)
        is_same = state is not None and identity == self.wix.identity(state.tokens.access_token.value)
        return state if is_same and identity is not None else None

    def _wins(self, later: State, older: State | None) -> bool:
        """Whether a later state keeps an older one away: unless Wix has refused it, and it is no logout either."""
        is_logged_out = _is_member(later.tokens) and not _is_member(_tokens(older)) and self.policy == "auto"
        return is_logged_out or later.tokens.refresh_token.value not in self.wix.refused

    def _check_holds(
        self, where: str, place: tuple[Process, str], old: State | None, before: Tokens, seen: _Seen
    ) -> None:
        """Rule 14: whoever has a later state keeps it, unless Wix has refused it."""
        tokens = seen.tokens
        if seen.held is None:
            return
        new = None if seen.held.unsaved else self._past.known(place, tokens.access_token.value)
        if new is not None:
            if old is not None and old.is_later(new) and self._wins(old, new):
                self.fail(14, f"{where}: an older {self._name(tokens)} replaces {self._name(before)}")
            return
        known = [before, *(state.tokens for state in self._past.all_known(place))]
        if not self._may_be_taken_over(before, tokens, place[1]):
            wrongs = [list(may_follow(one, tokens, self.wix, self.policy)) for one in known]
            if all(wrongs):
                self.fail(14, f"{where} after the store went back in time: {wrongs[0][0][1]}")

    def _may_be_taken_over(self, old: Tokens, new: Tokens, key: str) -> bool:
        """Whether whoever this is was set by the app, or saved, or minted where nobody was, or for who was saved.

        Whether it may be saved is judged when it is. Older tokens of the same visitor are judged all the same.
        """
        if any(_is_same(new, tokens) for tokens in self._set_ever[key]):
            return True
        stored = self.stored(key)
        before, after, saved = (self.wix.identity(one.access_token.value) for one in (old, new, stored))
        if saved not in (None, after) and not any(may_follow(stored, new, self.wix, self.policy)):
            return True
        return before != after and (after in self._saved_ever[key] or self._was_nobody(key))

    # What is asked of them

    def _judge(self, where: str, wrongs: Iterable[Wrong]) -> None:
        for number, text in wrongs:
            self.fail(number, f"{where}: {text}")

    def _was_nobody(self, key: str) -> bool:
        """Whether the store held nobody a moment ago: a mint may have begun then, and its save have failed."""
        return self.stored(key) == EMPTY_TOKENS or self._nobody_until.get(key, -1e9) > self.now() - 0.5 * self.bound

    def _check_turn(self, process: Process, key: str, asking: _Asking | None, lease: Lease | None) -> None:
        """Rule 3: whoever asks Wix has the lease, or could not have it, or one has run out since it began to wait.

        Or it has waited for three quarters of the time, as nobody does longer.
        """
        if asking is None:
            self.fail(3, f"{process.name} renews {key} and has not asked for the lease")
            return
        has_it = lease is not None and lease.process is process and lease.holder == asking.holder
        has_seen = self._run_out[key] > asking.run_out or process.stopped_for > asking.stopped_for
        has_seen = has_seen or (lease is not None and lease.until <= process.scheduler.now)
        waited = process.scheduler.now - asking.since
        has_failed = asking.last_answer == "failed" or (asking.last_answer == "asked" and waited > STORE_LIMIT)
        if not has_it and not has_seen and not has_failed and waited < 0.75 * self.renew_timeout:
            self.fail(3, f"{process.name} renews {key} without the lease, after {waited:.2f} s")

    def _renewed_elsewhere(self, process: Process, key: str) -> Tokens | None:
        """The store's tokens if another process saved them and they are fresh, so that whoever looks need not ask.

        None if the process holds later ones, which it could not save.
        """
        stored, session = self.stored(key), self.sessions.get((process, key))
        if session is None or self._saved_by.get(key, process) is process:
            return None
        seen, there = self._seen.get(session), self._past.now(key)
        is_older = any(may_follow(session.get_tokens(), stored, self.wix, "new_visitor"))
        if key in self._past.rolled_back:  # whoever is not certain may ask, and whoever knows better has to
            is_older = is_older or (seen is not None and there is not seen.state and not _is_later(there, seen.state))
        return stored if not is_older and self._is_fresh(process, key, stored) else None

    def _held_is_fresh(self, process: Process, key: str) -> bool:
        session = self.sessions.get((process, key))
        return session is not None and self._is_fresh(process, key, session.get_tokens())

    def _is_fresh(self, process: Process, key: str, tokens: Tokens) -> bool:
        """Whether no renewal is due by this process's clock, and it has not heard that the token is turned down."""
        session, value = self.sessions.get((process, key)), tokens.access_token.value
        if session is None or not value or (process, value) in self._doubted:
            return False
        lifetime = self.wix.lifetime
        return session._settings.server_clock.now() < tokens.access_token.expires_at - 0.3 * lifetime

    def _name(self, tokens: Tokens) -> str:
        return self._name_of(tokens.access_token.value)

    def _name_of(self, access_token: str) -> str:
        grant = self.wix.grants.get(access_token)
        return "nobody" if grant is None else f"{self.wix.name(grant.identity)} (grant {grant.serial})"


def _flight_under_way() -> SharedTask | None:
    """The renewal that runs here. The store's calls have tasks of their own, so a task would not do."""
    flight = _inside.get()
    while flight is not None and flight.parent is not None:
        flight = flight.parent
    return flight


def _work_under_way() -> int:
    """Names it."""
    flight = _flight_under_way()
    return anyio.get_current_task().id if flight is None else id(flight)


def _is_later(one: State | None, other: State | None) -> bool:
    return one is not None and one.is_later(other)


def _tokens(state: State | None) -> Tokens:
    return EMPTY_TOKENS if state is None else state.tokens


def _is_member(tokens: Tokens) -> bool:
    return tokens.refresh_token.role is TokenRole.MEMBER


def _is_same(one: Tokens, other: Tokens) -> bool:
    """Whether these are the same secrets; a wrong clock may have cost them some of their time."""
    return (one.access_token.value, one.refresh_token) == (other.access_token.value, other.refresh_token)


def _bare(key: str) -> str:
    return key.removeprefix(f"{CLIENT_ID}:")


def wall_clock(process: Process, skew: float) -> float:
    """What a process's clock shows."""
    return EPOCH + process.scheduler.now + skew
