"""A pool that the app makes when it starts: ``setup`` and ``VisitorMiddleware`` get a function that returns it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient as AiohttpClient
from aiohttp.test_utils import TestServer
from fastapi import FastAPI
from litestar import Litestar, Request, get
from litestar.middleware import DefineMiddleware
from litestar.testing import AsyncTestClient
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from tests.constants import CART
from tests.web.conftest import KEY
from wixvisitor import ConfigurationError, VisitorPool
from wixvisitor import aiohttp as of_aiohttp
from wixvisitor.asgi import VisitorMiddleware, get_visitor
from wixvisitor.cookies import IdCookie
from wixvisitor.fastapi import CurrentVisitor, setup

SHOP = "https://shop.example"
Maker = Callable[[], VisitorPool]


@pytest.fixture
def pools() -> list[VisitorPool]:
    return []


@pytest.fixture
def make(still, client_id, pools) -> Maker:
    """Makes a pool, and notes it."""

    def made() -> VisitorPool:
        pools.append(VisitorPool(client_id, client=still.client(), clock=still.now))
        return pools[-1]

    return made


def is_closed(pool: VisitorPool) -> bool:
    """Whether the pool sends nothing any more in any event loop."""
    return bool(pool._connections._closed_in)


async def page(request: Any) -> PlainTextResponse:
    visitor = await get_visitor(request.scope)
    return PlainTextResponse(str((await visitor.get(CART)).status_code))


@asynccontextmanager
async def lifespan_of(app: Any, make: Maker) -> AsyncIterator[None]:
    """The lifespan of an app that makes its pool and closes it."""
    async with make() as app.state.pool:
        yield


def fastapi_app(make: Maker) -> Any:
    app = FastAPI(lifespan=lambda app: lifespan_of(app, make))
    setup(app, lambda: app.state.pool, cookie=IdCookie([KEY]))

    @app.get("/")
    async def home(visitor: CurrentVisitor) -> int:
        return (await visitor.get(CART)).status_code

    return app


def wrapped_app(make: Maker) -> Any:
    app = Starlette(routes=[Route("/", page)], lifespan=lambda app: lifespan_of(app, make))
    return VisitorMiddleware(app, lambda: app.state.pool, cookie=IdCookie([KEY]))


def without_lifespan(make: Maker) -> Any:
    return VisitorMiddleware(Starlette(routes=[Route("/", page)]), make, cookie=IdCookie([KEY]))


@pytest.mark.parametrize("app_of", [fastapi_app, wrapped_app, without_lifespan])
def test_each_start_makes_a_pool(app_of, make, pools, still):
    """The function is called once at each start, after the app's own startup; at the end its pool is closed."""
    app = app_of(make)
    assert pools == []
    for starts in (1, 2):
        with TestClient(app, base_url=SHOP) as browser:
            assert len(pools) == starts
            assert [browser.get("/").status_code for _ in range(2)] == [200, 200]
        assert is_closed(pools[-1])
    assert len(pools) == len(still.visitors) == 2


@pytest.mark.anyio
async def test_a_server_without_lifespan(make, pools):
    """A server that does not tell the app that it starts, gets the pool at the first request."""
    transport = httpx.ASGITransport(without_lifespan(make))
    async with httpx.AsyncClient(transport=transport, base_url=SHOP) as browser:
        assert {(await browser.get("/")).status_code for _ in range(2)} == {200}
    assert len(pools) == 1


def test_a_function_that_returns_no_pool():
    """The app does not start, and the error says what is expected."""
    app = FastAPI()
    setup(app, lambda: None, cookie=IdCookie([KEY]))  # type: ignore[arg-type,return-value]
    with pytest.raises(ConfigurationError, match="the function to return a VisitorPool"), TestClient(app):
        """Is not reached."""


def test_a_coroutine_function():
    """It is refused when it is given."""

    async def later() -> None:
        """Is not called."""

    with pytest.raises(ConfigurationError, match="pool: expected a plain function"):
        setup(FastAPI(), later)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="pool: expected a VisitorPool"):
        setup(FastAPI(), VisitorPool)  # type: ignore[arg-type]


def test_setup_within_the_lifespan_says_what_to_do(make):
    """A call of ``setup`` in the lifespan comes too late for it; the error names the function."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        setup(app, make())
        yield

    with pytest.raises(ConfigurationError, match=r"lambda: app\.state\.pool"), TestClient(FastAPI(lifespan=lifespan)):
        """Is not reached."""


@pytest.mark.anyio
async def test_aiohttp(make, pools, still):
    """In aiohttp, ``setup`` takes a function, too; the pool may be made in a ``cleanup_ctx`` that was added later."""
    app, place = web.Application(), web.AppKey("pool", VisitorPool)

    async def home(request: web.Request) -> web.Response:
        visitor = await of_aiohttp.get_visitor(request)
        return web.Response(text=str((await visitor.get(CART)).status_code))

    async def pool_of(app: web.Application) -> AsyncIterator[None]:
        async with make() as app[place]:
            yield

    app.router.add_get("/", home)
    of_aiohttp.setup(app, lambda: app[place], cookie=IdCookie([KEY], secure=False))
    app.cleanup_ctx.append(pool_of)
    async with AiohttpClient(TestServer(app)) as browser:
        assert [(await browser.get("/")).status for _ in range(2)] == [200, 200]
    assert is_closed(pools[0])
    assert len(pools) == len(still.visitors) == 1


# Who closes the pool where no lifespan comes through the middleware


def test_a_mounted_app(make, pools):
    """A mounted app gets no lifespan, so the outer app's lifespan makes and closes the pool."""
    inner = FastAPI()

    @inner.get("/")
    async def home(visitor: CurrentVisitor) -> int:
        return (await visitor.get(CART)).status_code

    outer = Starlette(routes=[Mount("/shop", inner)], lifespan=lambda app: lifespan_of(app, make))
    setup(inner, lambda: outer.state.pool, cookie=IdCookie([KEY]))
    with TestClient(outer, base_url=SHOP) as browser:
        assert browser.get("/shop/").json() == 404  # no cart yet
        assert not is_closed(pools[0])
    assert is_closed(pools[0])


@pytest.mark.anyio
async def test_litestars_middleware(make, pools):
    """Litestar's ``middleware=`` gets no lifespan either, so ``on_shutdown=`` closes the pool."""

    @get("/")
    async def home(request: Request[Any, Any, Any]) -> int:
        return (await (await get_visitor(request.scope)).get(CART)).status_code

    pool = make()
    visitors = DefineMiddleware(VisitorMiddleware, pool=pool, cookie=IdCookie([KEY]))
    app = Litestar([home], middleware=[visitors], on_shutdown=[pool.aclose], logging_config=None)
    async with AsyncTestClient(app, base_url=SHOP) as browser:
        assert (await browser.get("/")).json() == 404
        assert not is_closed(pool)
    assert is_closed(pool)
