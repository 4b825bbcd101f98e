"""The promise under every schedule and fault of many seeds; and that the simulation would notice if it were broken."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import pytest

from tests.constants import IN_CI

from .broken import BROKEN
from .runs import replay_command, run, seeds_needed
from .scheduler import BACKENDS

SEEDS = 300 if IN_CI else 48
CHUNKS = 12
MOST_SEEDS = 200  # that a broken refresher may need
RARE = {  # shown by dozens of seeds only, which takes seconds each
    *("a turn outlives the pause", "what is set late stands anew", "two doubtful answers are a refusal"),
    *("a logout is nothing held", "unordered sets", "a login keeps the number"),
    *("lock across the network", "a refused state goes on to win", "the store always wins"),
    *("the loser adopts nothing", "each by its own clock"),
}


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_one_visitor_stays_one_visitor(chunk: int) -> None:
    """Whatever a seed makes of the schedule, the store, Wix and the shoppers, every invariant holds at every step."""
    for seed in range(chunk, SEEDS, CHUNKS):
        backend = list(BACKENDS)[seed // CHUNKS % len(BACKENDS)]  # they take turns
        report = run(seed, backend)
        assert not report.violation, "\n".join(
            (*report.trace[-40:], report.violation, f"again: {replay_command(seed, backend)}")
        )
        assert report.steps > 20


@pytest.mark.parametrize(("name", "backend"), list(zip(BROKEN, itertools.cycle(BACKENDS), strict=False)))
def test_a_broken_refresher_is_noticed(name: str, backend: str) -> None:
    """Each mistake violates the invariant that it should, within a few seeds; `--mistakes` tries both event loops."""
    if name in RARE and not IN_CI:
        pytest.skip("takes dozens of seeds; CI tries it")
    needed, _ = seeds_needed(name, backend, MOST_SEEDS)
    assert needed, f"{MOST_SEEDS} seeds on {backend} did not notice: {name}"


def test_every_invariant_is_seen_to_fail() -> None:
    """No invariant is a rule that cannot fail: for each there is a broken refresher that violates it."""
    assert frozenset().union(*(broken.caught_by for broken in BROKEN.values())) == frozenset(range(1, 16))


@pytest.mark.parametrize("backend", BACKENDS if IN_CI else ["trio"])  # which draws lots itself, if it may
def test_a_seed_is_the_same_world_every_time(backend: str) -> None:
    """A seed that is replayed in another process, with other hashes and addresses, happens again step by step."""
    command = [sys.executable, "-m", "tests.simulation", "5", "--on", backend]
    told = {
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, encoding="utf-8", check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1
    assert f"seed 5 on {backend}" in told.pop()


def test_a_failing_seed_says_how_to_replay_it() -> None:
    """The command that is printed shows the same violation again, and ends with an error."""
    name = "log the tokens"
    report = run(0, "trio", BROKEN[name].patch())
    command = replay_command(0, "trio", name).removeprefix("python ")
    again = subprocess.run(
        f"{sys.executable} {command}", shell=True, capture_output=True, encoding="utf-8", check=False
    )
    assert report.violation
    assert again.returncode == 1
    assert report.violation in again.stdout
