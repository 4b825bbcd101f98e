"""What only FastAPI has: dependencies, OpenAPI, its own way to be wrapped."""

from __future__ import annotations

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.requests import HTTPConnection
from starlette.testclient import TestClient

from tests.web.conftest import KEY
from wixvisitor import ConfigurationError, VisitorPool
from wixvisitor.cookies import IdCookie
from wixvisitor.fastapi import CatalogVisitor, CurrentVisitor, get_catalog_visitor, get_visitor, setup


@pytest.fixture
def app(still, client_id) -> FastAPI:
    app = FastAPI()
    setup(app, VisitorPool(client_id, client=still.client(), clock=still.now), cookie=IdCookie([KEY]))
    router = APIRouter()

    @router.get("/role")
    async def role(visitor: CurrentVisitor) -> str:
        await visitor.generate_visitor_tokens()
        return visitor.get_tokens().refresh_token.role.value

    @router.get("/products")
    async def products(catalog: CatalogVisitor) -> int:
        return len((await catalog.post("/stores/v3/products/query", json={})).json()["products"])

    app.include_router(router, prefix="/api")
    return app


def test_nothing_is_added_to_openapi(app):
    """A visitor is no parameter of the route."""
    operation = app.openapi()["paths"]["/api/role"]["get"]
    assert "parameters" not in operation
    assert "requestBody" not in operation
    assert "422" not in operation["responses"]


def test_the_app_stays_a_fastapi_app(app):
    """The test client, the lifespan and routers work as ever."""
    with TestClient(app, base_url="https://shop.example") as browser:
        assert browser.get("/api/role").json() == "visitor"
        assert [name.startswith("__Host-wixvisitor-") for name in browser.cookies] == [True]


def test_dependency_overrides(app):
    """A test may put its own visitor in the place of the browser's."""

    class Somebody:
        async def generate_visitor_tokens(self) -> None:
            """Needs nobody."""

        def get_tokens(self):
            from wixvisitor import EMPTY_TOKENS

            return EMPTY_TOKENS

    app.dependency_overrides[get_visitor] = Somebody
    with TestClient(app, base_url="https://shop.example") as browser:
        response = browser.get("/api/role")
    assert response.json() == "none"
    assert "set-cookie" not in response.headers


def test_the_catalogue_is_a_dependency(app, still):
    """It adds nothing to OpenAPI, gives no cookie to a page, and all browsers share its visitor."""
    assert "parameters" not in app.openapi()["paths"]["/api/products"]["get"]
    for _ in range(3):
        with TestClient(app, base_url="https://shop.example", headers={"Sec-Fetch-Dest": "document"}) as browser:
            response = browser.get("/api/products")
        assert response.json() == 4
        assert not {"set-cookie", "vary"} & set(response.headers)
    assert len(still.visitors) == 1


def test_dependency_overrides_of_the_catalogue(app, still):
    """A test may put its own catalogue in the place of Wix's."""

    class Shelf:
        async def post(self, url: str, *, json: object) -> httpx.Response:
            return httpx.Response(200, json={"products": ["a mug"]})

    app.dependency_overrides[get_catalog_visitor] = Shelf
    with TestClient(app, base_url="https://shop.example") as browser:
        assert browser.get("/api/products").json() == 1
    assert still.calls == []


def test_setup_comes_too_late(app, still, client_id):
    """An app that is serving already cannot be wrapped any more: an error that says when to."""
    with TestClient(app):
        pass
    with pytest.raises(ConfigurationError, match="already serving"):
        setup(app, VisitorPool(client_id), cookie=IdCookie([KEY]))


def test_wrong_arguments_are_noticed_at_setup(client_id):
    """A wrong argument fails when the app is made, not at its first request."""
    with pytest.raises(ConfigurationError, match="VisitorPool"):
        setup(FastAPI(), "pool", cookie=IdCookie([KEY]))  # type: ignore[arg-type]

    async def later(_: object) -> bool:
        return False

    with pytest.raises(ConfigurationError, match="catalog_paths"):
        setup(FastAPI(), VisitorPool(client_id), cookie=IdCookie([KEY]), catalog_paths="/stores/")
    for consent in (later, "yes"):
        with pytest.raises(ConfigurationError, match="consent: expected a plain function"):
            setup(FastAPI(), VisitorPool(client_id), cookie=IdCookie([KEY]), consent=consent)  # type: ignore[arg-type]


def test_an_app_that_was_not_set_up():
    """Without setup the error says what to do."""
    app = FastAPI()

    @app.get("/")
    async def home(visitor: CurrentVisitor) -> None:
        """Is not reached."""

    with TestClient(app) as browser, pytest.raises(ConfigurationError, match="has no visitors"):
        browser.get("/")


def test_consent_is_asked_with_a_connection(still, client_id):
    """The consent hook sees what FastAPI calls a connection: cookies, headers, query."""
    seen = []

    def consent(connection: HTTPConnection) -> bool:
        seen.append(type(connection))
        return connection.cookies.get("consent") == "yes"

    app = FastAPI()
    pool = VisitorPool(client_id, client=still.client(), clock=still.now)
    setup(app, pool, cookie=IdCookie([KEY]), consent=consent)

    @app.get("/")
    async def home(visitor: CurrentVisitor) -> None:
        await visitor.generate_visitor_tokens()

    with TestClient(app, base_url="https://shop.example") as browser:
        assert "set-cookie" not in browser.get("/").headers
        browser.cookies.set("consent", "yes")
        assert "set-cookie" in browser.get("/").headers
    assert set(seen) == {HTTPConnection}
