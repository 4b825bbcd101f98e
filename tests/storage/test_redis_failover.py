"""A real failover: the primary dies, and a replica that lags behind takes its place. Nobody is taken along (rule 7)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import attrs
import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests.constants import CART, FINE, LIFETIME
from tests.storage.conftest import PATIENCE, Server
from wixvisitor import EMPTY_TOKENS, TokenRole, Tokens, VisitorPool, VisitorSession
from wixvisitor.storage.redis import RedisStorage
from wixvisitor.testing import FakeWix

pytestmark = [pytest.mark.anyio, pytest.mark.machine]

KEY = "shopper"
PREFIX = "failover"


@pytest.fixture
def anyio_backend() -> str:
    """redis-py is for asyncio only."""
    return "asyncio"


@attrs.define
class Cluster:
    """A primary, its replica, and the address at which all processes find the one that is primary now."""

    primary: Server
    replica: Server
    address: Any

    async def replica_is_like_the_primary(self) -> None:
        """Waits until the replica has all that was written."""
        async with Redis(port=self.primary.port) as client:
            await client.set(f"{PREFIX} marker", "")  # WAIT is about what this client has written
            assert await client.wait(1, int(1000 * PATIENCE)) == 1

    async def replica_falls_behind(self) -> None:
        """The replica has what was written until now, and nothing that is written from now on."""
        await self.replica_is_like_the_primary()
        async with Redis(port=self.replica.port) as client:
            await client.execute_command("REPLICAOF", "NO", "ONE")

    def fail_over(self) -> None:
        """The primary dies, and the replica takes its place."""
        self.primary.stop()
        self.address.lead_to(self.replica.port)


@pytest.fixture
def cluster(start_server: Callable[..., Server], proxy: Callable[..., Any]) -> Cluster:
    """Two servers, one the replica of the other."""
    primary = start_server("--repl-diskless-sync-delay", "0")  # seconds; it waits for more replicas otherwise
    replica = start_server("--replicaof", "127.0.0.1", str(primary.port))
    return Cluster(primary, replica, proxy(primary.port))


MakeProcess = Callable[[], Any]


@pytest.fixture(params=["a URL", "a client"])
async def process(
    request: pytest.FixtureRequest, still: FakeWix, client_id: str, cluster: Cluster
) -> AsyncIterator[MakeProcess]:
    """Starts another process, which has a pool over the store; returns the shopper's session in it."""
    async with AsyncExitStack() as stack:

        async def start() -> VisitorSession:
            where: Any = cluster.address.url
            if request.param == "a client":
                where = Redis(port=cluster.address.port, decode_responses=True, retry=Retry(NoBackoff(), 3))
                stack.push_async_callback(where.aclose)
            storage = RedisStorage(where, prefix=PREFIX, timeout=5.0)  # a busy machine is not cut off
            stack.push_async_callback(storage.aclose)
            pool = VisitorPool(client_id, storage=storage, client=still.client(), clock=still.now)
            return await (await stack.enter_async_context(pool)).session(KEY)

        yield start


@pytest.fixture
async def after(cluster: Cluster, process: MakeProcess) -> Callable[[], Any]:
    """Returns whom a process finds that is started now: what the primary of the moment holds."""

    async def find() -> Tokens:
        session: VisitorSession = await process()
        return session.get_tokens()

    return find


async def call(session: VisitorSession) -> Tokens:
    """Asks an API, which has to work, and returns whom the session holds."""
    assert (await session.get(CART)).status_code in FINE
    return session.get_tokens()


async def test_a_member_is_not_logged_out(
    still: FakeWix, cluster: Cluster, process: MakeProcess, after: Callable[[], Any], member: Tokens
) -> None:
    """A login that the new primary has never heard of counts, also for those who knew the visitor only."""
    here, there = await process(), await process()
    await call(here)
    await call(there)
    await cluster.replica_falls_behind()
    await here.set_tokens(member)
    cluster.fail_over()
    assert (await after()).refresh_token.role is TokenRole.VISITOR
    still.advance(LIFETIME + 1)
    assert (await call(here)).refresh_token == member.refresh_token
    assert (await after()).refresh_token == member.refresh_token
    still.advance(LIFETIME + 1)
    assert (await call(there)).refresh_token == member.refresh_token


async def test_an_older_process_renews_first(
    still: FakeWix, cluster: Cluster, process: MakeProcess, after: Callable[[], Any], member: Tokens
) -> None:
    """What a process saves that knows only the older visitor gives way to the login, at the next renewal."""
    here, there = await process(), await process()
    await call(here)
    await call(there)
    await cluster.replica_falls_behind()
    await here.set_tokens(member)
    cluster.fail_over()
    still.advance(LIFETIME + 1)
    assert (await call(there)).refresh_token.role is TokenRole.VISITOR
    assert (await call(here)).refresh_token == member.refresh_token
    still.advance(LIFETIME + 1)
    assert (await call(there)).refresh_token == member.refresh_token
    assert (await after()).refresh_token == member.refresh_token


async def test_a_replaced_visitor_is_not_replaced_again(
    still: FakeWix, cluster: Cluster, process: MakeProcess, after: Callable[[], Any]
) -> None:
    """The new primary has the visitor whom Wix refuses: who took its place stays."""
    here = await process()
    refused = await call(here)
    await cluster.replica_falls_behind()
    still.refuse_refresh_token(refused.refresh_token.value)
    still.advance(LIFETIME + 1)
    new = await call(here)
    cluster.fail_over()
    assert (await after()).refresh_token == refused.refresh_token
    still.advance(LIFETIME + 1)
    assert (await call(here)).refresh_token == new.refresh_token
    assert (await after()).refresh_token == new.refresh_token
    assert len(still.visitors) == 2


async def test_a_rotated_token_is_not_lost(
    still: FakeWix, cluster: Cluster, process: MakeProcess, after: Callable[[], Any]
) -> None:
    """The new primary has a refresh token that worked once: the one that is held is tried first, and saved."""
    still.one_time_refresh_tokens = True
    here = await process()
    spent = await call(here)
    await cluster.replica_falls_behind()
    for _ in range(2):
        still.advance(LIFETIME + 1)
        await call(here)
    cluster.fail_over()
    assert (await after()).refresh_token == spent.refresh_token
    still.advance(LIFETIME + 1)
    latest = await call(here)
    assert (await after()).refresh_token == latest.refresh_token
    assert len(still.visitors) == 1


async def test_a_visitor_whom_the_replica_never_had(
    still: FakeWix, cluster: Cluster, process: MakeProcess, after: Callable[[], Any]
) -> None:
    """A visitor that was made in the last moment is saved again."""
    here = await process()
    await cluster.replica_falls_behind()
    made = await call(here)
    cluster.fail_over()
    assert await after() == EMPTY_TOKENS
    still.advance(LIFETIME + 1)
    assert (await call(here)).refresh_token == made.refresh_token
    assert (await after()).refresh_token == made.refresh_token
    assert len(still.visitors) == 1


async def test_a_logout_lasts(
    still: FakeWix, cluster: Cluster, process: MakeProcess, after: Callable[[], Any], member: Tokens
) -> None:
    """Who was logged out does not come back to the process that knows it, and then to no other."""
    here, there = await process(), await process()
    await here.set_tokens(member)
    await there.get(CART)
    await cluster.replica_falls_behind()
    await here.set_tokens(EMPTY_TOKENS)
    cluster.fail_over()
    assert (await after()).refresh_token == member.refresh_token
    assert (await call(here)).refresh_token.role is TokenRole.VISITOR
    assert (await after()).refresh_token.role is TokenRole.VISITOR
    still.advance(LIFETIME + 1)
    assert (await call(there)).refresh_token.role is TokenRole.VISITOR


async def test_a_login_after_the_failover(
    still: FakeWix,
    client_id: str,
    cluster: Cluster,
    process: MakeProcess,
    after: Callable[[], Any],
    member: Tokens,
    tokens_from: Callable[..., Tokens],
) -> None:
    """Whoever logs in at the new primary is not overwritten by a process that holds an older login."""
    here, there = await process(), await process()
    await call(here)
    await call(there)
    await cluster.replica_falls_behind()
    await here.set_tokens(member)
    cluster.fail_over()
    still.advance(60)
    newer = tokens_from(still.mint_member(client_id), TokenRole.MEMBER)
    await there.set_tokens(newer)
    still.advance(LIFETIME + 1)
    assert (await call(here)).refresh_token == newer.refresh_token
    assert (await after()).refresh_token == newer.refresh_token
