"""What ``_renewal.run.py`` does between processes, as a model so small that every state it can reach is looked at.

    take the lease → load again → decide again → ask Wix → save if no other process did → give the lease back

Each await on the store or on Wix is one step. Between two steps anybody else may take theirs, a process may crash, and
a lease may run out under a holder that is held up. The search is breadth first, so a counterexample is a shortest one.
Invariants, checked at every step; the words in capitals are what a counterexample names:

1. IDENTITY. The stored visitor changes only by a first mint, or after Wix refused exactly its refresh token.
2. KEPT. A visitor whom Wix did not revoke stays. With one-time refresh tokens: as long as nothing fails.
3. NEWER. Stored tokens are only ever overwritten by tokens granted later.
4. USED. Whoever has been given a token uses the visitor, and the refresh token, that the store holds.
5. REFUSAL. When a visitor is given up, the store holds nobody, or a refresh token that Wix has refused.
6. NEEDLESS. As long as nothing fails, nobody asks Wix while the store holds a token that works.
7. TURNS. One asks Wix at a time, and one more for each lease that was late (its holder stalled or died), or with which
   the store failed.
8. ENDS. From every state, without another failure or a restart, all who are alive come to a token that works.

``python -m tests.renewal_model.model --help`` says what can be asked of it. It is not part of the wheel.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from tests.renewal_model.search import Model, explore

STARTS: Final = ("empty", "expired", "refused")  # what the store holds: nobody, or a visitor whose tokens are …
ROTATIONS: Final = ("never", "kept", "one-time")  # no renewal brings a refresh token; or one, and the old one works on
MISTAKES: Final = {  # what a model can do wrong on purpose, and the invariants that this breaks
    "saves over whatever is there": ("IDENTITY", "NEWER"),
    "saves if it has the lease": ("IDENTITY", "NEWER"),
    "does not load again": ("NEEDLESS", "REFUSAL"),
    "keeps its own after losing": ("USED",),
    "gives up without loading again": ("REFUSAL",),
    "uses what could not be saved": ("USED",),
    "never waits for the lease": ("TURNS",),
    "waits for ever for a lease that never ends": ("ENDS",),
}


class Config(NamedTuple):
    """What is explored. The bound: so many processes, faults in all, and times that all access tokens expire.

    ``is_strict`` also demands what is known not to hold: KEPT for one-time tokens whatever fails.
    """

    start: str = "expired"
    rotation: str = "never"
    processes: int = 3
    faults: int = 2
    expiries: int = 0
    mistake: str = ""
    is_strict: bool = False


class Tokens(NamedTuple):
    """Each is the number of the grant that brought it; a visitor's name is the first of its grants. 0: nobody's."""

    visitor: int = 0
    refresh: int = 0
    access: int = 0


class Snapshot(NamedTuple):
    """As ``_decision.Snapshot``. A version is the number of the access token that was saved with it."""

    tokens: Tokens = Tokens()
    version: int = 0
    unsaved: bool = False


class Process(NamedTuple):
    """A process, and the await that it stands at."""

    at: str = "look"
    turn: str = ""  # "lease", "late" (it goes ahead without), "" (not its turn)
    held: Snapshot = Snapshot()  # what the session holds
    new: Snapshot = Snapshot()  # what the renewal has in hand
    must: bool = False  # whether losing ``new`` would lose the visitor
    refused: int = 0  # the refresh token that Wix refused to this renewal
    has_seen: bool = False  # whether a lease ran out for which it had waited


class State(NamedTuple):
    """The store, Wix, the processes, and what the invariants have to remember."""

    store: Tokens
    lease: str  # "held", "late" (its holder is stalled or dead, or could not give it back), "" (free)
    processes: tuple[Process, ...]
    granted: int  # how many grants there were
    expired: int  # access tokens up to this one have expired
    spent: frozenset[int]  # refresh tokens that Wix does not take any more …
    refused: frozenset[int] = frozenset()  # … and that it has refused
    lapses: int = 0  # how often a lease was late, or could not be had
    faults: int = 0  # how many may still happen
    expiries: int = 0

    def is_fresh(self, tokens: Tokens) -> bool:
        """Whether the access token works by the clock."""
        return tokens.access > self.expired


class Step(NamedTuple):
    """What happened to whom (-1: to nobody in particular) at which await."""

    process: int
    at: str
    how: str
    is_fault: bool = False

    def __str__(self) -> str:
        return f"{'-ABCDEFGH'[self.process + 1]}  {self.at:<8}{'! ' if self.is_fault else '  '}{self.how}"


Move = tuple[str, Process, State]
Moves = Iterator[Move]


def first(config: Config) -> State:
    """Returns where everything starts: processes that know nothing."""
    number = 0 if config.start == "empty" else 1
    spent = frozenset({1} if config.start == "refused" else ())
    processes, store = (Process(),) * config.processes, Tokens(number, number, number)
    return State(store, "", processes, number, number, spent, faults=config.faults, expiries=config.expiries)


def steps(state: State, config: Config) -> Iterator[tuple[Step, State]]:
    """Yields every step that can be taken, and where it leads."""
    if state.lease == "late" and config.mistake != "waits for ever for a lease that never ends":
        yield Step(-1, "lease", "runs out"), state._replace(lease="", processes=tuple(map(_noted, state.processes)))
    if state.expiries:
        yield Step(-1, "clock", "all access tokens expire", True), _expired(state)
    for index, process in enumerate(state.processes):
        for how, after, world in _moves(process, state, config):
            yield Step(index, process.at, how), _put(world, index, after)
        if state.faults:
            for how, after, world in _failures(process, state, config):
                failed = world._replace(faults=state.faults - 1)
                yield Step(index, process.at, how, True), _put(failed, index, after)


def _began(process: Process, turn: str) -> Process:
    """Its renewal begins."""
    return process._replace(at="load", turn=turn, has_seen=False)


def _noted(process: Process) -> Process:
    """A lease has run out: under this process, or before its eyes."""
    if process.turn == "lease":
        return process._replace(turn="late")
    return process._replace(has_seen=True) if process.at in ("lease", "wait") else process


def _put(state: State, index: int, process: Process) -> State:
    return state._replace(processes=(*state.processes[:index], process, *state.processes[index + 1 :]))


def _moves(process: Process, state: State, config: Config) -> Moves:
    """Yields what a process does next if nothing fails."""
    match process.at:
        case "look":
            yield "loads", _publish(_load(process, state.store), state), state
        case "lease" if not state.lease:
            yield "takes it", _began(process, "lease"), state._replace(lease="held")
        case "lease" if config.mistake == "never waits for the lease":
            yield "goes ahead", _began(process, "late"), state
        case "lease":
            yield "is taken", process._replace(at="wait"), state
        case "wait":
            yield from _wait(process, state, config.mistake)
        case "dead":
            yield "starts again", Process(), state
        case "release":
            after = state._replace(lease="") if process.turn == "lease" else state
            yield "goes on", _publish(process.new, state), after
        case "load" | "ask" | "mint" | "save" | "lost":
            yield _renewal(process, state, config)


def _renewal(process: Process, state: State, config: Config) -> Move:
    new, store, mistake = process.new, state.store, config.mistake
    match process.at:
        case "load":
            return _decided(process, process.held if mistake == "does not load again" else _load(process, store), state)
        case "ask" if new.tokens.refresh in state.spent:
            at = "mint" if mistake == "gives up without loading again" else "load"
            refused = process._replace(at=at, refused=new.tokens.refresh)
            return "is refused", refused, state._replace(refused=state.refused | {new.tokens.refresh})
        case "ask" | "mint":
            return "is granted", *_grant(process, state, config)
        case "save":
            return _save(process, state, mistake)
    is_own = new.tokens == store or mistake == "keeps its own after losing"
    outcome = Snapshot(new.tokens if is_own else store, store.access)
    return "keeps its own" if is_own else "adopts", _end(process, outcome, state), state


def _failures(process: Process, state: State, config: Config) -> Moves:
    """Yields what can go wrong with a process's next step. Who waits or is done fails only by crashing."""
    is_leader = process.turn == "lease"
    late = state._replace(lease="late", lapses=state.lapses + 1) if is_leader and state.lease == "held" else state
    failed = _end(process, process.held, state)
    if process.at not in ("look", "dead"):
        yield "crashes", Process(at="dead"), late
    if late is not state:  # to hold up anybody else is no fault, it is one of the orders that are tried anyway
        yield "is stalled", process, late
    match process.at:
        case "lease":
            yield "the store fails", _began(process, "late"), state._replace(lapses=state.lapses + 1)
        case "load" | "lost":
            yield "the store fails", failed, state
        case "ask" | "mint":
            yield "no answer, gives up", failed, state
            if process.at == "mint" or process.new.tokens.refresh not in state.spent:
                _, granted = _grant(process, state, config)
                yield "the answer is lost, gives up", failed, granted
                yield "the answer is lost, asks again", process, granted
        case "save":
            is_kept = process.must and config.mistake != "uses what could not be saved"
            memory = _end(process, process.new._replace(unsaved=is_kept), state)
            yield "the store fails", memory, state
            if (saved := _save(process, state, config.mistake)[2]) is not state:
                yield "saves, the reply is lost", memory, saved
        case "release":
            yield "the store fails", _publish(process.new, state), late


def _wait(process: Process, state: State, mistake: str) -> Moves:
    found = _load(process, state.store)
    if state.is_fresh(found.tokens):
        yield "adopts", _publish(found, state), state
        return
    yield "looks again", process._replace(at="lease"), state
    if state.lease == "late" and process.has_seen and mistake != "waits for ever for a lease that never ends":
        yield "loses patience", _began(process, "late"), state


def _load(process: Process, store: Tokens) -> Snapshot:
    """As ``Renewal._load``: what the store holds, or what the session holds if that could not be saved."""
    held = process.held
    if not store.access or held.tokens == store or held.version == store.access:
        return held._replace(version=store.access)
    return Snapshot(store, store.access)


def _decided(process: Process, found: Snapshot, state: State) -> Move:
    refresh = found.tokens.refresh
    if state.is_fresh(found.tokens):
        return "adopts", _end(process, found, state), state
    at = "mint" if not refresh or refresh == process.refused else "ask"
    return f"will {at}", process._replace(at=at, new=found), state


def _grant(process: Process, state: State, config: Config) -> tuple[Process, State]:
    """Returns the process with what Wix grants, and the state with what Wix has committed to."""
    number, (visitor, refresh, _) = state.granted + 1, process.new.tokens
    state = state._replace(granted=number)
    if process.at == "mint":
        tokens = Tokens(number, number, number)
    else:
        tokens = Tokens(visitor, refresh if config.rotation == "never" else number, number)
        if config.rotation == "one-time":
            state = state._replace(spent=state.spent | {refresh})
    at = "lost" if config.mistake == "saves if it has the lease" and process.turn != "lease" else "save"
    new = Snapshot(tokens, process.new.version)
    return process._replace(at=at, new=new, must=tokens.refresh != refresh, refused=0), state


def _save(process: Process, state: State, mistake: str) -> Move:
    new = process.new
    if new.version != state.store.access and not mistake.startswith("saves "):
        return "is too late", process._replace(at="lost"), state
    return "saves", _end(process, Snapshot(new.tokens, new.tokens.access), state), state._replace(store=new.tokens)


def _end(process: Process, outcome: Snapshot, state: State) -> Process:
    """What a run ends with. The lease goes back before anybody is told; to save alone needs none."""
    if process.turn:
        return Process("release", process.turn, process.held, outcome)
    return _publish(outcome, state)


def _publish(outcome: Snapshot, state: State) -> Process:
    """As ``TokenState.publish``, and what ``Refresher.usable`` does then. Callers whose run failed are back at once."""
    if outcome.unsaved:
        return Process("save", "", outcome, outcome._replace(unsaved=False), must=True)
    return Process("done" if state.is_fresh(outcome.tokens) else "lease", "", outcome)


def _expired(state: State) -> State:
    after = state._replace(expired=state.granted, expiries=state.expiries - 1)
    processes = (_publish(one.held, after) if one.at == "done" else one for one in state.processes)
    return after._replace(processes=tuple(processes))


def broken(before: State, step: Step, after: State, config: Config) -> str:
    """Returns the invariant that a step breaks, ``""`` if none. ENDS is about all states: the search's own."""
    old, new, has_failed = before.store, after.store, before.faults != config.faults
    at = [process.at for process in after.processes]
    asking = at.count("ask") + at.count("mint")
    is_other = old.visitor not in (0, new.visitor)
    is_revoked = config.start == "refused" and old.visitor == 1
    is_kept = not is_revoked and (config.rotation != "one-time" or config.is_strict or not has_failed)
    gives_up = step.process >= 0 and "mint" == at[step.process] != step.at
    checks = {
        "IDENTITY": is_other and old.refresh not in before.refused,
        "KEPT": is_other and is_kept,
        "NEWER": new != old and new.access <= old.access,
        "USED": any(one.at == "done" and one.held.tokens[:2] != new[:2] for one in after.processes),
        "REFUSAL": gives_up and new.refresh not in after.refused | {0},
        "NEEDLESS": asking and not has_failed and after.is_fresh(new),
        "TURNS": asking > 1 + after.lapses,
    }
    return next((name for name, is_broken in checks.items() if is_broken), "")


def model(config: Config) -> Model[State, Step]:
    """Returns what is to be searched. Processes are interchangeable."""
    return Model(
        first(config),
        steps=lambda state: steps(state, config),
        broken=lambda before, step, after: broken(before, step, after, config),
        canonical=lambda state: state._replace(processes=tuple(sorted(state.processes))),
        is_end=lambda state: all(process.at in ("done", "dead") for process in state.processes),
        is_free=lambda step: not step.is_fault and step.at != "dead",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints how much was looked at, and a counterexample if there is one; returns 1 then."""
    asked = _parser().parse_args(arguments)
    write, is_watched, status = sys.stdout.write, sys.stderr.isatty(), 0
    write("store    rotation  processes faults expiries |   states transitions depth seconds\n")
    for start, rotation in itertools.product(asked.start, asked.rotation):
        config = Config(start, rotation, asked.processes, asked.faults, asked.expiries, asked.mistake, asked.strict)

        def told(depth: int, states: int, about: str = f"{start}, {rotation}") -> None:
            if is_watched:
                sys.stderr.write(f"\r{about}: depth {depth}, {states:,} states\x1b[K\r")

        found = explore(model(config), told)
        write(f"{start:<8} {rotation:<9} {asked.processes:>9} {asked.faults:>6} {asked.expiries:>8} | ")
        write(f"{found.states:>8,} {found.transitions:>11,} {found.depth:>5} {found.seconds:>7.1f}\n")
        if found.breaks:
            status = 1
            write(f"{found.breaks} does not hold ({len(found.trace)} steps; ! is a fault):\n")
            write("".join(f"  {step}\n" for step, _ in found.trace))
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.renewal_model.model", description="Explores the model.")
    parser.add_argument("--start", nargs="+", choices=STARTS, default=STARTS, help="the store; all by default")
    parser.add_argument("--rotation", nargs="+", choices=ROTATIONS, default=ROTATIONS, help="all by default")
    parser.add_argument("--processes", type=int, choices=range(1, 9), default=3, metavar="N", help="3 by default")
    parser.add_argument("--faults", type=int, default=2, help="how many in all; 2 by default")
    parser.add_argument("--expiries", type=int, default=0, help="how often all access tokens expire; 0 by default")
    parser.add_argument("--mistake", choices=MISTAKES, default="", help="what to do wrong on purpose")
    parser.add_argument("--strict", action="store_true", help="demand KEPT of one-time refresh tokens, too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
