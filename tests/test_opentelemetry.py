"""``wixvisitor.opentelemetry``: spans and metrics, read with the SDK's own in-memory exporters."""

from __future__ import annotations

import gc
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import httpx
import pytest
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tests.constants import CART, CLIENT_ID, LIFETIME
from wixvisitor import ConfigurationError, TokenRequestError, VisitorPool, VisitorSession
from wixvisitor.opentelemetry import instrument, uninstrument
from wixvisitor.testing import FakeWix

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_backoff")]

DASHBOARD = Path(__file__).parents[1] / "examples/observability/grafana.json"


class Seen(NamedTuple):
    """What was exported."""

    tracers: TracerProvider
    meters: MeterProvider
    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader

    @property
    def to(self) -> dict[str, Any]:
        """The arguments of ``instrument``."""
        return {"tracer_provider": self.tracers, "meter_provider": self.meters}

    def spans(self) -> list[ReadableSpan]:
        """The spans that have ended, and no longer from now on."""
        found = list(self.exporter.get_finished_spans())
        self.exporter.clear()
        return found

    def metrics(self) -> dict[str, dict[tuple[str, ...], Any]]:
        """The values by metric and by the attributes' values, without the client ID: a number, or a count."""
        found: dict[str, dict[tuple[str, ...], Any]] = {}
        data = self.reader.get_metrics_data()
        metrics = [
            metric
            for resource in (data.resource_metrics if data is not None else [])
            for scope in resource.scope_metrics
            for metric in scope.metrics
        ]
        for metric in metrics:
            for point in metric.data.data_points:
                about = {**(point.attributes or {})}
                assert about.pop("wixvisitor.client_id") == CLIENT_ID
                value = getattr(point, "value", getattr(point, "count", None))
                found.setdefault(metric.name, {})[tuple(str(one) for one in about.values())] = value
        return found


@pytest.fixture
def seen() -> Iterator[Seen]:
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(), MeterProvider([reader])
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    yield Seen(tracers, meters, exporter, reader)
    meters.shutdown()
    tracers.shutdown()


async def test_the_span_of_a_token_request(still: FakeWix, seen: Seen) -> None:
    """A token request has a client span by OpenTelemetry's conventions, a child of the request that waits for it."""
    async with VisitorSession(CLIENT_ID, client=still.client(), clock=still.now) as session:
        instrument(session, **seen.to)
        with seen.tracers.get_tracer("app").start_as_current_span("handler"):
            await session.get(CART)
    asked, handler = seen.spans()
    assert (asked.name, asked.kind, asked.status.status_code) == (
        "POST /oauth2/token",
        SpanKind.CLIENT,
        StatusCode.UNSET,
    )
    assert asked.parent is not None
    assert asked.parent.span_id == handler.context.span_id
    assert not asked.links
    assert dict(asked.attributes or {}) == {
        "http.request.method": "POST",
        "url.full": "https://www.wixapis.com/oauth2/token",
        "server.address": "www.wixapis.com",
        "server.port": 443,
        "http.response.status_code": 200,
        "wixvisitor.grant": "anonymous",
        "wixvisitor.outcome": "granted",
        **{name: value for name, value in (asked.attributes or {}).items() if name.endswith("request-id")},
    }


async def test_repeats_and_failures(still: FakeWix, seen: Seen) -> None:
    """Each repeat has a span of its own with its number; a failed one has the status and the error's type."""
    async with VisitorSession(CLIENT_ID, client=still.client(), clock=still.now) as session:
        instrument(session, **seen.to)
        still.drop(path="/oauth2/token", times=1)
        still.fail(503, path="/oauth2/token", times=1)
        await session.get(CART)
    found = [dict(span.attributes or {}) for span in seen.spans()]
    assert [one.get("http.request.resend_count") for one in found] == [None, 1, 2]
    assert [one.get("error.type") for one in found] == ["TokenRequestError", "503", None]
    assert [one.get("http.response.status_code") for one in found] == [None, 503, 200]


async def test_a_renewal_in_the_background_is_linked(still: FakeWix, seen: Seen) -> None:
    """A renewal in the background is a trace of its own, with a link to the request that started it."""
    async with VisitorSession(CLIENT_ID, client=still.client(), clock=still.now) as session:
        await session.get(CART)
        instrument(session, **seen.to)
        still.advance(LIFETIME - 60)
        with seen.tracers.get_tracer("app").start_as_current_span("handler"):
            await session.get(CART)
        found: list[ReadableSpan] = []
        for _ in range(200):
            found += seen.spans()
            if len(found) == 2:
                break
            await anyio.sleep(0.01)
    by_name = {span.name: span for span in found}
    asked, handler = by_name["POST /oauth2/token"], by_name["handler"]
    assert asked.parent is None
    assert [link.context.span_id for link in asked.links] == [handler.context.span_id]
    assert asked.context.trace_id != handler.context.trace_id


async def test_httpx_instrumented_too(still: FakeWix, seen: Seen) -> None:
    """If httpx is instrumented as well, its span of the token request is a child of ours, and stays in the trace."""
    async with still.serve() as url, VisitorSession(CLIENT_ID, base_url=url, client=httpx.AsyncClient) as session:
        instrument(session, **seen.to)
        HTTPXClientInstrumentor().instrument(tracer_provider=seen.tracers)
        try:
            with seen.tracers.get_tracer("app").start_as_current_span("handler"):
                await session.get(CART)
        finally:
            HTTPXClientInstrumentor().uninstrument()
    spans = seen.spans()
    ours = next(span for span in spans if span.name == "POST /oauth2/token")
    assert len({span.context.trace_id for span in spans}) == 1
    assert [span.name for span in spans if span.parent is not None and span.parent.span_id == ours.context.span_id] == [
        "POST"
    ]


async def test_an_outage_seen_through_metrics_only(still: FakeWix, seen: Seen) -> None:
    """The metrics tell when an outage began, how many requests waited or were turned away, and that it has ended."""
    async with VisitorPool(CLIENT_ID, client=still.client(), clock=still.now) as pool:
        instrument(pool, **seen.to)
        shoppers = [await pool.session(f"shopper {number}") for number in range(5)]
        for shopper in shoppers:
            await shopper.get(CART)
        calm = seen.metrics()
        assert calm["wixvisitor.token.requests"] == {("anonymous", "granted"): 5}
        assert calm["wixvisitor.visitors.changes"] == {("minted",): 5}
        assert calm["wixvisitor.pauses"] == {("site",): 0, ("visitor",): 0}
        assert calm["wixvisitor.visitors.live"] == {(): 5}
        still.advance(LIFETIME + 1)
        still.fail(429, path="/oauth2/token", times=1, headers={"Retry-After": "30"})
        for shopper in shoppers:
            with pytest.raises(TokenRequestError):
                await shopper.get(CART)
        outage = seen.metrics()
        assert outage["wixvisitor.pauses"][("site",)] == 1
        assert outage["wixvisitor.token.requests"][("refresh_token", "failed")] == 1
        assert outage["wixvisitor.token.waits"] == {("ended",): 5, ("failed",): 1, ("paused",): 4}
        still.advance(31)
        for shopper in reversed(shoppers):  # the one that failed asks after the others
            await shopper.get(CART)
        over = seen.metrics()
        assert over["wixvisitor.pauses"] == {("site",): 0, ("visitor",): 0}
        assert over["wixvisitor.token.requests"][("refresh_token", "granted")] == 5
        assert over["wixvisitor.store.duration"][("MemoryStorage", "save", "done")] >= 10
        assert over["wixvisitor.token.queue"] == {(): 0}


async def test_uninstrument(still: FakeWix, seen: Seen) -> None:
    """Instrumenting twice counts once; after ``uninstrument`` nothing is seen, and it can be instrumented again."""
    async with VisitorPool(CLIENT_ID, client=still.client(), clock=still.now) as pool:
        instrument(pool, **seen.to)
        instrument(pool, **seen.to)
        await (await pool.session("a")).get(CART)
        assert len(seen.spans()) == 1
        assert seen.metrics()["wixvisitor.token.requests"] == {("anonymous", "granted"): 1}
        uninstrument(pool)
        uninstrument(pool)
        await (await pool.session("b")).get(CART)
        assert seen.spans() == []
        assert seen.metrics()["wixvisitor.token.requests"] == {("anonymous", "granted"): 1}
        instrument(pool, **seen.to)
        await (await pool.session("c")).get(CART)
        assert len(seen.spans()) == 1
    with pytest.raises(ConfigurationError, match="expected a VisitorPool or a VisitorSession"):
        instrument("pool", **seen.to)  # type: ignore[arg-type]


async def test_a_dropped_pool_is_forgotten(still: FakeWix, seen: Seen) -> None:
    """Instrumentation keeps no pool alive: a dropped pool is no longer in the gauges."""
    pool = VisitorPool(CLIENT_ID, client=still.client(), clock=still.now)
    instrument(pool, **seen.to)
    assert "wixvisitor.visitors.live" in seen.metrics()
    del pool
    gc.collect()
    assert "wixvisitor.visitors.live" not in seen.metrics()


async def test_nothing_exported_is_secret(still: FakeWix, seen: Seen) -> None:
    """No span and no metric of a visitor's life holds a token or the visitor's key."""
    async with VisitorPool(CLIENT_ID, client=still.client(), clock=still.now) as pool:
        instrument(pool, **seen.to)
        session = await pool.session("the-key-of-anna")
        await session.get(CART)
        tokens = session.get_tokens()
        still.advance(LIFETIME + 1)
        still.fail(500, path="/oauth2/token", body=tokens.refresh_token.value, times=3)
        with pytest.raises(TokenRequestError):
            await session.get(CART)
    exported = "".join(span.to_json() for span in seen.spans()) + str(seen.reader.get_metrics_data())
    assert "POST /oauth2/token" in exported
    for secret in (tokens.access_token.value, tokens.refresh_token.value, "the-key-of-anna"):
        assert secret not in exported


def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    """Every metric of the example's Grafana dashboard is one that is exported, under Prometheus's name of it."""
    table = sys.modules["wixvisitor.opentelemetry"].__doc__ or ""
    exported = {name.replace(".", "_") for name in re.findall(r"``(wixvisitor\.[a-z.]+)``", table)}
    asked = set(re.findall(r"wixvisitor_[a-z_]+", json.dumps(json.loads(DASHBOARD.read_text("utf-8")))))
    asked -= {"wixvisitor_client_id"}
    stems = {re.sub(r"(_seconds)?(_bucket|_count|_sum|_total)?$", "", name) for name in asked}
    assert stems <= exported
    assert stems >= {"wixvisitor_token_requests", "wixvisitor_pauses", "wixvisitor_token_waits"}


def test_the_missing_extra_is_named() -> None:
    """Without OpenTelemetry the import error names the extra."""
    program = "import sys; sys.modules['opentelemetry'] = None; import wixvisitor.opentelemetry"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", timeout=60)
    assert "pip install 'wixvisitor[opentelemetry]'" in done.stderr
