"""The real code beside the model, step for step: it does the same, and what breaks a wrong model leaves it whole."""

from __future__ import annotations

import random
from pathlib import Path

import anyio
import attrs
import pytest

from tests.constants import IN_CI
from tests.renewal_model.model import MISTAKES, ROTATIONS, STARTS, Config, State, Step, broken, first, model
from tests.renewal_model.search import explore

from .mistakes import WRONG
from .replay import Replay, check_same, replayed
from .ways import Way, by_chance, over_every_step, written

CONFIGS = [Config(start, rotation, faults=1) for start in STARTS for rotation in ROTATIONS]
FEWER = [one for one in CONFIGS if one.start == "expired" or one.rotation == "kept"]

Kind = tuple[State, str, str, State]


def named(config: Config) -> str:
    return f"{config.start}-{config.rotation}"


async def follow(ways: list[tuple[Config, Way]], about: str) -> None:
    """Goes these ways with the real code, and compares what is there after each step."""
    for config, way in ways:
        async with replayed(config) as replay:
            for number, (step, state) in enumerate(way, 1):
                await replay.take(step)
                check_same(await replay.seen(state), state, f"{about}\n{config}\n{written(way[:number])}")


def kinds_of_step(config: Config) -> set[Kind]:
    """Returns all steps of the model as the search sees them, who is who being all one."""
    whole, kinds = model(config), set()

    def note(before: State, step: Step, after: State) -> str:
        kinds.add((before, step.at, step.how, whole.canonical(after)))
        return ""

    explore(attrs.evolve(whole, broken=note))
    return kinds


def kinds_on(way: Way, config: Config) -> set[Kind]:
    """Returns the steps of a way in the same words."""
    canonical = model(config).canonical
    befores = [first(config), *(state for _, state in way)]
    return {
        (canonical(before), step.at, step.how, canonical(after))
        for before, (step, after) in zip(befores, way, strict=False)
    }


@pytest.mark.parametrize("config", FEWER if IN_CI else FEWER[::3], ids=named)
def test_the_real_code_takes_every_step_of_two_processes(config: Config) -> None:
    """Each step that the model can take with two processes and one fault leads the real code to the same place."""
    small = config._replace(processes=2)
    ways = over_every_step(small)

    assert set().union(*(kinds_on(way, small) for way in ways)) == kinds_of_step(small)
    anyio.run(follow, [(small, way) for way in ways[::2]], "every second way", backend="asyncio")
    anyio.run(follow, [(small, way) for way in ways[1::2]], "every other way", backend="trio")


@pytest.mark.parametrize("seed", [1, 2])
def test_the_real_code_goes_ways_of_three_processes(seed: int, anyio_backend: str) -> None:
    """The real code follows the model where chance takes it: up to four faults, tokens that expire meanwhile."""
    chance, ways = random.Random(f"{anyio_backend} {seed}"), []
    for config in CONFIGS * 10:
        larger = config._replace(faults=chance.randint(0, 4), expiries=chance.randint(0, 1))
        ways.append((larger, by_chance(larger, chance)))

    again = f"pytest tests/renewal_model/{Path(__file__).name} -k 'ways_of_three and {anyio_backend}-{seed}'"
    anyio.run(follow, ways, again, backend=anyio_backend)


async def breaks(config: Config, way: Way) -> str:
    """Returns the first invariant that the real code breaks on this way and after it, ``""`` if none."""
    async with replayed(config) as replay:
        before = await replay.seen(first(config))
        for step, state in way:
            await replay.take(step)
            after = await replay.seen(state)
            if name := broken(before, step, after, config):
                return name
            before = after
        return await _breaks_later(replay, config, before)


async def _breaks_later(replay: Replay, config: Config, before: State) -> str:
    async for step, after in replay.finish(before):
        if name := broken(before, step, after, config):
            return name
        before = after
    return ""


def counterexamples(mistake: str) -> list[tuple[Config, str, Way]]:
    """Returns what the mistake breaks in each configuration, and a shortest way there."""
    found = [(config, explore(model(config._replace(mistake=mistake)))) for config in CONFIGS]
    return [(config, one.breaks, list(one.trace)) for config, one in found if one.breaks]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_real_code_goes_the_way_of_a_counterexample_unharmed(mistake: str) -> None:
    """Where one thing done wrong breaks an invariant, the real code breaks none, and everybody comes to an end."""
    ways = counterexamples(mistake)

    assert ways
    for config, _, way in ways:
        assert anyio.run(breaks, config, way) == "", f"{config}\n{written(way)}"


@pytest.mark.parametrize("mistake", WRONG)
def test_real_code_that_makes_the_mistake_is_found_out(mistake: str) -> None:
    """The same ways break the same invariant once the real code does the same thing wrong."""
    ways = counterexamples(mistake)
    with WRONG[mistake]():
        real = [anyio.run(breaks, config, way) for config, _, way in ways]

    assert real == [name for _, name, _ in ways]
