"""Shoppers in a real browser: who is whom, what stays, and what they see when something fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import httpx
import pytest

from examples.shop.catalogue import CLIENT_ID
from tests.browser.conftest import FLAGS
from tests.interop.real_sdk import real_sdk
from tests.interop.shopping import mugs
from tests.storage.conftest import Server, program_of
from wixvisitor.cookies import IdCookie, SealedCookie, SharedCookie, generate_key
from wixvisitor.storage.sqlite import SQLiteStorage

pytestmark = [pytest.mark.browser, pytest.mark.anyio]

FORMS = {"id": IdCookie, "sealed": SealedCookie}
CATALOGUE = 1  # the visitor whom all browsers share, for the products


async def add(page: Any, url: str, *, number: int = 0) -> None:
    """Puts a product into the cart, by the button, and waits until the page says so."""
    await page.goto(f"{url}/products")
    await add_here(page, number)


async def add_here(page: Any, number: int = 0) -> None:
    async with page.expect_response("**/api/cart/lines") as answer:
        await page.locator("[data-add] button").nth(number).click()
    assert (await answer.value).status == 200


async def things(page: Any, url: str) -> int:
    """How many things the cart's page shows."""
    await page.goto(f"{url}/cart")
    if await page.locator("[data-things]").count() == 0:
        return 0
    return int(await page.locator("[data-things]").inner_text())


async def name_of(page: Any, url: str) -> str:
    """The visitor as the shop calls it."""
    await page.goto(f"{url}/visitor")
    return str(await page.locator("[data-state=visitor]").inner_text())


@pytest.fixture(params=FORMS)
def cookie(request: pytest.FixtureRequest) -> Any:
    return FORMS[request.param]([generate_key()], secure=False)


async def test_two_browsers_are_two_visitors(open_shop, shopper, cookie, fake):
    """Each browser has its own visitor and its own cart; reloading and a second tab change nothing."""
    async with open_shop(cookie) as url:
        anna, ben = await shopper(), await shopper()
        await add(anna, url)
        await add(anna, url, number=1)
        await add(ben, url)
        tab = await anna.context.new_page()
        await anna.reload()
        assert [await things(page, url) for page in (anna, tab, ben)] == [2, 2, 1]
        names = [await name_of(page, url) for page in (anna, tab, ben)]
    assert names[0] == names[1] != names[2]
    assert len(fake.visitors) == CATALOGUE + 2


async def test_a_page_with_six_first_calls(open_shop, shopper, cookie, fake, until):
    """The front page's script makes six calls at once, the first of all: one visitor of the browser's own."""
    async with open_shop(cookie) as url:
        page = await shopper()
        gate = fake.hold(grant_type="anonymous")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if "/api/" in request.url else None)
        await page.goto(url, wait_until="commit")
        await gate.wait_for(1)
        await until(lambda: len(asked) >= 6)
        gate.release()
        await page.locator("[data-shelves][aria-busy=false]").wait_for()
        assert await page.locator("[data-shelf-trouble]").is_hidden()
        name = await name_of(page, url)
        assert name == await name_of(page, url)
    assert len(fake.visitors) == len(fake.token_calls()) == CATALOGUE + 1


async def test_a_page_from_a_cache(open_shop, shopper, cookie, fake, until):
    """Nothing of the page brings a cookie: the script's first call as the visitor goes alone, whatever is clicked."""
    async with open_shop(cookie) as url:
        async with httpx.AsyncClient() as client:
            cached = (await client.get(f"{url}/products")).text
        page = await shopper()
        await page.route(f"{url}/products", lambda route: route.fulfill(content_type="text/html", body=cached))
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if "/api/" in request.url else None)
        gate = fake.hold(grant_type="anonymous")
        await page.goto(f"{url}/products")
        await gate.wait_for(1)
        for number in range(6):
            await page.locator("[data-add] button").nth(number).click()
        assert len(asked) == 1
        gate.release()
        await until(lambda: len(asked) == 8)  # the cart, six things for it, and who that is
        await page.locator("[data-visitor-line]", has_text="token good for").wait_for()
        await until(lambda: len(fake.api_calls()) == CATALOGUE + 1 + 6)
        assert await things(page, url) >= 5  # one of the nine is sold out
    assert len(fake.visitors) == CATALOGUE + 1


async def test_a_browser_that_is_closed_and_opened_again(open_shop, playwright, chromium, cookie, tmp_path, fake):
    """Days later, with the same profile, the cart is still there."""
    async with open_shop(cookie) as url:
        for expected in (1, 2):
            context = await playwright.chromium.launch_persistent_context(
                tmp_path / "profile", executable_path=chromium, args=FLAGS
            )
            await add(context.pages[0], url)
            assert await things(context.pages[0], url) == expected
            await context.close()
            fake.advance(5 * 24 * 3600)
    assert len(fake.visitors) == CATALOGUE + 1


@pytest.mark.parametrize("store", ["sqlite", "sealed"])
async def test_a_server_that_is_killed(shop_process, shopper, store, tmp_path, fake):
    """``kill -9`` and a new start in the middle of shopping: the same visitor, the same cart."""
    where = f"sqlite:{tmp_path / 'visitors.db'}" if store == "sqlite" else "sealed"
    shop = await shop_process("--store", where, SHOP_KEYS=generate_key())
    page = await shopper()
    await add(page, shop.url)
    name = await name_of(page, shop.url)
    shop.kill()
    await shop.start()
    await add(page, shop.url)
    assert await things(page, shop.url) == 2
    assert await name_of(page, shop.url) == name
    assert len(fake.visitors) == CATALOGUE + 1  # the second time, the products come from the browser's cache


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Server]:
    server = Server(program_of("valkey"), tmp_path)
    server.start()
    yield server
    server.stop()


async def test_several_processes_on_one_redis(shop_process, shopper, valkey, fake):
    """Whichever worker answers, it is the same visitor; when its token is refused, they renew it once."""
    shop = await shop_process("--store", f"redis:127.0.0.1:{valkey.port}/0", "--workers", "3", SHOP_KEYS=generate_key())
    page = await shopper()
    await add(page, shop.url)
    jar = {cookie["name"]: cookie["value"] for cookie in await page.context.cookies()}
    states = []
    for _ in range(40):
        async with httpx.AsyncClient(cookies=jar) as client:  # a connection of its own: any worker may take it
            states.append((await client.get(f"{shop.url}/api/visitor")).json())
    assert len({state["process"] for state in states}) > 1
    assert len({state["visitor"] for state in states}) == 1
    (visitor_id,) = (id_ for id_, visitor in fake.visitors.items() if visitor.cart)
    fake.revoke_access_tokens(visitor_id)

    async def look() -> int:
        async with httpx.AsyncClient(cookies=jar, timeout=20) as client:
            return int((await client.get(f"{shop.url}/api/cart")).json()["count"])

    assert await asyncio.gather(*(look() for _ in range(12))) == [1] * 12
    assert await things(page, shop.url) == 1
    assert len(fake.token_calls("refresh_token")) == 1
    assert len(fake.visitors) == CATALOGUE + 1


async def test_an_outage_while_the_shopper_clicks(open_shop, shopper, cookie, fake):
    """Token expired, token endpoint down: a friendly line, and afterwards the same cart."""
    async with open_shop(cookie) as url:
        page = await shopper()
        await add(page, url)
        name = await name_of(page, url)
        await page.goto(f"{url}/products")
        fake.advance(5 * 3600)
        outage = fake.fail(503, times=None)
        await page.locator("[data-add] button").first.click()
        await page.locator("[data-status]", has_text="Your cart is safe").wait_for()
        response = await page.goto(f"{url}/cart")
        assert response.status == 503
        assert "Your cart is safe" in await page.locator("main").inner_text()
        outage.remove()
        fake.advance(120)
        await add(page, url)
        assert await things(page, url) == 2
        assert await name_of(page, url) == name
    assert len(fake.visitors) == CATALOGUE + 1


async def test_an_expiry_that_nobody_notices(open_shop, shopper, cookie, fake):
    """A token that expires between two clicks is renewed once, by the second."""
    async with open_shop(cookie) as url:
        page = await shopper()
        await add(page, url)
        for _ in range(3):
            fake.advance(5 * 3600)
            await add_here(page)
        assert await things(page, url) == 4
    assert len(fake.visitors) == CATALOGUE + 1
    assert len(fake.token_calls("refresh_token")) == 3


@pytest.mark.parametrize("form", FORMS)
async def test_the_cookie_as_the_browser_sees_it(open_shop, shopper, form, tmp_path):
    """Over https: host only, for all paths, secure, hidden from scripts, not sent with other sites' posts."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    tls = {"ssl_certfile": str(tmp_path / "server.pem")}
    async with open_shop(FORMS[form]([generate_key()]), tls=tls) as url:
        page = await shopper(ignore_https_errors=True)
        await page.goto(url)
        await page.locator("[data-shelves][aria-busy=false]").wait_for()
        (seen,) = await page.context.cookies()
        readable = await page.evaluate("document.cookie")
    assert readable == ""
    assert seen["name"].startswith("__Host-wixvisitor-")
    assert (seen["domain"], seen["path"]) == ("localhost", "/")
    assert (seen["secure"], seen["httpOnly"], seen["sameSite"]) == (True, True, "Lax")
    assert seen["expires"] > 300 * 86_400


async def test_without_scripts(open_shop, shopper, cookie, fake):
    """The forms work without JavaScript, as the same visitor."""
    async with open_shop(cookie) as url:
        page = await shopper(java_script_enabled=False)
        await page.goto(f"{url}/products")
        await page.locator("[data-add] button").first.click()
        await page.wait_for_url("**/cart?*")
        assert await page.locator("[data-things]").inner_text() == "1"
    assert len(fake.visitors) == CATALOGUE + 1


async def test_another_sites_form(open_shop, shopper, cookie, fake):
    """A form that another site's page posts here comes without the visitor, and is refused."""
    async with open_shop(cookie) as url:
        page = await shopper()
        await add(page, url)
        product = await page.locator("[data-add] [name=product_id]").first.get_attribute("value")
        evil = url.replace("127.0.0.1", "localhost")
        form = f'<form method=post action="{url}/cart/add"><input name=product_id value="{product}"></form>'
        await page.route(f"{evil}/evil", lambda route: route.fulfill(content_type="text/html", body=form))
        await page.goto(f"{evil}/evil")
        async with page.expect_navigation() as navigation:
            await page.evaluate("document.forms[0].submit()")
        assert (await navigation.value).status == 403
        assert await things(page, url) == 1


# Together with JavaScript


async def test_the_real_sdk_reads_the_cookie(open_shop, shopper, node, fake, wix):
    """What the shop wrote into ``wixSession``, @wix/sdk goes on with: the same cart."""
    async with open_shop(SharedCookie("wixSession", secure=False)) as url:
        page = await shopper()
        await add(page, url)
        text = await page.evaluate("decodeURIComponent(document.cookie.match(/wixSession=([^;]*)/)[1])")
        async with real_sdk(wix) as sdk:
            await sdk.create(CLIENT_ID, json.dumps(json.loads(text)["tokens"]))
            cart = await sdk.call("currentCart.getCurrentCart")
            assert [line["quantity"] for line in cart["lineItems"]] == [1]
    assert len(fake.visitors) == CATALOGUE + 1


@pytest.mark.parametrize("name", ["wixSession", "session", "wix-session"])
async def test_the_shop_reads_the_sdks_cookie(open_shop, shopper, node, fake, wix, name):
    """A visitor that @wix/sdk made in the page is the shop's visitor too, also after its token has expired."""
    async with open_shop(SharedCookie(name, secure=False)) as url, real_sdk(wix) as sdk:
        await sdk.create(CLIENT_ID)
        await sdk.call("currentCart.addToCurrentCart", mugs(fake))
        tokens = await sdk.saved_tokens()
        text = f'{{"clientId":"{CLIENT_ID}","tokens":{tokens}}}' if name == "wixSession" else tokens
        page = await shopper()
        await page.goto(f"{url}/health")
        await page.evaluate(f"document.cookie = '{name}={quote(text)}; path=/'")
        assert await things(page, url) == 1
        fake.advance(5 * 3600)
        await add(page, url)
        assert await things(page, url) == 2
        jar = {cookie["name"]: cookie["value"] for cookie in await page.context.cookies()}
        renewed = json.loads(unquote(jar[name]))
        await sdk.set_time(fake.now())
        await sdk.create(CLIENT_ID, json.dumps(renewed.get("tokens", renewed)))
        cart = await sdk.call("currentCart.getCurrentCart")
        assert sum(line["quantity"] for line in cart["lineItems"]) == 2
    assert len(fake.visitors) == CATALOGUE + 1
    assert len(fake.token_calls()) == CATALOGUE + 2


# Pictures


@pytest.mark.parametrize(
    ("picture", "size", "scheme"), [("shop", (1280, 800), "light"), ("shop-phone", (390, 844), "dark")]
)
async def test_pictures(open_shop, shopper, shots, tmp_path, picture, size, scheme):
    """The shop as shoppers see it, on a desk and on a phone, by day and by night; nothing sticks out of the phone."""
    storage = SQLiteStorage(tmp_path / "visitors.db")
    async with open_shop(IdCookie([generate_key()], secure=False), storage=storage) as url:
        view = {"width": size[0], "height": size[1]}
        page = await shopper(viewport=view, color_scheme=scheme, reduced_motion="reduce")
        for path in ("/", "/products", "/cart", "/visitor"):
            if path == "/cart":
                await add(page, url, number=1)
                await add_here(page, 2)
            await page.goto(f"{url}{path}")
            if path == "/":
                await page.locator("[data-shelves][aria-busy=false]").wait_for()
            width = await page.evaluate("document.documentElement.scrollWidth")
            assert width <= size[0]
            shot = shots / f"{picture}{path.replace('/', '-').rstrip('-')}.png"
            await page.screenshot(path=shot)
            assert shot.stat().st_size > 5_000
