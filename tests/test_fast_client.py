"""`aiohttp_client`: what users of httpx expect of a client, beside httpx's own wherever the two can be compared."""

from __future__ import annotations

import asyncio
import gzip
import logging
import pickle
import socket
import ssl
import sys
import traceback
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import httpx2
import pytest
import trio
import trustme

from wixvisitor import (
    ConfigurationError,
    TokenRequestError,
    Tokens,
    VisitorPool,
    VisitorSession,
    _aiohttp_client,
    aiohttp_client,
)
from wixvisitor.testing import FakeWix

from .raw_server import Asked, raw_server, saying

SECRET = "OauthNG.JWS.not-to-be-seen"
EMPTY = saying("HTTP/1.1 204 No Content\n\n")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


pytestmark = pytest.mark.anyio


def fast(family: ModuleType, **arguments: Any) -> Any:
    return aiohttp_client(httpx2=family is httpx2, **arguments)


@pytest.fixture(params=["aiohttp", "httpcore"])
def make(request: pytest.FixtureRequest, family: ModuleType) -> Callable[..., Any]:
    """Makes our client, or the one that it has to be like."""
    if request.param == "aiohttp":
        return lambda **arguments: fast(family, **arguments)
    made: Callable[..., Any] = family.AsyncClient
    return made


@pytest.fixture
async def client(family: ModuleType) -> AsyncGenerator[Any]:
    async with fast(family, timeout=5.0) as client:
        yield client


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


# What is sent


@pytest.mark.parametrize(
    ("method", "arguments", "body"),
    [
        ("GET", {}, b""),
        ("DELETE", {}, b""),
        ("POST", {}, b""),
        ("POST", {"json": {"a": "é"}}, None),
        ("POST", {"data": {"a": "b c"}}, b"a=b+c"),
        ("POST", {"content": b"x" * 3_000_000}, b"x" * 3_000_000),
        ("PUT", {"content": b"x"}, b"x"),
        ("PATCH", {"content": "text", "headers": {"Content-Type": "text/plain"}}, b"text"),
    ],
    ids=["GET", "DELETE", "empty POST", "json", "form", "large", "PUT", "PATCH"],
)
async def test_requests_are_those_of_httpx(
    family: ModuleType, method: str, arguments: dict[str, Any], body: bytes | None
) -> None:
    """Line, headers and body are the same as with httpx's own transport: nothing added, nothing doubled."""
    seen = []
    for make in (fast, lambda family: family.AsyncClient()):
        async with raw_server() as server, make(family) as client:
            await client.request(method, f"{server.url}/p%20a/th?q=1%2F2&x=%C3%A9", **arguments)
            asked = server.asked[0]
            headers = [(name.lower(), value) for name, value in asked.headers if name.lower() != "host"]
            if method == "DELETE":  # aiohttp says that there is no body; RFC 9110, section 8.6, leaves it open
                headers = [pair for pair in headers if pair != ("content-length", "0")]
            seen.append((asked.line, sorted(headers), asked.body))
    assert seen[0] == seen[1]
    if body is not None:
        assert seen[0][2] == body


async def test_headers_that_were_taken_away_stay_away(family: ModuleType) -> None:
    """Neither aiohttp's User-Agent nor its Accept takes the place of one that the user removed."""
    async with raw_server() as server, fast(family) as client:
        for name in ("User-Agent", "Accept", "Accept-Encoding"):
            del client.headers[name]
        await client.get(server.url)
        await client.post(server.url, content=b"x")
    for asked in server.asked:
        assert not {"user-agent", "accept", "accept-encoding", "content-type"} & {
            name.lower() for name, _ in asked.headers
        }


async def test_repeated_and_odd_headers(make: Callable[..., Any]) -> None:
    """A header that is given twice is sent twice, and UTF-8 as it is."""
    async with raw_server() as server, make() as client:
        await client.get(server.url, headers=[("X-A", "1"), ("X-A", "2"), ("X-B", "grün".encode())])
    assert server.asked[0].all("x-a") == ["1", "2"]
    assert server.asked[0].all("x-b") == ["grün"]


@pytest.mark.parametrize("length", [None, "6"])
async def test_an_upload_that_comes_by_and_by(make: Callable[..., Any], length: str | None) -> None:
    """A generator's body arrives whole, with its length if it is told and else in chunks."""
    headers = {} if length is None else {"Content-Length": length}
    async with raw_server() as server, make() as client:
        await client.post(server.url, content=pieces(b"abc", b"", b"def"), headers=headers)
    asked = server.asked[0]
    assert asked.body == b"abcdef"
    framing = asked.all("content-length"), asked.all("transfer-encoding")
    assert framing == (([], ["chunked"]) if length is None else ([length], []))


async def test_a_body_that_cannot_be_read(make: Callable[..., Any]) -> None:
    """What the user's own generator raises comes out as it is."""

    async def broken() -> AsyncIterator[bytes]:
        yield b"abc"
        raise OSError("the user's disk")

    async with raw_server() as server, make() as client:
        with pytest.raises(OSError, match="the user's disk"):
            await client.post(server.url, content=broken())
        assert (await client.get(server.url)).status_code == 200


# What comes back


async def test_a_response(make: Callable[..., Any], family: ModuleType) -> None:
    """A response says what httpx's does."""
    async with raw_server() as server, make() as client:
        response = await client.get(f"{server.url}/a")
    assert response.json() == {"a": "é"}
    assert (response.status_code, response.reason_phrase, response.http_version) == (200, "OK", "HTTP/1.1")
    assert (response.is_closed, response.is_stream_consumed, response.num_bytes_downloaded) == (True, True, 11)
    assert response.elapsed.total_seconds() > 0
    assert str(response.url) == str(response.request.url) == f"{server.url}/a"
    assert await response.aread() == response.content
    assert response.raise_for_status() is response
    again = pickle.loads(pickle.dumps(response))
    assert (again.json(), again.headers, again.url) == (response.json(), response.headers, response.url)
    assert type(again) is family.Response


@pytest.mark.parametrize(
    ("answer", "content"),
    [
        (saying("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n3\nabc\n0\n\n"), b"abc"),
        (saying("HTTP/1.0 200 OK\n\nabc", close=True), b"abc"),
        (saying("HTTP/1.1 200 OK\nContent-Length: 0\n\n"), b""),
        (EMPTY, b""),
        (saying("HTTP/1.1 304 Not Modified\n\n"), b""),
        (
            saying(
                b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s"
                % (len(gzip.compress(b"abc" * 99, mtime=0)), gzip.compress(b"abc" * 99, mtime=0))
            ),
            b"abc" * 99,
        ),
        (saying(f"HTTP/1.1 200 OK\nX-Long: {'x' * 20_000}\nContent-Length: 3\n\nabc"), b"abc"),
    ],
    ids=["chunked", "until close", "empty", "204", "304", "gzip", "a long header"],
)
async def test_bodies(make: Callable[..., Any], answer: Any, content: bytes) -> None:
    """Every way to end a body, and to encode it."""
    async with raw_server(answer) as server, make() as client:
        assert (await client.get(server.url)).content == content
        async with client.stream("GET", server.url) as response:
            assert b"".join([chunk async for chunk in response.aiter_bytes()]) == content


async def test_head(make: Callable[..., Any]) -> None:
    """The length that a HEAD is told is not waited for."""
    async with raw_server(saying("HTTP/1.1 200 OK\nContent-Length: 99\n\n")) as server, make() as client:
        assert (await client.head(server.url)).headers["Content-Length"] == "99"


async def test_a_stream_that_is_left_early(make: Callable[..., Any]) -> None:
    """The connection is closed, and the client goes on."""
    long = saying(f"HTTP/1.1 200 OK\nContent-Length: 1000000\n\n{'x' * 100_000}")
    async with raw_server(long) as server, make() as client:
        async with client.stream("GET", server.url) as response:
            async for _ in response.aiter_raw():
                break
        assert response.is_closed
        async with client.stream("GET", server.url) as response:
            assert response.status_code == 200
        assert server.connections == 2


async def test_connections_are_kept(make: Callable[..., Any]) -> None:
    """One after the other, requests go over one connection."""
    async with raw_server() as server, make() as client:
        for _ in range(5):
            await client.get(server.url)
        async with client.stream("GET", server.url) as response:
            await response.aread()
        await client.post(server.url, json={})
    assert server.connections == 1


async def test_cookies_of_the_bare_client(make: Callable[..., Any]) -> None:
    """On its own the client has the one jar that httpx has; two cookies at once are two."""
    answer = saying("HTTP/1.1 200 OK\nSet-Cookie: a=1; Path=/\nSet-Cookie: b=2; Path=/\nContent-Length: 0\n\n")
    async with raw_server(answer) as server, make() as client:
        response = await client.get(server.url)
        assert dict(response.cookies) == {"a": "1", "b": "2"}
        await client.get(server.url)
    assert server.asked[1].all("cookie") == ["a=1; b=2"]


async def test_redirects(make: Callable[..., Any]) -> None:
    """Redirects are httpx's: followed if asked, with the history, and without the token to another origin."""
    async with raw_server() as other:

        async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
            await saying(f"HTTP/1.1 302 Found\nLocation: {other.url}/there\nContent-Length: 0\n\n")(asked, writer)

        async with raw_server(answer) as server, make() as client:
            assert (await client.get(server.url)).has_redirect_location
            headers = {"Authorization": SECRET}
            response = await client.get(server.url, headers=headers, follow_redirects=True)
            assert [one.status_code for one in response.history] == [302]
    assert other.asked[0].line == "GET /there HTTP/1.1"
    assert other.asked[0].all("authorization") == []


async def test_hooks_mounts_and_logging(
    make: Callable[..., Any], family: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    """Event hooks run, also one that reads the body; a mount takes its URLs; httpx's line in the log stays."""
    seen = []

    async def on_request(request: Any) -> None:
        seen.append(request.method)

    async def on_response(response: Any) -> None:
        seen.append(await response.aread())

    mounts = {"all://mounted.invalid": family.MockTransport(lambda _: family.Response(418))}
    hooks = {"request": [on_request], "response": [on_response]}
    async with raw_server() as server, make(event_hooks=hooks, mounts=mounts) as client:
        assert (await client.get("http://mounted.invalid/")).status_code == 418
        with caplog.at_level(logging.INFO, logger=family.__name__):
            response = await client.get(server.url)
    assert seen == ["GET", b"", "GET", '{"a": "é"}'.encode()]
    assert response.elapsed.total_seconds() > 0
    assert any("HTTP Request: GET" in record.getMessage() for record in caplog.records)


# Time


async def hang(_asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
    await asyncio.sleep(3_600)


async def say_nothing(_asked: Asked, _writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3_600)


@pytest.mark.parametrize("answer", [say_nothing, hang], ids=["headers", "body"])
async def test_read_timeout(make: Callable[..., Any], family: ModuleType, answer: Any) -> None:
    """A server that falls silent is a ReadTimeout, before its headers and within its body."""
    async with raw_server(answer) as server, make(timeout=0.1) as client:
        with pytest.raises(family.ReadTimeout) as caught:
            await client.get(server.url)
    assert str(caught.value.request.url) == server.url


async def test_pool_timeout(make: Callable[..., Any], family: ModuleType) -> None:
    """Who waits too long for a connection is told PoolTimeout; the others go on."""
    limits = family.Limits(max_connections=1)
    async with raw_server(say_nothing) as server, make(limits=limits) as client:
        first = asyncio.create_task(client.get(server.url, timeout=30.0))
        while not server.asked:  # noqa: ASYNC110 - a server has no event for it
            await asyncio.sleep(0.001)
        with pytest.raises(family.PoolTimeout):
            await client.get(server.url, timeout=family.Timeout(5.0, pool=0.05))
        first.cancel()


async def test_write_timeout(make: Callable[..., Any], family: ModuleType) -> None:
    """A server that takes nothing more of a long body is a WriteTimeout."""
    listener = socket.create_server(("127.0.0.1", 0))
    with listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with make(timeout=family.Timeout(5.0, write=0.1)) as client:
            with pytest.raises(family.WriteTimeout):
                await client.post(url, content=b"x" * 20_000_000)


async def test_connect_timeout(make: Callable[..., Any], family: ModuleType) -> None:
    """A host that does not even answer the first packet is a ConnectTimeout."""
    with socket.socket() as listener, socket.socket() as filler:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        filler.setblocking(False)
        others = [socket.socket() for _ in range(8)]
        for other in others:
            other.setblocking(False)
            other.connect_ex(listener.getsockname())
        async with make(timeout=family.Timeout(5.0, connect=0.1)) as client:
            with pytest.raises(family.ConnectTimeout):
                await client.get(f"http://127.0.0.1:{listener.getsockname()[1]}")
        for other in others:
            other.close()


async def test_a_slow_upload_is_no_read_timeout(make: Callable[..., Any]) -> None:
    """The time that the server has to answer begins when the body has been sent."""

    async def slow() -> AsyncIterator[bytes]:
        for _ in range(4):
            await asyncio.sleep(0.05)
            yield b"x"

    async with raw_server() as server, make(timeout=0.1) as client:
        assert (await client.post(server.url, content=slow())).status_code == 200
    assert server.asked[0].body == b"xxxx"


# Failures


def everything_said(error: BaseException | None) -> str:
    said = []
    while error is not None:
        said += [repr(error), str(error), *traceback.format_exception(error)]
        error = error.__cause__ or error.__context__
    return "".join(said)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (saying("", close=True), "RemoteProtocolError"),
        (saying("garbage\n\n", close=True), "RemoteProtocolError"),
        (saying("HTTP/1.1 200 OK\nContent-Length: 9\n\nabc", close=True), "RemoteProtocolError"),
        (saying("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n9\nabc", close=True), "RemoteProtocolError"),
    ],
    ids=["no answer", "garbage", "cut short", "cut short, chunked"],
)
async def test_broken_answers(make: Callable[..., Any], family: ModuleType, answer: Any, name: str) -> None:
    """What is no HTTP answer, or half of one, is the error that httpx raises, and shows no token."""
    async with raw_server(answer) as server, make() as client:
        with pytest.raises(getattr(family, name)) as caught:
            await client.post(server.url, headers={"Authorization": SECRET}, json={})
    assert caught.value.request.method == "POST"
    assert SECRET not in everything_said(caught.value)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://127.0.0.1:1/", "ConnectError"),
        ("http://nobody.invalid/", "ConnectError"),
        ("ftp://127.0.0.1/", "UnsupportedProtocol"),
        ("/relative", "UnsupportedProtocol"),
    ],
)
async def test_nowhere_to_go(make: Callable[..., Any], family: ModuleType, url: str, name: str) -> None:
    """No such port, no such host, no such protocol."""
    async with make() as client:
        with pytest.raises(getattr(family, name)) as caught:
            await client.get(url, headers={"Authorization": SECRET})
    assert SECRET not in everything_said(caught.value)


async def test_a_header_with_a_newline(client: Any, family: ModuleType) -> None:
    """It is a LocalProtocolError, sends nothing and shows nothing."""
    async with raw_server() as server:
        with pytest.raises(family.LocalProtocolError) as caught:
            await client.get(server.url, headers={"Authorization": SECRET, "X-A": "b\r\nX-Evil: 1"})
        assert server.asked == []
    assert SECRET not in everything_said(caught.value)


async def test_no_slot_is_lost(family: ModuleType) -> None:
    """After failures and cancellations of every kind two connections are still two."""
    limits = family.Limits(max_connections=2)
    async with raw_server(say_nothing) as silent, raw_server() as server, fast(family, limits=limits) as client:
        for number in range(12):
            task = asyncio.create_task(client.get(silent.url, timeout=0.02 if number % 3 else None))
            await asyncio.sleep(0.005)
            if number % 3 == 0:
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for _ in range(4):
            with pytest.raises(family.ConnectError):
                await client.get("http://127.0.0.1:1/")
        responses = await asyncio.gather(*(client.get(server.url) for _ in range(20)))
    assert [response.status_code for response in responses] == [200] * 20
    assert server.most_open <= 2


async def test_cancelled_within_the_body(client: Any) -> None:
    """A request that is cancelled while its body comes closes its connection, and the next one works."""
    async with raw_server(hang) as server, raw_server() as other:
        task = asyncio.create_task(client.get(server.url))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await client.get(other.url)).status_code == 200


# Proxies and TLS


async def test_a_proxy_for_plain_http(family: ModuleType, make: Callable[..., Any]) -> None:
    """The proxy is asked for the whole URL and told the password once; the environment's is used, except where not."""
    async with raw_server() as proxy, make(proxy=proxy.url.replace("//", "//user:pass@")) as client:
        await client.get("http://shop.invalid/cart")
    asked = proxy.asked[0]
    assert asked.line == "GET http://shop.invalid/cart HTTP/1.1"
    assert asked.all("host") == ["shop.invalid"]
    assert asked.all("proxy-authorization") == ["Basic dXNlcjpwYXNz"]


async def test_the_environments_proxy(make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY is heeded, and so is NO_PROXY."""
    async with raw_server() as proxy, raw_server() as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        async with make() as client:
            await client.get("http://shop.invalid/cart")
            await client.get(server.url)
        assert len(proxy.asked) == len(server.asked) == 1


async def test_a_tunnel(family: ModuleType, make: Callable[..., Any]) -> None:
    """For https the proxy is asked for a tunnel, with the password; the server sees none of it."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    connects: list[str] = []

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        connects.append(head)
        host, _, port = head.split()[1].partition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65_536):
                sink.write(data)
            sink.close()

        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer), return_exceptions=True)

    async with raw_server(context=context) as server, await asyncio.start_server(tunnel, "127.0.0.1", 0) as proxy:
        url = f"http://user:pass@127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
        async with make(proxy=url, verify=trusting) as client:
            assert (await client.get(f"{server.url}/cart", headers={"Authorization": SECRET})).status_code == 200
    assert "proxy-authorization: basic dxnlcjpwyxnz" in connects[0].lower()
    assert SECRET not in connects[0]
    assert server.asked[0].all("proxy-authorization") == []


async def test_certificates(family: ModuleType, make: Callable[..., Any]) -> None:
    """A certificate that nobody vouches for is a ConnectError; with an SSL context that does, it works."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with raw_server(context=context) as server:
        async with make() as client:
            with pytest.raises(family.ConnectError, match=r"(?i)certificate"):
                await client.get(server.url)
        async with make(verify=trusting) as client:
            assert (await client.get(server.url)).status_code == 200


@pytest.mark.parametrize(
    "arguments",
    [
        {"http2": True},
        {"http1": False},
        {"proxy": "socks5://127.0.0.1:1"},
        {"proxy": httpx.Proxy("https://127.0.0.1:1", ssl_context=ssl.create_default_context())},
    ],
    ids=["HTTP/2", "no HTTP/1", "SOCKS", "TLS to the proxy"],
)
def test_what_aiohttp_cannot_do(arguments: dict[str, Any]) -> None:
    """It is said at once, with what can."""
    with pytest.raises(ConfigurationError, match=r"httpx\.AsyncClient"):
        aiohttp_client(**arguments)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names what to install."""
    _aiohttp_client._client_class.cache_clear()
    for module, extra in (("httpx2", "httpx2"), ("aiohttp", "aiohttp")):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(ImportError, match=rf"wixvisitor\[{extra}\]"):
            aiohttp_client(httpx2=module == "httpx2")


# Event loops, and the session's own


def test_one_loop_after_another(family: ModuleType) -> None:
    """A client serves one event loop after another, and closes with `aclose`, after which it is closed."""
    client = fast(family)

    async def ask() -> int:
        async with raw_server() as server:
            status = (await client.get(server.url)).status_code
            await client._transport._session.close()  # so that the loop ends without an open socket
            return int(status)

    assert [asyncio.run(ask()) for _ in range(3)] == [200] * 3
    asyncio.run(client.aclose())
    assert client.is_closed
    with pytest.raises(RuntimeError, match="closed"):
        asyncio.run(ask())


async def test_two_loops_at_once(client: Any) -> None:
    """In two loops at once it cannot be used, and says what to do."""
    async with raw_server() as server:
        await client.get(server.url)
        with pytest.raises(RuntimeError, match="another event loop; make one for each"):
            await asyncio.to_thread(asyncio.run, client.get(server.url))


def test_trio(family: ModuleType) -> None:
    """On trio it says what to use instead."""
    with pytest.raises(RuntimeError, match=r"needs asyncio; on trio use httpx\.AsyncClient"):
        trio.run(fast(family).get, "http://127.0.0.1:1/")


@pytest.mark.parametrize("kind", [VisitorSession, VisitorPool])
def test_a_client_for_each_loop(
    still: FakeWix, client_id: str, family: ModuleType, kind: type[VisitorSession | VisitorPool]
) -> None:
    """A session or pool that is given the function makes a client in each loop, and closes it."""
    made: list[Any] = []

    def make() -> Any:
        made.append(fast(family))
        return made[-1]

    async def visit() -> str:
        async with still.serve() as url:
            one = kind(client_id, client=make, base_url=url, clock=still.now)
            for _ in range(2):
                async with one:
                    session = await one.session("anna") if isinstance(one, VisitorPool) else one
                    await asyncio.gather(*(session.get("/ecom/v2/carts/current") for _ in range(5)))
            return session.get_tokens().refresh_token.value

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        visitors = {asyncio.run(visit()) for _ in range(2)}
    assert len(visitors) == 2
    assert len(made) == 4
    assert all(client.is_closed for client in made)


async def test_a_client_of_the_users_stays_open(still: FakeWix, client_id: str, client: Any) -> None:
    """A client that is handed over as one is never closed here."""
    async with still.serve() as url, VisitorSession(client_id, client=client, base_url=url, clock=still.now) as session:
        await session.get("/ecom/v2/carts/current")
    assert not client.is_closed


async def test_a_function_that_makes_something_else(client_id: str) -> None:
    """It is a ConfigurationError, when the client is needed."""
    session = VisitorSession(client_id, client=lambda: "no client")  # type: ignore[arg-type, return-value]
    with pytest.raises(ConfigurationError, match=r"client: expected an httpx\.AsyncClient"):
        await session.get("/")


@pytest.mark.parametrize("client", [None, aiohttp_client], ids=["own", "aiohttp_client"])
async def test_certificates_that_cannot_be_read(
    client: Any, client_id: str, visitor: Tokens, still: FakeWix, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without its certificates no client can be made: a request fails as httpx's do, and so does a token request."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    async with VisitorSession(client_id, client=client) as session:
        with pytest.raises(TokenRequestError, match="no client could be made"):
            await session.auth_headers()
    async with VisitorSession(client_id, client=client, tokens=visitor, clock=still.now) as session:
        with pytest.raises(httpx.ConnectError, match="no client could be made"):
            await session.get("/a")
