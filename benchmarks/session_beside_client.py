"""What a session costs: GET through ``VisitorSession`` beside the bare client that it wraps.

One run, sides interleaved round by round, each round against the same server in a process of its own; the figure is
the median of the rounds' ratios, so a machine that slows down slows both sides. 1.0 means that the session is free.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import platform
import socket
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import httpx2
import uvicorn
from httpx_aiohttp import HttpxAiohttpClient
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from wixvisitor import AccessToken, RefreshToken, TokenRole, Tokens, VisitorSession, __version__

BODY = json.dumps({"cart": {"id": "c", "lineItems": [{"id": str(n), "name": "Mug"} for n in range(5)]}}).encode()
CLIENTS: dict[str, Callable[[], Any]] = {
    "httpx": httpx.AsyncClient,
    "httpx2": httpx2.AsyncClient,
    "httpx-aiohttp": HttpxAiohttpClient,
}
TOKENS = Tokens(
    AccessToken("OauthNG.JWS.a.b.c", int(time.time()) + 14_400), RefreshToken("JWS.a.b.c", TokenRole.VISITOR)
)


async def answer(_scope: Any, _receive: Any, send: Any) -> None:
    """The whole server: one small JSON body."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


def serve(listener: socket.socket) -> None:
    """Runs the server until the process is ended."""
    uvicorn.Server(uvicorn.Config(answer, log_level="error", lifespan="off")).run([listener])


async def rate(get: Callable[[], Awaitable[Any]], *, requests: int, in_flight: int) -> float:
    """Returns requests a second."""
    left = iter(range(requests))

    async def worker() -> None:
        for _ in left:
            response = await get()
            assert response.status_code == 200

    began = time.perf_counter()
    async with anyio.create_task_group() as group:
        for _ in range(in_flight):
            group.start_soon(worker)
    return requests / (time.perf_counter() - began)


async def ratios(make: Callable[[], Any], url: str, *, rounds: int, requests: int, in_flight: int) -> dict[str, Any]:
    """Returns both sides' rates and the ratio, one entry for each round."""
    bare, wrapped = [], []
    headers = {"Authorization": TOKENS.access_token.value, "Accept": "application/json"}
    async with (
        make() as plain,
        make() as inner,
        VisitorSession("id", base_url=url, tokens=TOKENS, client=inner) as session,
    ):
        plain.headers.update(headers)
        sides = (
            (bare, lambda: plain.get(f"{url}/ecom/v2/carts/current")),
            (wrapped, lambda: session.get("/ecom/v2/carts/current")),
        )
        for number in range(-1, rounds):  # the first one warms up
            for results, get in sides if number % 2 else reversed(sides):
                figure = await rate(get, requests=requests, in_flight=in_flight)
                if number >= 0:
                    results.append(figure)
    return {
        "bare": bare,
        "session": wrapped,
        "ratio": [ours / theirs for ours, theirs in zip(wrapped, bare, strict=True)],
    }


def table(results: list[dict[str, Any]]) -> Table:
    """Draws the medians: a bar is the session's share of the bare client's speed."""
    drawn = Table(title="GET through VisitorSession beside the same client without it (medians)")
    for column in ("client", "at once", "bare /s", "session /s", "ratio", ""):
        drawn.add_column(column, justify="left" if column in ("client", "") else "right")
    for row in results:
        median = {side: statistics.median(row[side]) for side in ("bare", "session", "ratio")}
        drawn.add_row(
            row["client"], str(row["in_flight"]), f"{median['bare']:.0f}", f"{median['session']:.0f}",
            f"{median['ratio']:.2f}", "█" * round(20 * min(median["ratio"], 1.5)),
        )  # fmt: skip
    return drawn


def measure(url: str, *, quick: bool) -> list[dict[str, Any]]:
    """Runs every client at every concurrency, with a progress bar."""
    rounds, requests = (3, 200) if quick else (9, 1_500)
    cases = [(name, in_flight) for name in CLIENTS for in_flight in (1, 32, 100)]
    results = []
    with Progress(console=Console(stderr=True)) as progress:
        for name, in_flight in progress.track(cases, description="measuring"):
            found = asyncio.run(ratios(CLIENTS[name], url, rounds=rounds, requests=requests, in_flight=in_flight))
            results.append({"client": name, "in_flight": in_flight, **found})
    return results


def main() -> int:
    """Measures, prints the table, and writes the figures if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds: shows that it runs, not how fast it is")
    parser.add_argument("--json", type=Path, help="write every round's figures to this file")
    arguments = parser.parse_args()
    # With the protocol named, asyncio turns Nagle's algorithm off; without, every call would wait 40 ms for an ACK.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(512)
        server = multiprocessing.get_context("fork").Process(target=serve, args=(listener,), daemon=True)
        server.start()
        try:
            results = measure(f"http://127.0.0.1:{listener.getsockname()[1]}", quick=arguments.quick)
        finally:
            server.terminate()
            server.join()
    Console().print(table(results))
    if arguments.json:
        about = {"wixvisitor": __version__, "httpx": httpx.__version__, "httpx2": httpx2.__version__}
        about |= {"python": platform.python_version(), "machine": platform.platform()}
        arguments.json.write_text(json.dumps({"about": about, "results": results}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
