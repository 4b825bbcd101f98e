"""The login's routes in each framework: a login, a logout, and handlers that need a member."""

from __future__ import annotations

import json
from collections.abc import Callable

import anyio
import httpx
import httpx2
import pytest

from tests.constants import CLIENT_ID
from tests.stores import FailingStorage
from tests.web.conftest import COOKIES, KEY
from tests.web.logins import FRAMEWORKS, PASSWORD, Wix, open_town
from wixvisitor import ConfigurationError, VisitorPool
from wixvisitor._web.login_cookies import LoginCookies
from wixvisitor._web.login_rules import Pending
from wixvisitor._wire import members as wire
from wixvisitor.cookies import IdCookie
from wixvisitor.storage import MemoryStorage

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return getattr(request, "param", "asyncio")


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_a_login_and_a_logout(framework):
    """A visitor with a cart logs in on Wix's page, is the member, and logs out here and at Wix."""
    async with open_town(framework) as town, town.browser() as browser:
        assert await browser.who() == "visitor1"
        before = dict(browser.client.cookies)
        page = await browser.begins()
        assert len(browser.logins) == 1
        assert "noindex" in (await browser.get("/auth/login")).headers["x-robots-tag"]
        back = await browser.get(town.wix.approve(page))
        assert (back.status_code, back.headers["location"]) == (303, "/account")
        assert len(browser.logins) == 1
        assert dict(browser.client.cookies) != before
        assert await browser.who() == "member1"
        assert (await browser.get("/account")).text == "member1"
        ((was_member, login),) = town.ended
        assert was_member
        assert login.previous.refresh_token.value == "JWS.visitor1"
        member = dict(browser.client.cookies)
        out = await browser.post("/auth/logout?next=/bye")
        assert out.status_code == 303
        assert out.headers["location"].startswith("https://wix.example/logout?to=")
        assert out.headers["location"].endswith("%2Fbye")
        assert dict(browser.client.cookies) != member
        assert await browser.who() == "visitor2"
        browser.client.cookies.clear()
        browser.client.cookies.update(member)
        assert not (await browser.who()).startswith("member")


async def test_two_tabs(framework):
    """Of two tabs that log in at once, the first callback makes the member, and the second one just goes on."""
    async with open_town(framework) as town, town.browser() as browser:
        await browser.who()
        one = town.wix.approve(await browser.begins("/auth/login?next=/one"))
        other = town.wix.approve(await browser.begins("/auth/login?next=/other"))
        assert (await browser.get(other)).headers["location"] == "/other"
        assert (await browser.get(one)).headers["location"] == "/one"
        assert town.wix.exchanges == 1
        assert browser.logins == []
        assert await browser.who() == "member1"


async def test_a_tab_that_logs_out_in_between(framework):
    """A login that began before a logout in another tab is refused: its visitor is gone."""
    async with open_town(framework) as town, town.browser() as browser:
        await browser.logs_in()
        address = town.wix.approve(await browser.begins())
        await browser.post("/auth/logout")
        answer = await browser.get(address)
        assert answer.status_code == 400
        assert "out of date" in answer.text
        assert await browser.who() == "visitor2"


async def test_a_member_logs_in_again(framework):
    """A second login of a member is another id, and the first one's is no member any more."""
    async with open_town(framework) as town, town.browser() as browser, town.browser() as thief:
        await browser.logs_in()
        thief.client.cookies.update(browser.client.cookies)
        await browser.logs_in()
        assert await browser.who() == "member2"
        assert not (await thief.who()).startswith("member")


async def test_a_handler_that_needs_a_member(framework):
    """A page leads to the login and back; a script's call and a form get a 401 that says what is missing."""
    async with open_town(framework) as town, town.browser() as browser:
        asked = await browser.get("/account?tab=1&x=%2F")
        assert asked.status_code == 303
        assert asked.headers["location"] == "/auth/login?next=%2Faccount%3Ftab%3D1%26x%3D%252F&required=1"
        assert town.wix.visitors == 0
        back = await browser.logs_in(asked.headers["location"])
        assert back.headers["location"] == "/account?tab=1&x=%2F"
        assert (await browser.get(back.headers["location"])).text == "member1"
        await browser.post("/auth/logout")
        for answer in (await browser.get("/account", Sec_Fetch_Dest="empty"), await browser.post("/account")):
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == 'Cookie realm="members"'
            assert answer.headers["cache-control"] == "no-store"


async def test_a_logout_of_a_visitor(framework):
    """A logout without a member keeps the visitor and its cart, and asks Wix nothing."""
    async with open_town(framework) as town, town.browser() as browser:
        await browser.who()
        calls = len(town.wix.calls)
        answer = await browser.post("/auth/logout")
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert len(town.wix.calls) == calls
        assert await browser.who() == "visitor1"


async def test_a_password(framework):
    """A login with a form goes through Wix's redirect and ends at the callback; a wrong password is a reason."""
    async with open_town(framework, forms=True, login_page="/sign-in") as town, town.browser() as browser:
        form = {"email": "anna@example.com", "password": "wrong", "next": "/account", "recaptcha_token": "r"}
        answer = await browser.post("/auth/login", form)
        assert answer.headers["location"] == "/sign-in?error=invalid_credentials&next=%2Faccount"
        answer = await browser.post("/auth/login", {**form, "password": PASSWORD})
        assert answer.headers["location"].startswith("https://wix.example/login?")
        asked = town.wix.bodies(wire.REDIRECT_PATH)[-1]["auth"]
        assert (asked["authRequest"]["sessionToken"], asked["prompt"]) == ("session-token", "none")
        assert town.wix.bodies(wire.LOGIN_PATH)[-1]["captchaTokens"] == [{"Recaptcha": "r"}]
        assert await browser.who() == "visitor1"
        back = await browser.get(town.wix.approve(answer.headers["location"]))
        assert back.headers["location"] == "/account"
        assert await browser.who() == "member1"
        assert (await browser.get("/auth/login?required=1&next=/a")).headers["location"] == "/sign-in?next=%2Fa"


async def test_a_registration(framework):
    """A registration waits for the code of the email; a wrong code can be corrected, and the right one logs in."""
    async with open_town(framework, forms=True, login_page="/sign-in") as town, town.browser() as browser:
        form = {"email": "anna@example.com", "password": PASSWORD, "next": "/account", "profile.firstName": "Anna"}
        answer = await browser.post("/auth/register", form)
        assert answer.headers["location"] == "/sign-in?state=email_verification_required&next=%2Faccount"
        assert town.wix.bodies(wire.REGISTER_PATH)[-1]["profile"] == {"firstName": "Anna"}
        assert "state-token" not in str(browser.client.cookies)
        wrong = await browser.post("/auth/verify", {"code": "000000"})
        assert wrong.headers["location"] == "/sign-in?error=invalid_code&next=%2Faccount"
        answer = await browser.post("/auth/verify", {"code": "123456"})
        assert town.wix.bodies(wire.VERIFY_PATH)[-1] == {"code": "123456", "stateToken": "state-token"}
        await browser.get(town.wix.approve(answer.headers["location"]))
        assert await browser.who() == "member1"
        late = await browser.post("/auth/verify", {"code": "123456"})
        assert late.headers["location"] == "/sign-in?error=expired&next=%2F"


async def test_a_script(framework):
    """A script that sends JSON gets JSON: a reason, a state, or the address to which the page has to go."""
    async with open_town(framework, forms=True, login_page="/sign-in") as town, town.browser() as browser:
        headers = {"Origin": town.origin, "Sec-Fetch-Site": "same-origin"}

        async def send(path: str, **content: object) -> httpx.Response:
            return await browser.client.post(path, json=content, headers=headers)

        wrong = await send("/auth/login", email="anna@example.com", password="wrong")
        assert (wrong.status_code, wrong.json()) == (400, {"error": "invalid_credentials"})
        waiting = await send("/auth/register", email="a@b.example", password=PASSWORD, profile={"firstName": "Anna"})
        assert waiting.json() == {"state": "email_verification_required"}
        answer = await send("/auth/login", email="anna@example.com", password=PASSWORD, next="/account")
        assert answer.json()["state"] == "success"
        await browser.get(town.wix.approve(answer.json()["url"]))
        assert await browser.who() == "member1"
        headers["Origin"] = "https://evil.example"
        foreign = await send("/auth/login", email="anna@example.com", password=PASSWORD)
        assert (foreign.status_code, foreign.json()) == (403, {"error": "foreign"})


async def test_forms_in_an_outage(framework):
    """If Wix answers 503, the form says to try again: neither the password nor the code is called wrong."""
    async with open_town(framework, forms=True, login_page="/sign-in") as town, town.browser() as browser:
        form = {"email": "anna@example.com", "password": PASSWORD, "next": "/account"}
        await browser.post("/auth/register", form)
        for path, content in (("login", form), ("verify", {"code": "123456"})):
            place = wire.LOGIN_PATH if path == "login" else wire.VERIFY_PATH
            town.wix.answers[place] = lambda _: httpx.Response(503, json={"message": "later"})
            away = await browser.post(f"/auth/{path}", content)
            assert (away.status_code, "Please try again" in away.text) == (503, True)
            headers = {"Origin": town.origin}
            script = await browser.client.post(f"/auth/{path}", json=content, headers=headers)
            assert (script.status_code, script.json()) == (503, {"error": "unavailable"})
            town.wix.answers.clear()
        answer = await browser.post("/auth/verify", {"code": "123456"})
        await browser.get(town.wix.approve(answer.headers["location"]))
        assert await browser.who() == "member1"


async def test_forms_that_are_none(framework):
    """A form that is too large, of another type, broken or incomplete is an answer, and Wix is not asked."""
    async with open_town(framework, forms=True, login_page="/sign-in") as town, town.browser() as browser:

        async def send(content: bytes, kind: str, **headers: str) -> httpx.Response:
            given = {"Origin": town.origin, "Content-Type": kind, **headers}
            return await browser.client.post("/auth/login", content=content, headers=given)

        form, body = "application/x-www-form-urlencoded", f"email=a&password={PASSWORD}".encode()
        assert (await send(body + b"x" * 20_000, form)).status_code == 413
        for wrong in (await send(body, "text/plain"), await send(body, "multipart/form-data; boundary=x")):
            assert wrong.status_code == 400
        for broken in (b"[]", b"{", b"\xff", b"[" * 9_000):
            assert (await send(broken, "application/json")).status_code == 400
        assert (await send(b"email=a", form)).headers["location"] == "/sign-in?error=fields&next=%2F"
        assert (await send(b"email=a&email=b&password=c", form)).headers["location"].startswith("/sign-in?error=fields")
        packed = await send(b"no gzip", form, **{"Content-Encoding": "gzip"})  # aiohttp's server unpacks it
        assert packed.headers["location"] == "/sign-in?error=fields&next=%2F"
        assert (await send(body, form, Origin="https://evil.example")).status_code == 403
        assert town.wix.calls == []


@pytest.mark.parametrize("kind", ["sealed", "wixSession"])
async def test_other_cookies(framework, kind):
    """A login and a logout with a visitor whose tokens are in the cookie, and keys for the cookies of logins."""
    cookie = COOKIES[kind](secure=framework != "aiohttp")
    async with open_town(framework, cookie=cookie, keys=[KEY]) as town, town.browser() as browser:
        assert await browser.who() == "visitor1"
        await browser.logs_in()
        assert await browser.who() == "member1"
        await browser.post("/auth/logout")
        assert await browser.who() == "visitor2"
    async with open_town(framework, cookie=cookie, keys=[KEY]) as town, town.browser() as browser:
        await browser.logs_in()  # without any visit before
        assert await browser.who() == "member1"


async def test_another_process_ends_the_login():
    """A login that began in a process that is gone ends in the next one, over the same store, with the same keys."""
    storage, wix = MemoryStorage(), Wix()
    async with open_town(storage=storage, wix=wix) as town, town.browser() as browser:
        assert await browser.who() == "visitor1"
        address = wix.approve(await browser.begins())
        cookies = browser.client.cookies
    async with open_town(storage=storage, wix=wix) as town, town.browser(cookies=cookies) as browser:
        assert (await browser.get(address)).headers["location"] == "/account"
        assert await browser.who() == "member1"


async def test_a_wix_that_is_away(framework):
    """If Wix cannot be asked, the answer says to come back, and the visitor is the same."""

    def gone(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("gone", request=request)

    async with open_town(framework) as town, town.browser() as browser:
        await browser.who()
        for path in (wire.REDIRECT_PATH, "/oauth2/token"):
            address = town.wix.approve(await browser.begins()) if path == "/oauth2/token" else "/auth/login"
            for answer in (gone, lambda _: httpx.Response(503), lambda _: httpx.Response(500, text="<html>")):
                town.wix.answers[path] = answer
                got = await browser.get(address)
                assert got.status_code in (400, 502, 503)  # 400: the login's cookie went with the first callback
                assert "Log in" in got.text
            town.wix.answers.clear()
            assert await browser.who() == "visitor1"
        await browser.logs_in()
        town.wix.answers[wire.REDIRECT_PATH] = gone
        out = await browser.post("/auth/logout?next=/bye")
        assert out.headers["location"] == "/bye"
        town.wix.answers.clear()
        assert await browser.who() == "visitor2"


async def test_a_store_that_fails(framework):
    """If the member cannot be saved, the browser is the visitor from before, and the page says to try again."""
    storage = FailingStorage()
    async with open_town(framework, storage=storage) as town, town.browser() as browser:
        await browser.who()
        address = town.wix.approve(await browser.begins())
        storage.fails = True
        answer = await browser.get(address)
        assert answer.status_code == 503
        storage.fails = False
        assert await browser.who() == "visitor1"
        await browser.logs_in()
        assert await browser.who() == "member2"


async def test_a_member_whose_session_has_ended(framework):
    """A member whom Wix has logged out begins a login as a new visitor."""
    async with open_town(framework) as town, town.browser() as browser:
        await browser.logs_in()
        town.now += 20_000
        usual = town.wix._token

        def refuse(request: httpx.Request) -> httpx.Response:
            body = json.loads(request.content)
            return httpx.Response(400, json={"error": "invalid_grant"}) if "refreshToken" in body else usual(body)

        town.wix.answers["/oauth2/token"] = refuse
        await browser.logs_in()
        town.wix.answers.clear()
        assert await browser.who() == "member2"


async def test_without_consent(framework):
    """A browser that may not be remembered is told so; it gets no visitor and no cookie."""
    async with open_town(framework, consent=lambda _: False) as town, town.browser() as browser:
        answer = await browser.get("/auth/login")
        assert answer.status_code == 403
        assert "Cookies are needed" in answer.text
        assert "set-cookie" not in answer.headers
        assert town.wix.visitors == 0


async def test_an_app_that_fails_after_the_login(framework):
    """If ``on_login`` raises, the app sees it, and the member is logged in all the same."""
    async with open_town(framework) as town, town.browser() as browser:
        town.fails = True
        assert (await browser.logs_in()).status_code == 500
        assert await browser.who() == "member1"


@pytest.mark.parametrize(
    "options",
    [
        {"redirect_uri": "http://shop.example/auth/callback"},
        {"redirect_uri": "https://shop.example/auth/callback?x=1"},
        {"redirect_uri": "https://user@shop.example/auth/callback"},
        {"redirect_uri": "https://shop.example"},
        {"redirect_uri": "https://shop.example/auth/"},
        {"redirect_uri": "/auth/callback"},
        {"redirect_uri": None},
        {"redirect_uri": "https://shop.example:x/auth/callback"},
        {"after_login": "https://evil.example"},
        {"after_logout": "//evil.example"},
        {"login_page": "login"},
        {"forms": True},
        {"on_login": 1},
        {"prefix": "/auth/"},
        {"prefix": "auth"},
    ],
)
def test_wrong_arguments(options):
    """A wrong argument is an error when the routes are made."""
    from wixvisitor import fastapi

    given = {"redirect_uri": "https://shop.example/auth/callback", **options}
    with pytest.raises(ConfigurationError, match=next(iter(options)) if "forms" not in options else "login_page"):
        fastapi.login_router(**given)


async def test_a_cookie_without_keys():
    """With a cookie that has no keys, the routes ask for some."""
    async with open_town(cookie=COOKIES["wixSession"]()) as town, town.browser() as browser:
        assert (await browser.get("/auth/login")).status_code == 500
        assert town.wix.visitors == 0


@pytest.mark.parametrize("anyio_backend", ["trio"], indirect=True)
async def test_on_trio():
    """The plain ASGI routes run on trio as well."""
    async with open_town("asgi") as town, town.browser() as browser:
        await browser.logs_in()
        assert await browser.who() == "member1"
        await browser.post("/auth/logout")
        assert await browser.who() == "visitor2"


async def test_a_client_of_httpx2():
    """With a client of httpx2's a login works, and a Wix that cannot be reached is a page."""
    wix = Wix()

    def answer(request: httpx2.Request) -> httpx2.Response:
        if "/gone" in wix.answers:
            raise httpx2.ConnectError("gone", request=request)
        plain = httpx.Request(request.method, str(request.url), headers=dict(request.headers), content=request.content)
        got = wix(plain)
        return httpx2.Response(got.status_code, content=got.content, headers=dict(got.headers))

    client = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    async with open_town(wix=wix, client=client) as town, town.browser() as browser:
        await browser.logs_in()
        assert await browser.who() == "member1"
        wix.answers["/gone"] = lambda _: httpx.Response(200)
        assert (await browser.get("/auth/login")).status_code == 503


async def test_below_a_mount_and_a_sub_application():
    """Routes whose app is mounted at ``/auth`` take their paths from there."""
    from aiohttp import web
    from fastapi import FastAPI

    from wixvisitor import aiohttp, fastapi

    uri = "https://shop.example/shop/auth/back"
    inner = web.Application()
    inner.add_routes(aiohttp.login_router(uri, prefix=""))
    web.Application().add_subapp("/auth", inner)
    paths = {route.resource.canonical for route in inner.router.routes() if route.resource}
    assert paths == {"/auth/login", "/auth/back", "/auth/logout"}
    app = FastAPI()
    app.include_router(fastapi.login_router(uri, prefix=""), prefix="/auth")
    assert app.url_path_for("wixvisitor_callback") == "/auth/back"


async def test_two_callbacks_on_one_host():
    """The routes of another callback on the same host leave each other's logins alone."""
    cookies = [
        LoginCookies(IdCookie([KEY]), None, CLIENT_ID, f"https://shop.example/{path}/back") for path in ("de", "en")
    ]
    header = ""
    for number in range(6):
        pending = Pending(number, "o" * 32, f"{number}" * 43, "v" * 43, "/")
        headers = cookies[number % 2].begin(header, pending, float(number))
        assert len(headers) == 1
        header += headers[0].partition(";")[0] + "; "
    assert all(cookies[number % 2].find(header, f"{number}" * 43)[0] for number in range(6))


def test_a_websocket_to_the_routes():
    """The routes as an ASGI app close a websocket before it is accepted."""
    from starlette.applications import Starlette
    from starlette.routing import Mount
    from starlette.testclient import TestClient
    from starlette.websockets import WebSocketDisconnect

    from wixvisitor.asgi import login_router

    app = Starlette(routes=[Mount("/auth", login_router("https://shop.example/auth/callback"))])
    with TestClient(app) as client, pytest.raises(WebSocketDisconnect), client.websocket_connect("/auth/login"):
        pass


def test_a_websocket_that_needs_a_member():
    """A websocket of a visitor is closed before it is accepted, with the code for a policy."""
    from fastapi import FastAPI, WebSocket
    from starlette.testclient import TestClient
    from starlette.websockets import WebSocketDisconnect

    from wixvisitor.fastapi import CurrentMember, setup

    async def live(websocket: WebSocket, member: CurrentMember) -> None:
        raise AssertionError(member, websocket)

    live.__annotations__.update(websocket=WebSocket, member=CurrentMember)
    app = FastAPI()
    setup(app, VisitorPool(CLIENT_ID), cookie=IdCookie([KEY]))
    app.websocket("/live")(live)
    with TestClient(app) as client, pytest.raises(WebSocketDisconnect) as caught, client.websocket_connect("/live"):
        pass
    assert caught.value.code == 1008


FAULTS: dict[str, Callable[[Wix, httpx.Request], httpx.Response]] = {
    "refused": lambda _, request: httpx.Response(400, json={"error": "invalid_request"}),
    "unavailable": lambda _, request: httpx.Response(503, headers={"Retry-After": "7"}),
    "throttled": lambda _, request: httpx.Response(429),
    "html": lambda _, request: httpx.Response(403, text="<html>"),
    "nothing": lambda _, request: httpx.Response(200),
    "unreachable": lambda _, request: _drop(request),
    "lost": lambda wix, request: _drop(request, wix._usual(request, json.loads(request.content))),
}


def _drop(request: httpx.Request, _: object = None) -> httpx.Response:
    raise httpx.ReadError("gone", request=request)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_at_each_step(framework, fault):
    """Whatever fails at whichever step, the browser is the visitor from before, and its next login works."""
    async with open_town(framework) as town, town.browser() as browser:
        await browser.who()
        for step in ("begin", "exchange", "logout"):
            expected = "visitor1"
            address = town.wix.approve(await browser.begins()) if step == "exchange" else "/auth/login"
            if step == "logout":
                await browser.logs_in()
                expected = "visitor2"
            path = "/oauth2/token" if step == "exchange" else wire.REDIRECT_PATH
            town.wix.answers[path] = lambda request: FAULTS[fault](town.wix, request)
            answer = await (browser.post("/auth/logout") if step == "logout" else browser.get(address))
            assert answer.status_code in ((303,) if step == "logout" else (400, 502, 503))
            town.wix.answers.clear()
            town.now += 120  # a pause after a failure is over
            assert await browser.who() == expected
        await browser.logs_in()
        assert (await browser.who()).startswith("member")


async def test_a_browser_that_leaves_amid_the_exchange():
    """A callback whose browser has left is no login: the browser is the visitor, and logs in again."""
    reached, go_on = anyio.Event(), anyio.Event()
    wix = Wix()

    async def slow(request: httpx.Request) -> httpx.Response:
        if b"authorization_code" in request.content and not reached.is_set():
            reached.set()
            await go_on.wait()
        return wix(request)

    client = httpx.AsyncClient(transport=httpx.MockTransport(slow))
    async with open_town(wix=wix, client=client) as town, town.browser() as browser:
        await browser.who()
        address = wix.approve(await browser.begins())
        async with anyio.create_task_group() as group:
            group.start_soon(browser.get, address)
            await reached.wait()
            group.cancel_scope.cancel()
        go_on.set()
        assert await browser.who() == "visitor1"
        assert (await browser.get(address)).status_code == 400  # Wix has taken the code
        assert await browser.who() == "visitor1"
        await browser.logs_in()
        assert (await browser.who()).startswith("member")
