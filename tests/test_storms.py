"""After a storm over real sockets everybody is served again, whatever client the requests go through."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import httpx2
import httpx_retries
import pytest

from tests.constants import CLIENT_ID, IN_CI, SessionMaker
from wixvisitor import TokenRequestError, VisitorSession
from wixvisitor.testing import FakeWix

from .storms import CART, all_is_well, churn, churn_natively, descriptors, hanging, impatient

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_backoff")]


class Wrapping(httpx.AsyncBaseTransport):
    """A transport of somebody's around httpx's own."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self.inner.aclose()


def transport(connections: int) -> httpx.AsyncHTTPTransport:
    return httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=connections))


def limited(connections: int | None, module: Any = httpx, **arguments: Any) -> Any:
    return module.AsyncClient(limits=module.Limits(max_connections=connections), timeout=5.0, **arguments)


CLIENTS: dict[str, Callable[[], Any] | None] = {
    "own": None,
    "one connection": functools.partial(limited, 1),
    "ten connections": functools.partial(limited, 10),
    "no limit": functools.partial(limited, None),
    "httpx2": functools.partial(limited, 10, httpx2),
    "mounted": lambda: httpx.AsyncClient(mounts={"all://127.0.0.1": transport(10)}, timeout=5.0),
    "wrapped": lambda: httpx.AsyncClient(transport=Wrapping(transport(10)), timeout=5.0),
    "httpx-retries": lambda: httpx.AsyncClient(
        transport=httpx_retries.RetryTransport(transport(10), retry=httpx_retries.Retry(total=0)), timeout=5.0
    ),
}


@pytest.fixture(params=CLIENTS if IN_CI else ["own", "ten connections", "httpx2"])
def client(request: pytest.FixtureRequest) -> Any:
    return CLIENTS[request.param]


@pytest.fixture
def session(still: FakeWix, client: Any, served: Any) -> VisitorSession:
    return VisitorSession(CLIENT_ID, client=client, base_url=served.url, clock=still.now)


async def test_an_outage_with_deadlines(still: FakeWix, session: VisitorSession) -> None:
    """Wix hangs and callers leave at their deadlines; then all requests and renewals work, and no socket is left."""
    await session.auth_headers()
    before = descriptors()
    async with session:
        async with hanging(still):
            left = await impatient(lambda: session.get(CART), callers=120, deadline=0.3, seconds=0.9)
        assert left.served == 0
        assert len(left.late) >= 100  # a busy machine starts some too late
        assert statistics.median(left.late) < 1.0  # the machine may be busy for a while
        await all_is_well(session)
    await closed_down_to(before)


async def test_a_churn_of_cancelled_requests(session: VisitorSession) -> None:
    """Requests beyond the limit are cancelled at any moment of theirs; then all requests and renewals work."""
    await session.auth_headers()
    before = descriptors()
    async with session:
        await churn(lambda: session.get(CART), callers=60, rounds=25)
        await all_is_well(session)
    await closed_down_to(before)


@pytest.mark.filterwarnings(
    "ignore:Async generator 'httpx2?._content.AsyncIteratorByteStream.__aiter__':ResourceWarning"
)
async def test_a_churn_of_uploads_and_streams(session: VisitorSession) -> None:
    """Uploads that are cut off, and streams that are left early, take no connection with them."""

    async def body() -> Any:
        for _ in range(3):
            yield b"x" * 1_000
            await anyio.sleep(0.003)

    async def upload() -> None:
        pieces = body()
        try:
            await session.post(CART, content=pieces)
        finally:
            with anyio.CancelScope(shield=True):
                await pieces.aclose()

    async def stream() -> None:
        async with session.stream("GET", CART):
            await anyio.sleep(0.002)

    async with session:
        await session.auth_headers()
        async with anyio.create_task_group() as group:
            group.start_soon(functools.partial(churn, upload, callers=20, rounds=15))
            group.start_soon(functools.partial(churn, stream, callers=20, rounds=15))
        await all_is_well(session)


@pytest.mark.parametrize("client", [CLIENTS[name] for name in ("one connection", "ten connections", "httpx2")])
async def test_token_calls_that_are_cut_off(still: FakeWix, session_of: SessionMaker, client: Any, served: Any) -> None:
    """Token calls that hang until their time is over take no connection of the client with them."""
    async with client() as shared:
        impatient = [session_of(client=shared, base_url=served.url, renew_timeout=0.2) for _ in range(30)]

        async def mint(one: VisitorSession) -> None:
            with pytest.raises(TokenRequestError):
                await one.auth_headers()

        async with hanging(still, "/oauth2/token"), anyio.create_task_group() as group:
            for one in impatient:
                group.start_soon(mint, one)
        await all_is_well(session_of(client=shared, base_url=served.url))


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_native_cancellation(still: FakeWix, session: VisitorSession) -> None:
    """``asyncio.timeout``, and tasks that are cancelled twice, leave no connection behind either."""
    await session.auth_headers()
    before = descriptors()

    async with session:
        await churn_natively(lambda: session.get(CART), callers=80, rounds=15)
        await all_is_well(session)
    await closed_down_to(before)


async def closed_down_to(number: int) -> None:
    """The server notices a moment later that a connection is closed."""
    for _ in range(300):
        if descriptors() <= number:
            return
        await anyio.sleep(0.01)
    raise AssertionError(f"{descriptors()} descriptors, not {number}")
