"""``session.members``, ``session.redirects`` and ``session.checkout``: a login never loses the visitor."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import anyio
import attrs
import httpx
import pytest

from tests.constants import CLIENT_ID
from tests.stores import FailingStorage, TroubledStorage
from wixvisitor import (
    EMPTY_TOKENS,
    AccessToken,
    ConfigurationError,
    RefreshToken,
    StorageError,
    TokenRequestError,
    TokenRole,
    Tokens,
    VisitorPool,
    VisitorSession,
    WixAPIError,
)
from wixvisitor._wire import members as wire
from wixvisitor.members import LoginOutcome, MemberLogin, MemberLoginError
from wixvisitor.storage import MemoryStorage

pytestmark = pytest.mark.anyio

VISITOR = Tokens(AccessToken("OauthNG.JWS.visitor", 4_000_000_000), RefreshToken("JWS.visitor", TokenRole.VISITOR))
CALLBACK = "https://shop.example/callback"
PAGE = "https://members.example/page"
PASSWORD = "correct horse battery"
API_KEY = "IST.the-api-key"


@attrs.define
class Wix:
    """Answers as Wix does, and keeps what was sent.

    Attributes:
        answers: by path, what is answered in place of the usual.
        calls: what was asked.
    """

    answers: dict[str, Callable[[httpx.Request], httpx.Response]] = attrs.field(factory=dict)
    calls: list[httpx.Request] = attrs.field(factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.calls.append(request)
        if (answer := self.answers.get(request.url.path)) is not None:
            return answer(request)
        match request.url.path:
            case "/oauth2/token":
                return httpx.Response(200, json=grant())
            case wire.REDIRECT_PATH:
                return httpx.Response(200, json={"redirectSession": {"id": "1", "fullUrl": PAGE}})
            case wire.SIGN_ON_PATH:
                return httpx.Response(200, json={"sessionToken": "signed-on", "identity": {"id": "member-1"}})
            case "/ecom/v2/carts/current":
                return httpx.Response(200, json={"cart": {"id": "cart-1"}})
        return httpx.Response(200, json={"state": "SUCCESS", "sessionToken": "session-token"})

    def session(self, **arguments: Any) -> VisitorSession:
        """A visitor who asks this Wix."""
        given = {"tokens": VISITOR, "client": httpx.AsyncClient(transport=httpx.MockTransport(self)), **arguments}
        return VisitorSession(CLIENT_ID, **given)

    def bodies(self, path: str) -> list[Any]:
        """What was sent there."""
        return [json.loads(request.content) for request in self.calls if request.url.path == path]

    def fail(self, path: str, status: int, body: Any) -> None:
        """Answers with this error from now on."""
        self.answers[path] = lambda _: httpx.Response(status, json=body)


def grant(name: str = "member") -> dict[str, Any]:
    return {"access_token": f"OauthNG.JWS.{name}", "refresh_token": f"JWS.{name}", "expires_in": 14_400}


def application_error(code: str, message: str = "no") -> dict[str, Any]:
    return {"message": message, "details": {"applicationError": {"code": code, "description": message}}}


@pytest.fixture
def wix() -> Wix:
    return Wix()


def back(login: MemberLogin, **params: str) -> str:
    return f"{CALLBACK}?{urlencode({'code': 'the-code', 'state': login.state, **params})}"


async def test_a_login_on_wixs_page(wix: Wix) -> None:
    """A login leads to Wix's page and back, exchanges the code once, and the session is the member's."""
    storage = MemoryStorage()
    async with wix.session(storage=storage) as session:
        login = await session.members.start_login(CALLBACK, original_uri="/account", idp="google")
        assert (login.url, login.original_uri, login.previous) == (PAGE, "/account", VISITOR)
        assert session.get_tokens() == VISITOR
        tokens = await session.members.finish_login(login, back(login))
        assert tokens.refresh_token == RefreshToken("JWS.member", TokenRole.MEMBER)
        assert session.get_tokens() == tokens
        assert session.logged_in()
    (asked,) = wix.bodies(wire.REDIRECT_PATH)
    request = asked["auth"]["authRequest"]
    assert request["idp"] == wire.IDP_IDS["google"]
    (exchange,) = wix.bodies("/oauth2/token")
    assert exchange["code"] == "the-code"
    assert wire.code_challenge(exchange["codeVerifier"]) == request["codeChallenge"]
    async with wix.session(tokens=None, storage=storage) as again:
        assert again.get_tokens() == tokens


def test_the_challenge_is_that_of_the_standard() -> None:
    """The S256 challenge of RFC 7636's example (appendix B) is the one that the RFC gives."""
    assert wire.code_challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == (
        "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"state": "another"}, "state is not this login's"),
        ({"state": ""}, "state is not this login's"),
        ({"error": "access_denied", "error_description": "the shopper went away"}, "the shopper went away"),
        ({"code": ""}, "no code"),
    ],
)
async def test_a_callback_that_is_not_this_logins(wix: Wix, change: dict[str, str], words: str) -> None:
    """A foreign state, an error and a missing code end the login before Wix is asked, and change nothing."""
    async with wix.session() as session:
        login = await session.members.start_login(CALLBACK)
        with pytest.raises(MemberLoginError, match=words):
            await session.members.finish_login(login, back(login, **change))
        assert session.get_tokens() == VISITOR
    assert wix.bodies("/oauth2/token") == []


async def test_a_parameter_that_is_there_twice(wix: Wix) -> None:
    """A callback with two states or two codes is refused."""
    async with wix.session() as session:
        login = await session.members.start_login(CALLBACK)
        for twice in (f"{back(login)}&state={login.state}", f"{back(login)}&code=other"):
            with pytest.raises(MemberLoginError):
                await session.members.finish_login(login, twice)
    assert wix.bodies("/oauth2/token") == []


async def test_the_ways_to_give_a_callback(wix: Wix) -> None:
    """The whole address, its query, or the parameters as a mapping are the same; a fragment is read in its mode."""
    async with wix.session() as session:
        login = await session.members.start_login(CALLBACK)
        fragment = await session.members.start_login(CALLBACK, response_mode="fragment")
        for one, given in (
            (login, back(login)),
            (login, "?" + back(login).partition("?")[2]),
            (login, back(login).partition("?")[2]),
            (login, {"code": "the-code", "state": login.state}),
            (fragment, back(fragment).replace("?", "#")),
        ):
            assert (await session.members.finish_login(one, given)).refresh_token.role is TokenRole.MEMBER
    assert [body["code"] for body in wix.bodies("/oauth2/token")] == ["the-code"] * 5


async def test_a_login_survives_as_json(wix: Wix) -> None:
    """A login that was written to JSON ends in another process; what is no such JSON is refused, and not shown."""
    async with wix.session() as session:
        login = await session.members.start_login(CALLBACK, original_uri="/basket")
        restored = MemberLogin.from_json(login.to_json())
        assert restored == login
        assert (await session.members.finish_login(restored, back(login))).refresh_token.value == "JWS.member"
    for wrong in ("", "[]", "{}", "{", login.to_json().replace('"state"', '"stat"'), '{"state": 1}'):
        with pytest.raises(ValueError, match="login: this is not its JSON") as caught:
            MemberLogin.from_json(wrong)
        assert login.code_verifier not in str(caught.value)


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_a_code_that_wix_refuses(wix: Wix, status: int) -> None:
    """A used or wrong code is the shopper's error: nothing changes, and the pool goes on for everybody."""
    wix.fail("/oauth2/token", status, {"error": "invalid_grant", "error_description": "code was used"})
    client = httpx.AsyncClient(transport=httpx.MockTransport(wix))
    async with VisitorPool(CLIENT_ID, client=client) as pool:
        for key in ("a", "b", "c", "d", "e"):
            session = await pool.session(key)
            await session.set_tokens(VISITOR)
            login = await session.members.start_login(CALLBACK)
            with pytest.raises(MemberLoginError, match="code was used") as caught:
                await session.members.finish_login(login, back(login))
            assert (caught.value.code, caught.value.status_code) == ("invalid_grant", status)
            assert session.get_tokens() == VISITOR
        wix.answers.clear()
        assert (await (await pool.session("f")).generate_visitor_tokens()).access_token.value == "OauthNG.JWS.member"


@pytest.mark.parametrize("trouble", [503, 429, "drop"])
async def test_an_exchange_that_gets_no_answer(wix: Wix, trouble: Any) -> None:
    """An exchange is sent once: its code may have been used. The visitor stays."""

    def fail(request: httpx.Request) -> httpx.Response:
        if trouble == "drop":
            raise httpx.ReadError("gone", request=request)
        return httpx.Response(trouble)

    wix.answers["/oauth2/token"] = fail
    async with wix.session() as session:
        login = await session.members.start_login(CALLBACK)
        with pytest.raises(TokenRequestError):
            await session.members.finish_login(login, back(login))
        assert session.get_tokens() == VISITOR
    assert len(wix.bodies("/oauth2/token")) == 1


async def test_a_caller_that_leaves_amid_the_exchange(wix: Wix) -> None:
    """A cancelled caller loses no login: the member's tokens are adopted and saved all the same."""
    reached, go_on = anyio.Event(), anyio.Event()

    async def slow(request: httpx.Request) -> httpx.Response:
        wix.calls.append(request)
        if request.url.path != "/oauth2/token":
            return wix(request)
        reached.set()
        await go_on.wait()
        return httpx.Response(200, json=grant())

    storage = MemoryStorage()
    client = httpx.AsyncClient(transport=httpx.MockTransport(slow))
    async with wix.session(client=client, storage=storage) as session:
        login = await session.members.start_login(CALLBACK)
        async with anyio.create_task_group() as group:
            group.start_soon(session.members.finish_login, login, back(login))
            await reached.wait()
            group.cancel_scope.cancel()
        go_on.set()
        for _ in range(200):
            if session.logged_in():
                break
            await anyio.sleep(0.01)
        assert session.get_tokens().refresh_token.value == "JWS.member"
    record = await storage.load(f"{CLIENT_ID}:default")
    assert record is not None
    assert "JWS.member" in record.value


async def test_a_renewal_under_way_never_overwrites_a_login(wix: Wix) -> None:
    """A renewal of the visitor that is answered after the login does not replace the member."""
    reached, go_on = anyio.Event(), anyio.Event()

    async def slow(request: httpx.Request) -> httpx.Response:
        content = json.loads(request.content)
        if content.get("grantType") == "refresh_token":
            reached.set()
            await go_on.wait()
            name = f"renewed.{content['refreshToken']}"
            return httpx.Response(200, json={**grant(name), "refresh_token": None})
        return wix(request)

    async with wix.session(client=httpx.AsyncClient(transport=httpx.MockTransport(slow))) as session:
        login = await session.members.start_login(CALLBACK)
        async with anyio.create_task_group() as group:

            async def renew() -> None:
                await session.renew_token()

            group.start_soon(renew)
            await reached.wait()
            await session.members.finish_login(login, back(login))
            go_on.set()
        tokens = session.get_tokens()  # the caller who asked for a renewal got one, of the member
        assert tokens.refresh_token == RefreshToken("JWS.member", TokenRole.MEMBER)
        assert tokens.access_token.value == "OauthNG.JWS.renewed.JWS.member"


async def test_a_login_that_cannot_be_saved(wix: Wix) -> None:
    """If the store fails, the error is raised, the member is held, and the next use saves it again."""
    storage = FailingStorage()
    async with wix.session(storage=storage) as session:
        await session.auth_headers()
        login = await session.members.start_login(CALLBACK)
        storage.fails = True
        with pytest.raises(StorageError):
            await session.members.finish_login(login, back(login))
        assert session.logged_in()
        storage.fails = False
        await session.auth_headers()
    record = await storage.load(f"{CLIENT_ID}:default")
    assert record is not None
    assert "JWS.member" in record.value


async def test_a_password_login_without_a_browser(wix: Wix) -> None:
    """Login, outcome, and the code that Wix's page posts to its opener: the member's tokens without a browser."""

    def page(_: httpx.Request) -> httpx.Response:
        state = wix.bodies(wire.REDIRECT_PATH)[-1]["auth"]["authRequest"]["state"]
        text = f"<script>window.parent.postMessage({{'code': 'posted', 'state': '{state}'}}, '*')</script>"
        return httpx.Response(200, text=text)

    wix.answers["/page"] = page
    async with wix.session() as session:
        outcome = await session.members.login("anna@example.com", PASSWORD, recaptcha_token="r")
        assert (outcome.state, outcome.session_token) == ("success", "session-token")
        assert session.get_tokens() == VISITOR
        tokens = await session.members.complete(LoginOutcome.from_json(outcome.to_json()))
        assert tokens.refresh_token == RefreshToken("JWS.member", TokenRole.MEMBER)
    (body,) = wix.bodies(wire.LOGIN_PATH)
    assert body["captchaTokens"] == [{"Recaptcha": "r"}]
    (exchange,) = wix.bodies("/oauth2/token")
    assert (exchange["code"], "redirectUri" in exchange) == ("posted", False)
    asked = next(request for request in wix.calls if request.url.host == "members.example")
    assert "authorization" not in asked.headers


@pytest.mark.parametrize("page", ["", "<html>sorry</html>", "{'state': 'x', 'code': 'y'}"])
async def test_a_page_without_a_code(wix: Wix, page: str) -> None:
    """If Wix changes its page, or the state is another one, the login fails and nothing changes."""
    wix.answers["/page"] = lambda _: httpx.Response(200, text=page)
    async with wix.session() as session:
        with pytest.raises(MemberLoginError):
            await session.members.complete(LoginOutcome(state="success", session_token="s"))
        assert session.get_tokens() == VISITOR


async def test_registration_and_verification(wix: Wix) -> None:
    """A registration may ask for the code of an email; the outcome survives as JSON, and the code completes it."""
    wix.answers[wire.REGISTER_PATH] = lambda _: httpx.Response(
        200, json={"state": "REQUIRE_EMAIL_VERIFICATION", "stateToken": "state-token"}
    )
    async with wix.session() as session:
        asked = await session.members.register("anna@example.com", PASSWORD, profile={"firstName": "Anna"})
        assert asked.state == "email_verification_required"
        outcome = await session.members.verify("123456", LoginOutcome.from_json(asked.to_json()))
        assert outcome.state == "success"
        with pytest.raises(ConfigurationError, match="needs no code"):
            await session.members.verify("123456", outcome)
        with pytest.raises(ConfigurationError, match="not 'success'"):
            await session.members.complete(asked)
    assert wix.bodies(wire.REGISTER_PATH)[0]["profile"] == {"firstName": "Anna"}
    assert wix.bodies(wire.VERIFY_PATH) == [{"code": "123456", "stateToken": "state-token"}]


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (401, application_error("-19976"), "invalid_password"),
        (400, application_error("-19973"), "reset_password"),
        (400, application_error("-19971"), "missing_captcha_token"),
        (400, application_error("-19970"), "invalid_captcha_token"),
        (409, application_error("-19995"), "email_already_exists"),
        (404, application_error("-19999"), "invalid_email"),
        (429, application_error("THROTTLED_FEATURE"), "throttled"),
        (429, {}, "throttled"),
        (
            400,
            {"details": {"validationError": {"fieldViolations": [{"description": "?", "data": {"type": "EMAIL"}}]}}},
            "invalid_email",
        ),
        (400, application_error("-1"), "unknown"),
        (500, {}, "unknown"),
    ],
)
async def test_why_a_login_failed(wix: Wix, status: int, body: Any, reason: str) -> None:
    """Each of Wix's codes has a reason in words; the visitor stays, and no 401 of it leads to a renewal."""
    wix.fail(wire.LOGIN_PATH, status, body)
    async with wix.session() as session:
        with pytest.raises(MemberLoginError) as caught:
            await session.members.login("anna@example.com", PASSWORD)
        assert (caught.value.reason, caught.value.status_code) == (reason, status)
        assert session.get_tokens() == VISITOR
    assert len(wix.calls) == 1


async def test_an_external_login(wix: Wix) -> None:
    """A member of your own identity provider: the API key goes with the visitor's token, to the two calls only."""
    async with wix.session() as session:
        await session.members.login_external("member-7", api_key=API_KEY)
        assert session.logged_in()
        await session.set_tokens(VISITOR)
        await session.members.login_external(email="anna@example.com", api_key=API_KEY, profile={"nickname": "A"})
        await session.get("/members/v1/members/my")
    keys = [request.url.path for request in wix.calls if API_KEY in request.headers.get("authorization", "")]
    assert keys == ["/oauth2/token", wire.SIGN_ON_PATH, "/oauth2/token"]
    assert wix.calls[0].headers["authorization"] == f"OauthNG.JWS.visitor,{API_KEY}"
    assert wix.bodies("/oauth2/token") == [
        {"grant_type": "authorized_client", "scope": "offline_access", "member_id": "member-7"},
        {"grant_type": "authorized_client", "member_id": "member-1", "session_token": "signed-on"},
    ]


@pytest.mark.parametrize("path", [wire.SIGN_ON_PATH, "/oauth2/token"])
async def test_an_external_login_in_an_outage(wix: Wix, path: str) -> None:
    """If Wix does not answer now, an external login says so, and the session is the visitor's."""
    wix.answers[path] = lambda _: httpx.Response(503, headers={"Retry-After": "7"})
    async with wix.session() as session:
        with pytest.raises(TokenRequestError) as caught:
            await session.members.login_external(email="anna@example.com", api_key=API_KEY)
        assert (caught.value.status_code, caught.value.retry_after) == (503, 7)
        assert session.get_tokens() == VISITOR


async def test_a_sign_on_that_hangs(wix: Wix) -> None:
    """A sign-on that Wix never answers ends after ``renew_timeout``; the visitor stays."""

    async def hang(request: httpx.Request) -> httpx.Response:
        if request.url.path == wire.SIGN_ON_PATH:
            await anyio.sleep_forever()
        return wix(request)

    client = httpx.AsyncClient(transport=httpx.MockTransport(hang))
    async with wix.session(client=client, renew_timeout=0.05) as session:
        with anyio.fail_after(5), pytest.raises(TokenRequestError, match=r"sign-on gave no answer within 0\.05 s"):
            await session.members.login_external(email="anna@example.com", api_key=API_KEY)
        assert session.get_tokens() == VISITOR


async def test_the_api_key_follows_no_redirect(wix: Wix) -> None:
    """A redirect of the sign-on is an error: the key is sent nowhere else."""
    wix.answers[wire.SIGN_ON_PATH] = lambda _: httpx.Response(307, headers={"Location": "https://evil.example/"})
    async with wix.session() as session:
        with pytest.raises(MemberLoginError):
            await session.members.login_external(email="anna@example.com", api_key=API_KEY)
        with pytest.raises(ConfigurationError, match="api_key"):
            await session.members.login_external("m", api_key="a,b")
        with pytest.raises(ConfigurationError, match="member_id, or email"):
            await session.members.login_external(api_key=API_KEY)  # type: ignore[call-overload]
    assert {request.url.host for request in wix.calls} == {"www.wixapis.com"}


@pytest.mark.parametrize("status", [200, 500])
async def test_logout(wix: Wix, status: int) -> None:
    """A logout drops the tokens here, in the store as well, also if Wix's call fails; its error is raised then."""
    storage = MemoryStorage()
    member = attrs.evolve(VISITOR, refresh_token=RefreshToken("JWS.member", TokenRole.MEMBER))
    if status != 200:
        wix.fail(wire.REDIRECT_PATH, status, {"message": "later"})
    async with wix.session(tokens=member, storage=storage) as session:
        if status == 200:
            assert await session.members.logout("https://shop.example/") == PAGE
        else:
            with pytest.raises(WixAPIError, match="later"):
                await session.members.logout("https://shop.example/")
        assert session.get_tokens() == EMPTY_TOKENS
        with pytest.raises(ConfigurationError, match="no member"):
            await session.members.logout("https://shop.example/")
    record = await storage.load(f"{CLIENT_ID}:default")
    assert record is None or "JWS.member" not in record.value
    assert wix.bodies(wire.REDIRECT_PATH) == [
        {"logout": {"clientId": CLIENT_ID}, "callbacks": {"postFlowUrl": "https://shop.example/"}}
    ]


@pytest.mark.parametrize("odd", ["<html>", "", "[" * 100_000, "[]", '{"state": []}', '{"cart": 1}'])
@pytest.mark.usefixtures("no_collection")
async def test_answers_of_another_form(wix: Wix, odd: str) -> None:
    """An answer that is no JSON, or not the JSON that is needed, is an error of ours."""
    for path in (wire.LOGIN_PATH, wire.REDIRECT_PATH, "/ecom/v2/carts/current"):
        wix.answers[path] = lambda _: httpx.Response(200, text=odd)
    async with wix.session() as session:
        with pytest.raises((MemberLoginError, TokenRequestError)):
            await session.members.login("anna@example.com", PASSWORD)
        with pytest.raises(WixAPIError, match="no address"):
            await session.redirects.create({})
        with pytest.raises(WixAPIError, match="no cart"):
            await session.checkout.url(return_to="https://shop.example/")
        assert session.get_tokens() == VISITOR


async def test_callbacks_of_another_form(wix: Wix) -> None:
    """An address that cannot be parsed is no callback. Parameters that are absent may be None."""
    async with wix.session() as session:
        login = await session.members.start_login(CALLBACK)
        for odd in ("https://[/?code=c", "", "?", {"state": "\udcff"}, {}):
            with pytest.raises(MemberLoginError, match="state"):
                await session.members.finish_login(login, odd)
        absent: Any = {"error": None, "error_description": None}
        await session.members.finish_login(login, {"code": "c", "state": login.state, **absent})
        assert session.logged_in()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # whose cancellation strikes once
async def test_a_caller_that_leaves_amid_a_logout(wix: Wix) -> None:
    """A caller that is cancelled leaves at once, however slow the store is; the tokens are dropped all the same."""
    storage, asked, gate = TroubledStorage(), anyio.Event(), anyio.Event()

    async def hang(request: httpx.Request) -> httpx.Response:
        asked.set()
        await anyio.sleep_forever()
        raise AssertionError

    async with wix.session(client=httpx.AsyncClient(transport=httpx.MockTransport(hang)), storage=storage) as session:
        await session.auth_headers()
        storage.before["save"] = lambda *_: gate.wait()
        leaving = asyncio.ensure_future(session.members.logout("https://shop.example/"))
        await asked.wait()
        leaving.cancel()
        await asyncio.wait([leaving], timeout=1)
        assert leaving.cancelled()
        gate.set()
    assert session.get_tokens() == EMPTY_TOKENS
    record = await storage.load(f"{CLIENT_ID}:default")
    assert record is None or "JWS.visitor" not in record.value


async def test_a_logout_before_the_store_was_read(wix: Wix) -> None:
    """A session that was not used yet logs out the member of its record."""
    storage = MemoryStorage()
    member = attrs.evolve(VISITOR, refresh_token=RefreshToken("JWS.member", TokenRole.MEMBER))
    async with wix.session(tokens=member, storage=storage) as session:
        await session.auth_headers()
    unread = wix.session(tokens=None, storage=storage)
    assert await unread.members.logout("https://shop.example/") == PAGE
    assert wix.calls[-1].headers["Authorization"] == member.access_token.value
    record = await storage.load(f"{CLIENT_ID}:default")
    assert record is None or "JWS.member" not in record.value


async def test_checkout_and_other_pages(wix: Wix) -> None:
    """The checkout is that of the current cart, or of a given one; other pages are asked for by REST's keys."""
    async with wix.session() as session:
        assert await session.checkout.url(return_to="https://shop.example/") == PAGE
        await session.checkout.url(return_to="https://shop.example/", thank_you="https://shop.example/ty", cart_id="c")
        await session.redirects.create({"eventsCheckout": {"reservationId": "r"}, "callbacks": {}})
        wix.fail("/ecom/v2/carts/current", 404, application_error("CURRENT_CART_NOT_FOUND"))
        with pytest.raises(WixAPIError, match="CURRENT_CART_NOT_FOUND"):
            await session.checkout.url(return_to="https://shop.example/")
        for page in ("<html>We will be right back</html>", "[]", '{"cart": {"id": 1}}'):
            wix.answers["/ecom/v2/carts/current"] = lambda _, page=page: httpx.Response(200, text=page)
            with pytest.raises(WixAPIError, match="no cart with an ID"):
                await session.checkout.url(return_to="https://shop.example/")
        for odd in ({}, [], {"redirectSession": {"fullUrl": "javascript:alert(1)"}}):
            wix.fail(wire.REDIRECT_PATH, 200, odd)
            with pytest.raises(WixAPIError, match="no address"):
                await session.redirects.create({})
    bodies = wix.bodies(wire.REDIRECT_PATH)
    assert bodies[0] == {
        "ecomCheckout": {"checkoutId": "cart-1"},
        "callbacks": {"postFlowUrl": "https://shop.example/"},
    }
    assert bodies[1]["callbacks"]["thankYouPageUrl"] == "https://shop.example/ty"
    assert bodies[2] == {"eventsCheckout": {"reservationId": "r"}, "callbacks": {}}


async def test_a_password_reset(wix: Wix) -> None:
    """Wix is asked to send the email, with the site's client ID and the address to come back to."""
    wix.answers[wire.RECOVERY_PATH] = lambda _: httpx.Response(204)
    async with wix.session() as session:
        await session.members.send_password_reset("anna@example.com", "https://shop.example/reset")
    (body,) = wix.bodies(wire.RECOVERY_PATH)
    assert body["redirect"] == {"url": "https://shop.example/reset", "clientId": CLIENT_ID}


async def test_secrets_stay_secret(wix: Wix, caplog: pytest.LogCaptureFixture) -> None:
    """Passwords, codes, verifiers, session tokens and API keys show in no repr, log, error or traceback's variable."""
    caplog.set_level(logging.DEBUG)
    errors: list[BaseException] = []

    def echo(request: httpx.Request) -> httpx.Response:
        text = f"{request.content.decode()} {request.headers.get('authorization')}"
        return httpx.Response(400, json={"message": text, "details": {}})

    async with wix.session() as session:
        login = await session.members.start_login(CALLBACK)
        outcome = await session.members.login("anna@example.com", PASSWORD)
        for path in (wire.LOGIN_PATH, wire.REGISTER_PATH, wire.SIGN_ON_PATH, "/oauth2/token"):
            wix.answers[path] = echo
        members = session.members
        for call in (
            lambda: members.login("anna@example.com", PASSWORD),
            lambda: members.register("anna@example.com", PASSWORD),
            lambda: members.finish_login(login, back(login)),
            lambda: members.login_external("m", api_key=API_KEY),
            lambda: members.login_external(email="anna@example.com", api_key=API_KEY),
        ):
            try:
                await call()
            except MemberLoginError as error:
                errors.append(error)
    assert len(errors) == 5
    known = (PASSWORD, "the-code", API_KEY, login.code_verifier, outcome.session_token)
    shown = [repr(login), repr(outcome), str(login), caplog.text, *(f"{error!r}{vars(error)}" for error in errors)]
    for error in errors:
        trace = error.__traceback__
        while trace is not None:
            if "wixvisitor" in trace.tb_frame.f_code.co_filename:
                shown.append(repr(trace.tb_frame.f_locals))
            trace = trace.tb_next
    assert [text for text in shown for secret in known if secret in text] == []


@pytest.mark.parametrize("address", [None, "", "/thanks", "javascript:1", "https://a b", "https://a\r\nX: y", 5])
async def test_addresses_that_are_none(wix: Wix, address: Any) -> None:
    """Where a browser comes back to has to be an address; nothing is sent, and nobody is logged out."""
    async with wix.session() as session:
        for call in (session.members.start_login, session.members.logout):
            with pytest.raises(ConfigurationError, match="expected an address"):
                await call(address)
        with pytest.raises(ConfigurationError, match="return_to: expected an address"):
            await session.checkout.url(return_to=address)
        assert session.get_tokens() == VISITOR
    assert wix.calls == []
