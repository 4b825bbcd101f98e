"""What every web integration does, tried with the frameworks themselves."""

from __future__ import annotations

import json
import logging
from http.cookies import SimpleCookie
from typing import Any

import anyio
import pytest

from tests.web.shops import APPS, ASGI_APPS, DOCUMENT, body_of
from wixvisitor import ConfigurationError

pytestmark = pytest.mark.anyio


async def test_a_browser_stays_one_visitor(open_shop, framework, form):
    """Whatever a browser asks for, over two expiries, it is one visitor; another browser is another."""
    async with open_shop(framework, cookie=form) as town, town.browsers() as anna, town.browsers() as ben:
        first = body_of(await anna.get("/cart"))
        other = body_of(await ben.get("/cart"))
        for _ in range(2):
            town.fake.advance(5 * 3600)
            assert body_of(await anna.get("/cart")) == first
            assert body_of(await ben.get("/cart")) == other
        assert first["who"] != other["who"]
        assert town.visitors == 2


@pytest.mark.parametrize(
    ("path", "status"), [("/cart", 200), ("/redirect", None), ("/refused", None), ("/boom", 500), ("/stream", 200)]
)
@pytest.mark.parametrize("form", ["id", "sealed"])
async def test_the_cookie_is_on_every_kind_of_answer(open_shop, framework, form, path, status):
    """A normal answer, a redirect, an error of the framework, an unhandled one and a stream all keep the visitor."""
    if (form, path) == ("sealed", "/stream"):
        path = "/cart"  # a stream that asks late cannot be kept: test_sealed_cookies_and_streams
    async with open_shop(framework, cookie=form) as town, town.browsers() as browser:
        response = await browser.get(path)
        assert status in (None, response.status_code)
        cookies = SimpleCookie(response.headers["Set-Cookie"])
        assert list(cookies) == [town.cookie_name]
        who = body_of(await browser.get("/cart"))["who"]
        assert body_of(await browser.get("/cart"))["who"] == who
        assert town.visitors == 1


async def test_lazy(open_shop, framework):
    """Health checks make no visitor, store nothing and get no cookie; nor does who only looks make one."""
    async with open_shop(framework) as town, town.browsers() as browser:
        for _ in range(20):
            response = await browser.get("/health")
            assert "Set-Cookie" not in response.headers
            assert "Cookie" not in response.headers.get("Vary", "")
        assert body_of(await browser.get("/looked")) == {"role": "none"}
        assert town.visitors == 0
        assert town.fake.calls == []
        assert "0 visitors" in repr(town.shop.pool._settings.storage)


async def test_parallel_first_calls(open_shop, framework, form):
    """The document reserves an id, so that the six calls its scripts make at once are one visitor with one mint."""
    async with open_shop(framework, cookie=form) as town, town.browsers() as browser:
        await browser.get("/page", headers=DOCUMENT)
        gate = town.fake.hold(grant_type="anonymous")
        answers: list[Any] = []

        async def call() -> None:
            answers.append(body_of(await browser.get("/cart", headers={"Sec-Fetch-Dest": "empty"})))

        async with anyio.create_task_group() as group:
            for _ in range(6):
                group.start_soon(call)
            await gate.wait_for(1)
            gate.release()
        assert len({answer["who"] for answer in answers}) == 1
        assert town.visitors == 1
        assert body_of(await browser.get("/cart")) == answers[0]


async def test_a_document_without_any_call(open_shop, framework):
    """A document that never looks at the visitor reserves an id, and makes nobody."""
    async with open_shop(framework) as town, town.browsers() as browser:
        response = await browser.get("/page", headers=DOCUMENT)
        assert town.cookie_name in response.headers["Set-Cookie"]
        again = await browser.get("/page", headers=DOCUMENT)
        assert "Set-Cookie" not in again.headers
        assert town.visitors == 0


async def test_headers_for_caches(open_shop, framework):
    """Who was looked at varies by cookie; an answer with a cookie is in no cache."""
    async with open_shop(framework) as town, town.browsers() as browser:
        first = await browser.get("/cart")
        assert "Cookie" in first.headers["Vary"]
        assert first.headers["Cache-Control"] == "private, no-store"
        second = await browser.get("/cart")
        assert "Cookie" in second.headers["Vary"]
        assert "Cache-Control" not in second.headers


async def test_no_cookie_on_a_public_answer(open_shop, framework, caplog):
    """An answer that shared caches keep carries no cookie, and the log says so."""
    async with open_shop(framework) as town, town.browsers() as browser:
        response = await browser.get("/public")
        assert "Set-Cookie" not in response.headers
        assert response.headers["Cache-Control"] == "public, max-age=60"
        errors = [
            record for record in caplog.records if record.name == "wixvisitor" and record.levelno >= logging.ERROR
        ]
        assert len(errors) == 1
        assert "may be stored by shared caches" in errors[0].getMessage()


async def test_a_late_first_use_fails_loudly(open_shop, framework, form):
    """Who is first asked for when the response has started cannot be kept: an error, and no visitor is made."""
    async with open_shop(framework, cookie=form) as town, town.browsers() as browser:
        assert (await browser.get("/late")).text == "begin failed"
        (error,) = town.shop.failures
        assert isinstance(error, ConfigurationError)
        assert "before the response" in str(error)
        assert town.visitors == 0


async def test_a_late_use_of_somebody_known(open_shop, framework, form):
    """Who has a cookie already may be asked for at any time."""
    async with open_shop(framework, cookie=form) as town, town.browsers() as browser:
        known = body_of(await browser.get("/cart"))
        text = (await browser.get("/late")).text
        assert json.loads(text.removeprefix("begin ")) == known


async def test_a_stream_that_asks_late(open_shop, framework):
    """An id that was looked at in time is kept, so that its visitor may be made within the stream."""
    async with open_shop(framework) as town, town.browsers() as browser:
        text = (await browser.get("/stream")).text
        assert json.loads(text.removeprefix("begin ")) == body_of(await browser.get("/cart"))
        assert town.visitors == 1


@pytest.mark.parametrize("form", ["sealed", "wixSession"])
async def test_sealed_cookies_and_streams(open_shop, framework, form):
    """Tokens that live in the cookie cannot be kept once a stream has started: an error, and no visitor is made."""
    async with open_shop(framework, cookie=form) as town, town.browsers() as browser:
        assert (await browser.get("/stream")).text == "begin failed"
        assert isinstance(town.shop.failures[0], ConfigurationError)
        assert town.visitors == 0
        body_of(await browser.get("/cart"))
        assert (await browser.get("/stream")).text != "begin failed"
        assert town.visitors == 1


async def test_login_and_logout_change_the_id(open_shop, framework, form, member_of):
    """A copy of the cookie from before the login is the visitor from before, not the member; logout ends the member."""
    async with open_shop(framework, cookie=form) as town, town.browsers() as browser:
        before = body_of(await browser.get("/cart"))
        (visitor_id,) = town.fake.visitors
        town.shop.member = member_of(visitor_id)
        async with town.browsers(cookies=dict(browser.cookies)) as thief:
            member = body_of(await browser.get("/login"))
            assert member["member"]
            assert body_of(await browser.get("/cart")) == member
            assert body_of(await thief.get("/cart")) == before
        async with town.browsers(cookies=dict(browser.cookies)) as copy:
            await browser.get("/logout")
            after = body_of(await browser.get("/cart"))
            assert not after["member"]
            assert after["who"] not in (before["who"], member["who"])
            if form == "id":  # who keeps the tokens in the cookie cannot take a copy back, and the docs say so
                assert not body_of(await copy.get("/cart"))["member"]


@pytest.mark.parametrize("framework", [name for name in APPS if name != "django"])  # which has no websockets itself
async def test_websocket(open_shop, framework):
    """The handshake's answer carries the cookie."""
    async with open_shop(framework) as town:
        if framework == "aiohttp":
            name = await _aiohttp_handshake(town)
        else:
            name = await _asgi_handshake(town.app)
        assert name == town.cookie_name
        assert town.visitors == 1


async def _asgi_handshake(app: Any) -> str:
    sent: list[Any] = []
    scope = {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "wss",
        "path": "/ws",
        "raw_path": b"/ws",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"shop.example")],
        "client": ("127.0.0.1", 1),
        "server": ("shop.example", 443),
        "subprotocols": [],
        "state": {},
        "extensions": {},
    }
    is_sent = anyio.Event()
    received = [{"type": "websocket.connect"}]

    async def receive() -> Any:
        if received:
            return received.pop()
        await is_sent.wait()
        return {"type": "websocket.disconnect", "code": 1000}

    async def send(message: Any) -> None:
        sent.append(message)
        if message["type"] == "websocket.send":
            is_sent.set()

    await app(scope, receive, send)
    accept = next(message for message in sent if message["type"] == "websocket.accept")
    return next(iter(SimpleCookie(dict(accept["headers"])[b"set-cookie"].decode())))


async def _aiohttp_handshake(town: Any) -> str:
    import aiohttp

    async with town.browsers() as browser, aiohttp.ClientSession() as session:
        async with session.ws_connect(browser.base_url.join("/ws").__str__()) as socket:
            assert (await socket.receive_json())["status"] == 404
            return next(iter(socket._response.cookies))


async def test_consent(open_shop, framework):
    """Without consent there is no cookie and no record; with it, from then on, both."""
    agreed = False
    async with open_shop(framework, consent=lambda request: agreed) as town, town.browsers() as browser:
        response = await browser.get("/cart", headers=DOCUMENT)
        assert body_of(response)["status"] == 404
        assert "Set-Cookie" not in response.headers
        assert "0 visitors" in repr(town.shop.pool._settings.storage)
        agreed = True
        who = body_of(await browser.get("/cart"))["who"]
        assert body_of(await browser.get("/cart"))["who"] == who
        assert "1 visitors" in repr(town.shop.pool._settings.storage)


@pytest.mark.parametrize("framework", ASGI_APPS)
@pytest.mark.filterwarnings("ignore:.*SpooledTemporaryFile:pytest.PytestUnraisableExceptionWarning")  # Django leaves it
async def test_a_cancelled_request(open_shop, framework):
    """A handler that is cancelled while it waits leaves its visitor whole."""
    async with open_shop(framework) as town, town.browsers() as browser:
        known = body_of(await browser.get("/cart"))
        town.fake.advance(5 * 3600)
        town.shop.asked = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(browser.get, "/hang")
            await town.shop.asked.wait()
            group.cancel_scope.cancel()
        assert body_of(await browser.get("/cart")) == known
        assert town.visitors == 1
