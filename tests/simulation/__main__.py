"""``python -m tests.simulation``: many seeds, with a progress bar; one seed, with everything that happened in it.

``python -m tests.simulation --seeds 10000`` is the nightly run. ``python -m tests.simulation 4711 --on trio`` replays.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .broken import BROKEN
from .runs import Report, replay_command, run, seeds_needed
from .scheduler import BACKENDS
from .world import KINDS, seeds_of

_CHUNK = 25  # seeds that a worker takes at a time


def main() -> int:
    """Runs what the command line says; 1 if an invariant did not hold."""
    arguments = _parser().parse_args()
    backends = [arguments.on] if arguments.on else list(BACKENDS)
    if arguments.mistakes:
        return _mistakes()
    if arguments.seed is not None:
        return max(_replay(arguments.seed, backend, arguments.broken) for backend in backends)
    seeds = itertools.count() if arguments.kind is None else seeds_of(arguments.kind)
    chosen = list(itertools.islice((seed for seed in seeds if seed >= arguments.start), arguments.seeds))
    return _many(chosen, backends, arguments.jobs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", type=int, nargs="?", help="replay this one, and print what happens in it")
    parser.add_argument("--seeds", type=int, default=300, help="how many (default 300)")
    parser.add_argument("--start", type=int, default=0, help="the first of them (default 0)")
    parser.add_argument("--kind", choices=sorted(set(KINDS)), help="worlds of one kind only")
    parser.add_argument("--on", choices=tuple(BACKENDS), help="one event loop only")
    parser.add_argument("--broken", choices=tuple(BROKEN), help="with a refresher that is broken on purpose")
    parser.add_argument("--mistakes", action="store_true", help="how many seeds each of those needs to be noticed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes to share the work")
    return parser


def _replay(seed: int, backend: str, broken: str | None) -> int:
    report = run(seed, backend, _broken(broken))
    print(f"{backend}: {report.scenario}", *report.trace, sep="\n")
    verdict = report.violation or "every invariant held"
    print(f"seed {seed} on {backend}: {report.steps:,} steps, {verdict}")
    return 1 if report.violation else 0


def _broken(name: str | None) -> AbstractContextManager[object]:
    return nullcontext() if name is None else BROKEN[name].patch()


def _mistakes() -> int:
    """Prints the table of the broken refreshers; 1 if one is not noticed."""
    print("| mistake | noticed by invariant | seeds on asyncio | on trio |", "|---|---|---|---|", sep="\n")
    unnoticed = 0
    for name, broken in BROKEN.items():
        needed = [seeds_needed(name, backend, 1_000)[0] for backend in BACKENDS]
        unnoticed += not all(needed)
        numbers = ", ".join(map(str, sorted(broken.caught_by)))
        print(f"| {name} | {numbers} | {' | '.join(map(str, needed))} |", flush=True)
    return 1 if unnoticed else 0


def _many(seeds: list[int], backends: list[str], jobs: int) -> int:
    """Runs all of them and prints the failures with the commands that replay them."""
    began, failed, steps, requests, slowest = time.monotonic(), [], 0, 0, 0.0
    bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with bar, ProcessPoolExecutor(jobs) as workers:
        task = bar.add_task("seeds", total=len(seeds) * len(backends))
        for reports in workers.map(_chunk, *zip(*_chunks(seeds, backends), strict=True)):
            for report in reports:
                steps += report.steps
                requests += report.requests
                slowest = max(slowest, report.slowest)
                if report.violation:
                    failed.append(report)
                    bar.print(f"{report.violation}\n  {replay_command(report.seed, report.backend)}")
            bar.update(task, advance=len(reports), description=f"seeds, {len(failed)} failed")
    seconds = time.monotonic() - began
    print(
        f"{len(seeds):,} seeds on {' and '.join(backends)}: {steps:,} steps, {requests:,} requests, "
        f"the slowest call {slowest:.0f} s; {len(failed)} failed, in {seconds:.0f} s"
    )
    return 1 if failed else 0


def _chunks(seeds: list[int], backends: list[str]) -> Iterator[tuple[list[int], str]]:
    for start in range(0, len(seeds), _CHUNK):
        for backend in backends:
            yield seeds[start : start + _CHUNK], backend


def _chunk(seeds: list[int], backend: str) -> list[Report]:
    return [run(seed, backend, keep_trace=False) for seed in seeds]


if __name__ == "__main__":
    sys.exit(main())
