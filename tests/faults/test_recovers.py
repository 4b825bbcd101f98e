"""After storms of callers beyond a client's connections everybody is served again in time; mistakes are noticed."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from tests.constants import CLIENT_ID
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
KEYS = tuple(f"visitor {number}" for number in range(20))
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
async def shop(fake: FakeWix, client: str, backend: str) -> AsyncGenerator[Shoppers]:
    """Twenty visitors, five of them with tokens that work; the others' have expired."""
    kind = CLIENTS[client]
    async with (
        fake.serve() as url,
        VisitorPool(CLIENT_ID, client=kind.make, base_url=url, clock=fake.now, renew_timeout=2.0) as pool,
    ):
        births = dict.fromkeys(KEYS, 0.0)
        shoppers = Shoppers(pool, births, random.Random(1), 0.1, print, kind.callers, backend, clock=fake.now)
        assert not (await recovered(KEYS, shoppers.ask)).wrong
        fake.advance(HOURS)
        assert not (await recovered(KEYS[:5], shoppers.ask)).wrong
        yield shoppers


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
async def test_a_storm(
    fake: FakeWix, anyio_backend: str, client: str, hangs: str | None, until: Callable[..., Any]
) -> None:
    """More callers than connections leave at deadlines or earlier; then all visitors are served, no socket is left."""
    before = descriptors()
    async with shop(fake, client, anyio_backend) as shoppers:
        assert await storm(fake, shoppers, hangs) == []
        assert not shoppers.tally["wrong"]
    await until(lambda: descriptors() <= before + 1, seconds=10)
    assert len(fake.visitors) == len(KEYS)


@pytest.mark.parametrize(
    ("anyio_backend", "name"),
    [(backend, name) for name, (_, backends, _) in BROKEN_CONNECTIONS.items() for backend in backends],
)
async def test_broken_connections_are_noticed(fake: FakeWix, anyio_backend: str, name: str) -> None:
    """Each mistake with connections is noticed after a storm."""
    client, _, broken = BROKEN_CONNECTIONS[name]
    with broken():
        async with shop(fake, client, anyio_backend) as shoppers:
            assert await storm(fake, shoppers, None if name == "leave orphans" else CART, seconds=1.5)


async def tokens_beside_slow_calls(fake: FakeWix, backend: str) -> bool:
    """Whether a new visitor, an expired one and a forced renewal have their tokens in 2 s amid 150 slow API calls."""
    async with shop(fake, "default", backend) as shoppers, hanging(fake), anyio.create_task_group() as slow:
        busy, new, expired, forced = [await shoppers.pool.session(key) for key in (KEYS[0], "new", KEYS[-1], KEYS[1])]
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


async def test_tokens_beside_slow_calls(fake: FakeWix, anyio_backend: str) -> None:
    """A new visitor, an expired one and a forced renewal have their tokens in 2 s amid 150 slow API calls."""
    assert await tokens_beside_slow_calls(fake, anyio_backend)


async def test_token_calls_that_wait_are_noticed(fake: FakeWix, anyio_backend: str) -> None:
    """It is noticed if token calls wait for a place as API calls do."""
    with token_calls_wait():
        assert not await tokens_beside_slow_calls(fake, anyio_backend)


async def test_pauses_of_one_visitor_are_noticed(town: test_pauses.Town) -> None:
    """It is noticed if a 429 pauses each visitor by itself."""
    town.fake.fail(429, headers={"Retry-After": "6"}, times=None)
    with pause_one_visitor():
        await town.ask_all()
    assert len(town.fake.token_calls()) > test_pauses.MOST_CALLS


async def test_new_visitors_that_go_first_are_noticed(town: test_pauses.Town) -> None:
    """It is noticed if a crawler's new visitors go before shoppers' renewals."""
    with new_visitors_first():
        assert await test_pauses.served_beside(town, crawlers=400) < 5
