"""The JavaScript of docs/how-to/javascript.md, with the real @wix/sdk: page and server are one visitor."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.constants import CLIENT_ID
from tests.docs.blocks import blocks_of
from wixvisitor import VisitorPool
from wixvisitor.cookies import SharedCookie
from wixvisitor.fastapi import CurrentVisitor, setup
from wixvisitor.testing import FakeWix

from .real_sdk import HERE

pytestmark = [pytest.mark.interop]

# As much of a browser as the page's module needs: one cookie, and a network that leads to the stand-in.
BROWSER = """
const [cookie, base, seconds] = process.argv.slice(2);
Date.now = () => Number(seconds) * 1000;
const real = globalThis.fetch;
globalThis.fetch = (input, init) => real(new URL(new URL(input).pathname, base), init);
globalThis.document = { cookie };
const { wixClient } = await import("./shop.mjs");
const client = await wixClient();
await client.fetchWithAuth("https://www.wixapis.com/ecom/v2/carts/current");
process.stdout.write(JSON.stringify(document.cookie.split(";")[0]));
"""


@pytest.fixture
def base_url(fake: FakeWix) -> Iterator[str]:
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(fake.serve()) as url:
        yield url


@pytest.fixture
def page(tmp_path: Path, fake: FakeWix, base_url: str) -> Callable[[str], str]:
    """Runs the page's module in Node with a cookie, and returns the cookie afterwards."""
    code = next(block.code for block in blocks_of("docs/how-to/javascript.md") if "wixClient" in block.code)
    (tmp_path / "shop.mjs").write_text(code, "utf-8")
    (tmp_path / "browser.mjs").write_text(BROWSER, "utf-8")
    (tmp_path / "node_modules").symlink_to(HERE / "node_modules")

    def run(cookie: str) -> str:
        command = [shutil.which("node") or "node", "browser.mjs", cookie, base_url, str(fake.now())]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return str(json.loads(done.stdout))

    return run


@pytest.fixture
def browser(fake: FakeWix, base_url: str) -> Iterator[TestClient]:
    """A browser at a server that shares its visitors with the page."""
    app = FastAPI()
    setup(app, VisitorPool(CLIENT_ID, base_url=base_url, clock=fake.now), cookie=SharedCookie("wixSession"))

    @app.get("/")
    async def front_page(visitor: CurrentVisitor) -> int:
        return (await visitor.get("/ecom/v2/carts/current")).status_code

    with TestClient(app, base_url="https://shop.example") as browser:
        yield browser


def test_page_and_server_are_one_visitor(fake: FakeWix, browser: TestClient, page: Callable[[str], str]) -> None:
    """The page uses what the server made, and the server uses what the page renewed: one visitor, two token calls."""
    made = browser.get("/").headers["set-cookie"].partition(";")[0]
    assert page(made) == made
    fake.advance(5 * 3600)
    renewed = page(made)
    assert renewed != made
    browser.cookies.clear()
    assert "set-cookie" not in browser.get("/", headers={"Cookie": renewed}).headers
    assert (len(fake.visitors), len(fake.token_calls())) == (1, 2)


def test_a_visitor_that_the_page_made(fake: FakeWix, browser: TestClient, page: Callable[[str], str]) -> None:
    """If the page comes first, the server goes on as its visitor."""
    made = page("")
    assert "set-cookie" not in browser.get("/", headers={"Cookie": made}).headers
    assert (len(fake.visitors), len(fake.token_calls())) == (1, 1)
