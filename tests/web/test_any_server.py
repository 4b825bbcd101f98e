"""``wixvisitor.web``: servers that are neither ASGI nor aiohttp, with Flask and Tornado as examples."""

from __future__ import annotations

import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import tornado.httpserver
import tornado.netutil
import tornado.web
from flask import Flask, g, request

from tests.constants import CART
from tests.stores import TroubledStorage
from tests.web.conftest import COOKIES, KEY
from wixvisitor import EMPTY_TOKENS, ConfigurationError, VisitorPool
from wixvisitor.cookies import IdCookie
from wixvisitor.web import BlockingBrowserVisitors, BrowserVisitors

SHOP = "https://shop.example"


@pytest.fixture
def pool(still, client_id) -> VisitorPool:
    return VisitorPool(client_id, client=still.client(), clock=still.now)


def flask_shop(visitors: BlockingBrowserVisitors) -> Flask:
    """The example of docs/how-to/frameworks.md, with more pages."""
    app = Flask(__name__)

    @app.before_request
    def begin() -> None:
        g.visit = visitors.begin(request.method, request.path, request.headers, request)

    @app.after_request
    def keep(response: Any) -> Any:
        if "visit" not in g:
            return response
        own = response.headers
        for name, value in g.visit.headers(", ".join(own.getlist("Vary")), own.get("Cache-Control", "")):
            (own.add if name == "Set-Cookie" else own.set)(name, value)
        return response

    @app.teardown_request
    def end(_: Any) -> None:
        if "visit" in g:
            g.visit.end()

    add_pages(app)
    return app


def add_pages(app: Flask) -> None:
    @app.get("/health")
    def health() -> str:
        return "fine"

    @app.get("/cart")
    def cart() -> str:
        return str(g.visit.visitor().get(CART).status_code)

    @app.get("/broken")
    def broken() -> None:
        g.visit.visitor().generate_visitor_tokens()
        raise ZeroDivisionError

    @app.get("/cached")
    def cached() -> Any:
        g.visit.visitor()
        return "for a minute", {"Vary": "Accept", "Cache-Control": "max-age=60"}

    @app.post("/logout")
    def logout() -> str:
        g.visit.visitor().set_tokens(EMPTY_TOKENS)
        return "out"

    @app.get("/products")
    def products() -> Any:
        answer = g.visit.catalog().get("/stores/v3/products/mug")
        return str(answer.status_code), {"Cache-Control": "public"}


def browser_of(app: Flask) -> httpx.Client:
    return httpx.Client(transport=httpx.WSGITransport(app, raise_app_exceptions=False), base_url=SHOP)


@pytest.mark.parametrize("form", ["id", "sealed", "wixSession"])
def test_flask(pool, still, form):
    """In Flask each browser is one visitor, also after its token has expired; a health check is none."""
    visitors = BlockingBrowserVisitors(pool, cookie=COOKIES[form]())
    app = flask_shop(visitors)
    with visitors, browser_of(app) as anna, browser_of(app) as ben:
        assert "set-cookie" not in anna.get("/health").headers
        assert still.visitors == {}
        for _ in range(2):
            assert [browser.get("/cart").text for browser in (anna, ben, anna, ben)] == ["404"] * 4
            still.advance(5 * 3600)
    assert len(still.visitors) == 2


def test_flasks_answers(pool, still):
    """The cookie is on the page of an unhandled error; caches are told; the catalogue needs no cookie."""
    visitors = BlockingBrowserVisitors(pool, cookie=IdCookie([KEY]))
    app = flask_shop(visitors)
    with visitors, browser_of(app) as browser:
        broken = browser.get("/broken")
        assert (broken.status_code, "set-cookie" in broken.headers) == (500, True)
        assert browser.get("/cart").headers.get_list("vary") == ["Cookie"]
        browser.cookies.clear()
        cached = browser.get("/cached").headers
        assert cached.get_list("vary") == ["Accept, Cookie"]
        assert cached.get_list("cache-control") == ["max-age=60, private"]
        browser.cookies.clear()
        products = browser.get("/products").headers
        assert not {"set-cookie", "vary"} & set(products)
        assert products["cache-control"] == "public"


def test_flasks_threads(pool, still):
    """A page's parallel calls, each in a thread of its own, are one visitor; a logout changes the id."""
    visitors = BlockingBrowserVisitors(pool, cookie=IdCookie([KEY]))
    app = flask_shop(visitors)
    with visitors, browser_of(app) as browser, ThreadPoolExecutor(6) as threads:
        browser.get("/health", headers={"Sec-Fetch-Dest": "document"})
        assert {one.text for one in threads.map(lambda _: browser.get("/cart"), range(6))} == {"404"}
        assert len(still.visitors) == 1
        before = dict(browser.cookies)
        browser.post("/logout")
        assert dict(browser.cookies) != before
        browser.get("/cart")
    assert len(still.visitors) == 2
    assert threading.active_count() < 20


def test_consent(pool, still):
    """It is asked with the object that ``begin`` was given."""
    visitors = BlockingBrowserVisitors(pool, cookie=IdCookie([KEY]), consent=lambda own: "consent" in own.cookies)
    app = flask_shop(visitors)
    with visitors, browser_of(app) as browser:
        assert "set-cookie" not in browser.get("/cart").headers
        browser.cookies.set("consent", "yes")
        assert "set-cookie" in browser.get("/cart").headers


class TornadoCart(tornado.web.RequestHandler):
    """A Tornado handler."""

    def initialize(self, visitors: BrowserVisitors) -> None:
        self._visitors = visitors

    def prepare(self) -> None:
        self.visit = self._visitors.begin(self.request.method or "", self.request.path, self.request.headers)

    async def get(self) -> None:
        visitor = await self.visit.visitor()
        self.write(str((await visitor.get(CART)).status_code))
        for name, value in await self.visit.headers():
            (self.add_header if name == "Set-Cookie" else self.set_header)(name, value)

    def on_finish(self) -> None:
        self.visit.end()


@pytest.mark.anyio
async def test_tornado(pool, still):
    """In Tornado, which runs in the event loop, each browser is one visitor."""
    visitors = BrowserVisitors(pool, cookie=IdCookie([KEY], secure=False))
    server = tornado.httpserver.HTTPServer(tornado.web.Application([("/cart", TornadoCart, {"visitors": visitors})]))
    (socket,) = tornado.netutil.bind_sockets(0, "127.0.0.1")
    server.add_sockets([socket])
    url = f"http://127.0.0.1:{socket.getsockname()[1]}"
    async with visitors, httpx.AsyncClient(base_url=url) as anna, httpx.AsyncClient(base_url=url) as ben:
        for browser in (anna, ben, anna, ben):
            assert (await browser.get("/cart")).text == "404"
        server.stop()
        await server.close_all_connections()
    assert len(still.visitors) == 2


# The codec by itself


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@pytest.mark.parametrize("headers_of", [dict, list, lambda pairs: [(name.lower(), value) for name, value in pairs]])
@pytest.mark.anyio
async def test_read_use_write(pool, still, headers_of, anyio_backend):
    """Headers may be a mapping or pairs, in any case; the second request is the first one's visitor."""
    visitors = BrowserVisitors(pool, cookie=IdCookie([KEY]))
    cookie = "theme=dark"
    for _ in range(2):
        visit = visitors.begin("GET", "/cart?a=b", headers_of([("Cookie", cookie), ("Accept", "*/*")]))
        await (await visit.visitor()).get(CART)
        headers = dict(await visit.headers())
        assert await visit.headers() == []
        visit.end()
        if "Set-Cookie" in headers:
            assert headers["Cache-Control"] == "private, no-store"
            cookie = f"{headers['Set-Cookie'].partition(';')[0]}; {cookie}"
        assert headers["Vary"] == "Cookie"
    assert len(still.visitors) == 1
    assert "=" not in repr(visit)


@pytest.mark.anyio
async def test_a_visitor_after_the_headers(pool):
    """A new visitor that is wanted too late is an error, since its cookie could not be sent."""
    visit = BrowserVisitors(pool, cookie=IdCookie([KEY])).begin("GET", "/", {})
    assert await visit.headers() == []
    with pytest.raises(ConfigurationError, match="response has started"):
        await visit.visitor()


@pytest.mark.anyio
async def test_the_end_of_the_app(still, client_id):
    """``async with`` closes the pool and its storage, also a pool that a function makes at the first request."""
    storage = TroubledStorage()
    made: list[VisitorPool] = []

    def make() -> VisitorPool:
        made.append(VisitorPool(client_id, client=still.client(), storage=storage))
        return made[-1]

    async with BrowserVisitors(make, cookie=IdCookie([KEY])) as visitors:
        assert made == []
        for _ in range(2):
            visitors.begin("GET", "/", {}).end()
    assert len(made) == storage.called("aclose") == 1
    with pytest.raises(ConfigurationError, match="closed"):
        await made[0].session("anna")


def test_wrong_arguments(client_id):
    """They fail when the object is made."""
    with pytest.raises(ConfigurationError, match="pool: expected a VisitorPool"):
        BrowserVisitors("pool")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="trusted_origins"):
        BrowserVisitors(VisitorPool(client_id), cookie=IdCookie([KEY]), trusted_origins=["https://a.example"])


@pytest.mark.parametrize(
    ("path", "seen"),
    [("/a b/ü", "/a%20b/%C3%BC"), ("/a%20b", "/a%20b"), ("/a?b=c", "/a"), ("/a;b=c@d", "/a;b=c@d"), ("", "")],
)
def test_paths(pool, path, seen):
    """A path may be encoded or decoded, with or without the query."""
    visit = BrowserVisitors(pool, cookie=IdCookie([KEY])).begin("get", path, {})
    assert visit._visit.request.path == seen


def test_no_cookie_in_a_traceback():
    """Error reporters print the local variables of each frame: a request's cookie is in none of ours."""

    def fail() -> Any:
        raise ZeroDivisionError

    visitors = BlockingBrowserVisitors(fail, cookie=IdCookie([KEY]))
    with pytest.raises(ZeroDivisionError) as caught:
        visitors.begin("GET", "/", {"Cookie": "terces"[::-1]})
    text = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "secret" not in text
    visitors.close()
    with pytest.raises(ConfigurationError, match="closed"):
        visitors.begin("GET", "/", {})
