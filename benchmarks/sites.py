"""What do many sites side by side cost, each with a client ID, a pool and a client of its own?"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any, Final

import httpx
import psutil
from rich.progress import Progress

from benchmarks.measuring import CART, ENVIRONMENT, Answer, Verdict, nginx
from wixvisitor import AccessToken, RefreshToken, TokenRole, Tokens, VisitorPool

SITES: Final = 200
LONGEST: Final = 2.0  # seconds
LARGEST: Final = 50.0  # MiB


async def of_sites(url: str) -> dict[str, float]:
    """Returns the seconds and MiB of as many sites, each of which has made a request and has its client open."""
    process, pools = psutil.Process(), list[VisitorPool]()
    await ask(VisitorPool(client_id(SITES), base_url=url))  # what is imported and made once
    gc.collect()
    before, began = process.memory_info().rss, time.perf_counter()
    for number in range(SITES):
        pools.append(VisitorPool(client_id(number), base_url=url))
        await ask(pools[-1])
    seconds = time.perf_counter() - began
    gc.collect()
    return {"seconds": seconds, "MiB": (process.memory_info().rss - before) / 2**20}


def client_id(number: int) -> str:
    return f"5e9c1d0a-7c1e-4a52-9d5e-{number:012x}"


async def ask(pool: VisitorPool) -> None:
    """One visitor's request; its tokens are there, since the token endpoint is not what is measured."""
    session = await pool.session("one")
    access = AccessToken("OauthNG.JWS." + "a" * 600, int(time.time()) + 14_400)
    await session.set_tokens(Tokens(access, RefreshToken("JWS." + "r" * 600, TokenRole.VISITOR)))
    (await session.get(CART)).raise_for_status()
    with suppress(httpx.ConnectError):  # no one listens there; what https takes has been made before
        await session.get("https://127.0.0.1:1/")


def measure(progress: Progress, *, quick: bool) -> Answer:  # noqa: ARG001 - it is quick
    """Measures in a process of its own, over loopback; https is made ready for use, without a handshake."""
    task = progress.add_task("sites", total=1)
    with nginx() as server:
        command = [sys.executable, "-m", "benchmarks.sites", server.url]
        said = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, env=ENVIRONMENT).stdout
    progress.advance(task)
    row: dict[str, Any] = {"sites": SITES, **json.loads(said)}
    what = f"{SITES} sites, a pool and a client each"
    return Answer(
        [row],
        [
            Verdict(what=what, beside="seconds", figure=row["seconds"], target=LONGEST, at_most=True, unit=" s"),
            Verdict(what=what, beside="memory", figure=row["MiB"], target=LARGEST, at_most=True, unit=" MiB"),
        ],
    )


if __name__ == "__main__":
    print(json.dumps(asyncio.run(of_sites(sys.argv[1]))))
