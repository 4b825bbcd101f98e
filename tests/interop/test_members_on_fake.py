"""The real @wix/sdk logs in, registers, checks out and logs out at FakeWix. Ours has no part in this."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest

from tests.testing.browser import Browser
from wixvisitor.testing import FakeWix

from .real_sdk import RealSdk, SdkError
from .shopping import mugs

pytestmark = [pytest.mark.interop, pytest.mark.anyio]

CALLBACK, HOME = "https://shop.example/callback", "https://shop.example/"
EMAIL, PASSWORD, KEY = "anna@example.com", "correct horse", "IST.key"
CREDENTIALS = {"email": EMAIL, "password": PASSWORD}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def fake() -> FakeWix:
    fake = FakeWix(strict=True, allowed_redirect_uris=[CALLBACK])
    fake.add_member(EMAIL, PASSWORD)
    return fake


@pytest.fixture
async def browser(anyio_backend: str) -> AsyncGenerator[Browser]:
    async with httpx.AsyncClient() as client:
        yield Browser(client)


async def adopt(sdk: RealSdk, tokens: Any) -> Any:
    """Makes the SDK the member's, and returns the cart that it has then."""
    await sdk.call("auth.setTokens", tokens)
    assert await sdk.call("auth.loggedIn")
    return await sdk.call("currentCart.getCurrentCart")


@pytest.mark.parametrize("response_mode", ["query", "fragment"])
async def test_a_login_on_the_page(sdk: RealSdk, fake: FakeWix, browser: Browser, response_mode: str) -> None:
    """From getAuthUrl through the page to getMemberTokens; the code works once, and the cart stays."""
    before = (await sdk.call("currentCart.addToCurrentCart", mugs(fake)))["cart"]
    data = await sdk.call("auth.generateOAuthData", CALLBACK, HOME)
    url = (await sdk.call("auth.getAuthUrl", data, {"prompt": "login", "responseMode": response_mode}))["authUrl"]
    await browser.open(url)
    await browser.press("Log in", **CREDENTIALS)
    found = await sdk.call("auth.parseFromUrl", browser.shop, response_mode)
    tokens = await sdk.call("auth.getMemberTokens", found["code"], found["state"], data)
    assert tokens["refreshToken"]["role"] == "member"
    cart = await adopt(sdk, tokens)
    assert (cart["_id"], cart["buyerInfo"]) == (before["_id"], {"memberId": fake.members[EMAIL].id})
    with pytest.raises(SdkError):
        await sdk.call("auth.getMemberTokens", found["code"], found["state"], data)


async def test_a_silent_login(sdk: RealSdk, browser: Browser) -> None:
    """A silent login fails in a new browser, and works in one that has logged in before."""
    for prompt, found in (("none", "error"), ("login", "code"), ("none", "code")):
        data = await sdk.call("auth.generateOAuthData", CALLBACK)
        await browser.open((await sdk.call("auth.getAuthUrl", data, {"prompt": prompt}))["authUrl"])
        if prompt == "login":
            await browser.press("Log in", **CREDENTIALS)
        assert (await sdk.call("auth.parseFromUrl", browser.shop))[found]


async def test_a_login_in_a_hidden_frame(sdk: RealSdk, fake: FakeWix) -> None:
    """auth.login's session token becomes tokens through the frame's message, and works once."""
    await sdk.call("currentCart.addToCurrentCart", mugs(fake))
    await sdk.allow_frames()
    outcome = await sdk.call("auth.login", CREDENTIALS)
    assert outcome["loginState"] == "SUCCESS"
    session_token = outcome["data"]["sessionToken"]
    await adopt(sdk, await sdk.call("auth.getMemberTokensForDirectLogin", session_token))
    with pytest.raises(SdkError):
        await sdk.call("auth.getMemberTokensForDirectLogin", session_token)


async def test_a_registration(sdk: RealSdk, fake: FakeWix) -> None:
    """auth.register asks for the mail's code, which auth.processVerification sends, and then for approval."""
    fake.verify_emails = fake.approve_members = True
    new = {"email": "bea@example.com", "password": "b", "profile": {"firstName": "Bea"}}
    assert (await sdk.call("auth.register", new))["loginState"] == "EMAIL_VERIFICATION_REQUIRED"
    code = {"verificationCode": fake.outbox[-1].code}
    assert (await sdk.call("auth.processVerification", code))["loginState"] == "OWNER_APPROVAL_REQUIRED"
    fake.approve_member("bea@example.com")
    assert (await sdk.call("auth.login", new))["loginState"] == "SUCCESS"


async def test_what_the_sdk_calls_a_failure(sdk: RealSdk, fake: FakeWix) -> None:
    """The SDK finds its own reasons in the fake's errors."""

    async def reason(method: str, **given: Any) -> Any:
        outcome = await sdk.call(f"auth.{method}", {**CREDENTIALS, **given})
        assert outcome["loginState"] == "FAILURE"
        return outcome["errorCode"]

    assert await reason("login", password="wrong") == "invalidPassword"
    assert await reason("login", email="nobody@example.com") == "invalidEmail"
    assert await reason("register") == "emailAlreadyExists"
    assert await reason("register", email="no email") == "invalidEmail"
    fake.captcha_tokens = frozenset({"solved"})
    wrong = {"captchaTokens": {"recaptchaToken": "wrong"}}
    for method in ("login", "register"):
        assert await reason(method) == "missingCaptchaToken"
        assert await reason(method, **wrong) == "invalidCaptchaToken"
    fake.captcha_tokens = None
    fake.require_password_reset(EMAIL)
    assert await reason("login") == "resetPassword"


async def test_a_new_password(sdk: RealSdk, fake: FakeWix, browser: Browser) -> None:
    """auth.sendPasswordResetEmail sends a link with which a new password is set."""
    await sdk.call("auth.sendPasswordResetEmail", EMAIL, HOME)
    await browser.open(fake.outbox[-1].url)
    await browser.press("Save", password="new")
    assert browser.shop == HOME
    assert (await sdk.call("auth.login", {**CREDENTIALS, "password": "new"}))["loginState"] == "SUCCESS"


async def test_external_logins(sdk: RealSdk, fake: FakeWix) -> None:
    """Both external logins work with an API key that exists, and not with another."""
    fake.api_keys = frozenset({KEY})
    await sdk.call("currentCart.addToCurrentCart", mugs(fake))
    with pytest.raises(SdkError):
        await sdk.call("auth.getMemberTokensForExternalLoginWithSession", EMAIL, "IST.wrong")
    member_id = fake.members[EMAIL].id
    for method, who in (
        ("auth.getMemberTokensForExternalLogin", member_id),
        ("auth.getMemberTokensForExternalLoginWithSession", EMAIL),
    ):
        cart = await adopt(sdk, await sdk.call(method, who, KEY))
        assert cart["buyerInfo"] == {"memberId": member_id}


async def test_a_checkout_and_a_logout(sdk: RealSdk, fake: FakeWix, browser: Browser) -> None:
    """A member pays and comes back; after the logout's page the old tokens are worth nothing."""
    cart = (await sdk.call("currentCart.addToCurrentCart", mugs(fake)))["cart"]
    await sdk.allow_frames()
    outcome = await sdk.call("auth.login", CREDENTIALS)
    await adopt(sdk, await sdk.call("auth.getMemberTokensForDirectLogin", outcome["data"]["sessionToken"]))
    body = {"ecomCheckout": {"checkoutId": cart["checkoutId"]}, "callbacks": {"thankYouPageUrl": HOME}}
    await browser.open((await sdk.call("redirects.createRedirectSession", body))["redirectSession"]["fullUrl"])
    await browser.press("Place order")
    (order,) = fake.orders
    assert browser.parameters == {"orderId": order.id, "wixMemberLoggedIn": "true"}
    with pytest.raises(SdkError) as caught:
        await sdk.call("currentCart.getCurrentCart")
    assert caught.value.code == "OWNED_CART_NOT_FOUND"
    tokens = json.loads(await sdk.saved_tokens())
    await browser.open((await sdk.call("auth.logout", HOME))["logoutUrl"])
    assert browser.parameters == {"wixMemberLoggedIn": "false"}
    assert not await sdk.call("auth.loggedIn")
    async with fake.client() as client:
        headers = {"authorization": tokens["accessToken"]["value"]}
        assert (await client.get("/ecom/v2/carts/current", headers=headers)).status_code == 401
