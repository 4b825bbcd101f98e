"""``pool.status()``, for readiness probes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.constants import CART, CLIENT_ID
from tests.stores import PlainStorage, TroubledStorage
from wixvisitor import ConfigurationError, PoolStatus, TokenRequestError, VisitorPool
from wixvisitor.storage import FileStorage
from wixvisitor.storage.sqlite import SQLiteStorage
from wixvisitor.testing import FakeWix

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_backoff")]


def pool_of(fake: FakeWix, storage: Any = None) -> VisitorPool:
    return VisitorPool(CLIENT_ID, client=fake.client(), storage=storage, clock=fake.now)


@pytest.mark.parametrize("store", ["memory", "plain", "directory", "file", "sqlite"])
async def test_all_is_well(still: FakeWix, tmp_path: Path, store: str) -> None:
    """A pool whose store answers is ready, also one that holds a visitor; nothing is made or asked for that."""
    stores = {
        "memory": lambda: None,
        "plain": PlainStorage,
        "directory": lambda: FileStorage(f"{tmp_path}/visitors/"),
        "file": lambda: FileStorage(tmp_path / "visitor.json"),
        "sqlite": lambda: SQLiteStorage(tmp_path / "visitors.db"),
    }
    storage = stores[store]()
    async with pool_of(still, storage) as pool:
        await (await pool.session("anna")).get(CART)
        calls = len(still.calls)
        assert await pool.status() == PoolStatus(paused_until=None, store_error=None)
        assert len(still.calls) == calls
    if hasattr(storage, "aclose"):
        await storage.aclose()


async def test_a_pause(still: FakeWix) -> None:
    """After a 429 it says until when Wix is asked for no tokens; afterwards it is as before."""
    async with pool_of(still) as pool:
        still.fail(429, headers={"Retry-After": "30"})
        with pytest.raises(TokenRequestError):
            await (await pool.session("anna")).get(CART)
        status = await pool.status()
        assert (status.is_paused, status.paused_until) == (True, still.now() + 30)
        assert status.is_store_reachable
        still.advance(31)
        assert not (await pool.status()).is_paused


async def test_a_store_that_fails(still: FakeWix) -> None:
    """It is not reachable, and the status has what the store said, without tokens."""
    async with pool_of(still, TroubledStorage(load=OSError("no route to JWS.abcdefghijkl"))) as pool:
        status = await pool.status()
    assert not status.is_store_reachable
    assert "no route to [token]" in str(status.store_error)


async def test_a_store_that_hangs(still: FakeWix) -> None:
    """The status comes when its time is over, and says for how long it has waited."""

    async def hang(_: str) -> None:
        await anyio.sleep_forever()

    async with pool_of(still, TroubledStorage(load=hang)) as pool:
        with anyio.fail_after(5):
            status = await pool.status(timeout=0.05)
    assert status.store_error == "the store did not answer within 0.05 s"


@pytest.mark.parametrize("timeout", [0, -1, True, "2", None])
async def test_a_wrong_timeout(still: FakeWix, timeout: Any) -> None:
    """It is an error that says what is expected."""
    with pytest.raises(ConfigurationError, match="timeout: expected seconds"):
        await pool_of(still).status(timeout=timeout)


async def test_a_closed_pool(still: FakeWix) -> None:
    """It says that it is closed, as its other methods do."""
    async with pool_of(still) as pool:
        pass
    with pytest.raises(ConfigurationError, match="closed"):
        await pool.status()
