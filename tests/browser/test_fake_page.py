"""The page of a served FakeWix in a real Chromium: live, operable by keyboard, and safe from what clients send."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
from starlette.responses import HTMLResponse

from tests.browser.conftest import serving
from tests.constants import CART, CLIENT_ID
from wixvisitor.testing import FakeWix, Product
from wixvisitor.testing._catalog import STORES_APP_ID
from wixvisitor.testing._stand_in.clock import Clock

pytestmark = [pytest.mark.browser, pytest.mark.anyio]

HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
TIMES = "\N{MULTIPLICATION SIGN}"
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
DESKTOP = {"viewport": {"width": 1360, "height": 900}}


@pytest.fixture
def fake() -> FakeWix:
    """Wix, which sells a mug, and something whose name is an attack."""
    mug = Product("11111111-1111-4111-8111-111111111111", name="Mug", price="12.50")
    return FakeWix(clock=Clock(), products=[mug, Product("hostile", name=HOSTILE, price="1", stock=0)])


@attrs.define
class Page:
    """An open page of the fake, and a client of its API."""

    page: Any
    client: httpx.AsyncClient
    fake: FakeWix
    complaints: list[str] = attrs.field(factory=list)

    async def visitor(self, *products: str, **headers: str) -> dict[str, str]:
        """Mints a visitor with these products in the cart, and returns the headers of its calls."""
        tokens = (
            await self.client.post("/oauth2/token", json={"clientId": CLIENT_ID, "grantType": "anonymous"})
        ).json()
        authorised = {"authorization": tokens["access_token"], **headers}
        for product in products:
            item = {"quantity": 2, "catalogReference": {"appId": STORES_APP_ID, "catalogItemId": product}}
            await self.client.post(f"{CART}/add-line-items", json={"catalogItems": [item]}, headers=authorised)
        return authorised

    def text(self, selector: str, text: str) -> Any:
        return self.page.locator(selector, has_text=text)


@pytest.fixture
async def served(fake: FakeWix, anyio_backend: str) -> AsyncGenerator[str]:
    async with fake.serve(page=True) as url:
        yield url


@pytest.fixture
async def open_page(served: str, fake: FakeWix, shopper: Callable[..., Any]) -> AsyncGenerator[Callable[..., Any]]:
    """Opens the page. At the end the browser must have complained of nothing: no error, no blocked script or style."""
    opened: list[Page] = []
    async with httpx.AsyncClient(base_url=served, timeout=10.0) as client:

        async def make(**options: Any) -> Page:
            one = Page(await shopper(**(options or DESKTOP)), client, fake)
            opened.append(one)
            one.page.on("pageerror", lambda error: one.complaints.append(str(error)))
            one.page.on("console", lambda said: said.type == "error" and one.complaints.append(said.text))
            await one.page.goto(served)
            await one.page.locator("#live[data-state=live]").wait_for()
            return one

        yield make
        for one in opened:
            assert one.complaints == []


async def test_calls_come_in_live(open_page: Callable[..., Any], fake: FakeWix) -> None:
    """A visitor, its cart and its calls appear without a reload, and what a button does is seen at once."""
    one = await open_page()
    await one.text("#no-visitors", "No visitor yet").wait_for()
    headers = await one.visitor("11111111-1111-4111-8111-111111111111")
    (visitor,) = fake.visitors
    await one.text("#visitors .chip", visitor[:8]).wait_for()
    await one.text("#visitors .cart", f"2 {TIMES} Mug$25.00").wait_for()
    await one.text("#call-rows tr", "add-line-items").wait_for()
    await one.text("#total-mints", "1").wait_for()

    await one.page.get_by_role("button", name="+4 h").click()
    await one.text("[data-part=access-state]", "expired").wait_for()
    await one.text("[data-part=refresh-state]", "364 d 19 h left").wait_for()
    assert (await one.client.get(CART, headers=headers)).status_code == 401
    await one.text("#call-rows .status", "401").wait_for()
    await one.page.get_by_role("button", name="Refuse refresh token of visitor").click()
    await one.text("[data-part=refresh-state]", "refused").wait_for()
    await one.page.get_by_role("button", name=f"3600{TIMES}").click()
    await one.page.locator("[data-speed='3600'][aria-pressed=true]").wait_for()


async def test_faults_by_keyboard(open_page: Callable[..., Any], fake: FakeWix, until: Callable[..., Any]) -> None:
    """The form for faults works without a mouse; a fault is used up, or removed, in sight; the focus stays."""
    one = await open_page()
    keys = one.page.keyboard
    await one.page.get_by_label("What happens").focus()
    await keys.type("It answers late")
    await keys.press("Tab")
    await keys.type("0.01")
    await keys.press("Tab")
    await keys.type("Until")
    await keys.press("Tab")
    await keys.type("API")
    await keys.press("Tab")
    await keys.press("Enter")
    await one.text("#faults li", "API calls: answers after 0.01 s · until removed, 0 so far").wait_for()
    await one.text("#said", "The fault is active.").wait_for()
    (fault,) = fake._faults.active
    assert (fault.path, fault.times) == (None, None)

    await one.visitor("11111111-1111-4111-8111-111111111111")
    await one.text("#faults li", "1 so far").wait_for()
    remove = one.page.get_by_role("button", name="Remove: API calls")
    await remove.focus()
    await one.visitor("11111111-1111-4111-8111-111111111111")
    await one.text("#faults li", "2 so far").wait_for()
    assert await remove.evaluate("button => button === document.activeElement")
    await keys.press("Enter")
    await one.text("#no-faults", "No fault is active.").wait_for()
    assert fake._faults.active == []


async def test_what_clients_send_is_text(open_page: Callable[..., Any]) -> None:
    """Names, paths and user agents that are HTML stay text."""
    one = await open_page()
    headers = await one.visitor("hostile", **{"user-agent": HOSTILE})
    await one.client.get(f"/{HOSTILE}", headers=headers)
    await one.text("#visitors .cart", HOSTILE).wait_for()
    await one.text("#call-rows .path", "onerror").wait_for()
    assert await one.page.title() == "FakeWix"
    assert await one.page.locator("main img, main script").count() == 0


async def test_another_sites_page(served: str, fake: FakeWix, shopper: Any) -> None:
    """A page of another origin can neither read the state, nor move the clock, nor frame the page."""
    hostile = HTMLResponse("<p>hello")  # from a server of its own: Chromium asks where a page comes from
    async with serving(hostile) as port:
        other = await shopper()
        await other.goto(f"http://127.0.0.1:{port}/")
        before = fake.now()
        ask = "([url, init]) => fetch(url, init).then((answer) => answer.type, () => 'failed')"
        write = {"method": "POST", "body": '{"advance": 86400}', "mode": "no-cors"}
        assert await other.evaluate(ask, [f"{served}/_fake/state", {}]) == "failed"
        await other.evaluate(ask, [f"{served}/_fake/clock", write])  # it is sent, whether or not there is an answer
        async with other.expect_event("framenavigated"):
            frame = "url => { const f = document.createElement('iframe'); f.src = url; document.body.append(f) }"
            await other.evaluate(frame, served)
        assert await other.frames[-1].locator("h1", has_text="FakeWix").count() == 0
    assert fake.now() - before < 3600


async def test_a_front_end_calls_the_api(open_page: Callable[..., Any], shopper: Any, fake: FakeWix) -> None:
    """A front end of another port, with the line for @wix/sdk that the page shows, calls the API as if it were Wix."""
    one = await open_page()
    line = await one.page.locator("#how-sdk").text_content()
    async with serving(HTMLResponse("<p>a front end")) as port:
        front = await shopper()
        await front.goto(f"http://127.0.0.1:{port}/")
        program = """([line, body]) => {
            new Function(line)();
            const headers = { "content-type": "application/json", authorization: "none" };
            return fetch("https://www.wixapis.com/oauth2/token", { method: "POST", headers, body })
                .then((answer) => answer.json());
        }"""
        body = f'{{"clientId": "{CLIENT_ID}", "grantType": "anonymous"}}'
        tokens = await front.evaluate(program, [line, body])
    assert (tokens["expires_in"], len(fake.visitors)) == (14_400, 1)


async def test_the_stand_in_goes_away(shopper: Any, fake: FakeWix) -> None:
    """The page says that the stand-in has stopped, and is live again when it is back on its port."""
    page = await shopper(**DESKTOP)
    async with fake.serve(page=True) as url:
        await page.goto(url)
        await page.locator("#live[data-state=live]").wait_for()
    await page.locator("#live[data-state=lost]").wait_for()
    async with fake.serve(page=True, port=int(url.rpartition(":")[2])):
        await page.locator("#live[data-state=live]").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_it_fits(open_page: Callable[..., Any], device: dict[str, Any], scheme: str, shots: Path) -> None:
    """Nothing is cut off or scrolls sideways, fingers find the buttons, each control has a name, text has contrast."""
    one = await open_page(**device, color_scheme=scheme)
    for products in (
        (),
        ("11111111-1111-4111-8111-111111111111",),
        ("11111111-1111-4111-8111-111111111111", "hostile"),
    ):
        await one.visitor(*products)
    one.fake.advance(3.5 * 3600)
    one.fake.fail(503, times=None)
    await one.text("#faults li", "503").wait_for()
    await one.page.screenshot(
        path=shots / f"fake-{scheme}-{'phone' if 'is_mobile' in device else 'desktop'}.png", full_page=True
    )
    assert await one.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert await one.page.evaluate(NAMELESS) == []
    assert await one.page.evaluate(PALE) == []
    if "is_mobile" in device:
        assert await one.page.evaluate(SMALL) == []


NAMELESS = """[...document.querySelectorAll('button, select, input, a')].filter((one) =>
    !(one.textContent.trim() || one.ariaLabel || one.labels?.length)).map((one) => one.outerHTML)"""
SMALL = """[...document.querySelectorAll('button, select, input:not([type=checkbox]), nav a')].filter((one) =>
    one.offsetHeight && one.offsetHeight < 40).map((one) => one.outerHTML)"""
# WCAG 2.2 success criterion 1.4.3: a ratio of 4.5 for all text that is seen.
PALE = """(() => {
  const channels = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const found = channels(getComputedStyle(node).backgroundColor);
      if (found.length < 4 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const pale = [];
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    const node = text.parentElement;
    if (!text.data.trim() || !node.checkVisibility()) continue;
    const [one, other] = [light(channels(getComputedStyle(node).color)), light(ground(node))].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio < 4.5) pale.push(`${text.data.trim()} ${ratio.toFixed(2)}`);
  }
  return pale;
})()"""
