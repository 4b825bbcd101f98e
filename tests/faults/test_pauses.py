"""One endpoint, one pause, over real sockets and in real time: the numbers of docs/explanation/one-visitor.md."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator

import anyio
import attrs
import pytest

from tests.constants import CLIENT_ID
from tests.faults.recovery import SOON
from wixvisitor import TokenRequestError, VisitorPool, VisitorSession
from wixvisitor.testing import FakeWix

pytestmark = [pytest.mark.anyio, pytest.mark.faults]

TOKEN = "/oauth2/token"
MOST_CALLS = 8  # into a limit: those under way


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@attrs.define
class Town:
    """A pool with 300 visitors whose tokens have expired.

    Attributes:
        errors: what each call was told, and after how many seconds.
        served: by visitor, when it was served (``time.monotonic``).
        paused: by visitor, when the pause is over that it was told of last.
    """

    fake: FakeWix
    pool: VisitorPool
    sessions: list[VisitorSession]
    errors: list[tuple[float, TokenRequestError]] = attrs.field(factory=list)
    served: dict[int, float] = attrs.field(factory=dict)
    paused: dict[int, float] = attrs.field(factory=dict)

    async def ask(self, number: int) -> None:
        since = time.monotonic()
        try:
            await self.sessions[number].generate_visitor_tokens()
        except TokenRequestError as error:
            self.errors.append((time.monotonic() - since, error))
            self.paused[number] = time.monotonic() + (error.retry_after or 0.0)
        else:
            self.served[number] = time.monotonic()

    async def ask_all(self) -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(len(self.sessions)):
                tasks.start_soon(self.ask, number)

    async def ask_until_served(self) -> None:
        async def insist(number: int) -> None:
            while number not in self.served:
                await self.ask(number)
                await anyio.sleep(1.0)

        async with anyio.create_task_group() as tasks:
            for number in range(len(self.sessions)):
                tasks.start_soon(insist, number)


@pytest.fixture
async def town(anyio_backend: str) -> AsyncGenerator[Town]:
    fake = FakeWix()
    async with fake.serve() as url, VisitorPool(CLIENT_ID, base_url=url, clock=fake.now) as pool:
        town = Town(fake, pool, [await pool.session(str(number)) for number in range(300)])
        await town.ask_all()
        assert len(town.served) == 300
        town.served.clear()
        fake.advance(5 * 3600)
        fake.reset_calls()
        yield town


async def test_a_limit(town: Town) -> None:
    """A 429 with ``Retry-After: 6``: at most 8 calls, all told within 3 s, none asks, then one renewal each."""
    fault = town.fake.fail(429, headers={"Retry-After": "6"}, times=None)
    await town.ask_all()
    over = time.monotonic() + 6.0  # at the latest
    assert len(town.errors) == 300
    assert max(seconds for seconds, _ in town.errors) < 3.0
    calls = len(town.fake.token_calls())
    assert calls <= MOST_CALLS
    while time.monotonic() < over - 1.5:
        await town.ask_all()
        await anyio.sleep(0.5)
    assert len(town.fake.token_calls()) == calls
    assert {error.status_code for _, error in town.errors} == {429}
    assert all(0 < (error.retry_after or 0) <= 6 for _, error in town.errors)
    fault.remove()
    await anyio.sleep(max(0.0, over + 0.05 - time.monotonic()))
    await town.ask_all()
    assert len(town.served) == 300
    assert len(town.fake.token_calls("refresh_token")) == calls + 300
    assert len(town.fake.visitors) == 300


async def test_an_outage(town: Town) -> None:
    """25 s of 503s that take 0.3 s each: told within 8 s, at most 60 calls, all served within 40 s after the end.

    And each visitor within 5 s after the end of the pause that it was told of last.
    """
    faults = [town.fake.delay(0.3, path=TOKEN, times=None), town.fake.fail(503, path=TOKEN, times=None)]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(town.ask_until_served)
        await anyio.sleep(25.0)
        calls = len(town.fake.token_calls())
        assert not town.served
        assert max(seconds for seconds, _ in town.errors) < 8.0
        assert calls <= 60
        for fault in faults:
            fault.remove()
        over = time.monotonic()
    assert max(town.served.values()) - over < 40.0
    assert max(served - max(over, town.paused[number]) for number, served in town.served.items()) < SOON
    assert len(town.fake.visitors) == 300


async def test_a_crawler(town: Town) -> None:
    """2,000 new visitors queue while Wix answers in 50 ms: five shoppers with expired tokens are served within 2 s."""
    assert await served_beside(town, crawlers=2_000) == 5


async def served_beside(town: Town, *, crawlers: int) -> int:
    """Returns how many of five shoppers with expired tokens are served within 2 s while new visitors queue."""
    town.fake.delay(0.05, times=None)
    bots = [await town.pool.session(f"bot {number}") for number in range(crawlers)]
    async with anyio.create_task_group() as tasks:
        for bot in bots:
            tasks.start_soon(_crawl, bot)
        await anyio.sleep(0.5)
        with anyio.move_on_after(2.0):
            async with anyio.create_task_group() as shopping:
                for number in range(5):
                    shopping.start_soon(town.ask, number)
        tasks.cancel_scope.cancel()
    return len(town.served)


async def _crawl(bot: VisitorSession) -> None:
    try:
        await bot.generate_visitor_tokens()
    except TokenRequestError:
        return
