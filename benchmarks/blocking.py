"""What does a blocking call cost: beside an empty call of anyio's portal, the least that any way into a loop costs?"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, Final

import httpx
from anyio.from_thread import start_blocking_portal
from rich.progress import Progress

from benchmarks.measuring import Answer, Verdict, interleaved, ratio
from benchmarks.side import CLIENT_ID
from wixvisitor import AccessToken, RefreshToken, TokenRole, Tokens, VisitorSession
from wixvisitor.blocking import BlockingVisitorSession

EMPTY, DOOR = "empty call, anyio's portal", "empty call, session.call"
REQUEST_BY_PORTAL, REQUEST = "request, anyio's portal", "request, session.get"


async def nothing(_session: object = None) -> None:
    """Does nothing."""


async def answer(_request: httpx.Request) -> httpx.Response:
    """Wix, without a network."""
    return httpx.Response(200, json={})


def client() -> httpx.AsyncClient:
    """Returns a client that reaches no network."""
    return httpx.AsyncClient(transport=httpx.MockTransport(answer))


def measure(progress: Progress, *, quick: bool) -> Answer:
    """Measures all four in one process, in turn."""
    calls = 200 if quick else 2_000
    tokens = Tokens(AccessToken("token", int(time.time()) + 14_400), RefreshToken("refresh", TokenRole.VISITOR))
    plain = VisitorSession(CLIENT_ID, client=client, tokens=tokens)
    with (
        BlockingVisitorSession(CLIENT_ID, client=client, tokens=tokens) as visitor,
        start_blocking_portal() as portal,
    ):
        cases: Final[dict[str, Callable[[], Any]]] = {
            EMPTY: lambda: portal.call(nothing),
            DOOR: lambda: visitor.call(nothing),
            REQUEST_BY_PORTAL: lambda: portal.call(plain.get, "/x"),
            REQUEST: lambda: visitor.get("/x"),
        }

        def seconds_of(name: str) -> float:
            call = cases[name]
            began = time.perf_counter()
            for _ in range(calls):
                call()
            return (time.perf_counter() - began) / calls

        found = interleaved(list(cases), seconds_of, rounds=5 if quick else 21, progress=progress, what="blocking")
        portal.call(plain.aclose)
    rows = [{"call": name, "µs": 1e6 * statistics.median(found[name])} for name in cases]
    verdicts = [
        Verdict(what=name, beside=beside, figure=ratio(found[name], found[beside]), target=1.25, at_most=True)
        for name, beside in ((DOOR, EMPTY), (REQUEST, REQUEST_BY_PORTAL))
    ]
    return Answer(rows, verdicts)
