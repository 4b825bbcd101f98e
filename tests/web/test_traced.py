"""FastAPI's ``setup`` beside OpenTelemetry, which rebuilds the app's stack of middlewares: in each order."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.requests import Request
from fastapi.responses import JSONResponse
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.testclient import TestClient

from tests.web.conftest import KEY
from wixvisitor import VisitorPool
from wixvisitor.cookies import IdCookie
from wixvisitor.fastapi import CurrentVisitor, setup


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.mark.parametrize(
    ("steps", "is_traced"),
    [
        (("setup", "instrument"), True),
        (("instrument", "setup"), True),
        (("setup", "instrument", "uninstrument"), False),
        (("instrument", "setup", "uninstrument"), False),
    ],
)
def test_in_each_order(spans, still, client_id, steps, is_traced):
    """There are server spans exactly while the app is instrumented, and visitors in any case, also on an error page."""
    handled: list[Exception] = []
    app = shop(handled)
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    pool = VisitorPool(client_id, client=still.client(), clock=still.now)
    take: dict[str, Any] = {
        "setup": lambda: setup(app, pool, cookie=IdCookie([KEY])),
        "instrument": lambda: FastAPIInstrumentor.instrument_app(app, tracer_provider=provider),
        "uninstrument": lambda: FastAPIInstrumentor.uninstrument_app(app),
    }
    for step in steps:
        take[step]()
    with TestClient(app, base_url="https://shop.example", raise_server_exceptions=False) as browser:
        assert browser.get("/role").json() == "visitor"
        browser.cookies.clear()
        broken = browser.get("/broken")
    assert (broken.status_code, broken.json()) == (500, "ours")
    assert "set-cookie" in broken.headers
    assert len(still.visitors) == 2
    assert len(handled) == 1
    servers = [span.name for span in spans.get_finished_spans() if span.kind.name == "SERVER"]
    assert servers == (["GET /role", "GET /broken"] if is_traced else [])


def shop(handled: list[Exception]) -> FastAPI:
    """An app with a page, a broken page, and a handler of its own for what is broken."""
    app = FastAPI()

    @app.get("/role")
    async def role(visitor: CurrentVisitor) -> str:
        return (await visitor.generate_visitor_tokens()).refresh_token.role.value

    @app.get("/broken")
    async def broken(visitor: CurrentVisitor) -> None:
        await visitor.generate_visitor_tokens()
        raise ZeroDivisionError

    @app.exception_handler(Exception)
    async def own_page(request: Request, error: Exception) -> JSONResponse:
        handled.append(error)
        return JSONResponse("ours", status_code=500)

    return app
