"""Does a request get slower when more visitors are alive?"""

from __future__ import annotations

import statistics
from typing import Final

from rich.progress import Progress

from benchmarks.measuring import Answer, Verdict, interleaved, nginx, python_side, ratio, sides

NUMBERS: Final = (10, 1_000, 100_000)


def measure(progress: Progress, *, quick: bool) -> Answer:
    """Measures pools of several sizes, each in a process of its own; the visitors ask in no order."""
    rounds, seconds, numbers = (3, 0.2, NUMBERS[:2]) if quick else (11, 0.8, NUMBERS)
    with nginx() as server, sides({str(n): python_side(f"pool {n}", server.url) for n in numbers}) as running:
        found = interleaved(
            numbers,
            lambda number: running[str(number)].ask(seconds=seconds, in_flight=32),
            rounds=rounds,
            progress=progress,
            what="many visitors",
        )
    rows = [{"live visitors": number, "requests/s": statistics.median(found[number])} for number in numbers]
    return Answer(
        rows,
        [
            Verdict(
                what=f"GET, {number:,} live visitors", beside="10", figure=ratio(found[number], found[10]), target=0.9
            )
            for number in numbers[1:]
        ],
    )
