"""SQLAlchemyStorage beside an application: its engine, its migrations, its pooler, and what it tells when it fails."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time
import traceback
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata, produce_migrations, render_python_code
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, MetaData, StaticPool, create_engine, select, text
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tests.constants import IN_CI
from tests.storage.databases import DRIVERS, PASSWORD, PgBouncer, Postgres
from wixvisitor import ConfigurationError, StorageError
from wixvisitor.storage import ListingStorage, Record, VersionConflict
from wixvisitor.storage._sql_tables import now
from wixvisitor.storage.sqlalchemy import SQLAlchemyStorage, add_tables

pytestmark = [pytest.mark.anyio, pytest.mark.machine]

KEY = "client:default"
SECRET = "JWS.header.classified.signature"
PATIENT = 20.0  # seconds; for tests whose subject is not the time


@pytest.fixture
def anyio_backend() -> str:
    """SQLAlchemy is for asyncio only."""
    return "asyncio"


@pytest.fixture
def prefix() -> str:
    """What the names of this test's tables begin with."""
    return f"t_{uuid.uuid4().hex}"


@pytest.fixture(params=["postgresql", "mariadb", "sqlite"] if IN_CI else ["postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind; outside of CI the contract alone runs on all."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/shop.db"
    if request.param == "mariadb":
        return str(request.getfixturevalue("mariadb").url("mariadb+asyncmy"))
    return str(request.getfixturevalue("postgres").url("postgresql+psycopg"))


@pytest.fixture
async def storage(url: str, prefix: str) -> AsyncIterator[SQLAlchemyStorage]:
    """A patient store with tables of its own."""
    async with SQLAlchemyStorage(url, prefix=prefix, timeout=PATIENT) as storage:
        await storage.create_table()
        yield storage


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    """The application's engine."""
    engine = create_async_engine(url, echo=True)
    yield engine
    await engine.dispose()


# Migrations


@pytest.mark.parametrize("is_ours", [True, False], ids=["storage.metadata", "add_tables"])
async def test_alembic_finds_nothing_to_change(
    storage: SQLAlchemyStorage, engine: AsyncEngine, prefix: str, *, is_ours: bool
) -> None:
    """Autogenerate sees the tables that create_table() has made as they are described."""
    metadata = storage.metadata
    if not is_ours:
        add_tables(metadata := MetaData(), prefix=prefix)

    def differences(connection: Connection) -> list[Any]:
        options = {"include_name": lambda name, kind, _: kind != "table" or str(name).startswith(prefix)}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_a_migration_makes_the_tables(url: str, prefix: str, engine: AsyncEngine) -> None:
    """The migration that Alembic writes needs nothing of ours, and the store works on its tables."""

    def migrate(connection: Connection) -> None:
        add_tables(metadata := MetaData(), prefix=prefix)
        context = MigrationContext.configure(connection)
        code = "if True:\n    " + render_python_code(produce_migrations(context, metadata).upgrade_ops)
        assert "wixvisitor." not in code
        exec(code, {"sa": sqlalchemy, "mysql": mysql, "op": _Creating(Operations(context))})

    async with engine.begin() as connection:
        await connection.run_sync(migrate)
    async with SQLAlchemyStorage(url, prefix=prefix, timeout=PATIENT) as storage:
        version = await storage.save(KEY, "value", expected=None)
        assert await storage.load(KEY) == Record("value", version)


class _Creating:
    """Alembic's operations without those that would drop the other tests' tables."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def __getattr__(self, name: str) -> Any:
        return (lambda *_, **__: None) if name.startswith("drop") else getattr(self._operations, name)


async def test_created_by_many_at_once(url: str, prefix: str) -> None:
    """Processes that start together may all call create_table()."""
    storages = [SQLAlchemyStorage(url, prefix=prefix, timeout=PATIENT) for _ in range(5)]
    async with anyio.create_task_group() as tasks:
        for one in storages:
            tasks.start_soon(one.create_table)
    await storages[0].save(KEY, "value")
    for one in storages:
        await one.aclose()


# The application's engine


async def test_the_applications_transaction(engine: AsyncEngine, storage: SQLAlchemyStorage, prefix: str) -> None:
    """A save amid the application's transaction is no part of it: neither ends the other."""
    ours = SQLAlchemyStorage(engine, prefix=prefix, timeout=PATIENT)
    async with engine.begin() as connection:
        await connection.execute(text(f"CREATE TABLE {prefix}_orders (number INTEGER)"))
    async with engine.connect() as connection:
        if engine.dialect.name != "sqlite":  # it has one writer at a time
            await connection.execute(text(f"INSERT INTO {prefix}_orders VALUES (1)"))
        await ours.save(KEY, "value")
        await ours.load(KEY)
        await connection.rollback()
        orders = (await connection.execute(text(f"SELECT count(*) FROM {prefix}_orders"))).scalar_one()
    assert orders == 0
    await ours.aclose()
    assert await ours.load(KEY) == await storage.load(KEY) != None  # noqa: E711 - all three at once
    async with engine.connect() as connection:  # and the engine has its own isolation level again
        await connection.execute(text(f"INSERT INTO {prefix}_orders VALUES (1)"))
        await connection.rollback()
        assert (await connection.execute(text(f"SELECT count(*) FROM {prefix}_orders"))).scalar_one() == 0


async def test_an_engine_that_logs(
    engine: AsyncEngine, storage: SQLAlchemyStorage, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With ``echo=True``, and with every logger at DEBUG, no record is logged."""
    caplog.set_level(logging.DEBUG)
    ours = SQLAlchemyStorage(engine, prefix=prefix, timeout=PATIENT)
    version = await ours.save(KEY, SECRET)
    await ours.save(KEY, SECRET, expected=version)
    with pytest.raises(VersionConflict):
        await ours.save(KEY, SECRET, expected=version)
    assert f"UPDATE {prefix}_visitors" in caplog.text
    assert "classified" not in caplog.text
    assert SECRET.encode().hex() not in caplog.text


async def test_serializable(postgres: Postgres, prefix: str) -> None:
    """Where the application's transactions are serializable, ten saves at once have one winner all the same."""
    engine = create_async_engine(
        postgres.url("postgresql+asyncpg"),
        isolation_level="SERIALIZABLE",
        connect_args={"server_settings": {"default_transaction_isolation": "serializable"}},
    )
    async with SQLAlchemyStorage(engine, prefix=prefix, timeout=PATIENT) as storage:
        await storage.create_table()
        version = await storage.save(KEY, "before")
        results = await asyncio.gather(
            *(storage.save(KEY, f"{number}", expected=version) for number in range(10)), return_exceptions=True
        )
    await engine.dispose()
    assert sorted(type(result).__name__ for result in results) == ["VersionConflict"] * 9 + ["str"]


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
async def test_behind_pgbouncer(pgbouncer: PgBouncer, postgres: Postgres, prefix: str, driver: str) -> None:
    """In transaction mode, where each call may get another connection of the server, all calls work."""
    url = postgres.url(f"postgresql+{driver}", pgbouncer.port)
    async with SQLAlchemyStorage(url, prefix=prefix, timeout=PATIENT) as storage:
        await storage.create_table()

        async def live(key: str) -> None:
            version = await storage.save(key, "0", expected=None)
            for number in range(1, 20):
                assert await storage.acquire_lease(key, "a", 60) == 0.0
                record = await storage.load(key)
                assert record == Record(str(number - 1), version)
                version = await storage.save(key, str(number), expected=version)
                await storage.release_lease(key, "a")

        async with anyio.create_task_group() as tasks:
            for number in range(15):
                tasks.start_soon(live, f"{KEY}{number}")


# Time, by the database's clock


async def test_this_machines_clock_does_not_matter(storage: SQLAlchemyStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose clock is years ahead takes no lease and ends no record."""
    await storage.save(KEY, "value")
    assert await storage.acquire_lease(KEY, "a", 60) == 0.0
    monkeypatch.setattr(time, "time", lambda: 5e9)
    assert 59 < await storage.acquire_lease(KEY, "b", 60) <= 60
    assert await storage.purge() == 0
    assert await storage.load(KEY) is not None


async def test_purge_removes_what_has_expired(url: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Expired rows are removed by purge(), and their number is told; the others stay."""
    monkeypatch.setattr("wixvisitor.storage.sqlalchemy._PURGING", 0.0)
    async with SQLAlchemyStorage(url, prefix=prefix, timeout=PATIENT, expire_after=None) as storage:
        await storage.create_table()
        await storage.save(KEY, "value")
        for number in range(5):
            await storage.save(f"forgotten {number}", "value", keep_for=0.001)
        await anyio.sleep(0.01)
        assert [key async for key in storage.keys()] == [KEY]  # noqa: SIM118
        assert await storage.purge() == 5
        assert await storage.purge() == 0
        assert await storage.load(KEY) is not None


async def test_loading_restarts_its_life(url: str, prefix: str) -> None:
    """A record that is loaded in time is not removed, except one that only says that a visitor was forgotten."""
    async with SQLAlchemyStorage(url, prefix=prefix, timeout=PATIENT, expire_after=1.0) as storage:
        await storage.create_table()
        await storage.save(KEY, "value")
        await storage.save("forgotten", "value", keep_for=0.9)
        for _ in range(3):
            await anyio.sleep(0.4)
            await storage.load("forgotten")
            assert await storage.load(KEY) is not None
        assert await storage.load("forgotten") is None


async def test_another_expiry(url: str, prefix: str, storage: SQLAlchemyStorage) -> None:
    """A program that keeps records for ever, or for a shorter time, gives them that life when it loads them."""
    await storage.save(KEY, "value")
    for life, most in ((None, None), (60.0, 60_000)):
        async with SQLAlchemyStorage(url, prefix=prefix, timeout=PATIENT, expire_after=life) as other:
            assert await other.load(KEY) is not None
            remaining = await _remaining(other, prefix)
            assert (remaining is None) if most is None else (remaining is not None and 0 < remaining <= most)


async def _remaining(storage: SQLAlchemyStorage, prefix: str) -> int | None:
    table = storage.metadata.tables[f"{prefix}_visitors"]

    async def read(connection: Any, _: object) -> int | None:
        remaining: int | None = (await connection.execute(select(table.c.expires_at - now()))).scalar_one()
        return remaining

    return await storage._calls.run("read", read)


# Keys


async def test_keys(storage: SQLAlchemyStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """All keys are listed as they were given, in any number of batches."""
    monkeypatch.setattr("wixvisitor.storage.sqlalchemy._LISTED", 3)
    keys = {"", " ", "a\\n", "a\n", "nul\0", "\ud800", "訪問者-🛒", *(f"client:{number}" for number in range(10))}
    for key in keys:
        await storage.save(key, "value")
    assert isinstance(storage, ListingStorage)
    listed = [key async for key in storage.keys()]  # noqa: SIM118
    assert set(listed) == keys
    assert len(listed) == len(keys)
    for key in keys:
        assert await storage.load(key) is not None


async def test_what_is_too_large(storage: SQLAlchemyStorage) -> None:
    """A megabyte is no visitor's record, and 100 kB are no key."""
    with pytest.raises(StorageError, match="too large"):
        await storage.save(KEY, "x" * ((1 << 20) + 1))
    with pytest.raises(StorageError, match="too long"):
        await storage.save("k" * 100_000, "value")
    await storage.save(KEY, "x" * (1 << 20))


# What it tells when it fails


def told(error: BaseException) -> str:
    """An error as a reporter shows it, with the local variables."""
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


async def fails(storage: SQLAlchemyStorage, reason: str) -> None:
    """Each call is a StorageError for this reason, which shows neither the password nor the record."""
    calls: dict[str, Callable[[], Any]] = {
        "load": lambda: storage.load(KEY),
        "save": lambda: storage.save(KEY, SECRET),
        "delete": lambda: storage.delete(KEY),
        "lease": lambda: storage.acquire_lease(KEY, "a", 1),
        "end a lease": lambda: storage.release_lease(KEY, "a"),
        "purge": storage.purge,
        "list": lambda: anext(aiter(storage.keys())),
    }
    for verb, call in calls.items():
        with pytest.raises(StorageError, match=f"cannot {verb}: {reason}") as caught:
            await call()
        assert not isinstance(caught.value, VersionConflict)
        assert caught.value.__context__ is None
        shown = told(caught.value)
        assert not any(secret in shown for secret in (PASSWORD, "p%40ss", "classified"))
        assert PASSWORD not in repr(storage)


async def test_no_tables(url: str, prefix: str) -> None:
    """Without the tables each call says how to make them."""
    async with SQLAlchemyStorage(url, prefix=prefix, timeout=PATIENT) as storage:
        await fails(storage, "its tables do not exist; run .* create_table")


async def test_another_programs_tables(url: str, prefix: str, engine: AsyncEngine) -> None:
    """Tables with other columns are left as they are."""
    async with engine.begin() as connection:
        for name in ("visitors", "leases"):
            await connection.execute(text(f"CREATE TABLE {prefix}_{name} (number INTEGER)"))
    async with SQLAlchemyStorage(url, prefix=prefix, timeout=PATIENT) as storage:
        await storage.create_table()
        await fails(storage, "its tables are another program's")


@pytest.mark.parametrize("kind", ["postgres psycopg", "postgres asyncpg", "mariadb asyncmy"])
async def test_a_wrong_password(request: pytest.FixtureRequest, kind: str) -> None:
    """A server that refuses the password says so, and the password is not told."""
    name, driver = kind.split()
    server = request.getfixturevalue(name)
    scheme = "postgresql" if name == "postgres" else "mariadb"
    url = server.url(f"{scheme}+{driver}").replace("%25@", "%25wrong@")
    async with SQLAlchemyStorage(url, timeout=PATIENT) as storage:
        await fails(storage, "the server refuses the user name or the password")


async def test_no_such_database(postgres: Postgres) -> None:
    """A database that does not exist is named in the error."""
    async with SQLAlchemyStorage(f"{postgres.url('postgresql+psycopg')}s", timeout=PATIENT) as storage:
        await fails(storage, "the database does not exist")


@pytest.mark.parametrize("scheme", DRIVERS)
async def test_no_server(scheme: str) -> None:
    """Where no server listens, each call fails at once."""
    async with SQLAlchemyStorage(f"{scheme}://u:p%40ss@127.0.0.1:1/shop", timeout=PATIENT) as storage:
        began = time.monotonic()
        await fails(storage, "the server cannot be reached")
        assert time.monotonic() - began < PATIENT


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
async def test_permissions(postgres: Postgres, prefix: str, driver: str) -> None:
    """A user who may read only can load; each other call says what the user lacks."""
    owner = SQLAlchemyStorage(postgres.url("postgresql+psycopg"), prefix=prefix, timeout=PATIENT)
    await owner.create_table()
    await owner.save(KEY, "value")
    await owner.aclose()
    user = f"reader_{uuid.uuid4().hex[:8]}"
    postgres.query(
        f"CREATE USER {user} PASSWORD '{PASSWORD}'", f"GRANT SELECT ON {prefix}_visitors, {prefix}_leases TO {user}"
    )
    url = postgres.url(f"postgresql+{driver}").replace("//shop:", f"//{user}:")
    async with SQLAlchemyStorage(url, prefix=prefix, timeout=PATIENT, expire_after=10.0) as storage:
        record = await storage.load(KEY)  # and its life cannot be made longer
        assert record is not None
        with pytest.raises(StorageError, match="lacks a permission"):
            await storage.save(KEY, SECRET)


async def test_a_damaged_record(storage: SQLAlchemyStorage, engine: AsyncEngine, prefix: str) -> None:
    """Bytes that are no text are an error that does not quote them, and stay."""
    await storage.save(KEY, "value")
    async with engine.begin() as connection:
        literal = {"postgresql": r"'\xff00'"}.get(engine.dialect.name, "X'FF00'")
        await connection.execute(text(f"UPDATE {prefix}_visitors SET value = {literal}"))
    with pytest.raises(StorageError, match="no UTF-8; it was left as it is"):
        await storage.load(KEY)


# Arguments, and places where it does not work


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_on_trio(tmp_path: Path, anyio_backend: str) -> None:
    """On trio every call says that it works on asyncio only."""
    storage = SQLAlchemyStorage(f"sqlite+aiosqlite:///{tmp_path}/shop.db")
    for call in (storage.create_table, lambda: storage.load(KEY), lambda: storage.save(KEY, "value")):
        with pytest.raises(StorageError, match="works on asyncio only, as SQLAlchemy does"):
            await call()
    await storage.aclose()


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("", "expected postgresql"),
        ("postgresql+nope://u:p%40ss@host/shop", "expected postgresql"),
        ("oracle+oracledb://u:p%40ss@host/shop", "oracle is not supported"),
        ("postgresql+psycopg://u:p%40ss@host:port/shop", "expected postgresql"),
        ("mysql+mysqldb://u:p%40ss@host/shop", "expected postgresql"),
        ("sqlite+aiosqlite://", "MemoryStorage"),
        (create_engine("sqlite://"), "the AsyncEngine of create_async_engine"),
        (create_async_engine("sqlite+aiosqlite://", poolclass=StaticPool), "StaticPool"),
        (None, "expected a URL"),
    ],
)
def test_wrong_places(where: Any, reason: str) -> None:
    """What is no URL or engine of a supported database is refused when the store is made, without the password."""
    with pytest.raises(ConfigurationError, match=reason) as caught:
        SQLAlchemyStorage(where)
    assert not any(secret in str(caught.value) for secret in ("p%40ss", "p@ss"))
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "arguments",
    [{"prefix": "Shop"}, {"prefix": "a; DROP TABLE b"}, {"schema": ""}, {"timeout": 0}, {"expire_after": -1}],
)
def test_wrong_arguments(arguments: dict[str, Any]) -> None:
    """A name that would need quotes, or a time that is none, is refused."""
    with pytest.raises(ConfigurationError, match=next(iter(arguments))):
        SQLAlchemyStorage("postgresql+psycopg://host/shop", **arguments)


@pytest.mark.skipif(sys.platform == "win32", reason="asyncmy is not for Windows")
@pytest.mark.parametrize("name", ["postgres", "postgresql", "mysql", "mariadb", "sqlite"])
def test_a_url_without_a_driver(name: str) -> None:
    """The URL that a hosting provider gives is good as it is."""
    url = "sqlite:///shop" if name == "sqlite" else f"{name}://u:p%40ss@host:1/shop"
    assert f"{'' if name == 'sqlite' else 'host:1/'}shop, table" in repr(SQLAlchemyStorage(url))


async def test_a_schema(postgres: Postgres, prefix: str) -> None:
    """The tables may be in a schema of their own."""
    postgres.query(f"CREATE SCHEMA {prefix}")
    async with SQLAlchemyStorage(postgres.url("postgresql+psycopg"), schema=prefix, timeout=PATIENT) as storage:
        await storage.create_table()
        await storage.save(KEY, "value")
        assert postgres.query(f"SELECT visitor_key FROM {prefix}.wixvisitor_visitors") == [(KEY,)]


def test_event_loops_one_after_another(url: str, prefix: str) -> None:
    """The same object works in each event loop, and leaves no connection behind, whether it is closed or not."""
    storage = SQLAlchemyStorage(url, prefix=prefix, timeout=PATIENT)

    async def use(*, closes: bool) -> None:
        await storage.create_table()
        await storage.save(KEY, "value")
        if closes:
            await storage.aclose()

    for closes in (True, False, True):
        asyncio.run(use(closes=closes))


def test_import_without_sqlalchemy() -> None:
    """Without the extra the error names it."""
    program = "import sys\nsys.modules['sqlalchemy'] = None\nimport wixvisitor.storage.sqlalchemy"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, encoding="utf-8", cwd=Path(__file__).parents[2]
    )
    assert "pip install 'wixvisitor[sqlalchemy]'" in done.stderr
