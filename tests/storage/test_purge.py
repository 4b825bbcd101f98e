"""Visitors whom nobody has needed for long are removed from files and databases, whatever a clock shows for a while."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.constants import IN_CI
from wixvisitor import StorageError
from wixvisitor.storage import FileStorage, MemoryStorage, Record, VersionConflict
from wixvisitor.storage._file_lock import FileLock
from wixvisitor.storage._threads import THREADS
from wixvisitor.storage.sealed import SealedStorage
from wixvisitor.storage.sqlite import SQLiteStorage

pytestmark = pytest.mark.anyio

MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
LIFE = 30 * DAY
START = 1_800_000_000.0


class Machine:
    """What time it is, and what the machine's clock shows.

    Each storage that is opened counts as a process of its own, with a monotonic clock that began when it was opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.passed = 0.0
        self.ahead = 0.0

    def wall(self) -> float:
        return START + self.passed + self.ahead

    def open(self, life: float | None = LIFE) -> Any:
        began = self.passed
        return self.storage(expire_after=life, clock=self.wall, monotonic=lambda: 1_000.0 + self.passed - began)

    async def looked(self) -> None:
        """Waits until what a save does beside saving is done."""


class WithDatabase(Machine):
    def storage(self, **arguments: Any) -> SQLiteStorage:
        return SQLiteStorage(self.path, **arguments)

    def keys(self) -> set[str]:
        """Whom the file has."""
        connection = sqlite3.connect(self.path)
        try:
            return {key for (key,) in connection.execute("SELECT key FROM visitors")}
        finally:
            connection.close()

    def remove_all(self) -> None:
        """Removes what the file has, as another process does."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("DELETE FROM visitors")


class WithFiles(Machine):
    def storage(self, **arguments: Any) -> FileStorage:
        return FileStorage(f"{self.path}/", **arguments)

    async def looked(self) -> None:
        await THREADS.run((self.path, "purge"), lambda: None)

    def keys(self) -> set[str]:
        """Whom the directory has."""
        return {json.loads(file.read_text("utf-8"))["key"] for file in self.path.glob("*.json")}

    def remove_all(self) -> None:
        """Removes what the directory has, as another process does."""
        for file in self.path.glob("*.json"):
            file.unlink()


@pytest.fixture(params=[WithDatabase, WithFiles], ids=["SQLite", "files"])
def machine(tmp_path: Path, request: pytest.FixtureRequest) -> Machine:
    return request.param(tmp_path / "visitors")


@pytest.fixture
def database(tmp_path: Path) -> WithDatabase:
    return WithDatabase(tmp_path / "visitors.db")


@pytest.fixture
def files(tmp_path: Path) -> WithFiles:
    return WithFiles(tmp_path / "visitors")


async def closed(storage: Any) -> None:
    if isinstance(storage, SQLiteStorage):
        await storage.aclose()


async def run_for_a_moment(machine: Machine) -> int:
    """One run of a program that cron starts: how many it removed."""
    storage = machine.open()
    removed = await storage.purge()
    await closed(storage)
    return removed


async def test_past_its_time(machine: Machine) -> None:
    """A record past its time is loaded and saved like any other, and lives on."""
    storage = machine.open()
    first = await storage.save("anna", "1")
    machine.passed += 2 * LIFE
    with pytest.raises(VersionConflict):
        await storage.save("anna", "2", expected=None)
    second = await storage.save("anna", "2", expected=first)
    machine.passed += 2 * LIFE
    assert await storage.load("anna") == Record("2", second)
    machine.passed += 0.9 * LIFE
    for _ in range(2):
        assert await storage.purge() == 0
        machine.passed += HOUR
    await closed(storage)


async def test_found_twice_by_one_process(machine: Machine) -> None:
    """A process removes what it has found past its time twice, an hour apart, and nothing else."""
    storage = machine.open()
    await storage.save("old", "value")
    machine.passed += LIFE / 2
    await storage.save("young", "value")
    machine.passed += LIFE / 2 + 1
    assert await storage.purge() == 0
    machine.passed += HOUR - 1
    assert await storage.purge() == 0
    machine.passed += 1
    assert await storage.purge() == 1
    assert machine.keys() == {"young"}
    await closed(storage)


async def test_found_by_saves(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saves do the same now and then, a hundred at a time; a process's first one in any case."""
    storage = machine.open()
    for number in range(150):
        await storage.save(f"old {number}", "value")
    await closed(storage)
    machine.passed += LIFE + 1
    storage = machine.open()
    monkeypatch.setattr("random.random", lambda: 0.5)
    await storage.save("new", "value")  # finds a hundred of a database, all of a directory
    await machine.looked()
    machine.passed += HOUR
    await storage.save("new", "value")
    await machine.looked()
    assert len(machine.keys()) == 151
    monkeypatch.setattr("random.random", lambda: 0.0)
    await storage.save("new", "value")
    await machine.looked()
    assert len(machine.keys()) == 51
    machine.passed += HOUR
    await storage.save("new", "value")
    await machine.looked()
    assert machine.keys() == {"new"}
    await closed(storage)


async def test_looking_all_the_time(machine: Machine) -> None:
    """A process that looks all the time removes after an hour all the same."""
    pause = 1 if IN_CI else 10
    storage = machine.open()
    await storage.save("old", "value")
    machine.passed += LIFE
    for _ in range(3_600 // pause):
        assert await storage.purge() == 0
        machine.passed += pause
    for _ in range(2):
        machine.passed += MINUTE
        await storage.purge()
    assert machine.keys() == set()
    await closed(storage)


@pytest.mark.parametrize("use", ["load", "save"])
async def test_used_in_between(machine: Machine, use: str) -> None:
    """A visitor who comes after the first finding is found anew."""
    storage = machine.open()
    version = await storage.save("anna", "1")
    machine.passed += LIFE + 1
    await storage.purge()
    machine.passed += HOUR / 2
    if use == "load":
        assert await storage.load("anna") == Record("1", version)
    else:
        await storage.save("anna", "2", expected=version)
    machine.passed += HOUR / 2
    machine.ahead = 2 * LIFE  # and now the clock is wrong: it finds the visitor past her time once
    assert await storage.purge() == 0
    machine.ahead = 0.0
    assert await storage.load("anna") is not None
    await closed(storage)


async def test_a_program_that_runs_each_day(machine: Machine) -> None:
    """Programs that never run for an hour remove what is past twice its time and a day, a day after they found that."""
    storage = machine.open()
    await storage.save("old", "value")
    await closed(storage)
    days = 0
    while machine.keys():
        await run_for_a_moment(machine)
        machine.passed += DAY
        days += 1
        assert days < 100
    assert 2 * LIFE + 2 * DAY <= days * DAY <= 2 * LIFE + 4 * DAY


async def test_programs_a_day_apart(machine: Machine) -> None:
    """Of two short runs the second removes if it was started a day after the first, and not when it was 23 h."""
    storage = machine.open()
    await storage.save("old", "value")
    await closed(storage)
    machine.passed += 2 * LIFE + DAY
    assert await run_for_a_moment(machine) == 0
    machine.passed += 23 * HOUR
    assert await run_for_a_moment(machine) == 0
    machine.passed += HOUR
    assert await run_for_a_moment(machine) == 1


@pytest.mark.parametrize("years", [0.1, 1, 50, 7_000] if IN_CI else [50])
async def test_one_jump(machine: Machine, years: float) -> None:
    """A jump of the clock, however far, in old and new processes at once, costs nobody once the clock is right."""
    old = machine.open()
    for number in range(20):
        await old.save(f"visitor {number}", "value")
    machine.passed += 3 * DAY
    processes = [old, machine.open()]
    for storage in processes:
        await storage.purge()
    machine.ahead = years * 365 * DAY
    for minute in range(59):
        if IN_CI or minute % 15 == 0:
            processes.append(machine.open())
        for storage in processes:
            assert await storage.purge() == 0
        machine.passed += MINUTE
    assert await old.load("visitor 0") is not None  # somebody comes while the clock is wrong
    machine.ahead = 0.0
    processes.append(machine.open())
    for _ in range(48):
        for storage in (*processes[:3], processes[-1]):
            assert await storage.purge() == 0
        machine.passed += HOUR / 2
    assert len(machine.keys()) == 20
    for storage in processes:
        await closed(storage)


async def test_two_jumps(machine: Machine) -> None:
    """A clock that jumps again and again costs nobody, if it was right in between."""
    storage = machine.open()
    await storage.save("anna", "value")
    for _ in range(3):
        machine.ahead = 2 * LIFE
        assert await storage.purge() == 0
        machine.ahead = 0.0
        machine.passed += HOUR
        assert await storage.purge() == 0
        machine.passed += HOUR
    assert machine.keys() == {"anna"}
    await closed(storage)


async def test_found_by_a_clock_that_was_ahead(machine: Machine) -> None:
    """What a run found while its clock was ahead does not keep later runs from removing who is forgotten."""
    storage = machine.open()
    await storage.save("old", "value")
    await closed(storage)
    machine.passed += 2 * LIFE + DAY
    machine.ahead = 50 * 365 * DAY
    assert await run_for_a_moment(machine) == 0
    machine.ahead = 0.0
    assert await run_for_a_moment(machine) == 0
    machine.passed += DAY
    assert await run_for_a_moment(machine) == 1


@pytest.mark.parametrize("seed", range(20 if IN_CI else 3))
async def test_at_random(machine: Machine, seed: int) -> None:
    """Whatever processes come and go and whenever the clock jumps: who is not forgotten stays, and who is goes."""
    chance = random.Random(seed)
    processes = [machine.open()]
    used = {f"visitor {number}": 0.0 for number in range(10)}
    for key in used:
        await processes[0].save(key, "value")
    jump = chance.uniform(1 * DAY, 50 * DAY)
    jumps_back = jump + chance.uniform(MINUTE, HOUR - MINUTE)
    ahead = chance.choice([10, 31, 62, 400, 20_000]) * DAY
    forgotten, next_step = {"visitor 0", "visitor 1"}, 0.0
    while machine.passed < 75 * DAY:
        next_step = chance.choice([MINUTE, HOUR / 3, 10 * HOUR])
        if jump < machine.passed + next_step and machine.passed < jumps_back:  # look closely
            next_step = 5 * MINUTE
        machine.passed += next_step
        machine.ahead = ahead if jump <= machine.passed < jumps_back else 0.0
        if chance.random() < 0.3:
            processes.append(machine.open())
        if len(processes) > 3:
            await closed(processes.pop(chance.randrange(len(processes))))
        storage = chance.choice(processes)
        key = min(used.keys() - forgotten, key=lambda key: used[key])
        if machine.passed - used[key] > 20 * DAY and not machine.ahead:
            assert await storage.load(key) is not None, f"seed {seed}: {key} is lost"
            used[key] = machine.passed
        await storage.purge()
        assert machine.keys() >= used.keys() - forgotten, f"seed {seed}"
    for _ in range(4):
        await processes[0].purge()
        machine.passed += HOUR
    assert not machine.keys() & forgotten
    for storage in processes:
        await closed(storage)


async def test_first_saved_in_1970(machine: Machine) -> None:
    """Who was saved by a clock that began in 1970 lives on for a whole life once the clock is right."""
    machine.ahead = -START
    storage = machine.open()
    await storage.save("anna", "value")
    machine.ahead = 0.0
    for _ in range(3):
        assert await storage.purge() == 0
        machine.passed += 2 * DAY
    machine.passed += LIFE
    await storage.purge()
    machine.passed += HOUR
    assert await storage.purge() == 1
    await closed(storage)


async def test_a_clock_that_was_behind(machine: Machine) -> None:
    """A clock that is set back for a while removes nobody and makes nobody immortal."""
    storage = machine.open()
    await storage.save("anna", "value")
    machine.passed += LIFE + 1
    await storage.purge()
    machine.ahead = -10 * LIFE
    machine.passed += HOUR
    assert await storage.purge() == 0
    machine.ahead = 0.0
    assert await storage.purge() == 0
    machine.passed += HOUR
    assert await storage.purge() == 1
    await closed(storage)


async def test_older_versions_go_on(database: WithDatabase) -> None:
    """What a version without marks does to a marked record, and it saves four columns, makes the mark void."""
    storage = database.open()
    await storage.save("anna", "1")
    database.passed += LIFE
    await storage.purge()
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute(
        """INSERT INTO visitors VALUES ('anna', '2', 'theirs', :end) ON CONFLICT (key) DO UPDATE
        SET value = '2', version = 'theirs', expires_at = :end""",
        {"end": database.wall() + LIFE},
    )
    other.execute("INSERT INTO visitors VALUES ('ben', '1', 'one', ?)", (database.wall(),))
    database.passed += HOUR
    database.ahead = 2 * LIFE
    assert await storage.purge() == 0
    other.execute("UPDATE visitors SET expires_at = expires_at + 1 WHERE key = 'ben'")  # it was only read
    database.passed += HOUR
    assert await storage.purge() == 1  # anna: by now for the second time
    assert database.keys() == {"ben"}
    other.execute("DELETE FROM visitors")
    assert await storage.purge() == 0
    assert [*other.execute("PRAGMA user_version"), *other.execute("SELECT count(*) FROM overdue")] == [(1,), (0,)]
    other.close()
    await closed(storage)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows removes no file that is open")
async def test_another_file(database: WithDatabase) -> None:
    """What was found in a file says nothing of the file that takes its place."""
    storage = database.open()
    for number in range(5):
        await storage.save(f"old {number}", "value")
    database.passed += LIFE
    await storage.purge()
    for file in database.path.parent.glob("visitors.db*"):
        file.unlink()
    database.passed += HOUR
    other = database.open()
    await other.save("anna", "value")
    database.ahead = 2 * LIFE
    await other.purge()
    assert await storage.purge() == 0
    for one in (storage, other):
        await closed(one)


async def test_many(database: WithDatabase) -> None:
    """On request all are removed, in steps between which others may write."""
    storage = database.open()
    await storage.save("new", "value")
    other = sqlite3.connect(database.path)
    with other:
        other.executemany(
            "INSERT INTO visitors VALUES (?, 'value', ?, ?)",
            ((f"old {number}", f"version {number}", START) for number in range(2_500)),
        )
    other.close()
    assert await storage.purge() == 0
    database.passed += HOUR
    assert await storage.purge() == 2_500
    assert database.keys() == {"new"}
    await closed(storage)


async def test_for_ever(machine: Machine) -> None:
    """A storage that keeps all for ever removes nobody, also not what another one would have removed."""
    storage = machine.open()
    await storage.save("old", "value")
    await closed(storage)
    machine.passed += 10 * LIFE
    storage = machine.open(None)
    for _ in range(3):
        assert await storage.purge() == 0
        machine.passed += 2 * DAY
    assert await storage.load("old") is not None
    await closed(storage)


async def test_sealed(machine: Machine) -> None:
    """A sealed store is purged as the one in it is, and has no purge where that has none."""
    inner = machine.open()
    storage = SealedStorage(inner, [SealedStorage.generate_key()])
    await storage.save("old", "value")
    machine.passed += LIFE
    assert await storage.purge() == 0
    machine.passed += HOUR
    assert await storage.purge() == 1
    await closed(storage)
    assert not hasattr(SealedStorage(MemoryStorage(), [SealedStorage.generate_key()]), "purge")


async def test_removed_while_it_is_loaded(machine: Machine) -> None:
    """A record that is removed after a load has read it, and before the load marks it as used, is not returned."""
    storage = machine.open()
    await storage.save("anna", "value")

    def remove() -> float:
        machine.remove_all()
        return START + LIFE / 2

    loading = machine.storage(expire_after=LIFE, clock=remove)
    assert await loading.load("anna") is None
    await closed(loading)
    await closed(storage)


@pytest.mark.faults
@pytest.mark.parametrize("name", ["visitors.db", "visitors/"])
def test_loaded_while_other_processes_purge(tmp_path: Path, name: str) -> None:
    """A visitor that a process has loaded is there a moment later, whatever other processes purge meanwhile."""
    command = [sys.executable, "-m", "tests.storage.purging_process", f"{tmp_path}/{name}", str(time.time() + 8)]
    names = ["", "", "a", "b", "c", "d"]  # two of them purge
    programs = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, encoding="utf-8") for name in names]
    said = [program.communicate(timeout=60)[0] for program in programs]
    assert [program.returncode for program in programs] == [0] * len(programs)
    counts = sum((Counter(json.loads(text)) for text in said if text), Counter[str]())
    assert counts["lost"] == 0
    assert min(counts["kept"], counts["purged"]) > 0


# What files have of their own


async def test_no_other_files_are_removed(files: WithFiles) -> None:
    """Other programs' files, records of another format and what is damaged stay, however old they are."""
    storage = files.open()
    await storage.save("old", "value")
    [ours] = files.path.glob("*.json")
    texts = {
        "notes.json": "{}",
        f"{'0' * 40}.json": "{}",
        f"{'1' * 40}.json": '{"wixvisitor": 2}',
        f"{'2' * 40}.json": "{",
    }
    for name, text in texts.items():
        (files.path / name).write_text(text, "utf-8")
        (files.path / name).chmod(0o600)
        os.utime(files.path / name, (START, START))
    for _ in range(3):
        files.passed += 3 * LIFE
        await storage.purge()
        files.passed += HOUR
    assert await storage.purge() == 0
    assert not ours.exists()
    assert {file.name for file in files.path.glob("*.json")} == set(texts)


async def test_one_file(tmp_path: Path) -> None:
    """One visitor's file is removed by ``purge`` only, which finds it twice; loading keeps it."""
    now, tick = [START], [0.0]
    path = tmp_path / "visitor.json"
    storage = FileStorage(path, expire_after=LIFE, clock=lambda: now[0], monotonic=lambda: tick[0])
    await storage.save("anna", "value")
    now[0] += 2 * LIFE
    assert await storage.purge() == 0
    assert await storage.load("anna") is not None
    tick[0] += HOUR
    assert await storage.purge() == 0
    now[0] += LIFE
    assert await storage.purge() == 0
    tick[0] += HOUR
    assert await storage.purge() == 1
    assert await storage.load("anna") is None


async def test_what_was_found_goes_with_the_visitor(files: WithFiles) -> None:
    """No note of a first finding is left of a visitor who was removed, who came again, or was deleted."""
    for end in ("purge", "load", "delete"):
        storage = files.open()
        await storage.save(end, "value")
        files.passed += 2 * LIFE + DAY
        await storage.purge()
        assert len([*files.path.glob("*.overdue")]) == 1
        if end == "load":
            await storage.load(end)
        if end == "delete":
            await storage.delete(end)
        files.passed += HOUR
        await storage.purge()
        files.passed += LIFE  # and now it finds the one who was loaded
        await storage.purge()
        assert [*files.path.glob("*.overdue")] == []


@pytest.mark.skipif(sys.platform == "win32", reason="the lock is another file there")
async def test_one_that_cannot_be_removed(files: WithFiles) -> None:
    """A file that cannot be removed stops neither a purge nor what a save removes; the purge raises at its end."""
    storage = files.open()
    for key in ("anna", "bob", "carl"):
        await storage.save(key, "value")
    stuck = min(files.path.glob("*.json"))
    lock = stuck.with_name(f"{stuck.name}.lock")
    lock.unlink()
    lock.mkdir()
    files.passed += 2 * LIFE
    with pytest.raises(StorageError, match=r"cannot purge .*\.json"):
        await storage.purge()
    files.passed += HOUR
    with pytest.raises(StorageError, match=r"cannot purge .*\.json"):
        await storage.purge()
    assert [*files.path.glob("*.json")] == [stuck]


async def test_loaded_while_it_is_removed(files: WithFiles) -> None:
    """A visitor that another process loads after a purge has looked at its file, and before it removes it, stays."""
    storage, calls = files.open(), 0

    def tick() -> float:
        nonlocal calls
        calls += 1
        if calls == 3:  # 1: the process begins; 2: the first finding; 3: the second one, after the file's time was read
            with ThreadPoolExecutor(1) as thread:
                assert thread.submit(anyio.run, storage.load, "anna").result() is not None
        return calls * HOUR

    await storage.save("anna", "value")
    files.passed += 2 * LIFE
    purging = FileStorage(f"{files.path}/", expire_after=LIFE, clock=files.wall, monotonic=tick)
    assert [await purging.purge() for _ in range(2)] == [0, 0]
    assert calls == 3
    assert await storage.load("anna") is not None


@pytest.mark.parametrize("use", ["load", "save", "purge", "delete"])
async def test_a_purge_that_was_killed(files: WithFiles, use: str) -> None:
    """A visitor whose file a killed purge has left under another name is there at its next use, or the next purge."""
    version = await files.open().save("anna", "value")
    [ours] = files.path.glob("*.json")
    renamed = ours.rename(ours.with_name(f"{ours.name}.purged"))
    storage = files.open()
    if use == "load":
        assert await storage.load("anna") == Record("value", version)
    elif use == "save":
        with pytest.raises(VersionConflict):
            await storage.save("anna", "another", expected=None)
    elif use == "purge":
        assert await storage.purge() == 0
    else:
        await storage.delete("anna")
    assert (ours.exists(), renamed.exists()) == (use != "delete", False)


async def test_a_load_waits_for_a_purge(files: WithFiles) -> None:
    """A load waits until a purge has removed the file or has given it its name back."""
    storage, found = files.open(), list[Record | None]()
    version = await storage.save("anna", "value")
    [ours] = files.path.glob("*.json")
    lock = FileLock(ours.with_name(f"{ours.name}.lock"))
    assert lock.acquire()
    renamed = ours.rename(ours.with_name(f"{ours.name}.purged"))

    async def load() -> None:
        found.append(await storage.load("anna"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(load)
        await anyio.sleep(0.05)
        assert found == []
        renamed.rename(ours)
        lock.release()
    assert found == [Record("value", version)]


async def test_a_place_where_no_time_can_be_set(files: WithFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system sets no times, saving and loading go on, and the system's own time counts."""

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "utime", refuse)
    storage = files.open()
    await storage.save("anna", "value")
    files.passed += LIFE
    assert await storage.load("anna") is not None


@pytest.mark.parametrize("text", ["", "[]", "{", '[1, 2, "x"]', "[1, 2, 3, 4]", "null", "\x00"])
async def test_a_damaged_note(files: WithFiles, text: str) -> None:
    """A note that cannot be read counts as none, and is written anew."""
    await files.open().save("old", "value")
    [ours] = files.path.glob("*.json")
    files.passed += 2 * LIFE + DAY
    ours.with_name(f"{ours.name}.overdue").write_text(text, "utf-8")
    assert await files.open().purge() == 0
    files.passed += DAY
    assert await files.open().purge() == 1


async def test_a_directory_that_is_none(tmp_path: Path) -> None:
    """A directory that is not there has nobody to remove; one that is a file is a StorageError."""
    assert await FileStorage(f"{tmp_path}/missing/").purge() == 0
    storage = FileStorage(f"{tmp_path}/file/")
    (tmp_path / "file").write_text("no directory", "utf-8")
    with pytest.raises(StorageError, match="cannot purge"):
        await storage.purge()
