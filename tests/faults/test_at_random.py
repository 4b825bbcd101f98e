"""Processes that share their visitors and are hurt at random moments, on every store.

What happens at each single step of a renewal is in ``tests/storage/test_across_processes.py`` (killed and stopped).
Here no test chooses the moment. Other seeds: ``WIXVISITOR_FAULT_SEEDS=3,4,5``.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import pytest

from tests.faults.chaos import PROXY
from tests.faults.town import Worker
from tests.faults.truth import Truth
from tests.faults.worker import Finished, Life
from tests.storage.visitor_process import open_store
from wixvisitor._renewal.records import parse
from wixvisitor.testing import FakeWix

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.faults,
    pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals"),
]

SEEDS = [int(seed) for seed in os.environ.get("WIXVISITOR_FAULT_SEEDS", "1,2").split(",")]
WORKERS = 3
FAULTS = 18
GAP = 0.25  # seconds between two, on average
PATIENCE = 6.0  # seconds for which a process may mint, because it was stopped after it had seen that nobody is there
KINDS = ("SIGKILL", "SIGSTOP", "block", "full disk", "no descriptors")


@attrs.define
class Shops:
    """The processes, and their ways to a store that is shared."""

    workers: list[Worker]
    proxies: list[Any]
    store: tuple[str, dict[str, Any]]

    async def suffer(self, chance: random.Random) -> Counter[str]:
        """Hurts them, one after the other and several at once."""
        kinds = (*KINDS, *PROXY) if self.proxies else KINDS
        happened = Counter[str]()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(FAULTS):
                await asyncio.sleep(chance.expovariate(1 / GAP))
                kind, number = chance.choice(kinds), chance.randrange(WORKERS)
                happened[kind] += 1
                tasks.create_task(self._hurt(kind, number, chance.uniform(0.1, 2.0)))
        return happened

    async def _hurt(self, kind: str, number: int, seconds: float) -> None:
        worker = self.workers[number]
        if kind in PROXY:
            await PROXY[kind](self.proxies[number], seconds=seconds)
            return
        async with worker.lock:
            if kind == "SIGKILL":
                await asyncio.to_thread(worker.kill)
                await asyncio.to_thread(worker.start)
            elif kind == "SIGSTOP":
                worker.signal(signal.SIGSTOP)
                await asyncio.sleep(seconds)
                worker.signal(signal.SIGCONT)
            else:
                worker.order(kind, seconds)
                await asyncio.sleep(seconds)


@pytest.fixture(params=["file", "sqlite", "redis"])
def ways(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[list[Any], list[tuple[str, dict[str, Any]]]]:
    """The proxies before a store, if it has any, and the store as each worker and the test reach it."""
    if request.param != "redis":
        path = f"{tmp_path}/visitors" + ("/" if request.param == "file" else ".db")
        return [], [(request.param, {"path": path})] * (WORKERS + 1)
    url, prefix = request.getfixturevalue("redis_url"), request.getfixturevalue("redis_prefix")
    proxies = [request.getfixturevalue("proxy")(urlsplit(url).port) for _ in range(WORKERS)]
    urls = [*(proxy.url for proxy in proxies), url]
    return proxies, [("redis", {"url_or_client": one, "prefix": prefix, "timeout": 1.0}) for one in urls]


@pytest.mark.parametrize("seed", SEEDS)
async def test_hurt_at_random(
    processes: Any, client_id: str, ways: Any, seed: int, request: pytest.FixtureRequest
) -> None:
    """Killed, stopped, blocked, without room or descriptors or store: each key stays one visitor, and all recover."""
    chance, (proxies, stores) = random.Random(seed), ways
    fake = FakeWix(access_token_lifetime=2)
    births = {f"shopper-{number}": time.time() for number in range(8)}
    truth = Truth(PATIENCE)
    for key, birth in births.items():
        truth.expect(key, birth)
    async with fake.serve() as url:
        workers = [
            Worker(processes, number, _life(client_id, url, store, births, seed * 10 + number))
            for number, store in enumerate(stores[:WORKERS])
        ]
        try:
            for worker in workers:
                await asyncio.to_thread(worker.start)
            shops = Shops(workers, proxies, stores[-1])
            happened = await shops.suffer(chance)
            verdicts = await asyncio.gather(*(asyncio.to_thread(worker.judge) for worker in workers))
            finished = [await asyncio.to_thread(worker.finish, tuple(births)) for worker in workers]
        finally:
            for worker in workers:
                worker.kill()
    truth.read(fake.calls)
    truth.compare(await _stored(stores[-1], client_id, tuple(births), fake))
    wrong = [*truth.lost, *(text for worker in workers for text in worker.wrong), *_unwell(finished)]
    wrong += [text for verdict in verdicts for text in verdict.wrong]
    again = f"WIXVISITOR_FAULT_SEEDS={seed} python -m pytest '{request.node.nodeid}'"
    assert not wrong, "\n".join([*wrong, str(dict(happened)), f"again: {again}"])
    assert truth.owners.keys() == births.keys()
    assert truth.answers > 100, again


def _life(client_id: str, url: str, store: tuple[str, dict[str, Any]], births: dict[str, float], seed: int) -> Life:
    return Life(
        client_id=client_id,
        url=url,
        store=store,
        births=births,
        seed=seed,
        renew_timeout=1.0,
        pause=0.05,
        collects=True,
    )


def _unwell(finished: list[Finished]) -> list[str]:
    """What is wrong with processes that ended."""
    said = [
        f"{key}: {answer}" for one in finished for key, answer in one.answers.items() if answer not in ("200", "404")
    ]
    said += [f"a task is left: {name}" for one in finished for name in one.tasks]
    return said + [f"{one.descriptors} descriptors are left" for one in finished if one.descriptors > 0]


async def _stored(
    store: tuple[str, dict[str, Any]], client_id: str, keys: tuple[str, ...], fake: FakeWix
) -> dict[str, str]:
    """For each key, whose record the store has."""
    storage, found = open_store(*store), {}
    for key in keys:
        record = await storage.load(f"{client_id}:{key}")
        if record is not None:
            token = parse(record.value, client_id).refresh_token.value
            found[key] = fake._visitors.refresh_tokens[token].visitor.id
    if hasattr(storage, "aclose"):
        await storage.aclose()
    return found
