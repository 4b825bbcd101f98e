"""Which of two states of a visitor is the later one, without asking the code: for a store that goes back in time.

Each save that the store accepts makes a state. A renewal goes on with the line of the state that it renews; a mint, a
login, a logout, a forget and a replacement begin a new line. A state is later than all that its process knew when it
asked for the save. Two lines that did not know of each other are in the order of their clocks, so it is certain only
where more time lies between them than the clocks of the processes differ by.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import attrs

from wixvisitor import EMPTY_TOKENS, Tokens

from .site import STORE_LIMIT
from .wix import Identity

if TYPE_CHECKING:
    from .scheduler import Process

Place = tuple["Process", str]

Wins = Callable[["State", "State | None"], bool]

CLOCKS = 10.0  # seconds that the clocks of two processes differ by at most, where they are not wild
_HELD_UP = STORE_LIMIT + 0.6  # seconds that a save waits at most for the visitor's write before
_STOPPED = 50.0  # seconds that a process is stopped at most


@attrs.frozen(eq=False)
class Line:
    """What one identity has had under one key.

    Attributes:
        number: counts the lines of all keys, in the order in which the store accepted them.
        earliest, latest: when its process decided on it, in seconds since the world began.
        after: the numbers of the lines that are certainly earlier, because the process knew them.
    """

    number: int
    earliest: float
    latest: float
    after: frozenset[int]


@attrs.frozen(eq=False)
class State:
    """What one save put into the store."""

    tokens: Tokens
    line: Line
    renewals: int
    process: Process

    def is_later(self, other: State | None) -> bool:
        """Whether this is certainly the later one. None is the record that was never there."""
        if other is None:
            return True
        if self.line is other.line:
            return self.renewals > other.renewals
        if other.line.number in self.line.after:
            return True
        return self.line.number not in other.line.after and self.line.earliest > other.line.latest + CLOCKS

    def is_decided_after(self, moment: float) -> bool:
        """Whether its process decided on it after this moment, by every clock."""
        return self.line.earliest > moment + CLOCKS


@attrs.frozen(eq=False)
class Asked:
    """What a process knew when it asked for a save.

    Attributes:
        held: the state that the visitor's session had, None if it had none, or there was no session.
        known: what its session has read, or was told to be saved.
        first, decided: between these two it decided where these tokens stand.
        since: when it asked.
    """

    held: State | None
    known: tuple[State, ...]
    first: float
    decided: float
    since: float


class Past:
    """All that was saved, and which process knows what.

    Attributes:
        rolled_back: the keys whose records went back in time, and when they last did.
    """

    def __init__(self) -> None:
        self.rolled_back: dict[str, float] = {}
        self._states: dict[str, State] = {}
        self._now: dict[str, State | None] = {}
        self._by_value: dict[tuple[str, str], State] = {}
        self._by_identity: dict[tuple[str, Identity], State] = {}
        self._known: dict[Place, dict[str, State]] = defaultdict(dict)
        self._first: dict[tuple[Place, str], float] = {}
        self._decided: dict[tuple[Place, str], float] = {}
        self._lines = 0

    def state(self, version: str | None) -> State | None:
        """The state that has this version, None for no record."""
        return None if version is None else self._states[version]

    def now(self, key: str) -> State | None:
        """What the store holds."""
        return self._now.get(key)

    def goes_back(self, now: float, key: str, version: str | None) -> State | None:
        """The store holds an older state again, or none."""
        self.rolled_back[key] = now
        self._now[key] = self.state(version)
        return self._now[key]

    def deletes(self, place: Place, now: float) -> None:
        """The store holds nothing any more, because the app forgets whom it held."""
        before = self.now(place[1])
        line = self._new_line(place[0], Asked(None, (), now, now, now), (before,))
        self._now[place[1]] = State(EMPTY_TOKENS, line, 0, place[0])

    def last_of(self, key: str, identity: Identity | None) -> State | None:
        """The last state of this visitor."""
        return None if identity is None else self._by_identity.get((key, identity))

    def known(self, place: Place, access_token: str) -> State | None:
        """The last state with this access token that the session has read, or was told to be saved."""
        return self._known[place].get(access_token)

    def all_known(self, place: Place) -> tuple[State, ...]:
        """Whatever the session has read, or was told to be saved."""
        return tuple(self._known[place].values())

    def forget(self, place: Place) -> None:
        """The session is another one, or knows nobody any more."""
        self._known.pop(place, None)

    def learns(self, place: Place, version: Any, *, has_saved: bool = False) -> None:
        """The process has read this version, or was told that it is saved."""
        if (state := self._states.get(version)) is not None:
            self._known[place][state.tokens.access_token.value] = state
            if has_saved:
                self._first.pop((place, state.tokens.access_token.value), None)

    def begins(self, place: Place, tokens: Tokens, now: float) -> None:
        """The process is about to decide where these tokens stand."""
        self._first.setdefault((place, tokens.access_token.value), now)

    def gives_up(self, place: Place, tokens: Tokens, now: float) -> None:
        """The first attempt to save these tokens has failed. They stand where they stand, however late the next is."""
        if tokens.access_token.value:
            self._decided.setdefault((place, tokens.access_token.value), now)

    def asks(self, place: Place, tokens: Tokens, held: State | None, now: float) -> Asked:
        """The process asks for a save."""
        value, known = tokens.access_token.value, self.all_known(place)
        self.begins(place, tokens, now)
        if not value:
            self._known[place].pop("", None)  # each record without tokens is another one
        return Asked(held, known, self._first[place, value], self._decided.get((place, value), now), now)

    def bases(self, before: State | None, asked: Asked, *, wins: Wins) -> list[State | None]:
        """The states that the process may go on from: what is there, and what it knows, but for all that is older.

        Args:
            before: what is there.
            asked: what the process knows.
            wins: whether a later state, the first, keeps an older one from being gone on from; not if it is refused.
        """
        tops = [state for state in (before, asked.held) if state is not None]
        found = {id(state): state for state in (before, asked.held, *asked.known)}.values()
        return [
            one for one in found if not any(top is not one and top.is_later(one) and wins(top, one) for top in tops)
        ]

    def accepts(
        self,
        place: Place,
        version: str,
        tokens: Tokens,
        identity: Identity | None,
        before: State | None,
        asked: Asked,
        base: State | None,
    ) -> None:
        """The store accepts a save.

        Args:
            place: whose.
            version: what it gets.
            tokens: what is saved.
            identity: whose they are, None for nobody's.
            before: what was there, if the process knew.
            asked: what the process knew.
            base: what these tokens renew, None for a new identity.
        """
        value = tokens.access_token.value
        again = self._by_value.get((place[1], value)) if value else None
        if again is not None:
            line, renewals = again.line, again.renewals
        elif base is not None:
            line, renewals = base.line, base.renewals + 1
        else:
            line, renewals = self._new_line(place[0], asked, (before, asked.held)), 0
        state = State(tokens, line, renewals, place[0])
        self._states[version] = self._by_value[place[1], value] = self._now[place[1]] = state
        if identity is not None:
            self._by_identity[place[1], identity] = state

    def _new_line(self, process: Process, asked: Asked, known: Iterable[State | None]) -> Line:
        self._lines += 1
        after = frozenset[int]().union(*({one.line.number} | one.line.after for one in known if one is not None))
        stopped = _STOPPED if process.stopped_until > asked.first - _HELD_UP else 0.0
        return Line(self._lines, asked.first - _HELD_UP - stopped, asked.decided, after)
