"""The login's routes in a real browser, with Wix's pages on another site: cookies, redirects, forms, prefetches."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse, RedirectResponse

from tests.browser.conftest import serving
from tests.constants import CLIENT_ID
from tests.storage.conftest import free_port
from tests.web.conftest import KEY
from tests.web.logins import PASSWORD, Town, Wix, fastapi_app
from wixvisitor import VisitorPool
from wixvisitor._wire import members as wire
from wixvisitor.cookies import IdCookie
from wixvisitor.storage import MemoryStorage

pytestmark = [pytest.mark.browser, pytest.mark.anyio]

HOME = """<link rel=prefetch href="/auth/login"><a href="/auth/login?next=/account">Log in</a>
<form method=post action="/auth/login"><input name=email><input name=password type=password>
<input name=next type=hidden value=/account><button>Send</button></form>
<form method=post action="/auth/logout?next=/bye"><button>Log out</button></form>"""


def wixs_pages(wix: Wix) -> FastAPI:
    """Wix's pages: one logs in with a form, as such pages do, and one logs out."""
    app = FastAPI()

    @app.get("/login", response_class=HTMLResponse)
    async def login(state: str) -> str:
        return f'<form method=post action="/done?state={state}"><button>I am Anna</button></form>'

    @app.post("/done")
    async def done(state: str) -> RedirectResponse:
        return RedirectResponse(wix.approve(f"{wix.pages}/login?state={state}"), status_code=302)

    @app.get("/logout")
    async def logout(to: str) -> RedirectResponse:
        return RedirectResponse(to)

    @app.get("/evil", response_class=HTMLResponse)
    async def evil(shop: str) -> str:
        return f'<form method=post action="{shop}/auth/logout"><button>Win</button></form><img src="{shop}/auth/login">'

    return app


@asynccontextmanager
async def open_sites(certificate: dict[str, str]) -> AsyncGenerator[Town]:
    """A shop, and Wix's pages on another site, both over https."""
    wix, port = Wix(), free_port()
    town = Town(wix, f"https://shop.localhost:{port}", {"forms": True, "login_page": "/"})
    client = httpx.AsyncClient(transport=httpx.MockTransport(wix))
    town.pool = VisitorPool(CLIENT_ID, client=client, storage=MemoryStorage(), clock=lambda: town.now)
    town.cookie = IdCookie([KEY])
    shop = fastapi_app(town, {})
    shop.add_api_route("/", lambda: HTMLResponse(HOME), response_model=None)
    shop.add_api_route("/bye", lambda: HTMLResponse("Good bye"), response_model=None)
    async with serving(wixs_pages(wix), **certificate) as there, serving(shop, port=port, **certificate):
        wix.pages = f"https://wix.localhost:{there}"
        yield town
    await town.pool.aclose()
    await client.aclose()


@pytest.fixture
def certificate(tmp_path: Path) -> dict[str, str]:
    """What uvicorn needs for https."""
    issued = pytest.importorskip("trustme").CA().issue_cert("localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    return {"ssl_certfile": str(tmp_path / "server.pem")}


async def text_of(page: Any) -> str:
    return str(await page.locator("body").inner_text())


async def clicks(page: Any, name: str) -> str:
    async with page.expect_navigation():
        await page.get_by_text(name).click()
    return await text_of(page)


async def who(page: Any, town: Town) -> str:
    await page.goto(f"{town.origin}/cart")
    return await text_of(page)


@pytest.mark.parametrize("has_scripts", [True, False])
async def test_a_shopper_logs_in_and_out(certificate, shopper, has_scripts):
    """A shopper logs in on Wix's page and out again, with and without scripts; nothing was loaded ahead."""
    async with open_sites(certificate) as town:
        page = await shopper(ignore_https_errors=True, java_script_enabled=has_scripts)
        assert await who(page, town) == "visitor1"
        await page.goto(town.origin, wait_until="networkidle")
        assert town.wix.bodies(wire.REDIRECT_PATH) == []
        assert "I am Anna" in await clicks(page, "Log in")
        assert await clicks(page, "I am Anna") == "member1"
        assert page.url == f"{town.origin}/account"
        assert {cookie["name"] for cookie in await page.context.cookies() if "login" in cookie["name"]} == set()
        await page.go_back()
        assert await who(page, town) == "member1"
        await page.goto(town.origin)
        assert await clicks(page, "Log out") == "Good bye"
        assert await who(page, town) == "visitor2"


async def test_a_shopper_with_a_password(certificate, shopper):
    """The shop's own form works without scripts: through Wix and back."""
    async with open_sites(certificate) as town:
        page = await shopper(ignore_https_errors=True, java_script_enabled=False)
        assert await who(page, town) == "visitor1"
        await page.goto(town.origin)
        await page.fill("[name=email]", "anna@example.com")
        await page.fill("[name=password]", "wrong")
        await clicks(page, "Send")
        assert page.url == f"{town.origin}/?error=invalid_credentials&next=%2Faccount"
        await page.fill("[name=email]", "anna@example.com")
        await page.fill("[name=password]", PASSWORD)
        await clicks(page, "Send")
        assert await clicks(page, "I am Anna") == "member1"


async def test_a_stolen_callback_in_a_second_browser(certificate, shopper):
    """The address of a callback brings a second browser nothing, and is still good in the first."""
    async with open_sites(certificate) as town:
        page, thief = await shopper(ignore_https_errors=True), await shopper(ignore_https_errors=True)
        assert await who(page, town) == "visitor1"
        await page.goto(f"{town.origin}/auth/login?next=/account")
        address = town.wix.approve(page.url)
        await thief.goto(address)
        assert thief.url == f"{town.origin}/?error=over&next=%2F"
        assert await who(thief, town) == "visitor2"
        await page.goto(address)
        assert await text_of(page) == "member1"


async def test_another_sites_page(certificate, shopper):
    """Another site's form does not log out, and its image begins no login."""
    async with open_sites(certificate) as town:
        page = await shopper(ignore_https_errors=True)
        await page.goto(f"{town.origin}/auth/login?next=/account")
        assert await clicks(page, "I am Anna") == "member1"
        begun = len(town.wix.bodies(wire.REDIRECT_PATH))
        await page.goto(f"{town.wix.pages}/evil?shop={town.origin}", wait_until="networkidle")
        assert "Not from here" in await clicks(page, "Win")
        assert len(town.wix.bodies(wire.REDIRECT_PATH)) == begun
        assert await who(page, town) == "member1"
