"""Logins, logouts and redirects go out as @wix/sdk sends them: method, path, query, body, and every header that counts.

``DIFFERENT`` lists the headers that differ, and why.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import attrs
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from wixvisitor import AccessToken, RefreshToken, TokenRole, Tokens, VisitorSession
from wixvisitor._wire import members as wire
from wixvisitor.members import (
    INVISIBLE_RECAPTCHA_SITE_KEY,
    RECAPTCHA_SITE_KEY,
    LoginOutcome,
    MemberLogin,
    MemberLoginError,
)
from wixvisitor.testing._serve import serving

from .real_sdk import RealSdk, SdkError, real_sdk

pytestmark = [pytest.mark.interop, pytest.mark.anyio]

TOKENS = Tokens(AccessToken("OauthNG.JWS.visitor", 4_000_000_000), RefreshToken("JWS.visitor", TokenRole.VISITOR))
CALLBACK, HOME, EMAIL, WORD, KEY = (
    "https://shop.example/callback?x=1&y=ü",
    "https://shop.example/",
    "änna@example.com",
    "pass wörd \"'\\",
    "IST.key",
)
NOWHERE = "http://127.0.0.1:1/"
DIFFERENT = {
    "host": "the SDK sends calls of @wix/redirects to edge.wixapis.com, we send all to www.wixapis.com",
    "x-original-host": "the tests' own note of the host",
    "x-wix-bi-gateway": "the SDK's name and version, for Wix's statistics",
    "accept": "Node accepts everything; we accept JSON, because Wix was seen to answer HTML otherwise",
    "accept-encoding": "each library's",
    "accept-language": "Node's fetch",
    "connection": "each library's",
    "sec-fetch-mode": "Node's fetch",
    "user-agent": "each library's",
}
Sent = tuple[str, str, bytes, dict[str, str]]
Ours = Callable[[VisitorSession], Awaitable[Any]]


@attrs.define
class Recorder:
    """Wix, as far as an answer is needed, and what it was asked."""

    calls: list[Sent] = attrs.field(factory=list)
    failures: dict[str, tuple[int, Any]] = attrs.field(factory=dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        headers = {name: value for name, value in request.headers.items() if name not in DIFFERENT}
        self.calls.append((request.method, path, await request.body(), headers))
        status, content = self.failures.get(request.url.path, (200, self._answer(request.url.path)))
        await JSONResponse(content, status)(scope, receive, send)

    def _answer(self, path: str) -> Any:
        if path == "/oauth2/token":
            return {"access_token": "OauthNG.JWS.member", "refresh_token": "JWS.member", "expires_in": 14_400}
        if path == wire.REDIRECT_PATH:
            return {"redirectSession": {"id": "1", "fullUrl": NOWHERE, "urlDetails": {}}}
        if path == wire.SIGN_ON_PATH:
            return {"sessionToken": "signed-on", "identity": {"id": "member-1"}}
        if path == wire.CART_PATH:
            return {"cart": {"id": "cart-1"}}
        return {"state": "SUCCESS", "sessionToken": "session-token"}

    def taken(self) -> list[Sent]:
        """The calls since the last time."""
        calls = list(self.calls)
        self.calls.clear()
        return calls


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def sdk(recorder: Recorder, client_id: str) -> AsyncGenerator[RealSdk]:
    """The SDK as this visitor."""
    async with serving(recorder) as url, real_sdk(url) as sdk:
        await sdk.create(client_id, TOKENS.to_json())
        yield sdk


@pytest.fixture
async def session(recorder: Recorder, client_id: str) -> AsyncGenerator[VisitorSession]:
    """Ours as the same visitor."""
    async with serving(recorder) as url, VisitorSession(client_id, base_url=url, tokens=TOKENS) as session:
        yield session


CAPTCHA = {"recaptcha_token": "r", "invisible_recaptcha_token": "i"}
PROFILE = {"firstName": "Änna", "phones": ["1"], "customFields": [{"name": "x", "value": {"strValue": "y"}}]}
OUTCOME = LoginOutcome(state="email_verification_required", state_token="state-token")
STATE = {"loginState": "EMAIL_VERIFICATION_REQUIRED", "data": {"stateToken": "state-token"}}
BOOKING = {"bookingsCheckout": {"slotAvailability": {"slot": {"id": "s"}}}, "callbacks": {"postFlowUrl": HOME}}

CALLS: dict[str, tuple[list[Any], Ours]] = {
    "login": (
        ["auth.login", {"email": EMAIL, "password": WORD}],
        lambda session: session.members.login(EMAIL, WORD),
    ),
    "login, captcha": (
        [
            "auth.login",
            {
                "email": EMAIL,
                "password": WORD,
                "captchaTokens": {"recaptchaToken": "r", "invisibleRecaptchaToken": "i"},
            },
        ],
        lambda session: session.members.login(EMAIL, WORD, **CAPTCHA),
    ),
    "login, one captcha": (
        ["auth.login", {"email": EMAIL, "password": WORD, "captchaTokens": {"invisibleRecaptchaToken": "i"}}],
        lambda session: session.members.login(EMAIL, WORD, invisible_recaptcha_token="i"),
    ),
    "register": (
        ["auth.register", {"email": EMAIL, "password": WORD}],
        lambda session: session.members.register(EMAIL, WORD),
    ),
    "register, profile": (
        ["auth.register", {"email": EMAIL, "password": WORD, "profile": PROFILE}],
        lambda session: session.members.register(EMAIL, WORD, profile=PROFILE),
    ),
    "verify": (
        ["auth.processVerification", {"verificationCode": "1234"}, STATE],
        lambda session: session.members.verify("1234", OUTCOME),
    ),
    "password reset": (
        ["auth.sendPasswordResetEmail", EMAIL, CALLBACK],
        lambda session: session.members.send_password_reset(EMAIL, CALLBACK),
    ),
    "external login": (
        ["auth.getMemberTokensForExternalLogin", "member-1", KEY],
        lambda session: session.members.login_external("member-1", api_key=KEY),
    ),
    "external login, session": (
        ["auth.getMemberTokensForExternalLoginWithSession", EMAIL, KEY],
        lambda session: session.members.login_external(email=EMAIL, api_key=KEY),
    ),
    "external login, session, profile": (
        ["auth.getMemberTokensForExternalLoginWithSession", EMAIL, KEY, {"profile": PROFILE}],
        lambda session: session.members.login_external(email=EMAIL, api_key=KEY, profile=PROFILE),
    ),
    "logout": (
        ["auth.logout", HOME],
        lambda session: session.members.logout(HOME),
    ),
    "checkout": (
        [
            "redirects.createRedirectSession",
            {"ecomCheckout": {"checkoutId": "c"}, "callbacks": {"postFlowUrl": HOME, "thankYouPageUrl": CALLBACK}},
        ],
        lambda session: session.checkout.url(return_to=HOME, thank_you=CALLBACK, cart_id="c"),
    ),
    "bookings": (
        ["redirects.createRedirectSession", BOOKING],
        lambda session: session.redirects.create(BOOKING),
    ),
}


@pytest.mark.parametrize("name", CALLS)
async def test_the_same_request(sdk: RealSdk, session: VisitorSession, recorder: Recorder, name: str) -> None:
    """Each call goes out in the SDK's very bytes."""
    theirs, ours = CALLS[name]
    await sdk.call(*theirs)
    sent = recorder.taken()
    await ours(session)
    assert recorder.taken() == sent
    assert sent
    assert all({"content-type", "content-length"} <= set(headers) for *_, headers in sent)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"prompt": "login", "responseMode": "query"}, {}),
        ({"prompt": "none", "responseMode": "query"}, {"prompt": "none"}),
        ({"prompt": "login", "responseMode": "fragment"}, {"response_mode": "fragment"}),
        ({"prompt": "login", "responseMode": "query", "idp": "google"}, {"idp": "google"}),
        ({"prompt": "login", "responseMode": "query", "idp": "facebook"}, {"idp": "facebook"}),
        ({"prompt": "login", "responseMode": "query", "idp": {"connectionId": "other"}}, {"idp": "other"}),
        (
            {"prompt": "none", "responseMode": "query", "sessionToken": "s"},
            {"prompt": "none", "session_token": "s"},
        ),
    ],
)
async def test_the_same_login(
    sdk: RealSdk, session: VisitorSession, recorder: Recorder, theirs: dict[str, Any], ours: dict[str, Any]
) -> None:
    """A login on Wix's page begins and ends in the SDK's bytes, once the SDK has our random numbers."""
    login = await session.members.start_login(CALLBACK, **ours)
    (begun,) = recorder.taken()
    challenge = json.loads(begun[2])["auth"]["authRequest"]["codeChallenge"]
    data = {
        "redirectUri": CALLBACK,
        "originalUri": "",
        "codeChallenge": challenge,
        "codeVerifier": login.code_verifier,
        "state": login.state,
    }
    await sdk.call("auth.getAuthUrl", data, theirs)
    assert recorder.taken() == [begun]
    await session.members.finish_login(login, {"code": "c", "state": login.state})
    ended = recorder.taken()
    await sdk.call("auth.getMemberTokens", "c", login.state, data)
    assert recorder.taken() == ended
    assert [path for _, path, *_ in ended] == ["/oauth2/token"]


async def test_the_same_login_without_a_browser(sdk: RealSdk, session: VisitorSession, recorder: Recorder) -> None:
    """A password's session token leads to the same redirect session; the SDK then needs a browser's frame."""
    with pytest.raises(SdkError):
        await sdk.call("auth.getMemberTokensForDirectLogin", "session-token")
    (theirs,) = recorder.taken()
    with pytest.raises((MemberLoginError, Exception)):
        await session.members.complete(LoginOutcome(state="success", session_token="session-token"))
    ours = recorder.taken()[0]

    def without_random(sent: Sent) -> Any:
        body = json.loads(sent[2])
        request = body["auth"]["authRequest"]
        assert len(request.pop("codeChallenge")) == 43
        assert len(request.pop("state")) == 43
        return (*sent[:2], body, *sent[3:])

    assert without_random(ours) == without_random(theirs)


@pytest.mark.parametrize(
    ("path", "method", "status", "body", "reason"),
    [
        ("login", wire.LOGIN_PATH, 401, {"code": "-19976"}, "invalid_password"),
        ("login", wire.LOGIN_PATH, 400, {"code": "-19973"}, "reset_password"),
        ("login", wire.LOGIN_PATH, 400, {"code": "-19971"}, "missing_captcha_token"),
        ("login", wire.LOGIN_PATH, 400, {"code": "-19970"}, "invalid_captcha_token"),
        ("login", wire.LOGIN_PATH, 404, {"code": "-19999"}, "invalid_email"),
        ("register", wire.REGISTER_PATH, 409, {"code": "-19995"}, "email_already_exists"),
        ("register", wire.REGISTER_PATH, 400, {"code": "-19971"}, "missing_captcha_token"),
        ("register", wire.REGISTER_PATH, 400, {"code": "-19970"}, "invalid_captcha_token"),
    ],
)
async def test_the_same_reasons(
    sdk: RealSdk,
    session: VisitorSession,
    recorder: Recorder,
    path: str,
    method: str,
    status: int,
    body: dict[str, Any],
    reason: str,
) -> None:
    """The SDK's names of what failed are ours, in snake case."""
    recorder.failures[method] = (status, {"message": "no", "details": {"applicationError": body}})
    theirs = await sdk.call(f"auth.{path}", {"email": EMAIL, "password": WORD})
    with pytest.raises(MemberLoginError) as caught:
        await getattr(session.members, path)(EMAIL, WORD)
    assert caught.value.reason == reason
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in theirs["errorCode"])
    assert snake == reason


async def test_the_same_site_keys(sdk: RealSdk) -> None:
    """The two public captcha keys are the SDK's."""
    found = await sdk.property("auth.captchaVisibleSiteKey"), await sdk.property("auth.captchaInvisibleSiteKey")
    assert found == (RECAPTCHA_SITE_KEY, INVISIBLE_RECAPTCHA_SITE_KEY)


async def test_the_same_reading_of_a_callback(sdk: RealSdk) -> None:
    """Code, state and error are read from an address as the SDK reads them."""
    login = MemberLogin(url="", state="s", code_verifier="v", redirect_uri=CALLBACK)
    for mode, url in (
        ("query", "https://shop.example/callback?code=a%2Bb&state=s+t"),
        ("fragment", "https://shop.example/callback?x=1#code=c&state=s"),
        ("query", "https://shop.example/callback?error=access_denied&error_description=n%C3%B6"),
    ):
        theirs = await sdk.call("auth.parseFromUrl", url, mode)
        ours = wire.callback_params(url, mode)
        assert {name: ours.get(name) for name in ("code", "state")} == {
            name: theirs[name] for name in ("code", "state")
        }
        assert (ours.get("error"), ours.get("error_description")) == (
            theirs.get("error"),
            theirs.get("errorDescription"),
        )
    assert login.state == "s"
