"""A Wix that logs members in, shops with the login's routes in each framework, and browsers that walk through them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

import attrs
import httpx
from aiohttp.test_utils import unused_port

from tests.constants import CART, CLIENT_ID
from tests.web.conftest import KEY
from wixvisitor import VisitorPool, VisitorSession
from wixvisitor._wire import members as wire
from wixvisitor.cookies import IdCookie
from wixvisitor.members import MemberLogin

FRAMEWORKS = ("fastapi", "asgi", "aiohttp")
OPENS = {"Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"}
PASSWORD = "correct horse battery"


@attrs.define
class Wix:
    """Wix's token endpoint, redirects and login API. Codes work once, for one verifier and one address.

    Attributes:
        answers: by path, what is answered in place of the usual.
        calls: what was asked.
        visitors: how many visitors were made.
        pages: the origin of Wix's own pages.
    """

    answers: dict[str, Callable[[httpx.Request], httpx.Response]] = attrs.field(factory=dict)
    calls: list[httpx.Request] = attrs.field(factory=list)
    visitors: int = 0
    pages: str = "https://wix.example"
    _members: int = 0
    _logins: dict[str, dict[str, Any]] = attrs.field(factory=dict)  # what a redirect session asked for, by its state
    _codes: dict[str, dict[str, Any]] = attrs.field(factory=dict)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.calls.append(request)
        if (answer := self.answers.get(request.url.path)) is not None:
            return answer(request)
        body = json.loads(request.content) if request.content else {}
        usual = self._usual(request, body)
        return usual or httpx.Response(200, json={"state": "SUCCESS", "sessionToken": "session-token"})

    def _usual(self, request: httpx.Request, body: dict[str, Any]) -> httpx.Response | None:
        match request.url.path:
            case "/oauth2/token":
                return self._token(body)
            case wire.REDIRECT_PATH:
                return httpx.Response(200, json={"redirectSession": {"id": "1", "fullUrl": self._page(body)}})
            case path if path == CART:
                return httpx.Response(200, json={"cart": {"id": request.headers["authorization"]}})
            case wire.REGISTER_PATH:
                return httpx.Response(200, json={"state": "REQUIRE_EMAIL_VERIFICATION", "stateToken": "state-token"})
        if body.get("code", "123456") != "123456" or body.get("password", PASSWORD) != PASSWORD:
            code = "-19976" if "password" in body else "CODE"
            return httpx.Response(401, json={"message": "no", "details": {"applicationError": {"code": code}}})
        return None

    def _token(self, body: dict[str, Any]) -> httpx.Response:
        match body["grantType"]:
            case "anonymous":
                self.visitors += 1
                return _granted(f"visitor{self.visitors}")
            case "refresh_token":
                return _granted(body["refreshToken"].removeprefix("JWS."))
        asked = self._codes.pop(body["code"], None)
        challenge = wire.code_challenge(body["codeVerifier"])
        if asked is None or asked["codeChallenge"] != challenge or asked.get("redirectUri") != body.get("redirectUri"):
            return httpx.Response(400, json={"error": "invalid_grant"})
        self._members += 1
        return _granted(f"member{self._members}")

    def _page(self, body: dict[str, Any]) -> str:
        if "logout" in body:
            return f"{self.pages}/logout?{urlencode({'to': body['callbacks']['postFlowUrl']})}"
        asked = body["auth"]["authRequest"]
        self._logins[asked["state"]] = asked
        return f"{self.pages}/login?{urlencode({'state': asked['state']})}"

    def approve(self, page: str, **change: str) -> str:
        """The shopper logs in on the page: the address of the callback, with a new code."""
        (state,) = parse_qs(urlsplit(page).query)["state"]
        asked, code = self._logins[state], f"code{len(self._logins)}{len(self._codes)}.{len(self.calls)}"
        self._codes[code] = asked
        return f"{asked['redirectUri']}?{urlencode({'code': code, 'state': state} | change)}"

    def bodies(self, path: str) -> list[Any]:
        """What was sent there."""
        return [json.loads(request.content) for request in self.calls if request.url.path == path]

    @property
    def exchanges(self) -> int:
        return sum(body["grantType"] == "authorization_code" for body in self.bodies("/oauth2/token"))


def _granted(name: str) -> httpx.Response:
    grant = {"access_token": f"OauthNG.JWS.{name}", "refresh_token": f"JWS.{name}", "expires_in": 14_400}
    return httpx.Response(200, json=grant)


@attrs.define
class Town:
    """A shop with the login's routes, and its Wix.

    Attributes:
        origin: the shop's.
        ended: the logins that ``on_login`` was called with.
        now: seconds since the epoch; the shop's clock.
        fails: whether ``on_login`` raises.
    """

    wix: Wix
    origin: str
    options: dict[str, Any] = attrs.field(factory=dict)
    pool: Any = None
    cookie: Any = None
    transport: Any = None
    ended: list[tuple[bool, MemberLogin]] = attrs.field(factory=list)
    now: float = 1_800_000_000.0
    fails: bool = False

    @property
    def redirect_uri(self) -> str:
        return f"{self.origin}/auth/callback"

    def browser(self, **options: Any) -> Browser:
        return Browser(self, httpx.AsyncClient(transport=self.transport, base_url=self.origin, **options))

    async def on_login(self, visitor: VisitorSession, login: MemberLogin) -> None:
        self.ended.append((visitor.logged_in(), login))
        if self.fails:
            raise ZeroDivisionError

    @property
    def router_options(self) -> dict[str, Any]:
        return {"on_login": self.on_login, **self.options}


@attrs.define
class Browser:
    """A browser with a cookie jar of its own. It follows no redirect by itself."""

    town: Town
    client: httpx.AsyncClient

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(path, headers={**OPENS, "User-Agent": "B", **_names(headers)})

    async def post(self, path: str, data: Any = None, **headers: str) -> httpx.Response:
        given = {"Origin": self.town.origin, "Sec-Fetch-Site": "same-origin", **_names(headers)}
        return await self.client.post(path, data=data, headers={name: value for name, value in given.items() if value})

    async def who(self) -> str:
        """Who the browser is: the name of its tokens."""
        return (await self.client.get("/cart")).text

    async def begins(self, path: str = "/auth/login?next=/account") -> str:
        """Begins a login: the address of Wix's page."""
        answer = await self.get(path)
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    async def logs_in(self, path: str = "/auth/login?next=/account") -> httpx.Response:
        """Begins a login, logs in on Wix's page, and comes back."""
        return await self.get(self.town.wix.approve(await self.begins(path)))

    @property
    def logins(self) -> list[str]:
        """The names of the cookies of logins that have begun."""
        return [cookie.name for cookie in self.client.cookies.jar if "wixvisitor-login" in cookie.name]


def _names(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@asynccontextmanager
async def open_town(
    framework: str = "fastapi",
    *,
    cookie: Any = None,
    storage: Any = None,
    wix: Wix | None = None,
    client: Any = None,
    **options: Any,
) -> Any:
    """Opens a shop with the login's routes in a framework; closes it at the end."""
    is_https = framework != "aiohttp"
    pool_options = {name: options.pop(name) for name in ("new_visitors_per_minute",) if name in options}
    setup_options = {name: options.pop(name) for name in ("consent",) if name in options}
    town = Town(wix or Wix(), "https://shop.example" if is_https else f"http://127.0.0.1:{unused_port()}", options)
    client = client or httpx.AsyncClient(transport=httpx.MockTransport(town.wix))
    town.pool = VisitorPool(CLIENT_ID, client=client, storage=storage, clock=lambda: town.now, **pool_options)
    town.cookie = cookie or IdCookie([KEY], secure=is_https)
    app = APPS[framework](town, setup_options)
    async with _served(town, app, is_https=is_https):
        yield town
    await town.pool.aclose()
    await client.aclose()


@asynccontextmanager
async def _served(town: Town, app: Any, *, is_https: bool) -> AsyncIterator[None]:
    if is_https:
        town.transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        yield
        return
    from aiohttp.test_utils import TestServer

    async with TestServer(app, port=urlsplit(town.origin).port):
        yield


async def _cart(visitor: VisitorSession) -> str:
    return (await visitor.get(CART)).json()["cart"]["id"].removeprefix("OauthNG.JWS.")


def fastapi_app(town: Town, options: dict[str, Any]) -> Any:
    from fastapi import FastAPI
    from fastapi.responses import PlainTextResponse

    from wixvisitor.fastapi import CurrentMember, CurrentVisitor, login_router, setup

    app = FastAPI()
    setup(app, town.pool, cookie=town.cookie, close=False, **options)
    app.include_router(login_router(town.redirect_uri, **town.router_options))

    async def cart(visitor: CurrentVisitor) -> Any:
        return PlainTextResponse(await _cart(visitor))

    async def account(member: CurrentMember) -> Any:
        return PlainTextResponse(await _cart(member))

    cart.__annotations__["visitor"] = CurrentVisitor
    account.__annotations__["member"] = CurrentMember
    app.get("/cart", response_model=None)(cart)
    app.api_route("/account", methods=["GET", "POST"], response_model=None)(account)
    return app


def _asgi(town: Town, options: dict[str, Any]) -> Any:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Mount, Route

    from wixvisitor.asgi import MemberRequired, VisitorMiddleware, get_member, get_visitor, login_router

    async def cart(request: Request) -> Response:
        return PlainTextResponse(await _cart(await get_visitor(request.scope)))

    async def account(request: Request) -> Response:
        return PlainTextResponse(await _cart(await get_member(request.scope)))

    async def refuse(_: Request, error: Exception) -> Response:
        assert isinstance(error, MemberRequired)
        return Response(status_code=error.status_code, headers=error.headers)

    routes = [
        Route("/cart", cart),
        Route("/account", account, methods=["GET", "POST"]),
        Mount("/auth", login_router(town.redirect_uri, **town.router_options)),
    ]
    app = Starlette(routes=routes, exception_handlers={MemberRequired: refuse})
    return VisitorMiddleware(app, town.pool, cookie=town.cookie, close=False, **options)


def _aiohttp(town: Town, options: dict[str, Any]) -> Any:
    from aiohttp import web

    from wixvisitor.aiohttp import get_member, get_visitor, login_router, setup

    async def cart(request: web.Request) -> web.Response:
        return web.Response(text=await _cart(await get_visitor(request)))

    async def account(request: web.Request) -> web.Response:
        return web.Response(text=await _cart(await get_member(request)))

    app = web.Application()
    setup(app, town.pool, cookie=town.cookie, close=False, **options)
    app.add_routes(login_router(town.redirect_uri, **town.router_options))
    app.add_routes([web.get("/cart", cart), web.route("*", "/account", account)])
    return app


APPS: dict[str, Callable[[Town, dict[str, Any]], Any]] = {
    "fastapi": fastapi_app,
    "asgi": _asgi,
    "aiohttp": _aiohttp,
}
