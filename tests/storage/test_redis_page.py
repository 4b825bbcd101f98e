"""docs/how-to/redis.md: the server takes its settings, and its user has the permissions that the store needs."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import pytest
from redis import Redis

from tests.docs.blocks import blocks_of
from tests.storage.conftest import Server
from wixvisitor.storage.redis import RedisStorage

pytestmark = pytest.mark.anyio

SLOW = 30.0  # seconds; the time is not what is tested here


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def block(title: str) -> list[str]:
    """The lines of the block with this title."""
    (found,) = (block for block in blocks_of("docs/how-to/redis.md") if block.title == title)
    return found.code.splitlines()


async def test_the_page(start_server: Callable[..., Server]) -> None:
    """A server with the page's settings evicts nothing, and its user may do all that a session does."""
    settings = [word for line in block("redis.conf") for word in (f"--{line}").split()]
    server = start_server(*settings)
    with Redis(port=server.port, decode_responses=True, protocol=2) as administrator:
        assert administrator.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert administrator.config_get("appendonly") == {"appendonly": "yes"}
        for line in block("redis-cli"):
            administrator.execute_command(*shlex.split(line))
    async with RedisStorage(f"redis://shop:secret@127.0.0.1:{server.port}", timeout=SLOW) as storage:
        version = await storage.save("visitor", "tokens", expected=None)
        await storage.save("visitor", "newer", expected=version)
        record = await storage.load("visitor")
        assert record is not None
        assert record.value == "newer"
        assert await storage.acquire_lease("visitor", "a", 60) == 0.0
        await storage.release_lease("visitor", "a")
        await storage.delete("visitor")
