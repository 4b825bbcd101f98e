"""A shop's life in fast motion, with faults all the time: ``python -m tests.faults.soak --seconds 1200 --seed 1``.

Three processes share their visitors over one Valkey. Their access tokens live 8 s, so that renewals never end, and
something goes wrong every second or two. In the end nobody may have become somebody else, and neither memory nor
descriptors may have grown. Ends with 1 if a visitor was lost, a call ended in no known way, or something grew; and if
too little happened to tell.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import attrs
from anyio.from_thread import start_blocking_portal
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tests.faults import chaos, soak_report
from tests.faults.measuring import Growth, Sample, growth, look_at
from tests.faults.town import CLIENT_ID, Town
from wixvisitor._records import parse
from wixvisitor.storage.redis import RedisStorage

WORKERS: Final = 3
CALM: Final = 10.0  # seconds without faults, before and after
GENERATIONS: Final = (0.0, 0.25, 0.5, 0.75)  # of the time, when new visitors come
FIRST, LATER = 50, 15  # how many at once
LEAST: Final = {"answers": 10.0, "renewals": 1.0, "faults": 0.25}  # a second; there are about 100, 8 and 0.7


@attrs.define
class Soak:
    """What is found out.

    Attributes:
        wrong: what should not have happened; nothing, if all is well.
        truth: what Wix says of the visitors in the end.
        longest_recovery: seconds until every visitor was served again, after the last fault.
    """

    seed: int
    seconds: float
    troubles: tuple[chaos.Trouble, ...] = ()
    samples: list[Sample] = attrs.field(factory=list)
    happened: Counter[str] = attrs.field(factory=Counter)
    ended: Counter[str] = attrs.field(factory=Counter)
    growths: list[Growth] = attrs.field(factory=list)
    truth: dict[str, Any] = attrs.field(factory=dict)
    longest_recovery: float = 0.0
    wrong: list[str] = attrs.field(factory=list)

    def births(self) -> dict[str, float]:
        """For each key, from when on somebody shops under it."""
        now, whole = time.time(), self.seconds + 2 * CALM
        return {
            f"shopper-{generation}-{number}": now + part * whole
            for generation, part in enumerate(GENERATIONS)
            for number in range(LATER if generation else FIRST)
        }

    async def run(self, town: Town, progress: Progress) -> None:
        """Lives through the schedule."""
        keys = tuple(town.births)
        self.troubles = chaos.plan(self.seed, self.seconds, workers=WORKERS, keys=keys[:FIRST])
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(self._watch(town, progress, began))
            await asyncio.sleep(CALM)
            async with asyncio.TaskGroup() as troubles:
                for number, trouble in enumerate(self.troubles):  # one may begin before the last has ended
                    await asyncio.sleep(max(0.0, began + CALM + trouble.at - time.monotonic()))
                    self.happened[trouble.kind] += 1
                    troubles.create_task(chaos.befall(town, number, trouble))
            await asyncio.sleep(CALM)
            watching.cancel()
        await self._judge(town, keys)

    async def _watch(self, town: Town, progress: Progress, began: float) -> None:
        task = progress.add_task("", total=self.seconds + 2 * CALM)
        while True:
            await asyncio.sleep(1.0)
            at = time.monotonic() - began
            found = await asyncio.to_thread(_look, town, at)
            self.samples.extend(found)
            seen = await asyncio.to_thread(town.wix.ask, "look")
            said = f"{seen['requests']:,} requests, {seen['renewals']:,} renewals, {self.happened.total()} faults"
            progress.update(task, completed=at, description=f"{said}, {len(seen['lost'])} lost")

    async def _judge(self, town: Town, keys: tuple[str, ...]) -> None:
        finished = await asyncio.gather(*(asyncio.to_thread(worker.finish, keys) for worker in town.workers))
        self.longest_recovery = max(one.seconds for one in finished)
        for worker, one in zip(town.workers, finished, strict=True):
            self.ended.update(worker.tally)
            self.wrong += worker.wrong
            self.wrong += [
                f"{key} is not served any more: {answer}" for key, answer in one.answers.items() if answer not in OK
            ]
            self.wrong += [f"worker {worker.number} has left a task: {name}" for name in one.tasks]
            if one.descriptors > 0:
                self.wrong.append(f"worker {worker.number} has left {one.descriptors} descriptors")
        self.truth = town.wix.ask("compare", stored=await _stored(town, keys))
        self.wrong += self.truth["lost"]
        self.growths = [growth(self.samples, name, calm=CALM) for name in (soak_report.SURVIVOR, "Wix")]
        self.wrong += self.growths[0].complaints  # the stand-in remembers every visitor, and is not what is tested
        self.wrong += self._too_little()

    def _too_little(self) -> list[str]:
        """Returns what there was too little of for the verdict to say anything."""
        had = self.truth | {"faults": self.happened.total()}
        least = {name: rate * self.seconds for name, rate in LEAST.items()}
        return [f"only {had[name]} {name}, {some:g} are too few" for name, some in least.items() if had[name] <= some]


OK: Final = ("200", "404")


def _look(town: Town, at: float) -> list[Sample]:
    """Looks at every process."""
    now = time.monotonic()
    pids = [(f"worker {worker.number}", worker.pid, now - worker.since) for worker in town.workers]
    pids.append(("Wix", town.wix.process.pid, at))
    if town.valkey.process is not None:
        pids.append(("Valkey", town.valkey.process.pid, at))
    return [one for name, pid, age in pids if (one := look_at(pid, name, at, age)) is not None]


async def _stored(town: Town, keys: tuple[str, ...]) -> dict[str, str]:
    """Returns what Valkey holds: for each key its refresh token."""
    storage, found = RedisStorage(town.valkey.url, timeout=5.0), {}
    for key in keys:
        record = await storage.load(f"{CLIENT_ID}:{key}")
        if record is not None:
            found[key] = parse(record.value, CLIENT_ID).refresh_token.value
    await storage.aclose()
    return found


def main() -> int:
    """Returns 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long there are faults (default 60)")
    parser.add_argument("--seed", type=int, default=1, help="makes the schedule (default 1)")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--charts", type=Path, help="draw memory and descriptors into this directory")
    given = parser.parse_args()
    soak, console = Soak(given.seed, given.seconds), Console(width=None if sys.stdout.isatty() else 120)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with tempfile.TemporaryDirectory() as place, start_blocking_portal() as portal:
        with Progress(*columns, console=Console(stderr=True)) as progress:
            town = Town.found(Path(place), portal, soak.births(), workers=WORKERS, seed=given.seed)
            try:
                asyncio.run(soak.run(town, progress))
            finally:
                town.close()
    soak_report.show(soak, console)
    if given.json:
        soak_report.write(soak, given.json)
    if given.charts:
        soak_report.draw(soak, given.charts)
    return int(bool(soak.wrong))


if __name__ == "__main__":
    sys.exit(main())
