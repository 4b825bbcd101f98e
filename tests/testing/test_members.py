"""FakeWix's members: ``session.members`` and ``session.checkout`` through the API, the hosted pages and the grants."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from types import ModuleType
from typing import Any

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint

from tests.constants import CART, CLIENT_ID, EPOCH
from tests.testing.browser import Browser
from wixvisitor import TokenRequestError, TokenRole, VisitorSession
from wixvisitor.members import LoginOutcome, MemberLoginError
from wixvisitor.testing import FakeWix
from wixvisitor.testing._catalog import BUILT_IN, STORES_APP_ID

pytestmark = pytest.mark.anyio

CALLBACK = "https://shop.example/callback"
HOME = "https://shop.example/home?lang=en"
THANKS = "https://shop.example/thanks"
EMAIL, PASSWORD, KEY = "anna@example.com", "correct horse", "IST.key"
MUGS = {
    "catalogItems": [{"quantity": 2, "catalogReference": {"appId": STORES_APP_ID, "catalogItemId": BUILT_IN[0].id}}]
}


@pytest.fixture
def fake() -> FakeWix:
    fake = FakeWix(clock=lambda: EPOCH, strict=True)
    fake.add_member(EMAIL, PASSWORD, profile={"firstName": "Anna"})
    return fake


@pytest.fixture
async def session(fake: FakeWix, family: ModuleType, anyio_backend: str) -> AsyncGenerator[VisitorSession]:
    """A visitor with two mugs in the cart."""
    async with fake.client(family) as client, VisitorSession(CLIENT_ID, client=client, clock=fake.now) as session:
        (await session.post(f"{CART}/add-line-items", json=MUGS)).raise_for_status()
        yield session
    fake.check()


@pytest.fixture
async def browser(fake: FakeWix, anyio_backend: str) -> AsyncGenerator[Browser]:
    async with fake.client() as client:
        yield Browser(client)


@pytest.fixture
async def other_browser(fake: FakeWix, anyio_backend: str) -> AsyncGenerator[Browser]:
    async with fake.client() as client:
        yield Browser(client)


async def cart_of(session: VisitorSession) -> Any:
    response = await session.get(CART)
    return response.json()["cart"] if response.status_code == 200 else None


async def me(session: VisitorSession) -> Any:
    return (await session.get("/members/v1/members/my?fieldSet=FULL")).json()["member"]


# The login page


@pytest.mark.parametrize("response_mode", ["query", "fragment"])
async def test_a_login_through_the_page(
    fake: FakeWix, session: VisitorSession, browser: Browser, response_mode: Any
) -> None:
    """A browser logs in on the hosted page, the shop gets code and state, and the member keeps the visitor's cart."""
    before = await cart_of(session)
    login = await session.members.start_login(f"{CALLBACK}?shop=1", response_mode=response_mode)
    await browser.open(login.url)
    assert "Log in" in browser.text
    await browser.press("Log in", email=EMAIL.upper(), password=PASSWORD)
    assert browser.shop is not None
    assert browser.shop.startswith(f"{CALLBACK}?shop=1")
    assert ("#" in browser.shop) == (response_mode == "fragment")
    tokens = await session.members.finish_login(login, browser.shop)
    assert tokens.refresh_token.role is TokenRole.MEMBER
    assert (await me(session))["loginEmail"] == EMAIL
    after = await cart_of(session)
    assert after["id"] == before["id"]
    assert after["customerInfo"]["memberId"] == fake.members[EMAIL].id
    assert list(fake.visitors) == [before["customerInfo"]["visitorId"]]


async def test_the_page_says_what_is_wrong(session: VisitorSession, browser: Browser) -> None:
    """A wrong email and a wrong password are said on the page, which keeps the email, and the login goes on after."""
    login = await session.members.start_login(CALLBACK)
    await browser.open(login.url)
    await browser.press("Log in", email="nobody@example.com", password=PASSWORD)
    assert (browser.status, "No member has this email" in browser.text) == (400, True)
    await browser.press("Log in", email=EMAIL, password="wrong")
    assert (browser.status, "do not match" in browser.text) == (400, True)
    await browser.press("Log in", password=PASSWORD)
    await session.members.finish_login(login, browser.parameters)


async def test_a_cancelled_login(session: VisitorSession, browser: Browser) -> None:
    """Cancel leads back with ``access_denied``, and the session is the visitor's as before."""
    before = session.get_tokens()
    login = await session.members.start_login(CALLBACK)
    await browser.open(login.url)
    await browser.press("Cancel")
    assert browser.parameters["error"] == "access_denied"
    with pytest.raises(MemberLoginError, match="cancelled"):
        await session.members.finish_login(login, browser.parameters)
    assert session.get_tokens() == before


async def test_signing_up_on_the_page(fake: FakeWix, session: VisitorSession, browser: Browser) -> None:
    """A new member types in the code of the mail, of which a wrong one is refused, and is logged in."""
    fake.verify_emails = True
    login = await session.members.start_login(CALLBACK)
    await browser.open(login.url)
    await browser.press("Sign up", email="bea@example.com", password="b")
    await browser.press("Go on", code="wrong")
    assert "code is wrong" in browser.text
    (mail,) = fake.outbox
    assert (mail.to, mail.code in repr(mail)) == ("bea@example.com", False)
    await browser.press("Go on", code=mail.code)
    await session.members.finish_login(login, browser.parameters)
    assert (await me(session))["loginEmail"] == "bea@example.com"


async def test_an_owner_who_has_to_approve(fake: FakeWix, session: VisitorSession, browser: Browser) -> None:
    """A new member waits for the owner, and can log in after the approval, with the same link."""
    fake.approve_members = True
    login = await session.members.start_login(CALLBACK)
    await browser.open(login.url)
    await browser.press("Sign up", email="bea@example.com", password="b")
    assert "has to approve" in browser.text
    fake.approve_member("bea@example.com")
    await browser.open(login.url)
    await browser.press("Log in", email="bea@example.com", password="b")
    await session.members.finish_login(login, browser.parameters)


async def test_an_identity_provider(session: VisitorSession, browser: Browser) -> None:
    """With ``idp`` the page asks for no password, and a member who is new there is made."""
    login = await session.members.start_login(CALLBACK, idp="google")
    await browser.open(login.url)
    assert "Log in with Google" in browser.text
    await browser.press("Continue", email="carl@example.com")
    await session.members.finish_login(login, browser.parameters)
    assert (await me(session))["loginEmail"] == "carl@example.com"


async def test_a_silent_login(session: VisitorSession, browser: Browser, other_browser: Browser) -> None:
    """``prompt="none"`` logs in the browser that the pages know, and says ``login_required`` to any other."""
    login = await session.members.start_login(CALLBACK)
    await browser.open(login.url)
    await browser.press("Log in", email=EMAIL, password=PASSWORD)
    silent = await session.members.start_login(CALLBACK, prompt="none")
    await other_browser.open(silent.url)
    assert other_browser.parameters["error"] == "login_required"
    again = await session.members.start_login(CALLBACK, prompt="none")
    await browser.open(again.url)
    await session.members.finish_login(again, browser.parameters)
    assert (await me(session))["loginEmail"] == EMAIL
    loud = await session.members.start_login(CALLBACK)
    await browser.open(loud.url)
    assert "Log in" in browser.text


async def test_a_full_page_redirect_with_a_session_token(session: VisitorSession, browser: Browser) -> None:
    """A password's session token logs the browser in without a page, once."""
    outcome = await session.members.login(EMAIL, PASSWORD)
    for prompt in ("none", "login"):
        login = await session.members.start_login(CALLBACK, prompt=prompt, session_token=outcome.session_token)
        await browser.open(login.url)
        if prompt == "none":
            await session.members.finish_login(login, browser.parameters)
    assert "Log in" in browser.text


# The shop's own form


async def test_a_login_without_a_browser(fake: FakeWix, session: VisitorSession) -> None:
    """A login with a password is completed without a browser, and the session token works once."""
    before = await cart_of(session)
    outcome = await session.members.login(EMAIL, PASSWORD)
    assert outcome.state == "success"
    await session.members.complete(outcome)
    assert (await me(session))["contact"]["firstName"] == "Anna"
    assert (await cart_of(session))["id"] == before["id"]
    with pytest.raises(MemberLoginError) as caught:
        await session.members.complete(outcome)
    assert caught.value.code == "login_required"


async def test_a_registration(fake: FakeWix, session: VisitorSession) -> None:
    """A registration asks for the code of the mail, then for the owner's approval; then the member can log in."""
    fake.verify_emails = fake.approve_members = True
    outcome = await session.members.register("bea@example.com", "b", profile={"lastName": "B"})
    assert outcome.state == "email_verification_required"
    outcome = LoginOutcome.from_json(outcome.to_json())
    with pytest.raises(MemberLoginError) as caught:
        await session.members.verify("wrong", outcome)
    assert caught.value.code == "VERIFICATION_FAILED"
    assert (await session.members.verify(fake.outbox[-1].code, outcome)).state == "owner_approval_required"
    assert (await session.members.login("bea@example.com", "b")).state == "owner_approval_required"
    fake.approve_member("bea@example.com")
    await session.members.complete(await session.members.login("bea@example.com", "b"))
    assert (await me(session))["contact"]["lastName"] == "B"


async def test_a_code_has_five_tries(fake: FakeWix, session: VisitorSession) -> None:
    """After five wrong codes the right one is worth nothing, and a new login sends a new one."""
    fake.verify_emails = True
    outcome = await session.members.register("bea@example.com", "b")
    for code in (*["wrong"] * 5, fake.outbox[-1].code):
        with pytest.raises(MemberLoginError):
            await session.members.verify(code, outcome)
    outcome = await session.members.login("bea@example.com", "b")
    assert (await session.members.verify(fake.outbox[-1].code, outcome)).state == "success"


@pytest.mark.parametrize(
    ("email", "password", "reason", "status"),
    [
        (EMAIL, "wrong", "invalid_password", 401),
        ("nobody@example.com", "x", "invalid_email", 404),
        ("no email", "x", "invalid_email", 400),
        (EMAIL, "", "unknown", 400),
    ],
)
async def test_why_a_login_failed(
    fake: FakeWix, session: VisitorSession, email: str, password: str, reason: str, status: int
) -> None:
    """A login that fails has Wix's codes, is sent once, and changes nothing."""
    before = session.get_tokens()
    with pytest.raises(MemberLoginError) as caught:
        await session.members.login(email, password)
    assert (caught.value.reason, caught.value.status_code) == (reason, status)
    assert session.get_tokens() == before
    assert len([call for call in fake.calls if call.path.endswith("/login")]) == 1


async def test_an_email_that_is_taken(session: VisitorSession) -> None:
    """A second registration with an email is refused, in whatever case it is written."""
    with pytest.raises(MemberLoginError) as caught:
        await session.members.register(EMAIL.title(), "x")
    assert (caught.value.reason, caught.value.code, caught.value.status_code) == (
        "email_already_exists",
        "-19995",
        409,
    )


@pytest.mark.parametrize("method", ["login", "register"])
async def test_a_captcha(fake: FakeWix, session: VisitorSession, method: str) -> None:
    """With captchas, a login and a registration need a solved one."""
    fake.captcha_tokens = frozenset({"solved"})
    send, email = getattr(session.members, method), EMAIL if method == "login" else "bea@example.com"
    for tokens, reason in (
        ({}, "missing_captcha_token"),
        ({"recaptcha_token": "no"}, "invalid_captcha_token"),
    ):
        with pytest.raises(MemberLoginError) as caught:
            await send(email, PASSWORD, **tokens)
        assert caught.value.reason == reason
    assert (await send(email, PASSWORD, invisible_recaptcha_token="solved")).state == "success"


async def test_a_new_password(fake: FakeWix, session: VisitorSession, browser: Browser) -> None:
    """A login that needs a new password says so; the mail's link sets one, once, and leads back."""
    fake.require_password_reset(EMAIL)
    with pytest.raises(MemberLoginError) as caught:
        await session.members.login(EMAIL, PASSWORD)
    assert caught.value.reason == "reset_password"
    await session.members.send_password_reset(EMAIL, HOME)
    (mail,) = fake.outbox
    await browser.open(mail.url)
    await browser.press("Save", password="new")
    assert browser.shop == HOME
    assert (await session.members.login(EMAIL, "new")).state == "success"
    await browser.open(mail.url)
    assert browser.status == 410
    with pytest.raises(MemberLoginError) as caught:
        await session.members.send_password_reset("nobody@example.com", HOME)
    assert caught.value.reason == "invalid_email"


# The shop's own identity provider


async def test_an_external_login(fake: FakeWix, session: VisitorSession) -> None:
    """A member's ID or email and an API key log in; the email makes a member if there is none."""
    fake.api_keys = frozenset({KEY})
    anna = fake.members[EMAIL]
    await session.members.login_external(anna.id, api_key=KEY)
    assert (await me(session))["id"] == anna.id
    await session.members.login_external(email="dora@example.com", api_key=KEY, profile={"firstName": "Dora"})
    assert (await me(session))["contact"]["firstName"] == "Dora"
    before = session.get_tokens()
    for arguments in ({"member_id": anna.id}, {"email": EMAIL}):
        with pytest.raises(MemberLoginError) as caught:
            await session.members.login_external(**arguments, api_key="IST.wrong")
        assert caught.value.status_code == 401
    with pytest.raises(MemberLoginError):
        await session.members.login_external("no-such-member", api_key=KEY)
    assert session.get_tokens() == before


@pytest.mark.parametrize("by_email", [True, False])
async def test_what_the_pages_know_of_an_external_login(
    fake: FakeWix, session: VisitorSession, browser: Browser, *, by_email: bool
) -> None:
    """The checkout knows the member of an external login with a session, and not of one without."""
    arguments: dict[str, str] = {"email": EMAIL} if by_email else {"member_id": fake.members[EMAIL].id}
    await session.members.login_external(**arguments, api_key=KEY)
    await browser.open(await session.checkout.url(return_to=HOME))
    assert (f"For {EMAIL}" in browser.text) == by_email


# Checkout and logout


async def test_a_checkout(fake: FakeWix, session: VisitorSession, browser: Browser) -> None:
    """The checkout shows the cart, places the order once, empties the cart, and tells the thank-you page of it."""
    cart = await cart_of(session)
    (await session.post(f"{CART}/add-coupon", json={"coupon": {"code": "SAVE10"}})).raise_for_status()
    url = await session.checkout.url(return_to=HOME, thank_you=THANKS)
    await browser.open(url)
    assert "Mug 2 25.00 USD SAVE10 -2.50 USD Total 22.50 USD" in browser.text
    assert browser.links == [f"{HOME}&wixMemberLoggedIn=false"]
    await browser.press("Place order")
    (order,) = fake.orders
    assert browser.parameters == {"orderId": order.id, "wixMemberLoggedIn": "false"}
    assert (order.cart_id, order.number, str(order.total), order.lines[0].quantity) == (cart["id"], 1, "22.50", 2)
    assert await cart_of(session) is None
    await browser.open(url)  # the back button
    assert browser.parameters["orderId"] == order.id
    assert len(fake.orders) == 1


async def test_a_member_at_the_checkout(session: VisitorSession, browser: Browser, other_browser: Browser) -> None:
    """A member's link logs its first browser in, also for a silent login later, and no second browser."""
    await session.members.complete(await session.members.login(EMAIL, PASSWORD))
    url = await session.checkout.url(return_to=HOME)
    await browser.open(url)
    await browser.press("Place order")
    assert "Thank you" in browser.text
    assert browser.links == [f"{HOME}&wixMemberLoggedIn=true"]
    silent = await session.members.start_login(CALLBACK, prompt="none")
    await browser.open(silent.url)
    await session.members.finish_login(silent, browser.parameters)
    await other_browser.open(url)
    assert other_browser.links == [f"{HOME}&wixMemberLoggedIn=false"]


async def test_a_checkout_of_another_cart(fake: FakeWix, session: VisitorSession, browser: Browser) -> None:
    """A cart that is not the visitor's has no checkout, and one that was replaced cannot be ordered."""
    with pytest.raises(Exception, match="Checkout not found"):
        await session.checkout.url(return_to=HOME, cart_id="another")
    await browser.open(await session.checkout.url(return_to=HOME))
    await session.post(CART, json=MUGS)
    await browser.press("Place order")
    assert (browser.status, fake.orders) == (410, [])
    assert browser.links == [f"{HOME}&wixMemberLoggedIn=false"]


async def test_a_logout(fake: FakeWix, session: VisitorSession, browser: Browser) -> None:
    """The logout's page ends the tokens and the browser's login, and leads back."""
    login = await session.members.start_login(CALLBACK)
    await browser.open(login.url)
    await browser.press("Log in", email=EMAIL, password=PASSWORD)
    tokens = await session.members.finish_login(login, browser.parameters)
    url = await session.members.logout(HOME)
    api = browser.client
    headers = {"Authorization": tokens.access_token.value}
    assert (await api.get(CART, headers=headers)).status_code == 200
    await browser.open(url)
    assert browser.shop == f"{HOME}&wixMemberLoggedIn=false"
    assert (await api.get(CART, headers=headers)).status_code == 401
    body = {"clientId": CLIENT_ID, "grantType": "refresh_token", "refreshToken": tokens.refresh_token.value}
    assert (await api.post("/oauth2/token", json=body)).json()["error"] == "invalid_grant"
    assert await cart_of(session) is None
    silent = await session.members.start_login(CALLBACK, prompt="none")
    await browser.open(silent.url)
    assert browser.parameters["error"] == "login_required"


async def test_a_page_that_the_fake_has_not(session: VisitorSession, browser: Browser) -> None:
    """Another flow's page says that it is Wix's, and leads back."""
    body = {"bookingsCheckout": {"slotAvailability": {}}, "callbacks": {"postFlowUrl": HOME}}
    await browser.open(await session.redirects.create(body))
    assert "no page for bookingsCheckout" in browser.text
    assert browser.links == [f"{HOME}&wixMemberLoggedIn=false"]


async def test_a_member_who_comes_back_to_the_old_cart(fake: FakeWix, session: VisitorSession) -> None:
    """With ``cart_at_login="member"`` a member has the first login's cart, and the visitor's is in ``previous``."""
    fake.cart_at_login = "member"
    await session.members.complete(await session.members.login(EMAIL, PASSWORD))
    first = await cart_of(session)
    await session.members.logout(HOME)
    await session.post(f"{CART}/add-line-items", json=MUGS)
    second, previous = await cart_of(session), session.get_tokens()
    await session.members.complete(await session.members.login(EMAIL, PASSWORD))
    assert (await cart_of(session))["id"] == first["id"] != second["id"]
    headers = {"Authorization": previous.access_token.value}
    async with fake.client() as client:
        assert (await client.get(CART, headers=headers)).json()["cart"]["id"] == second["id"]


# Faults


@pytest.mark.parametrize("committed", [False, True])
async def test_a_token_endpoint_that_fails(
    fake: FakeWix, session: VisitorSession, browser: Browser, *, committed: bool
) -> None:
    """An exchange that was not done leaves the code good; one whose answer was lost has used it."""
    before = session.get_tokens()
    login = await session.members.start_login(CALLBACK)
    await browser.open(login.url)
    await browser.press("Log in", email=EMAIL, password=PASSWORD)
    fake.drop(grant_type="authorization_code", committed=committed)
    with pytest.raises(TokenRequestError):
        await session.members.finish_login(login, browser.parameters)
    assert session.get_tokens() == before
    if committed:
        with pytest.raises(MemberLoginError, match="has been used"):
            await session.members.finish_login(login, browser.parameters)
    else:
        await session.members.finish_login(login, browser.parameters)


async def test_a_login_that_is_held(fake: FakeWix, session: VisitorSession, browser: Browser) -> None:
    """An exchange that the fake holds goes on when it is released; a caller who gave up meanwhile loses no login."""
    login = await session.members.start_login(CALLBACK)
    await browser.open(login.url)
    await browser.press("Log in", email=EMAIL, password=PASSWORD)
    gate = fake.hold(grant_type="authorization_code", committed=True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(session.members.finish_login, login, browser.parameters)
        await gate.wait_for(1)
        tasks.cancel_scope.cancel()
    gate.release()
    with anyio.fail_after(10):
        while not session.logged_in():
            await checkpoint()
    assert (await me(session))["loginEmail"] == EMAIL


async def test_pages_that_fail(fake: FakeWix, session: VisitorSession, browser: Browser) -> None:
    """Faults meet hosted pages and the login API by their paths; a fault of all API calls meets no page."""
    fake.fail(503, path="/_hosted/login")
    login = await session.members.start_login(CALLBACK)
    assert (await browser.open(login.url)).status == 503
    assert (await browser.open(login.url)).status == 200
    fake.fail(500, path=None)
    assert (await browser.open(login.url)).status == 200
    with pytest.raises(MemberLoginError):
        await session.members.login(EMAIL, PASSWORD)


async def test_no_secret_in_a_repr(fake: FakeWix, session: VisitorSession, browser: Browser) -> None:
    """No repr of the fake's objects shows a password, a code, a link's secret or a token."""
    login = await session.members.start_login(CALLBACK)
    await browser.open(login.url)
    await browser.press("Log in", email=EMAIL, password=PASSWORD)
    await session.members.send_password_reset(EMAIL, HOME)
    secret = httpx.URL(login.url).params["session"]
    reset = httpx.URL(fake.outbox[0].url).params["token"]
    code = browser.parameters["code"]
    shown = repr([fake.calls, fake.members, fake.outbox, fake._hosted, fake._members])
    assert [word for word in (secret, reset, code, PASSWORD, login.code_verifier) if word in shown] == []
    assert PASSWORD not in json.dumps(fake.members[EMAIL].password)
