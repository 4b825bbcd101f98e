"""What is left of a forgotten visitor: a record without tokens, which goes after 30 days."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.stores import TroubledStorage
from wixvisitor import EMPTY_TOKENS, VisitorPool
from wixvisitor.cookies import generate_key
from wixvisitor.storage import ANY_VERSION, AnyVersion, FileStorage, MemoryStorage
from wixvisitor.storage._protocol import takes_expected, takes_keep_for
from wixvisitor.storage.sealed import SealedStorage
from wixvisitor.storage.sqlite import SQLiteStorage
from wixvisitor.testing import FakeWix

pytestmark = pytest.mark.anyio

DAY = 86_400.0
KEY = "5e9c1d0a-7c1e-4a52-9d5e-1f2a3b4c5d6e:k"


@pytest.mark.parametrize("is_sealed", [False, True])
async def test_thirty_days(still: FakeWix, client_id: str, *, is_sealed: bool) -> None:
    """A visitor is kept as long as any; what is left after ``forget`` or an empty login, for 30 days."""
    inner = TroubledStorage()
    storage: Any = SealedStorage(inner, [generate_key()]) if is_sealed else inner
    pool = VisitorPool(client_id, client=still.client(), clock=still.now, storage=storage)
    session = await pool.session("k")
    await session.auth_headers()
    await pool.forget("k")
    await session.auth_headers()
    await session.set_tokens(EMPTY_TOKENS)
    assert [call.keep_for for call in inner.calls if call.name == "save"] == [None, 30 * DAY, None, 30 * DAY]


async def test_a_store_that_does_not_know_of_it(still: FakeWix, client_id: str) -> None:
    """A store whose ``save`` takes no such argument is not given it, sealed or not."""

    class Older(MemoryStorage):
        async def save(  # type: ignore[override]
            self, key: str, value: str, *, expected: str | AnyVersion | None = ANY_VERSION
        ) -> str:
            return await super().save(key, value, expected=expected)

    for storage in (Older(), SealedStorage(Older(), [generate_key()])):
        assert takes_expected(storage)
        assert not takes_keep_for(storage)
        pool = VisitorPool(client_id, client=still.client(), clock=still.now, storage=storage)
        await (await pool.session("k")).auth_headers()
        await pool.forget("k")
        assert await storage.load(KEY) is not None


async def test_in_memory() -> None:
    """Each further one takes away those whose time is over, unless a visitor has taken their place."""
    storage = MemoryStorage()
    await storage.save("gone", "text", keep_for=-1.0)
    await storage.save("back", "text", keep_for=-1.0)
    await storage.save("back", "a visitor")
    await storage.save("now", "text", keep_for=60.0)
    assert await storage.load("gone") is None
    assert await storage.load("back") is not None
    assert await storage.load("now") is not None


@pytest.mark.parametrize("path", ["visitors/", "visitor.json"])
async def test_files(tmp_path: Path, path: str) -> None:
    """``purge`` removes those whose time is over, and no visitor, nor what it cannot read."""
    storage = FileStorage(f"{tmp_path}/{path}")
    await storage.save("k", "text", keep_for=60.0)
    assert await storage.purge() == 0
    await storage.save("k", "text", keep_for=-1.0)
    assert await storage.load("k") is not None
    assert await storage.purge() == 1
    assert await storage.load("k") is None
    await storage.save("k", "text")
    assert await storage.purge() == 0
    assert await storage.load("k") is not None


async def test_files_that_are_none_of_ours(tmp_path: Path) -> None:
    """Other files in the directory are left alone."""
    storage = FileStorage(f"{tmp_path}/")
    for name, text in (
        ("a.json", "{"),
        ("b.json", '{"wixvisitor": 1, "keepUntil": "x"}'),
        ("c.json", '{"keepUntil": 1}'),
    ):
        (tmp_path / name).write_text(text, "utf-8")
        (tmp_path / name).chmod(0o600)
    assert await storage.purge() == 0
    assert len([place async for place in anyio.Path(tmp_path).iterdir()]) == 3


async def test_sqlite(tmp_path: Path) -> None:
    """They are past their time after what was said, also if they were read; visitors after ``expire_after``."""
    now, tick = [2_000_000_000.0], [0.0]
    storage = SQLiteStorage(tmp_path / "v.db", clock=lambda: now[0], monotonic=lambda: tick[0])
    await storage.save("k", "text", keep_for=30 * DAY)
    await storage.save("visitor", "text")
    now[0] += 20 * DAY
    assert await storage.load("k") is not None
    now[0] += 11 * DAY
    assert await storage.purge() == 0
    now[0] += 3_700
    tick[0] += 3_700
    assert await storage.purge() == 1
    assert await storage.load("k") is None
    assert await storage.load("visitor") is not None
    await storage.aclose()
