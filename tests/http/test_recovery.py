"""A caller's ``httpx.AsyncClient`` and its connection pool, over real sockets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import anyio
import hishel.httpx
import httpx
import httpx2
import httpx_aiohttp
import httpx_retries
import pytest

from tests.constants import CART, CLIENT_ID, SessionMaker, Until
from wixvisitor import TokenRequestError, Tokens, VisitorSession
from wixvisitor._http import recovery
from wixvisitor.testing import FakeWix

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_backoff")]


class Wrapping(httpx.AsyncBaseTransport):
    """A transport of somebody's around another."""

    __slots__ = ("inner",)

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self.inner.handle_async_request(request)  # type: ignore[no-any-return]

    async def aclose(self) -> None:
        await self.inner.aclose()


class Opaque(Wrapping):
    """A transport that hides what is below it."""

    __slots__ = ()

    def __init__(self, inner: Any) -> None:
        super().__init__((inner,))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self.inner[0].handle_async_request(request)  # type: ignore[no-any-return]

    async def aclose(self) -> None:
        await self.inner[0].aclose()


def of_one() -> httpx.AsyncHTTPTransport:
    return httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=1))


WAYS: dict[str, Callable[[], dict[str, Any]]] = {
    "plain": lambda: {"transport": of_one()},
    "mounted": lambda: {"mounts": {"all://": of_one()}},
    "wrapped": lambda: {"transport": Wrapping(of_one())},
    "httpx-retries": lambda: {"transport": httpx_retries.RetryTransport(of_one(), retry=httpx_retries.Retry(total=0))},
}


async def orphan(client: httpx.AsyncClient, url: str, call: Callable[[], Any]) -> None:
    """Has the call cancelled at the moment when a connection was made for it, and before it could connect."""
    async with client.stream("GET", f"{url}{CART}"):  # the owner's own request has the only connection
        task = asyncio.create_task(call())
        await anyio.wait_all_tasks_blocked()
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio's cancellation strikes at other moments
@pytest.mark.parametrize("way", WAYS)
async def test_a_cancelled_request_leaves_no_connection(
    way: str, session_of: SessionMaker, visitor: Tokens, served: Any
) -> None:
    """A request of ours that is cancelled before it connects takes no place in the pool with it."""
    async with httpx.AsyncClient(timeout=2, **WAYS[way]()) as client:
        session = session_of(client=client, base_url=served.url, tokens=visitor)
        for _ in range(3):
            await orphan(client, served.url, lambda: session.get(CART))
        assert (await session.get(CART)).status_code == 404
        assert (await client.get(f"{served.url}{CART}")).status_code == 401


async def test_a_cache_in_front(served: Any) -> None:
    """The pool below hishel's transport is found."""
    async with of_one() as inner:
        cached = hishel.httpx.AsyncCacheTransport(inner, storage=Wrapping(None))  # type: ignore[arg-type] # not asked
        assert isinstance(recovery.recovering(cached, httpx), recovery.RecoveringTransport)


async def test_a_call_that_waits_in_vain(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, served: Any, until: Until
) -> None:
    """With all connections busy an API call ends with httpx's PoolTimeout after the pool timeout, and no later."""
    async with httpx.AsyncClient(transport=of_one(), timeout=httpx.Timeout(30, pool=0.05)) as client:
        session = session_of(client=client, base_url=served.url, tokens=visitor)
        still.hang(path="/slow", times=None)
        async with anyio.create_task_group() as group:
            group.start_soon(session.get, "/slow")
            await until(lambda: len(still.api_calls()) == 1)
            with anyio.fail_after(2), pytest.raises(httpx.PoolTimeout):
                await session.get(CART)
            group.cancel_scope.cancel()
        assert (await session.get(CART)).status_code == 404


async def test_a_token_call_that_waits_in_vain(
    still: FakeWix,
    session_of: SessionMaker,
    visitor: Tokens,
    served: Any,
    until: Until,
    family: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A token call that finds no free connection is a TokenRequestError that says so."""
    monkeypatch.setattr(
        "wixvisitor._renewal.endpoint._TIMEOUTS", {"connect": 5.0, "read": None, "write": 5.0, "pool": 0.05}
    )
    async with family.AsyncClient(limits=family.Limits(max_connections=1)) as client:
        session = session_of(client=client, base_url=served.url, tokens=visitor)
        still.hang(path="/slow", times=None)
        async with anyio.create_task_group() as group:
            group.start_soon(session.get, "/slow")
            await until(lambda: len(still.api_calls()) == 1)
            with pytest.raises(TokenRequestError, match=r"PoolTimeout: the client's connections were all busy"):
                await session.renew_token()
            group.cancel_scope.cancel()


async def test_token_calls_do_not_stand_in_the_line(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, served: Any, until: Until
) -> None:
    """A token call does not wait for the API calls that came before it and wait for a connection."""
    async with httpx.AsyncClient(transport=of_one(), timeout=30) as client:
        session = session_of(client=client, base_url=served.url, tokens=visitor)
        gate = still.hold(path="/slow", times=1)
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(session.get, "/slow")
            await until(lambda: len(still.api_calls()) == 1)
            group.start_soon(session.renew_token)
            await anyio.wait_all_tasks_blocked()
            gate.release()
    assert still.calls.index(still.token_calls()[0]) < 10  # of 20


async def test_the_line_is_the_clients(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, served: Any, until: Until
) -> None:
    """Sessions that share a client stand in one line, first come, first served."""
    async with httpx.AsyncClient(transport=of_one(), timeout=30) as client:
        sessions = [session_of(client=client, base_url=served.url, tokens=visitor) for _ in range(2)]
        gate = still.hold(path="/slow", times=1)
        async with anyio.create_task_group() as group:
            group.start_soon(sessions[0].get, "/slow")
            await until(lambda: len(still.api_calls()) == 1)
            for number in range(10):
                group.start_soon(sessions[number % 2].get, f"/{number}")
                await anyio.wait_all_tasks_blocked()
            gate.release()
    assert [call.path for call in still.api_calls()] == ["/slow", *(f"/{number}" for number in range(10))]


# Where no pool is found


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "_warned", set())


async def test_one_warning_where_no_pool_is_found(
    session_of: SessionMaker, visitor: Tokens, served: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A transport that hides its pool works, and is warned of once, however many sessions use it."""
    async with httpx.AsyncClient(transport=Opaque(of_one())) as client:
        for _ in range(2):
            session = session_of(client=client, base_url=served.url, tokens=visitor)
            for _ in range(2):
                await session.get(CART)
            await session.renew_token()
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "Opaque" in warnings[0]
    assert "docs/explanation/one-visitor.md" in warnings[0]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_no_warning_where_there_is_no_such_pool(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, served: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is said of transports without sockets, of httpx2, of httpx-aiohttp, nor of what wraps them."""
    inner = still.client()._transport
    clients = [
        None,
        still.client(base_url=served.url),
        httpx.AsyncClient(transport=Wrapping(inner)),
        httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200))),
        httpx.AsyncClient(transport=httpx.ASGITransport(still.app)),
        httpx.AsyncClient(transport=Wrapping(httpx.ASGITransport(still.app))),
        httpx2.AsyncClient(),
        httpx.AsyncClient(transport=httpx_aiohttp.AiohttpTransport()),
    ]
    for client in clients:
        async with VisitorSession(
            CLIENT_ID, client=client, base_url=served.url, tokens=visitor, clock=still.now
        ) as session:
            await session.get(CART)
        if client is not None:
            await client.aclose()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_the_owners_settings_stay(session_of: SessionMaker, visitor: Tokens, served: Any) -> None:
    """Nothing of the client changes: transport, mounts, limits, timeout, hooks."""
    mount = of_one()
    async with httpx.AsyncClient(mounts={"all://127.0.0.1": mount}, timeout=7) as client:
        before = {name: value for name, value in vars(client).items() if name != "_state"}
        session = session_of(client=client, base_url=served.url, tokens=visitor)
        with anyio.move_on_after(0.0):
            await session.get(CART)
        await session.get(CART)
        assert {name: value for name, value in vars(client).items() if name != "_state"} == before
        assert type(mount) is httpx.AsyncHTTPTransport
