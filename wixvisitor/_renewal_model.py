"""What ``_renewal.py`` does between processes, as a model small enough to look at every state that it can reach.

    take the lease → load again → decide again → ask Wix → save if nobody else did → give the lease back

Each await on the store or on Wix is one step; between two steps any other process may take its own, crash, or be held up
until its lease runs out. The exploration is breadth first, so that a counterexample is a shortest one. Not part of the
wheel; ``python -m wixvisitor._renewal_model --help`` says what can be asked of it.

Invariants, looked at in every state and at every step; the words in capitals are what a counterexample names:

1. IDENTITY. The stored visitor changes only by a first mint, or after Wix refused exactly its refresh token.
2. KEPT. A visitor whom Wix did not revoke stays. One-time refresh tokens: only as long as nothing fails.
3. NEWER. Stored tokens are only ever overwritten by tokens granted later.
4. USED. Whoever has been given a token uses the visitor, and the refresh token, that the store holds.
5. REFUSAL. When a visitor is given up, the store holds nobody, or a refresh token that Wix has refused.
6. NEEDLESS. As long as nothing fails, nobody asks Wix while the store holds a token that works.
7. TURNS. Two ask Wix at once only after a lease's holder was stalled or died, or the store failed with the lease.
8. ENDS. From every state, and with no further failure, all who are alive come to a token that works.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

STARTS: Final = ("empty", "expired", "refused")  # what the store holds: nobody, or a visitor whose tokens are …
ROTATIONS: Final = (
    "never",
    "kept",
    "one-time",
)  # whether a renewal brings a new refresh token, and the old one works on
MISTAKES: Final = {  # what the model can do wrong on purpose, and what that breaks
    "saves over whatever is there": "IDENTITY NEWER",
    "saves if it has the lease, not if nobody else did": "IDENTITY NEWER",
    "asks without loading again": "NEEDLESS",
    "keeps its own after losing": "USED",
    "gives up without loading again": "REFUSAL",
    "uses what could not be saved": "USED",
    "never waits for the lease": "TURNS",
    "waits for the lease for ever": "ENDS",
}


class Config(NamedTuple):
    """What is explored: the bound is the number of processes, of failures, and of times that all tokens expire."""

    start: str = "expired"
    rotation: str = "never"
    processes: int = 3
    faults: int = 2
    expiries: int = 0
    mistake: str = ""


class Tokens(NamedTuple):
    """Each is the number of the grant that brought it; the first of a visitor's is its name. 0: nobody's."""

    visitor: int = 0
    refresh: int = 0
    access: int = 0


class Held(NamedTuple):
    """As ``_decision.Held``; a version is the access token that was saved with it."""

    tokens: Tokens = Tokens()
    version: int = 0
    unsaved: bool = False


class Process(NamedTuple):
    """A process: its next step, and what it knows. ``turn``: "" (none), "late" (without the lease), or "lease"."""

    at: str = "look"
    turn: str = ""
    held: Held = Held()  # what the session holds
    new: Held = Held()  # what the renewal has in hand
    must: bool = False  # whether losing ``new`` would lose the visitor
    refused: int = 0  # the refresh token that Wix refused to this renewal


class State(NamedTuple):
    """The store, Wix, the processes, and what the invariants have to remember."""

    store: Tokens
    lease: str  # "" (free), "held", or "late": its holder is stalled, dead, or could not give it back
    processes: tuple[Process, ...]
    granted: int
    expired: int  # access tokens up to here have expired
    spent: frozenset[int]  # refresh tokens that Wix will refuse
    refused: frozenset[int] = frozenset()  # … and has refused
    lapsed: bool = False  # whether a lease was late, or could not be had
    faults: int = 0  # how many there may still be
    expiries: int = 0

    def is_fresh(self, tokens: Tokens) -> bool:
        """Whether the access token works by the clock."""
        return tokens.access > self.expired


class Step(NamedTuple):
    """One step: whose (-1: nobody's), at which await, and what came of it. A fault counts against the bound."""

    process: int
    at: str
    how: str
    is_fault: bool = False

    def __str__(self) -> str:
        name = "" if self.process < 0 else f"{'ABCDEFGH'[self.process]}  "
        return f"{name}{self.at:<8} {'! ' if self.is_fault else ''}{self.how}"


Next = Iterator[tuple[Step, State]]


def first(config: Config) -> State:
    """Returns where everything starts: processes that know nothing, and what the store holds."""
    number = 0 if config.start == "empty" else 1
    spent = frozenset({1} if config.start == "refused" else ())
    processes = (Process(),) * config.processes
    store = Tokens(number, number, number)
    return State(store, "", processes, number, number, spent, faults=config.faults, expiries=config.expiries)


def steps(state: State, config: Config) -> Next:
    """Yields every step that can be taken, and where it leads."""
    if state.lease == "late":
        turns = (one._replace(turn="late") if one.turn == "lease" else one for one in state.processes)
        yield Step(-1, "lease", "runs out"), state._replace(lease="", processes=tuple(turns))
    if state.expiries:
        yield Step(-1, "clock", "all tokens expire", True), _expire(state)
    for index, process in enumerate(state.processes):
        for how, after, change in _own(process, state, config):
            yield Step(index, process.at, how), _put(state, index, after, change)
        if state.faults:
            for how, after, change in _faults(process, state, config):
                change = {"faults": state.faults - 1, **change}
                yield Step(index, process.at, how, True), _put(state, index, after, change)


Change = dict[str, object]
Own = Iterator[tuple[str, Process, Change]]


def _put(state: State, index: int, process: Process, change: Change) -> State:
    processes = (*state.processes[:index], process, *state.processes[index + 1 :])
    return state._replace(processes=processes, **change)  # type: ignore[arg-type]


def _own(process: Process, state: State, config: Config) -> Own:
    """Yields what a process does next when nothing fails."""
    new, store, mistake = process.new, state.store, config.mistake
    match process.at:
        case "look":
            yield "loads", _publish(process, _load(process, store), state), {}
        case "lease" if not state.lease:
            yield "takes it", process._replace(at="load", turn="lease"), {"lease": "held"}
        case "lease":
            at = "load" if mistake == "never waits for the lease" else "wait"
            yield "is taken", process._replace(at=at, turn="late" if at == "load" else ""), {}
        case "wait":
            found = _load(process, store)
            if state.is_fresh(found.tokens):
                yield "adopts", _publish(process, found, state), {}
            else:
                yield "looks again", process._replace(at="lease"), {}
                if state.lease == "late" and mistake != "waits for the lease for ever":
                    yield "loses patience", process._replace(at="load", turn="late"), {}
        case "load":
            found = process.held if mistake == "asks without loading again" else _load(process, store)
            yield _decided(process, found, state)
        case "ask" if new.tokens.refresh in state.spent:
            at = "mint" if mistake == "gives up without loading again" else "load"
            refused = process._replace(at=at, refused=new.tokens.refresh)
            yield "is refused", refused, {"refused": state.refused | {new.tokens.refresh}}
        case "ask" | "mint":
            granted, change = _grant(process, state, config)
            yield "is granted", granted, change
        case "save":
            yield _save(process, state, config)
        case "lost":
            own = new.tokens == store or mistake == "keeps its own after losing"
            yield "keeps its own" if own else "adopts", _end(process, _lost_to(process, store, own), state), {}
        case "release":
            after = _publish(process._replace(turn=""), new, state)
            yield "goes on", after, {"lease": ""} if process.turn == "lease" else {}
        case "dead":
            yield "starts again", Process(), {}


def _faults(process: Process, state: State, config: Config) -> Own:
    """Yields what can go wrong at a process's next step."""
    leads, held = process.turn == "lease", process.held
    late: Change = {"lease": "late", "lapsed": True} if leads else {}
    if process.at not in ("dead", "look"):
        yield "crashes", Process(at="dead"), late
    if leads and state.lease == "held":
        yield "is stalled", process, late
    match process.at:
        case "lease":
            yield "the store fails", process._replace(at="load", turn="late"), {"lapsed": True}
        case "load" | "lost":
            yield "the store fails", _end(process, held, state), {}
        case "ask" | "mint":
            yield "no answer, gives up", _end(process, held, state), {}
            if process.at == "mint" or process.new.tokens.refresh not in state.spent:
                _, change = _grant(process, state, config)
                yield "answer lost, asks again", process, change
                yield "answer lost, gives up", _end(process, held, state), change
        case "save":
            memory = process.new._replace(unsaved=process.must and config.mistake != "uses what could not be saved")
            yield "the store fails", _end(process, memory, state), {}
            if (saved := _save(process, state, config))[2]:
                yield "saved, reply lost", _end(process, memory, state), saved[2]
        case "release":
            yield "the store fails", _publish(process._replace(turn=""), process.new, state), late


def _load(process: Process, store: Tokens) -> Held:
    """As ``Renewal._load``: what the store holds, or what is held if that is newer than what could be saved."""
    held = process.held
    if not store.access or held.tokens == store or held.version == store.access:
        return held._replace(version=store.access)
    return Held(store, store.access)


def _decided(process: Process, found: Held, state: State) -> tuple[str, Process, Change]:
    refresh = found.tokens.refresh
    if state.is_fresh(found.tokens):
        return "adopts", _end(process, found, state), {}
    at = "mint" if not refresh or refresh == process.refused else "ask"
    return f"will {at}", process._replace(at=at, new=found), {}


def _grant(process: Process, state: State, config: Config) -> tuple[Process, Change]:
    number, (visitor, refresh, _) = state.granted + 1, process.new.tokens
    change: Change = {"granted": number}
    if process.at == "mint":
        tokens = Tokens(number, number, number)
    else:
        tokens = Tokens(visitor, refresh if config.rotation == "never" else number, number)
        if config.rotation == "one-time":
            change["spent"] = state.spent | {refresh}
    must, at = tokens.refresh != refresh, "save"
    if config.mistake == "saves if it has the lease, not if nobody else did" and process.turn != "lease":
        at = "lost"
    return process._replace(at=at, new=Held(tokens, process.new.version), must=must, refused=0), change


def _save(process: Process, state: State, config: Config) -> tuple[str, Process, Change]:
    new = process.new
    if new.version != state.store.access and not config.mistake.startswith("saves "):
        return "is too late", process._replace(at="lost"), {}
    return "saves", _end(process, Held(new.tokens, new.tokens.access), state), {"store": new.tokens}


def _lost_to(process: Process, store: Tokens, own: bool) -> Held:
    return Held(process.new.tokens if own else store, store.access)


def _end(process: Process, outcome: Held, state: State) -> Process:
    """What a run ends with: the lease goes back before anybody is told."""
    if process.turn:
        return Process("release", process.turn, process.held, outcome)
    return _publish(process, outcome, state)


def _publish(process: Process, held: Held, state: State) -> Process:
    """As ``Ledger.publish``, and what ``Refresher.usable`` decides then; a run that failed left things as they were."""
    if held.unsaved:
        return Process("save", "", held, held._replace(unsaved=False), must=True)
    return Process("done" if state.is_fresh(held.tokens) else "lease", "", held)


def _expire(state: State) -> State:
    after = state._replace(expired=state.granted, expiries=state.expiries - 1)
    processes = (_publish(one, one.held, after) if one.at == "done" else one for one in state.processes)
    return after._replace(processes=tuple(processes))


def broken(before: State, step: Step, after: State, config: Config) -> str:
    """Returns the invariant that this step breaks, ``""`` if none."""
    old, new, perfect = before.store, after.store, before.faults == config.faults
    at = [process.at for process in after.processes]
    asking = at.count("ask") + at.count("mint")
    if new != old:
        if new.visitor != old.visitor and old.visitor and old.refresh not in before.refused:
            return "IDENTITY"
        if new.visitor != old.visitor and old.visitor and (config.start, old.visitor) != ("refused", 1):
            if config.rotation != "one-time" or perfect:
                return "KEPT"
        if new.access <= old.access:
            return "NEWER"
    for process in after.processes:
        if process.at == "done" and process.held.tokens[:2] != new[:2]:
            return "USED"
    if (
        step.process >= 0
        and step.at != "mint"
        and at[step.process] == "mint"
        and new.refresh not in after.refused | {0}
    ):
        return "REFUSAL"
    if perfect and asking and after.is_fresh(new):
        return "NEEDLESS"
    return "TURNS" if asking > 1 and not after.lapsed else ""


class Found(NamedTuple):
    """What an exploration found: how much there is, and a shortest way to a broken invariant."""

    states: int
    transitions: int
    depth: int
    seconds: float
    breaks: str = ""
    trace: tuple[Step, ...] = ()


def explore(config: Config, told: object = None) -> Found:
    began, start = time.perf_counter(), first(config)
    index, states, parents, edges = {start: 0}, [start], [-1], []
    depth, layer = 0, [0]
    while layer:
        following = []
        for number in layer:
            state = states[number]
            for step, raw in steps(state, config):
                after = raw._replace(processes=tuple(sorted(raw.processes)))
                known = index.setdefault(after, len(states))
                if known == len(states):
                    states.append(after)
                    parents.append(number)
                    following.append(known)
                edges.append((number, known, step.is_fault or step.at == "dead"))
                name = broken(state, step, raw, config)
                if name:
                    return Found(
                        len(states),
                        len(edges),
                        depth + 1,
                        time.perf_counter() - began,
                        name,
                        trail(states, parents, number, config) + (step,),
                    )
        layer = following
        depth += bool(layer)
    return Found(len(states), len(edges), depth, time.perf_counter() - began, ends(states, edges))


def ends(states, edges):
    before = [[] for _ in states]
    for a, b, f in edges:
        if not f:
            before[b].append(a)
    good = [i for i, s in enumerate(states) if all(p.at in ("done", "dead") for p in s.processes)]
    seen = set(good)
    while good:
        for a in before[good.pop()]:
            if a not in seen:
                seen.add(a)
                good.append(a)
    bad = [i for i in range(len(states)) if i not in seen]
    return "ENDS" if bad else ""


def trail(states, parents, number, config):
    path = []
    while number >= 0:
        path.append(states[number])
        number = parents[number]
    path.reverse()
    now, out = path[0], []
    for goal in path[1:]:
        for step, raw in steps(now, config):
            if raw._replace(processes=tuple(sorted(raw.processes))) == goal:
                out.append(step)
                now = raw
                break
    return tuple(out)


if __name__ == "__main__":
    for start in STARTS:
        for rotation in ROTATIONS:
            for f, e in ((0, 0), (1, 0), (2, 0)):
                f = explore(c := Config(start, rotation, faults=f, expiries=e))
                print(c[:5], f[:5], flush=True)
                for s in f.trace:
                    print("    ", s)
