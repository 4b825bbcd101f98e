"""A job that closes nothing: its clients are closed as its event loop ends."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.constants import CART, CLIENT_ID
from wixvisitor import VisitorPool, VisitorSession
from wixvisitor.testing import FakeWix

TOP = Path(__file__).parents[2]
JOB = f"""
import asyncio, gc, sys
from wixvisitor import VisitorPool, VisitorSession
from wixvisitor.testing import FakeWix

async def job(one):
    session = await one.session("anna") if isinstance(one, VisitorPool) else one
    await asyncio.gather(*(session.get("{CART}") for _ in range(5)))

async def with_fake(kind, kept):
    async with FakeWix().serve() as url:
        one = kind("{CLIENT_ID}", base_url=url)
        await job(one)
        kept.append(one)

kind = {{"session": VisitorSession, "pool": VisitorPool}}[sys.argv[1]]
for kept in ([], []):
    asyncio.run(with_fake(kind, kept))
    kept.clear()
    gc.collect()
print("done")
"""


@pytest.mark.parametrize("kind", ["session", "pool"])
def test_a_job_without_aclose(kind: str) -> None:
    """With ``-W error -X dev`` a job that never calls ``aclose()`` prints no warning of an open socket."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", JOB, kind],
        env=os.environ | {"PYTHONPATH": str(TOP)},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert ran.stdout == "done\n", ran.stderr
    assert "ResourceWarning" not in ran.stderr
    assert "destroyed" not in ran.stderr


@pytest.mark.parametrize("is_dropped", [False, True])
def test_a_client_that_a_function_made(still: FakeWix, family: ModuleType, *, is_dropped: bool) -> None:
    """It is closed at the end of its loop, or as soon as no session holds it any more."""
    made: list[Any] = []

    def make() -> Any:
        made.append(still.client(family))
        return made[-1]

    async def job() -> bool:
        session: VisitorSession | None = VisitorSession(CLIENT_ID, client=make, clock=still.now)
        assert session is not None
        await session.get(CART)
        if is_dropped:
            session = None
            gc.collect()
        await asyncio.sleep(0.01)
        return bool(made[0].is_closed)

    was_closed_early = asyncio.run(job())
    assert was_closed_early == is_dropped
    assert made[0].is_closed


def test_closing_goes_on_as_before(still: FakeWix) -> None:
    """A session that is closed and used again has another client, and each of them is closed once."""
    made: list[Any] = []

    def make() -> Any:
        made.append(still.client())
        return made[-1]

    async def job() -> list[bool]:
        session = VisitorSession(CLIENT_ID, client=make, clock=still.now)
        for _ in range(2):
            async with session:
                await session.get(CART)
        pool = VisitorPool(CLIENT_ID, client=make, clock=still.now)
        async with pool:
            await (await pool.session("anna")).get(CART)
        return [client.is_closed for client in made]

    assert asyncio.run(job()) == [True, True, True]
