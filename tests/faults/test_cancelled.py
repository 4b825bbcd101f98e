"""Five thousand coroutines over real sockets, cancelled at random, while garbage is collected all the time.

Through httpx2: the pool of httpx (httpcore 1.0.9, github.com/encode/httpcore/issues/1093) loses a connection for good
when a request is cancelled that waits for it, so that after some hundreds nothing is sent any more, by whomever.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio
import attrs
import httpx2
import pytest

from tests.constants import CART, LIFETIME
from tests.faults.scarcity import collecting, sockets
from tests.faults.truth import used
from wixvisitor import VisitorSession, WixVisitorError
from wixvisitor.testing import FakeWix

pytestmark = [pytest.mark.anyio, pytest.mark.faults]

CALLERS = 5_000
SPREAD = 8.0  # seconds in which they come
BOUND = 240.0  # seconds for all of them, on a busy machine


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Both event loops."""
    return str(request.param)


def tasks_alive() -> set[int]:
    """The ids of all tasks of the event loop."""
    return {task.id for task in anyio.get_running_tasks()}


@pytest.mark.parametrize("seed", [1])
async def test_five_thousand_cancelled_at_random(
    still: FakeWix, client_id: str, anyio_backend: str, until: Callable[..., Any], seed: int
) -> None:
    """However many leave at whatever moment: one visitor, nobody else is hurt, and no task or socket is left."""
    chance, ended = random.Random(seed), Counter[str]()
    async with still.serve() as url:
        async with httpx2.AsyncClient() as client:
            await client.get(url)  # the server is up, with what it has open itself
        sockets_before, tasks_before = sockets(), tasks_alive()
        still.delay(0.05, times=None)  # of token calls
        async with httpx2.AsyncClient(timeout=BOUND) as client:
            session = VisitorSession(client_id, base_url=url, client=client, clock=still.now)
            leave = [_by_scope, _by_asyncio] if anyio_backend == "asyncio" else [_by_scope]
            with collecting(seed), anyio.fail_after(BOUND):
                async with anyio.create_task_group() as tasks:
                    for number in range(CALLERS):
                        patience = chance.expovariate(1 / chance.choice((0.001, 0.01, 0.1))) if number % 10 else BOUND
                        begins = chance.uniform(0.0, SPREAD)
                        tasks.start_soon(
                            chance.choice(leave), _Call(session, begins, number % 100 == 99, ended), patience
                        )
                    # It ages, so that it is renewed; then those who are still in line with the old one have a 401.
                    for seconds in (LIFETIME - 100, 200):
                        await anyio.sleep(SPREAD / 3)
                        still.advance(seconds)
            assert (await session.get(CART)).status_code == 404
            await session.aclose()
        await until(lambda: sockets() <= sockets_before, seconds=30)
        assert tasks_alive() == tasks_before
    assert ended.total() == CALLERS, f"seed {seed}: {ended}"
    assert set(ended) <= {"404", "cancelled"}, f"seed {seed}: {ended}"
    assert ended["404"] >= CALLERS / 20, f"seed {seed}: {ended}"
    assert ended["cancelled"] >= CALLERS / 10, f"seed {seed}: {ended}"
    assert len(still.visitors) == len(used(still)) == 1


@attrs.frozen
class _Call:
    """One request of one caller, who comes at some moment."""

    session: VisitorSession
    begins: float
    renews: bool
    ended: Counter[str]

    async def make(self) -> None:
        await anyio.sleep(self.begins)
        try:
            if self.renews:
                await self.session.renew_token()
            outcome = str((await self.session.get(CART)).status_code)
        except (WixVisitorError, httpx2.TransportError) as error:
            outcome = type(error).__name__
        self.ended[outcome] += 1


async def _by_scope(call: _Call, patience: float) -> None:
    """Leaves as a scope of anyio's, or trio's, says."""
    with anyio.move_on_after(call.begins + patience) as scope:
        await call.make()
    if scope.cancelled_caught:
        call.ended["cancelled"] += 1


async def _by_asyncio(call: _Call, patience: float) -> None:
    """Leaves as asyncio's own ``cancel`` says."""
    task = asyncio.create_task(call.make())
    await asyncio.wait({task}, timeout=call.begins + patience)
    task.cancel()
    await asyncio.wait({task})
    if task.cancelled():
        call.ended["cancelled"] += 1
    else:
        task.result()
