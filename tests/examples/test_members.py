"""The storefront's members: login, registration, account, logout, checkout, and what they read if Wix refuses."""

from __future__ import annotations

from typing import Any, get_args
from urllib.parse import urljoin

import httpx
import pytest

from examples.shop.catalogue import PRODUCTS
from tests.examples.conftest import URL, WIX, Opening, Street
from tests.examples.html import Page, check_basics
from wixvisitor.cookies import SharedCookie
from wixvisitor.members import MemberLoginReason
from wixvisitor.testing import FakeWix

pytestmark = pytest.mark.anyio

ANNA, PASSWORD = "anna@example.com", "correct horse battery"
MUG = PRODUCTS[0].id
OPENS = {"Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate"}
TIMES = "\N{MULTIPLICATION SIGN}"
GENERAL = "That did not work"
OF_ROUTES = ("invalid_credentials", "invalid_code", "fields", "over", "expired", "changed", "refused", "cookies")
REASONS = (*get_args(MemberLoginReason), *OF_ROUTES)


@pytest.fixture
def anna(fake: FakeWix) -> FakeWix:
    fake.add_member(ANNA, PASSWORD, profile={"firstName": "Anna", "lastName": "Berg"})
    return fake


async def opens(browser: httpx.AsyncClient, path: str) -> httpx.Response:
    """Opens a page, as a shopper does."""
    return await browser.get(path, headers=OPENS)


async def sends(browser: httpx.AsyncClient, page: httpx.Response, path: str, **fields: Any) -> httpx.Response:
    """Fills in the page's form that posts there, and sends it; the form's own hidden fields go with it."""
    (action,) = {form.get("action") for form in Page(page.text).all("form")} & {path}
    form = page.text.partition(f'action="{action}"')[2].partition("</form>")[0]
    hidden = {e.get("name"): e.get("value") for e in Page(form).all("input") if e.get("type") == "hidden"}
    names = {element.get("name") for element in Page(form).all("input", "button")}
    assert set(fields) <= names, names
    target = urljoin(str(page.url), action)
    return await browser.post(target, data=hidden | fields, headers={"Origin": f"https://{httpx.URL(target).host}"})


async def logs_in(browser: httpx.AsyncClient, *, path: str = "/account", password: str = PASSWORD) -> httpx.Response:
    page = await opens(browser, path)
    assert page.url.path == "/sign-in", page.text
    return await sends(browser, page, "/auth/login", email=ANNA, password=password)


async def fills_a_cart(browser: httpx.AsyncClient) -> None:
    (await browser.post("/api/cart/lines", json={"product_id": MUG, "quantity": 2})).raise_for_status()


async def count(browser: httpx.AsyncClient) -> int:
    return int((await browser.get("/api/cart")).json()["count"])


async def role(browser: httpx.AsyncClient) -> str:
    return str((await browser.get("/api/visitor")).json()["role"])


async def pays(browser: httpx.AsyncClient) -> httpx.Response:
    """Goes to the checkout and orders: the page after that."""
    page = await opens(browser, "/checkout")
    assert page.url.host == WIX, page.text
    return await sends(browser, page, "checkout")


# Pages


@pytest.mark.parametrize(
    "path",
    [
        "/sign-in",
        "/sign-in?error=invalid_credentials&next=%2Fcart",
        "/sign-in?state=email_verification_required",
        "/sign-in?state=owner_approval_required",
        "/sign-in?done=logged-out",
        "/password",
        "/thanks?orderId=0e6a50f5-b523-4e29-990d-f37fa2ffdd69",
        "/thanks",
    ],
)
async def test_every_page_keeps_the_basics(street: Street, path: str):
    """Language, headings, labels, nothing inline; no page of these asks Wix."""
    async with street.browser() as browser:
        check_basics((await opens(browser, path)).text)
    assert street.fake.calls == []


@pytest.mark.parametrize("reason", REASONS)
async def test_each_refusal_has_plain_words(street: Street, reason: str):
    """Whatever login_router says, the shopper reads a sentence; only what Wix did not explain gets the general one."""
    async with street.browser() as browser:
        page = await opens(browser, f"/sign-in?error={reason}")
    (alert,) = [element for element in Page(page.text).elements if element.get("role") == "alert"]
    assert (GENERAL in alert.text) == (reason in {"unknown", "invalid_password"})  # the latter is invalid_credentials
    assert "_" not in alert.text


# Login and logout


async def test_a_login_with_the_shops_form(street: Street, anna: FakeWix):
    """A wrong password is said, the right one leads to the account; the cart is the one from before."""
    async with street.browser() as browser:
        await fills_a_cart(browser)
        page = await logs_in(browser, password="wrong")
        assert "do not belong together" in page.text
        assert await role(browser) == "visitor"
        page = await sends(browser, page, "/auth/login", email=ANNA, password=PASSWORD)
        assert page.url == f"{URL}/account"
        check_basics(page.text)
        assert "Hello, Anna Berg" in page.text
        assert ANNA in page.text
        assert f"2 {TIMES} Harbour mug" in page.text
        assert await count(browser) == 2
    assert len(anna.visitors) == 1


async def test_a_login_on_wixs_page(street: Street, anna: FakeWix):
    """The link leads to Wix's page, and that to where the shopper wanted to go."""
    async with street.browser() as browser:
        await fills_a_cart(browser)
        page = await opens(browser, "/sign-in?next=/cart")
        (link,) = [a.get("href") for a in Page(page.text).all("a") if a.get("href").startswith("/auth/login")]
        page = await opens(browser, link)
        assert page.url.host == WIX
        page = await sends(browser, page, "login", email=ANNA, password=PASSWORD)
        assert page.url == f"{URL}/cart"
        assert "Harbour mug" in page.text
        assert await role(browser) == "member"
        page = await opens(browser, "/sign-in")
    assert "You are logged in already." in page.text


async def test_a_login_that_is_cancelled_on_wixs_page(street: Street, anna: FakeWix):
    """The shop says so, keeps where the shopper wanted to go, and the cart is as it was."""
    async with street.browser() as browser:
        await fills_a_cart(browser)
        page = await sends(browser, await opens(browser, "/auth/login?next=/cart"), "login", action="cancel")
        assert page.url == f"{URL}/sign-in?error=refused&next=%2Fcart"
        assert "the login was cancelled" in page.text
        assert await count(browser) == 2
        assert (await sends(browser, page, "/auth/login", email=ANNA, password=PASSWORD)).url == f"{URL}/cart"


@pytest.mark.parametrize("cookie", [None, SharedCookie("wixSession")], ids=["id", "shared"])
async def test_a_logout(open_shop: Opening, anna: FakeWix, cookie: Any):
    """Afterwards the account asks for a login, and the cart is another visitor's; whatever the cookie is."""
    street = open_shop(cookie)
    async with street.browser() as browser:
        await fills_a_cart(browser)
        page = await logs_in(browser)
        page = await sends(browser, page, "/auth/logout")
        assert page.url.path == "/sign-in"
        assert "You are logged out." in page.text
        assert await count(browser) == 0
        assert (await opens(browser, "/account")).url.path == "/sign-in"


async def test_the_account_without_a_login(street: Street, anna: FakeWix):
    """A script gets a 401; a browser goes to the login, which keeps only paths of the shop."""
    async with street.browser() as browser:
        answer = await browser.get("/account", headers={"Sec-Fetch-Dest": "empty"})
        assert answer.status_code == 401
        assert "Please log in" in answer.text
        page = await logs_in(browser, path="/sign-in?next=https%3A%2F%2Fevil.example")
        assert page.url == f"{URL}/account"


@pytest.mark.parametrize("status", [403, 404, 428])
async def test_a_site_without_members_area(street: Street, anna: FakeWix, status: int):
    """The account is there all the same, and says so."""
    async with street.browser() as browser:
        await logs_in(browser)
        anna.fail(status, path="/members/*")
        page = await opens(browser, "/account")
    assert page.status_code == 200
    assert "no Members Area" in page.text
    check_basics(page.text)


async def test_a_login_that_wix_has_ended(street: Street, anna: FakeWix):
    """The page offers a login, which works, and to go on as a guest."""
    async with street.browser() as browser:
        await logs_in(browser)
        anna.refuse_refresh_tokens(next(iter(anna.visitors)))
        anna.advance(14_400)
        page = await opens(browser, "/account")
        assert page.status_code == 401
        assert "Go on as a guest" in page.text
        (link,) = [a.get("href") for a in Page(page.text).all("a") if "/auth/login" in a.get("href")]
        page = await sends(browser, await opens(browser, link), "login", email=ANNA, password=PASSWORD)
    assert "Hello, Anna Berg" in page.text


@pytest.mark.parametrize("trouble", [None, "outage"])
async def test_a_member_who_has_another_cart(street: Street, anna: FakeWix, trouble: str | None):
    """If a login leads to an older cart, it gets what the guest had and it lacks; in an outage it stays as it is."""
    anna.cart_at_login = "member"
    async with street.browser() as first, street.browser() as browser:
        await fills_a_cart(first)
        await logs_in(first)
        for product, quantity in ((MUG, 5), (PRODUCTS[2].id, 3)):
            await browser.post("/api/cart/lines", json={"product_id": product, "quantity": quantity})
        if trouble:
            anna.fail(503, path="/ecom/*", times=3)  # the first call after the login, which is sent three times
        assert "Hello, Anna Berg" in (await logs_in(browser)).text
        lines = {line["name"]: line["quantity"] for line in (await browser.get("/api/cart")).json()["lines"]}
    assert lines == {"Harbour mug": 2} | ({} if trouble else {"Breakfast bowl": 3})


async def test_another_members_cart(street: Street, anna: FakeWix):
    """A member who logs in where another one was brings along nothing of theirs."""
    anna.cart_at_login = "member"
    anna.add_member("ben@example.com", PASSWORD)
    async with street.browser() as first, street.browser() as browser:
        page = await opens(first, "/sign-in")
        await sends(first, page, "/auth/login", email="ben@example.com", password=PASSWORD)
        await fills_a_cart(browser)
        await logs_in(browser)
        page = await opens(browser, "/sign-in")
        await sends(browser, page, "/auth/login", email="ben@example.com", password=PASSWORD)
        assert await count(browser) == 0


# Registration and passwords


async def test_a_registration_with_a_code(street: Street, fake: FakeWix):
    """The form leads to the code's form, a wrong code back to it, and the right one to the account; with the cart."""
    fake.verify_emails = True
    async with street.browser() as browser:
        await fills_a_cart(browser)
        page = await opens(browser, "/sign-in?next=/account")
        fields = {"profile.firstName": "Ben", "email": "ben@example.com", "password": PASSWORD}
        page = await sends(browser, page, "/auth/register", **fields)
        page = await sends(browser, page, "/auth/verify", code="000000")
        assert "This code is wrong" in page.text
        page = await sends(browser, page, "/auth/verify", code=fake.outbox[-1].code)
        assert page.url == f"{URL}/account"
        assert "Hello, Ben" in page.text
        assert await count(browser) == 2


async def test_a_registration_that_has_to_wait(street: Street, anna: FakeWix):
    """An address that has an account, and a member whom the owner has to approve: both are said, neither logs in."""
    async with street.browser() as browser:
        page = await opens(browser, "/sign-in")
        page = await sends(browser, page, "/auth/register", email=ANNA, password="x")
        assert "There is an account with this email address already." in page.text
        anna.approve_members = True
        page = await sends(browser, page, "/auth/register", email="ben@example.com", password="x")
        assert "has to approve your account" in page.text
        assert await role(browser) == "visitor"


@pytest.mark.parametrize("email", [ANNA, "nobody@example.com"])
async def test_a_new_password(street: Street, anna: FakeWix, email: str):
    """A link comes by email, if there is an account; the answer does not tell."""
    async with street.browser() as browser:
        page = await sends(browser, await opens(browser, "/password"), "/password", email=email)
        assert "If there is an account with this address" in page.text
        assert [mail.to for mail in anna.outbox] == ([ANNA] if email == ANNA else [])
        if anna.outbox:
            page = await sends(browser, await opens(browser, anna.outbox[0].url), "reset", password="new")
            assert page.url == f"{URL}/sign-in"
            page = await sends(browser, page, "/auth/login", email=ANNA, password="new")
            assert "Hello, Anna Berg" in page.text


# Checkout


async def test_an_order(street: Street, anna: FakeWix):
    """A member pays on Wix's page; the thank-you page has the order, and the cart is empty."""
    async with street.browser() as browser:
        await fills_a_cart(browser)
        await logs_in(browser)
        page = await pays(browser)
        (order,) = anna.orders
        assert (page.url.path, order.member_id) == ("/thanks", anna.members[ANNA].id)
        assert order.id in page.text
        check_basics(page.text)
        assert (await opens(browser, "/account")).text.count("It is empty") == 1


async def test_an_order_of_a_guest(street: Street, anna: FakeWix):
    """A guest pays without an account, and stays the same visitor."""
    async with street.browser() as browser:
        await fills_a_cart(browser)
        page = await pays(browser)
        assert [order.member_id for order in anna.orders] == [None]
        assert anna.orders[0].id in page.text
        assert "Your account" not in page.text
        assert (await role(browser), await count(browser)) == ("visitor", 0)
    assert len(anna.visitors) == 1


async def test_a_checkout_without_a_cart(street: Street):
    """It leads to the cart, which says that it is empty."""
    async with street.browser() as browser:
        page = await opens(browser, "/checkout")
    assert page.url == f"{URL}/cart"
    assert "It is empty" in page.text


@pytest.mark.parametrize("back", ["thanks", "cart"])
async def test_a_shopper_whom_wix_knows_is_logged_in_again(street: Street, anna: FakeWix, back: str):
    """Wix's checkout knew the member, and the shop did not: coming back is a login, and the page is the one wanted."""
    async with street.browser() as browser:
        await logs_in(browser)
        await browser.post("/visitor/forget")  # here, and not at Wix
        await fills_a_cart(browser)
        assert await role(browser) == "visitor"
        if back == "thanks":
            page = await pays(browser)
            assert anna.orders[0].id in page.text
        else:
            checkout = await opens(browser, "/checkout")
            (link,) = [a.get("href") for a in Page(checkout.text).all("a")]
            page = await opens(browser, link)
            assert page.url == f"{URL}/cart"
            assert "Harbour mug" in page.text
        assert page.url.path == f"/{back}"
        assert await role(browser) == "member"


@pytest.mark.parametrize("trouble", ["refused", "outage"])
async def test_a_silent_login_that_fails_is_no_trouble(street: Street, anna: FakeWix, trouble: str):
    """The thank-you page is there as for a guest, once."""
    async with street.browser() as browser:
        await fills_a_cart(browser)
        if trouble == "outage":
            anna.fail(503, path="/_api/*", times=None)
        page = await opens(browser, "/thanks?wixMemberLoggedIn=true&orderId=0e6a50f5-b523-4e29-990d-f37fa2ffdd69")
        assert (page.status_code, page.url.path) == (200, "/thanks")
        assert "0e6a50f5-b523-4e29-990d-f37fa2ffdd69" in page.text
        assert await role(browser) == "visitor"
        assert await count(browser) == 2


async def test_the_thanks_show_no_text_of_others(street: Street):
    """What is no order's ID is not on the page."""
    async with street.browser() as browser:
        page = await opens(browser, "/thanks?orderId=Call+0900+123")
    assert "0900" not in page.text


# What the pages say to the browser


async def test_the_headers_of_logins(street: Street):
    """The shop's own stay where wixvisitor says more; forms may lead to Wix, but from https to nothing without it."""
    async with street.browser() as browser:
        over = await browser.get("/auth/callback?state=x&code=y", follow_redirects=False)
        page = await opens(browser, "/sign-in")
    assert over.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in over.headers["content-security-policy"]
    assert page.headers["content-security-policy"].endswith("form-action 'self' https:")
    assert page.headers["cache-control"] == "private, no-store"
