"""How much memory does an idle visitor take in a pool, beside the text of its tokens?"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import psutil
from rich.progress import Progress

from benchmarks import drawing
from benchmarks.measuring import ENVIRONMENT, Answer, Verdict
from wixvisitor import AccessToken, RefreshToken, TokenRole, Tokens, VisitorPool
from wixvisitor._renewal.lineage import Lineage
from wixvisitor._renewal.records import render

CLIENT_ID: Final = "5e9c1d0a-7c1e-4a52-9d5e-1f2a3b4c5d6e"
NUMBERS: Final = (100, 1_000, 10_000, 100_000)
TEXT: Final = 600 + 600  # characters of the two tokens
NAMES: Final = {
    "of_clients": "an httpx.AsyncClient each",
    "of_pool": "a pool's visitors",
    "of_memory_storage": "records in MemoryStorage",
    "of_both": "a pool's visitors and their records",
}

VERDICTS: Final = (  # the text of the tokens is counted once, also where the record holds it a second time
    ("its session held", "of_pool", 1_024),
    ("its record in MemoryStorage", "of_memory_storage", 1_024),
    ("both", "of_both", 2_048),
)


class Stored:
    """A store that makes the record that is asked for, and keeps nothing itself."""

    async def load(self, key: str) -> str:
        number = f"{key.rpartition(':')[2]:0>600}"
        access = AccessToken(number, int(time.time()) + 14_400)
        tokens = Tokens(access, RefreshToken(f"JWS.{number}"[-600:], TokenRole.VISITOR))
        return render(tokens, CLIENT_ID, lineage=Lineage(int(time.time() * 1000), random.getrandbits(48)))

    async def save(self, key: str, value: str) -> None:
        """Keeps nothing."""

    async def delete(self, key: str) -> None:
        """Keeps nothing."""


def resident() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


async def of_pool(number: int) -> float:
    """Returns the bytes that each visitor takes."""
    pool = VisitorPool(CLIENT_ID, storage=Stored())
    held: list[Any] = [await pool.session("warm")]
    before = resident()
    held += [await pool.session(str(key)) for key in range(number)]
    return (resident() - before) / number


async def in_memory(number: int, *, are_held: bool) -> float:
    """Returns the bytes that each visitor takes whose record is in the default storage, so in memory as well."""
    pool = VisitorPool(CLIENT_ID)
    held: list[Any] = [await pool.session("warm")]
    before = resident()
    for count in range(number):
        text = f"{count:0>600}"
        session = await pool.session(str(count))
        tokens = Tokens(AccessToken(text, 2**31), RefreshToken(f"JWS.{text}"[-600:], TokenRole.VISITOR))
        await session.set_tokens(tokens)
        if are_held:
            held.append(session)
    return (resident() - before) / number


async def of_memory_storage(number: int) -> float:
    """Nobody holds the sessions: what is left are the records."""
    return await in_memory(number, are_held=False)


async def of_both(number: int) -> float:
    """Sessions and records: the text of the tokens is there twice."""
    return await in_memory(number, are_held=True)


async def of_clients(number: int) -> float:
    """Returns the bytes that each of as many httpx clients takes: one for each visitor, as a first idea has it."""
    import httpx

    context = httpx.create_ssl_context()
    held: list[Any] = [httpx.AsyncClient(verify=context)]
    before = resident()
    held += [httpx.AsyncClient(verify=context) for _ in range(number)]
    return (resident() - before) / number


def measured(what: str, number: int) -> float:
    """Measures in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.memory", what, str(number)]
    said = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, env=ENVIRONMENT).stdout
    return float(json.loads(said))


def measure(progress: Progress, *, quick: bool) -> Answer:
    """Measures pools of several sizes, and httpx clients beside them."""
    numbers = NUMBERS[:3] if quick else NUMBERS
    answer = Answer()
    cases = {"of_clients": numbers[:2], "of_pool": numbers, "of_memory_storage": numbers[-1:], "of_both": numbers[-1:]}
    task = progress.add_task("memory", total=sum(map(len, cases.values())))
    for what, sizes in cases.items():
        for number in sizes:
            each = measured(what, number)
            row = {"what": NAMES[what], "visitors": number, "bytes each": each, "MiB in all": each * number / 2**20}
            answer.rows.append(row)
            progress.advance(task)
    answer.verdicts += [
        Verdict(
            what=f"memory of an idle visitor among {row['visitors']:,}, {how}",
            beside="the text of its tokens",
            figure=row["bytes each"] - TEXT,
            target=target,
            at_most=True,
            unit=" B",
        )
        for how, what, target in VERDICTS
        for row in answer.rows
        if (row["what"], row["visitors"]) == (NAMES[what], numbers[-1])
    ]
    return answer


def draw(answer: Answer, place: Path) -> None:
    """Draws memory by visitors, both scales logarithmic."""
    with drawing.chart(place / "memory", columns=1, height=2.8) as charts:
        for (axis,), look in charts:
            for what, color in ((NAMES["of_clients"], look.quiet), (NAMES["of_pool"], look.ours)):
                rows = [row for row in answer.rows if row["what"] == what]
                sizes = [row["MiB in all"] for row in rows]
                axis.plot([row["visitors"] for row in rows], sizes, marker="o", color=color, label=what)
            numbers = [row["visitors"] for row in answer.rows if row["what"] == NAMES["of_pool"]]
            text = [number * TEXT / 2**20 for number in numbers]
            axis.plot(numbers, text, "--", color=look.ink, label="the text of their tokens")
            axis.set(title="MiB in memory, by visitors", xscale="log", yscale="log")
            axis.legend(frameon=False, labelcolor=look.ink)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(globals()[sys.argv[1]](int(sys.argv[2])))))
