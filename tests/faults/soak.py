"""A shop's life in fast motion, with faults all the time: ``python -m tests.faults.soak --seconds 1200 --seed 1``.

Four processes share their visitors over one Valkey, each with another kind of client; a fifth one runs on trio. Their
access tokens live 8 s, so that renewals never end. Faults come in gusts of one to four. After each gust every process
says whether its visitors are served in time, and whether the sockets of a storm are closed. In the end nobody may have
become somebody else, and neither memory nor descriptors may have grown. Ends with 1 if a visitor was lost or not served
in time, a call ended in no known way, or something grew; and if too little happened to tell.
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

from tests.constants import CLIENT_ID
from tests.faults import chaos, soak_report
from tests.faults.measuring import Growth, Sample, growth, look_at
from tests.faults.recovery import SERVED
from tests.faults.town import Town, is_on_trio
from tests.storage.visitor_process import open_store
from wixvisitor._renewal.records import parse
from wixvisitor.storage.redis import RedisStorage

CALM: Final = 10.0  # seconds without faults, before and after
WARMING: Final = 2.0  # seconds of storms before anything is measured
GENERATIONS: Final = (0.0, 0.25, 0.5, 0.75)  # of the time, when new visitors come
FIRST, LATER, ON_TRIO = 50, 15, 12  # how many at once
LEAST: Final = {"answers": 10.0, "renewals": 1.0, "faults": 0.2, "judgements": 0.05}  # a second


@attrs.define
class Soak:
    """What is found out.

    Attributes:
        wrong: what should not have happened; nothing, if all is well.
        began: for each fault, when it began, in seconds from the beginning.
        judgements: after how many gusts all processes were asked for their visitors.
        judged: how many visitors were asked for, by kind of client.
        late: the most seconds that a visitor was served after the end of its pause, or of the gust.
        truth: what Wix says of the visitors in the end.
        longest_recovery: seconds until every visitor was served again, after the last fault.
    """

    seed: int
    seconds: float
    began: list[float] = attrs.field(factory=list)
    judgements: int = 0
    judged: Counter[str] = attrs.field(factory=Counter)
    late: float = 0.0
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
        births = {
            f"shopper-{generation}-{number}": now + part * whole
            for generation, part in enumerate(GENERATIONS)
            for number in range(LATER if generation else FIRST)
        }
        return births | dict.fromkeys((f"trio-{number}" for number in range(ON_TRIO)), now)

    async def run(self, town: Town, progress: Progress) -> None:
        """Lives through gusts of faults."""
        keys = tuple(town.births)
        known = (*keys[:FIRST], *(key for key in keys if is_on_trio(key)))
        gusts = chaos.gusts(self.seed, workers=len(town.workers), keys=known)
        for worker in town.workers:  # so that their stores have opened all the connections that they keep
            worker.order("leave", WARMING)
        await asyncio.sleep(WARMING + 1)
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(self._watch(town, progress, began))
            await asyncio.sleep(CALM)
            while time.monotonic() < began + CALM + self.seconds:
                await self._suffer(town, next(gusts), began)
            await asyncio.sleep(CALM)
            watching.cancel()
        await self._judge(town, keys)

    async def _suffer(self, town: Town, gust: tuple[chaos.Trouble, ...], began: float) -> None:
        """Lives through faults that go together, and has all processes judge what is left of them."""
        async with asyncio.TaskGroup() as troubles:
            for trouble in gust:
                await asyncio.sleep(trouble.after)
                self.began.append(time.monotonic() - began)
                self.happened[trouble.kind] += 1
                troubles.create_task(chaos.befall(town, len(self.began), trouble))
        concerned = tuple(dict.fromkeys(trouble.key for trouble in gust))
        verdicts = await asyncio.gather(*(asyncio.to_thread(worker.judge, concerned) for worker in town.workers))
        self.judgements += 1
        kinds = [trouble.kind for trouble in gust]
        for worker, verdict in zip(town.workers, verdicts, strict=True):
            self.judged[worker.name] += len(verdict.served) + len(verdict.wrong)
            self.late = max(self.late, verdict.late)
            self.wrong += [f"{worker.name}, after {', '.join(kinds)}: {text}" for text in verdict.wrong]

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
        finished = await asyncio.gather(*(asyncio.to_thread(worker.finish) for worker in town.workers))
        self.longest_recovery = max(one.seconds for one in finished)
        for worker, one in zip(town.workers, finished, strict=True):
            self.ended.update(worker.tally)
            self.wrong += worker.wrong
            self.wrong += [
                f"{key} is not served any more: {answer}" for key, answer in one.answers.items() if answer not in SERVED
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
        had = self.truth | {"faults": self.happened.total(), "judgements": self.judgements}
        least = {name: rate * self.seconds for name, rate in LEAST.items()}
        return [f"only {had[name]} {name}, {some:g} are too few" for name, some in least.items() if had[name] <= some]


def _look(town: Town, at: float) -> list[Sample]:
    """Looks at every process."""
    now = time.monotonic()
    pids = [(f"worker {worker.number}", worker.pid, now - worker.since) for worker in town.workers]
    pids.append(("Wix", town.wix.process.pid, at))
    if town.valkey.process is not None:
        pids.append(("Valkey", town.valkey.process.pid, at))
    return [one for name, pid, age in pids if (one := look_at(pid, name, at, age)) is not None]


async def _stored(town: Town, keys: tuple[str, ...]) -> dict[str, str]:
    """Returns what the stores hold: for each key its refresh token."""
    shared, own, found = RedisStorage(town.valkey.url, timeout=5.0), open_store(*town.on_trio), {}
    for key in keys:
        record = await (own if is_on_trio(key) else shared).load(f"{CLIENT_ID}:{key}")
        if record is not None:
            found[key] = parse(record.value, CLIENT_ID).refresh_token.value
    await shared.aclose()
    await own.aclose()
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
            town = Town.found(Path(place), portal, soak.births(), seed=given.seed)
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
