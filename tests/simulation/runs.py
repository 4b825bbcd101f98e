"""One seed, run and told of: the same for the tests and the command line."""

from __future__ import annotations

import itertools
import traceback
from contextlib import AbstractContextManager, nullcontext

import attrs

from .broken import BROKEN
from .invariants import Violation
from .world import World, seeds_of


@attrs.frozen
class Report:
    """What became of one seed.

    Attributes:
        violation: the invariant that did not hold, "" if all did.
        number: its number, 0 for none.
        trace: what happened, a line each; () if it was not kept.
        steps: how many steps the tasks of all processes took.
        requests: how many calls left the processes, those for tokens included.
        slowest: seconds that the slowest call of a shopper took.
    """

    seed: int
    backend: str
    scenario: str
    violation: str
    number: int
    trace: tuple[str, ...]
    steps: int
    requests: int
    slowest: float


def run(
    seed: int, backend: str, refresher: AbstractContextManager[object] | None = None, *, keep_trace: bool = True
) -> Report:
    """Runs a seed, with the refresher as it is or with a broken one."""
    with refresher or nullcontext():
        world = World(seed, backend)
        try:
            world.run()
        except Violation as violation:
            text, number = str(violation), violation.number
        except Exception as error:
            text, number = f"a process, or the world, ended with {type(error).__name__}: {error}", 4
            world.watch.trace += traceback.format_exception(error)
        else:
            text, number = "", 0
    watch = world.watch
    trace = tuple(watch.trace) if keep_trace else ()
    counts = world.scheduler.steps, watch.requests, watch.slowest
    return Report(seed, backend, str(world.scenario), text, number, trace, *counts)


def seeds_needed(name: str, backend: str, most: int) -> tuple[int, str]:
    """Returns how many seeds it takes until this broken refresher violates the invariant that it should, and how.

    They are seeds of worlds of the kind that the mistake is about. Returns 0 if ``most`` are not enough.
    """
    broken = BROKEN[name]
    for number, seed in enumerate(itertools.islice(seeds_of(broken.kind), most), 1):
        report = run(seed, backend, broken.patch(), keep_trace=False)
        if report.number in broken.caught_by:
            return number, report.violation
    return 0, ""


def replay_command(seed: int, backend: str, broken: str = "") -> str:
    """What to type to see this seed again."""
    with_what = f' --broken "{broken}"' if broken else ""
    return f"python -m tests.simulation {seed} --on {backend}{with_what}"
