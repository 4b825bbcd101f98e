"""The pages about web apps: what their code makes is one visitor for each browser, in every framework."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import tornado.httpserver
import tornado.netutil
import tornado.web
from aiohttp import web
from aiohttp.test_utils import TestServer
from fastapi.testclient import TestClient
from flask import Flask

from tests.constants import CLIENT_ID
from tests.docs.blocks import blocks_of
from tests.docs.django_project import printed_by
from tests.docs.pages import ran, steps
from wixvisitor import VisitorPool
from wixvisitor.cookies import IdCookie
from wixvisitor.storage import FileStorage
from wixvisitor.storage.sealed import SealedStorage
from wixvisitor.testing import FakeWix

FRAMEWORKS = "docs/how-to/frameworks.md"
DEPLOY = "docs/how-to/deploy.md"
SHOP = "https://shop.example"


def test_each_framework_of_the_page_is_one_visitor_for_each_browser(wix: FakeWix) -> None:
    """Every app on the page answers a browser twice as the same visitor, and its readiness probe makes none."""
    served, before = list[str](), None
    for names in steps(FRAMEWORKS):
        app = names.get("app")
        if app is None or app is before:
            continue
        before, known = app, len(wix.visitors)
        served.append(_visit(app))
        assert len(wix.visitors) == known + (served[-1] != "ready"), served
    sections = ["websocket", "asgi", "ready", "asgi"]
    assert served == ["asgi", "asgi", "aiohttp", "asgi", "asgi", "flask", "tornado", *sections]
    known = len(wix.visitors)
    for _ in range(3):
        with TestClient(before, base_url=SHOP) as crawler:  # pyright: ignore[reportArgumentType]
            assert "set-cookie" not in crawler.get("/products").headers
    assert len(wix.visitors) == known + 1


def _visit(app: Any) -> str:
    """Visits the app's cart twice, and returns what kind of app it is."""
    match app:
        case Flask():
            with httpx.Client(transport=httpx.WSGITransport(app), base_url=SHOP) as browser:
                _check(browser.get("/cart"), browser.get("/cart"))
            return "flask"
        case web.Application() | tornado.web.Application():
            asyncio.run(_visit_server(_aiohttp(app) if isinstance(app, web.Application) else _tornado(app)))
            return "aiohttp" if isinstance(app, web.Application) else "tornado"
    with TestClient(app, base_url=SHOP) as browser:
        paths = {route.path for route in getattr(app, "routes", [])}
        if "/live-cart" in paths:
            with browser.websocket_connect("wss://shop.example/live-cart") as socket:
                for _ in range(2):
                    socket.send_text("and now?")
                    assert socket.receive_json()
            return "websocket"
        if "/ready" in paths:
            assert browser.get("/ready").json() == {"store": "reachable", "paused_until": None}
            return "ready"
        _check(browser.get("/cart"), browser.get("/cart"))
        return "asgi"


def _check(first: Any, second: Any) -> None:
    assert (first.status_code, second.status_code) == (200, 200), first.text
    assert "__Host-wixvisitor-" in first.headers["set-cookie"]
    assert "set-cookie" not in second.headers


async def _visit_server(serving: AbstractAsyncContextManager[str]) -> None:
    async with serving as url, httpx.AsyncClient(base_url=url) as browser:
        first = await browser.get("/cart")
        cookie = first.headers["set-cookie"].partition(";")[0]  # the jar keeps a secure one to itself
        _check(first, await browser.get("/cart", headers={"Cookie": cookie}))


@asynccontextmanager
async def _aiohttp(app: web.Application) -> AsyncIterator[str]:
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


@asynccontextmanager
async def _tornado(app: tornado.web.Application) -> AsyncIterator[str]:
    server = tornado.httpserver.HTTPServer(app)
    (socket,) = tornado.netutil.bind_sockets(0, "127.0.0.1")
    server.add_sockets([socket])
    yield f"http://127.0.0.1:{socket.getsockname()[1]}"
    server.stop()
    await server.close_all_connections()


DJANGO = f"""
with TestClient(application, base_url="{SHOP}") as browser:
    answers = [browser.get(path).status_code for path in ("/cart", "/cart-without-async", "/cart")]
print(answers, len(fake.visitors))
"""


@pytest.mark.machine
def test_the_django_project_of_the_page(tmp_path: Path) -> None:
    """The page's files make a Django project whose views, with and without async, serve a browser as one visitor."""
    assert printed_by(DJANGO, FRAMEWORKS, tmp_path) == "[200, 200, 200] 1\n"


def test_many_sites(wix: FakeWix) -> None:
    """Each host of the page is another site with another visitor and another cookie; an unlisted host is none."""
    app = ran("docs/how-to/many-sites.md")["app"]
    known = len(wix.visitors)
    cookies = set[str]()
    with TestClient(app) as browser:
        for host in ("mugs.example", "tea.example"):
            first, second = (browser.get(f"https://{host}/cart") for _ in range(2))
            _check(first, second)
            cookies.add(first.headers["set-cookie"].partition("=")[0])
        assert browser.get("https://other.example/cart").status_code == 404
    assert len(wix.visitors) == known + 2
    assert len(cookies) == 2


@pytest.fixture
def cookies_page(wix: FakeWix) -> dict[str, Any]:
    return ran("docs/how-to/cookies.md")


def test_sealing_again_frees_the_old_key(cookies_page: dict[str, Any], wix: FakeWix) -> None:
    """After the page's function has run, the new key alone opens every record, and the live visitor stays itself."""
    new, old = os.environ["STORE_KEYS"].split(",")
    known = len(wix.visitors)

    def sealed(*keys: str) -> SealedStorage:
        return SealedStorage(FileStorage("sealed/"), keys=keys)

    async def rotate() -> None:
        async with sealed(old) as before, VisitorPool(CLIENT_ID, storage=before) as pool:
            await (await pool.session("gone")).generate_visitor_tokens()
        async with sealed(new, old) as both, VisitorPool(CLIENT_ID, storage=both) as pool:
            live = await pool.session("live")
            await live.generate_visitor_tokens()
            await cookies_page["seal_again"](both)
            await live.renew_token()
        async with sealed(new) as after, VisitorPool(CLIENT_ID, storage=after) as pool:
            for key in ("gone", "live"):
                await (await pool.session(key)).generate_visitor_tokens()

    anyio.run(rotate)
    assert len(wix.visitors) == known + 2


def test_the_log_of_keys(cookies_page: dict[str, Any]) -> None:
    """The page's map for nginx finds the id of the key in a browser's cookie, by the name that ``repr`` shows."""
    (block,) = (block for block in blocks_of("docs/how-to/cookies.md") if block.language == "nginx")
    pattern = re.search(r'"~(.*?)" \$key_id', block.code)
    assert pattern
    pairs = [f"{cookie.name}={cookie.value}" for cookie in cookies_page["browser"].cookies.jar]
    header = "; ".join(["theme=dark", *pairs])
    found = re.search(pattern[1].replace("?<", "?P<"), header)
    assert found
    assert found["key_id"] in repr(IdCookie([os.environ["SHOP_KEYS"]]))


def _event(cookies: list[str]) -> dict[str, Any]:
    """What an HTTP API of AWS sends: payload format 2.0."""
    http = {"method": "GET", "path": "/cart", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "test"}
    return {
        "version": "2.0",
        "rawPath": "/cart",
        "rawQueryString": "",
        "cookies": cookies,
        "headers": {"host": "shop.example"},
        "requestContext": {"http": http, "stage": "$default"},
        "isBase64Encoded": False,
    }


@pytest.mark.parametrize("name", ["handler", "cart_handler"])
def test_lambda(wix: FakeWix, name: str) -> None:
    """Both handlers of the page answer a browser's events as one visitor, with the cookie in its own list."""
    handler = ran(DEPLOY)[name]
    first = handler(_event([]), None)
    (cookie,) = first["cookies"]
    assert not {"set-cookie", "Set-Cookie"} & set(first["headers"])
    no_cart = json.loads(first["body"])  # one handler hides Wix's 404, the other passes it on
    assert no_cart == {"cart": None} or (first["statusCode"], no_cart["message"]) == (404, "Cart not found")
    second = handler(_event([cookie.partition(";")[0]]), None)
    assert not second.get("cookies")
    assert len(wix.visitors) == 1


@pytest.mark.usefixtures("wix")
def test_the_sizes_of_cookies(capsys: pytest.CaptureFixture[str]) -> None:
    """The page says the sizes that its own code prints."""
    page = "docs/how-to/capacity.md"
    ran(page)
    (said,) = (block.code for block in blocks_of(page) if block.language == "text")
    assert capsys.readouterr().out.endswith(said)
