"""Cookies and secrets of visitors on aiohttp's own client."""

from __future__ import annotations

import asyncio
import gc
import traceback
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from yarl import URL

from tests.constants import CART, SessionMaker
from tests.raw_server import raw_server, saying
from wixvisitor import ConfigurationError, Tokens, VisitorPool, VisitorSession
from wixvisitor.aiohttp import client_middleware
from wixvisitor.testing import FakeWix

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_backoff")]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def shared(**arguments: Any) -> AsyncGenerator[aiohttp.ClientSession]:
    """A client that stores no cookies."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), **arguments) as http:
        yield http


async def get(http: aiohttp.ClientSession, url: str, session: VisitorSession, **arguments: Any) -> int:
    async with http.get(url, middlewares=(client_middleware(session),), **arguments) as response:
        await response.read()
        return response.status


def sent(fake: FakeWix) -> list[str]:
    return [call.headers.get("cookie", "") for call in fake.api_calls()]


# Cookies


async def test_cookies_of_two_visitors(still: FakeWix, session_of: SessionMaker) -> None:
    """What Wix sets for one visitor is sent with this visitor's requests only."""
    async with still.serve() as url, shared() as http:
        one, two = (session_of(base_url=url) for _ in range(2))
        for name, session in (("one", one), ("two", two)):
            fault = still.set_cookie(f"svSession=of-{name}; Path=/", path=CART)
            await get(http, url + CART, session)
            fault.remove()
        for session in (one, two, one):
            await get(http, url + CART, session)
        async with http.get(url + CART) as response:
            await response.read()
    assert sent(still) == ["", "", "svSession=of-one", "svSession=of-two", "svSession=of-one", ""]
    assert not any(call.headers.get("cookie") for call in still.token_calls())


async def test_cookies_of_two_visitors_at_the_same_time(still: FakeWix, session_of: SessionMaker) -> None:
    """Parallel requests of many visitors through one client keep them apart."""
    async with still.serve() as url, shared() as http:
        sessions = [session_of(base_url=url) for _ in range(10)]
        for number, session in enumerate(sessions):
            fault = still.set_cookie(f"who={number}", path=CART)
            await get(http, url + CART, session)
            fault.remove()
        still.reset_calls()
        await asyncio.gather(*(get(http, url + CART, session) for session in sessions for _ in range(5)))
        expected = {session.get_tokens().access_token.value: f"who={number}" for number, session in enumerate(sessions)}
    assert len(still.api_calls()) == 50
    assert all(call.headers["cookie"] == expected[call.headers["authorization"]] for call in still.api_calls())


async def test_cookies_of_redirects_and_replays(still: FakeWix, session_of: SessionMaker, visitor: Tokens) -> None:
    """A cookie that a redirect or a 401 sets goes with the next hop and with the replay of the same visitor."""
    async with still.serve() as url, shared() as http:
        session = session_of(base_url=url, tokens=visitor)
        still.set_cookie("a=1; Path=/", path="/moved", times=1)
        still.fail(302, headers={"Location": CART}, path="/moved")
        still.set_cookie("b=2; Path=/", path=CART, times=1)
        still.fail(401, path=CART, times=1)
        await get(http, url + "/moved", session)
    assert sent(still) == ["", "a=1", "a=1; b=2"]


async def test_cookies_end_as_wix_says(still: FakeWix, session_of: SessionMaker) -> None:
    """Path, Max-Age and a removal count; another domain's cookie is not kept; values are sent as they came."""
    async with still.serve() as url, shared() as http:
        session = session_of(base_url=url)
        for cookie in (
            "path=1; Path=/elsewhere",
            "gone=1; Max-Age=0",
            "evil=1; Domain=evil.example",
            'odd="a b,c"; Path=/',
            "eq=a=b==; Path=/",
        ):
            fault = still.set_cookie(cookie, path=CART)
            await get(http, url + CART, session)
            fault.remove()
        await get(http, url + CART, session)
    assert sorted(sent(still)[-1].split("; ")) == ["eq=a=b==", 'odd="a b,c"']


async def test_cookies_of_a_foreign_origin(still: FakeWix, session_of: SessionMaker) -> None:
    """They are not kept, and Wix's are not sent there."""
    foreign = FakeWix(clock=still.now)
    async with still.serve() as url, foreign.serve() as elsewhere, shared() as http:
        session = session_of(base_url=url)
        still.set_cookie("wix=1; Path=/", path=CART, times=1)
        foreign.set_cookie("foreign=1; Path=/")
        await get(http, url + CART, session)
        await get(http, elsewhere + CART, session)
        await get(http, url + CART, session)
    assert sent(still)[-1] == "wix=1"
    assert sent(foreign) == [""]


async def test_the_callers_cookies(still: FakeWix, session_of: SessionMaker) -> None:
    """The caller's cookies are sent with the request that they are given with, and win over Wix's of the same name."""
    async with still.serve() as url, shared() as http:
        session = session_of(base_url=url)
        fault = still.set_cookie("own=wix; Path=/", path=CART)
        also = still.set_cookie("more=wix; Path=/", path=CART)
        await get(http, url + CART, session, cookies={"own": "1"})
        fault.remove()
        also.remove()
        await get(http, url + CART, session, headers={"Cookie": "own=2; x=y"})
        await get(http, url + CART, session)
    assert sent(still)[:2] == ["own=1", "own=2; x=y; more=wix"]
    assert sorted(sent(still)[2].split("; ")) == ["more=wix", "own=wix"]


@pytest.mark.parametrize("change", ["login", "forgotten", "replaced", "renewed"])
async def test_cookies_stay_with_their_visitor(
    still: FakeWix, client_id: str, visitor: Tokens, member: Tokens, change: str
) -> None:
    """They are gone when a member or a new visitor takes the place, and stay when the same visitor is renewed."""
    async with still.serve() as url, shared() as http:
        pool = VisitorPool(client_id, client=still.client(base_url=url), base_url=url, clock=still.now)
        session = await pool.session("anna")
        await session.set_tokens(visitor)
        still.set_cookie("of=visitor; Path=/", path=CART, times=1)
        await get(http, url + CART, session)
        if change == "login":
            await session.set_tokens(member)
        elif change == "forgotten":
            await pool.forget("anna")
        elif change == "replaced":
            still.refuse_refresh_token(visitor.refresh_token.value)
            still.revoke_access_token(visitor.access_token.value)
        else:
            await session.renew_token()
        await get(http, url + CART, session)
        still.set_cookie("new=1; Path=/", path=CART, times=1)
        for _ in range(2):
            await get(http, url + CART, session)
        await pool.aclose()
    stays = ["of=visitor"] if change == "renewed" else []
    assert sent(still)[-2:] == ["".join(stays), "; ".join([*stays, "new=1"])]


async def test_an_answer_that_a_middleware_fetched_elsewhere(still: FakeWix, session_of: SessionMaker) -> None:
    """Of an answer of a foreign origin, which another middleware went to, nothing is kept; its 401 renews nothing."""
    foreign = FakeWix(clock=still.now)
    async with still.serve() as url, foreign.serve() as elsewhere, shared() as http:
        session = session_of(base_url=url)
        foreign.set_cookie("foreign=1; Path=/", times=None)
        foreign.add_header("X-Wix-Consistent", "foreign", times=None)

        async def leading_away(_: aiohttp.ClientRequest, __: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
            return await http.get(elsewhere + CART)

        async with http.get(url + CART, middlewares=(client_middleware(session), leading_away)) as response:
            assert response.status == 401
        await get(http, url + CART, session)
    assert sent(still) == [""]
    assert "x-wix-consistent" not in still.api_calls()[0].headers
    assert len(still.token_calls()) == 1


async def test_cookies_of_a_late_answer(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, member: Tokens
) -> None:
    """What Wix answers to the visitor during a login does not touch the member's cookies."""
    async with still.serve() as url, shared() as http:
        session = session_of(base_url=url, tokens=visitor)
        still.set_cookie("of=visitor; Path=/", path=CART, times=1)
        gate = still.hold(path=CART, times=1)
        late = asyncio.create_task(get(http, url + CART, session))
        await gate.wait_for(1)
        await session.set_tokens(member)
        still.set_cookie("of=member; Path=/", path="/x", times=1)
        await get(http, url + "/x", session)
        gate.release()
        await late
        await get(http, url + CART, session)
    assert sent(still) == ["", "", "of=member"]


# A real jar


async def test_a_real_jar_with_one_visitor(still: FakeWix, session_of: SessionMaker) -> None:
    """It works as aiohttp's jars do, and no cookie is sent twice."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with still.serve() as url, aiohttp.ClientSession(cookie_jar=jar) as http:
        session = session_of(base_url=url)
        still.set_cookie("a=1; Path=/", path=CART, times=None)
        for _ in range(3):
            await get(http, url + CART, session)
        assert [cookie.key for cookie in jar] == ["a"]
        jar.clear()
        await get(http, url + CART, session)
    assert sent(still) == ["", "a=1", "a=1", ""]


async def test_a_real_jar_with_two_visitors(still: FakeWix, session_of: SessionMaker) -> None:
    """The second visitor's request is a ConfigurationError that names the cure; nothing is sent, the first goes on."""
    async with still.serve() as url, aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        one, two = (session_of(base_url=url) for _ in range(2))
        await get(http, url + CART, one)
        for _ in range(2):
            with pytest.raises(ConfigurationError, match=r"cookie_jar=aiohttp\.DummyCookieJar\(\)"):
                await get(http, url + CART, two)
        await get(http, url + CART, one)
    assert len(still.api_calls()) == 2
    assert len(still.token_calls()) == 1


async def test_a_real_jar_remembers_who_is_gone(still: FakeWix, session_of: SessionMaker) -> None:
    """The jar still holds the cookies of a visitor whose session is gone, so another one is refused all the same."""
    async with still.serve() as url, aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        await get(http, url + CART, session_of(base_url=url))
        gc.collect()
        with pytest.raises(ConfigurationError):
            await get(http, url + CART, session_of(base_url=url))


async def test_a_real_jar_and_a_pools_visitor(still: FakeWix, client_id: str) -> None:
    """A visitor of a pool that was dropped and is loaded again is the same one; another key is another visitor."""
    async with still.serve() as url, aiohttp.ClientSession() as http:
        async with VisitorPool(client_id, client=still.client(base_url=url), base_url=url, clock=still.now) as pool:
            for _ in range(2):
                await get(http, url + CART, await pool.session("anna"))
                gc.collect()
            with pytest.raises(ConfigurationError):
                await get(http, url + CART, await pool.session("bob"))


async def test_a_jar_of_the_owners_that_stores_nothing(still: FakeWix, session_of: SessionMaker) -> None:
    """A class derived from DummyCookieJar serves several visitors, and its cookies go with all of their requests."""

    class Fixed(aiohttp.DummyCookieJar):
        """Sends one cookie."""

        def filter_cookies(self, request_url: URL) -> Any:
            return {"fixed": "1"}

    async with still.serve() as url, aiohttp.ClientSession(cookie_jar=Fixed()) as http:
        for _ in range(2):
            await get(http, url + CART, session_of(base_url=url))
    assert sent(still) == ["fixed=1"] * 2


# Secrets


def texts_of(error: BaseException | None) -> Iterator[str]:
    """What printing an exception, or an error reporter, shows: texts, attributes and local variables."""
    while error is not None:
        yield f"{error} {error!r} {vars(error)!r} {error.args!r}"
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if frame.f_code.co_filename != __file__:
                yield from (f"{local!r} {getattr(local, '__dict__', '')!r}" for local in frame.f_locals.values())
        error = error.__cause__ or error.__context__


async def failing(http: aiohttp.ClientSession, url: str, session: VisitorSession, **arguments: Any) -> BaseException:
    try:
        async with http.get(url, middlewares=(client_middleware(session),), **arguments) as response:
            response.raise_for_status()
            await response.json()
    except BaseException as error:
        return error
    raise AssertionError("it did not fail")


FAILURES: dict[str, tuple[bytes, type[Exception]]] = {
    "status": (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", aiohttp.ClientResponseError),
    "content type": (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1\r\n\r\n<",
        aiohttp.ContentTypeError,
    ),
    "no HTTP": (b"nothing that is HTTP\r\n\r\n", aiohttp.ClientResponseError),
    "endless redirects": (
        b"HTTP/1.1 302 Go\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
        aiohttp.TooManyRedirects,
    ),
    "half a body": (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", aiohttp.ClientPayloadError),
    "nothing": (b"", aiohttp.ServerDisconnectedError),
}


@pytest.mark.parametrize("kind", FAILURES)
async def test_no_failure_shows_a_secret(still: FakeWix, client_id: str, visitor: Tokens, kind: str) -> None:
    """An exception of aiohttp's shows a request's headers; the token, the state and Wix's cookies are not there."""
    answer, expected = FAILURES[kind]
    async with raw_server(saying(answer, close=kind != "endless redirects")) as server, shared() as http:
        said = "X-Wix-Consistent: secret-state\nSet-Cookie: a=secret-cookie"
        async with raw_server(saying(f"HTTP/1.1 200 OK\nContent-Length: 0\n{said}\n\n")) as other:
            session = VisitorSession(
                client_id,
                client=still.client(base_url=server.url),
                tokens=visitor,
                base_url=server.url,
                allowed_origins=[other.url],
                clock=still.now,
            )
            await get(http, other.url, session)
        error = await failing(http, server.url, session)
        assert isinstance(error, expected)
        assert ("cookie", "a=secret-cookie") in [(name.lower(), value) for name, value in server.asked[-1].headers]
        assert server.asked[-1].all("x-wix-consistent") == ["secret-state"]
        assert server.asked[-1].all("authorization") == [visitor.access_token.value]
    shown = "\n".join(texts_of(error))
    for secret in (visitor.access_token.value, visitor.refresh_token.value, "secret-cookie", "secret-state"):
        assert secret not in shown


async def test_a_good_answer_shows_no_secret(still: FakeWix, session_of: SessionMaker, visitor: Tokens) -> None:
    """What a response says of its request is what the caller gave; so does the middleware's repr."""
    async with still.serve() as url, shared() as http:
        session = session_of(tokens=visitor, base_url=url)
        middleware = client_middleware(session)
        async with http.get(url + CART, middlewares=(middleware,), headers={"Authorization": "mine"}) as response:
            assert response.request_info.headers["Authorization"] == "mine"
        assert visitor.access_token.value not in repr(middleware) + str(middleware)
        assert "client_middleware" in repr(middleware)


async def test_a_cancelled_request_shows_no_secret(still: FakeWix, session_of: SessionMaker, visitor: Tokens) -> None:
    """The traceback of a cancellation holds no token, whenever it comes."""
    async with still.serve() as url, shared() as http:
        session = session_of(tokens=visitor, base_url=url)
        for held in (CART, "/oauth2/token"):
            gate = still.hold(path=held)
            task = asyncio.create_task(get(http, url + CART, session, data=b"x" * 100))
            async with asyncio.timeout(5):
                await gate.wait_for(1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
            assert visitor.access_token.value not in "\n".join(texts_of(caught.value))
            gate.release()
            still.revoke_access_token(visitor.access_token.value)
        await session.aclose()


@pytest.mark.parametrize("kind", [aiohttp.ClientConnectionError, OSError, asyncio.CancelledError])
async def test_frames_that_hold_what_was_sent(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, kind: type[BaseException]
) -> None:
    """Frames below the middleware, which may hold the request's bytes, are not in the traceback; the caller's stay."""

    async def sending(request: aiohttp.ClientRequest, _: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        sent_bytes = "".join(request.headers.values())
        raise kind(len(sent_bytes))

    async with shared() as http:
        session = session_of(tokens=visitor)
        with pytest.raises((OSError, aiohttp.ClientError, asyncio.CancelledError)) as caught:
            await http.get("https://www.wixapis.com/x", middlewares=(client_middleware(session), sending))
    error: BaseException | None = caught.value
    frames = []
    while error is not None:
        frames += [frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)]
        error = error.__cause__ or error.__context__
    assert "sending" not in frames
    assert "test_frames_that_hold_what_was_sent" in frames
