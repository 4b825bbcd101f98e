"""docs/how-to/login.md: the part of the Flask app logs a browser in and out, and no other browser can end its login."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import g, request
from flask.testing import FlaskClient

from tests.constants import CLIENT_ID
from tests.docs.blocks import blocks_of
from wixvisitor import VisitorPool
from wixvisitor.cookies import IdCookie, generate_key
from wixvisitor.testing import FakeWix
from wixvisitor.web import BlockingBrowserVisitors

SHOP = "https://shop.example"
EMAIL = "anna@example.com"


@pytest.fixture
def fake() -> FakeWix:
    fake = FakeWix(strict=True)
    fake.add_member(EMAIL, "correct horse")
    return fake


@pytest.fixture
def app(fake: FakeWix) -> Iterator[Any]:
    """The page's Flask app, with what docs/how-to/frameworks.md adds to it."""
    (code,) = (block.code for block in blocks_of("docs/how-to/login.md") if "flask_app" in block.code)
    namespace: dict[str, Any] = {"__name__": "page"}
    exec(code, namespace)
    app = namespace["flask_app"]
    with BlockingBrowserVisitors(
        VisitorPool(CLIENT_ID, client=fake.client), cookie=IdCookie([generate_key()])
    ) as browsers:

        @app.before_request
        def begin() -> None:
            g.visit = browsers.begin(request.method, request.path, request.headers)

        @app.after_request
        def keep(response: Any) -> Any:
            own = response.headers
            for name, value in g.visit.headers(", ".join(own.getlist("Vary")), own.get("Cache-Control", "")):
                (own.add if name == "Set-Cookie" else own.set)(name, value)
            return response

        @app.teardown_request
        def end(error: object) -> None:
            g.visit.end()

        @app.get("/account")
        def account() -> dict[str, bool]:
            return {"is_member": g.visit.visitor().logged_in()}

        yield app


def is_member(browser: FlaskClient) -> bool:
    return bool(browser.get("/account", base_url=SHOP).json["is_member"])


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
