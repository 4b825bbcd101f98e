"""SQLAlchemyStorage when its database is away, silent, busy or cut off, and when it is back."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from tests.constants import CART, IN_CI, LIFETIME
from tests.storage.conftest import Proxy
from tests.storage.databases import DRIVERS, PASSWORD, Database, MariaDB, Postgres
from wixvisitor import StorageError, VisitorPool
from wixvisitor.storage import Record, VersionConflict
from wixvisitor.storage.sqlalchemy import SQLAlchemyStorage
from wixvisitor.testing import FakeWix

pytestmark = [pytest.mark.anyio, pytest.mark.machine]

KEY = "client:default"
HURRIED = 1.0  # seconds; for tests about the time
PATIENT = 20.0
SOON = 3.0  # seconds; generous: a call of a hurried store takes at most 1.2


@pytest.fixture
def anyio_backend() -> str:
    """SQLAlchemy is for asyncio only."""
    return "asyncio"


@pytest.fixture
def prefix() -> str:
    """What the names of this test's tables begin with."""
    return f"t_{uuid.uuid4().hex}"


@pytest.fixture(params=DRIVERS if IN_CI else DRIVERS[:1])
def scheme(request: pytest.FixtureRequest) -> str:
    """Each driver of a server, in CI."""
    return str(request.param)


@pytest.fixture
def server(request: pytest.FixtureRequest, scheme: str) -> Database:
    """The driver's server."""
    database: Database = request.getfixturevalue("mariadb" if "mariadb" in scheme else "postgres")
    return database


@pytest.fixture
def gate(proxy: Callable[..., Proxy], server: Database) -> Proxy:
    """A proxy before the server."""
    return proxy(server.port)


@pytest.fixture
async def storage(server: Database, scheme: str, gate: Proxy, prefix: str) -> AsyncIterator[SQLAlchemyStorage]:
    """A hurried store behind the proxy, connected."""
    url = server.url(scheme, gate.port)
    async with SQLAlchemyStorage(url, prefix=prefix, timeout=PATIENT) as patient:
        await patient.create_table()
    async with SQLAlchemyStorage(url, prefix=prefix, timeout=HURRIED) as storage:
        for _ in range(5):
            with suppress(StorageError):
                await storage.load(KEY)
                break
        yield storage


@contextmanager
def within(seconds: float = SOON) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


async def fails(storage: SQLAlchemyStorage, reason: str) -> None:
    """Calls made at once all fail for this reason, in time and without the password."""
    calls = [
        lambda: storage.load(KEY),
        lambda: storage.save(KEY, "classified"),
        lambda: storage.acquire_lease(KEY, "a", 1),
    ]
    with within():
        results = await asyncio.gather(*(call() for call in calls), return_exceptions=True)
    for result in results:
        assert isinstance(result, StorageError), result
        assert not isinstance(result, VersionConflict)
        assert reason in str(result)
        assert not any(secret in str(result) for secret in (PASSWORD, "classified"))


async def recovers(storage: SQLAlchemyStorage) -> None:
    """It works again at once, but for calls that a busy machine delays."""
    with anyio.fail_after(PATIENT):
        while True:
            with suppress(StorageError):
                version = await storage.save(KEY, "value")
                break
    assert await storage.load(KEY) == Record("value", version)


async def test_a_connection_that_hangs(storage: SQLAlchemyStorage, gate: Proxy) -> None:
    """A server that stops answering amid everything is an error in time; when it answers again, all is well."""
    gate.hang()
    await fails(storage, "no answer in time")
    await fails(storage, "no answer in time")
    gate.come_back()
    await recovers(storage)


async def test_only_old_connections_hang(storage: SQLAlchemyStorage, gate: Proxy) -> None:
    """Where a firewall has forgotten idle connections, a call is repeated on a new one and succeeds."""
    await asyncio.gather(*(storage.load(KEY) for _ in range(5)))
    gate.forget()
    results = []
    for _ in range(3):
        with within():
            results.append(await asyncio.gather(storage.load(KEY), return_exceptions=True))
    assert [None] in results


async def test_refused(storage: SQLAlchemyStorage, gate: Proxy) -> None:
    """A server that is away is an error at once; when it is back, all is well."""
    gate.refuse()
    await fails(storage, "the server cannot be reached")
    gate.come_back()
    await recovers(storage)


async def test_cut_connections(storage: SQLAlchemyStorage, gate: Proxy) -> None:
    """After all connections were cut, as by a restart of a pooler, the next calls do not fail."""
    for _ in range(3):
        gate.cut()
        results = await asyncio.gather(*(storage.load(KEY) for _ in range(5)), return_exceptions=True)
        assert [result for result in results if result is not None and "in time" not in str(result)] == []


@pytest.mark.parametrize("word", [b"INSERT", b"UPDATE", b"COMMIT"], ids=bytes.decode)
@pytest.mark.parametrize("is_overwritten", [False, True], ids=["", "overwritten meanwhile"])
async def test_a_lost_reply(
    server: Database, scheme: str, gate: Proxy, prefix: str, word: bytes, *, is_overwritten: bool
) -> None:
    """A save that was done, and whose reply was lost, does not conflict with itself."""
    if word == b"COMMIT" and "asyncpg" not in scheme:
        pytest.skip("this driver's statements are transactions by themselves")
    async with (
        SQLAlchemyStorage(server.url(scheme, gate.port), prefix=prefix, timeout=PATIENT) as storage,
        SQLAlchemyStorage(server.url(scheme), prefix=prefix, timeout=PATIENT) as other,
    ):
        await storage.create_table()
        old = None if word == b"INSERT" else await storage.save(KEY, "old")
        lost = gate.lost
        gate.lose_replies(to=word)
        saving = asyncio.ensure_future(storage.save(KEY, "new", expected=old))
        if is_overwritten:
            with anyio.fail_after(PATIENT):
                while (found := await other.load(KEY)) is None or found.value == "old":
                    await anyio.lowlevel.checkpoint()
            with suppress(VersionConflict):
                await other.save(KEY, "newer", expected=found.version)
        version = await saving
        assert gate.lost == lost + 1
        record = await storage.load(KEY)
        assert record is not None
        assert record == Record("new", version) or record.value == "newer"


async def test_cancelled_at_random(storage: SQLAlchemyStorage, server: Database, scheme: str, prefix: str) -> None:
    """Cancelled again and again, it neither loses connections nor does half of anything."""
    async with SQLAlchemyStorage(server.url(scheme), prefix=prefix, timeout=PATIENT) as patient:
        choice = random.Random(4711)
        for number in range(60):
            with suppress(TimeoutError, StorageError):
                async with asyncio.timeout(choice.uniform(0, 0.004)):
                    await storage.save(KEY, f"value {number}")
        record = await patient.load(KEY)
        version = await patient.save(KEY, "last", expected=None if record is None else record.version)
        results = await asyncio.gather(*(patient.load(KEY) for _ in range(30)))
        assert set(results) == {Record("last", version)}


async def test_a_row_that_is_locked(storage: SQLAlchemyStorage, server: Database, scheme: str, prefix: str) -> None:
    """While another transaction has the row, a save is an error in time; loads go on, and later all is well."""
    await recovers(storage)
    engine = create_async_engine(server.url(scheme))
    async with engine.begin() as connection:
        await connection.exec_driver_sql(f"SELECT * FROM {prefix}_visitors FOR UPDATE")
        with within(), pytest.raises(StorageError, match="no answer in time"):
            await storage.save(KEY, "late")
        assert await storage.load(KEY) is not None
    await engine.dispose()
    await recovers(storage)


@pytest.mark.parametrize("is_ours", [True, False], ids=["the store's engine", "the application's engine"])
@pytest.mark.parametrize("scheme", DRIVERS[:1], indirect=True)
async def test_all_connections_in_use(server: Database, scheme: str, prefix: str, *, is_ours: bool) -> None:
    """More calls than connections wait for each other; if none is returned, that is an error in time."""
    url = server.url(scheme)
    async with SQLAlchemyStorage(url, prefix=prefix, timeout=PATIENT) as patient:
        await patient.create_table()
        await asyncio.gather(*(patient.save(f"{number}", "value") for number in range(100)))
    if is_ours:
        return
    engine = create_async_engine(url, pool_size=1, max_overflow=0)
    storage = SQLAlchemyStorage(engine, prefix=prefix, timeout=HURRIED)
    async with engine.connect():
        await fails(storage, "all connections of the engine are in use")
    await recovers(storage)
    await engine.dispose()


async def test_no_connection_left(prefix: str, start_database: Callable[..., Database]) -> None:
    """A server that admits no more connections says so."""
    server = start_database(Postgres, "-c", "max_connections=4", "-c", "superuser_reserved_connections=0")
    engine = create_async_engine(server.url("postgresql+psycopg"), pool_size=4)
    held = [await engine.connect() for _ in range(4)]
    async with SQLAlchemyStorage(server.url("postgresql+asyncpg"), prefix=prefix, timeout=PATIENT) as storage:
        with pytest.raises(StorageError, match="the server has no connection left"):
            await storage.load(KEY)
    for one in held:
        await one.close()
    await engine.dispose()


@pytest.mark.parametrize(
    ("kind", "driver", "option"),
    [
        (Postgres, "postgresql+psycopg", ("-c", "fsync=on")),
        pytest.param(MariaDB, "mariadb+asyncmy", ("--innodb-flush-log-at-trx-commit=1",), marks=pytest.mark.faults),
    ],
)
async def test_the_server_is_killed_amid_saves(
    kind: type[Database],
    driver: str,
    option: tuple[str, ...],
    start_database: Callable[..., Database],
    prefix: str,
    until: Callable[..., Any],
) -> None:
    """What was acknowledged before kill -9 is there afterwards, and the store works again by itself."""
    server = start_database(kind, *option)
    async with SQLAlchemyStorage(server.url(driver), prefix=prefix, timeout=HURRIED) as storage:
        await storage.create_table()
        acknowledged: dict[str, str] = {}

        async def save(worker: int) -> None:
            with suppress(StorageError):
                for number in range(10_000):
                    key = f"{worker} {number}"
                    acknowledged[key] = await storage.save(key, "value", expected=None)

        async with anyio.create_task_group() as tasks:
            for worker in range(8):
                tasks.start_soon(save, worker)
            await until(lambda: len(acknowledged) >= 200, seconds=PATIENT)
            await anyio.to_thread.run_sync(server.kill)
        await fails(storage, "the server cannot be reached")
        await anyio.to_thread.run_sync(server.start)
        await recovers(storage)
        for key, version in acknowledged.items():
            assert await storage.load(key) == Record("value", version)


async def test_sessions_go_on(still: FakeWix, client_id: str, storage: SQLAlchemyStorage, gate: Proxy) -> None:
    """While the database is away shoppers with a token are served; afterwards they are the visitors that they were."""
    pool = VisitorPool(client_id, storage=storage, client=still.client(), clock=still.now)
    async with pool:
        session = await pool.session("anna")
        await session.get(CART)
        visitor = session.get_tokens().refresh_token
        gate.refuse()
        assert (await session.get(CART)).status_code == 404
        gate.come_back()
        still.advance(LIFETIME + 1)
        await session.get(CART)
        assert session.get_tokens().refresh_token == visitor
    record = await storage.load(f"{client_id}:anna")
    assert record is not None
    assert visitor.value in record.value
