"""Members of the shop in a real browser: from the first visit to the paid order, and what goes wrong on the way.

The shop is on ``localhost`` and Wix's pages are on 127.0.0.1, which are two sites to a browser.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.browser.conftest import FLAGS
from tests.browser.test_fake_page import DESKTOP, PALE, PHONE
from wixvisitor.cookies import IdCookie, SealedCookie, generate_key
from wixvisitor.testing import FakeWix

pytestmark = [pytest.mark.browser, pytest.mark.anyio]

ANNA, PASSWORD = "anna@example.com", "correct horse battery"
FORMS = {"id": IdCookie, "sealed": SealedCookie}
CATALOGUE = 1  # the visitor whom all browsers share, for the products
DEVICES = {"desktop": DESKTOP, "phone": PHONE}


@pytest.fixture
def fake(fake: FakeWix) -> FakeWix:
    fake.add_member(ANNA, PASSWORD, profile={"firstName": "Anna", "lastName": "Berg"})
    return fake


@pytest.fixture(params=FORMS)
def cookie(request: pytest.FixtureRequest) -> Any:
    return FORMS[request.param]([generate_key()], secure=False)


def _is_added(answer: Any) -> bool:
    return "/cart" in answer.url and answer.request.method == "POST"


@attrs.define
class Shopper:
    """A shopper's page, and what a shopper does there. Works with and without scripts."""

    page: Any
    url: str
    complaints: list[str] = attrs.field(factory=list)
    callbacks: list[str] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda said: said.type == "error" and self.complaints.append(said.text))
        self.page.on("request", lambda asked: "/auth/callback" in asked.url and self.callbacks.append(asked.url))

    async def tab(self) -> Shopper:
        return Shopper(await self.page.context.new_page(), self.url)

    async def opens(self, path: str) -> None:
        await self.page.goto(f"{self.url}{path}")

    async def fills_a_cart(self) -> None:
        """Two things, with the buttons."""
        for number in (1, 2):
            await self.opens("/products")
            button = self.page.locator("[data-add] button").nth(number)
            async with self.page.expect_response(
                lambda answer: "/cart" in answer.url and answer.request.method == "POST"
            ):
                await button.click()

    async def goes_back(self, pages: int) -> None:
        """Presses the back button. A page that the browser has kept is not loaded, so nothing can be waited for."""
        await self.page.evaluate(f"void history.go(-{pages})")

    async def things(self) -> int:
        """How many things the cart's page shows."""
        await self.opens("/cart")
        shown = self.page.locator("[data-things]")
        return int(await shown.inner_text()) if await shown.count() else 0

    async def begins(self) -> None:
        """Goes to Wix's page, as far as its form."""
        await self.opens("/account")
        await self.page.get_by_role("link", name="Log in on Wix's page").click()
        await self.page.get_by_role("heading", name="Log in").wait_for()
        assert self.url not in self.page.url

    async def sends_the_form(self, *, password: str = PASSWORD) -> None:
        """Types in email and password, on the page that is open, and sends the form."""
        await self.page.locator("[name=email]").first.fill(ANNA)
        await self.page.locator("[name=password]").first.fill(password)
        await self.page.get_by_role("button", name="Log in", exact=True).click()

    async def is_anna(self) -> bool:
        """Whether the account's page is Anna's; else it is the form for a login."""
        await self.opens("/account")
        if await self.page.locator("[data-sign-in]").count():
            return False
        assert await self.page.locator("[data-email]").inner_text() == ANNA
        return True

    async def checks_the_looks(self) -> None:
        """Nothing sticks out, every text can be read, and the browser has complained of nothing."""
        assert await self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), self.page.url
        assert await self.page.evaluate(PALE) == []
        assert self.complaints == []


@pytest.fixture
async def anna(open_shop: Any, shopper: Any, cookie: Any) -> AsyncGenerator[Callable[..., Any]]:
    """Opens the shop, and it as a shopper who has two things in the cart."""
    async with open_shop(cookie, host="localhost") as url:

        async def make(**options: Any) -> Shopper:
            one = Shopper(await shopper(**options), url)
            await one.fills_a_cart()
            assert await one.things() == 2
            return one

        yield make


# From the first visit to the paid order


@pytest.mark.parametrize("has_scripts", [True, False], ids=["scripts", "no-scripts"])
@pytest.mark.parametrize("way", ["form", "wix"])
@pytest.mark.parametrize("device", DEVICES)
async def test_from_the_cart_to_the_order(open_shop, shopper, fake, device, way, has_scripts):
    """A shopper fills a cart, logs in, pays and logs out: one visitor, whose cart is the same until it is paid."""
    async with open_shop(IdCookie([generate_key()], secure=False), host="localhost") as url:
        one = Shopper(await shopper(**DEVICES[device], java_script_enabled=has_scripts), url)
        await one.fills_a_cart()
        assert await one.things() == 2
        await one.page.get_by_role("link", name="Log in", exact=True).click()
        await one.checks_the_looks()
        if way == "wix":
            await one.page.get_by_role("link", name="Log in on Wix's page").click()
        await one.sends_the_form()
        await one.page.wait_for_url(f"{url}/cart")
        assert await one.page.locator("[data-things]").inner_text() == "2"
        assert await one.is_anna()
        await one.checks_the_looks()

        await one.page.get_by_role("link", name="Check out").click()
        await one.page.get_by_role("button", name="Place order").click()
        await one.page.get_by_role("heading", name="Thank you").wait_for()
        (order,) = fake.orders
        assert await one.page.locator("[data-order]").inner_text() == order.id
        assert order.member_id == fake.members[ANNA].id
        assert sum(line.quantity for line in order.lines) == 2
        await one.checks_the_looks()
        assert await one.things() == 0
        assert len(fake.visitors) == CATALOGUE + 1

        assert await one.is_anna()
        await one.page.get_by_role("button", name="Log out").click()
        await one.page.get_by_text("You are logged out.").wait_for()
        await one.checks_the_looks()
        assert not await one.is_anna()


async def test_a_registration(anna, fake):
    """A new member types in the code of the email, after a wrong one; the cart stays."""
    fake.verify_emails = True
    one = await anna(java_script_enabled=False)
    await one.opens("/account")
    await one.page.get_by_label("First name").fill("Ben")
    await one.page.locator("#new-email").fill("ben@example.com")
    await one.page.get_by_label("Choose a password").fill("a long password")
    await one.page.get_by_role("button", name="Create an account").click()
    for code in ("000000", fake.outbox[-1].code):
        await one.page.get_by_label("Code from the email").fill(code)
        await one.page.get_by_role("button", name="Go on").click()
        await one.page.get_by_text("This code is wrong" if code == "000000" else "Hello, Ben").wait_for()
    assert await one.things() == 2
    assert one.complaints == []


async def test_a_login_after_the_checkout(anna, fake):
    """A browser that Wix knows and the shop does not is logged in again when it comes back from the checkout."""
    one = await anna()
    await one.begins()
    await one.sends_the_form()
    await one.page.get_by_role("heading", name="Hello, Anna Berg").wait_for()
    await one.page.context.clear_cookies(domain="localhost")  # the shop's; Wix's pages have another host
    await one.fills_a_cart()
    assert not await one.is_anna()
    await one.opens("/cart")
    await one.page.get_by_role("link", name="Check out").click()
    await one.page.get_by_role("button", name="Place order").click()
    await one.page.get_by_role("link", name="Your account").click()  # which only members see there
    assert await one.page.locator("[data-email]").inner_text() == ANNA


# What goes wrong on the way


async def test_a_stolen_callback(anna, fake):
    """The address of a callback brings a second browser nothing, and the first one loses nothing."""
    one, thief = await anna(), await anna()
    await one.begins()
    address = fake.log_in(one.page.url, ANNA)  # where Wix would send the browser
    await thief.page.goto(address)
    assert "it began in another browser" in await thief.page.locator("[data-error]").inner_text()
    assert not await thief.is_anna()
    assert await thief.things() == 2
    assert fake.token_calls("authorization_code") == []
    await one.page.goto(address)
    assert one.page.url == f"{one.url}/account"
    assert await one.is_anna()
    assert await one.things() == 2
    await thief.page.goto(address)
    assert not await thief.is_anna()
    assert len(fake.visitors) == CATALOGUE + 2


@pytest.mark.parametrize("at_once", [True, False], ids=["at-once", "in-turn"])
async def test_two_tabs(anna, fake, until, at_once):
    """Two tabs that log in end as the same member with the same cart, and log out together."""
    one = await anna()
    tabs = [one, await one.tab()]
    for tab in tabs:
        await tab.begins()
    if at_once:
        gate = fake.hold(grant_type="authorization_code", times=None)
        sending = [asyncio.ensure_future(tab.sends_the_form()) for tab in tabs]
        await gate.wait_for(1)
        await until(lambda: all(tab.callbacks for tab in tabs))
        gate.release()
        await asyncio.gather(*sending)
    else:
        for tab in tabs:
            await tab.sends_the_form()
            await tab.page.wait_for_url(f"{one.url}/account")
    for tab in tabs:
        await tab.page.get_by_role("heading", name="Hello, Anna Berg").wait_for()
        assert tab.page.url == f"{one.url}/account"
    assert [await tab.is_anna() for tab in tabs] == [True, True]
    assert [await tab.things() for tab in tabs] == [2, 2]
    assert len(fake.visitors) == CATALOGUE + 1
    await one.opens("/account")
    await one.page.get_by_role("button", name="Log out").click()
    await one.page.get_by_text("You are logged out.").wait_for()
    assert [await tab.is_anna() for tab in tabs] == [False, False]


async def test_the_back_button(open_shop, playwright, chromium, cookie, fake):
    """Back after the login changes nothing; back after the logout shows nothing of the member, nor does an old code."""
    # As at home: Playwright's browsers otherwise keep no pages for the back button.
    flags = {"args": FLAGS, "ignore_default_args": ["--disable-back-forward-cache"]}
    browser = await playwright.chromium.launch(executable_path=chromium, **flags)
    async with open_shop(cookie, host="localhost") as url:
        one = Shopper(await (await browser.new_context()).new_page(), url)
        await one.fills_a_cart()
        await one.begins()
        await one.sends_the_form()
        await one.page.get_by_role("heading", name="Hello, Anna Berg").wait_for()
        await one.goes_back(2)  # over Wix's page to the shop's form
        await one.page.get_by_text("You are logged in already.").wait_for()
        await one.page.goto(one.callbacks[0])
        assert one.page.url == f"{url}/account"
        assert await one.is_anna()
        assert await one.things() == 2

        await one.opens("/account")
        await one.page.get_by_role("button", name="Log out").click()
        await one.page.get_by_text("You are logged out.").wait_for()
        await one.goes_back(1)
        await one.page.locator("[data-sign-in]").wait_for()
        assert ANNA not in await one.page.content()
        await one.page.goto(one.callbacks[0])
        assert "This login is over" in await one.page.locator("[data-error]").inner_text()
        assert not await one.is_anna()
        assert await one.things() == 0
    await browser.close()
    assert len(fake.token_calls("authorization_code")) == 1


async def test_an_outage_during_a_login(anna, fake, shots: Path):
    """If the code cannot be exchanged, a page that can be read says so, and leads on; the cart stays."""
    one = await anna()
    await one.begins()
    outage = fake.fail(503, grant_type="authorization_code", times=None)
    await one.sends_the_form()
    await one.page.get_by_role("heading", name="Please try again").wait_for()
    assert await one.page.evaluate("getComputedStyle(document.querySelector('li')).listStyleType") == "none"
    assert await one.page.evaluate(PALE) == []
    await one.page.screenshot(path=shots / "login-outage.png")
    outage.remove()
    fake.advance(60)
    await one.page.get_by_role("link", name="Log in").click()
    await one.sends_the_form()
    await one.page.get_by_role("heading", name="Hello, Anna Berg").wait_for()
    assert await one.things() == 2


@pytest.mark.parametrize("moment", ["at-wix", "away", "exchange"])
async def test_a_server_that_is_killed_during_a_login(shop_process, shopper, tmp_path, fake, moment):
    """``kill -9`` between login and callback: the login goes on; if its code was used, the shopper logs in again."""
    where = f"sqlite:{tmp_path / 'visitors.db'}"
    shop = await shop_process("--store", where, host="localhost", SHOP_KEYS=generate_key())
    one = Shopper(await shopper(), shop.url)
    await one.fills_a_cart()
    await one.begins()
    if moment == "at-wix":
        shop.kill()
        await shop.start()
        await one.sends_the_form()
    else:
        gate = fake.hold(grant_type="authorization_code", committed=True) if moment == "exchange" else None
        if gate is None:
            shop.kill()
        sending = asyncio.ensure_future(one.sends_the_form())
        if gate is not None:
            await gate.wait_for(1)
            shop.kill()
            gate.release()
        await asyncio.gather(sending, return_exceptions=True)
        await shop.start()
        await one.page.goto(one.callbacks[0])
    if moment == "exchange":
        assert "Wix refused it" in await one.page.locator("[data-error]").inner_text()
        assert await one.things() == 2
        await one.begins()
        await one.sends_the_form()
    await one.page.get_by_role("heading", name="Hello, Anna Berg").wait_for()
    assert await one.is_anna()
    assert await one.things() == 2
    assert len(fake.visitors) == CATALOGUE + 1


# Pictures


@pytest.mark.parametrize(
    ("picture", "size", "scheme"), [("shop", (1280, 800), "light"), ("shop-phone", (390, 844), "dark")]
)
async def test_pictures(open_shop, shopper, shots: Path, picture, size, scheme):
    """The pages of members on a desk and on a phone, by day and by night; each fits, and each text can be read."""
    async with open_shop(IdCookie([generate_key()], secure=False), host="localhost") as url:
        view = {"width": size[0], "height": size[1]}
        one = Shopper(await shopper(viewport=view, color_scheme=scheme, reduced_motion="reduce"), url)

        async def takes(name: str) -> None:
            await one.checks_the_looks()
            await one.page.wait_for_load_state("networkidle")
            await one.page.locator("[data-visitor-line]", has_text="token good for").wait_for()
            await one.page.screenshot(path=shots / f"{picture}-{name}.png")
            assert (shots / f"{picture}-{name}.png").stat().st_size > 5_000
            await one.page.set_viewport_size({"width": 320, "height": size[1]})  # the narrowest phones
            await one.checks_the_looks()
            await one.page.set_viewport_size(view)

        await one.fills_a_cart()
        await one.opens("/account")
        await one.sends_the_form(password="wrong")
        await one.page.locator("[data-error]").wait_for()
        assert await one.page.locator("#email").input_value() == ANNA  # kept by the tab
        await takes("sign-in")
        await one.sends_the_form()
        await one.page.wait_for_url("**/account")
        await takes("account")
        await one.page.get_by_role("link", name="Check out").click()
        await one.page.get_by_role("button", name="Place order").click()
        await one.page.wait_for_url("**/thanks*")
        await takes("thanks")
