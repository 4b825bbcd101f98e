"""What does wixvisitor cost a web shop's request, and is every shopper one visitor?

The shop's ``/api/cart`` runs in three servers, each a process of its own: with a bare httpx client and one static
token, with ``IdCookie`` over SQLite, and with ``SealedCookie``. wrk asks them in turn, so that a machine that slows
down slows all of them; the figures are medians. nginx answers for Wix where the shop reads the cart, so that it is
not what is measured, and passes everything else on to FakeWix, which counts the visitors.

Needs wrk and nginx: ``apt-get install wrk nginx-light``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import attrs
import httpx
import psutil
import uvicorn
from fastapi import FastAPI
from rich.progress import Progress

from benchmarks import drawing
from benchmarks.measuring import Answer, Verdict
from examples.shop import api
from examples.shop.app import make_app
from wixvisitor import VisitorPool
from wixvisitor.cookies import IdCookie, SealedCookie, generate_key
from wixvisitor.fastapi import get_visitor
from wixvisitor.storage.sqlite import SQLiteStorage
from wixvisitor.testing import FakeWix

CLIENT_ID: Final = "5e9c1d0a-7c1e-4a52-9d5e-1f2a3b4c5d6e"
SIDES: Final = ("bare httpx", "IdCookie, SQLite", "SealedCookie")
CART: Final = "/ecom/v2/carts/current"
HEALTH_CHECKS: Final = 2_000
SHOPPERS: Final = 500

NGINX: Final = """
daemon off; worker_processes 1; pid {place}/nginx.pid; error_log {place}/error.log crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {place}; proxy_temp_path {place}; fastcgi_temp_path {place};
  uwsgi_temp_path {place}; scgi_temp_path {place}; keepalive_requests 1000000;
  upstream fake {{ server {fake}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port};
    location = {cart} {{ default_type application/json; return 200 '{body}'; }}
    location / {{ proxy_pass http://fake; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""

WRK: Final = """
local cookies, next_one = {{ {cookies} }}, 0
request = function()
  next_one = next_one % #cookies + 1
  return wrk.format("GET", "/api/cart", {{ ["Cookie"] = cookies[next_one] }})
end
done = function(summary, latency)
  local failed = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout
  io.write(string.format('JSON{{"requests": %d, "seconds": %f, "failed": %d, "p50": %f, "p99": %f}}\\n',
    summary.requests, summary.duration / 1e6, failed, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


class NoHistory:
    """What the shop tells of a visitor's past is no business of this measurement."""

    def count_call(self, visitor: Any) -> None:
        """Counts nothing."""

    def note(self, change: Any) -> None:
        """Notes nothing."""


def app_of(side: str, base_url: str, place: Path) -> FastAPI:
    """Returns the shop: the same handlers, whoever calls Wix for them."""
    if side == SIDES[0]:
        app = FastAPI()
        app.include_router(api.router)
        app.state.history = NoHistory()
        bare = httpx.AsyncClient(base_url=base_url, headers={"Authorization": "token", "Accept": "application/json"})
        app.dependency_overrides[get_visitor] = lambda: bare
        return app
    sealed = side == SIDES[2]
    storage = None if sealed else SQLiteStorage(place / "visitors.db")
    cookie = (SealedCookie if sealed else IdCookie)([generate_key()], secure=False)
    return make_app(VisitorPool(CLIENT_ID, storage=storage, base_url=base_url), cookie=cookie, history=NoHistory())


def serve_side(listener: socket.socket, side: str, base_url: str, place: Path) -> None:
    """Serves the shop until the process is ended."""
    config = uvicorn.Config(
        app_of(side, base_url, place), log_level="warning", access_log=False, timeout_graceful_shutdown=1
    )
    uvicorn.Server(config).run([listener])


def serve_fake(listener: socket.socket, counts: Any) -> None:
    """Serves FakeWix, and says how many visitors it has."""
    fake = FakeWix()

    def count() -> None:
        while counts.poll(None):
            counts.recv()
            counts.send((len(fake.visitors), len(fake.token_calls())))

    threading.Thread(target=count, daemon=True).start()
    uvicorn.Server(uvicorn.Config(fake.app, log_level="warning", lifespan="off")).run([listener])


def listening() -> socket.socket:
    """Returns a socket on a free port of this machine."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2_048)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else each answer may wait 40 ms for the next
    return listener


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


@contextlib.contextmanager
def process(target: Any, *arguments: Any) -> Iterator[int]:
    """A process as long as the block; hands out its id."""
    worker = multiprocessing.get_context("spawn").Process(target=target, args=arguments, daemon=True)
    worker.start()
    try:
        yield int(worker.pid or 0)
    finally:
        worker.terminate()
        worker.join(5)


@contextlib.contextmanager
def nginx(place: Path, fake: int) -> Iterator[str]:
    """Runs nginx in front of FakeWix, as long as the block; hands out its URL."""
    with listening() as free:
        port = port_of(free)
    cart = {"cart": {"id": "c", "lineItems": [], "subtotal": {"amount": "12.50"}}}
    config = place / "nginx.conf"
    config.write_text(
        NGINX.format(place=place, fake=f"127.0.0.1:{fake}", port=port, cart=CART, body=json.dumps(cart)), "utf-8"
    )
    server = subprocess.Popen(["nginx", "-c", str(config), "-p", str(place)], stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(5)


@attrs.define
class Shop:
    """A server, and the cookies of the shoppers who were there."""

    side: str
    url: str
    pid: int
    cookies: list[str] = attrs.field(factory=list)

    @property
    def memory(self) -> float:
        """MiB that the process has in memory."""
        return float(psutil.Process(self.pid).memory_info().rss) / 2**20


async def answers(url: str) -> None:
    """Waits until the server answers."""
    async with httpx.AsyncClient() as client:
        for _ in range(200):
            with contextlib.suppress(httpx.TransportError):
                await client.get(url)
                return
            await asyncio.sleep(0.05)
    raise SystemExit(f"{url} does not answer")


async def check_health(shop: Shop) -> None:
    """Asks for /health as often as a balancer does in some hours."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=32)) as client:

        async def check(times: int) -> None:
            for _ in range(times):
                async with client.get(f"{shop.url}/health") as response:
                    assert response.status == 200

        await asyncio.gather(*(check(HEALTH_CHECKS // 20) for _ in range(20)))


async def arrive(shop: Shop) -> None:
    """All shoppers come at once: each opens the front page, whose script makes two calls at a time."""
    connector = aiohttp.TCPConnector(limit=0)

    async def visit() -> None:
        jar = aiohttp.CookieJar(unsafe=True)  # of an address without a name
        async with aiohttp.ClientSession(connector=connector, connector_owner=False, cookie_jar=jar) as client:
            async with client.get(f"{shop.url}/", headers={"Sec-Fetch-Dest": "document"}) as response:
                assert response.status == 200
            await asyncio.gather(call(client), call(client))
        shop.cookies.append("; ".join(f"{cookie.key}={cookie.value}" for cookie in jar))

    async def call(client: aiohttp.ClientSession) -> None:
        async with client.get(f"{shop.url}/api/cart") as response:
            assert response.status == 200, await response.text()

    await asyncio.gather(*(visit() for _ in range(SHOPPERS)))
    await connector.close()


def load(shop: Shop, place: Path, *, connections: int, seconds: float) -> dict[str, float]:
    """Returns what wrk says of some seconds of shoppers who look at their carts."""
    script = place / "shoppers.lua"
    script.write_text(WRK.format(cookies=", ".join(f'"{cookie}"' for cookie in shop.cookies or ["a=b"])), "utf-8")
    command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds:g}s", "--timeout", "30s"]
    command += ["-s", str(script), shop.url]
    said = subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout
    figures: dict[str, float] = json.loads(said.partition("JSON")[2])
    assert figures["failed"] == 0, said
    return figures


def loads(shops: list[Shop], place: Path, *, rounds: int, seconds: int, progress: Progress) -> Any:
    """Returns the median rate and latency of every side, and its memory after each round."""
    cases = [(shop, connections) for connections in (1, 32, 100) for shop in shops]
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    memory: dict[str, list[float]] = {shop.side: [shop.memory] for shop in shops}
    task = progress.add_task("load", total=rounds * len(cases))
    for number in range(rounds):
        for shop, connections in cases if number % 2 else reversed(cases):
            figures = load(shop, place, connections=connections, seconds=seconds)
            found.setdefault((shop.side, connections), []).append(figures)
            progress.advance(task)
        for shop in shops:
            memory[shop.side].append(shop.memory)
    rows = [
        {
            "side": side,
            "connections": connections,
            "rate": statistics.median(one["requests"] / one["seconds"] for one in figures),
            "p50": statistics.median(one["p50"] for one in figures),
            "p99": statistics.median(one["p99"] for one in figures),
            "requests": sum(one["requests"] for one in figures),
        }
        for (side, connections), figures in found.items()
    ]
    return {"rows": sorted(rows, key=lambda row: (row["connections"], SIDES.index(row["side"]))), "memory": memory}


def count(pipe: Any) -> tuple[int, int]:
    """Returns how many visitors Wix has, and how many token calls there were."""
    pipe.send("how many?")
    visitors, calls = pipe.recv()
    return int(visitors), int(calls)


def shoppers_are_visitors(shops: list[Shop], pipe: Any, progress: Progress) -> list[Verdict]:
    """Sends the shoppers to every shop, and says whether each of them is one visitor."""
    verdicts = []
    task = progress.add_task("shoppers", total=2 * (len(shops) - 1))
    for shop in shops[1:]:
        before, _ = count(pipe)
        asyncio.run(check_health(shop))
        healthy, calls = count(pipe)
        progress.advance(task)
        asyncio.run(arrive(shop))
        after, calls_after = count(pipe)
        progress.advance(task)
        for what, beside, figure, target in (
            (f"{HEALTH_CHECKS:,} health checks, {shop.side}", "visitors", healthy - before, 0),
            (f"{SHOPPERS} shoppers at once, {shop.side}", "visitors", after - healthy, SHOPPERS),
            (f"{SHOPPERS} shoppers at once, {shop.side}", "token calls", calls_after - calls, SHOPPERS),
        ):
            verdicts.append(
                Verdict(what=what, beside=beside, figure=figure, target=target, at_most=True, must_hold=True)
            )
        assert after - healthy >= SHOPPERS, f"{SHOPPERS} shoppers made only {after - healthy} visitors"
    return verdicts


def rows_of(results: Any) -> list[dict[str, Any]]:
    """Returns the figures, each beside the bare client's."""
    bare = {row["connections"]: row["rate"] for row in results["rows"] if row["side"] == SIDES[0]}
    return [
        {
            "connections": row["connections"],
            "side": row["side"],
            "requests/s": row["rate"],
            "of bare": f"{row['rate'] / bare[row['connections']]:.2f}",
            "p50, ms": row["p50"],
            "p99, ms": row["p99"],
        }
        for row in results["rows"]
    ]


def measure(progress: Progress, *, quick: bool) -> Answer:
    """Measures the three shops."""
    lacking = [name for name in ("wrk", "nginx") if shutil.which(name) is None]
    if lacking:
        raise SystemExit(f"{' and '.join(lacking)} not found: apt-get install wrk nginx-light")
    rounds, seconds = (1, 1) if quick else (5, 6)
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pipe, far_end = multiprocessing.get_context("spawn").Pipe()
        fake = stack.enter_context(listening())
        stack.enter_context(process(serve_fake, fake, far_end))
        wix = stack.enter_context(nginx(place, port_of(fake)))
        shops = []
        for side in SIDES:
            listener = stack.enter_context(listening())
            pid = stack.enter_context(process(serve_side, listener, side, wix, place))
            shops.append(Shop(side, f"http://127.0.0.1:{port_of(listener)}", pid))
            asyncio.run(answers(f"{shops[-1].url}/api/cart" if side == SIDES[0] else f"{shops[-1].url}/health"))
        verdicts = shoppers_are_visitors(shops, pipe, progress)
        results = loads(shops, place, rounds=rounds, seconds=seconds, progress=progress)
    notes = [f"{side}: {mib[0]:.0f} MiB before, {mib[-1]:.0f} MiB after" for side, mib in results["memory"].items()]
    return Answer(rows_of(results), verdicts, data=results, notes=notes)


def draw(answer: Answer, place: Path) -> None:
    """Draws rates, latencies and memory."""
    results = answer.data
    levels = sorted({row["connections"] for row in results["rows"]})
    with drawing.chart(place / "web_load", columns=3) as charts:
        for axes, look in charts:
            for number, (side, color) in enumerate(zip(SIDES, (look.quiet, look.ours, look.other), strict=True)):
                rows = [row for row in results["rows"] if row["side"] == side]
                places = [level + (number - 1) * 0.27 for level in range(len(levels))]
                for axis, figure_name in ((axes[0], "rate"), (axes[1], "p99")):
                    bars = axis.bar(places, [row[figure_name] for row in rows], 0.25, label=side, color=color)
                    axis.bar_label(bars, fmt="{:,.0f}", fontsize=7, color=look.ink)
                axes[2].plot(results["memory"][side], marker=".", color=color)
            titles = ("requests a second", "99 % answered within, ms", "memory, MiB, by round")
            for axis, title in zip(axes, titles, strict=True):
                axis.set_title(title)
            for axis in axes[:2]:
                axis.set_xticks(range(len(levels)), [f"{level} at once" for level in levels])
            axes[2].set_ylim(0)
            axes[0].legend(frameon=False, fontsize=8, labelcolor=look.ink)
