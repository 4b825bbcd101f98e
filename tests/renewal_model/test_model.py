"""The model of what processes do together: what holds in it, what breaks that, and what is known not to hold."""

from __future__ import annotations

import inspect
import re
from itertools import product

import attrs
import pytest

from tests.renewal_model import model as module
from tests.renewal_model.model import (
    MISTAKES,
    ROTATIONS,
    STARTS,
    Config,
    State,
    Step,
    broken,
    first,
    main,
    model,
    steps,
)
from tests.renewal_model.search import Found, Model, explore
from wixvisitor._renewal import run

# Without tokens that expire, only a stored visitor is ever renewed, so that the rotation matters for no other start.
BOUND = [Config("empty"), *(Config("expired", rotation) for rotation in ROTATIONS), Config("refused")]
CONFIGS = [Config(start, rotation, faults=1) for start, rotation in product(STARTS, ROTATIONS)]


def named(config: Config) -> str:
    return f"{config.start}-{config.rotation}"


def searched(config: Config) -> Found[State, Step]:
    return explore(model(config))


def written(found: Found[State, Step]) -> str:
    return "\n".join(str(step) for step, _ in found.trace)


# What holds


@pytest.mark.parametrize("config", BOUND, ids=named)
def test_every_invariant_holds_within_the_bound(config: Config) -> None:
    """Three processes and any two faults: every invariant holds in every state, and everybody can come to an end."""
    found = searched(config)

    assert found.breaks == "", written(found)
    assert found.states > 9_000


@pytest.mark.parametrize("config", CONFIGS, ids=named)
def test_every_invariant_holds_when_tokens_expire_meanwhile(config: Config) -> None:
    """All access tokens may expire at any moment, twice, those that are about to be saved included."""
    found = searched(config._replace(faults=0, expiries=2))

    assert found.breaks == "", written(found)
    assert found.states > 500


@pytest.mark.parametrize(("mistake", "breaks"), [("", ""), ("keeps its own after losing", "USED")])
def test_who_is_who_makes_no_difference(mistake: str, breaks: str) -> None:
    """That states which differ only in who is who are taken for one hides nothing: the same is broken, as early."""
    reduced = model(Config("empty", processes=2, faults=1, mistake=mistake))
    few, many = explore(reduced), explore(attrs.evolve(reduced, canonical=lambda state: state))

    assert few.breaks == many.breaks == breaks
    assert few.depth == many.depth
    assert few.states < many.states


def test_the_model_says_what_the_code_says() -> None:
    """The line of steps stands in both modules, and each invariant of the docstring is one that is checked."""
    line = next(line for line in (run.__doc__ or "").splitlines() if "→" in line)
    text = module.__doc__ or ""
    checked = re.findall(r'^        "([A-Z]+)":', inspect.getsource(broken), re.MULTILINE)

    assert line in text.splitlines()
    assert re.findall(r"^\d\. ([A-Z]+)\.", text, re.MULTILINE) == [*checked, "ENDS"]
    assert {name for names in MISTAKES.values() for name in names} | {"KEPT"} == {*checked, "ENDS"}


# What breaks it


@pytest.mark.parametrize(("mistake", "breaks"), [(one, name) for one, names in MISTAKES.items() for name in names])
def test_a_mistake_breaks_what_it_is_said_to_break(mistake: str, breaks: str) -> None:
    """Everything that the protocol does is needed for an invariant: without it, one fault at most breaks that."""
    names = {searched(config._replace(mistake=mistake)).breaks for config in CONFIGS}

    assert breaks in names
    assert names <= {"", *MISTAKES[mistake]}


def test_a_counterexample_reads_as_a_list_of_steps() -> None:
    """One line for each step: who, at which await, and what came of it; a fault has a mark."""
    found = searched(Config("empty", faults=1, mistake="uses what could not be saved"))

    assert written(found).splitlines() == [
        "A  look      loads",
        "A  lease     takes it",
        "A  load      will mint",
        "A  mint      is granted",
        "A  save    ! the store fails",
        "A  release   goes on",
    ]


@pytest.mark.parametrize("mistake", ["saves over whatever is there", "keeps its own after losing"])
def test_a_counterexample_is_a_shortest_one(mistake: str) -> None:
    """Whatever can be reached in one step less breaks nothing, however one gets there."""
    config = Config("empty", processes=2, faults=1, mistake=mistake)
    length, states = len(searched(config).trace), {first(config)}
    for _ in range(length - 1):
        pairs = [(state, step, after) for state in states for step, after in steps(state, config)]
        assert not any(broken(*pair, config) for pair in pairs)
        states = {after for *_, after in pairs}

    assert any(broken(state, step, after, config) for state in states for step, after in steps(state, config))


def test_whoever_asks_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints how much was looked at, and a counterexample, for which it fails."""
    small = ["--start", "expired", "--rotation", "kept", "--processes", "2", "--faults", "1"]

    assert main(small) == 0
    counted = capsys.readouterr().out
    assert main([*small, "--mistake", "never waits for the lease"]) == 1
    told = capsys.readouterr().out

    assert re.search(r"^expired  kept +2 +1 +0 \| +[\d,]+ +[\d,]+ +\d+ +[\d.]+$", counted, re.MULTILINE)
    assert "TURNS does not hold (6 steps; ! is a fault):\n  A  look      loads\n" in told


# The search itself, in a small model


def toy(roads: dict[int, list[tuple[str, int]]], broken_at: int = -1) -> Model[int, str]:
    """Numbers that lead to numbers; 9 is the end, and a road with ``!`` is a fault."""
    return Model(
        0,
        steps=lambda number: roads.get(number, []),
        broken=lambda _, road, after: "ODD" if after == broken_at else "",
        canonical=lambda number: number,
        is_end=lambda number: number == 9,
        is_free=lambda road: "!" not in road,
    )


@pytest.mark.parametrize(
    ("roads", "lost_at"),
    [
        ({0: [("a", 1), ("b", 9)], 1: [("back", 0)]}, None),
        ({0: [("a", 1), ("b", 9)], 1: [("again", 1), ("out !", 9)]}, 1),  # round and round, until something fails
        ({0: [("a", 2), ("b", 9)], 2: []}, 2),  # a deadlock
        ({0: [("a", 1)], 1: [("back", 0)]}, 0),
    ],
)
def test_whoever_cannot_come_to_an_end_is_found(roads: dict[int, list[tuple[str, int]]], lost_at: int | None) -> None:
    """Neither a deadlock, nor turning in a circle, nor a fault that would help counts as coming to an end."""
    found = explore(toy(roads))

    assert found.breaks == ("" if lost_at is None else "ENDS")
    assert [number for _, number in found.trace] == ([lost_at] if lost_at else [])


def test_the_first_way_found_is_a_shortest_one() -> None:
    """A long way that is looked at first does not hide a short one."""
    roads = {0: [("long", 1), ("short", 4)], 1: [("long", 2)], 2: [("long", 3)], 3: [("long", 5)], 4: [("short", 5)]}
    found = explore(toy(roads, broken_at=5))

    assert (found.breaks, found.trace) == ("ODD", (("short", 4), ("short", 5)))


# What is known not to hold


def with_only(fault: str, config: Config) -> Found[State, Step]:
    """Searches for a lost visitor where nothing else can go wrong."""
    return explore(
        attrs.evolve(
            model(config),
            steps=lambda state: (pair for pair in steps(state, config) if not pair[0].is_fault or pair[0].how == fault),
            broken=lambda *pair: "KEPT" if broken(*pair, config) == "KEPT" else "",
        )
    )


@pytest.mark.parametrize(
    ("fault", "at"),
    [
        ("crashes", "save"),
        ("is stalled", "save"),
        ("the store fails", "lease"),
        ("the answer is lost, gives up", "ask"),
        ("the answer is lost, asks again", "ask"),
    ],
)
def test_what_may_cost_a_visitor_with_one_time_refresh_tokens(fault: str, at: str) -> None:
    """Between Wix, which has taken the old token, and the store only one process knows the new one, if that."""
    found = with_only(fault, Config("expired", "one-time", faults=1, is_strict=True))

    assert found.breaks == "KEPT"
    assert [step.at for step, _ in found.trace if step.is_fault] == [at]
    assert [step.at for step, _ in found.trace if step.how == "is refused"] == ["ask"]


@pytest.mark.parametrize("fault", ["no answer, gives up", "saves, the reply is lost"])
def test_what_costs_nobody_even_then(fault: str) -> None:
    """An answer that was never given, and a save that did happen, are safe with one-time refresh tokens as well."""
    found = with_only(fault, Config("expired", "one-time", faults=2, is_strict=True))

    assert found.breaks == "", written(found)


def test_two_stalled_holders_may_cost_a_call_of_everybody_who_waits() -> None:
    """Whoever has seen a lease run out, and waits for the next one in vain, goes ahead; four processes can show it."""
    found = searched(Config("expired", "kept", processes=4, faults=2))

    assert found.breaks == "TURNS"
    assert [step.how for step, _ in found.trace if step.is_fault] == ["is stalled", "is stalled"]
    assert [step.how for step, _ in found.trace].count("loses patience") == 1
