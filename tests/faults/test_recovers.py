"""After storms of callers beyond a client's connections everybody is served again in time; mistakes are noticed."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from tests.faults import test_pauses
from tests.faults.broken import BROKEN_CONNECTIONS, new_visitors_first, pause_one_visitor, token_calls_wait
from tests.faults.clients import CLIENTS, kinds_on
from tests.faults.recovery import recovered
from tests.faults.scarcity import descriptors
from tests.faults.shoppers import CART, Shoppers
from tests.storms import hanging
from wixvisitor import VisitorPool
from wixvisitor.testing import FakeWix

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.faults,
    # httpx leaves its iterator of an upload that is cut off to the garbage collector
    pytest.mark.filterwarnings("ignore:Async generator 'httpx2?._content.AsyncIteratorByteStream:ResourceWarning"),
]

TOKEN = "/oauth2/token"
HOURS = 5 * 3600.0  # in which every access token expires
KEYS = tuple(f"visitor {number}" for number in range(10))
BACKENDS = ("asyncio", "trio")
town = test_pauses.town


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Both event loops, where a test says nothing else."""
    return str(request.param)


@pytest.fixture
def fake() -> FakeWix:
    return FakeWix()


@asynccontextmanager
async def shop(fake: FakeWix, client: str, patience: float = 12.0) -> AsyncGenerator[Shoppers]:
    """Ten visitors, half of them with tokens that work; the others' have expired."""
    said: list[str] = []
    kind = CLIENTS[client]
    async with (
        fake.serve() as url,
        VisitorPool(test_pauses.CLIENT_ID, client=kind.make, base_url=url, clock=fake.now, renew_timeout=2.0) as pool,
    ):
        births = dict.fromkeys(KEYS, 0.0)
        shoppers = Shoppers(pool, births, random.Random(1), 0.1, said.append, kind.callers, fake.now, patience)
        assert not (await recovered(KEYS, shoppers.ask)).wrong
        fake.advance(HOURS)
        assert not (await recovered(KEYS[:5], shoppers.ask)).wrong
        yield shoppers
    assert said == []


async def storm(fake: FakeWix, shoppers: Shoppers, hangs: str | None, seconds: float = 2.0) -> list[str]:
    """Lives through a storm in which Wix hangs, or callers leave; returns what is wrong after it."""
    if hangs is None:
        await shoppers.storm("leave", seconds)
    else:
        async with hanging(fake, hangs):
            await shoppers.storm("impatient", seconds)
    return (await shoppers.judge(KEYS)).wrong


@pytest.mark.parametrize("hangs", [CART, TOKEN, None], ids=["API hangs", "Wix hangs", "requests are left"])
@pytest.mark.parametrize(
    ("anyio_backend", "client"), [(backend, kind) for backend in BACKENDS for kind in kinds_on(backend)]
)
async def test_a_storm(fake: FakeWix, client: str, hangs: str | None, until: Callable[..., Any]) -> None:
    """More callers than connections leave at deadlines or earlier; then all visitors are served, no socket is left."""
    before = descriptors()
    async with shop(fake, client) as shoppers:
        assert await storm(fake, shoppers, hangs) == []
    await until(lambda: descriptors() <= before + 1, seconds=10)
    assert len(fake.visitors) == len(KEYS)


@pytest.mark.parametrize("name", BROKEN_CONNECTIONS)
async def test_broken_connections_are_noticed(fake: FakeWix, name: str) -> None:
    """Each mistake with connections is noticed after a storm."""
    client, broken = BROKEN_CONNECTIONS[name]
    async with shop(fake, client, patience=2.0) as shoppers:
        with broken():
            wrong = await storm(fake, shoppers, None if client != "default" else CART)
        assert wrong


async def tokens_beside_slow_calls(fake: FakeWix) -> bool:
    """Whether a new visitor, an expired one and a forced renewal have their tokens in 2 s amid 150 slow API calls."""
    async with shop(fake, "default") as shoppers, hanging(fake), anyio.create_task_group() as slow:
        busy, new, expired, forced = [await shoppers.pool.session(key) for key in (KEYS[0], "new", KEYS[9], KEYS[1])]
        for _ in range(150):
            slow.start_soon(busy.get, CART)
        await anyio.sleep(0.5)
        with anyio.move_on_after(2.0) as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(new.generate_visitor_tokens)
                tasks.start_soon(expired.generate_visitor_tokens)
                tasks.start_soon(forced.renew_token)
        slow.cancel_scope.cancel()
    return not scope.cancelled_caught


async def test_tokens_beside_slow_calls(fake: FakeWix) -> None:
    """A new visitor, an expired one and a forced renewal have their tokens in 2 s amid 150 slow API calls."""
    assert await tokens_beside_slow_calls(fake)


async def test_token_calls_that_wait_are_noticed(fake: FakeWix) -> None:
    """It is noticed if token calls wait for a place as API calls do."""
    with token_calls_wait():
        assert not await tokens_beside_slow_calls(fake)


async def test_pauses_of_one_visitor_are_noticed(town: test_pauses.Town) -> None:
    """It is noticed if a 429 pauses each visitor by itself."""
    with pause_one_visitor(), pytest.raises(AssertionError):
        await test_pauses.test_a_limit(town)


async def test_new_visitors_that_go_first_are_noticed(town: test_pauses.Town) -> None:
    """It is noticed if a crawler's new visitors go before shoppers' renewals."""
    with new_visitors_first(), pytest.raises(AssertionError):
        await test_pauses.test_a_crawler(town)
