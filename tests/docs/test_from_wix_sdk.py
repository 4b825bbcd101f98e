"""docs/how-to/from-wix-sdk.md: a browser that comes from the JavaScript shop keeps its cart."""

from __future__ import annotations

import pkgutil
import re
from operator import attrgetter
from typing import Any
from urllib.parse import quote

import anyio
import pytest
from fastapi import Depends
from fastapi.testclient import TestClient

from tests.constants import CLIENT_ID
from tests.docs.blocks import TOP, blocks_of
from wixvisitor import Tokens, VisitorSession, apis
from wixvisitor.storage.sqlite import SQLiteStorage
from wixvisitor.testing import FakeWix, assert_visitor_cookie

PAGE = "docs/how-to/from-wix-sdk.md"
SHOP = "https://shop.example"
OLD = "wix-session"


@pytest.fixture
def page(wix: FakeWix) -> dict[str, Any]:
    """What the page's code has defined."""
    namespace: dict[str, Any] = {"__name__": "page"}
    for block in blocks_of(PAGE):
        if block.language == "python":
            exec(compile(block.code, str(block), "exec"), namespace)
    return namespace


@pytest.fixture
def tokens(wix: FakeWix, page: dict[str, Any]) -> Tokens:
    """Those of a visitor whom the JavaScript shop has made."""

    async def made() -> Tokens:
        async with VisitorSession(CLIENT_ID) as session:
            return await session.generate_visitor_tokens()

    return anyio.run(made)


def visitors_who_asked(wix: FakeWix) -> set[str | None]:
    """The visitors whose carts were asked for."""
    return {call.visitor_id for call in wix.api_calls() if call.method == "GET" and "/carts/" in call.path}


def test_the_old_cookie_is_adopted_once(wix: FakeWix, page: dict[str, Any], tokens: Tokens) -> None:
    """The visitor of the old cookie goes on under a new cookie, the old one is deleted, and no visitor is made."""
    wix.reset_calls()
    made = len(wix.visitors)
    with TestClient(page["app"], base_url=SHOP) as browser:
        browser.cookies.set(OLD, quote(tokens.to_json(), safe=""), domain="shop.example", path="/")
        first, second = browser.get("/cart"), browser.get("/cart")
        assert_visitor_cookie(first)
        assert OLD not in browser.cookies
    assert (first.status_code, second.status_code) == (200, 200)
    assert len(visitors_who_asked(wix)) == 1
    assert len(wix.visitors) == made


def test_a_form_of_another_site(page: dict[str, Any], tokens: Tokens) -> None:
    """A form of another site's page adopts nothing and deletes nothing, so the next request is the visitor."""

    @page["app"].post("/cart", dependencies=[Depends(page["moved"])])
    async def add() -> None: ...

    with TestClient(page["app"], base_url=SHOP) as browser:
        browser.cookies.set(OLD, quote(tokens.to_json(), safe=""), domain="shop.example", path="/")
        assert browser.post("/cart", headers={"Origin": "https://evil.example"}).status_code == 200
        assert list(browser.cookies) == [OLD]
        assert_visitor_cookie(browser.get("/cart"))
        assert OLD not in browser.cookies


def test_a_damaged_old_cookie(wix: FakeWix, page: dict[str, Any]) -> None:
    """A cookie that holds no tokens is deleted, and the browser gets a visitor like any other."""
    with TestClient(page["app"], base_url=SHOP) as browser:
        browser.cookies.set(OLD, "%7B", domain="shop.example", path="/")
        assert browser.get("/cart").status_code == 200
        assert OLD not in browser.cookies


def test_saved_tokens_are_moved(page: dict[str, Any]) -> None:
    """The script saves the old server's visitors under the keys that the Python app asks for."""

    async def found() -> str:
        async with SQLiteStorage("visitors.db") as storage:
            session = VisitorSession(CLIENT_ID, storage=storage, key="anna")
            async with session:
                return session.get_tokens().to_json()

    assert anyio.run(found) == page["saved"]


def test_every_family_of_apis_is_in_the_table() -> None:
    """The table of npm packages leads to each family of wixvisitor.apis."""
    families = {module.name for module in pkgutil.iter_modules(apis.__path__) if module.ispkg}
    assert set(re.findall(r"`wixvisitor\.apis\.(\w+)`", (TOP / PAGE).read_text(encoding="utf-8"))) == families


def test_every_name_of_ours_exists() -> None:
    """What the page calls on a session, its members, redirects and checkout is there."""
    session = VisitorSession(CLIENT_ID)
    called = set(re.findall(r"\bsession((?:\.\w+)+)", (TOP / PAGE).read_text(encoding="utf-8")))
    assert ".members.start_login" in called
    for path in called:
        attrgetter(path.removeprefix("."))(session)
