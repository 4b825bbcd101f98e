"""The client that a session makes for itself, over real sockets."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import httpx
import pytest
import respx

from tests.constants import CLIENT_ID, LIFETIME, Until
from tests.raw_server import Asked, raw_server, saying
from tests.storms import CART, all_is_well, descriptors
from wixvisitor import Tokens, VisitorPool, VisitorSession
from wixvisitor._http import connection_pool, idle
from wixvisitor.testing import FakeWix

OK = saying("HTTP/1.1 200 OK\nContent-Length: 2\n\n{}")
pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_backoff")]
on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"])  # where the test's server runs


@pytest.fixture
def session(served: Any, still: FakeWix, visitor: Tokens) -> VisitorSession:
    return VisitorSession(CLIENT_ID, base_url=served.url, tokens=visitor, clock=still.now)


@contextmanager
def few_places(monkeypatch: pytest.MonkeyPatch, number: int) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(connection_pool, "MAX_CONNECTIONS", number)
        yield


@asynccontextmanager
async def over(server: Any, visitor: Tokens, still: FakeWix, **arguments: Any) -> Any:
    async with VisitorSession(CLIENT_ID, base_url=server.url, tokens=visitor, clock=still.now, **arguments) as session:
        yield session


async def test_tokens_while_all_places_are_taken(still: FakeWix, served: Any, until: Until) -> None:
    """With 150 slow API calls under way a new visitor, an expired one and a forced renewal get tokens at once."""
    async with VisitorPool(CLIENT_ID, base_url=served.url, clock=still.now) as pool:
        old, forced, busy, new = [await pool.session(key) for key in ("old", "forced", "busy", "new")]
        await old.auth_headers()
        still.advance(LIFETIME + 1)
        for session in (forced, busy):
            await session.auth_headers()
        still.hang(path="/slow", times=None)
        async with anyio.create_task_group() as group:
            for _ in range(150):
                group.start_soon(busy.get, "/slow")
            await until(lambda: len(still.api_calls()) == connection_pool.MAX_CONNECTIONS)
            with anyio.fail_after(2):
                await new.generate_visitor_tokens()
                await old.generate_visitor_tokens()
                await forced.renew_token()
            assert len(still.api_calls()) == connection_pool.MAX_CONNECTIONS
            group.cancel_scope.cancel()


async def test_callers_are_served_in_order(
    still: FakeWix, session: VisitorSession, monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    """Beyond the limit requests are sent in the order in which they came."""
    with few_places(monkeypatch, 2):
        async with session, anyio.create_task_group() as group:
            gate = still.hold(path="/first", times=2)
            for _ in range(2):
                group.start_soon(session.get, "/first")
            await until(lambda: len(still.api_calls()) == 2)
            for number in range(12):
                group.start_soon(session.get, f"/{number:02}")
                await anyio.wait_all_tasks_blocked()
            gate.release()
    later = [call.path for call in still.api_calls()[2:]]
    assert sorted(later) == [f"/{number:02}" for number in range(12)]
    assert all(abs(later.index(path) - number) <= 1 for number, path in enumerate(sorted(later)))  # two at a time


async def test_waiting_for_a_place_has_its_own_timeout(
    still: FakeWix, session: VisitorSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits longer than the pool timeout gets httpx's PoolTimeout, and nobody else is hurt."""
    with few_places(monkeypatch, 1):
        async with session, anyio.create_task_group() as group:
            still.hang(path="/slow", times=None)
            group.start_soon(session.get, "/slow")
            await anyio.sleep(0.05)
            with pytest.raises(httpx.PoolTimeout, match="busy"):
                await session.get(CART, timeout=httpx.Timeout(5, pool=0.02))
            group.cancel_scope.cancel()
        await session.get(CART)
        await session.aclose()


async def test_a_connection_is_used_again(session: VisitorSession) -> None:
    """Requests one after the other share a connection, whatever the method and the status."""
    async with session:
        await session.get(CART)
        before = descriptors()
        for _ in range(5):
            await session.get(CART)
            await session.post("/unknown", json={"a": 1})
            async with session.stream("GET", CART) as response:
                await response.aread()
        assert descriptors() == before


async def test_idle_connections_are_closed_when_a_request_ends(
    session: VisitorSession, monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    """After a burst the next request, later, closes the connections that were idle for too long."""

    class Later:
        monotonic = staticmethod(lambda: time.monotonic() + idle.KEEP + 1)

    async with session:
        await session.get(CART)
        before = descriptors()
        async with anyio.create_task_group() as group:
            for _ in range(40):
                group.start_soon(session.get, CART)
        assert descriptors() > before + 20
        with monkeypatch.context() as patch:
            patch.setattr(idle, "time", Later)
            patch.setattr(connection_pool, "time", Later)
            await session.get(CART)
            await until(lambda: descriptors() <= before)


@on_asyncio
async def test_another_origins_idle_connection_makes_room(
    visitor: Tokens, still: FakeWix, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the limit an idle connection to one origin is closed for a new one to another."""
    with few_places(monkeypatch, 2):
        async with raw_server(OK) as one, raw_server(OK) as other:
            async with over(one, visitor, still, allowed_origins=[other.url]) as session:
                await asyncio.gather(*(session.get("/a") for _ in range(2)))
                assert one.open == 2
                await asyncio.gather(*(session.get(f"{other.url}/a") for _ in range(2)))
                await asyncio.sleep(0.05)
                assert (one.open, other.open) == (0, 2)


@on_asyncio
async def test_a_connection_that_the_server_closed_is_not_used(visitor: Tokens, still: FakeWix) -> None:
    """A server may close idle connections at any time; the next request opens another."""

    async def answer(_asked: Asked, writer: Any) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        asyncio.get_running_loop().call_later(0.02, writer.close)

    async with raw_server(answer) as server, over(server, visitor, still) as session:
        for _ in range(3):
            assert (await session.get("/a")).status_code == 200
            await asyncio.sleep(0.05)
        assert server.connections == 3


@on_asyncio
@pytest.mark.parametrize(
    "answer",
    [
        saying("nonsense\n\n"),
        saying("HTTP/1.1 200 OK\nContent-Length: 100\n\nabc", close=True),
        saying("HTTP/1.1 200 OK\nConnection: close\nContent-Length: 2\n\n{}"),
        saying("HTTP/1.1 200 OK\nContent-Length: 1000000\n\nabc"),
    ],
    ids=["nonsense", "cut off", "connection: close", "left early"],
)
async def test_a_bad_end_costs_the_connection_and_nothing_else(
    answer: Any, visitor: Tokens, still: FakeWix, until: Until
) -> None:
    """A request that ends in any other way than with a whole response leaves no connection."""
    async with raw_server(answer) as server, over(server, visitor, still) as session:
        for _ in range(3):
            try:
                async with session.stream("GET", "/a") as response:
                    if "content-length" in response.headers and int(response.headers["content-length"]) < 1_000:
                        await response.aread()
            except httpx.TransportError:
                pass
        await until(lambda: server.open == 0)
        assert server.connections == 3


async def test_closing_ends_what_is_under_way(still: FakeWix, session: VisitorSession, until: Until) -> None:
    """``aclose()`` closes the connections under way too, and those who wait for a place are told."""
    await session.get(CART)
    before, errors = descriptors(), list[httpx.TransportError]()
    still.hang(path="/slow", times=None)

    async def slow() -> None:
        try:
            await session.get("/slow")
        except httpx.TransportError as error:
            errors.append(error)

    async with anyio.create_task_group() as group:
        for _ in range(130):
            group.start_soon(slow)
        await until(lambda: len(still.api_calls()) == 101)
        with anyio.fail_after(5):
            await session.aclose()
        group.cancel_scope.deadline = anyio.current_time() + 5
    assert len(errors) == 130
    await until(lambda: descriptors() <= before)
    async with session:
        await all_is_well(session, calls=3)


def test_one_event_loop_after_another(still: FakeWix, visitor: Tokens) -> None:
    """The same session works in loops that follow one another, also where one was left without closing."""
    session: list[VisitorSession] = []

    async def use(url: str) -> None:
        if not session:
            session.append(VisitorSession(CLIENT_ID, base_url=url, tokens=visitor, clock=still.now))
        for _ in range(2):
            assert (await session[0].get(CART)).status_code in (200, 404)
        await session[0].aclose()

    async def serve_and(backend: str) -> None:
        async with still.serve() as url:
            await anyio.to_thread.run_sync(lambda: [anyio.run(use, url, backend=name) for name in (backend, "asyncio")])

    anyio.run(serve_and, "trio")


@on_asyncio
@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_proxies_of_the_environment(
    name: str, visitor: Tokens, still: FakeWix, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests and token calls go through the proxy that the environment names, and around it where it says so."""
    for other in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(other, raising=False)
    async with raw_server(OK) as proxy, raw_server(OK) as direct:
        monkeypatch.setenv(name, proxy.url.replace("http://", "http://user:secret@"))
        async with over(direct, visitor, still) as session:
            for _ in range(2):
                assert (await session.get("/a")).status_code == 200
        assert [asked.line for asked in proxy.asked] == [f"GET {direct.url}/a HTTP/1.1"] * 2
        assert proxy.asked[0].all("proxy-authorization")
        assert (proxy.connections, direct.asked) == (1, [])
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        async with over(direct, visitor, still) as session:
            await session.get("/a")
        assert len(direct.asked) == 1


async def test_respx_answers_for_it(client_id: str) -> None:
    """respx, which stands in for httpcore, goes on to work with the client that a session makes."""
    token = {"access_token": "A" * 20, "refresh_token": "R" * 20, "expires_in": 14400, "token_type": "Bearer"}
    async with VisitorSession(client_id) as session:
        with respx.mock(base_url="https://www.wixapis.com") as router:
            router.post("/oauth2/token").respond(json=token)
            route = router.get("/a").respond(json={"a": 1})
            for _ in range(2):
                assert (await session.get("/a")).json() == {"a": 1}
        assert route.call_count == 2


async def test_a_tool_that_patches_httpxs_transport(
    client_id: str, visitor: Tokens, still: FakeWix, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What replaces ``httpx.AsyncHTTPTransport.handle_async_request``, as pytest-httpx does, answers for it too."""

    async def answer(_: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"path": request.url.path})

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", answer)
    async with VisitorSession(client_id, tokens=visitor, clock=still.now) as session:
        assert (await session.get("/a")).json() == {"path": "/a"}


@on_asyncio
async def test_what_httpx_says_about_a_response(visitor: Tokens, still: FakeWix) -> None:
    """HTTP version, reason, the network stream and the ``trace`` extension are there as ever."""
    traced: list[str] = []

    async def trace(name: str, _: Any) -> None:
        traced.append(name)

    async with raw_server(saying("HTTP/1.1 200 Fine\nContent-Length: 2\n\n{}")) as server:
        async with over(server, visitor, still) as session:
            response = await session.get("/a", extensions={"trace": trace})
            assert (response.http_version, response.reason_phrase) == ("HTTP/1.1", "Fine")
            port = int(server.url.rpartition(":")[2])
            assert response.extensions["network_stream"].get_extra_info("server_addr")[1] == port
    assert "connection.connect_tcp.complete" in traced
    assert "http11.response_closed.complete" in traced


async def test_a_scheme_that_nobody_speaks(session: VisitorSession) -> None:
    """An unknown scheme is httpx's UnsupportedProtocol."""
    async with session:
        with pytest.raises(httpx.UnsupportedProtocol):
            await session.get("gopher://127.0.0.1/a")


async def test_handshakes_that_are_cut_off(visitor: Tokens, still: FakeWix, until: Until) -> None:
    """A server that accepts and then says nothing: callers leave at their deadlines, and no socket stays open."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        async with VisitorSession(CLIENT_ID, base_url=url, tokens=visitor, clock=still.now) as session:
            with anyio.move_on_after(0.01):
                await session.get(CART)
            before = descriptors()
            async with anyio.create_task_group() as group:
                for number in range(20):
                    group.start_soon(leaves_after, 0.02 + 0.002 * number, session)
            with pytest.raises(httpx.ConnectTimeout):
                await session.get(CART, timeout=0.05)
            await until(lambda: descriptors() <= before)


async def leaves_after(seconds: float, session: VisitorSession) -> None:
    with anyio.move_on_after(seconds) as scope:
        await session.get(CART)
    assert scope.cancelled_caught


@on_asyncio
async def test_handshakes_that_are_cut_off_natively(visitor: Tokens, still: FakeWix, until: Until) -> None:
    """The same with ``asyncio.timeout``, and with tasks that are cancelled twice."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        async with VisitorSession(CLIENT_ID, base_url=url, tokens=visitor, clock=still.now) as session:
            with anyio.move_on_after(0.01):
                await session.get(CART)
            before = descriptors()
            tasks = [asyncio.create_task(session.get(CART)) for _ in range(20)]
            await asyncio.sleep(0.05)
            for _ in range(3):
                for task in tasks:
                    task.cancel()
                await asyncio.sleep(0)
            await asyncio.wait(tasks)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.03):
                    await session.get(CART)
            await until(lambda: descriptors() <= before)
