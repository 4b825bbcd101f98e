"""A real Sentinel promotes a replica while sessions go on: docs/how-to/redis.md shows the client, this test uses it."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from redis import Redis

from tests.constants import CART, LIFETIME
from tests.docs.blocks import blocks_of
from tests.storage.conftest import Server
from tests.storage.servers import PATIENCE, free_port
from wixvisitor import StorageError, VisitorPool
from wixvisitor.storage.redis import RedisStorage
from wixvisitor.testing import FakeWix

pytestmark = [pytest.mark.anyio, pytest.mark.faults]

ADDRESSES = re.compile(r"Sentinel\(\[.*?\]")
FAILOVER = 30.0  # seconds that it may take


@pytest.fixture
def primary(start_server: Callable[..., Server]) -> Server:
    return start_server()


@pytest.fixture
def sentinel(primary: Server, start_server: Callable[..., Server], tmp_path: Path) -> Iterator[int]:
    """The port of a Sentinel that watches the primary, and knows its replica."""
    start_server("--replicaof", "127.0.0.1", str(primary.port), "--repl-diskless-sync-delay", "0")
    port = free_port()
    lines = (
        f"port {port}",
        "bind 127.0.0.1",
        f"sentinel monitor shop 127.0.0.1 {primary.port} 1",
        "sentinel down-after-milliseconds shop 500",
    )
    (tmp_path / "sentinel.conf").write_text("\n".join(lines), "utf-8")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([primary.program, tmp_path / "sentinel.conf", "--sentinel"], stdout=log, stderr=log)
    try:
        wait_for_the_replica(port)
        yield port
    finally:
        process.kill()
        process.wait(PATIENCE)


def wait_for_the_replica(port: int) -> None:
    """Sentinel asks the primary for its replicas every ten seconds."""
    until = time.monotonic() + 3 * PATIENCE
    with Redis(port=port, protocol=2) as client:
        while True:
            with suppress(Exception):
                if client.sentinel_slaves("shop"):
                    return
            assert time.monotonic() < until, "Sentinel finds no replica"
            time.sleep(0.1)


@asynccontextmanager
async def storage_of_the_page(port: int) -> AsyncIterator[RedisStorage]:
    """The storage that the page makes, at this Sentinel."""
    (code,) = (block.code for block in blocks_of("docs/how-to/redis.md") if "Sentinel(" in block.code)
    namespace: dict[str, Any] = {"RedisStorage": RedisStorage}
    exec(ADDRESSES.sub(f'Sentinel([("127.0.0.1", {port})]', code), namespace)
    yield namespace["storage"]
    for client in (namespace["client"], *namespace["sentinel"].sentinels):
        await client.aclose()


async def test_a_failover(still: FakeWix, client_id: str, primary: Server, sentinel: int) -> None:
    """The primary dies: the visitor goes on from memory, nobody is minted, and saves work when Sentinel has chosen."""
    async with (
        storage_of_the_page(sentinel) as storage,
        VisitorPool(client_id, storage=storage, client=still.client(), clock=still.now) as pool,
    ):
        session = await pool.session("shopper")
        assert (await session.get(CART)).status_code == 404
        with Redis(port=primary.port) as administrator:
            administrator.set("marker", "")
            assert administrator.wait(1, int(1000 * PATIENCE)) == 1
        primary.stop()
        assert (await session.get(CART)).status_code == 404  # the token is in memory
        still.advance(LIFETIME + 1)
        with anyio.fail_after(FAILOVER):
            while True:
                try:
                    assert (await session.get(CART)).status_code == 404
                    break
                except StorageError:
                    still.advance(60)  # over our pause
                    await anyio.sleep(0.05)
        assert await storage.load(f"{client_id}:shopper") is not None
    assert len(still.visitors) == 1
