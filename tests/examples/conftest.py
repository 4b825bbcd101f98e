"""The shop of ``examples/shop`` over a FakeWix, and browsers that visit it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any

import attrs
import httpx
import pytest
from fastapi import FastAPI

from examples.shop.app import make_app
from examples.shop.catalogue import PRODUCTS
from examples.shop.history import History
from tests.constants import EPOCH
from wixvisitor import VisitorPool, VisitorSession
from wixvisitor.cookies import IdCookie, SharedCookie, generate_key
from wixvisitor.storage import MemoryStorage
from wixvisitor.testing import FakeWix

URL = "https://shop.example"
WIX = "www.wixapis.com"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@attrs.define
class Street:
    """An open shop, and the Wix behind it.

    Attributes:
        browsers: makes a browser: a client with a cookie jar of its own, which follows redirects, also to Wix's pages.
    """

    app: FastAPI
    fake: FakeWix
    history: History

    def browser(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        wix = {f"all://{WIX}": httpx.ASGITransport(self.fake.app)}
        return httpx.AsyncClient(transport=transport, mounts=wix, base_url=URL, follow_redirects=True)


@pytest.fixture
def fake() -> FakeWix:
    return FakeWix(clock=lambda: EPOCH, products=PRODUCTS)


Opening = Callable[..., Street]


@pytest.fixture
async def open_shop(fake: FakeWix, client_id: str, no_backoff: None) -> AsyncGenerator[Opening]:
    """Opens the shop, with an ``IdCookie`` unless another one is given."""
    pools = []

    def opening(cookie: Any = None, **options: Any) -> Street:
        history = History(clock=fake.now)
        storage = None if isinstance(cookie, SharedCookie) else options.pop("storage", None) or MemoryStorage()
        pool = VisitorPool(
            client_id,
            **{"renew_timeout": 5.0, **options},
            client=fake.client(),
            clock=fake.now,
            storage=storage,
            on_change=history.note,
        )
        pools.append(pool)
        cookie = cookie or IdCookie([generate_key()])
        app = make_app(
            pool,
            cookie=cookie,
            origin=URL,
            keys=[generate_key()],
            session_of=lambda tokens: VisitorSession(client_id, tokens=tokens, client=fake.client()),
            history=history,
            kept_in="a test",
        )
        return Street(app, fake, history)

    yield opening
    for pool in pools:
        await pool.aclose()


@pytest.fixture
def street(open_shop: Opening) -> Street:
    return open_shop()
