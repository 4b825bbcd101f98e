"""How long does it take to get the header of a fresh token?"""

from __future__ import annotations

import asyncio
import statistics
import time

from rich.progress import Progress

from benchmarks.measuring import Answer, Verdict, interleaved
from benchmarks.side import CLIENT_ID, TOKENS
from wixvisitor import VisitorSession

CALLS = 20_000


async def nanoseconds(case: str, session: VisitorSession) -> float:
    """Returns how long one takes, the loop included."""
    headers = {"Authorization": TOKENS.access_token.value}
    began = time.perf_counter()
    if case == "a dict lookup":
        for _ in range(CALLS):
            headers["Authorization"]
    else:
        for _ in range(CALLS):
            await session.auth_headers()
    return 1e9 * (time.perf_counter() - began) / CALLS


def measure(progress: Progress, *, quick: bool) -> Answer:
    """Measures both in turn."""
    session = VisitorSession(CLIENT_ID, tokens=TOKENS)
    cases = ("a dict lookup", "await session.auth_headers()")
    with asyncio.Runner() as runner:
        runner.run(session._refresher.load())
        found = interleaved(
            cases,
            lambda case: runner.run(nanoseconds(case, session)),
            rounds=3 if quick else 21,
            progress=progress,
            what="auth_headers",
        )
    figures = {case: statistics.median(found[case]) for case in cases}
    rows = [{"what": case, "ns": figure} for case, figure in figures.items()]
    verdict = Verdict(
        what=cases[1],
        beside=f"{cases[0]}: {figures[cases[0]]:.0f} ns",
        figure=figures[cases[1]],
        target=1_000,
        at_most=True,
        unit=" ns",
    )
    return Answer(rows, [verdict])
