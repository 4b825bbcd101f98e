"""What only aiohttp has: sub-applications, signals, clean-up, handlers that are cancelled."""

from __future__ import annotations

import json
from typing import Any

import anyio
import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.stores import TroubledStorage
from tests.web.conftest import KEY
from tests.web.shops import Shop, aiohttp_app
from wixvisitor import ConfigurationError, VisitorPool
from wixvisitor.aiohttp import get_visitor, setup
from wixvisitor.cookies import IdCookie

pytestmark = pytest.mark.anyio
COOKIE = IdCookie([KEY], secure=False)


@pytest.fixture
def pool(still, client_id) -> VisitorPool:
    return VisitorPool(client_id, client=still.client(), clock=still.now)


async def answer(request: web.Request) -> web.Response:
    await (await get_visitor(request)).generate_visitor_tokens()
    return web.json_response({})


async def test_sub_applications(pool, still):
    """An app that is set up gives its sub-applications visitors too, once."""
    app, api = web.Application(), web.Application()
    api.router.add_get("/cart", answer)
    app.add_subapp("/api", api)
    setup(app, pool, cookie=COOKIE)
    async with TestServer(app) as server, httpx.AsyncClient() as browser:
        for count in (1, 0):
            response = await browser.get(str(server.make_url("/api/cart")))
            assert len(response.headers.get_list("set-cookie")) == count
    assert len(still.visitors) == 1


async def test_flags(pool):
    """Behind https the cookie is the same one as everywhere."""
    app = web.Application()
    app.router.add_get("/", answer)
    setup(app, pool, cookie=IdCookie([KEY]))
    async with TestServer(app) as server, httpx.AsyncClient() as browser:
        header = (await browser.get(str(server.make_url("/")))).headers["set-cookie"]
    assert header.startswith("__Host-wixvisitor-")
    assert header.endswith("; Path=/; Max-Age=31536000; Secure; HttpOnly; SameSite=Lax")


async def test_the_apps_own_cookies_stay(pool):
    """A cookie that a handler sets itself arrives beside the visitor's."""

    async def handler(request: web.Request) -> web.Response:
        response = await answer(request)
        response.set_cookie("theme", "dark")
        response.headers["Vary"] = "Accept"
        return response

    app = web.Application()
    app.router.add_get("/", handler)
    setup(app, pool, cookie=COOKIE)
    async with TestServer(app) as server, httpx.AsyncClient() as browser:
        response = await browser.get(str(server.make_url("/")))
    assert set(response.cookies) == {"theme", COOKIE.names(pool._settings.client_id).first}
    assert response.headers["Vary"] == "Accept, Cookie"


async def test_an_app_that_was_not_set_up():
    """Without setup the error says what to do."""

    async def handler(request: web.Request) -> web.Response:
        with pytest.raises(ConfigurationError, match=r"wixvisitor.aiohttp.setup"):
            await get_visitor(request)
        return web.Response(text="seen")

    app = web.Application()
    app.router.add_get("/", handler)
    async with TestServer(app) as server, httpx.AsyncClient() as browser:
        assert (await browser.get(str(server.make_url("/")))).text == "seen"


async def test_setup_twice(pool):
    """Setting an app up twice is a mistake, and is said so."""
    app = web.Application()
    setup(app, pool, cookie=COOKIE)
    with pytest.raises(ConfigurationError, match="already"):
        setup(app, pool, cookie=COOKIE)


@pytest.mark.parametrize("close", [True, False])
async def test_the_end_of_the_app(still, client_id, close):
    """At clean-up the pool and its storage are closed, unless the app wants to do that itself."""
    storage = TroubledStorage()
    app = web.Application()
    setup(app, VisitorPool(client_id, client=still.client(), storage=storage), cookie=COOKIE, close=close)
    async with TestServer(app):
        assert not storage.called("aclose")
    assert storage.called("aclose") == close


async def test_an_app_that_starts_again(still, client_id):
    """Another app of the same pool can start in the same event loop after the first one has ended and closed it."""
    pool = VisitorPool(client_id, client=still.client())
    for _ in range(2):
        app = web.Application()
        setup(app, pool, cookie=COOKIE)
        async with TestServer(app):
            assert await pool.session("anybody")
        with pytest.raises(ConfigurationError, match="closed"):
            await pool.session("anybody")


@pytest.mark.parametrize("cancels", [True, False])
async def test_a_client_that_goes_away(still, pool, cancels):
    """A browser that closes its tab while Wix is asked is the same visitor afterwards."""
    shop = Shop(pool, COOKIE, {"close": False})
    runner = web.AppRunner(aiohttp_app(shop), handler_cancellation=cancels)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    async with httpx.AsyncClient() as browser:
        await browser.get(f"{url}page", headers={"Sec-Fetch-Dest": "document"})
        gate = still.hold(grant_type="anonymous")
        async with anyio.create_task_group() as group:
            group.start_soon(browser.get, f"{url}cart")
            await gate.wait_for(1)
            group.cancel_scope.cancel()
        gate.release()
        first = await cart_of(browser, url)
        still.advance(5 * 3600)
        assert await cart_of(browser, url) == first
    await runner.cleanup()
    assert len(still.visitors) == 1


async def cart_of(browser: httpx.AsyncClient, url: str) -> Any:
    return json.loads((await browser.get(f"{url}cart")).text)
