"""Many visitors on one client: what is one's never reaches another, and the caller's client stays the caller's."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import aiohttp
import attrs
import httpx
import httpx2
import httpx_aiohttp
import httpx_aiohttp.httpx2
import pytest
from yarl import URL

from tests.constants import CART, FINE, LIFETIME, SessionMaker
from wixvisitor import TokenRequestError, Tokens, VisitorPool
from wixvisitor.testing import FakeWix


@attrs.frozen
class Kind:
    """A client over loopback: its library, and whether aiohttp is below it."""

    family: ModuleType
    over_aiohttp: bool = False

    @asynccontextmanager
    async def client(self, session: aiohttp.ClientSession | None = None, **arguments: Any) -> AsyncGenerator[Any]:
        if self.over_aiohttp:
            library = httpx_aiohttp if self.family is httpx else httpx_aiohttp.httpx2
            arguments["transport"] = library.AiohttpTransport(client=session or aiohttp.ClientSession)
        async with self.family.AsyncClient(**arguments) as client:
            yield client


KINDS = {
    "httpx": Kind(httpx),
    "httpx2": Kind(httpx2),
    "httpx-aiohttp": Kind(httpx, over_aiohttp=True),
    "httpx2-aiohttp": Kind(httpx2, over_aiohttp=True),
}


@pytest.fixture(
    params=[
        pytest.param((kind, loop), id=f"{kind}-{loop}")
        for kind in KINDS
        for loop in ("asyncio", "trio")
        if "aiohttp" not in kind or loop == "asyncio"
    ]
)
def kind_and_loop(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def kind(kind_and_loop: Any) -> Kind:
    return KINDS[kind_and_loop[0]]


@pytest.fixture
def anyio_backend(kind_and_loop: Any) -> str:
    return str(kind_and_loop[1])


pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_backoff")]


def cookies_of(fake: FakeWix) -> list[str]:
    return [call.headers.get("cookie", "") for call in fake.calls]


async def test_set_cookie_of_one_visitor_stays_with_nobody(
    still: FakeWix, session_of: SessionMaker, kind: Kind
) -> None:
    """A cookie that Wix sets for one visitor travels neither with another's request nor with any later one."""
    async with still.serve() as url, kind.client() as client:
        one, two = (session_of(client=client, base_url=url) for _ in range(2))
        fault = still.set_cookie("svSession=of-one; Path=/", times=None)
        token_fault = still.set_cookie("token=of-one; Path=/", path="/oauth2/token", times=None)
        response = await one.get(CART)
        assert "svSession=of-one" in response.headers["set-cookie"]
        assert response.cookies["svSession"] == "of-one"
        fault.remove()
        token_fault.remove()
        await two.get(CART)
        await one.get(CART)
        async with two.stream("GET", CART) as streamed:
            await streamed.aread()
        await client.get(f"{url}/unknown")
        assert not client.cookies
    assert cookies_of(still) == [""] * len(still.calls)
    assert len(still.visitors) == 2


async def test_cookies_on_redirects_and_replays_stay_with_nobody(
    still: FakeWix, session_of: SessionMaker, kind: Kind
) -> None:
    """A cookie set by a redirect or a 401 is not even sent with the next hop."""
    async with still.serve() as url, kind.client(follow_redirects=True) as client:
        session = session_of(client=client, base_url=url)
        await session.auth_headers()
        still.set_cookie("a=b; Path=/")
        still.fail(302, headers={"Location": CART}, path="/moved")
        still.fail(401, path=CART)
        assert (await session.get("/moved")).status_code in FINE
        assert not client.cookies
    assert cookies_of(still) == [""] * len(still.calls)


async def test_the_callers_cookies_are_sent_and_stay(still: FakeWix, session_of: SessionMaker, kind: Kind) -> None:
    """What the caller put into the client's jar goes with API requests, unchanged by Wix, and not with token ones."""
    async with still.serve() as url, kind.client(cookies={"own": "1"}) as client:
        session = session_of(client=client, base_url=url)
        still.set_cookie("own=wix; Path=/", times=None)
        still.set_cookie("more=wix; Path=/", times=None)
        await session.get(CART)
        client.cookies.set("later", "2")
        await session.get(CART, cookies=None)
        await session.get(CART, headers={"Cookie": "by=hand"})
        assert {cookie.name: cookie.value for cookie in client.cookies.jar} == {"own": "1", "later": "2"}
    first, second, third = (call.headers.get("cookie", "") for call in still.api_calls())
    assert first == "own=1"
    assert sorted(second.split("; ")) == ["later=2", "own=1"]
    assert "by=hand" in third
    assert not any(call.headers.get("cookie") for call in still.token_calls())


async def test_cookies_of_one_request_are_of_that_request(still: FakeWix, session_of: SessionMaker, kind: Kind) -> None:
    """Cookies given with a request are sent with it and not kept."""
    async with still.serve() as url, kind.client(cookies={"own": "1"}) as client:
        session = session_of(client=client, base_url=url)
        await session.auth_headers()
        one_off = client.build_request("GET", url, cookies={"x": "y"}).headers["cookie"]
        await session.get(CART, headers={"Cookie": one_off})
        await session.get(CART)
        assert {cookie.name for cookie in client.cookies.jar} == {"own"}
    assert "x=y" in cookies_of(still)[-2]
    assert cookies_of(still)[-1] == "own=1"


@pytest.mark.parametrize("kind_and_loop", [("httpx-aiohttp", "asyncio"), ("httpx2-aiohttp", "asyncio")], indirect=True)
async def test_aiohttps_own_jar_is_left_alone(still: FakeWix, session_of: SessionMaker, kind: Kind) -> None:
    """The caller's cookies in aiohttp's ClientSession are sent and stay; nothing of Wix's gets in."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with still.serve() as url, aiohttp.ClientSession(cookie_jar=jar) as below:
        jar.update_cookies({"below": "1"}, response_url=URL(url))
        async with kind.client(below) as client:
            one, two = (session_of(client=client, base_url=url) for _ in range(2))
            still.set_cookie("below=wix; Path=/", times=None)
            still.set_cookie("more=wix; Path=/", path="/oauth2/token", times=None)
            await one.get(CART)
            await two.get(CART)
            await one.get(CART)
        assert {morsel.key: morsel.value for morsel in jar} == {"below": "1"}
    assert [call.headers.get("cookie") for call in still.api_calls()] == ["below=1"] * 3
    assert [call.headers.get("cookie") for call in still.token_calls()] == [None] * 2


async def test_a_pools_visitors_share_connections_and_nothing_else(still: FakeWix, kind: Kind, client_id: str) -> None:
    """Visitors of a pool on one client: own tokens, own X-Wix-Consistent, no cookies."""
    async with still.serve() as url, kind.client() as client:
        pool = VisitorPool(client_id, client=client, base_url=url, clock=still.now)
        sessions = [await pool.session(f"visitor {number}") for number in range(5)]
        for number, session in enumerate(sessions):
            still.set_cookie(f"s={number}; Path=/", times=1)
            still.add_header("X-Wix-Consistent", f"c{number}", times=1)
            await session.get(CART)
        still.reset_calls()
        for session in sessions:
            await session.get(CART)
        assert [call.headers["x-wix-consistent"] for call in still.api_calls()] == [f"c{n}" for n in range(5)]
        assert cookies_of(still) == [""] * 5
        assert len({call.visitor_id for call in still.api_calls()}) == 5
        await pool.aclose()
        assert not client.is_closed


async def test_the_callers_hooks_see_api_requests_only(still: FakeWix, session_of: SessionMaker, kind: Kind) -> None:
    """Event hooks see API requests and their replays, never a token request; history has none either."""
    seen: list[tuple[str, str]] = []

    async def on_request(request: Any) -> None:
        seen.append(("request", request.url.path))
        request.headers["X-Hook"] = "1"

    async def on_response(response: Any) -> None:
        seen.append(("response", response.request.url.path))

    hooks = {"request": [on_request], "response": [on_response]}
    async with still.serve() as url, kind.client(event_hooks=hooks) as client:
        session = session_of(client=client, base_url=url)
        response = await session.get(CART)
        assert response.history == []
        assert seen == [("request", CART), ("response", CART)]
        still.revoke_access_token(session.get_tokens().access_token.value)
        response = await session.get(CART)
        assert [past.request.url.path for past in response.history] in ([], [CART])
        still.advance(LIFETIME + 1)
        await session.get(CART)
    assert {path for _, path in seen} == {CART}
    assert all("x-hook" in call.headers for call in still.api_calls())
    assert all("x-hook" not in call.headers for call in still.token_calls())


async def test_a_hook_that_raises_costs_no_visitor(still: FakeWix, session_of: SessionMaker, kind: Kind) -> None:
    """What a hook raises reaches the caller, and the visitor is as before."""

    async def bad(_: Any) -> None:
        raise LookupError("hook")

    async with still.serve() as url, kind.client(event_hooks={"response": [bad]}) as client:
        session = session_of(client=client, base_url=url)
        for _ in range(3):
            with pytest.raises(LookupError):
                await session.get(CART)
        client.event_hooks = {}
        assert (await session.get(CART)).status_code in FINE
    assert len(still.token_calls()) == 1


async def test_the_callers_later_changes_count(still: FakeWix, session_of: SessionMaker, kind: Kind) -> None:
    """Headers, hooks, params and timeouts that the caller changes later count from then on."""
    hooked: list[str] = []

    async def hook(request: Any) -> None:
        hooked.append(request.url.path)

    async with still.serve() as url, kind.client() as client:
        session = session_of(client=client, base_url=url)
        await session.get(CART)
        client.headers["X-Later"] = "1"
        client.event_hooks = {"request": [hook]}
        client.params = {"q": "1"}
        await session.get(CART)
        last = still.api_calls()[-1]
        assert (last.headers["x-later"], last.query, hooked) == ("1", {"q": "1"}, [CART])
        client.timeout = 0.02
        still.hang(path=CART)
        with pytest.raises(kind.family.TimeoutException):
            await session.get(CART)
        client.timeout = 5
        assert (await session.get(CART)).status_code in FINE


async def test_the_callers_auth_does_not_interfere(still: FakeWix, session_of: SessionMaker, kind: Kind) -> None:
    """A client with an auth of its own sends ours."""
    async with still.serve() as url:
        async with kind.client(auth=("user", "password"), base_url=f"{url}/") as client:
            session = session_of(client=client, base_url=url)
            await session.get(CART)
            await session.get(f"{url}{CART}")
    assert {call.headers["authorization"] for call in still.api_calls()} == {session.get_tokens().access_token.value}
    assert "authorization" not in still.token_calls()[0].headers
    assert {call.path for call in still.api_calls()} == {CART}


async def test_the_callers_client_is_never_closed_by_us(still: FakeWix, session_of: SessionMaker, kind: Kind) -> None:
    """Closing the session leaves the caller's client open and working, also for another session."""
    async with still.serve() as url, kind.client() as client:
        for _ in range(2):
            async with session_of(client=client, base_url=url) as session:
                await session.get(CART)
            await session.aclose()
            gc.collect()
            assert not client.is_closed
            assert (await client.get(f"{url}{CART}")).status_code == 401


async def test_a_closed_client_is_a_clear_error(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, kind: Kind
) -> None:
    """With the caller's client closed, fresh or expired tokens both lead to an error that says so."""
    async with still.serve() as url:
        async with kind.client() as client:
            session = session_of(client=client, base_url=url, tokens=visitor)
            await session.get(CART)
        with pytest.raises(RuntimeError, match="closed"):
            await session.get(CART)
        still.advance(LIFETIME + 1)
        with pytest.raises((RuntimeError, TokenRequestError), match="closed"):
            await session.get(CART)
    assert session.get_tokens() == visitor
    assert not still.token_calls()


async def test_nothing_is_left_behind(still: FakeWix, session_of: SessionMaker, kind: Kind) -> None:
    """Sessions and clients that are closed and dropped are gone, without a warning."""
    async with still.serve() as url:
        async with kind.client() as client:
            session = session_of(client=client, base_url=url)
            for _ in range(3):
                await session.get(CART)
                still.advance(LIFETIME + 1)
            async with session.stream("GET", CART):
                pass
            await session.aclose()
            gone = weakref.ref(session)
            del session
            gc.collect()
            assert gone() is None
        client_gone = weakref.ref(client)
        transport_gone = weakref.ref(client._transport)
        del client
        gc.collect()
        assert client_gone() is None
        assert transport_gone() is None


@pytest.mark.parametrize("kind_and_loop", [("httpx-aiohttp", "asyncio"), ("httpx2-aiohttp", "asyncio")], indirect=True)
async def test_a_shared_aiohttp_session_outlives_its_httpx_client(
    still: FakeWix, session_of: SessionMaker, kind: Kind
) -> None:
    """Two httpx clients over one aiohttp session: our views of it neither close nor change it."""
    async with still.serve() as url, aiohttp.ClientSession() as below:
        async with kind.client(below) as client:
            await session_of(client=client, base_url=url).get(CART)
            connector = below.connector
            gc.collect()
            assert below.connector is connector
            assert not below.closed
            async with below.get(f"{url}{CART}") as response:
                assert response.status == 401
    gc.collect()


@pytest.mark.parametrize(
    "kind_and_loop", [(kind, loop) for kind in ("httpx", "httpx2") for loop in ("asyncio", "trio")], indirect=True
)
async def test_proxies_and_mounts_are_the_callers(still: FakeWix, session_of: SessionMaker, kind: Kind) -> None:
    """A transport that the caller mounted for Wix's host carries token requests and API requests alike."""
    family = kind.family
    seen: list[str] = []
    below = still.client(family)._transport

    class Mounted(family.AsyncBaseTransport):  # type: ignore[misc, name-defined]
        async def handle_async_request(self, request: Any) -> Any:
            seen.append(request.url.path)
            return await below.handle_async_request(request)

    async with family.AsyncClient(mounts={"https://www.wixapis.com": Mounted()}) as client:
        await session_of(client=client).get(CART)
    assert seen == ["/oauth2/token", CART]


# What was patched on the client's instance, as tools do that watch one client


def patched(place: Any, name: str) -> list[str]:
    """Wraps a method on the instance, and returns the paths of the requests that the wrapper sees."""
    seen: list[str] = []
    original = getattr(place, name)

    async def wrapper(request: Any, *arguments: Any, **named: Any) -> Any:
        seen.append(request.url.path)
        return await original(request, *arguments, **named)

    setattr(place, name, wrapper)
    return seen


@pytest.mark.parametrize("name", ["send", "_send_handling_redirects"])
async def test_a_send_that_was_wrapped(still: FakeWix, session_of: SessionMaker, kind: Kind, name: str) -> None:
    """A ``send`` wrapped on the instance is called; cookies, redirects, replays and the owner's calls are as ever."""
    async with still.serve() as url, kind.client(follow_redirects=True, cookies={"own": "1"}) as client:
        session = session_of(client=client, base_url=url)
        await session.get("/before")
        seen = patched(client, name)
        still.set_cookie("s=wix; Path=/", times=None)
        still.set_cookie("t=wix; Path=/", path="/oauth2/token", times=None)
        still.fail(302, headers={"Location": CART}, path="/moved")
        still.fail(401, path=CART)
        response = await session.get("/moved")
        assert response.status_code in FINE
        assert response.cookies["s"] == "wix"
        await session.get(CART)
        assert "/moved" in seen
        assert [cookie.name for cookie in client.cookies.jar] == ["own"]
        still.reset_calls()
        await client.get(f"{url}/owner")
        await client.get(f"{url}/owner")
    assert {cookie.name for cookie in client.cookies.jar} == {"own", "s"}
    assert "s=wix" in cookies_of(still)[-1]


async def test_a_transport_that_was_wrapped_on_the_instance(
    still: FakeWix, session_of: SessionMaker, kind: Kind
) -> None:
    """A wrapper around the transport's method sees all our requests, and no cookie of Wix's is kept or sent."""
    async with still.serve() as url, kind.client() as client:
        seen = patched(client._transport, "handle_async_request")
        session = session_of(client=client, base_url=url)
        still.set_cookie("s=wix; Path=/", times=None)
        still.set_cookie("t=wix; Path=/", path="/oauth2/token", times=None)
        for _ in range(3):
            await session.get(CART)
        assert seen == ["/oauth2/token", CART, CART, CART]
        assert not client.cookies
    assert cookies_of(still) == [""] * 4


async def test_a_transport_around_another(still: FakeWix, session_of: SessionMaker, kind: Kind) -> None:
    """A transport that wraps another one carries all requests, and no cookie of Wix's is kept or sent."""
    seen: list[str] = []

    class Wrapping(kind.family.AsyncBaseTransport):  # type: ignore[misc, name-defined]
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        async def handle_async_request(self, request: Any) -> Any:
            seen.append(request.url.path)
            return await self.inner.handle_async_request(request)

    async with still.serve() as url, kind.client() as below:
        async with kind.family.AsyncClient(transport=Wrapping(below._transport)) as client:
            session = session_of(client=client, base_url=url)
            still.set_cookie("s=wix; Path=/", times=None)
            still.set_cookie("t=wix; Path=/", path="/oauth2/token", times=None)
            for _ in range(3):
                await session.get(CART)
            assert not client.cookies
    assert seen == ["/oauth2/token", CART, CART, CART]
    assert cookies_of(still) == [""] * 4


async def test_a_build_request_that_was_patched(still: FakeWix, session_of: SessionMaker, kind: Kind) -> None:
    """A ``build_request`` patched on the instance builds every API request, also once it is patched later."""
    async with still.serve() as url, kind.client() as client:
        session = session_of(client=client, base_url=url)
        await session.get(CART)
        original = client.build_request

        def build_request(*arguments: Any, **named: Any) -> Any:
            request = original(*arguments, **named)
            request.headers["X-Patched"] = "1"
            return request

        client.build_request = build_request
        await session.get(CART)
        await session.post("/a", json={})
    assert [call.headers.get("x-patched") for call in still.api_calls()] == [None, "1", "1"]


async def test_hooks_can_read_the_body(still: FakeWix, session_of: SessionMaker, kind: Kind) -> None:
    """Request hooks can read ``request.content``, as they can of the client's own requests."""
    bodies: list[bytes] = []

    async def hook(request: Any) -> None:
        bodies.append(request.content)

    async with still.serve() as url, kind.client(event_hooks={"request": [hook]}) as client:
        session = session_of(client=client, base_url=url)
        await session.get(CART)
        await session.get(CART, params={"a": "1"})
        await session.post("/a", content=b"body")
        await session.delete("/a")
    assert bodies == [b"", b"", b"body", b""]


async def test_a_token_call_carries_the_clients_own_headers(
    still: FakeWix, session_of: SessionMaker, kind: Kind
) -> None:
    """A gateway's key and the owner's User-Agent go with token calls; what belongs to one request does not."""
    headers = {
        "X-Gateway-Key": "1", "User-Agent": "shop/1", "AUTHORIZATION": "Bearer x", "Proxy-Authorization": "Basic x",
        "cookie": "a=b", "Content-Language": "de", "ACCEPT": "text/html", "Accept-Language": "de",
        "X-Wix-Consistent": "c", "TE": "trailers",
    }  # fmt: skip
    async with still.serve() as url, kind.client(headers=headers) as client:
        await session_of(client=client, base_url=url).auth_headers()
    async with still.serve() as url, kind.client() as client:
        await session_of(client=client, base_url=url).auth_headers()
    sent, plain = (call.headers for call in still.token_calls())
    assert (sent["x-gateway-key"], sent["user-agent"]) == ("1", "shop/1")
    assert (sent["accept"], sent["content-type"]) == ("application/json", "application/json")
    assert sent["accept-encoding"] == "identity"
    unwanted = {"authorization", "proxy-authorization", "cookie", "content-language", "accept-language", "te"}
    assert not (unwanted | {"x-wix-consistent"}) & set(sent)
    assert plain["user-agent"].startswith("wixvisitor/")
