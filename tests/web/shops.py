"""The same small shop in every framework, so that one set of tests says what all of them do.

What the handlers do stands once, in ``Shop``; each framework turns an ``Answer`` into its own response.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import attrs
import httpx

from tests.constants import CART
from wixvisitor import EMPTY_TOKENS, ConfigurationError, Tokens, VisitorPool, VisitorSession
from wixvisitor.asgi import CatalogReader, VisitorMiddleware, get_catalog_visitor
from wixvisitor.asgi import get_visitor as from_scope
from wixvisitor.cookies import VisitorCookie

PRODUCTS = "/stores-reader/v1/products/query"
METHODS = ["GET", "POST"]
FORMS = ("id", "sealed", "wixSession")  # of the cookie
DOCUMENT = {"Sec-Fetch-Dest": "document"}  # what a browser says when it asks for a page


def body_of(response: httpx.Response) -> Any:
    """What a handler answered as JSON, which had to go well."""
    assert response.status_code == 200, response.text
    return json.loads(response.text)


@attrs.frozen
class Look:
    """How a handler asks for the browser's visitor, and for the catalogue's."""

    visitor: Callable[[], Awaitable[VisitorSession]]
    catalog: Callable[[], Awaitable[CatalogReader]]

    async def __call__(self) -> VisitorSession:
        return await self.visitor()


@attrs.frozen
class Answer:
    """What a handler answers.

    Attributes:
        body: sent as JSON; a text as HTML; an iterator as a stream.
        way: "plain", "redirect" (to /cart), or "refused": the framework's own exception with status 409.
        cache_control: a header.
    """

    body: Any
    way: str = "plain"
    cache_control: str = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"Cache-Control": self.cache_control} if self.cache_control else {}


@attrs.define
class Shop:
    """What the handlers work with, and what they do.

    Attributes:
        asked: set once a handler has asked Wix.
        gate: what the slow handler waits for, once it has asked Wix.
        failures: what was raised where no answer could tell of it.
    """

    pool: VisitorPool
    cookie: VisitorCookie
    options: dict[str, Any] = attrs.field(factory=dict)
    member: Tokens = EMPTY_TOKENS
    asked: anyio.Event = attrs.field(factory=anyio.Event)
    gate: anyio.Event = attrs.field(factory=anyio.Event)
    failures: list[Exception] = attrs.field(factory=list)

    # Handlers that do not look at the visitor, or only once the response has started

    async def health(self, look: Look) -> Answer:
        return Answer({})

    async def page(self, look: Look) -> Answer:
        return Answer("<h1>Shop</h1>")

    async def late(self, look: Look) -> Answer:
        return Answer(self.parts(look))

    async def hesitant(self, look: Look) -> Answer:
        self.asked.set()
        await self.gate.wait()
        return await self.cart(await look())

    # Handlers that read the catalogue

    async def products(self, look: Look) -> Answer:
        catalog = await look.catalog()
        response = await catalog.post(PRODUCTS, json={"query": {}})
        return Answer({"products": len(response.json()["products"])}, cache_control="public, max-age=60")

    async def shelf(self, look: Look) -> Answer:
        return attrs.evolve(await self.products(look), cache_control="")

    async def both(self, look: Look) -> Answer:
        products = await self.products(look)
        return attrs.evolve(await self.cart(await look()), body=products.body, cache_control="")

    # Handlers that look at the visitor first

    async def looked(self, visitor: VisitorSession) -> Answer:
        return Answer({"role": visitor.get_tokens().refresh_token.role})

    async def cart(self, visitor: VisitorSession) -> Answer:
        response = await visitor.get(CART)
        self.asked.set()
        return Answer({"status": response.status_code, "who": who(visitor), "member": visitor.logged_in()})

    async def redirect(self, visitor: VisitorSession) -> Answer:
        return attrs.evolve(await self.cart(visitor), way="redirect")

    async def refused(self, visitor: VisitorSession) -> Answer:
        return attrs.evolve(await self.cart(visitor), way="refused")

    async def public(self, visitor: VisitorSession) -> Answer:
        return attrs.evolve(await self.cart(visitor), cache_control="public, max-age=60")

    async def boom(self, visitor: VisitorSession) -> Answer:
        await self.cart(visitor)
        raise ZeroDivisionError

    async def stream(self, visitor: VisitorSession) -> Answer:
        async def known() -> VisitorSession:
            return visitor

        return Answer(self.parts(known))

    async def login(self, visitor: VisitorSession) -> Answer:
        await visitor.set_tokens(self.member)
        return await self.cart(visitor)

    async def logout(self, visitor: VisitorSession) -> Answer:
        await visitor.set_tokens(EMPTY_TOKENS)
        return Answer({})

    async def slow(self, visitor: VisitorSession) -> Answer:
        answer = await self.cart(visitor)
        await self.gate.wait()
        return answer

    async def slow_login(self, visitor: VisitorSession) -> Answer:
        await self.login(visitor)
        await self.gate.wait()
        return Answer({})

    async def login_says(self, visitor: VisitorSession) -> Answer:
        return await _said(lambda: visitor.set_tokens(self.member))

    async def logout_says(self, visitor: VisitorSession) -> Answer:
        return await _said(lambda: visitor.set_tokens(EMPTY_TOKENS))

    async def renew_says(self, visitor: VisitorSession) -> Answer:
        return await _said(lambda: visitor.generate_visitor_tokens(self.member))

    async def public_login(self, visitor: VisitorSession) -> Answer:
        return attrs.evolve(await self.login(visitor), cache_control="public, max-age=60")

    async def hang(self, visitor: VisitorSession) -> Answer:
        await self.cart(visitor)
        await anyio.sleep_forever()
        raise AssertionError

    @property
    def unlooked(self) -> list[Callable[[Look], Awaitable[Answer]]]:
        return [self.health, self.page, self.late, self.hesitant, self.products, self.shelf, self.both]

    @property
    def looking(self) -> list[Callable[[VisitorSession], Awaitable[Answer]]]:
        first = [self.looked, self.cart, self.redirect, self.refused, self.public, self.boom]
        says = [self.login_says, self.logout_says, self.renew_says]
        slow = [self.slow, self.slow_login, self.hang]
        return [*first, self.stream, self.login, self.logout, self.public_login, *says, *slow]

    def handlers(self) -> dict[str, Callable[[Look], Awaitable[Answer]]]:
        """All of them, by path, as functions of how the visitor is asked for."""
        looking = {f"/{handler.__name__}": _looking(handler) for handler in self.looking}
        return {f"/{handler.__name__}": handler for handler in self.unlooked} | looking

    async def parts(self, look: Callable[[], Awaitable[VisitorSession]]) -> AsyncIterator[bytes]:
        """A streamed body that asks Wix after the response has started."""
        yield b"begin "
        await anyio.lowlevel.checkpoint()
        try:
            yield json.dumps((await self.cart(await look())).body).encode()
        except Exception as error:
            self.failures.append(error)
            yield b"failed"

    def wrapped(self, app: Any) -> Any:
        return VisitorMiddleware(app, self.pool, cookie=self.cookie, **self.options)


def who(visitor: VisitorSession) -> str:
    """A name for the visitor, the same wherever its refresh token is."""
    return str(hash(visitor.get_tokens().refresh_token.value))


async def _said(change: Callable[[], Awaitable[object]]) -> Answer:
    try:
        await change()
    except ConfigurationError as error:
        return Answer({"error": str(error)})
    return Answer({"error": ""})


def _looking(handler: Callable[[VisitorSession], Awaitable[Answer]]) -> Callable[[Look], Awaitable[Answer]]:
    async def handle(look: Look) -> Answer:
        return await handler(await look())

    return handle


def _look_of(scope: Any) -> Look:
    return Look(lambda: from_scope(scope), lambda: get_catalog_visitor(scope))


def starlette_response(answer: Answer) -> Any:
    from starlette.exceptions import HTTPException
    from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, StreamingResponse

    if answer.way == "refused":
        raise HTTPException(409)
    if answer.way == "redirect":
        return RedirectResponse("/cart")
    kind = {str: HTMLResponse, dict: JSONResponse}.get(type(answer.body), StreamingResponse)
    return kind(answer.body, headers=answer.headers)


async def starlette_websocket(shop: Shop, websocket: Any, visitor: VisitorSession) -> None:
    answer = await shop.cart(visitor)
    await websocket.accept()
    await websocket.send_json(answer.body)
    await websocket.close()


def starlette_app(shop: Shop) -> Any:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.routing import Route, WebSocketRoute
    from starlette.websockets import WebSocket

    def route(path: str, handler: Any) -> Route:
        async def endpoint(request: Request) -> Any:
            return starlette_response(await handler(_look_of(request.scope)))

        return Route(path, endpoint, methods=METHODS)

    async def ws(websocket: WebSocket) -> None:
        await starlette_websocket(shop, websocket, await from_scope(websocket.scope))

    routes = [route(*pair) for pair in shop.handlers().items()]
    return shop.wrapped(Starlette(routes=[*routes, WebSocketRoute("/ws", ws)]))


def fastapi_app(shop: Shop) -> Any:  # noqa: C901 - three short endpoints
    from fastapi import FastAPI, HTTPException, Request, WebSocket

    from wixvisitor.fastapi import CurrentVisitor, get_catalog_visitor, get_visitor, setup

    def respond(answer: Answer) -> Any:
        if answer.way == "refused":
            raise HTTPException(409)
        return starlette_response(answer)

    def looking(handler: Any) -> Any:
        async def endpoint(visitor: CurrentVisitor) -> Any:
            return respond(await handler(visitor))

        return endpoint

    def unlooked(handler: Any) -> Any:
        async def endpoint(request: Request) -> Any:
            look = Look(lambda: get_visitor(request), lambda: get_catalog_visitor(request))
            return respond(await handler(look))

        return endpoint

    async def ws(websocket: WebSocket, visitor: CurrentVisitor) -> None:
        await starlette_websocket(shop, websocket, visitor)

    for endpoint in (ws, *(make(print) for make in (looking, unlooked))):  # annotations of a nested function are texts
        endpoint.__globals__.update(CurrentVisitor=CurrentVisitor, Request=Request, WebSocket=WebSocket)
    app = FastAPI()
    setup(app, shop.pool, cookie=shop.cookie, **shop.options)
    for handler in shop.looking:
        app.api_route(f"/{handler.__name__}", methods=METHODS, response_model=None)(looking(handler))
    for early in shop.unlooked:
        app.api_route(f"/{early.__name__}", methods=METHODS, response_model=None)(unlooked(early))
    app.websocket("/ws")(ws)
    return app


def litestar_app(shop: Shop) -> Any:
    from litestar import HttpMethod, Litestar, Request, WebSocket, websocket
    from litestar import route as litestar_route
    from litestar.exceptions import HTTPException
    from litestar.response import Redirect, Response, Stream

    def respond(answer: Answer) -> Any:
        if answer.way == "refused":
            raise HTTPException(status_code=409)
        if answer.way == "redirect":
            return Redirect("/cart")
        if isinstance(answer.body, str | dict):
            media = "text/html" if isinstance(answer.body, str) else "application/json"
            return Response(answer.body, headers=answer.headers, media_type=media)
        return Stream(answer.body, headers=answer.headers)

    names = {"Any": Any, "Request": Request, "WebSocket": WebSocket}

    def route(path: str, handler: Any) -> Any:
        methods = [HttpMethod(name) for name in METHODS]

        @litestar_route(path, http_method=methods, status_code=200, signature_namespace=names)
        async def endpoint(request: Request[Any, Any, Any]) -> Any:
            return respond(await handler(_look_of(request.scope)))

        return endpoint

    @websocket("/ws", signature_namespace=names)
    async def ws(socket: WebSocket[Any, Any, Any]) -> None:
        await starlette_websocket(shop, socket, await from_scope(socket.scope))

    routes = [route(*pair) for pair in shop.handlers().items()]
    return shop.wrapped(Litestar([*routes, ws], openapi_config=None, logging_config=None))


def quart_app(shop: Shop) -> Any:
    from quart import Quart, Response, abort, redirect, request, websocket

    def respond(answer: Answer) -> Any:
        if answer.way == "refused":
            abort(409)
        if answer.way == "redirect":
            return redirect("/cart")
        body = json.dumps(answer.body) if isinstance(answer.body, dict) else answer.body
        return Response(body, headers=answer.headers)

    app = Quart(__name__)

    def add(path: str, handler: Any) -> None:
        async def endpoint() -> Any:
            return respond(await handler(_look_of(request.scope)))

        app.add_url_rule(path, path, endpoint, methods=METHODS)

    @app.websocket("/ws")
    async def ws() -> None:
        answer = await shop.cart(await from_scope(websocket.scope))
        await websocket.accept()
        await websocket.send(json.dumps(answer.body))

    for pair in shop.handlers().items():
        add(*pair)
    return shop.wrapped(app)


urlpatterns: list[Any] = []  # Django finds them here, in its ROOT_URLCONF


def django_app(shop: Shop) -> Any:
    import django
    from django.conf import settings
    from django.core.exceptions import BadRequest
    from django.core.handlers.asgi import ASGIHandler
    from django.http import HttpResponse, HttpResponseRedirect, StreamingHttpResponse
    from django.urls import clear_url_caches, path

    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="x", LOGGING_CONFIG=None)
        django.setup()

    def respond(answer: Answer) -> Any:
        if answer.way == "refused":
            raise BadRequest
        if answer.way == "redirect":
            return HttpResponseRedirect("/cart")
        if isinstance(answer.body, str | dict):
            body = json.dumps(answer.body) if isinstance(answer.body, dict) else answer.body
            return HttpResponse(body, headers=answer.headers)
        return StreamingHttpResponse(answer.body, headers=answer.headers)

    def view(handler: Any) -> Any:
        async def endpoint(request: Any) -> Any:
            return respond(await handler(_look_of(request.scope)))

        return endpoint

    urlpatterns[:] = [path(name[1:], view(handler)) for name, handler in shop.handlers().items()]
    clear_url_caches()
    return shop.wrapped(ASGIHandler())


def aiohttp_app(shop: Shop) -> Any:  # noqa: C901 - as above
    from aiohttp import web

    from wixvisitor.aiohttp import get_catalog_visitor, get_visitor, setup

    async def respond(request: web.Request, answer: Answer) -> web.StreamResponse:
        if answer.way == "refused":
            raise web.HTTPConflict
        if answer.way == "redirect":
            raise web.HTTPFound("/cart")
        if isinstance(answer.body, str | dict):
            body = json.dumps(answer.body) if isinstance(answer.body, dict) else answer.body
            return web.Response(text=body, headers=answer.headers)
        response = web.StreamResponse(headers=answer.headers)
        await response.prepare(request)
        async for part in answer.body:
            await response.write(part)
        return response

    def endpoint_of(handler: Any) -> Any:
        async def endpoint(request: web.Request) -> web.StreamResponse:
            look = Look(lambda: get_visitor(request), lambda: get_catalog_visitor(request))
            return await respond(request, await handler(look))

        return endpoint

    async def ws(request: web.Request) -> web.WebSocketResponse:
        answer = await shop.cart(await get_visitor(request))
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json(answer.body)
        await socket.close()
        return socket

    app = web.Application()
    for path, handler in shop.handlers().items():
        for method in METHODS:
            app.router.add_route(method, path, endpoint_of(handler))
    app.add_routes([web.get("/ws", ws)])
    setup(app, shop.pool, cookie=shop.cookie, **shop.options)
    return app


ASGI_APPS: dict[str, Callable[[Shop], Any]] = {
    "starlette": starlette_app,
    "fastapi": fastapi_app,
    "litestar": litestar_app,
    "quart": quart_app,
    "django": django_app,
}
APPS = ASGI_APPS | {"aiohttp": aiohttp_app}
