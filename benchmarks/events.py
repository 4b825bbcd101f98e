"""What do observers cost: ``on_event``, and OpenTelemetry with its SDK, beside a pool that has none?"""

from __future__ import annotations

import asyncio
import itertools
import operator
import statistics
import time
from collections.abc import Callable
from typing import Any, Final

import httpx
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from rich.progress import Progress

from benchmarks.measuring import Answer, Verdict, interleaved, ratio
from benchmarks.side import CLIENT_ID
from wixvisitor import VisitorPool, VisitorSession
from wixvisitor.opentelemetry import instrument

REQUEST, RENEWAL = "request with a fresh token", "renewal"
NONE, LISTENER, TRACED = "no observer", "on_event", "OpenTelemetry's SDK"
_count: Final = itertools.count()


def answer(request: httpx.Request) -> httpx.Response:
    """Wix, without a network."""
    if request.url.path != "/oauth2/token":
        return httpx.Response(200, json={})
    token = f"OauthNG.JWS.{next(_count):0>600}"
    return httpx.Response(200, json={"access_token": token, "refresh_token": "JWS." + "r" * 600, "expires_in": 14_400})


async def pool_with(observer: str) -> VisitorSession:
    """Returns a visitor of a pool with this observer."""
    client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    events: list[Any] = []
    pool = VisitorPool(CLIENT_ID, client=client, on_event=(lambda _: events.clear()) if observer == LISTENER else None)
    if observer == TRACED:
        instrument(pool, tracer_provider=TracerProvider(), meter_provider=MeterProvider([InMemoryMetricReader()]))
    session = await pool.session("anna")
    await session.generate_visitor_tokens()
    return session


def measure(progress: Progress, *, quick: bool) -> Answer:
    """Measures in one process, each observer in turn. Processor time, since nothing here waits for a network."""
    calls = 200 if quick else 1_000
    with asyncio.Runner() as runner:
        sessions = {observer: runner.run(pool_with(observer)) for observer in (NONE, LISTENER, TRACED)}

        async def repeated(call: Callable[[], Any]) -> float:
            began = time.process_time()
            for _ in range(calls):
                await call()
            return (time.process_time() - began) / calls

        def seconds_of(case: tuple[str, str]) -> float:
            what, observer = case
            session = sessions[observer]
            return runner.run(repeated(session.renew_token if what == RENEWAL else lambda: session.get("/x")))

        cases = [(what, observer) for what in (REQUEST, RENEWAL) for observer in sessions]
        found = interleaved(cases, seconds_of, rounds=5 if quick else 21, progress=progress, what="events")
    rows = [
        {"what": what, "observer": observer, "µs": 1e6 * statistics.median(found[what, observer])}
        for what, observer in cases
    ]
    observers = (LISTENER, TRACED)
    verdicts = [
        Verdict(
            what=f"{REQUEST}, {observer}",
            beside=NONE,
            figure=ratio(found[REQUEST, observer], found[REQUEST, NONE]),
            target=1.02,
            at_most=True,
        )
        for observer in observers
    ]
    verdicts += [
        Verdict(
            what=f"added to a renewal, {observer}",
            beside="a token call, about 100,000 µs",
            figure=1e6 * statistics.median(map(operator.sub, found[RENEWAL, observer], found[RENEWAL, NONE])),
            target=500,
            at_most=True,
            unit=" µs",
        )
        for observer in observers
    ]
    return Answer(rows, verdicts)
