"""What other sites' pages and other tabs do to a shopper, in a real browser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from examples.shop.catalogue import CLIENT_ID
from tests.browser.conftest import serving
from wixvisitor import AccessToken, ConfigurationError, RefreshToken, TokenRole, Tokens, VisitorPool
from wixvisitor.cookies import IdCookie, SealedCookie, SharedCookie, generate_key
from wixvisitor.fastapi import CurrentVisitor, setup

pytestmark = [pytest.mark.browser, pytest.mark.anyio]

HOUR, DAY = 3_600, 86_400
FORMS: dict[str, Callable[..., Any]] = {
    "id": lambda **options: IdCookie([generate_key()], **options),
    "sealed": lambda **options: SealedCookie([generate_key()], **options),
    "wixSession": lambda **options: SharedCookie("wixSession", **options),
}
SIX = """<p id=who></p><script>
Promise.all([1, 2, 3, 4, 5, 6].map(() => fetch("/who").then((answer) => answer.text())))
  .then((all) => { document.getElementById("who").textContent = [...new Set(all)].join(" ") })
</script>"""


@attrs.define
class Shop:
    """A small shop.

    Attributes:
        asked: set once the slow handler has asked Wix.
        gate: what it waits for.
    """

    url: str = ""
    asked: asyncio.Event = attrs.field(factory=asyncio.Event)
    gate: asyncio.Event = attrs.field(factory=asyncio.Event)


async def name_of(visitor: CurrentVisitor) -> str:
    await visitor.get("/ecom/v2/carts/current")
    return f"{'member' if visitor.logged_in() else 'visitor'}{hash(visitor.get_tokens().refresh_token.value)}"


def app_of(shop: Shop, fake: Any, pool: VisitorPool, cookie: Any, **options: Any) -> FastAPI:
    app = FastAPI()
    setup(app, pool, cookie=cookie, **options)

    @app.get("/who", response_class=HTMLResponse)
    async def who(visitor: CurrentVisitor) -> str:
        return await name_of(visitor)

    @app.get("/frame", response_class=HTMLResponse)
    async def frame() -> str:
        return SIX

    @app.post("/paid", response_class=HTMLResponse)
    async def paid(visitor: CurrentVisitor) -> str:
        return f"Thank you, {await name_of(visitor)}"

    @app.get("/slow", response_class=HTMLResponse)
    async def slow(visitor: CurrentVisitor) -> str:
        name = await name_of(visitor)
        shop.asked.set()
        await shop.gate.wait()
        return name

    @app.api_route("/login", methods=["GET", "POST"], response_class=HTMLResponse)
    async def login(visitor: CurrentVisitor) -> str:
        found = fake.mint_member(CLIENT_ID)
        access = AccessToken(found["access_token"], int(fake.now()) + 4 * HOUR)
        try:
            await visitor.set_tokens(Tokens(access, RefreshToken(found["refresh_token"], TokenRole.MEMBER)))
        except ConfigurationError as error:
            return str(error)
        return "logged in"

    return app


@pytest.fixture
def certificate(tmp_path: Path) -> dict[str, str]:
    """What uvicorn needs for https."""
    issued = pytest.importorskip("trustme").CA().issue_cert("localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    return {"ssl_certfile": str(tmp_path / "server.pem")}


@pytest.fixture
def open_small_shop(fake: Any, wix: str, certificate: dict[str, str]) -> Callable[..., Any]:
    """Opens the small shop, over https if the cookie needs it."""

    @asynccontextmanager
    async def opening(cookie: Any, **options: Any) -> AsyncGenerator[Shop]:
        shop, tls = Shop(), certificate if cookie.is_embedded else {}
        pool = VisitorPool(CLIENT_ID, base_url=wix, clock=fake.now)
        async with serving(app_of(shop, fake, pool, cookie, **options), **tls) as port:
            shop.url = f"{'https://shop.localhost' if tls else 'http://127.0.0.1'}:{port}"
            yield shop

    return opening


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> Any:
    return FORMS[request.param]


async def text_at(page: Any, url: str) -> str:
    await page.goto(url)
    return str(await page.locator("body").inner_text())


async def posted(page: Any, site: str, action: str) -> str:
    """What a form of another site's page gets to see."""
    await page.route(
        f"{site}/pay",
        lambda route: route.fulfill(content_type="text/html", body=f'<form method=post action="{action}"></form>'),
    )
    await page.goto(f"{site}/pay")
    async with page.expect_navigation():
        await page.evaluate("document.forms[0].submit()")
    return str(await page.locator("body").inner_text())


async def test_a_return_from_a_payment_page(open_small_shop, shopper, form):
    """A payment page's form posts back to the shop, whose cookie stays at home: the cart is still there afterwards."""
    async with open_small_shop(form(secure=False)) as shop:
        page = await shopper()
        name = await text_at(page, f"{shop.url}/who")
        text = await posted(page, shop.url.replace("127.0.0.1", "localhost"), f"{shop.url}/paid")
        assert text.startswith("Thank you, visitor")
        assert name not in text
        assert await text_at(page, f"{shop.url}/who") == name


async def test_a_login_by_form_post(open_small_shop, shopper, form):
    """A login that another site's page posts is an error that names the cure, and by GET it works."""
    async with open_small_shop(form(secure=False)) as shop:
        page = await shopper()
        name = await text_at(page, f"{shop.url}/who")
        site = shop.url.replace("127.0.0.1", "localhost")
        assert "responseMode=query" in await posted(page, site, f"{shop.url}/login")
        assert await text_at(page, f"{shop.url}/who") == name
        await page.goto(f"{site}/pay")
        async with page.expect_navigation():
            await page.evaluate(f"location.href = '{shop.url}/login'")
        assert (await text_at(page, f"{shop.url}/who")).startswith("member")


async def test_two_tabs(open_small_shop, shopper, form, fake):
    """A tab's slow answer that comes after the other tab's login leaves the member logged in."""
    async with open_small_shop(form(secure=False)) as shop:
        tab = await shopper()
        await text_at(tab, f"{shop.url}/who")
        other = await tab.context.new_page()
        fake.advance(5 * HOUR)
        slow = asyncio.create_task(text_at(tab, f"{shop.url}/slow"))
        await asyncio.wait_for(shop.asked.wait(), 10)
        assert await text_at(other, f"{shop.url}/login") == "logged in"
        shop.gate.set()
        assert (await slow).startswith("visitor")
        assert (await text_at(tab, f"{shop.url}/who")).startswith("member")


async def seen_in(page: Any, site: str, shop: Shop) -> str:
    """Who the shop's six calls at once were, in a frame of another site's page."""
    await page.goto(f"{site}/page?shop={shop.url}")
    shown = page.frame_locator("iframe").locator("#who:not(:empty)")
    await shown.wait_for()
    return str(await shown.inner_text())


async def test_a_shop_in_an_iframe(open_small_shop, certificate, shopper, form, fake):
    """Inside other sites' pages the shop keeps a visitor for each, and only a partner's own requests may log in."""
    sites = FastAPI()

    @sites.get("/page", response_class=HTMLResponse)
    async def page_of(shop: str) -> str:
        return f'<iframe src="{shop}/frame"></iframe>'

    async with serving(sites, **certificate) as port:
        partner, stranger = (f"https://{name}.localhost:{port}" for name in ("partner", "stranger"))
        async with open_small_shop(form(same_site="none"), trusted_origins=[partner]) as shop:
            page = await shopper(ignore_https_errors=True)
            post = f"fetch('{shop.url}/login', {{method: 'POST', mode: 'no-cors', credentials: 'include'}})"
            names = [await seen_in(page, site, shop) for site in (partner, partner, stranger, stranger)]
            assert [len(name.split()) for name in names] == [1] * 4
            assert names[0] == names[1] != names[2] == names[3]
            assert len(fake.visitors) == 2
            await page.evaluate(post)
            assert await seen_in(page, stranger, shop) == names[2]
            assert await seen_in(page, partner, shop) == names[0]
            await page.evaluate(post)
            assert (await seen_in(page, partner, shop)).startswith("member")
