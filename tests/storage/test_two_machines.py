"""One visitor on two machines: two pools, each with its own way to the store, which drops, delays and cuts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import anyio
import attrs
import pytest

from tests.constants import CART, FINE, LIFETIME
from wixvisitor import StorageError, VisitorPool, VisitorSession
from wixvisitor.storage.redis import RedisStorage
from wixvisitor.testing import FakeWix

pytestmark = [pytest.mark.anyio, pytest.mark.machine]


@pytest.fixture
def anyio_backend() -> str:
    """The driver's loop."""
    return "asyncio"


@attrs.define
class Machine:
    """A pool, and its way to the store."""

    pool: VisitorPool
    way: Any
    _held: VisitorSession | None = None

    async def visitor(self) -> VisitorSession:
        """The shopper's session on this machine."""
        if self._held is None:
            self._held = await self.pool.session("shopper")
        return self._held

    async def get(self, callers: int = 1) -> str:
        """Has so many tasks ask for the cart at once, and returns whose it was."""
        session = await self.visitor()

        async def call() -> None:
            assert (await session.get(CART)).status_code in FINE

        async with anyio.create_task_group() as tasks:
            for _ in range(callers):
                tasks.start_soon(call)
        return session.get_tokens().refresh_token.value


@pytest.fixture
async def machines(
    still: FakeWix, client_id: str, redis_url: str, redis_prefix: str, proxy: Callable[..., Any]
) -> AsyncIterator[tuple[Machine, Machine]]:
    """Two machines with one store and one Wix."""
    async with AsyncExitStack() as stack:
        both = []
        for _ in range(2):
            way = proxy(urlsplit(redis_url).port)
            storage = RedisStorage(way.url, prefix=redis_prefix, timeout=5.0)  # a busy machine is not cut off
            stack.push_async_callback(storage.aclose)
            pool = VisitorPool(client_id, storage=storage, client=still.client(), clock=still.now, renew_timeout=3.0)
            both.append(Machine(await stack.enter_async_context(pool), way))
        yield both[0], both[1]


def used(still: FakeWix) -> int:
    """How many visitors' carts were asked for."""
    return len({call.visitor_id for call in still.api_calls()})


@pytest.mark.parametrize("delay", [0.0, 0.02], ids=["near", "far"])
async def test_one_call_for_both(still: FakeWix, machines: tuple[Machine, Machine], delay: float) -> None:
    """A hundred callers on each machine, cold and at each expiry: one call to Wix, one visitor."""
    machines[1].way.delay = delay
    for number in range(3):
        async with anyio.create_task_group() as tasks:
            for machine in machines:
                tasks.start_soon(machine.get, 100)
        assert len(still.token_calls()) == number + 1
        assert await machines[0].get() == await machines[1].get()
        still.advance(LIFETIME + 1)
    assert len(still.visitors) == used(still) == 1


@pytest.mark.parametrize("rotates", [False, True], ids=["same refresh token", "rotated"])
async def test_cut_off_while_renewing(still: FakeWix, machines: tuple[Machine, Machine], *, rotates: bool) -> None:
    """The lease's holder is cut off from the store: one more call, and when it is back all are the same visitor."""
    still.rotate_refresh_tokens = rotates
    cut_off, other = machines
    await cut_off.get()
    await other.get()
    still.advance(LIFETIME + 1)
    still.reset_calls()
    gate = still.hold(times=1)
    failures: list[StorageError] = []

    async def renew() -> None:
        try:
            await cut_off.get()
        except* StorageError as group:
            failures.extend(error for error in group.exceptions if isinstance(error, StorageError))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(renew)
        await gate.wait_for(1)
        cut_off.way.refuse()
        visitor = await other.get(10)
        gate.release()
    assert len(failures) == (1 if rotates else 0)  # a rotated token must be saved first; else memory does
    cut_off.way.come_back()
    assert await other.get() == visitor
    still.advance(LIFETIME + 1)
    assert await cut_off.get(10) == await other.get(10)
    assert len(still.token_calls()) == 3
    assert len(still.visitors) == used(still) == 1


async def test_cut_off_while_minting(still: FakeWix, machines: tuple[Machine, Machine]) -> None:
    """A visitor that could not be saved is nobody's: the machine that made it adopts the other one's."""
    cut_off, other = machines
    session = await cut_off.visitor()
    gate = still.hold(times=1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_is_told, session)
        await gate.wait_for(1)
        cut_off.way.refuse()
        visitor = await other.get(10)
        gate.release()
    cut_off.way.come_back()
    assert await cut_off.get(10) == visitor == await other.get(10)
    assert len(still.token_calls()) == 2
    assert used(still) == 1


async def test_cut_off_before_asking(still: FakeWix, machines: tuple[Machine, Machine]) -> None:
    """Without the store a token that works goes on serving; an expired one is a StorageError, and Wix is not asked."""
    cut_off, other = machines
    visitor = await cut_off.get()
    cut_off.way.refuse()
    assert await cut_off.get(10) == visitor
    still.advance(LIFETIME - 100)  # ageing: the renewal in the background fails, and nobody notices
    assert await cut_off.get(10) == visitor
    still.advance(200)
    still.reset_calls()
    await _is_told(await cut_off.visitor())
    with pytest.raises(StorageError):
        await cut_off.pool.session("another shopper")
    assert not still.calls
    cut_off.way.come_back()
    assert await cut_off.get(10) == await other.get(10) == visitor
    assert len(still.token_calls()) == 1
    assert len(still.visitors) == 1


async def test_replies_are_lost(still: FakeWix, machines: tuple[Machine, Machine]) -> None:
    """A reply of the store that is lost costs nothing, be it about the lease or about the renewed tokens."""
    unlucky, other = machines
    visitor = await unlucky.get()
    for is_save in (False, True):
        still.advance(LIFETIME + 1)
        still.reset_calls()
        unlucky.way.lost = 0
        gate = still.hold(times=1)
        async with anyio.create_task_group() as tasks:
            if not is_save:
                unlucky.way.lose_replies()
            tasks.start_soon(unlucky.get)
            await gate.wait_for(1)
            if is_save:
                unlucky.way.lose_replies()
            gate.release()
        assert unlucky.way.lost == 1
        assert await unlucky.get() == await other.get() == visitor
        assert len(still.token_calls()) == 1
    assert len(still.visitors) == 1


async def _is_told(session: VisitorSession) -> None:
    with pytest.raises(StorageError):
        await session.get(CART)
