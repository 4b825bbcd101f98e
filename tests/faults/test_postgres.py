"""A real failover of PostgreSQL: the primary is killed amid saves, and its streaming replica takes its place."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import anyio
import anyio.to_thread
import attrs
import pytest

from tests.constants import CART, LIFETIME
from tests.storage.conftest import Proxy
from tests.storage.databases import PASSWORD, USER, Postgres
from wixvisitor import EMPTY_TOKENS, StorageError, TokenRole, Tokens, VisitorPool, VisitorSession
from wixvisitor.storage.sqlalchemy import SQLAlchemyStorage
from wixvisitor.testing import FakeWix

pytestmark = [pytest.mark.anyio, pytest.mark.faults]

PATIENCE = 30.0  # seconds


@attrs.define
class Pair:
    """A primary, its streaming replica, the link between them, and the address of the one that is primary now."""

    primary: Postgres
    replica: Postgres
    link: Proxy
    address: Proxy

    @property
    def url(self) -> str:
        return self.primary.url("postgresql+psycopg", self.address.port)

    def replica_falls_behind(self) -> None:
        """The replica gets nothing of what is written from now on, though it is still connected for the primary."""
        self.link.delay = 3_600.0

    def fail_over(self) -> None:
        """The primary is killed, the replica becomes the primary, and the address leads to it."""
        self.primary.kill()
        self.link.refuse()
        self.replica.query("SELECT pg_promote(true, 30)")
        self.address.lead_to(self.replica.port)


@pytest.fixture
def make_pair(proxy: Callable[..., Proxy]) -> Iterator[Callable[..., Pair]]:
    """Starts two servers, of which one streams from the other; the primary waits for it if told so."""
    servers: list[Postgres] = []

    def make(*, waits: bool) -> Pair:
        primary, replica = Postgres(("-c", "fsync=on", "-c", "wal_level=replica")), Postgres(("-c", "hot_standby=on"))
        servers.extend((primary, replica))
        primary.start()
        link = proxy(primary.port)
        name = "application_name=replica"
        copying = (primary.bin("pg_basebackup"), "-D", str(replica.data), "-R", "-X", "stream", "-c", "fast")
        replica.run(*copying, "-d", f"host=127.0.0.1 port={link.port} user={USER} password={PASSWORD} {name}")
        replica.start()
        if waits:
            primary.query("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
        until = time.monotonic() + PATIENCE
        while primary.query("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") != [(1,)]:
            assert time.monotonic() < until, replica.log
            time.sleep(0.05)
        return Pair(primary, replica, link, proxy(primary.port))

    yield make
    for server in servers:
        server.remove()


async def _saves(storage: SQLAlchemyStorage, worker: int, acknowledged: dict[str, str]) -> None:
    with suppress(StorageError):
        for number in range(100_000):
            key = f"{worker} {number}"
            acknowledged[key] = await storage.save(key, "value", expected=None)


async def saves_again(storage: SQLAlchemyStorage) -> None:
    """Returns when a save is done, without any restart."""
    with anyio.fail_after(PATIENCE):
        while True:
            with suppress(StorageError):
                await storage.save("again", "value")
                return


async def lost(storage: SQLAlchemyStorage, acknowledged: dict[str, str]) -> int:
    """How many of these the new primary does not have."""
    records = [(await storage.load(key), version) for key, version in acknowledged.items()]
    return sum(record is None or record.version != version for record, version in records)


@pytest.mark.parametrize("waits", [True, False], ids=["synchronous_commit", "asynchronous"])
async def test_what_was_acknowledged(
    make_pair: Callable[..., Pair],
    waits: bool,  # noqa: FBT001
    request: pytest.FixtureRequest,
) -> None:
    """If the primary waits for its replica nothing acknowledged is lost; else what the replica lacked is."""
    pair = await anyio.to_thread.run_sync(lambda: make_pair(waits=waits))
    acknowledged: dict[str, str] = {}
    async with SQLAlchemyStorage(pair.url, timeout=1.0) as storage:
        await storage.create_table()
        async with anyio.create_task_group() as tasks:
            for worker in range(8):
                tasks.start_soon(_saves, storage, worker, acknowledged)
            await anyio.sleep(1.5)
            await anyio.to_thread.run_sync(pair.replica_falls_behind)
            behind = len(acknowledged)
            await anyio.sleep(1.5)
            began = time.monotonic()
            await anyio.to_thread.run_sync(pair.fail_over)
        await saves_again(storage)
        seconds = round(time.monotonic() - began, 2)
        found = await lost(storage, acknowledged)
        request.node.user_properties.append(("failover", f"{len(acknowledged)} saves, {found} lost, {seconds} s"))
        assert behind > 20
        if waits:
            assert found == 0
        else:
            assert found > 0  # so the test is able to see it


@pytest.fixture
async def process(still: FakeWix, client_id: str) -> AsyncIterator[Callable[[str], Any]]:
    """The shopper's session in a process of its own."""
    storages: list[SQLAlchemyStorage] = []

    async def start(url: str) -> VisitorSession:
        storages.append(storage := SQLAlchemyStorage(url, timeout=10.0))
        pool = VisitorPool(client_id, storage=storage, client=still.client(), clock=still.now)
        return await pool.session("shopper")

    yield start
    for storage in storages:
        await storage.aclose()


async def test_nobody_is_taken_along(
    still: FakeWix, make_pair: Callable[..., Pair], process: Callable[[str], Any], member: Tokens
) -> None:
    """A login that the new primary has never heard of counts for those who hold it, and then for all (rule 7)."""
    pair = await anyio.to_thread.run_sync(lambda: make_pair(waits=False))
    async with SQLAlchemyStorage(pair.url, timeout=10.0) as storage:
        await storage.create_table()
    here, there = await process(pair.url), await process(pair.url)
    for session in (here, there):
        assert (await session.get(CART)).status_code in (200, 404)
    await anyio.to_thread.run_sync(pair.replica.query, "SELECT pg_sleep(0.5)")
    await anyio.to_thread.run_sync(pair.replica_falls_behind)
    await here.set_tokens(member)
    await anyio.to_thread.run_sync(pair.fail_over)
    assert (await process(pair.url)).get_tokens().refresh_token.role is TokenRole.VISITOR
    still.advance(LIFETIME + 1)
    for session in (here, there):
        await session.get(CART)
        assert session.get_tokens().refresh_token == member.refresh_token
    await here.set_tokens(EMPTY_TOKENS)
    later = await process(pair.url)
    assert later.get_tokens().refresh_token.role is not TokenRole.MEMBER
