"""The storefront: its pages, its forms, its JSON, and what it says when Wix fails."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import anyio
import httpx
import pytest

from examples.shop.catalogue import PRODUCTS
from tests.examples.conftest import Opening, Street
from tests.examples.html import check_basics
from tests.stores import TroubledStorage
from wixvisitor import Tokens
from wixvisitor.cookies import SharedCookie

pytestmark = pytest.mark.anyio

MUG, BOWL, VASE, CADDY = (PRODUCTS[index].id for index in (0, 2, 4, 7))
NAVIGATION = {"Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate"}
FIRST_CALLS = [*(f"/api/products?offset={offset}&limit=2" for offset in (0, 2, 4, 6)), "/api/products?offset=8&limit=1"]


async def add(browser: httpx.AsyncClient, product_id: str, quantity: int = 1) -> dict[str, Any]:
    answer = await browser.post("/api/cart/lines", json={"product_id": product_id, "quantity": quantity})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def cart(browser: httpx.AsyncClient) -> dict[str, int]:
    """The cart as quantities by name."""
    return {line["name"]: line["quantity"] for line in (await browser.get("/api/cart")).json()["lines"]}


# Pages


@pytest.mark.parametrize("path", ["/", "/products", "/cart", "/visitor"])
async def test_every_page_keeps_the_basics(street: Street, path: str):
    """Language, title, headings, labels, a live region, and nothing inline; before there is a cart and after."""
    async with street.browser() as browser:
        check_basics((await browser.get(path)).text)
        await add(browser, VASE, 5)
        answer = await browser.get(path)
        check_basics(answer.text)
    assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_the_front_page_touches_no_visitor(street: Street):
    """The document gives the browser its cookie, and asks Wix nothing; /health gives no cookie either."""
    async with street.browser() as browser:
        front = await browser.get("/", headers=NAVIGATION)
        health = await browser.get("/health")
    assert [name.startswith("__Host-wixvisitor-") for name in front.cookies] == [True]
    assert not health.headers.get("set-cookie")
    assert not health.headers.get("vary")
    assert street.fake.calls == []


async def test_a_crawler_makes_no_visitor(street: Street):
    """Who keeps no cookies and opens all pages of the catalogue is the same visitor as everybody who does."""
    for _ in range(20):
        for path in ("/", "/products", *FIRST_CALLS):
            async with street.browser() as crawler:
                answer = await crawler.get(path, headers=NAVIGATION)
            assert answer.status_code == 200
            if path != "/":  # the front page gives a cookie, and shows nothing that Wix knows
                assert answer.headers["cache-control"] == "public, max-age=60"
                assert not {"set-cookie", "vary"} & set(answer.headers)
    assert len(street.fake.visitors) == len(street.fake.token_calls()) == 1


async def test_a_cached_page(street: Street):
    """The page's first call as the visitor brings the cookie, and the next ones, all at once, are the same visitor."""
    async with street.browser() as browser:
        await browser.get("/api/cart")
        async with anyio.create_task_group() as group:
            for _ in range(6):
                group.start_soon(browser.get, "/api/cart")
        assert (await browser.get("/api/visitor")).json()["calls"] == 7
    assert len(street.fake.visitors) == 1


async def test_the_front_pages_first_calls_make_one_visitor(street: Street):
    """Six calls at once, of a browser that Wix has never seen: one is for its cart, the others are everybody's."""
    async with street.browser() as browser:
        await browser.get("/", headers=NAVIGATION)
        answers: list[httpx.Response] = []

        async def ask(path: str) -> None:
            answers.append(await browser.get(path))

        async with anyio.create_task_group() as group:
            for path in (*FIRST_CALLS, "/api/cart"):
                group.start_soon(ask, path)
        assert (await browser.get("/api/visitor")).json()["calls"] == 1
    assert {answer.status_code for answer in answers} == {200}
    assert len(street.fake.visitors) == 2
    names = {product["name"] for answer in answers for product in answer.json().get("products", [])}
    assert names == {product.name for product in PRODUCTS}


async def test_two_browsers_are_two_visitors(street: Street):
    """Each has its own cart."""
    async with street.browser() as anna, street.browser() as ben:
        await add(anna, MUG)
        await add(ben, BOWL, 2)
        assert await cart(anna) == {"Harbour mug": 1}
        assert await cart(ben) == {"Breakfast bowl": 2}
        names = {(await browser.get("/api/visitor")).json()["visitor"] for browser in (anna, ben)}
    assert len(names) == len(street.fake.visitors) == 2


# The forms, without JavaScript


async def test_the_forms_work_without_javascript(street: Street):
    """Add, one more, set, one fewer, remove: each leads back to the cart, which says what was done."""
    async with street.browser() as browser:
        shelf = (await browser.get("/products")).text
        assert shelf.count('action="/cart/add"') == len(PRODUCTS)
        page = await browser.post("/cart/add", data={"product_id": MUG})
        assert page.url.path == "/cart"
        assert "Added to your cart." in page.text
        line = (await browser.get("/api/cart")).json()["lines"][0]["id"]
        for form, quantity in (({"quantity": 1, "step": 1}, 2), ({"quantity": 7}, 7), ({"quantity": 7, "step": -1}, 6)):
            page = await browser.post(f"/cart/lines/{line}", data=form)
            assert await cart(browser) == {"Harbour mug": quantity}
        assert "$144.00" in page.text
        page = await browser.post(f"/cart/lines/{line}/remove")
    assert "Removed from your cart." in page.text
    assert "It is empty" in page.text


async def test_a_cart_says_what_there_is_too_little_of(street: Street):
    """Wix answers 200 to what cannot be had; the line tells."""
    async with street.browser() as browser:
        answer = await add(browser, VASE, 5)
        assert answer["message"] == "Stem vase: Only 3 of these left."
        assert answer["subtotal"] == answer["lines"][0]["total"] == "$135.00"
        answer = await add(browser, CADDY)
        assert answer["message"] == "Tea caddy: Sold out."
        page = await browser.post("/cart/add", data={"product_id": CADDY})
    assert "Only 3 of these left." in page.text
    assert "There are fewer of these than you asked for." in page.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
async def test_a_form_of_another_site_is_refused(street: Street, headers: dict[str, str]):
    """Nothing reaches Wix."""
    async with street.browser() as browser:
        answers = [
            await browser.post("/cart/add", data={"product_id": MUG}, headers=headers),
            await browser.post("/api/cart/lines", json={"product_id": MUG}, headers=headers),
        ]
        ours = await browser.post("/cart/add", data={"product_id": MUG}, headers={"Origin": "https://shop.example"})
    assert [answer.status_code for answer in answers] == [403, 403]
    assert ours.status_code == 200


# The JSON


async def test_lines_are_changed_and_removed_by_javascript(street: Street):
    """PATCH sets a quantity, DELETE takes a line out; both answer the whole cart."""
    async with street.browser() as browser:
        line = (await add(browser, MUG))["lines"][0]["id"]
        await add(browser, BOWL)
        changed = (await browser.patch(f"/api/cart/lines/{line}", json={"quantity": 3})).json()
        removed = (await browser.delete(f"/api/cart/lines/{line}")).json()
    assert (changed["count"], changed["subtotal"]) == (4, "$100.50")
    assert [line["name"] for line in removed["lines"]] == ["Breakfast bowl"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/api/cart/lines", {"product_id": MUG, "quantity": 0}, 422),
        ("POST", "/api/cart/lines", {"quantity": 1}, 422),
        ("POST", "/api/cart/lines", {"product_id": "no-such-thing"}, 404),
        ("PATCH", "/api/cart/lines/nothing", {"quantity": 2}, 404),
        ("DELETE", "/api/cart/lines/nothing", None, 404),
        ("GET", "/api/nothing", None, 404),
    ],
)
async def test_what_cannot_be_is_said_in_json(street: Street, method: str, path: str, body: Any, status: int):
    """With a text for the shopper and the right status."""
    async with street.browser() as browser:
        answer = await browser.request(method, path, json=body)
    assert answer.status_code == status
    assert answer.json()["error"]["text"]


# The visitor's state


async def test_the_state_tells_role_age_and_calls(street: Street):
    """First there is nobody; then a visitor, whose token ages; a renewal is told, and is the same visitor."""
    async with street.browser() as browser:
        before = (await browser.get("/api/visitor")).json()
        assert (before["role"], before["visitor"], before["calls"]) == ("none", "", 0)
        await add(browser, MUG)
        street.fake.advance(600)
        made = (await browser.get("/api/visitor")).json()
        page = await browser.post("/visitor/renew")
        renewed = (await browser.get("/api/visitor")).json()
        assert await cart(browser) == {"Harbour mug": 1}
    assert (made["role"], made["last_change"], made["calls"]) == ("visitor", "minted", 1)
    assert (made["token_age"], made["expires_in"]) == (600, 13_800)
    assert (renewed["last_change"], renewed["token_age"], renewed["expires_in"]) == ("renewed", 0, 14_400)
    assert renewed["visitor"] == made["visitor"]
    assert "Renewed here" in page.text


async def test_a_visitor_can_be_forgotten(street: Street):
    """Then there is nobody, and later somebody else with an empty cart."""
    async with street.browser() as browser:
        await add(browser, MUG)
        page = await browser.post("/visitor/forget")
        assert "Not a visitor yet" in page.text
        assert await cart(browser) == {}
    assert len(street.fake.visitors) == 2


async def test_no_page_holds_a_token(street: Street):
    """Nor any part of one; the short name is a hash."""
    async with street.browser() as browser:
        await add(browser, MUG)
        paths = ["/", "/products", "/cart", "/visitor", "/nothing", "/api/cart", "/api/visitor", "/api/products"]
        texts = [(await browser.get(path)).text for path in paths]
        state = (await browser.get("/api/visitor")).json()
    tokens = _tokens_of(street)
    assert tokens
    for text in texts:
        assert not any(part in text for token in tokens for part in (token, token[-12:], token.split(".")[-2][-16:]))
    assert not any(state["visitor"] in token for token in tokens)


def _tokens_of(street: Street) -> list[str]:
    return [*street.fake._visitors.access_tokens, *street.fake._visitors.refresh_tokens]


async def test_a_cookie_that_javascript_reads_keeps_its_past(open_shop: Opening):
    """Its key changes once the tokens are there; who made them is still known, and the cart is there."""
    street = open_shop(SharedCookie("wixSession"))
    async with street.browser() as browser:
        await browser.get("/", headers=NAVIGATION)
        await add(browser, MUG)
        await add(browser, MUG)
        state = (await browser.get("/api/visitor")).json()
        shared = json.loads(unquote(browser.cookies["wixSession"]))
    assert (state["last_change"], state["calls"]) == ("minted", 2)
    assert len(street.fake.visitors) == 1
    assert Tokens.from_dict(shared["tokens"]).refresh_token.role == "visitor"


# When Wix fails


async def test_an_outage_of_the_token_endpoint_is_said_kindly(street: Street):
    """503 with Retry-After, as a page and as JSON; afterwards the cart is as it was."""
    async with street.browser() as browser:
        await add(browser, MUG, 2)
        street.fake.advance(14_400)
        outage = street.fake.fail(503, headers={"Retry-After": "7"}, times=None)
        page, data = await browser.get("/cart"), await browser.get("/api/cart")
        posted = await browser.post("/cart/add", data={"product_id": MUG})
        outage.remove()
        street.fake.advance(60)
        assert await cart(browser) == {"Harbour mug": 2}
    assert [answer.status_code for answer in (page, data, posted)] == [503] * 3
    assert int(page.headers["retry-after"]) in range(1, 8)
    check_basics(page.text)
    assert "Your cart is safe." in page.text
    assert "Your cart is safe." in data.json()["error"]["text"]
    assert len(street.fake.visitors) == 1


@pytest.mark.parametrize(("fault", "status"), [(429, 503), (500, 503), (503, 503), (403, 500)])
async def test_an_api_that_fails_is_said_kindly(street: Street, fault: int, status: int):
    """Whatever it is, the shopper reads that nothing is lost."""
    async with street.browser() as browser:
        await add(browser, MUG)
        street.fake.fail(fault, path="/ecom/*", times=3 if fault == 503 else 1)  # a reading call is sent three times
        page = await browser.get("/cart")
        assert await cart(browser) == {"Harbour mug": 1}
    assert page.status_code == status
    check_basics(page.text)
    assert "Your cart is safe." in page.text


async def test_a_broken_connection_and_html_instead_of_json_are_outages(street: Street):
    """Both are 503; neither changes the visitor."""
    async with street.browser() as browser:
        street.fake.drop(path="/ecom/*", times=3)  # a reading call is sent three times
        street.fake.fail(200, body="<h1>Hello</h1>", path="/ecom/*")
        assert [(await browser.get("/cart")).status_code for _ in range(3)] == [503, 503, 200]
    assert len(street.fake.visitors) == 1


async def test_a_session_that_ended_asks_to_log_in_again(open_shop: Opening):
    """With the way to go on as a guest, which is another visitor."""
    street = open_shop(on_refused="raise")
    async with street.browser() as browser:
        await add(browser, MUG)
        (visitor_id,) = street.fake.visitors
        street.fake.refuse_refresh_tokens(visitor_id)
        street.fake.advance(14_400)
        page, data = await browser.get("/cart"), await browser.get("/api/cart")
        guest = await browser.post("/visitor/forget")
        assert await cart(browser) == {}
    assert (page.status_code, data.status_code, guest.status_code) == (401, 401, 200)
    check_basics(page.text)
    assert "Please log in again" in page.text
    assert "Go on as a guest" in page.text


async def test_a_store_that_is_away_is_an_outage(open_shop: Opening):
    """503, as a page, and no visitor is made meanwhile."""
    street = open_shop(storage=TroubledStorage(load=OSError("the disk is gone")))
    async with street.browser() as browser:
        page = await browser.get("/cart")
        assert (await browser.get("/health")).status_code == 200
    assert page.status_code == 503
    check_basics(page.text)
    assert street.fake.visitors == {}


async def test_a_bug_is_a_page_too(street: Street, monkeypatch: pytest.MonkeyPatch):
    """500, without anything of what went wrong, and with the visitor's cookie."""

    async def broken(_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("examples.shop.wix.Shop.cart", broken)
    async with street.browser() as browser:
        page = await browser.get("/cart")
    assert page.status_code == 500
    assert "secret" not in page.text
    assert "content-security-policy" in page.headers
    assert "That did not work" in page.text
    assert [name.startswith("__Host-wixvisitor-") for name in page.cookies] == [True]
