"""How long does it take to import wixvisitor, beside what it stands on?"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
from typing import Final

from rich.progress import Progress

from benchmarks.measuring import ENVIRONMENT, Answer, Verdict, interleaved, ratio

CASES: Final = (
    "pass",
    "import httpx, anyio, attrs",
    "import wixvisitor",
    "import httpx, asyncio",
    "import authlib.integrations.httpx_client",
)


def seconds_of(program: str) -> float:
    """Returns the processor time that a process takes which does only this."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program], check=True, env=ENVIRONMENT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(progress: Progress, *, quick: bool) -> Answer:
    """Measures whole processes; what Python itself takes to start is subtracted."""
    found = interleaved(CASES, seconds_of, rounds=5 if quick else 31, progress=progress, what="imports")
    net = {case: [took - start for took, start in zip(found[case], found["pass"], strict=True)] for case in CASES[1:]}
    rows = [{"program": case, "ms": 1_000 * statistics.median(net[case])} for case in CASES[1:]]
    beside = "import httpx, anyio, attrs"
    figure = ratio(net["import wixvisitor"], net[beside])
    return Answer(rows, [Verdict(what="import wixvisitor", beside=beside, figure=figure, target=1.10, at_most=True)])
