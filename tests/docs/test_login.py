"""docs/how-to/login.md: each app of the page logs a browser in and out, and no other browser can end its login."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from fastapi import FastAPI
from fastapi.testclient import TestClient
from flask import Flask
from flask.testing import FlaskClient

from tests.docs.django_project import printed_by
from tests.docs.pages import steps
from wixvisitor.asgi import VisitorMiddleware
from wixvisitor.testing import FakeWix

PAGE = "docs/how-to/login.md"
SHOP = "https://shop.example"
EMAIL = "anna@example.com"
OPENS = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest.fixture
def fake(wix: FakeWix) -> FakeWix:
    wix.add_member(EMAIL, "correct horse")
    return wix


def names_at(kind: type) -> dict[str, Any]:
    """The page's names right after the app of this kind: a later app on the page uses some of the names again."""
    return next(names for names in steps(PAGE) if isinstance(names.get("app"), kind))


@pytest.mark.parametrize("kind", [FastAPI, VisitorMiddleware])
def test_an_asgi_app_logs_in_and_out(fake: FakeWix, kind: type) -> None:
    """The account leads to the login and back; after the logout it leads to the login again."""
    with TestClient(names_at(kind)["app"], base_url=SHOP, headers=OPENS, follow_redirects=False) as browser:
        login = browser.get("/account").headers["location"]
        assert login.startswith("/auth/login?")
        back = fake.log_in(browser.get(login).headers["location"], EMAIL)
        assert browser.get(back).headers["location"] == "/account"
        assert browser.get("/account").json()["member"]["loginEmail"] == EMAIL
        assert browser.post("/auth/logout", headers={"Origin": SHOP}).status_code == 303
        assert browser.get("/account").headers["location"] == login


@pytest.mark.usefixtures("fake")
def test_the_aiohttp_app_asks_for_a_login() -> None:
    """The account leads to the login, and the login to Wix."""

    async def visit() -> None:
        server = TestServer(names_at(web.Application)["app"])
        async with server, httpx.AsyncClient(base_url=str(server.make_url("/")), headers=OPENS) as browser:
            login = (await browser.get("/account")).headers["location"]
            assert (await browser.get(login)).headers["location"].startswith("https://")

    asyncio.run(visit())


@pytest.fixture
def app(fake: FakeWix) -> Iterator[Any]:
    """The page's Flask app."""
    del fake  # it has the member
    names = names_at(Flask)
    with names["browsers"]:
        yield names["app"]


def is_member(browser: FlaskClient) -> bool:
    return browser.get("/account", base_url=SHOP).status_code == 200


def test_a_login_and_a_logout(app: Any, fake: FakeWix) -> None:
    """The browser that began the login becomes the member, and a logout ends that."""
    browser, thief = app.test_client(), app.test_client()
    back = fake.log_in(browser.get("/login", base_url=SHOP).location, EMAIL).removeprefix(SHOP)
    assert thief.get(back, base_url=SHOP).status_code == 400
    assert not is_member(thief)
    assert browser.get(back, base_url=SHOP).location == "/account"
    assert is_member(browser)
    assert browser.post("/logout", base_url=SHOP, headers={"Origin": SHOP}).location.startswith("https://")
    assert not is_member(browser)


def test_a_refused_login(app: Any, fake: FakeWix) -> None:
    """A code that Wix refuses is said to the shopper, who stays the visitor."""
    browser = app.test_client()
    back = fake.log_in(browser.get("/login", base_url=SHOP).location, EMAIL).removeprefix(SHOP)
    answer = browser.get(back.replace("code=", "code=x"), base_url=SHOP)
    assert (answer.status_code, answer.text.partition(":")[0]) == (400, "You are not logged in")
    assert not is_member(browser)


DJANGO = f"""
fake.add_member("{EMAIL}", "correct horse")
with TestClient(application, base_url="{SHOP}", headers={OPENS}, follow_redirects=False) as browser:
    login = browser.get("/account").headers["location"]
    back = fake.log_in(browser.get(login).headers["location"], "{EMAIL}")
    print(browser.get(back).headers["location"], browser.get("/account").json()["member"]["loginEmail"])
    print(browser.post("/auth/logout", headers={{"Origin": "{SHOP}"}}).status_code)
    print(browser.get("/account").headers["location"] == login)
"""


@pytest.mark.machine
def test_the_django_project_logs_in_and_out(tmp_path: Path) -> None:
    """The page's files make a Django project whose account leads to the login and back, and whose logout ends it."""
    assert printed_by(DJANGO, PAGE, tmp_path) == f"/account {EMAIL}\n303\nTrue\n"
