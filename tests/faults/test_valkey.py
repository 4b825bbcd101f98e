"""A real Valkey that is killed, restarted empty, or slow to come back, under sessions that share it.

That it is away for a while is in ``tests/storage/test_redis.py`` (outages), that machines are cut off from it in
``tests/storage/test_two_machines.py``, and cuts at random moments are in ``test_at_random.py``.
"""

from __future__ import annotations

import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import pytest
from redis import Redis

from tests.constants import CART, LIFETIME
from tests.faults.truth import used
from tests.storage.conftest import Server
from wixvisitor import StorageError, VisitorPool, VisitorSession
from wixvisitor.storage.redis import RedisStorage
from wixvisitor.testing import FakeWix

pytestmark = [pytest.mark.anyio, pytest.mark.faults]

SLOWLY = ("--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024")  # 10 ms for each key
Start = Callable[..., Server]


@asynccontextmanager
async def machines(still: FakeWix, client_id: str, server: Server, number: int) -> AsyncIterator[list[VisitorSession]]:
    """The shopper's session on each of so many machines."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(still.serve())
        sessions = []
        for _ in range(number):
            storage = RedisStorage(server.url)
            stack.push_async_callback(storage.aclose)
            pool = VisitorPool(client_id, storage=storage, base_url=url, clock=still.now, renew_timeout=2.0)
            await stack.enter_async_context(pool)
            sessions.append(await pool.session("shopper"))
        yield sessions


async def ask(sessions: list[VisitorSession], callers: int = 20) -> set[str]:
    """Has callers on each machine ask for the cart at once; returns whose refresh tokens they had."""
    async with anyio.create_task_group() as tasks:
        for session in sessions:
            for _ in range(callers):
                tasks.start_soon(_is_served, session)
    return {session.get_tokens().refresh_token.value for session in sessions}


async def _is_served(session: VisitorSession) -> None:
    assert (await session.get(CART)).status_code == 404


async def stored(server: Server, client_id: str) -> str:
    """The record's text, "" if there is none."""
    storage = RedisStorage(server.url)
    record = await storage.load(f"{client_id}:shopper")
    await storage.aclose()
    return "" if record is None else record.value


async def test_restarted_empty(still: FakeWix, client_id: str, start_server: Start) -> None:
    """A server that has lost everything is given its visitors back by those who remember them, before they expire."""
    server = start_server()
    async with machines(still, client_id, server, 3) as sessions:
        [visitor] = await ask(sessions)
        server.stop()
        server.start()
        assert not await stored(server, client_id)
        assert await ask(sessions) == {visitor}  # from memory
        still.advance(LIFETIME + 1)
        assert await ask(sessions) == {visitor}
        assert visitor in await stored(server, client_id)
        newcomer = VisitorSession(
            client_id, base_url="http://127.0.0.1:9", storage=RedisStorage(server.url), key="shopper"
        )
        async with newcomer:
            assert newcomer.get_tokens().refresh_token.value == visitor
        await newcomer._settings.storage.aclose()
    assert len(still.visitors) == len(used(still)) == 1


@pytest.mark.parametrize("rotates", [False, True], ids=["same refresh token", "rotated"])
async def test_restarted_empty_in_a_renewal(
    still: FakeWix, client_id: str, start_server: Start, *, rotates: bool
) -> None:
    """Records, versions and leases that vanish while Wix is asked cost no visitor: what was renewed is saved anew."""
    still.rotate_refresh_tokens = rotates
    server = start_server()
    async with machines(still, client_id, server, 2) as sessions:
        await ask(sessions)
        still.advance(LIFETIME + 1)
        gate = still.hold(times=2)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, sessions[:1])
            await gate.wait_for(1)
            await anyio.to_thread.run_sync(server.stop)
            await anyio.to_thread.run_sync(server.start)
            tasks.start_soon(ask, sessions[1:])
            await gate.wait_for(2)  # the first one's lease is gone
            gate.release()
        renewed = sessions[0].get_tokens()
        assert renewed.access_token.value in await stored(server, client_id)  # at once, not at the next renewal
        still.advance(LIFETIME + 1)
        assert len(await ask(sessions)) == 1
    assert len(still.visitors) == len(used(still)) == 1


async def test_restarted_empty_while_nobody_remembers(still: FakeWix, client_id: str, start_server: Start) -> None:
    """The limit of the promise: what only an empty server knew is lost, and all become the same new visitor."""
    server = start_server()
    async with machines(still, client_id, server, 2) as sessions:
        await ask(sessions)
    server.stop()
    server.start()
    async with machines(still, client_id, server, 3) as sessions:
        assert len(await ask(sessions)) == 1
    assert len(still.visitors) == len(used(still)) == 2


async def test_slow_to_come_back(still: FakeWix, client_id: str, start_server: Start) -> None:
    """A server that reads its data again says so; unexpired tokens serve meanwhile, then all are who they were."""
    server = start_server()
    async with machines(still, client_id, server, 2) as sessions:
        [visitor] = await ask(sessions)
        with Redis(port=server.port, protocol=2) as client:
            client.mset({f"other:{number}": random.randbytes(4096) for number in range(300)})
            client.save()
        server.stop()
        server.options = SLOWLY
        await anyio.to_thread.run_sync(server.start)
        assert await ask(sessions) == {visitor}
        with pytest.raises(StorageError, match="loading"):
            await stored(server, client_id)
        still.advance(LIFETIME + 1)
        still.reset_calls()
        with pytest.raises(StorageError, match="loading"):
            await sessions[0].get(CART)
        assert not still.calls
        with anyio.fail_after(30):
            while not await _is_back(server, client_id):  # noqa: ASYNC110 - a server offers no event
                await anyio.sleep(0.1)
        assert await ask(sessions) == {visitor}
        assert len(still.token_calls()) == 1
    assert len(still.visitors) == 1


async def _is_back(server: Server, client_id: str) -> bool:
    try:
        return bool(await stored(server, client_id))
    except StorageError:
        return False


async def test_stopped_in_a_renewal(still: FakeWix, client_id: str, start_server: Start) -> None:
    """A server that says nothing for seconds holds nobody up longer than its timeout; then all is as it was."""
    server = start_server()
    async with machines(still, client_id, server, 2) as sessions:
        [visitor] = await ask(sessions)
        still.advance(LIFETIME + 1)
        gate = still.hold(times=1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, sessions[:1])
            await gate.wait_for(1)
            _signal(server, signal.SIGSTOP)
            gate.release()
            with anyio.fail_after(10), pytest.raises(StorageError):
                await sessions[1].get(CART)
        _signal(server, signal.SIGCONT)
        assert await ask(sessions) == {visitor}
    assert len(still.visitors) == len(used(still)) == 1


def _signal(server: Server, number: Any) -> None:
    assert server.process is not None
    server.process.send_signal(number)
