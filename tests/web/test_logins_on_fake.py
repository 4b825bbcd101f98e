"""The login's routes against FakeWix, which is as strict with codes, states and addresses as OAuth says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.constants import CART, CLIENT_ID
from tests.web.conftest import COOKIES
from tests.web.logins import Browser, Town, Wix
from wixvisitor import VisitorPool
from wixvisitor.fastapi import CurrentMember, CurrentVisitor, login_router, setup
from wixvisitor.storage import MemoryStorage
from wixvisitor.testing import FakeWix

pytestmark = pytest.mark.anyio
PASSWORD = "correct horse battery"
ANNA = "anna@example.com"
MUG = {"appId": "215238eb-22a5-4c36-9e7b-e7c08025e04e", "catalogItemId": "11111111-1111-4111-8111-111111111111"}


async def add(visitor: CurrentVisitor) -> dict[str, Any]:
    return (
        await visitor.post(f"{CART}/add-line-items", json={"catalogItems": [{"quantity": 2, "catalogReference": MUG}]})
    ).json()


async def who(visitor: CurrentVisitor) -> dict[str, Any]:
    response = await visitor.get(CART)
    tokens = visitor.get_tokens()
    return {"role": tokens.refresh_token.role, "cart": response.json().get("cart", {}).get("id")}


async def account(member: CurrentMember) -> dict[str, Any]:
    return (await member.get("/members/v1/members/my")).json()


@asynccontextmanager
async def opened(fake: FakeWix, kind: str = "id") -> AsyncIterator[Town]:
    """A shop whose Wix is the fake."""
    town = Town(Wix(), "https://shop.example")
    client = fake.client()
    town.pool = VisitorPool(CLIENT_ID, client=client, storage=MemoryStorage(), clock=fake.now)
    app = FastAPI()
    setup(app, town.pool, cookie=COOKIES[kind](), close=False)
    app.include_router(login_router(town.redirect_uri, on_login=town.on_login, forms=True, login_page="/sign-in"))
    app.add_api_route("/add", add, methods=["POST"])
    app.add_api_route("/who", who)
    app.add_api_route("/account", account)
    town.transport = httpx.ASGITransport(app)
    yield town
    await town.pool.aclose()
    await client.aclose()


async def asked(browser: Browser) -> dict[str, Any]:
    return (await browser.client.get("/who")).json()


async def hosted(fake: FakeWix, url: str) -> str:
    """Where a page of the fake sends a browser."""
    async with fake.client() as browser:
        answer = await browser.get(url, follow_redirects=False)
        assert answer.is_redirect, answer.text
        return str(answer.headers["location"])


@pytest.fixture
def anna(still: FakeWix) -> FakeWix:
    still.add_member(ANNA, PASSWORD)
    return still


@pytest.mark.parametrize("kind", ["id", "sealed"])
async def test_a_login_on_the_hosted_page(anna, kind):
    """A visitor with a cart logs in on the hosted page, and out on the hosted page. The visitor's tokens stay good."""
    async with opened(anna, kind) as town, town.browser() as browser:
        await browser.client.post("/add")
        before = await asked(browser)
        assert before["cart"]
        back = await browser.get(anna.log_in(await browser.begins(), ANNA))
        assert back.headers["location"] == "/account"
        assert (await asked(browser))["role"] == "member"
        assert (await browser.get("/account")).status_code == 200
        ((_, login),) = town.ended
        headers = {"Authorization": login.previous.access_token.value}
        async with anna.client() as client:
            assert (await client.get(CART, headers=headers)).json()["cart"]["id"] == before["cart"]
        out = await browser.post("/auth/logout?next=/bye")
        assert (await hosted(anna, out.headers["location"])).startswith("https://shop.example/bye")
        after = await asked(browser)
        assert after == {"role": "visitor", "cart": None}
        assert anna.unmatched == []


async def test_a_login_with_a_password(anna):
    """The session token of a login with a password becomes a code on the way through the hosted page."""
    async with opened(anna) as town, town.browser() as browser:
        form = {"email": ANNA, "password": PASSWORD, "next": "/account"}
        wrong = await browser.post("/auth/login", {**form, "password": "wrong horse"})
        nobody = await browser.post("/auth/login", {**form, "email": "ben@example.com"})
        assert wrong.headers["location"] == nobody.headers["location"]
        assert "error=invalid_credentials" in wrong.headers["location"]
        answer = await browser.post("/auth/login", form)
        back = await browser.get(await hosted(anna, answer.headers["location"]))
        assert back.headers["location"] == "/account"
        assert (await asked(browser))["role"] == "member"


async def test_a_registration_with_a_code(still):
    """A new member types in the code of the mail, and is logged in."""
    still.verify_emails = True
    async with opened(still) as town, town.browser() as browser:
        form = {"email": ANNA, "password": PASSWORD, "next": "/account"}
        answer = await browser.post("/auth/register", form)
        assert "state=email_verification_required" in answer.headers["location"]
        wrong = await browser.post("/auth/verify", {"code": "000000"})
        assert "error=invalid_code" in wrong.headers["location"]
        answer = await browser.post("/auth/verify", {"code": still.outbox[-1].code})
        await browser.get(await hosted(still, answer.headers["location"]))
        assert (await asked(browser))["role"] == "member"


async def test_a_code_works_once(anna):
    """With all cookies from before and the same address, the fake refuses the code, and the copy is the visitor."""
    async with opened(anna) as town, town.browser() as browser, town.browser() as thief:
        await asked(browser)
        address = anna.log_in(await browser.begins(), ANNA)
        thief.client.cookies.update(browser.client.cookies)
        await browser.get(address)
        answer = await thief.get(address)
        assert answer.headers["location"] == "/sign-in?error=refused&next=%2Faccount"
        assert (await asked(thief))["role"] == "visitor"
        assert (await asked(browser))["role"] == "member"


@pytest.mark.parametrize("committed", [True, False])
async def test_an_exchange_whose_answer_is_lost(anna, committed):
    """If the answer to the exchange is lost, the browser is the visitor with its cart, and logs in again."""
    async with opened(anna) as town, town.browser() as browser:
        await browser.client.post("/add")
        before = await asked(browser)
        address = anna.log_in(await browser.begins(), ANNA)
        anna.drop(grant_type="authorization_code", committed=committed)
        assert (await browser.get(address)).status_code == 503
        assert await asked(browser) == before
        await browser.get(anna.log_in(await browser.begins(), ANNA))
        assert (await asked(browser))["role"] == "member"
        assert len(anna.visitors) == 1


async def test_a_silent_login_at_wix(anna):
    """After a checkout a login without a page succeeds if Wix knows the browser, and else the visitor just goes on."""
    async with opened(anna) as town, town.browser() as browser, anna.client() as there:
        await asked(browser)
        address = str(
            (await there.get(await browser.begins("/auth/login?prompt=none&next=/thanks"))).headers["location"]
        )
        assert "error=" in address
        assert (await browser.get(address)).headers["location"] == "/thanks"
        assert (await asked(browser))["role"] == "visitor"
        form = {"email": ANNA, "password": PASSWORD}
        first = await there.get((await browser.post("/auth/login", form)).headers["location"])
        await browser.get(first.headers["location"])
        assert (await asked(browser))["role"] == "member"
        again = await there.get(await browser.begins("/auth/login?prompt=none&next=/thanks"))
        assert (await browser.get(again.headers["location"])).headers["location"] == "/thanks"
        assert (await asked(browser))["role"] == "member"
