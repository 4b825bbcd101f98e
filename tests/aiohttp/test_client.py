"""The visitor on aiohttp's own client: the rules of `session.auth`, one call after the other."""

from __future__ import annotations

import asyncio
import gzip
import io
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import httpx
import httpx_aiohttp
import pytest

from tests.constants import CART, FINE, LIFETIME, SessionMaker, Until
from tests.origins import NAME, Place, place
from tests.raw_server import raw_server, saying
from wixvisitor import ConfigurationError, SessionExpired, TokenRequestError, Tokens, VisitorSession
from wixvisitor.aiohttp import _bodies as bodies
from wixvisitor.aiohttp import client_middleware
from wixvisitor.testing import FakeWix

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_backoff")]

ADD = f"{CART}/add-line-items"
STATE = "state-of-this-visitor"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@attrs.define
class Shop:
    """A visitor, aiohttp's client with it, and Wix's place."""

    fake: FakeWix
    url: str
    session: VisitorSession
    http: aiohttp.ClientSession

    async def get(self, path: str = CART, **arguments: Any) -> aiohttp.ClientResponse:
        """Returns the response, read."""
        return await self.ask("GET", path, **arguments)

    async def ask(self, method: str, path: str, **arguments: Any) -> aiohttp.ClientResponse:
        url = path if path.startswith("http") else self.url + path
        async with self.http.request(method, url, **arguments) as response:
            await response.read()
            return response

    def revoke(self) -> None:
        self.fake.revoke_access_token(self.session.get_tokens().access_token.value)

    def leads_to(self, path: str, url: str, status: int = 302) -> None:
        Place(self.fake, self.url).leads_to(path, url, status)

    @property
    def tokens_seen(self) -> list[str | None]:
        return [call.headers.get("authorization") for call in self.fake.api_calls()]


@pytest.fixture
async def shop(still: FakeWix, session_of: SessionMaker, visitor: Tokens, anyio_backend: str) -> AsyncGenerator[Shop]:
    async with still.serve() as url, session_of(tokens=visitor, base_url=url) as session:
        async with aiohttp.ClientSession(middlewares=(client_middleware(session),)) as http:
            yield Shop(still, url, session, http)


def elsewhere(shop: Shop, url: str) -> VisitorSession:
    """The same visitor, whose APIs are at this URL and whose tokens come from the fake."""
    return VisitorSession(
        shop.session.client_id,
        client=shop.fake.client(base_url=url),
        tokens=shop.session.get_tokens(),
        base_url=url,
        clock=shop.fake.now,
    )


# Requests


async def test_a_client_of_one_visitor(still: FakeWix, session_of: SessionMaker) -> None:
    """A client with the middleware mints its visitor once, and says who asks and what is understood."""
    async with still.serve() as url, session_of(base_url=url) as session:
        async with aiohttp.ClientSession(url, middlewares=(client_middleware(session),)) as http:
            for _ in range(3):
                async with http.get(CART) as response:
                    assert response.status in FINE
    assert len(still.visitors) == len(still.token_calls()) == 1
    headers = still.api_calls()[-1].headers
    assert headers["authorization"] == session.get_tokens().access_token.value
    assert headers["accept"] == "application/json"
    assert headers["user-agent"].startswith("wixvisitor/")


async def test_the_callers_accept_and_user_agent(shop: Shop) -> None:
    """What the caller says of himself stays."""
    await shop.get(headers={"Accept": "text/html", "User-Agent": "Shop/1"})
    headers = shop.fake.api_calls()[-1].headers
    assert (headers["accept"], headers["user-agent"]) == ("text/html", "Shop/1")


async def test_a_visitor_for_one_request(still: FakeWix, session_of: SessionMaker) -> None:
    """One client serves several visitors, each given with its request."""
    async with still.serve() as url, aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        sessions = [session_of(base_url=url) for _ in range(3)]
        for session in [*sessions, *sessions]:
            async with http.get(url + CART, middlewares=(client_middleware(session),)) as response:
                assert response.status in FINE
        async with http.get(url + CART) as response:
            assert response.status == 401
    expected = [session.get_tokens().access_token.value for session in sessions]
    assert [call.headers.get("authorization") for call in still.api_calls()] == [*expected, *expected, None]
    assert len(set(expected)) == 3


async def test_the_callers_own_authorization_is_replaced(shop: Shop) -> None:
    """As with `session.auth`, the token takes its place at Wix, and it goes to other origins as it is."""
    async with place(shop.fake) as foreign:
        for url in (shop.url, foreign.url):
            await shop.get(url + CART, headers={"Authorization": "mine"})
        assert foreign.fake.calls[-1].headers["authorization"] == "mine"
    assert shop.tokens_seen == [shop.session.get_tokens().access_token.value]


@pytest.mark.parametrize("wrong", [None, "session", httpx.AsyncClient, VisitorSession])
def test_what_is_no_visitor(wrong: Any) -> None:
    """Anything but a session is a ConfigurationError when the middleware is made."""
    with pytest.raises(ConfigurationError, match="client_middleware: expected a VisitorSession"):
        client_middleware(wrong)


async def test_no_token_to_be_had(still: FakeWix, session_of: SessionMaker) -> None:
    """Without a token the request raises what a session's own raises, and nothing is sent."""
    still.fail(503, times=None)
    async with still.serve() as url, session_of(base_url=url) as session:
        async with aiohttp.ClientSession(middlewares=(client_middleware(session),)) as http:
            with pytest.raises(TokenRequestError):
                await http.get(url + CART)
    assert not still.api_calls()


async def test_a_renewal_through_the_same_client(still: FakeWix, visitor: Tokens, client_id: str) -> None:
    """A visitor whose token calls go through this very client, by httpx-aiohttp, renews as ever."""
    async with still.serve() as url, aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as plain:
        shared = [plain]
        transport = httpx_aiohttp.AiohttpTransport(client=lambda: shared[0])
        async with httpx.AsyncClient(transport=transport) as below:
            session = VisitorSession(client_id, client=below, tokens=visitor, base_url=url, clock=still.now)
            jar = aiohttp.DummyCookieJar()
            async with aiohttp.ClientSession(cookie_jar=jar, middlewares=(client_middleware(session),)) as http:
                shared[0] = http
                still.advance(LIFETIME + 1)
                async with http.get(url + CART) as response:
                    assert response.status in FINE
                await session.renew_token()
                await session.aclose()
    assert [call.headers.get("authorization") for call in still.token_calls()] == [None, None]


# Where the token goes


async def test_other_origins_never_see_the_token(shop: Shop) -> None:
    """Another port of the same host is another origin."""
    async with place(shop.fake) as foreign:
        shop.fake.add_header(NAME, STATE, times=1)
        await shop.get()
        await shop.get(foreign.url + CART)
        assert foreign.heard == [(False, None)]
        assert "wixvisitor" not in foreign.fake.calls[0].headers["user-agent"]


@pytest.mark.parametrize(
    ("url", "is_allowed"),
    [
        ("https://www.wixapis.com/x", True),
        ("https://WWW.WIXAPIS.COM/x", True),
        ("https://www.wixapis.com:443/x", True),
        ("https://edge.wixapis.com/x", True),
        ("http://[::1]:8080/x", True),
        ("http://[0:0:0:0:0:0:0:1]:8080/x", True),
        ("http://[::1]/x", False),
        ("https://www.wixapis.com./x", False),
        ("https://www.wixapis.com.evil.example/x", False),
        ("https://www.wixapis.com@evil.example/x", False),
        ("https://evil.example\\@www.wixapis.com/x", False),
        ("http://www.wixapis.com/x", False),
        ("http://www.wixapis.com:443/x", False),
        ("https://www.wixapis.com:8443/x", False),
        ("wss://www.wixapis.com/x", False),
    ],
)
async def test_allowed_origins(session_of: SessionMaker, visitor: Tokens, url: str, *, is_allowed: bool) -> None:
    """Scheme, host and port decide, however they are spelled."""
    seen: list[tuple[str, bool]] = []

    async def catching(request: aiohttp.ClientRequest, _: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        seen.append((request.url.host or "", visitor.access_token.value in request.headers.values()))
        raise aiohttp.ClientConnectionError("caught")

    session = session_of(tokens=visitor, allowed_origins=["https://edge.wixapis.com", "http://[::1]:8080"])
    async with aiohttp.ClientSession(middlewares=(client_middleware(session), catching)) as http:
        with pytest.raises(aiohttp.ClientError):
            await http.get(url)
    assert [has_token for _, has_token in seen] == [is_allowed] * len(seen)
    assert seen or not is_allowed


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_to_a_foreign_origin(shop: Shop, status: int) -> None:
    """Neither token nor state arrives there, nor at the next hop."""
    async with place(shop.fake) as foreign:
        shop.fake.add_header(NAME, STATE, times=1)
        await shop.get()
        shop.leads_to("/away", f"{foreign.url}/further", status)
        foreign.leads_to("/further", f"{foreign.url}/end", status)
        await shop.get("/away")
        assert foreign.heard == [(False, None)] * 2
    assert shop.tokens_seen == [shop.session.get_tokens().access_token.value] * 2


@pytest.mark.parametrize("start", ["wix", "foreign"])
@pytest.mark.parametrize("timeout", [None, 60])
async def test_it_does_not_come_back(shop: Shop, start: str, timeout: float | None) -> None:
    """A request that has been at a foreign origin stays a stranger's, and the next request does not."""
    async with place(shop.fake) as foreign:
        shop.leads_to("/away", f"{foreign.url}/back")
        foreign.leads_to("/back", f"{shop.url}/again")
        shop.leads_to("/again", f"{shop.url}{CART}")
        url = f"{shop.url}/away" if start == "wix" else f"{foreign.url}/back"
        timeouts = aiohttp.ClientTimeout(total=timeout)
        strayed = await shop.get(url, timeout=timeouts)
        assert strayed.status == 401
        assert shop.tokens_seen[-2:] == [None, None]
        assert foreign.heard == [(False, None)]
        assert (await shop.get(timeout=timeouts)).status in FINE  # while the strayed response is still held
    assert not shop.fake.token_calls()


async def test_strayed_calls_beside_others(shop: Shop) -> None:
    """Calls at the same time through one middleware do not take each other for strayed."""
    async with place(shop.fake) as foreign:
        foreign.leads_to("/back", f"{shop.url}{CART}")
        calls = [shop.get(f"{foreign.url}/back" if number % 2 else CART) for number in range(20)]
        statuses = [response.status for response in await asyncio.gather(*calls)]
    assert [status == 401 for status in statuses] == [bool(number % 2) for number in range(20)]


async def test_nothing_is_remembered_of_strayed_calls(shop: Shop) -> None:
    """When its responses are gone, the middleware has forgotten a call that strayed."""
    middleware = client_middleware(shop.session)
    async with place(shop.fake) as foreign:
        foreign.leads_to("/back", f"{shop.url}{CART}")
        for _ in range(5):
            await shop.get(f"{foreign.url}/back", middlewares=(middleware,))
    assert not middleware._left  # type: ignore[attr-defined]


async def test_redirects_between_allowed_origins(still: FakeWix, session_of: SessionMaker, visitor: Tokens) -> None:
    """A redirect to another allowed origin, and back, has the token and the state; a 401 there renews."""
    async with still.serve() as url, place(still) as edge:
        session = session_of(tokens=visitor, base_url=url, allowed_origins=[edge.url])
        async with aiohttp.ClientSession(middlewares=(client_middleware(session),)) as http:
            shop = Shop(still, url, session, http)
            still.add_header(NAME, STATE, times=1)
            await shop.get()
            shop.leads_to("/edge", f"{edge.url}/back")
            edge.leads_to("/back", f"{url}{CART}")
            shop.revoke()
            assert (await shop.get("/edge")).status in FINE
            assert edge.heard == [(True, STATE)]
    assert len(still.token_calls("refresh_token")) == 1
    assert all(call.headers.get(NAME) == STATE for call in still.api_calls()[1:])


async def test_a_replay_is_redirected(shop: Shop) -> None:
    """A request that is sent once more is as careful as the first one."""
    async with place(shop.fake) as foreign:
        shop.fake.fail(401, path="/away", times=1)
        shop.leads_to("/away", f"{foreign.url}/end")
        await shop.get("/away")
        assert foreign.heard == [(False, None)]
    assert len([token for token in shop.tokens_seen if token]) == 2


async def test_the_callers_own_state(shop: Shop) -> None:
    """A header of this name that the caller sets is the caller's, until Wix has said something."""
    async with place(shop.fake) as foreign:
        shop.leads_to("/away", f"{foreign.url}/end")
        await shop.get("/away", headers={NAME: "mine"})
        assert foreign.heard == [(False, "mine")]
    shop.fake.add_header(NAME, STATE, times=1)
    for _ in range(2):
        await shop.get(headers={NAME: "mine"})
    assert [call.headers[NAME] for call in shop.fake.api_calls()[-2:]] == ["mine", STATE]


@pytest.mark.parametrize("value", ["", "x" * 1_025, "a\x01b", "ä"])
async def test_a_state_that_cannot_be_sent(shop: Shop, value: str) -> None:
    """It is not kept."""
    text = f"HTTP/1.1 200 OK\nContent-Length: 0\n{NAME}: {value}\n\n"
    async with raw_server(saying(text)) as server:
        session = elsewhere(shop, server.url)
        middleware = client_middleware(session)
        for _ in range(2):
            await shop.get(server.url, middlewares=(middleware,))
    assert not server.asked[-1].all(NAME)


# A 401


async def test_a_hundred_401s_cost_one_renewal_and_a_replay_each(shop: Shop) -> None:
    """100 concurrent requests with a revoked token: one renewal, each request sent once more, all served."""
    shop.revoke()
    gate = shop.fake.hold(path=CART, times=100)

    async def open_gate() -> None:
        await gate.wait_for(100)
        gate.release()

    answers = await asyncio.gather(*(shop.get() for _ in range(100)), open_gate())
    assert {answer.status for answer in answers if answer} <= set(FINE)
    assert len(shop.fake.token_calls()) == 1
    assert len(shop.fake.api_calls()) == 200
    assert len(shop.fake.visitors) == 1


@pytest.mark.parametrize("size", [10, 200_000, 3_000_000])
async def test_401s_on_one_connection(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Open 401s of any size do not keep the replays, or a renewal over the same connection, waiting."""
    monkeypatch.setattr(bodies, "_MAX_WAIT", 0.05)
    still.fail(401, path=CART, times=1, body=b"x" * size)
    async with (
        still.serve() as url,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1), cookie_jar=aiohttp.DummyCookieJar()) as http,
    ):
        transport = httpx_aiohttp.AiohttpTransport(client=http)
        async with httpx.AsyncClient(transport=transport) as below:
            session = session_of(client=below, tokens=visitor, base_url=url)
            await session.auth_headers()
            shop = Shop(still, url, session, http)
            shop.revoke()
            async with asyncio.timeout(10):
                calls = [shop.get(middlewares=(client_middleware(session),)) for _ in range(10)]
                assert {answer.status for answer in await asyncio.gather(*calls)} <= set(FINE)
            await session.aclose()
    assert len(still.token_calls()) == 1


async def test_a_401_that_is_not_about_the_token_is_passed_through_for_a_minute(shop: Shop) -> None:
    """A route that always says 401: one renewal and one replay, then a minute of plain 401s."""
    fault = shop.fake.fail(401, path=CART, times=None)
    for _ in range(5):
        assert (await shop.get()).status == 401
    assert (len(shop.fake.token_calls()), fault.used) == (1, 6)
    shop.fake.advance(61)
    assert (await shop.get()).status == 401
    assert (len(shop.fake.token_calls()), fault.used) == (2, 8)


@pytest.mark.parametrize("size", [0, 10, 200_000, 1_000_000])
@pytest.mark.parametrize(("renewal", "way"), [("works", "read"), ("fails", "text"), ("works", "chunks")])
async def test_a_401_can_be_read_whole(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, size: int, renewal: str, way: str
) -> None:
    """A 401 that the caller gets can be read from its first byte to its last, in any way."""
    monkeypatch.setattr(bodies, "_MAX_WAIT", 0.05)
    page = bytes(range(32, 96)) * (size // 64 + 1)
    shop.fake.fail(401, path=CART, times=None, body=page[:size])
    if renewal == "fails":
        shop.fake.fail(503, times=None)
    async with shop.http.get(shop.url + CART) as response:
        assert response.status == 401
        if way == "chunks":
            assert b"".join([chunk async for chunk in response.content.iter_any()]) == page[:size]
        else:
            said = await response.read() if way == "read" else (await response.text()).encode()
            assert said == page[:size]


async def test_a_compressed_401(shop: Shop) -> None:
    """It is decoded once."""
    headers = {"content-encoding": "gzip"}
    shop.fake.fail(401, path=CART, times=None, body=gzip.compress(b"no" * 500), headers=headers)
    async with shop.http.get(shop.url + CART) as response:
        assert await response.read() == b"no" * 500


BROKEN = {
    "cut off": "Content-Length: 100\n\n{",
    "silent": "Content-Length: 100\n\n{",
    "false gzip": "Content-Encoding: gzip\nContent-Length: 8\n\nno gzip!",
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_a_401_whose_body_is_broken(shop: Shop, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """It counts by its status: there is a renewal, and the request is sent once more."""
    monkeypatch.setattr(bodies, "_MAX_WAIT", 0.05)
    dead = shop.session.get_tokens().access_token.value

    async def answer(asked: Any, writer: asyncio.StreamWriter) -> None:
        if asked.all("authorization") == [dead]:
            writer.write(("HTTP/1.1 401 No\n" + BROKEN[kind]).replace("\n", "\r\n").encode())
            if kind == "cut off":
                writer.close()
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with raw_server(answer) as server:
        session = elsewhere(shop, server.url)
        async with asyncio.timeout(5):
            assert (await shop.get(server.url, middlewares=(client_middleware(session),))).status == 200
    assert len(shop.fake.token_calls()) == 1


def _multipart() -> aiohttp.FormData:
    form = aiohttp.FormData({"a": "1"})
    form.add_field("file", b"abc", filename="a.txt")
    return form


BODIES: dict[str, Callable[[], dict[str, Any]]] = {
    "bytes": lambda: {"data": b"abc"},
    "text": lambda: {"data": "äb"},
    "json": lambda: {"json": {"a": 1}},
    "form": lambda: {"data": {"a": "1"}},
    "multipart": lambda: {"data": _multipart()},
    "BytesIO": lambda: {"data": io.BytesIO(b"x" * 100_000)},
    "compressed": lambda: {"data": b"abc" * 100, "compress": "gzip"},
    "in chunks": lambda: {"data": b"abc", "chunked": True},
    "Expect": lambda: {"data": b"abc", "expect100": True},
    "none": dict,
}


@pytest.mark.parametrize("kind", BODIES)
async def test_a_body_in_memory_is_sent_again_whole(shop: Shop, kind: str) -> None:
    """The replay has the same method, URL, headers and body."""
    shop.fake.fail(401, path="/x", times=1)
    await shop.ask("POST", "/x?y=1", headers={"X-Own": "1"}, **BODIES[kind]())
    first, second = shop.fake.api_calls()
    assert (first.body, first.query, first.method) == (second.body, second.query, second.method)
    assert bool(first.body) == (kind != "none")
    changed = {name for name in second.headers if first.headers.getlist(name) != second.headers.getlist(name)}
    assert changed == {"authorization"}
    assert len(second.headers.getlist("authorization")) == 1


@pytest.mark.parametrize("kind", ["generator", "file", "file in a form"])
async def test_a_body_that_cannot_be_sent_again(shop: Shop, tmp_path: Path, kind: str) -> None:
    """Its 401 comes at once, although the renewal hangs; the next request has the new token."""
    (tmp_path / "x.txt").write_bytes(b"x" * 100_000)
    gate = shop.fake.hold()
    shop.revoke()

    async def generator() -> AsyncIterator[bytes]:
        yield b"{}"

    with (tmp_path / "x.txt").open("rb") as file:
        data = {"generator": generator, "file": lambda: file, "file in a form": lambda: {"file": file}}[kind]()
        async with asyncio.timeout(5):
            response = await shop.ask("POST", ADD, data=data)
    assert (response.status, len(shop.fake.api_calls())) == (401, 1)
    gate.release()
    assert (await shop.get()).status in FINE
    assert len(shop.fake.token_calls()) == 1


async def test_an_upload_that_is_answered_before_its_end(shop: Shop) -> None:
    """A server that says 401 without reading a long body gets the replay over another connection."""
    dead = shop.session.get_tokens().access_token.value
    body = b"x" * 20_000_000
    heard: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        heard.append(head)
        if dead in head:
            writer.write(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno")
            await writer.drain()
            await reader.read()
        elif len(await reader.readexactly(len(body))) == len(body):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        session = elsewhere(shop, url)
        async with asyncio.timeout(10):
            data = io.BytesIO(body)
            answer = await shop.ask("POST", f"{url}/x", data=data, middlewares=(client_middleware(session),))
            assert answer.status == 200
    assert len(heard) == 2


async def test_logins_are_left_alone(shop: Shop) -> None:
    """A 401 of /_api/iam/* is about a password: no renewal, no replay."""
    shop.fake.fail(401, path="/_api/iam/*", times=None)
    for path in ("/_api/iam/authentication/v2/login?x=1", "/_api/%69am/authentication/v2/login"):
        assert (await shop.ask("POST", path, json={"password": "wrong"})).status == 401
    assert len(shop.fake.api_calls()) == 2
    assert not shop.fake.token_calls()


async def test_a_401_of_a_url_that_httpx_does_not_take(shop: Shop) -> None:
    """The rules about paths read URLs as httpx does; one that is too long for it has a renewal like any other."""
    dead = shop.session.get_tokens().access_token.value

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        status = "401 No" if dead in head else "200 OK"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, limit=1_000_000) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        session = elsewhere(shop, url)
        async with shop.http.get(f"{url}/{'a' * 70_000}", middlewares=(client_middleware(session),)) as response:
            assert response.status == 200
    assert len(shop.fake.token_calls()) == 1


async def test_a_401_of_a_refused_member(still: FakeWix, session_of: SessionMaker, member: Tokens) -> None:
    """A member whose tokens are both refused gets SessionExpired, and the connection of a long 401 is free again."""
    still.fail(401, path=CART, times=None, body=b"x" * 3_000_000)
    async with still.serve() as url, session_of(tokens=member, base_url=url) as session:
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(connector=connector, middlewares=(client_middleware(session),)) as http:
            still.revoke_access_token(member.access_token.value)
            still.refuse_refresh_token(member.refresh_token.value)
            errors = []
            for _ in range(3):
                with pytest.raises(SessionExpired) as caught:
                    await http.get(url + CART, timeout=aiohttp.ClientTimeout(total=5))
                errors.append(caught)  # its frames keep what they hold
    assert not still.token_calls("anonymous")


async def test_a_replaced_visitor_has_no_state(shop: Shop, visitor: Tokens) -> None:
    """When a 401 ends in a new visitor, the replay goes out without what Wix said to the old one."""
    shop.fake.add_header(NAME, STATE, times=1)
    await shop.get()
    shop.revoke()
    shop.fake.refuse_refresh_token(visitor.refresh_token.value)
    await shop.get(headers={NAME: "mine"})
    assert [call.headers[NAME] for call in shop.fake.api_calls()[-2:]] == [STATE, "mine"]


async def test_raise_for_status_comes_after_the_renewal(shop: Shop) -> None:
    """A client that raises for each bad status does so for the last answer only."""
    shop.fake.fail(401, path="/x", times=1)
    shop.fake.fail(503, path="/x", times=1)
    with pytest.raises(aiohttp.ClientResponseError) as caught:
        await shop.get("/x", raise_for_status=True)
    assert caught.value.status == 503


async def test_wixs_time(shop: Shop) -> None:
    """An error tells Wix's time, by which the token has ended; the next request has another one."""
    await shop.get()
    before = shop.session.get_tokens()
    shop.fake.fail(400, path="/x", headers={"Date": "Fri, 15 Jan 2100 00:00:00 GMT"})
    await shop.get("/x")
    await shop.get()
    assert shop.session.get_tokens().access_token != before.access_token


# Callers that leave


async def test_a_caller_that_is_cancelled_amid_the_renewal(shop: Shop, until: Until) -> None:
    """The renewal goes on for the others, and no connection is lost."""
    shop.revoke()
    gate = shop.fake.hold()
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=2), middlewares=(client_middleware(shop.session),)
    ) as http:
        one = Shop(shop.fake, shop.url, shop.session, http)
        leaving, staying = (asyncio.create_task(one.get()) for _ in range(2))
        await until(lambda: len(shop.fake.api_calls()) == 2 and gate.waiting)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        gate.release()
        async with asyncio.timeout(5):
            assert (await staying).status in FINE
            assert {response.status for response in await asyncio.gather(*(one.get() for _ in range(10)))} <= set(FINE)
    assert len(shop.fake.token_calls()) == 1


async def test_a_time_limit_amid_the_renewal(shop: Shop) -> None:
    """The time limit of aiohttp ends the request with its TimeoutError, and the renewal goes on."""
    shop.revoke()
    gate = shop.fake.hold()
    with pytest.raises(TimeoutError):
        await shop.get(timeout=aiohttp.ClientTimeout(total=0.2))
    gate.release()
    assert (await shop.get()).status in FINE
    assert len(shop.fake.token_calls()) == 1


async def test_beside_other_middlewares(shop: Shop) -> None:
    """One outside that asks again, and one inside that reads, see what they always see."""
    seen: list[str | None] = []

    async def again(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        (await handler(request)).release()
        return await handler(request)

    async def reading(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        seen.append(request.headers.get("Authorization"))
        return await handler(request)

    middlewares = (again, client_middleware(shop.session), reading)
    shop.revoke()
    assert (await shop.get(middlewares=middlewares)).status in FINE
    assert (len(seen), seen[1], seen[2]) == (3, *[shop.session.get_tokens().access_token.value] * 2)


async def test_one_event_loop_after_another(shop: Shop) -> None:
    """A middleware works in loops that follow one another."""
    middleware = client_middleware(shop.session)

    async def ask() -> int:
        shop.fake.advance(LIFETIME + 1)
        async with aiohttp.ClientSession(middlewares=(middleware,)) as http, http.get(shop.url + CART) as response:
            return response.status

    assert {await asyncio.to_thread(asyncio.run, ask()) for _ in range(3)} <= set(FINE)
    assert len(shop.fake.token_calls()) == 3
