"""How long does it take to import wixvisitor and its APIs, beside what they stand on, and what does its plugin add?"""

from __future__ import annotations

import pkgutil
import resource
import statistics
import subprocess
import sys
import tempfile
from typing import Final

from rich.progress import Progress

from benchmarks.measuring import ENVIRONMENT, Answer, Verdict, interleaved, ratio
from wixvisitor import apis

SESSION: Final = "from wixvisitor import VisitorSession"
API_MODULES: Final = tuple(
    one.name
    for one in pkgutil.walk_packages(apis.__path__, "wixvisitor.apis.")
    if not one.ispkg and one.name.count(".") == 3 and not one.name.endswith(("_types", "_arguments"))
)
ALL_APIS: Final = f"{SESSION}; import {', '.join(API_MODULES)}"
CASES: Final = (
    "pass",
    "import httpx, anyio, attrs",
    "import wixvisitor",
    SESSION,
    ALL_APIS,
    "import typing",
    "import httpx, asyncio",
    "import authlib.integrations.httpx_client",
)
PYTEST: Final = {
    "pytest, bare": (),
    "pytest with the plugin": ("-p", "wixvisitor.testing.plugin"),
}


def seconds_of(program: str, *more: str) -> float:
    """Returns the processor time of a process that runs only this program."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", program, *more]
    subprocess.run(command, check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def seconds_of_pytest(case: str) -> float:
    """Returns the processor time of a pytest run that finds no test, with no other plugin than pytest's own."""
    program = (
        "import os, sys, pytest; os.environ['PYTEST_DISABLE_PLUGIN_AUTOLOAD'] = '1';"
        "pytest.main(['-q', '-p', 'no:cacheprovider', '--rootdir', sys.argv[1], *sys.argv[1:]])"
    )
    with tempfile.TemporaryDirectory() as empty:
        return seconds_of(program, empty, *PYTEST[case])


def measure(progress: Progress, *, quick: bool) -> Answer:
    """Measures whole processes. What Python itself takes to start is subtracted from the imports."""
    rounds = 5 if quick else 31
    found = interleaved(CASES, seconds_of, rounds=rounds, progress=progress, what="imports")
    net = {case: [took - start for took, start in zip(found[case], found["pass"], strict=True)] for case in CASES[1:]}
    starts = interleaved(tuple(PYTEST), seconds_of_pytest, rounds=rounds, progress=progress, what="pytest's start")
    added_by_apis = [(every - one) / len(API_MODULES) for every, one in zip(net[ALL_APIS], net[SESSION], strict=True)]
    shown = f"each of {len(API_MODULES)} API modules, after VisitorSession"
    net[shown] = added_by_apis
    del net[ALL_APIS]
    rows = [{"program": name, "ms": 1_000 * statistics.median(took)} for name, took in (net | starts).items()]
    beside, (bare, with_plugin) = "import httpx, anyio, attrs", starts.values()
    verdicts = [
        Verdict(what=what, beside=beside, figure=ratio(net[what], net[beside]), target=target, at_most=True)
        for what, target in (("import wixvisitor", 1.10), (SESSION, 1.15))
    ]
    typing = {"beside": "import typing", "figure": ratio(added_by_apis, net["import typing"]), "target": 1.0}
    verdicts.append(Verdict(what=shown, **typing, at_most=True))
    added = 1_000 * statistics.median(ours - theirs for ours, theirs in zip(with_plugin, bare, strict=True))
    start = {"what": "pytest's start with the plugin", "beside": "pytest's bare start", "at_most": True}
    verdicts += [
        Verdict(**start, figure=ratio(with_plugin, bare), target=1.15),
        Verdict(**start, figure=added, target=50, unit=" ms"),
    ]
    return Answer(rows, verdicts)
