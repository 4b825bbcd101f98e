"""Who closes a storage: the one who made it, and nobody else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.conftest import CLIENT_ID
from wixvisitor import VisitorPool, VisitorSession
from wixvisitor.storage import FileStorage, MemoryStorage
from wixvisitor.storage.redis import RedisStorage
from wixvisitor.storage.sealed import SealedStorage
from wixvisitor.storage.sqlite import SQLiteStorage
from wixvisitor.testing import FakeWix

pytestmark = pytest.mark.anyio

KEY = SealedStorage.generate_key()
STORES: dict[str, Callable[[Path], Any]] = {
    "file": lambda place: FileStorage(place / "visitor.json"),
    "files": lambda place: FileStorage(f"{place}/visitors/"),
    "SQLite": lambda place: SQLiteStorage(place / "v.db"),
    "sealed SQLite": lambda place: SealedStorage(SQLiteStorage(place / "v.db"), [KEY]),
    "sealed memory": lambda place: SealedStorage(MemoryStorage(), [KEY]),
}
logs = pytest.mark.parametrize("store", ["SQLite", "sealed SQLite"])


def is_open(place: Path) -> bool:
    """Whether SQLite's log is beside its file, as long as somebody has it open."""
    return (place / "v.db-wal").exists()


@pytest.mark.parametrize("store", STORES)
async def test_async_with(store: str, tmp_path: Path) -> None:
    """Each store that holds something can be used with ``async with``, and again afterwards."""
    async with STORES[store](tmp_path) as storage:
        await storage.save("k", "value")
        assert is_open(tmp_path) == ("SQLite" in store)
    assert not is_open(tmp_path)
    async with storage as again:
        assert again is storage
        assert (await again.load("k")).value == "value"
    assert not is_open(tmp_path)


@logs
async def test_async_with_in_a_cancelled_scope(store: str, tmp_path: Path) -> None:
    """A store is closed also where the scope around it has been cancelled, and what is raised goes on."""
    with anyio.CancelScope() as scope:
        async with STORES[store](tmp_path) as storage:
            await storage.save("k", "value")
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert not is_open(tmp_path)
    with pytest.raises(ZeroDivisionError):
        async with storage:
            raise ZeroDivisionError


async def test_leases_that_are_left(tmp_path: Path) -> None:
    """Closing a file storage gives its leases back."""
    one, other = FileStorage(f"{tmp_path}/"), FileStorage(f"{tmp_path}/")
    assert await one.acquire_lease("k", "me", 60.0) == 0.0
    assert await other.acquire_lease("k", "you", 60.0) > 0.0
    await one.aclose()
    assert await other.acquire_lease("k", "you", 60.0) == 0.0
    await one.aclose()
    assert await one.acquire_lease("k", "me", 60.0) > 0.0
    await other.aclose()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_server_that_is_not_there() -> None:
    """A Redis storage that never reached its server closes without a word."""
    async with RedisStorage("redis://127.0.0.1:1") as storage:
        assert "127.0.0.1" in repr(storage)


@logs
@pytest.mark.parametrize("kind", ["session", "pool"])
async def test_sessions_and_pools_leave_it_open(store: str, kind: str, tmp_path: Path, still: FakeWix) -> None:
    """A session or pool does not close the storage that it was given: who made it goes on."""
    arguments: dict[str, Any] = {"client": still.client(), "clock": still.now}
    async with STORES[store](tmp_path) as storage:
        if kind == "session":
            async with VisitorSession(CLIENT_ID, storage=storage, **arguments) as session:
                await session.generate_visitor_tokens()
        else:
            async with VisitorPool(CLIENT_ID, storage=storage, **arguments) as pool:
                await (await pool.session("k")).generate_visitor_tokens()
        assert is_open(tmp_path)
    assert not is_open(tmp_path)
