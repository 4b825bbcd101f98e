"""FakeWix's logins are as strict as OAuth: what is refused, and what the hosted pages do with hostile input."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest

from tests.constants import CART, CLIENT_ID, EPOCH, OTHER_CLIENT_ID
from tests.testing.browser import Browser
from wixvisitor._wire.members import posted_params
from wixvisitor.testing import FakeWix
from wixvisitor.testing._redirect_uris import is_redirect_uri, is_return_url
from wixvisitor.testing._tickets import Tickets

pytestmark = pytest.mark.anyio

CALLBACK = "https://shop.example/callback"
EMAIL, PASSWORD = "anna@example.com", "correct horse"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # RFC 7636 appendix B
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
REQUEST = {
    "redirectUri": CALLBACK,
    "clientId": CLIENT_ID,
    "codeChallenge": CHALLENGE,
    "codeChallengeMethod": "S256",
    "responseMode": "query",
    "responseType": "code",
    "scope": "offline_access",
    "state": "a-state",
}
EXCHANGE = {
    "clientId": CLIENT_ID,
    "grantType": "authorization_code",
    "redirectUri": CALLBACK,
    "codeVerifier": VERIFIER,
}
HOSTILE = "\"><img src=x onerror=alert(1)>'</script>\\"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # the rules are pure; `test_members` has both loops


@pytest.fixture
def fake() -> FakeWix:
    fake = FakeWix(clock=lambda: EPOCH, strict=True)
    fake.add_member(EMAIL, PASSWORD)
    return fake


@pytest.fixture
async def wix(fake: FakeWix, anyio_backend: str) -> AsyncGenerator[httpx.AsyncClient]:
    """A visitor, who is the browser as well."""
    tokens = fake.mint_visitor(CLIENT_ID)
    async with fake.client(headers={"authorization": tokens["access_token"]}) as client:
        yield client


async def redirect_session(wix: httpx.AsyncClient, body: dict[str, Any]) -> httpx.Response:
    return await wix.post("/headless/v1/redirect-session", json=body)


async def link(wix: httpx.AsyncClient, *, prompt: str = "login", **changes: Any) -> str:
    response = await redirect_session(wix, {"auth": {"authRequest": {**REQUEST, **changes}, "prompt": prompt}})
    assert response.status_code == 200, response.text
    return str(response.json()["redirectSession"]["fullUrl"])


async def log_in(wix: httpx.AsyncClient, **changes: Any) -> dict[str, str]:
    """Logs in on the page, and returns what the shop's address gets."""
    browser = await Browser(wix).open(await link(wix, **changes))
    return (await browser.press("Log in", email=EMAIL, password=PASSWORD)).parameters


async def exchange(wix: httpx.AsyncClient, code: str, **changes: Any) -> httpx.Response:
    body = {**EXCHANGE, "code": code, **changes}
    return await wix.post("/oauth2/token", json={name: value for name, value in body.items() if value is not None})


async def test_a_code_works_once(fake: FakeWix, wix: httpx.AsyncClient) -> None:
    """The second use of a code is `invalid_grant`, and leaves the tokens of the first as they are."""
    answer = await log_in(wix)
    assert set(answer) == {"code", "state"}
    assert answer["state"] == "a-state"
    first = await exchange(wix, answer["code"])
    assert list(first.json()) == ["access_token", "token_type", "expires_in", "refresh_token"]
    second = await exchange(wix, answer["code"])
    assert (second.status_code, second.json()["error"]) == (400, "invalid_grant")
    assert (await wix.get(CART, headers={"authorization": first.json()["access_token"]})).status_code == 404


async def test_a_second_use_that_revokes(fake: FakeWix, wix: httpx.AsyncClient) -> None:
    """With ``revoke_on_code_reuse`` the second use ends the first's tokens (RFC 6749 section 4.1.2)."""
    fake.revoke_on_code_reuse = True
    code = (await log_in(wix))["code"]
    tokens = (await exchange(wix, code)).json()
    await exchange(wix, code)
    assert (await wix.get(CART, headers={"authorization": tokens["access_token"]})).status_code == 401
    body = {"clientId": CLIENT_ID, "grantType": "refresh_token", "refreshToken": tokens["refresh_token"]}
    assert (await wix.post("/oauth2/token", json=body)).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"codeVerifier": "x" * 43}, "invalid_grant"),
        ({"codeVerifier": CHALLENGE}, "invalid_grant"),
        ({"codeVerifier": None}, "invalid_request"),
        ({"codeVerifier": "short"}, "invalid_request"),
        ({"codeVerifier": VERIFIER + "=" * 100}, "invalid_request"),
        ({"codeVerifier": 7}, "invalid_request"),
        ({"clientId": OTHER_CLIENT_ID}, "invalid_grant"),
        ({"redirectUri": None}, "invalid_grant"),
        ({"redirectUri": f"{CALLBACK}/"}, "invalid_grant"),
        ({"redirectUri": ["https://shop.example/callback"]}, "invalid_grant"),
    ],
)
async def test_a_wrong_exchange(wix: httpx.AsyncClient, changes: dict[str, Any], error: str) -> None:
    """A wrong verifier, client or redirect URI is refused, and the code is worth nothing after that."""
    code = (await log_in(wix))["code"]
    wrong = await exchange(wix, code, **changes)
    assert (wrong.status_code, wrong.json()["error"]) == (400, error)
    assert (await exchange(wix, code)).json()["error"] == "invalid_grant"


@pytest.mark.parametrize("code", ["", "unknown", None, 7, ["x"], {}])
async def test_an_unknown_code(wix: httpx.AsyncClient, code: Any) -> None:
    """A code that was never issued is `invalid_grant`."""
    assert (await exchange(wix, code)).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(("seconds", "status"), [(299, 200), (300, 400)])
async def test_a_code_lives_five_minutes(fake: FakeWix, wix: httpx.AsyncClient, seconds: float, status: int) -> None:
    """A code that is five minutes old is refused."""
    code = (await log_in(wix))["code"]
    fake.advance(seconds)
    assert (await exchange(wix, code)).status_code == status


@pytest.mark.parametrize(("seconds", "works"), [(299, True), (300, False)])
async def test_a_session_token_lives_five_minutes(
    fake: FakeWix, wix: httpx.AsyncClient, seconds: float, *, works: bool
) -> None:
    """A session token that is five minutes old logs in nobody."""
    body = {"loginId": {"email": EMAIL}, "password": PASSWORD}
    outcome = (await wix.post("/_api/iam/authentication/v2/login", json=body)).json()
    fake.advance(seconds)
    browser = await Browser(wix).open(await link(wix, prompt="none", sessionToken=outcome["sessionToken"]))
    assert ("code" in browser.parameters) == works


async def test_snake_case_and_forms(wix: httpx.AsyncClient) -> None:
    """The exchange may be a form in snake case."""
    body = {
        "client_id": CLIENT_ID,
        "grant_type": "authorization_code",
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
        "code": (await log_in(wix))["code"],
    }
    assert (await wix.post("/oauth2/token", data=body)).status_code == 200


async def test_no_scope_no_refresh_token(wix: httpx.AsyncClient) -> None:
    """Without `offline_access` there is an access token only."""
    answer = await log_in(wix, scope=None)
    assert (await exchange(wix, answer["code"])).json()["refresh_token"] is None


@pytest.mark.parametrize(
    "changes",
    [
        {"clientId": OTHER_CLIENT_ID},
        {"clientId": None},
        {"responseType": "token"},
        {"codeChallengeMethod": "plain"},
        {"codeChallengeMethod": None},
        {"codeChallenge": None},
        {"codeChallenge": VERIFIER + "x"},
        {"state": None},
        {"state": ""},
        {"state": "line\nbreak"},
        {"responseMode": "form_post"},
        {"redirectUri": None},
        {"redirectUri": 7},
    ],
)
async def test_a_wrong_request(wix: httpx.AsyncClient, changes: dict[str, Any]) -> None:
    """A login's request that is not OAuth's with PKCE gets no link, and the answer names the field."""
    response = await redirect_session(wix, {"auth": {"authRequest": {**REQUEST, **changes}}})
    (violation,) = response.json()["details"]["validationError"]["fieldViolations"]
    assert (response.status_code, violation["field"]) == (400, f"auth.authRequest.{next(iter(changes))}")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"callbacks": {"postFlowUrl": CALLBACK}},
        {"auth": {}, "logout": {}},
        {"auth": {}},
        {"auth": {"authRequest": []}},
        {"auth": {"authRequest": REQUEST, "prompt": "maybe"}},
        {"logout": {}},
        {"logout": {"clientId": OTHER_CLIENT_ID}},
        {"logout": {"clientId": CLIENT_ID}, "callbacks": []},
        {"logout": {"clientId": CLIENT_ID}, "callbacks": {"postFlowUrl": 7}},
        {"ecomCheckout": {"checkoutId": "no cart"}},
    ],
)
async def test_a_wrong_redirect_session(wix: httpx.AsyncClient, body: dict[str, Any]) -> None:
    """A redirect session that is malformed gets no link."""
    assert (await redirect_session(wix, body)).status_code in (400, 404)


@pytest.mark.parametrize(
    ("uri", "is_usual"),
    [
        *((uri, True) for uri in ("https://shop.example/callback", "https://shop.example:8443/?x=1", "https://a/ü")),
        *(
            (uri, True)
            for uri in ("http://localhost:3000/", "http://127.0.0.1/", "http://[::1]:80/", "http://a.localhost/")
        ),
        *(
            (uri, False)
            for uri in ("http://shop.example/", "http://127.0.0.1.evil.example/", "//shop.example/", "/callback")
        ),
        *(
            (uri, False)
            for uri in ("javascript:alert(1)", "data:text/html,x", "myapp://callback", "https://", "https:///x")
        ),
        *(
            (uri, False)
            for uri in ("https://user@shop.example/", "https://shop.example\\@evil.example/", "https://a:x/")
        ),
        *(
            (uri, False)
            for uri in ("https://shop.example/\r\nx: y", " https://shop.example/", "https://shop.example/a b")
        ),
        *((uri, False) for uri in ("https://\ud800.example/", "https://[::1/", "https://a/" + "x" * 3_000, "")),
    ],
)
def test_usual_addresses(uri: str, *, is_usual: bool) -> None:
    """Without a list, https addresses and http ones of this machine are allowed, and no odd spelling of others."""
    assert is_redirect_uri(uri, None) == is_return_url(uri, None) == is_usual


def test_a_list_of_addresses() -> None:
    """A listed redirect URI is compared to the letter; other flows may return to its origin, on any path."""
    listed = frozenset({CALLBACK, "http://test.example:8000/in", "myapp://callback"})
    for uri in listed:
        assert is_redirect_uri(uri, listed)
    assert not is_redirect_uri(f"{CALLBACK}#x", frozenset({f"{CALLBACK}#x"}))
    for uri in (f"{CALLBACK}/", f"{CALLBACK}?x=1", CALLBACK.upper(), f"{CALLBACK}#x", "https://shop.example/", "x"):
        assert not is_redirect_uri(uri, listed)
    for url in ("https://shop.example/", "https://shop.example:443/any?x=1#y", "https://SHOP.example/"):
        assert is_return_url(url, listed)
    for url in (
        "http://shop.example/",
        "https://shop.example:8443/",
        "https://evil.example/",
        "https://shop.example@evil/",
    ):
        assert not is_return_url(url, listed)


async def test_an_address_that_is_not_listed(fake: FakeWix, wix: httpx.AsyncClient) -> None:
    """The browser is never sent to an address that is not listed: the page says what to list, and 403."""
    fake.allowed_redirect_uris = frozenset({CALLBACK})
    evil = "https://evil.example/callback"
    auth = {"authRequest": {**REQUEST, "redirectUri": evil}, "prompt": "none"}
    for body in (
        {"auth": auth},
        {"logout": {"clientId": CLIENT_ID}, "callbacks": {"postFlowUrl": evil}},
        {"bookingsCheckout": {}, "callbacks": {"postFlowUrl": CALLBACK, "thankYouPageUrl": evil}},
    ):
        url = (await redirect_session(wix, body)).json()["redirectSession"]["fullUrl"]
        browser = await Browser(wix).open(url)
        assert (browser.status, browser.shop, evil in browser.text) == (403, None, True)
    assert (await wix.get(CART)).status_code == 404  # the logout did nothing
    assert "code" in await log_in(wix)


async def test_a_link_works_once(fake: FakeWix, wix: httpx.AsyncClient) -> None:
    """A link that has led to a code or an error leads to no second one; nor does an old or an unknown link."""
    url = await link(wix)
    browser = Browser(wix)
    await browser.open(url)
    await browser.press("Log in", email=EMAIL, password=PASSWORD)
    assert (await browser.open(url)).status == 410
    silent = await link(wix, prompt="none", sessionToken="unknown")
    assert (await browser.open(silent)).parameters["error"] == "login_required"
    assert (await browser.open(silent)).status == 410
    old = await link(wix)
    fake.advance(3_600)
    assert (await browser.open(old)).status == 410
    for other in ("/_hosted/login", "/_hosted/login?session=x", "/_hosted/reset?token=x", "/_hosted/checkout"):
        assert (await browser.open(f"https://www.wixapis.com{other}")).status == 410


async def test_where_the_pages_are(fake: FakeWix, wix: httpx.AsyncClient) -> None:
    """Links lead to where the API was called, or to ``hosted_url``."""
    assert (await link(wix)).startswith("https://www.wixapis.com/_hosted/login?session=")
    fake.hosted_url = "http://localhost:8900/"
    assert (await link(wix)).startswith("http://localhost:8900/_hosted/login?session=")


async def test_a_link_of_another_page(wix: httpx.AsyncClient) -> None:
    """The link of one page is worth nothing on another."""
    url = await link(wix)
    for name in ("logout", "checkout"):
        assert (await Browser(wix).open(url.replace("/login?", f"/{name}?"))).status == 410


@pytest.mark.parametrize(("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 400)])
async def test_a_form_of_another_page(wix: httpx.AsyncClient, site: str, status: int) -> None:
    """A form that another site's page sends is refused."""
    session = httpx.URL(await link(wix)).params["session"]
    form = {"session": session, "action": "login", "email": EMAIL, "password": "wrong"}
    assert (await wix.post("/_hosted/login", data=form, headers={"sec-fetch-site": site})).status_code == status


async def test_a_web_message(wix: httpx.AsyncClient) -> None:
    """The page of a web message posts code and state, needs no redirect URI, and its code no more."""
    wanted = {"redirectUri": None, "responseMode": "web_message"}
    page = (await wix.get(await link(wix, prompt="none", **wanted))).text
    assert posted_params(page) == {
        "error": "login_required",
        "error_description": "The browser is not logged in",
        "state": "a-state",
    }
    await log_in(wix)
    response = await wix.get(await link(wix, prompt="none", **wanted))
    posted = posted_params(response.text)
    assert set(posted) == {"code", "state"}
    (script,) = re.findall("<script>(.*)</script>", response.text)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in response.headers["content-security-policy"]
    assert (await exchange(wix, posted["code"], redirectUri=None)).status_code == 200


async def test_hostile_text(wix: httpx.AsyncClient) -> None:
    """Texts from outside break out of no attribute, no script and no header."""
    page = await wix.get(await link(wix, prompt="none", state=HOSTILE, redirectUri=None, responseMode="web_message"))
    assert page.text.count("<") == 12  # those of the page itself
    browser = await Browser(wix).open(await link(wix, state=HOSTILE))
    await browser.press("Log in", email=HOSTILE, password=HOSTILE)
    assert browser.response is not None
    assert browser.status == 400
    assert "<img" not in browser.response.text
    await browser.press("Log in", email=EMAIL, password=PASSWORD)
    assert browser.parameters["state"] == HOSTILE


async def test_the_pages_protect_themselves(wix: httpx.AsyncClient) -> None:
    """A page with a form cannot be framed or cached, and the browser's cookie is out of the shop's reach."""
    browser = await Browser(wix).open(await link(wix))
    assert browser.response is not None
    headers = browser.response.headers
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    await browser.press("Log in", email=EMAIL, password=PASSWORD)
    cookie = browser.response.headers["set-cookie"].lower()
    assert all(part in cookie for part in ("httponly", "secure", "samesite=lax", "path=/_hosted/"))


async def test_a_wrong_session_at_an_external_login(fake: FakeWix, wix: httpx.AsyncClient) -> None:
    """A session token is good for its own member's external login, once."""
    fake.add_member("bea@example.com")
    headers = {"authorization": f"{wix.headers['authorization']},IST.key"}
    body = {"loginId": {"email": EMAIL}}
    signed_on = (await wix.post("/_api/iam/authentication/v2/sign-on", json=body, headers=headers)).json()

    async def log_in_as(email: str, session_token: str) -> int:
        grant = {"grant_type": "authorized_client", "member_id": fake.members[email].id}
        grant["session_token"] = session_token
        return (await wix.post("/oauth2/token", json=grant, headers=headers)).status_code

    assert await log_in_as(EMAIL, "unknown") == 400
    assert await log_in_as(EMAIL, signed_on["sessionToken"]) == 200
    assert await log_in_as(EMAIL, signed_on["sessionToken"]) == 400
    again = (await wix.post("/_api/iam/authentication/v2/sign-on", json=body, headers=headers)).json()
    assert await log_in_as("bea@example.com", again["sessionToken"]) == 400


async def test_a_login_without_a_page(fake: FakeWix, wix: httpx.AsyncClient) -> None:
    """``fake.log_in`` is the login page for tests without a browser, and as strict."""
    url = await link(wix)
    back = httpx.URL(fake.log_in(url, EMAIL))
    assert back.params["state"] == "a-state"
    assert (await exchange(wix, back.params["code"])).status_code == 200
    for wrong in (url, "https://www.wixapis.com/", await link(wix, redirectUri="http://shop.example/")):
        with pytest.raises(ValueError, match="not"):
            fake.log_in(wrong, EMAIL)
    with pytest.raises(KeyError):
        fake.log_in(await link(wix), "nobody@example.com")


def test_tickets_are_bounded() -> None:
    """Of too many secrets, and of those that are too old, the oldest are forgotten."""
    now = EPOCH
    tickets: Tickets[int] = Tickets(lifetime=lambda: 10.0, now=lambda: now, limit=3)
    secrets = [tickets.issue(number) for number in range(5)]
    assert [tickets.find(secret) for secret in secrets] == [None, None, 2, 3, 4]
    now += 10
    tickets.issue(5)
    assert len(tickets._held) == 1


async def test_odd_values(fake: FakeWix, wix: httpx.AsyncClient) -> None:
    """No value of a wrong type is more than a 4xx."""
    for path, bodies in {
        "/_api/iam/authentication/v2/login": [{}, {"loginId": []}, {"loginId": {"email": EMAIL}, "password": 7}],
        "/_api/iam/authentication/v2/register": [
            {"loginId": {"email": 7}},
            {"loginId": {"email": "b@x.example"}, "password": "\ud800", "profile": []},
            {"loginId": {"email": "b@x.example"}, "password": "b", "profile": {"\ud800": 1}},
            {"loginId": {"email": "\ud800@x.example"}, "password": "b"},
        ],
        "/_api/iam/verification/v1/auth/verify": [{}, {"code": 7, "stateToken": []}],
        "/_api/iam/recovery/v1/send-email": [{}, {"email": EMAIL, "redirect": {"url": 7}}],
        "/_api/iam/authentication/v2/sign-on": [{}, {"loginId": {"email": EMAIL}}],
    }.items():
        for body in bodies:
            response = await wix.post(path, content=json.dumps(body))
            assert 400 <= response.status_code < 500, (path, body)
    for grant in ({}, {"member_id": []}, {"member_id": "x", "session_token": []}):
        response = await wix.post("/oauth2/token", json={"grant_type": "authorized_client", **grant})
        assert response.status_code == 401
    assert len(fake.members) == 1


def test_members_made_in_python(fake: FakeWix) -> None:
    """A member who is taken, malformed or unknown is an error in Python, too."""
    for arguments in ((EMAIL, "x"), ("no email", "x"), ("b@example.com", "")):
        with pytest.raises(ValueError, match=r"email|password"):
            fake.add_member(*arguments)
    with pytest.raises(KeyError):
        fake.approve_member("nobody@example.com")
