"""Clocks that are wrong by an hour, ahead and behind, and processes that disagree about the time."""

from __future__ import annotations

import random

import pytest

from tests.faults.conftest import Open, Told
from tests.faults.truth import used
from wixvisitor.testing import FakeWix

pytestmark = [pytest.mark.anyio, pytest.mark.faults, pytest.mark.parametrize("store", ["file", "sqlite", "redis"])]

HOUR = 3_600.0


async def visitors_of(children: list[Told]) -> set[str]:
    """Whose refresh tokens they hold."""
    return {await child.do("whose") for child in children}


async def test_processes_that_disagree(still: FakeWix, told: Open, store: str) -> None:
    """Of three processes one is an hour ahead, one an hour behind: for a day they are one visitor, always served."""
    async with still.serve() as url:
        children = [await told(url, store) for _ in range(3)]
        for _ in range(48):
            for child, wrong in zip(children, (-HOUR, 0.0, HOUR), strict=True):
                child.tell("ask", now=still.now() + wrong, callers=5)
            assert [await child.hear() for child in children] == [{"404": 5}] * 3
            assert len(await visitors_of(children)) == 1
            still.advance(HOUR / 2)
    assert len(still.visitors) == len(used(still)) == 1
    # Whoever is ahead renews what the others have in hand, each time; nobody asks at every request.
    assert len(still.token_calls("refresh_token")) <= 48


@pytest.mark.parametrize("seed", [1, 2])
async def test_clocks_that_are_set(still: FakeWix, told: Open, store: str, seed: int) -> None:
    """Clocks that are set back and forth by an hour, again and again, cost no visitor, and no request."""
    chance = random.Random(seed)
    async with still.serve() as url:
        children = [await told(url, store) for _ in range(2)]
        for _ in range(40):
            child, wrong = chance.choice(children), chance.choice([-HOUR, 0.0, HOUR])
            assert await child.do("ask", now=still.now() + wrong, callers=5) == {"404": 5}, f"seed {seed}"
            still.advance(chance.uniform(0, HOUR))
        for child in children:
            assert await child.do("ask", now=still.now()) == {"404": 1}
        assert len(await visitors_of(children)) == 1
    assert len(still.visitors) == len(used(still)) == 1
