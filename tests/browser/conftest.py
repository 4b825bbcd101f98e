"""A real Chromium, the example shop on a real server, and FakeWix behind it.

Chromium is ``WIXVISITOR_CHROMIUM`` or what is on the PATH; without it the tests are skipped, or fail if
``WIXVISITOR_REQUIRE_BROWSER`` is set. ``WIXVISITOR_SCREENSHOTS`` names a directory where pictures are kept.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

import attrs
import httpx
import pytest
import uvicorn

from examples.shop.app import make_app
from examples.shop.catalogue import CLIENT_ID, PRODUCTS
from examples.shop.history import History
from tests.interop.conftest import missing_node, missing_packages
from tests.storage.conftest import free_port
from wixvisitor import VisitorPool, VisitorSession
from wixvisitor.cookies import generate_key
from wixvisitor.testing import FakeWix

TOP = Path(__file__).parent.parent.parent
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (  # what a browser would ask the outside world for by itself, and what root needs
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)


def lacking(what: str) -> NoReturn:
    """Skips the test, or fails it where a browser is required."""
    if os.environ.get("WIXVISITOR_REQUIRE_BROWSER"):
        pytest.fail(f"{what}, and WIXVISITOR_REQUIRE_BROWSER is set", pytrace=False)
    pytest.skip(what)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"  # what Playwright runs on


@pytest.fixture(scope="session")
def chromium() -> str:
    found = os.environ.get("WIXVISITOR_CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)), None)
    return found or lacking("no Chromium on the PATH")


@pytest.fixture(scope="session")
def node() -> None:
    """The real @wix/sdk, for the tests that need it."""
    missing = missing_node() or missing_packages()
    if missing:
        lacking(missing)


@pytest.fixture(scope="session")
async def playwright(chromium: str) -> AsyncGenerator[Any]:
    try:
        from playwright.async_api import async_playwright
    except ImportError:
        lacking("Playwright is not installed")
    async with async_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
async def browser(playwright: Any, chromium: str) -> AsyncGenerator[Any]:
    browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
    yield browser
    await browser.close()


@pytest.fixture
async def shopper(browser: Any) -> AsyncGenerator[Callable[..., Any]]:
    """Makes shoppers: each a page in a browser context, with cookies, of its own."""
    contexts = []

    async def make(**options: Any) -> Any:
        contexts.append(await browser.new_context(**options))
        return await contexts[-1].new_page()

    yield make
    for context in contexts:
        await context.close()


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Where pictures go."""
    place = Path(os.environ.get("WIXVISITOR_SCREENSHOTS", tmp_path))
    place.mkdir(parents=True, exist_ok=True)
    return place


@pytest.fixture
def fake() -> FakeWix:
    """Wix, with the shop's catalogue."""
    return FakeWix(products=PRODUCTS)


@pytest.fixture
async def wix(fake: FakeWix, anyio_backend: str) -> AsyncGenerator[str]:
    async with fake.serve() as url:
        yield url


@asynccontextmanager
async def serving(app: Any, **options: Any) -> AsyncGenerator[int]:
    """Serves in this event loop, on a free port of 127.0.0.1, which it hands out, or on the given ``port``."""
    options = {"port": 0, "log_config": None, "timeout_graceful_shutdown": 1} | options
    config = uvicorn.Config(app, host="127.0.0.1", **options)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        assert not task.done(), task.result()
        await asyncio.sleep(0.005)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


@pytest.fixture
def open_shop(fake: FakeWix, wix: str) -> Callable[..., Any]:
    """Opens the shop in this process, with FakeWix' clock: ``fake.advance`` lets tokens expire."""

    @asynccontextmanager
    async def opening(
        cookie: Any, *, host: str = "127.0.0.1", tls: dict[str, str] | None = None, **arguments: Any
    ) -> AsyncGenerator[str]:
        history, port = History(clock=fake.now), free_port()
        pool = VisitorPool(CLIENT_ID, base_url=wix, clock=fake.now, on_change=history.note, **arguments)
        url = f"https://localhost:{port}" if tls else f"http://{host}:{port}"
        app = make_app(
            pool,
            cookie=cookie,
            origin=url,
            keys=[generate_key()],
            session_of=lambda tokens: VisitorSession(CLIENT_ID, tokens=tokens, base_url=wix),
            history=history,
            kept_in="a test",
        )
        async with serving(app, port=port, **(tls or {})):
            yield url

    return opening


@attrs.define
class ShopProcess:
    """The shop as its README says to start it: a process that can be killed and started again."""

    arguments: tuple[str, ...]
    environment: dict[str, str] = attrs.field(factory=dict)
    host: str = "127.0.0.1"
    port: int = attrs.field(factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    async def start(self) -> None:
        """Starts it and waits until it answers."""
        place = ("--port", str(self.port), "--origin", self.url)
        command = [sys.executable, "-m", "examples.shop", *place, *self.arguments]
        self.process = subprocess.Popen(  # noqa: ASYNC220 - starting takes a millisecond
            command, cwd=TOP, env=os.environ | self.environment, start_new_session=True
        )
        async with httpx.AsyncClient() as client:
            for _ in range(600):
                assert self.process.poll() is None, "the shop has ended"
                try:
                    if (await client.get(f"http://127.0.0.1:{self.port}/health")).status_code == 200:
                        return
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
        raise AssertionError("the shop does not answer")

    def kill(self) -> None:
        """SIGKILL, its workers included: nothing is said goodbye to."""
        if self.process is not None:
            os.killpg(self.process.pid, 9)
            self.process.wait(10)
            self.process = None


@pytest.fixture
async def shop_process(wix: str) -> AsyncGenerator[Callable[..., Any]]:
    """Starts shops in processes of their own, over the same FakeWix."""
    shops = []

    async def start(*arguments: str, host: str = "127.0.0.1", **environment: str) -> ShopProcess:
        shop = ShopProcess(("--base-url", wix, *arguments), environment, host)
        shops.append(shop)
        await shop.start()
        return shop

    yield start
    for shop in shops:
        shop.kill()
