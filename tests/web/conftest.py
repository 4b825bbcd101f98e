"""A shop in each framework, and browsers that visit it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import httpx
import pytest

from tests.web.shops import APPS, FORMS, Shop
from wixvisitor import Tokens, VisitorPool
from wixvisitor._web.visits import Visits
from wixvisitor.cookies import IdCookie, SealedCookie, SharedCookie, VisitorCookie
from wixvisitor.storage import MemoryStorage
from wixvisitor.testing import FakeWix

KEY = "rJ3yUO3q8Vt1cC8s9b0zO5m7t0m6m7w3jvX1d2e3f4g="
OTHER_KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

COOKIES: dict[str, Callable[..., VisitorCookie]] = {
    "id": lambda **options: IdCookie([KEY], **options),
    "sealed": lambda **options: SealedCookie([KEY], **options),
    "wixSession": lambda **options: SharedCookie("wixSession", **options),
    "session": lambda **options: SharedCookie("session", **options),
    "wix-session": lambda **options: SharedCookie("wix-session", **options),
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # most frameworks run there only; what does not says so


@pytest.fixture(params=APPS)
def framework(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@attrs.define
class Town:
    """A shop that is open, and the Wix behind it.

    Attributes:
        browsers: makes a browser: a client with a cookie jar of its own.
    """

    shop: Shop
    fake: FakeWix
    app: Any
    browsers: Callable[..., httpx.AsyncClient]

    @property
    def visitors(self) -> int:
        return len(self.fake.visitors)

    @property
    def cookie_name(self) -> str:
        return self.shop.cookie.names(self.shop.pool._settings.client_id).first


Opening = Callable[..., Any]


@pytest.fixture
def open_shop(still: FakeWix, client_id: str) -> Opening:
    """Opens a shop in a framework, with one form of the cookie; closes it at the end."""

    @asynccontextmanager
    async def opening(
        framework: str, *, cookie: str | VisitorCookie = "id", storage: Any = None, **options: Any
    ) -> AsyncGenerator[Town]:
        is_https = framework != "aiohttp"
        form = COOKIES[cookie](secure=is_https) if isinstance(cookie, str) else cookie
        pool = VisitorPool(client_id, client=still.client(), clock=still.now, storage=storage or MemoryStorage())
        shop = Shop(pool, form, {"close": False, **options})
        app = APPS[framework](shop)
        async with _serving(app, is_https=is_https) as (transport, base_url):
            yield Town(shop, still, app, lambda **more: _browser(transport, base_url, more))
        await pool.aclose()

    return opening


@asynccontextmanager
async def _serving(app: Any, *, is_https: bool) -> AsyncGenerator[tuple[httpx.AsyncBaseTransport | None, str]]:
    if is_https:
        yield httpx.ASGITransport(app, raise_app_exceptions=False), "https://shop.example"
        return
    from aiohttp.test_utils import TestServer

    async with TestServer(app) as server:
        yield None, str(server.make_url("/"))


def _browser(transport: httpx.AsyncBaseTransport | None, base_url: str, options: dict[str, Any]) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=transport, base_url=base_url, timeout=10.0, **options)


@pytest.fixture
def visits_of(still: FakeWix, client_id: str) -> Callable[..., Visits]:
    """Makes what a server knows of its visitors; another one is another process, or another site."""

    def make(cookie: Any, site: str = client_id, **arguments: Any) -> Visits:
        pool = VisitorPool(site, client=still.client(), clock=still.now, **arguments)
        return Visits(pool, cookie=cookie, consent=None, close=True)

    return make


@pytest.fixture
def member_of(still: FakeWix, client_id: str, tokens_from: Callable[..., Tokens]) -> Callable[..., Tokens]:
    """Logs a visitor in at the fake: the member's tokens."""
    from wixvisitor import TokenRole

    def member(visitor_id: str | None = None) -> Tokens:
        return tokens_from(still.mint_member(client_id, visitor_id=visitor_id), TokenRole.MEMBER)

    return member
