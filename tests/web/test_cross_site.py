"""What another site's page may do: a return by POST, an iframe, a login that somebody else's page sent."""

from __future__ import annotations

import httpx
import pytest

from tests.web.conftest import COOKIES, KEY
from tests.web.shops import APPS, ASGI_APPS, FORMS, body_of
from wixvisitor import ConfigurationError, VisitorPool
from wixvisitor._web.cross_site import checked_origins, is_cross_site
from wixvisitor.asgi import VisitorMiddleware
from wixvisitor.cookies import IdCookie, SealedCookie, SharedCookie
from wixvisitor.testing import assert_visitor_cookie

pytestmark = pytest.mark.anyio
HOUR = 3_600
CROSS = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
PARTNER = {"Origin": "https://partner.example", "Sec-Fetch-Site": "cross-site"}
STRANGER = {"Origin": "https://stranger.example", "Sec-Fetch-Site": "cross-site"}


# Lax cookies: a return by cross-site POST


@pytest.mark.parametrize("framework", APPS)
@pytest.mark.parametrize("form", FORMS)
async def test_a_return_by_post(open_shop, framework, form, caplog):
    """A POST of a payment page comes without the cookie, and its answer leaves the cookie, and so the cart, alone."""
    async with open_shop(framework, cookie=form) as town, town.browsers() as browser:
        caplog.set_level("INFO", logger="wixvisitor")
        known = body_of(await browser.get("/cart"))
        records = repr(town.shop.pool._settings.storage)
        for path in ("/cart", "/redirect", "/page"):
            answer = await browser.post(path, headers={**CROSS, "Cookie": ""})
            assert "set-cookie" not in answer.headers
            assert path != "/cart" or body_of(answer)["who"] != known["who"]
        assert repr(town.shop.pool._settings.storage) == records
        assert (
            "a new visitor is not kept" in caplog.text
        ) or framework == "aiohttp"  # there a plain answer starts late
        assert body_of(await browser.get("/cart")) == known


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("method", "headers", "is_kept"),
    [
        ("POST", {"Sec-Fetch-Site": "cross-site"}, False),
        ("POST", {"Sec-Fetch-Site": "Cross-Site"}, False),
        ("POST", {"Sec-Fetch-Site": "cross-site", "Origin": "https://shop.example"}, False),
        ("POST", {"Sec-Fetch-Site": "same-site", "Origin": "https://pay.shop.example"}, True),
        ("POST", {"Sec-Fetch-Site": "same-origin", "Origin": "https://shop.example"}, True),
        ("POST", {"Sec-Fetch-Site": "none"}, True),
        ("POST", {"Origin": "https://pay.example"}, False),
        ("POST", {"Origin": "null"}, False),
        ("POST", {"Origin": "https://shop.example"}, True),
        ("POST", {"Origin": "https://SHOP.example:8443"}, True),
        ("POST", {}, True),
        ("GET", {"Sec-Fetch-Site": "cross-site"}, True),
        ("GET", {"Origin": "https://pay.example"}, True),
    ],
)
async def test_what_counts_as_cross_site(open_shop, form, method, headers, is_kept):
    """The browser's own mark counts; without it an ``Origin`` of another host does. What is safe is never held back."""
    async with open_shop("starlette", cookie=form) as town, town.browsers() as browser:
        answer = await browser.request(method, "/cart", headers=headers)
        assert body_of(answer)["status"] == 404
        assert ("set-cookie" in answer.headers) == is_kept


@pytest.mark.parametrize("form", FORMS)
async def test_a_cross_site_post_with_the_cookie(open_shop, form, member_of):
    """A request that brings the cookie is the browser's own, whatever it is marked as."""
    async with open_shop("starlette", cookie=form) as town, town.browsers() as browser:
        known = body_of(await browser.get("/cart"))
        assert body_of(await browser.post("/cart", headers=CROSS)) == known
        town.shop.member = member_of()
        assert body_of(await browser.post("/login", headers=CROSS))["member"]
        assert body_of(await browser.get("/cart"))["member"]


@pytest.mark.parametrize("framework", APPS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("path", ["/login_says", "/logout_says", "/renew_says"])
async def test_a_login_by_cross_site_post(open_shop, framework, form, path, member_of):
    """It cannot be known whose login a form_post is: an error that says what to do instead, and nothing is changed."""
    async with open_shop(framework, cookie=form) as town, town.browsers() as browser:
        known = body_of(await browser.get("/cart"))
        town.shop.member = member_of()
        calls = len(town.fake.calls)
        answer = await browser.post(path, headers={**CROSS, "Cookie": ""})
        text = body_of(answer)["error"]
        assert "responseMode=query" in text
        assert "303" in text
        assert "set-cookie" not in answer.headers
        assert len(town.fake.calls) == calls
        assert body_of(await browser.get("/cart")) == known
        assert body_of(await browser.post("/login", headers={"Sec-Fetch-Site": "same-origin"}))["member"]


@pytest.mark.parametrize("form", FORMS)
async def test_the_get_after_a_303(open_shop, form, member_of):
    """What the error advises works: the POST is answered with a redirect, and the GET after it logs in."""
    async with open_shop("starlette", cookie=form) as town, town.browsers() as browser:
        await browser.get("/cart")
        town.shop.member = member_of()
        assert "set-cookie" not in (await browser.post("/page", headers={**CROSS, "Cookie": ""})).headers
        assert body_of(await browser.get("/login", headers=CROSS))["member"]
        assert body_of(await browser.get("/cart"))["member"]


async def test_without_consent_a_cross_site_login_is_an_error_too(open_shop, member_of):
    """A consent that is kept in a Lax cookie cannot be seen in such a request, and its login fails as loudly."""
    async with open_shop("starlette", consent=lambda scope: False) as town, town.browsers() as browser:
        town.shop.member = member_of()
        assert "303" in body_of(await browser.post("/login_says", headers=CROSS))["error"]


async def test_a_proxy_that_changes_the_host(open_shop):
    """Behind a proxy the host that the browser asked for is in ``X-Forwarded-Host``, which no page can set."""
    async with open_shop("starlette") as town, town.browsers() as browser:
        headers = {"Host": "10.0.0.7:8000", "Origin": "https://shop.example"}
        assert "set-cookie" not in (await browser.post("/cart", headers=headers)).headers
        headers["X-Forwarded-Host"] = "shop.example, inner.example"
        assert "set-cookie" in (await browser.post("/cart", headers=headers)).headers


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://[", "host": "["},
        {"origin": "null", "host": ""},
        {"origin": "", "host": "shop.example"},
        {"origin": "https://shop.example"},
        {"origin": "file://", "host": "shop.example"},
        {"origin": "https://shop.example.evil.example", "host": "shop.example"},
    ],
)
def test_an_origin_that_cannot_be_compared(headers):
    """What is no host, or no origin, is another site."""
    assert is_cross_site(headers)


# A shop inside another site's page


EMBEDDED = {
    "id": lambda: IdCookie([KEY], same_site="none"),
    "sealed": lambda: SealedCookie([KEY], same_site="none"),
    "wixSession": lambda: SharedCookie("wixSession", same_site="none"),
}


@pytest.mark.parametrize("form", FORMS)
async def test_a_shop_in_an_iframe(open_shop, form):
    """Its page reserves an id like any page, and every cookie of it is SameSite=None and Partitioned."""
    async with open_shop("starlette", cookie=EMBEDDED[form]()) as town, town.browsers() as browser:
        frame = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "iframe"}
        first = await browser.get("/page", headers=frame)
        second = await browser.get("/cart")
        third = await browser.get("/logout")
        cookies = [cookie for answer in (first, second, third) for cookie in answer.headers.get_list("set-cookie")]
        assert len(cookies) >= 2
        assert all(cookie.endswith("SameSite=None; Partitioned") or "Partitioned; Max" in cookie for cookie in cookies)
        assert all("; Secure; " in cookie and "Lax" not in cookie for cookie in cookies)


@pytest.mark.parametrize("framework", ASGI_APPS)
@pytest.mark.parametrize("form", FORMS)
async def test_trusted_origins(open_shop, framework, form, member_of):
    """A page of a listed origin may make a visitor, log in and log out by POST."""
    options = {"cookie": EMBEDDED[form](), "trusted_origins": ["https://partner.example"]}
    async with open_shop(framework, **options) as town, town.browsers() as browser:
        first = await browser.post("/cart", headers=PARTNER)
        assert_visitor_cookie(first, town.shop.cookie.name, http_only=form != "wixSession")
        town.shop.member = member_of()
        assert body_of(await browser.post("/login", headers=PARTNER))["member"]
        assert body_of(await browser.post("/cart", headers=PARTNER))["member"]
        await browser.post("/logout", headers=PARTNER)
        assert not body_of(await browser.get("/cart"))["member"]


@pytest.mark.parametrize("framework", ASGI_APPS)
@pytest.mark.parametrize("form", FORMS)
async def test_other_origins(open_shop, framework, form, member_of):
    """A page of another origin sets no cookie by POST, and logs nobody in or out, with the cookie and without."""
    options = {"cookie": EMBEDDED[form](), "trusted_origins": ["https://partner.example"]}
    async with open_shop(framework, **options) as town, town.browsers() as browser:
        town.shop.member = member_of()
        assert "set-cookie" not in (await browser.post("/cart", headers=STRANGER)).headers
        assert "trusted_origins" in body_of(await browser.post("/login_says", headers=STRANGER))["error"]
        known = body_of(await browser.get("/cart"))
        assert body_of(await browser.post("/cart", headers=STRANGER)) == known
        town.fake.advance(5 * HOUR)
        assert "set-cookie" not in (await browser.post("/cart", headers=STRANGER)).headers
        for path in ("/login_says", "/logout_says", "/renew_says"):
            answer = await browser.post(path, headers=STRANGER)
            assert "trusted_origins" in body_of(answer)["error"]
            assert "set-cookie" not in answer.headers
        assert body_of(await browser.get("/cart")) == known


async def test_an_embedded_shop_in_aiohttp(client_id, still):
    """The setup of aiohttp takes ``trusted_origins``, too, and its websockets count as what may change something."""
    from aiohttp import web
    from aiohttp.test_utils import TestServer

    from wixvisitor.aiohttp import get_visitor, setup

    async def cart(request: web.Request) -> web.StreamResponse:
        await (await get_visitor(request)).generate_visitor_tokens()
        socket = web.WebSocketResponse()
        if not socket.can_prepare(request):
            return web.Response()
        await socket.prepare(request)
        await socket.close()
        return socket

    app = web.Application()
    app.router.add_route("*", "/cart", cart)
    pool = VisitorPool(client_id, client=still.client(), clock=still.now)
    setup(app, pool, cookie=EMBEDDED["id"](), trusted_origins=("https://partner.example",))
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    upgrade["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    async with TestServer(app) as server, httpx.AsyncClient(base_url=str(server.make_url("/"))) as browser:
        for headers, is_kept in ((PARTNER, True), (STRANGER, False)):
            assert ("set-cookie" in (await browser.post("/cart", headers=headers)).headers) == is_kept
            async with browser.stream("GET", "/cart", headers={**headers, **upgrade}) as answer:
                assert answer.status_code == 101
                assert ("set-cookie" in answer.headers) == is_kept


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("https://partner.example", "https://partner.example"),
        ("https://Partner.Example/", "https://partner.example"),
        ("https://partner.example:443", "https://partner.example"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("https://[2001:DB8::1]:8443", "https://[2001:db8::1]:8443"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
    ],
)
def test_how_origins_are_spelled(given, expected):
    """Origins are compared as browsers spell them."""
    assert checked_origins([given]) == {expected}


@pytest.mark.parametrize(
    "origins",
    [
        "https://partner.example",
        b"https://partner.example",
        7,
        ["partner.example"],
        ["https://partner.example/shop"],
        ["https://partner.example?a"],
        ["https://user@partner.example"],
        ["https://*.example"],
        ["https://"],
        ["https://a.example:x"],
        ["ftp://partner.example"],
        ["null"],
        [""],
        [None],
    ],
)
def test_wrong_origins(origins, client_id, still):
    """What is no list of origins is an error that says what is expected."""
    pool = VisitorPool(client_id, client=still.client())
    with pytest.raises(ConfigurationError, match="trusted_origins: expected"):
        VisitorMiddleware(lambda *_: None, pool, cookie=EMBEDDED["id"](), trusted_origins=origins)


def test_origins_for_a_lax_cookie(client_id, still):
    """Trusted origins beside a cookie that does not travel to them is a misunderstanding, and is said so."""
    pool = VisitorPool(client_id, client=still.client())
    with pytest.raises(ConfigurationError, match='same_site="none"'):
        VisitorMiddleware(lambda *_: None, pool, cookie=IdCookie([KEY]), trusted_origins=["https://partner.example"])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("options", [{"same_site": "None"}, {"same_site": None}, {"same_site": []}])
def test_wrong_same_site(form, options):
    """Anything but the two spellings is an error."""
    with pytest.raises(ConfigurationError, match='same_site: expected "lax" or "none"'):
        COOKIES[form](**options)


@pytest.mark.parametrize("form", FORMS)
def test_none_needs_https(form):
    """Browsers refuse such a cookie over plain http, so that it is an error."""
    with pytest.raises(ConfigurationError, match="secure=True"):
        COOKIES[form](same_site="none", secure=False)
