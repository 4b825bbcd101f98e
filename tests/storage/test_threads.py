"""The storages' own threads: what hangs in one place delays no other, and nothing is left behind."""

from __future__ import annotations

import contextvars
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from wixvisitor import StorageError, VisitorPool
from wixvisitor.storage import FileStorage
from wixvisitor.storage import _threads as threads_module
from wixvisitor.storage._threads import Threads
from wixvisitor.storage.sqlite import SQLiteStorage
from wixvisitor.testing import FakeWix

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.anyio


@pytest.fixture
def threads() -> Threads:
    return Threads()


@pytest.fixture
def hang() -> Iterator[Callable[[], None]]:
    """A call that hangs until the test ends."""
    end = threading.Event()
    yield lambda: end.wait(30) and None
    end.set()


def ours() -> int:
    return sum(thread.name == "wixvisitor: storage" for thread in threading.enumerate())


async def test_results_and_errors(threads):
    """A call's result is returned, its exception is raised where it was called, and its context is the caller's."""
    name = contextvars.ContextVar("name", default="nobody")
    name.set("caller")
    assert await threads.run("lane", name.get) == "caller"
    with pytest.raises(ZeroDivisionError):
        await threads.run("lane", lambda: 1 / 0)


async def test_a_lane_is_in_order(threads):
    """Calls of one lane are made one at a time, in the order in which they came."""
    came: list[int] = []
    made: list[int] = []
    inside = threading.Lock()

    def call(number: int) -> None:
        assert inside.acquire(blocking=False)
        time.sleep(0.001)
        made.append(number)
        inside.release()

    async def come(number: int) -> None:
        came.append(number)
        await threads.run("lane", lambda: call(number))

    async with anyio.create_task_group() as tasks:
        for number in range(30):
            tasks.start_soon(come, number)
    assert made == came


@pytest.mark.parametrize("number", [1, 8, 20])
async def test_lanes_that_hang(threads, hang, number):
    """However many lanes hang, another one is served within a second, and goes on being served at once."""
    async with anyio.create_task_group() as tasks:
        for lane in range(number):
            tasks.start_soon(threads.run, lane, hang)
        await anyio.wait_all_tasks_blocked()
        for _ in range(3):
            with anyio.fail_after(1):
                assert await threads.run("another", lambda: "served") == "served"
        tasks.cancel_scope.cancel()


async def test_few_threads(threads, monkeypatch):
    """A thousand short calls in as many lanes are made by a few threads."""
    monkeypatch.setattr(threads_module, "_LONG", 60.0)  # on a busy machine a thread seems to hang, and gets company
    before, most = ours(), 0

    def call() -> None:
        nonlocal most
        most = max(most, ours() - before)

    async with anyio.create_task_group() as tasks:
        for lane in range(1000):
            tasks.start_soon(threads.run, lane, call)
    assert 1 <= most <= 8


async def test_threads_that_are_all_lost(threads, hang, monkeypatch):
    """When as many calls hang as there may be threads, a caller can still leave, and is served when one comes back."""
    monkeypatch.setattr(threads_module, "_IN_ALL", 10)
    back = threading.Event()
    async with anyio.create_task_group() as tasks:
        for lane in range(9):
            tasks.start_soon(threads.run, lane, hang)
        tasks.start_soon(threads.run, "comes back", lambda: back.wait(30))
        await anyio.sleep(0.5)
        with anyio.move_on_after(0.3) as scope:
            await threads.run("another", lambda: None)
        assert scope.cancelled_caught
        back.set()
        with anyio.fail_after(5):
            assert await threads.run("another", lambda: "served") == "served"
        tasks.cancel_scope.cancel()


async def test_who_leaves(threads):
    """A caller that leaves does so at once; its call goes on, and the lane's next one waits for it."""
    go_on, made = threading.Event(), []

    def first() -> None:
        go_on.wait(10)
        made.append("first")

    with anyio.fail_after(2):
        with anyio.move_on_after(0.05):
            await threads.run("lane", first)
        with anyio.move_on_after(0.05):
            await threads.run("lane", lambda: made.append("never begun"))
    go_on.set()
    await threads.run("lane", lambda: made.append("last"))
    assert made == ["first", "last"]


async def test_idle_threads_end(threads, monkeypatch, until):
    """Threads without work end, and later calls get new ones."""
    monkeypatch.setattr(threads_module, "_IDLE", 0.01)
    before = ours()
    for _ in range(2):
        assert await threads.run("lane", lambda: ours() > before)
        await until(lambda: ours() <= before)


async def test_no_further_thread_to_be_had(threads, monkeypatch):
    """Where the system starts no further thread, the one that there is makes the next call as well."""
    go_on, start = threading.Event(), threading.Thread.start

    def refuse(self: threading.Thread) -> None:
        if self.name == "wixvisitor: storage":
            raise RuntimeError("can't start new thread")
        start(self)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(threads.run, "first", lambda: go_on.wait(20))
            await anyio.wait_all_tasks_blocked()
            monkeypatch.setattr(threading.Thread, "start", refuse)
            tasks.start_soon(threads.run, "second", lambda: None)
            await anyio.sleep(0.3)  # longer than a thread may take before another one is tried
            go_on.set()


async def test_no_thread_to_be_had(threads, monkeypatch):
    """Where the system starts no thread the call is a StorageError, and the next one works when it does."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for _ in range(2):
            with pytest.raises(StorageError, match="thread"):
                await threads.run("lane", lambda: None)
    assert await threads.run("lane", lambda: "served") == "served"


async def test_nothing_stays_in_the_loop(tmp_path, still: FakeWix, client_id):
    """Three hundred pools and stores that are gone leave nothing in the event loop, which lives on."""

    async def use(number: int) -> None:
        for storage in (SQLiteStorage(tmp_path / f"{number % 3}.db"), FileStorage(f"{tmp_path}/{number % 3}/")):
            async with VisitorPool(client_id, storage=storage, client=still.client(), clock=still.now) as pool:
                await pool.session("visitor")
            if isinstance(storage, SQLiteStorage):
                await storage.aclose()

    def kept() -> int:
        gc.collect()
        names = ("CapacityLimiter", "SQLiteStorage", "FileStorage", "VisitorPool", "OpenFile", "Event", "Making")
        return sum(type(one).__name__ in names for one in gc.get_objects())

    for number in range(6):
        await use(number)
    before = kept()
    for number in range(150):
        await use(number)
    with anyio.fail_after(10):
        while kept() > before:  # noqa: ASYNC110 - a thread may just be letting go of its last call, and tells nobody
            await anyio.sleep(0.01)


@pytest.mark.parametrize("kind", ["file", "sqlite"])
async def test_handlers_that_fill_the_other_threads(tmp_path, kind):
    """While an application has all threads of anyio's default limiter, the storages work."""
    storage: Any = FileStorage(tmp_path / "v.json") if kind == "file" else SQLiteStorage(tmp_path / "v.db")
    limiter, go_on = anyio.to_thread.current_default_thread_limiter(), threading.Event()
    async with anyio.create_task_group() as tasks:
        for _ in range(int(limiter.total_tokens)):
            tasks.start_soon(anyio.to_thread.run_sync, go_on.wait, 30)
        await anyio.sleep(0.05)
        assert limiter.available_tokens == 0
        try:
            with anyio.fail_after(5):
                await storage.save("key", "value")
                assert (await storage.load("key")).value == "value"
        finally:
            go_on.set()
    if kind == "sqlite":
        await storage.aclose()


def run(program: str, *arguments: object, seconds: float = 20) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", program, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=seconds, env=environment)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


HANGS = """
import sys, threading, anyio
from wixvisitor.storage._threads import THREADS

async def main():
    with anyio.move_on_after(0.1):
        await THREADS.run("lane", threading.Event().wait)
    print(await THREADS.run("another", lambda: "served"))

anyio.run(main, backend=sys.argv[1])
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_program_that_ends_while_a_call_hangs(backend):
    """A call that hangs for ever keeps neither the event loop nor the program from ending."""
    assert run(HANGS, backend) == "served\n"


LEAVES = """
import sys, time, anyio
from pathlib import Path
from wixvisitor.storage._threads import THREADS

async def main():
    with anyio.move_on_after(0.1):
        await THREADS.run("lane", lambda: (time.sleep(0.4), Path(sys.argv[1]).write_text("whole")))

anyio.run(main)
"""


def test_a_program_that_ends_in_the_middle_of_a_call(tmp_path):
    """A call under way is made to its end, though its caller has left and the program ends."""
    run(LEAVES, tmp_path / "file")
    assert (tmp_path / "file").read_text("utf-8") == "whole"


FORKS = """
import importlib, os, signal, sys, threading, time, warnings
import anyio, anyio.lowlevel, anyio.to_thread
from wixvisitor.storage import FileStorage, MemoryStorage
from wixvisitor.storage._threads import THREADS
from wixvisitor.storage.sqlite import SQLiteStorage

warnings.simplefilter("ignore")
kind, place, backend = sys.argv[1:]
importlib.import_module(f"anyio._backends._{backend}")  # a fork amid an import hangs, whose import it is
store = {"file": FileStorage, "sqlite": SQLiteStorage, "memory": lambda _: MemoryStorage()}[kind](place)
stop = False

def own_thread(number):
    async def busy():
        while not stop:
            await store.save(f"k{number}", "value")
            await store.acquire_lease(f"k{number}", "h", 5)
            await store.release_lease(f"k{number}", "h")
            if kind == "memory":  # not anyio's sleep: sniffio imports at each call, and a fork amid an import hangs
                time.sleep(0.0001)
    anyio.run(busy, backend=backend)

workers = [threading.Thread(target=own_thread, args=(number,)) for number in range(3)]
for worker in workers: worker.start()
threading.Thread(target=anyio.run, args=(THREADS.run, "lane", lambda: time.sleep(60)), daemon=True).start()
time.sleep(0.3)

async def use():
    with anyio.fail_after(10):
        await store.save("child", "value")
        assert await store.acquire_lease("k0", "child", 5) < 6
        assert (await store.load("child")).value == "value"

children = []
for _ in range(10):
    child = os.fork()
    if not child:
        signal.alarm(15)
        anyio.run(use, backend=backend)
        os._exit(0)
    children.append(child)
    time.sleep(0.02)
print([os.waitpid(child, 0)[1] for child in children].count(0), flush=True)
stop = True
for worker in workers: worker.join()
os._exit(0)
"""


@pytest.mark.machine
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("kind", ["file", "sqlite", "memory"])
def test_forked_amid_calls(tmp_path, kind, backend):
    """Children that are forked while threads are inside the storage, one of them for ever, use it at once."""
    place = f"{tmp_path}/visitors/" if kind == "file" else tmp_path / "visitors.db"
    assert run(FORKS, kind, place, backend, seconds=60) == "10\n"


async def test_a_call_that_takes_too_long(threads, hang):
    """The caller of a call that hangs waits as long as it said, as do others of the same lane; no other one waits."""
    errors: list[StorageError] = []

    async def wait(lane: str, work: Callable[[], None], seconds: float) -> None:
        with pytest.raises(StorageError, match=f"within {seconds:g} s") as caught:
            await threads.run(lane, work, seconds=seconds)
        errors.append(caught.value)

    made: list[int] = []
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, "stuck", hang, 0.3)
            await anyio.wait_all_tasks_blocked()  # trio starts tasks in any order
            tasks.start_soon(wait, "stuck", lambda: made.append(1), 0.4)
            tasks.start_soon(wait, "other", hang, 0.01)
            assert await threads.run("free", lambda: 1, seconds=5.0) == 1
    assert len(errors) == 3
    assert made == []


async def test_a_time_limit_is_the_calls_own(threads):
    """A limit that has passed since, of a call that has ended, ends no later call."""
    assert await threads.run("lane", lambda: 1, seconds=0.05) == 1
    assert await threads.run("lane", lambda: time.sleep(0.2) or 2, seconds=10.0) == 2
    with pytest.raises(ZeroDivisionError):
        await threads.run("lane", lambda: 1 / 0, seconds=0.05)
