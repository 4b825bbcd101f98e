"""Does anybody notice that a token is renewed? Latency while a 300 ms renewal runs, beside latency without one."""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx2
import uvicorn
from rich.progress import Progress

from benchmarks import drawing
from benchmarks.measuring import CART, Answer, Verdict, await_server, free_port, nginx, node_side, sides
from benchmarks.side import CLIENT_ID
from wixvisitor import VisitorSession
from wixvisitor.testing import FakeWix

RENEWAL: Final = 0.3  # seconds that Wix takes for a token
LIFETIME: Final = 14_400  # seconds
IN_FLIGHT: Final = 8
LEAD: Final = 0.5  # seconds of the drawn time before the renewal


def serve_slow_tokens(port: int) -> None:
    """Serves FakeWix, whose token endpoint takes its time, until the process is ended."""
    fake = FakeWix()
    fake.delay(RENEWAL, times=None)
    uvicorn.run(fake.app, port=port, log_level="error", lifespan="off")


@contextmanager
def slow_tokens() -> Iterator[int]:
    """Runs it as long as the block; hands out its port."""
    port = free_port()
    worker = multiprocessing.get_context("spawn").Process(target=serve_slow_tokens, args=(port,), daemon=True)
    worker.start()
    try:
        await_server(port)
        yield port
    finally:
        worker.terminate()
        worker.join(5)


class Shopper:
    """Eight requests in flight, all the time, through one session whose clock can be moved."""

    def __init__(self, url: str) -> None:
        self._url, self._ahead = url, 0.0

    def _now(self) -> float:
        return time.time() + self._ahead

    async def during(self, rounds: int, progress: Progress) -> tuple[list[Any], list[Any]]:
        """Returns when each request began and how long it took, in windows without a renewal and with one."""
        calm: list[Any] = []
        renewing: list[Any] = []
        task = progress.add_task("expiry", total=rounds)
        async with VisitorSession(CLIENT_ID, base_url=self._url, clock=self._now, client=httpx2.AsyncClient) as session:
            await session.auth_headers()
            await self._window(session, 1.0)
            for _ in range(rounds):
                calm += await self._window(session, RENEWAL)
                before = session.get_tokens()
                self._ahead += LIFETIME - 600  # within the last quarter of an hour: renewed in the background
                renewing += await self._window(session, RENEWAL)
                while session.get_tokens() == before:  # noqa: ASYNC110 - asks nobody
                    await asyncio.sleep(0.01)
                progress.advance(task)
        return calm, renewing

    async def _window(self, session: VisitorSession, seconds: float) -> list[tuple[float, float]]:
        began, found = time.perf_counter(), []

        async def worker() -> None:
            while (start := time.perf_counter()) - began < seconds:
                await session.get(CART)
                found.append((start - began, time.perf_counter() - start))

        await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
        return found


def p99(latencies: list[tuple[float, float]]) -> float:
    """Returns what 99 % of the requests stayed below, in milliseconds."""
    return 1_000 * statistics.quantiles([took for _, took in latencies], n=100)[98]


def row(client: str, window: str, latencies: list[tuple[float, float]]) -> dict[str, Any]:
    """Returns a row of the table."""
    longest = 1_000 * max(took for _, took in latencies)
    return {
        "client": client,
        "window": window,
        "p99, ms": p99(latencies),
        "longest, ms": longest,
        "requests": len(latencies),
    }


def measure(progress: Progress, *, quick: bool) -> Answer:
    """Measures ours in the ageing window, and @wix/sdk's at its expiry."""
    with slow_tokens() as port, nginx(upstream=port) as server:
        calm, renewing = asyncio.run(Shopper(server.url).during(5 if quick else 40, progress))
        rows = [row("wixvisitor", "no renewal", calm), row("wixvisitor", "renewal of 300 ms", renewing)]
        answer = Answer(rows, data={"wixvisitor": renewing[-2_000:]})
        with sides({"@wix/sdk": node_side(server.url)}) as running:
            for name, side in running.items():
                side.ask(seconds=1.0, in_flight=IN_FLIGHT)
                found = side.ask(command="latencies", seconds=2.0, in_flight=IN_FLIGHT, expires_in=0)
                answer.data[name] = found
                answer.rows.append(row(name, "2 s with an expiry", found))
    answer.verdicts.append(
        Verdict(
            what="p99 latency while a 300 ms renewal runs",
            beside="without one",
            figure=p99(renewing) / p99(calm),
            target=1.1,
            at_most=True,
        )
    )
    return answer


def draw(answer: Answer, place: Path) -> None:
    """Draws each request: when it began, how long it took."""
    names = list(answer.data)
    with drawing.chart(place / "expiry", columns=len(names), height=2.8, sharey=True) as charts:
        for axes, look in charts:
            for axis, name in zip(axes, names, strict=True):
                starts, times = zip(*answer.data[name], strict=True)
                color = look.ours if name == "wixvisitor" else look.quiet
                points = [1_000 * start for start in starts], [1_000 * took for took in times]
                axis.plot(*points, ".", color=color, ms=3, rasterized=True)
                what = (
                    "a 300 ms renewal, from 0 on" if name == "wixvisitor" else "a token expires within the first second"
                )
                axis.set(title=f"{name}: {what}", xlabel="ms", yscale="log", ylim=(0.3, 1_000))
            axes[0].set_ylabel("ms that a request took")
