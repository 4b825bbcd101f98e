"""Visitors move to another store while processes renew them and log them out, and the copying process is killed."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import attrs
import pytest

from tests.diagonal import ONLY_IN_CI
from wixvisitor.storage import VersionConflict
from wixvisitor.storage.moving import MovingStorage
from wixvisitor.storage.redis import RedisStorage
from wixvisitor.storage.sqlalchemy import SQLAlchemyStorage
from wixvisitor.storage.sqlite import SQLiteStorage

pytestmark = [pytest.mark.anyio, pytest.mark.machine]

GONE = "logged out"
TOP = Path(__file__).parents[2]


@pytest.fixture
def anyio_backend() -> str:
    """Servers are for asyncio only."""
    return "asyncio"


@attrs.define
class Done:
    """What a process has done, as its stores acknowledged it.

    Attributes:
        renewed: by key, the highest number that it has saved.
        logged_out: keys whose visitors it has logged out.
        renewals: how many.
        seconds: in how long.
        wrong: what must not be.
    """

    renewed: dict[str, int] = attrs.field(factory=dict)
    logged_out: set[str] = attrs.field(factory=set)
    renewals: int = 0
    seconds: float = 0.0
    wrong: list[str] = attrs.field(factory=list)


def live(old: Any, new: Any, number: int, line: Any, seed: int) -> None:
    """A process that renews every second visitor as fast as it can until it hears something, and logs some out."""
    asyncio.run(_live(MovingStorage(old, new), number, line, random.Random(seed)))


async def _live(storage: MovingStorage, number: int, line: Any, choice: random.Random) -> None:
    done, began = Done(), time.monotonic()

    async def work() -> None:
        while not line.poll():
            await _renew(storage, f"client:{2 * choice.randrange(number // 2)}", done, logs_out=choice.random() < 0.002)
            await asyncio.sleep(0)

    line.send("begun")
    async with storage:
        await asyncio.gather(*(work() for _ in range(8)))
    done.seconds = time.monotonic() - began
    line.send(done)


async def _renew(storage: MovingStorage, key: str, done: Done, *, logs_out: bool) -> None:
    before = done.renewed.get(key, 0), key in done.logged_out
    record = await storage.load(key)
    if record is None:
        done.wrong.append(f"{key} is lost")
    elif record.value == GONE:
        return
    elif before[1] or int(record.value) < before[0]:
        done.wrong.append(f"{key} has gone back to {record.value} from {before}")
    else:
        value = int(record.value) + 1
        with suppress(VersionConflict):
            await storage.save(key, GONE if logs_out else str(value), expected=record.version)
            if logs_out:
                done.logged_out.add(key)
            else:
                done.renewed[key] = max(value, done.renewed.get(key, 0))
                done.renewals += 1


async def moved(
    old: Any, new: Any, place: str, *options: str, number: int, kills: int, processes: int
) -> tuple[list[Done], dict[str, Any]]:
    """Moves them, and returns what the processes did and what the new store holds in the end."""
    async with old:
        for start in range(0, number, 500):
            keys = [f"client:{one}" for one in range(start, min(start + 500, number))]
            await asyncio.gather(*(old.save(key, "0") for key in keys))
    context = multiprocessing.get_context("spawn")
    workers = []
    for seed in range(processes):
        ours, theirs = context.Pipe()
        worker = context.Process(target=live, args=(old, new, number, theirs, seed), daemon=True)
        worker.start()
        workers.append((worker, ours))
    for _, line in workers:
        assert await anyio.to_thread.run_sync(line.recv) == "begun"
    copying = [sys.executable, "-m", "wixvisitor", "copy", f"sqlite:{old._path}", place, *options, "--json"]
    for attempt in range(kills):
        process = await anyio.to_thread.run_sync(lambda: subprocess.Popen(copying, cwd=TOP, stderr=subprocess.DEVNULL))
        await anyio.sleep(random.uniform(0.6, 1.6) if attempt else 1.2)
        process.send_signal(signal.SIGKILL)
        await anyio.to_thread.run_sync(process.wait)
    last = await anyio.to_thread.run_sync(
        lambda: subprocess.run(copying, cwd=TOP, capture_output=True, encoding="utf-8", timeout=300)
    )
    assert last.returncode == 0, last.stderr
    done = []
    for worker, line in workers:
        line.send("stop")
        done.append(await anyio.to_thread.run_sync(line.recv))
        worker.join()
    async with new:
        records = [await new.load(f"client:{one}") for one in range(number)]
    return done, {f"client:{one}": record for one, record in enumerate(records)}


def check(done: list[Done], records: dict[str, Any]) -> float:
    """Fails if a visitor or a logout was lost, or a renewal that was acknowledged. Returns the renewals a second."""
    assert [wrong for one in done for wrong in one.wrong] == []
    for key, record in records.items():
        assert record is not None, key
        logged_out = any(key in one.logged_out for one in done)
        assert logged_out == (record.value == GONE), key
        if not logged_out:
            assert int(record.value) >= max(one.renewed.get(key, 0) for one in done), key
    assert sum(one.renewals for one in done) > len(records) / 10
    return sum(one.renewals / one.seconds for one in done)


@ONLY_IN_CI
async def test_the_copying_process_is_killed(tmp_path: Path) -> None:
    """Killed amid its work and started again, it completes the move; no visitor, renewal or logout is lost."""
    old, new = SQLiteStorage(tmp_path / "old.db"), SQLiteStorage(tmp_path / "new.db")
    check(*await moved(old, new, f"{tmp_path}/new.db", number=400, kills=1, processes=1))


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["valkey", "postgresql"])
async def test_a_thousand_renewals_a_second(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The same with thousands of visitors, several processes at full speed, and eight kills."""
    old = SQLiteStorage(tmp_path / "old.db")
    new: Any
    if kind == "valkey":
        place, prefix = request.getfixturevalue("redis_url"), request.getfixturevalue("redis_prefix")
        new = RedisStorage(place, prefix=prefix, timeout=20.0)
    else:
        place, prefix = request.getfixturevalue("postgres").url("postgresql+psycopg"), "moved"
        new = SQLAlchemyStorage(place, prefix=prefix, timeout=20.0)
        await new.create_table()
    rate = check(*await moved(old, new, place, "--to-prefix", prefix, number=5_000, kills=8, processes=3))
    request.node.user_properties.append(("renewals a second", str(round(rate))))
