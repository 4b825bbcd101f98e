"""A small real thing with each extra. Wix is an ``httpx.MockTransport``; servers are on 127.0.0.1 or in this process.

``BY_EXTRA`` has a function for each extra of pyproject.toml. Each raises if the extra does not do its part.
"""

# No `from __future__ import annotations`: FastAPI looks for a handler's annotations in the module, and they are local.
import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import httpx

from wixvisitor import ConfigurationError, StorageError, VisitorPool, VisitorSession
from wixvisitor.storage import MemoryStorage

from .visitor import CART, CLIENT_ID, MINTED, answer, calls, keeps_a_visitor, raises, wix


async def _aiohttp() -> None:
    from aiohttp import ClientSession, web
    from aiohttp.test_utils import TestClient, TestServer

    from wixvisitor.aiohttp import client_middleware, get_visitor, setup

    async def shows(request: web.Request) -> web.Response:
        return web.json_response({"came_with": request.headers.get("Authorization")})

    async def cart(request: web.Request) -> web.Response:
        await calls(await get_visitor(request))
        return web.Response(text="served")

    app = web.Application()
    app.router.add_get("/cart", cart)
    app.router.add_get("/shows", shows)
    setup(app, VisitorPool(CLIENT_ID, client=wix()))
    async with TestClient(TestServer(app)) as browser:
        served = await browser.get("/cart")
        assert (served.status, len(served.cookies)) == (200, 1), await served.text()
        origin = str(browser.make_url("")).rstrip("/")
        visitor = VisitorSession(CLIENT_ID, client=wix(), allowed_origins=(origin,))
        async with visitor, ClientSession(middlewares=(client_middleware(visitor),)) as http:
            answered = await (await http.get(f"{origin}/shows")).json()
            assert answered == {"came_with": MINTED["access_token"]}, answered


async def _crypto() -> None:
    from wixvisitor.cookies import SealedCookie, generate_key
    from wixvisitor.storage.sealed import SealedStorage
    from wixvisitor.web import BrowserVisitors

    key = generate_key()
    await keeps_a_visitor(SealedStorage(MemoryStorage(), keys=[key]))
    async with BrowserVisitors(VisitorPool(CLIENT_ID, client=wix()), cookie=SealedCookie(keys=[key])) as visitors:
        visit = visitors.begin("GET", "/", {})
        await calls(await visit.visitor())
        (cookie,) = (value for name, value in await visit.headers() if name == "Set-Cookie")
        visit.end()
        assert "smoke" not in cookie, "the tokens are in the clear"
        again = visitors.begin("GET", "/", {"Cookie": cookie.partition(";")[0]})
        assert (await again.visitor()).get_tokens().refresh_token.value == MINTED["refresh_token"]
        again.end()


async def _fastapi() -> None:
    from fastapi import FastAPI

    from wixvisitor.fastapi import CurrentVisitor, setup

    app = FastAPI()
    setup(app, VisitorPool(CLIENT_ID, client=wix()))

    @app.get("/cart")
    async def cart(visitor: CurrentVisitor) -> str:
        await calls(visitor)
        return "served"

    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="https://shop.example") as browser:
        served = await browser.get("/cart")
        assert (served.status_code, len(served.cookies)) == (200, 1), served.text


async def _graphql() -> None:
    # CatalogVisitor's own class. FastAPI, aiohttp, asgi and web hand it out, and they need another extra as well.
    from wixvisitor._web.catalog_reader import CatalogReader
    from wixvisitor._web.only_queries import check_only_queries
    from wixvisitor._wire.catalog import CATALOG_PATHS

    check_only_queries("query { products { items { name } } }")
    reader = CatalogReader(VisitorPool(CLIENT_ID, client=wix()), CATALOG_PATHS)
    with raises(ConfigurationError, "mutation"):
        await reader.graphql("mutation { addToCart { id } }")


async def _httpx2() -> None:
    import httpx2

    transport = httpx2.MockTransport(lambda request: answer(request, httpx2.Response))
    async with httpx2.AsyncClient(transport=transport) as client, VisitorSession(CLIENT_ID, client=client) as session:
        await calls(session)


class _Shelf:
    """The part of py-key-value-aio's stores that is used."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str | None, str], dict[str, Any]] = {}

    async def get(self, key: str, *, collection: str | None = None) -> dict[str, Any] | None:
        return self._kept.get((collection, key))

    async def put(self, key: str, value: dict[str, Any], *, collection: str | None = None, **_: Any) -> None:
        self._kept[collection, key] = value

    async def delete(self, key: str, *, collection: str | None = None) -> bool:
        return self._kept.pop((collection, key), None) is not None


async def _kv() -> None:
    from wixvisitor.storage.keyvalue import KeyValueStorage

    shelf: Any = _Shelf()
    await keeps_a_visitor(KeyValueStorage(shelf))


async def _opentelemetry() -> None:
    from wixvisitor.opentelemetry import instrument, uninstrument

    async with VisitorSession(CLIENT_ID, client=wix()) as session:
        instrument(session)  # with the API alone, spans and metrics lead nowhere
        await calls(session)
        uninstrument(session)


async def _redis() -> None:
    from wixvisitor.storage.redis import RedisStorage

    storage = RedisStorage("redis://127.0.0.1:1/0", timeout=0.5)
    with raises(StorageError, "Redis"):
        await storage.load("nothing listens on this port")
    await storage.aclose()


async def _sqlalchemy() -> None:
    from wixvisitor.storage.sqlalchemy import SQLAlchemyStorage

    with raises(ConfigurationError, "aiosqlite is not installed"):  # the extra brings no driver
        SQLAlchemyStorage("sqlite+aiosqlite:///visitors.db")


async def _testing() -> None:
    from wixvisitor.testing import FakeWix

    fake = FakeWix()
    async with fake.serve() as url, VisitorSession(CLIENT_ID, base_url=url) as session:
        assert (await session.get(CART)).status_code in {200, 404}
    assert len(fake.visitors) == 1


def _trio() -> None:
    import trio

    async def main() -> None:
        async with VisitorSession(CLIENT_ID, client=wix()) as session:
            await calls(session)

    trio.run(main)


def fake_needs_its_extra() -> None:
    """Without the extra ``testing``, FakeWix says which extra it needs."""
    with raises(ImportError, "pip install 'wixvisitor[testing]'"):
        from wixvisitor.testing import FakeWix  # noqa: F401 - importing it is the test


def contract_needs_pytest() -> None:
    """The suite for storages says that it needs pytest, which no extra brings."""
    with raises(ImportError, "pip install pytest"):
        from wixvisitor.testing import StorageContract  # noqa: F401 - importing it is the test


def _in_asyncio(promise: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    async def main() -> None:
        await promise()

    return lambda: asyncio.run(main())


BY_EXTRA: Final[dict[str, Callable[[], None]]] = {
    "aiohttp": _in_asyncio(_aiohttp),
    "crypto": _in_asyncio(_crypto),
    "fastapi": _in_asyncio(_fastapi),
    "graphql": _in_asyncio(_graphql),
    "httpx2": _in_asyncio(_httpx2),
    "kv": _in_asyncio(_kv),
    "opentelemetry": _in_asyncio(_opentelemetry),
    "redis": _in_asyncio(_redis),
    "sqlalchemy": _in_asyncio(_sqlalchemy),
    "testing": _in_asyncio(_testing),
    "trio": _trio,
}
