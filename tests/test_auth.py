"""The visitor on foreign clients, what a 401 leads to, and where the token never goes."""

from __future__ import annotations

import asyncio
import gc
import gzip
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from types import ModuleType
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import httpx2
import pytest

from tests.constants import CART, FINE, LIFETIME, SessionMaker, Until
from wixvisitor import ConfigurationError, SessionExpired, Tokens, VisitorAuth
from wixvisitor.testing import FakeWix

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_backoff")]

ADD = f"{CART}/add-line-items"
IAM = "/_api/iam/authentication/v2/login"


async def together(count: int, call: Callable[[], Awaitable[Any]]) -> list[Any]:
    """The results of that many callers at once."""
    results: list[Any] = []

    async def one() -> None:
        results.append(await call())

    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(one)
    return results


# On foreign clients


async def test_one_auth_on_clients_of_both_libraries(still: FakeWix, session_of: SessionMaker) -> None:
    """The same `session.auth` works on httpx's and httpx2's clients, given to the client or to one request."""
    session = session_of()
    auth = session.auth
    assert isinstance(auth, VisitorAuth)
    assert isinstance(auth, httpx.Auth)
    assert isinstance(auth, httpx2.Auth)
    for module in (httpx, httpx2):
        async with still.client(module, auth=auth) as client:
            assert (await client.get(CART)).status_code in FINE
            assert (await client.get(CART, auth=session.auth)).status_code in FINE
            async with client.stream("GET", CART) as response:
                await response.aread()
                assert response.status_code in FINE
    assert len(still.token_calls()) == 1
    assert {call.headers["authorization"] for call in still.api_calls()} == {session.get_tokens().access_token.value}


def test_a_blocking_client_is_refused(session_of: SessionMaker, family: ModuleType) -> None:
    """A synchronous client with this auth is told so, and sends nothing."""

    def never(request: Any) -> Any:
        raise AssertionError("sent")

    with family.Client(transport=family.MockTransport(never), auth=session_of().auth) as client:
        with pytest.raises(RuntimeError, match="AsyncClient"):
            client.get("https://www.wixapis.com/")


async def test_an_auth_by_itself_keeps_its_visitor(
    still: FakeWix, family: ModuleType, session_of: SessionMaker
) -> None:
    """The auth works when the session that it came from is held by nobody any more."""
    auth = session_of().auth
    async with still.client(family, auth=auth) as client:
        await client.get(CART)
        still.advance(LIFETIME + 1)
        assert (await client.get(CART)).status_code in FINE
    assert len(still.visitors) == 1


# Rule 3: one renewal, one replay


async def test_a_hundred_401s_cost_one_renewal_and_a_replay_each(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, family: ModuleType
) -> None:
    """100 concurrent requests with a revoked token: one renewal, each request replayed once, all served."""
    session = session_of(family, tokens=visitor)
    await session.auth_headers()
    still.revoke_access_token(visitor.access_token.value)
    gate = still.hold(path=CART, times=100)

    async def open_gate() -> None:
        await gate.wait_for(100)
        gate.release()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(open_gate)
        answers = await together(100, lambda: session.get(CART))
    assert {answer.status_code for answer in answers} <= set(FINE)
    assert len(still.token_calls()) == 1
    assert len(still.api_calls()) == 200
    assert session.get_tokens().refresh_token == visitor.refresh_token


@pytest.mark.parametrize(("connections", "callers"), [(1, 10), (5, 100)])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_hundred_401s_on_few_connections_do_not_deadlock(
    still: FakeWix,
    session_of: SessionMaker,
    visitor: Tokens,
    family: ModuleType,
    connections: int,
    callers: int,
    *,
    stream: bool,
) -> None:
    """Open 401s do not hold the connections that the renewal needs."""
    still.fail(401, path=CART, times=connections, body="x" * 200_000)
    async with still.serve() as url:
        limits = family.Limits(max_connections=connections)
        async with family.AsyncClient(limits=limits, timeout=4) as client:
            session = session_of(client=client, tokens=visitor, base_url=url)
            await session.auth_headers()
            still.revoke_access_token(visitor.access_token.value)

            async def ask() -> int:
                if not stream:
                    return int((await session.get(CART)).status_code)
                async with session.stream("GET", CART) as response:
                    return int(response.status_code)

            with anyio.fail_after(8):
                assert set(await together(callers, ask)) <= set(FINE)
    assert len(still.token_calls()) == 1


async def test_a_late_401_uses_the_token_that_is_there(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """A 401 that arrives after the renewal is replayed with the new token, without another renewal."""
    session = session_of(tokens=visitor)
    await session.auth_headers()
    still.revoke_access_token(visitor.access_token.value)
    gate = still.hold(path=CART, times=1, committed=True)
    answers: list[Any] = []

    async def late() -> None:
        answers.append(await session.get(CART))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(late)
        await gate.wait_for(1)
        answers.append(await session.get(CART))
        gate.release()
    assert [answer.status_code in FINE for answer in answers] == [True, True]
    assert len(still.token_calls()) == 1


async def test_a_401_that_is_not_about_the_token_is_passed_through_for_a_minute(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """An endpoint that always says 401: one renewal and one replay, then a minute of plain 401s, then once more."""
    session = session_of(tokens=visitor)
    await session.auth_headers()
    fault = still.fail(401, path=CART, times=None)
    assert (await session.get(CART)).status_code == 401
    assert (len(still.token_calls()), fault.used) == (1, 2)
    for _ in range(59):
        still.advance(1)
        assert (await session.get(CART)).status_code == 401
    assert (len(still.token_calls()), fault.used) == (1, 61)
    still.advance(2)
    assert (await session.get(CART)).status_code == 401
    assert (len(still.token_calls()), fault.used) == (2, 63)
    assert len(still.visitors) == 1


async def test_a_renewal_that_fails_hands_the_caller_the_401(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """A 401 whose renewal fails for now reaches the caller, who was not asking for a token; then it recovers."""
    session = session_of(tokens=visitor)
    await session.auth_headers()
    still.revoke_access_token(visitor.access_token.value)
    fault = still.fail(503, times=None)
    answers = await together(10, lambda: session.get(CART))
    assert {answer.status_code for answer in answers} == {401}
    assert len(still.token_calls()) <= 3
    still.reset_calls()
    assert (await session.get(CART)).status_code == 401
    assert not still.token_calls()
    fault.remove()
    still.advance(2)
    assert (await session.get(CART)).status_code in FINE
    assert len(still.visitors) == 1


async def test_a_401_of_a_refused_member_is_session_expired(
    still: FakeWix, session_of: SessionMaker, member: Tokens
) -> None:
    """A member whose tokens are both refused gets SessionExpired from the request, and nobody else's answer."""
    session = session_of(tokens=member)
    await session.auth_headers()
    still.revoke_access_token(member.access_token.value)
    still.refuse_refresh_token(member.refresh_token.value)
    for _ in range(2):
        with pytest.raises(SessionExpired):
            await session.get(CART)
    assert not still.token_calls("anonymous")
    assert len(still.token_calls()) == 1


@pytest.mark.parametrize("body", ["bytes", "json", "form", "none", "text"])
async def test_a_body_in_memory_is_replayed_whole(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, family: ModuleType, body: str
) -> None:
    """The replay sends the same method, URL, headers and body."""
    session = session_of(family, tokens=visitor)
    await session.auth_headers()
    still.revoke_access_token(visitor.access_token.value)
    still.fail(401, path="/x", times=1)
    arguments: dict[str, Any] = {
        "bytes": {"content": b"abc"},
        "json": {"json": {"a": 1}},
        "form": {"data": {"a": "1"}},
        "none": {},
        "text": {"content": "äb"},
    }[body]
    await session.post("/x?y=1", headers={"X-Own": "1"}, **arguments)
    first, second = (call for call in still.api_calls() if call.path == "/x")
    assert (first.body, first.query, first.method) == (second.body, second.query, second.method)
    assert second.headers["x-own"] == "1"
    assert first.headers["authorization"] != second.headers["authorization"]
    assert len(second.headers.getlist("authorization")) == 1


@pytest.mark.parametrize("kind", ["generator", "iterator in a file upload"])
async def test_a_body_that_cannot_be_replayed_gets_its_401(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, family: ModuleType, until: Until, kind: str
) -> None:
    """An async generator's 401 is its caller's, no StreamConsumed; later requests have a new token."""
    session = session_of(family, tokens=visitor)
    await session.auth_headers()
    still.revoke_access_token(visitor.access_token.value)
    pieces = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal pieces
        for _ in range(3):
            pieces += 1
            yield b"{}"

    async with still.serve() as url, family.AsyncClient() as client:
        session = session_of(client=client, tokens=visitor, base_url=url)
        if kind == "generator":
            assert (await session.post(ADD, content=body())).status_code == 401
            assert pieces == 3
        else:
            upload = {"file": ("x.txt", io.BytesIO(b"x" * 100_000))}
            answer = await session.post(ADD, files=upload)
            assert answer.status_code in (401, 400)
        assert (await session.get(CART)).status_code in FINE
    assert len(still.token_calls()) == 1
    assert session.get_tokens().refresh_token == visitor.refresh_token


async def test_a_body_that_cannot_be_replayed_does_not_wait_for_the_renewal(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """The 401 of a generator's request comes at once, although the renewal is held at the endpoint."""
    session = session_of(tokens=visitor)
    await session.auth_headers()
    still.revoke_access_token(visitor.access_token.value)
    gate = still.hold()

    async def body() -> AsyncIterator[bytes]:
        yield b"{}"

    with anyio.fail_after(2):
        assert (await session.post(ADD, content=body())).status_code == 401
    gate.release()
    await session.aclose()


@pytest.mark.parametrize("size", [0, 10, 200_000, 1_000_000, 1_048_577, 3_000_000])
@pytest.mark.parametrize("renewal", ["works", "fails"])
async def test_streamed_401s_are_replayed_or_whole(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, family: ModuleType, size: int, renewal: str
) -> None:
    """A streamed 401 is replayed if it is small; whoever gets it can read it from its first byte to its last."""
    page = bytes(range(256)) * (size // 256 + 1)
    fault = still.fail(401, path=CART, times=None, body=page[:size])
    token_fault = still.fail(503, times=None) if renewal == "fails" else None
    async with still.serve() as url, family.AsyncClient() as client:
        session = session_of(client=client, tokens=visitor, base_url=url)
        async with session.stream("GET", CART) as response:
            assert response.status_code == 401
            assert b"".join([chunk async for chunk in response.aiter_bytes()]) == page[:size]
        if token_fault is not None:
            token_fault.remove()
        fault.remove()
        still.advance(70)
        assert (await session.get(CART)).status_code in FINE
    assert len(still.visitors) == 1


@pytest.mark.parametrize("size", [10, 2_000_000])
async def test_a_401_that_nobody_reads_leaves_nothing_behind(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, family: ModuleType, size: int
) -> None:
    """A streamed 401 that its caller closes unread warns of nothing and gives its connection back."""
    still.fail(401, path=CART, times=None, body=b"x" * size)
    async with still.serve() as url:
        async with family.AsyncClient(limits=family.Limits(max_connections=1), timeout=3) as client:
            session = session_of(client=client, tokens=visitor, base_url=url)
            for _ in range(3):
                async with session.stream("GET", CART) as response:
                    assert response.status_code == 401
                del response
                gc.collect()
                await anyio.lowlevel.checkpoint()
            await session.aclose()


async def test_a_compressed_401_is_read_right(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, family: ModuleType
) -> None:
    """A gzipped 401 is decoded once, streamed or not."""
    still.fail(401, path=CART, times=None, body=gzip.compress(b"no" * 500), headers={"content-encoding": "gzip"})
    async with still.serve() as url, family.AsyncClient() as client:
        session = session_of(client=client, tokens=visitor, base_url=url)
        assert (await session.get(CART)).content == b"no" * 500
        async with session.stream("GET", CART) as response:
            assert await response.aread() == b"no" * 500


async def test_logins_are_left_alone(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, family: ModuleType
) -> None:
    """A 401 of /_api/iam/* is about a password: no renewal, no replay, and the next request is as before."""
    session = session_of(family, tokens=visitor)
    await session.auth_headers()
    still.fail(401, path="/_api/iam/*", body={"details": {"applicationError": {"code": "-19976"}}})
    assert (await session.post(IAM, json={"password": "wrong"})).status_code == 401
    assert len(still.api_calls()) == 1
    assert not still.token_calls()
    assert (await session.get(CART)).status_code in FINE
    assert still.api_calls()[-1].headers["authorization"] == visitor.access_token.value


@pytest.mark.parametrize(
    ("base_url", "allowed", "asked"),
    [
        ("https://shop.test/wix", (), IAM),
        ("https://shop.test/wix/", (), f"https://shop.test/wix{IAM}"),
        ("https://shop.test/a/b", (), IAM[1:]),
        ("https://shop.test/wix", (), f"https://shop.test{IAM}"),
        ("https://shop.test/w%69x", (), "_api/%69am/authentication/v2/login"),
        ("https://shop.test", ("https://edge.test/wix",), f"https://edge.test/wix{IAM}"),
    ],
)
async def test_logins_behind_a_reverse_proxy_are_left_alone(
    base_url: str,
    allowed: tuple[str, ...],
    asked: str,
    still: FakeWix,
    session_of: SessionMaker,
    visitor: Tokens,
    family: ModuleType,
) -> None:
    """A path of the base URL's, or of an allowed origin's, stands before Wix's own and changes nothing about it."""
    posted: list[str] = []

    def answer(request: Any) -> Any:
        posted.append(request.url.path)
        return family.Response(401, json={"message": "wrong password"})

    async with family.AsyncClient(transport=family.MockTransport(answer)) as client:
        session = session_of(client=client, tokens=visitor, base_url=base_url, allowed_origins=allowed)
        assert (await session.post(asked, json={"password": "wrong"})).status_code == 401
        assert len(posted) == 1
        await session.aclose()
    assert len(posted) == 1


async def test_the_replay_counts_only_once_for_the_response(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, family: ModuleType
) -> None:
    """The answer is the replay's; no token request shows in its history."""
    session = session_of(family, tokens=visitor)
    await session.auth_headers()
    still.revoke_access_token(visitor.access_token.value)
    response = await session.get(CART)
    assert response.status_code in FINE
    assert all(past.request.url.path == CART for past in response.history)
    assert response.request.headers["authorization"] == session.get_tokens().access_token.value


# Where the token never goes


def _recorder(family: ModuleType, answer: Callable[[Any], Any]) -> tuple[list[Any], Any]:
    seen: list[Any] = []

    def handle(request: Any) -> Any:
        seen.append(request)
        return answer(request)

    return seen, family.MockTransport(handle)


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example/x",
        "https://www.wixapis.com.evil.example/x",
        "https://wixapis.com/x",
        "https://www.wixapis.com:8443/x",
        "https://www.wixapis.com@evil.example/x",
        "https://evil.example\\@www.wixapis.com/x",
        "http://www.wixapis.com/x",
        "http://www.wixapis.com:443/x",
        "https://edge.wixapis.com/x",
        "https://www.wixapis.com./x",
        "//evil.example/x",
        "///evil.example/x",
    ],
)
@pytest.mark.parametrize("way", ["session", "auth"])
async def test_other_origins_never_see_the_token(
    session_of: SessionMaker, visitor: Tokens, family: ModuleType, url: str, way: str
) -> None:
    """An absolute URL to any other origin carries neither token nor X-Wix-Consistent."""
    seen, transport = _recorder(family, lambda _: family.Response(200, json={}, headers={"X-Wix-Consistent": "c"}))
    async with family.AsyncClient(transport=transport) as client:
        session = session_of(client=client, tokens=visitor)
        await session.get("/x")  # says it to the visitor
        # Some of these are no URLs to httpx, which is fine as well.
        with suppress(ConfigurationError, family.InvalidURL, family.UnsupportedProtocol, ValueError):
            await (session.get(url) if way == "session" else client.get(url, auth=session.auth))
    for request in seen:
        if (request.url.scheme, request.url.host, request.url.port) == ("https", "www.wixapis.com", None):
            continue
        assert visitor.access_token.value not in str(request.headers.raw)
        assert "authorization" not in request.headers, str(request.url)
        assert "x-wix-consistent" not in request.headers


async def test_allowed_origins_see_it_and_no_more(
    session_of: SessionMaker, visitor: Tokens, family: ModuleType
) -> None:
    """`allowed_origins` adds just those origins."""
    seen, transport = _recorder(family, lambda _: family.Response(200, json={}))
    async with family.AsyncClient(transport=transport) as client:
        session = session_of(
            client=client, tokens=visitor, allowed_origins=("https://edge.wixapis.com", "http://localhost:9")
        )
        for url in (
            "https://edge.wixapis.com/x",
            "http://localhost:9/x",
            "https://localhost:9/x",
            "http://localhost/x",
        ):
            await session.get(url)
    assert ["authorization" in request.headers for request in seen] == [True, True, False, False]


@pytest.mark.parametrize(
    "base_url",
    [
        "http://www.wixapis.com",
        "http://10.0.0.1",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://0.0.0.0",
        "ftp://127.0.0.1",
        "www.wixapis.com",
        "",
        "https://",
        "https://user:pass@www.wixapis.com",
        "https://www.wixapis.com?x=1",
    ],
)
@pytest.mark.parametrize("argument", ["base_url", "allowed_origins"])
async def test_a_token_does_not_travel_in_the_clear(session_of: SessionMaker, base_url: str, argument: str) -> None:
    """Plain http beyond loopback, or what is no origin, is a ConfigurationError at once."""
    arguments: dict[str, Any] = {argument: base_url if argument == "base_url" else (base_url,)}
    with pytest.raises(ConfigurationError, match=argument):
        session_of(**arguments)


async def test_redirects_to_another_origin_carry_no_token(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, family: ModuleType
) -> None:
    """A redirect to another server arrives there without the token, and its 401 renews nothing."""
    other = FakeWix(clock=still.now)
    async with still.serve() as url, other.serve() as elsewhere:
        still.fail(302, headers={"Location": f"{elsewhere}{CART}"}, path="/away", times=None)
        async with family.AsyncClient(follow_redirects=True) as client:
            session = session_of(client=client, tokens=visitor, base_url=url)
            response = await session.get("/away")
            assert response.status_code == 401
            [arrived] = other.calls
            assert "authorization" not in arrived.headers
            plain = await client.get(f"{url}/away", auth=session.auth)
            assert plain.status_code == 401
    assert not still.token_calls()
    assert all("authorization" not in call.headers for call in other.calls)


async def test_redirects_are_not_followed_unless_the_caller_says_so(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, family: ModuleType
) -> None:
    """A redirect is the caller's answer by default, as in httpx."""
    session = session_of(family, tokens=visitor)
    still.fail(302, headers={"Location": "https://other.example/"}, path="/away")
    assert (await session.get("/away")).status_code == 302
    assert len(still.calls) == 1


# X-Wix-Consistent


async def test_x_wix_consistent_travels_with_its_visitor_only(
    still: FakeWix, session_of: SessionMaker, family: ModuleType
) -> None:
    """What Wix sends one visitor goes with that visitor's next requests, and with nobody else's; the last wins."""
    async with still.client(family) as client:
        one, two = session_of(client=client), session_of(client=client)
        for session in (one, two):
            await session.auth_headers()
        for value in ("first", "second"):
            fault = still.add_header("X-Wix-Consistent", value, times=1)
            await one.get(CART)
            assert fault.used == 1
            await two.get(CART)
            assert "x-wix-consistent" not in still.api_calls()[-1].headers
            await one.get(CART)
            assert still.api_calls()[-1].headers["x-wix-consistent"] == value
            assert len(still.api_calls()[-1].headers.getlist("x-wix-consistent")) == 1
    assert all("x-wix-consistent" not in call.headers for call in still.token_calls())


async def test_x_wix_consistent_of_others_is_not_kept(
    session_of: SessionMaker, visitor: Tokens, family: ModuleType
) -> None:
    """Another origin's header, and one of absurd length, are not kept."""
    length = 5
    seen, transport = _recorder(
        family, lambda _: family.Response(200, json={}, headers={"X-Wix-Consistent": "c" * length})
    )
    async with family.AsyncClient(transport=transport) as client:
        session = session_of(client=client, tokens=visitor)
        await session.get("https://other.example/x")
        length = 100_000
        await session.get("/x")
        length = 5
        await session.get("/x")
        await session.get("/x")
    assert [request.headers.get("x-wix-consistent") for request in seen] == [None, None, None, "ccccc"]


@pytest.mark.parametrize("way", ["session", "auth"])
async def test_x_wix_consistent_behind_a_redirect_is_not_kept(
    session_of: SessionMaker, visitor: Tokens, family: ModuleType, way: str
) -> None:
    """What another origin says at the end of a redirect from an allowed one is not kept."""

    def answer(request: Any) -> Any:
        if request.url.host != "other.example":
            return family.Response(302, headers={"Location": "https://other.example/x"})
        return family.Response(200, json={}, headers={"X-Wix-Consistent": "of another"})

    seen, transport = _recorder(family, answer)
    async with family.AsyncClient(transport=transport, follow_redirects=True) as client:
        session = session_of(client=client, tokens=visitor)
        url = "https://www.wixapis.com/away"
        response = await (session.get(url) if way == "session" else client.get(url, auth=session.auth))
        assert response.headers["x-wix-consistent"] == "of another"
        await session.get(url)
    assert [request.url.host for request in seen] == ["www.wixapis.com", "other.example"] * 2
    assert not any("x-wix-consistent" in request.headers for request in seen)


async def test_x_wix_consistent_of_a_late_answer_is_not_kept(
    session_of: SessionMaker, visitor: Tokens, member: Tokens, family: ModuleType
) -> None:
    """What Wix answers to the visitor while somebody logs in is not kept for the member."""
    said: list[str | None] = []

    async def answer(request: Any) -> Any:
        said.append(request.headers.get("x-wix-consistent"))
        await session.set_tokens(member)
        return family.Response(200, json={}, headers={"X-Wix-Consistent": "of the visitor"})

    async with family.AsyncClient(transport=family.MockTransport(answer)) as client:
        session = session_of(client=client, tokens=visitor)
        response = await session.get("/x")
        assert response.headers["x-wix-consistent"] == "of the visitor"
        assert session.get_tokens() == member
        await session.get("/x")
    assert said == [None, None]


async def test_x_wix_consistent_of_a_replaced_visitor_is_gone(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """A new visitor does not start with what Wix sent to the old one."""
    session = session_of(tokens=visitor)
    still.add_header("X-Wix-Consistent", "of the old one", times=1)
    await session.get(CART)
    still.refuse_refresh_token(visitor.refresh_token.value)
    still.advance(LIFETIME + 1)
    await session.get(CART)
    assert len(still.visitors) == 2
    assert "x-wix-consistent" not in still.api_calls()[-1].headers


async def test_a_401_in_two_loops_at_once_needs_no_lock_of_a_loop(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """Two threads with event loops of their own may use one session at once, and stay one visitor."""
    session = session_of(tokens=visitor)
    await session.auth_headers()
    still.revoke_access_token(visitor.access_token.value)

    def other_loop() -> list[int]:
        async def main() -> list[int]:
            answers = await asyncio.gather(*(session.get(CART) for _ in range(20)))
            return [answer.status_code for answer in answers]

        return asyncio.run(main())

    results: list[list[int]] = []

    async def thread() -> None:
        results.append(await anyio.to_thread.run_sync(other_loop))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(thread)
    assert all(status in FINE for statuses in results for status in statuses)
    assert len(still.visitors) == 1
    assert len(still.token_calls()) <= 3
