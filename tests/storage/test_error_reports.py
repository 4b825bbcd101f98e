"""Error reporters print local variables: with no store does a report show a visitor's record."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from key_value.aio.stores.memory import MemoryStore

import wixvisitor
from tests.diagonal import ONLY_IN_CI
from tests.storage.databases import DRIVERS
from tests.web.conftest import KEY
from tests.web.reported import check, reported
from wixvisitor.errors import StorageError
from wixvisitor.storage import FileStorage, MemoryStorage
from wixvisitor.storage.keyvalue import KeyValueStorage
from wixvisitor.storage.moving import MovingStorage
from wixvisitor.storage.redis import RedisStorage
from wixvisitor.storage.sealed import SealedStorage
from wixvisitor.storage.sqlalchemy import SQLAlchemyStorage
from wixvisitor.storage.sqlite import SQLiteStorage

pytestmark = pytest.mark.anyio

PACKAGE = Path(wixvisitor.__file__).parent
SECRET = "the-record-of-a-visitor"
Failure = Callable[[Path], Awaitable[object]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@ONLY_IN_CI
@pytest.mark.machine
@pytest.mark.parametrize("storage", ["file", "sqlite", "keyvalue", "sealed"])
def test_no_report_shows_a_record(storage: str, tmp_path: Path) -> None:
    """Sentry's SDK sends no token of a shop whose visitors are in this store, whatever goes wrong."""
    found = reported(framework="asgi", cookies=["id"], storage=storage, place=str(tmp_path))
    check(found, ["id"])
    assert "StorageError" in found["id/broken_store"]["kinds"]


@ONLY_IN_CI
@pytest.mark.machine
def test_no_report_shows_a_record_of_redis(redis_url: str) -> None:
    """Sentry's SDK, which looks into redis-py, sends no token of a shop whose visitors are in Redis."""
    check(reported(framework="asgi", cookies=["id"], storage="redis", place=redis_url), ["id"])


@ONLY_IN_CI
@pytest.mark.machine
@pytest.mark.parametrize("kind", DRIVERS)
async def test_no_report_shows_a_record_of_a_database(kind: str, request: pytest.FixtureRequest) -> None:
    """Sentry's SDK, which looks into SQLAlchemy and asyncpg, sends no token of a shop whose visitors are there."""
    url = request.getfixturevalue("mariadb" if "mariadb" in kind else "postgres").url(kind)
    async with SQLAlchemyStorage(url, prefix="reported", timeout=10.0) as storage:
        await storage.create_table()
    check(await anyio.to_thread.run_sync(_reported_with, url), ["id"])


def _reported_with(url: str) -> dict[str, Any]:
    return reported(framework="asgi", cookies=["id"], storage="sqlalchemy", place=url)


# The stores themselves, for programs that use them without a session


async def _conflict(storage: Any) -> None:
    await storage.save("key", SECRET, expected="another version")


class FullStore(MemoryStore):
    """Takes nothing but the probe."""

    async def put(self, key: str, value: Any, **options: Any) -> None:
        if SECRET in str(value):
            raise OSError(28, "no space left")
        await super().put(key, value, **options)


async def _anothers_file(place: Path) -> None:
    await FileStorage(place / "visitor.json").save("another", SECRET)
    await FileStorage(place / "visitor.json").load("key")


async def _unsealed(_: Path) -> None:
    inner = MemoryStorage()
    await inner.save("key", SECRET)
    await SealedStorage(inner, [KEY]).load("key")


async def _without_tables(place: Path) -> None:
    async with SQLAlchemyStorage(f"sqlite+aiosqlite:///{place}/shop.db") as storage:
        await storage.save("key", SECRET)


FAILURES: dict[str, Failure] = {
    "memory": lambda _: _conflict(MemoryStorage()),
    "file": lambda place: _conflict(FileStorage(place / "visitor.json")),
    "another's file": _anothers_file,
    "sqlite": lambda place: _conflict(SQLiteStorage(place / "visitors.db")),
    "sealed": lambda _: _conflict(SealedStorage(MemoryStorage(), [KEY])),
    "unsealed": _unsealed,
    "keyvalue": lambda _: KeyValueStorage(FullStore()).save("key", SECRET),
    "sqlalchemy": lambda _: SQLAlchemyStorage("postgresql+psycopg://u@127.0.0.1:1/shop").save("key", SECRET),
    "no tables": _without_tables,
    "moving": lambda _: _conflict(MovingStorage(MemoryStorage(), MemoryStorage())),
    "redis": lambda _: RedisStorage("redis://127.0.0.1:1", timeout=0.2).save("key", SECRET),
}


def _locals_of_ours(error: BaseException) -> list[str]:
    """The local variables of the package's frames, in the error and what it came from."""
    found = []
    link: BaseException | None = error
    while link is not None:
        for frame in traceback.TracebackException.from_exception(link, capture_locals=True).stack:
            if PACKAGE in Path(frame.filename).parents:
                found += [f"{frame.name}: {name} = {value}" for name, value in (frame.locals or {}).items()]
        link = link.__cause__ or link.__context__
    return found


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_store_that_fails(failure: str, tmp_path: Path) -> None:
    """What a store raises holds no frame with the record, neither the one that was given nor the one that was found."""
    with pytest.raises(StorageError) as caught:
        await FAILURES[failure](tmp_path)
    assert [text for text in _locals_of_ours(caught.value) if SECRET in text] == []
    assert caught.tb is not None


async def test_a_store_that_is_left(tmp_path: Path) -> None:
    """A cancellation while a record is on its way leaves no frame with it either."""

    class Slow(MemoryStore):
        async def put(self, key: str, value: Any, **options: Any) -> None:
            if SECRET in str(value):
                await anyio.sleep_forever()
            await super().put(key, value, **options)

    told: list[list[str]] = []
    with anyio.move_on_after(0.05):
        try:
            await KeyValueStorage(Slow()).save("key", SECRET)
        except BaseException as error:
            told.append([text for text in _locals_of_ours(error) if SECRET in text])
            raise
    assert told == [[]]
