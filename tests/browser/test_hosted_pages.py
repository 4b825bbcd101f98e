"""FakeWix's login and checkout pages in a real Chromium, without script; the web message in a frame, with script."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
from starlette.responses import HTMLResponse

from tests.browser.conftest import serving
from tests.browser.test_fake_page import DESKTOP, PALE, PHONE
from tests.constants import CART, CLIENT_ID
from wixvisitor import VisitorSession
from wixvisitor.members import LoginOutcome
from wixvisitor.testing import FakeWix
from wixvisitor.testing._catalog import BUILT_IN, STORES_APP_ID
from wixvisitor.testing._stand_in.clock import Clock

pytestmark = [pytest.mark.browser, pytest.mark.anyio]

EMAIL, PASSWORD = "anna@example.com", "correct horse"
MUGS = {
    "catalogItems": [{"quantity": 2, "catalogReference": {"appId": STORES_APP_ID, "catalogItemId": BUILT_IN[0].id}}]
}
FRAME = """url => new Promise((resolve) => {
  addEventListener('message', ({ data }) => resolve(data));
  const frame = document.createElement('iframe');
  frame.src = url;
  document.body.append(frame);
})"""


@pytest.fixture
def fake() -> FakeWix:
    fake = FakeWix(clock=Clock())
    fake.add_member(EMAIL, PASSWORD)
    return fake


@attrs.define
class Shop:
    """A session of the shop, where the shop is, and where the stand-in is."""

    session: VisitorSession
    url: str
    wix: str


@pytest.fixture
async def shop(fake: FakeWix, anyio_backend: str) -> AsyncGenerator[Shop]:
    async with (
        fake.serve(page=True) as wix,
        serving(HTMLResponse("<h1>The shop")) as port,
        VisitorSession(CLIENT_ID, base_url=wix) as session,
    ):
        (await session.post(f"{CART}/add-line-items", json=MUGS)).raise_for_status()
        yield Shop(session, f"http://localhost:{port}", wix)


def parameters(page: Any) -> dict[str, str]:
    return dict(httpx.URL(page.url).params)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_logs_in_pays_and_logs_out(
    shop: Shop, fake: FakeWix, shopper: Callable[..., Any], device: dict[str, Any], scheme: str, shots: Path
) -> None:
    """A browser without JavaScript logs in, pays, comes back silently and logs out; each page fits and is legible."""
    page = await shopper(**device, color_scheme=scheme, java_script_enabled=False)
    members = shop.session.members
    name = f"{scheme}-{'phone' if 'is_mobile' in device else 'desktop'}"

    login = await members.start_login(f"{shop.url}/callback")
    await page.goto(login.url)
    await page.get_by_label("Email").fill(EMAIL)
    await page.get_by_label("Password").fill("wrong")
    await page.get_by_role("button", name="Log in").click()
    await page.get_by_role("alert").wait_for()
    await page.screenshot(path=shots / f"hosted-login-{name}.png")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert await page.evaluate(PALE) == []
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_label("Password").press("Enter")  # the form's first button is the login's
    await page.get_by_role("heading", name="The shop").wait_for()
    await members.finish_login(login, page.url)

    await page.goto(await shop.session.checkout.url(return_to=f"{shop.url}/", thank_you=f"{shop.url}/thanks"))
    await page.get_by_role("cell", name="Mug").wait_for()
    await page.screenshot(path=shots / f"hosted-checkout-{name}.png")
    assert await page.evaluate(PALE) == []
    await page.get_by_role("button", name="Place order").click()
    await page.get_by_role("heading", name="The shop").wait_for()
    assert parameters(page) == {"orderId": fake.orders[0].id, "wixMemberLoggedIn": "true"}
    assert (await shop.session.get(CART)).status_code == 404

    silent = await members.start_login(f"{shop.url}/callback", prompt="none")
    await page.goto(silent.url)
    await members.finish_login(silent, page.url)
    await page.goto(await members.logout(f"{shop.url}/"))
    assert parameters(page) == {"wixMemberLoggedIn": "false"}


async def test_a_web_message(shop: Shop, fake: FakeWix, shopper: Callable[..., Any]) -> None:
    """A frame posts code and state to the page of another origin around it; a page with a form cannot be framed."""
    outcome = await shop.session.members.login(EMAIL, PASSWORD)
    login = await shop.session.members._start(
        "", prompt="none", response_mode="web_message", session_token=outcome.session_token
    )
    page = await shopper()
    await page.goto(shop.url)
    assert set(await page.evaluate(FRAME, login.url)) == {"code", "state"}
    form = await shop.session.members.start_login(f"{shop.url}/callback")
    async with page.expect_event("framenavigated"):
        await page.evaluate(f"({FRAME})('{form.url}') && 0")
    assert await page.frames[-1].locator("form").count() == 0


async def test_mail_on_the_page(shop: Shop, fake: FakeWix, shopper: Callable[..., Any], shots: Path) -> None:
    """The stand-in's page shows codes and links that the fake would have mailed, and the link leads to its page."""
    fake.verify_emails = True
    outcome = await shop.session.members.register("bea@example.com", "b")
    await shop.session.members.send_password_reset(EMAIL, f"{shop.url}/")
    page = await shopper(**DESKTOP)
    await page.goto(shop.wix)
    code = await page.locator("#mail [data-part=code]:not(:empty)").inner_text()
    await page.screenshot(path=shots / "fake-mail.png", full_page=True)
    assert (await shop.session.members.verify(code, outcome)).state == "success"
    async with page.expect_popup() as opened:
        await page.get_by_role("link", name="Open the link").click()
    reset = await opened.value
    await reset.get_by_label("New password").fill("new")
    await reset.get_by_role("button", name="Save").click()
    await reset.get_by_role("heading", name="The shop").wait_for()
    assert isinstance(await shop.session.members.login(EMAIL, "new"), LoginOutcome)
