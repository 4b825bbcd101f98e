"""The store in a SQLite file: the contract, whose file it is, and what it does beside other processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.constants import IN_CI, Clock
from wixvisitor import ConfigurationError, StorageError, VisitorPool, VisitorSession
from wixvisitor.storage import Record, TokenStorage, VersionConflict
from wixvisitor.storage._sqlite_file import connect
from wixvisitor.storage.sealed import SealedStorage
from wixvisitor.storage.sqlite import SQLiteStorage
from wixvisitor.testing import FakeWix, StorageContract

ROOT = Path(__file__).parents[2]
anyio_test = pytest.mark.anyio
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes, signals and fork")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "private" / "visitors.db"


class TestSQLiteStorage(StorageContract):
    @pytest.fixture(autouse=True)
    def _place(self, path: Path, clock: Clock) -> None:
        self.path, self.clock, self.ticks = path, clock, 0.0

    async def make_storage(self) -> SQLiteStorage:
        return SQLiteStorage(self.path)

    async def reopen(self, storage: TokenStorage) -> SQLiteStorage:
        return SQLiteStorage(self.path)

    async def make_expiring(self, seconds: float) -> SQLiteStorage:
        return SQLiteStorage(self.path, expire_after=seconds, clock=self.clock, monotonic=lambda: self.ticks)

    async def pass_time(self, storage: TokenStorage, seconds: float) -> None:
        """Lets what is past its time be found twice, so that it ends; see ``test_purge.py``."""
        assert isinstance(storage, SQLiteStorage)
        self.clock.now += seconds
        await storage.purge()
        self.ticks += 3_600.0
        await storage.purge()


def rows(path: Path, question: str = "SELECT count(*) FROM visitors") -> Any:
    """What the file says to somebody else."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute(question).fetchone()[0]
    finally:
        connection.close()


# Life and death of records


@anyio_test
async def test_reading_keeps_a_visitor(path: Path, clock: Clock) -> None:
    """A visitor who is only read lives on; reading writes once a tenth of the life has gone, and not before."""
    storage = SQLiteStorage(path, expire_after=100.0, clock=clock)
    version = await storage.save("k", "value")
    clock.now += 9
    await storage.load("k")
    assert rows(path, "SELECT expires_at FROM visitors") == clock.now + 91
    clock.now += 2
    await storage.load("k")
    assert rows(path, "SELECT expires_at FROM visitors") == clock.now + 100
    clock.now += 99
    assert await storage.load("k") == Record("value", version)
    await storage.aclose()


@anyio_test
async def test_visitors_for_ever(path: Path, clock: Clock) -> None:
    """With ``expire_after=None`` nobody is forgotten."""
    storage = SQLiteStorage(path, expire_after=None, clock=clock)
    version = await storage.save("k", "value")
    clock.now += 1e12
    assert await storage.load("k") == Record("value", version)
    await storage.aclose()


@anyio_test
async def test_mortals_become_immortal(path: Path, clock: Clock) -> None:
    """A file that was kept with an end is kept for ever once ``expire_after=None`` reads it."""
    mortal = SQLiteStorage(path, expire_after=100.0, clock=clock)
    version = await mortal.save("k", "value")
    await mortal.aclose()
    storage = SQLiteStorage(path, expire_after=None, clock=clock)
    await storage.load("k")
    clock.now += 1e12
    assert await storage.load("k") == Record("value", version)
    await storage.aclose()


@anyio_test
async def test_leases_of_the_dead_are_removed(path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease that nobody gave back leaves nothing behind, and one that goes on stays."""
    storage = SQLiteStorage(path, clock=clock)
    await storage.acquire_lease("old", "a", 15.0)
    clock.now += 15
    await storage.acquire_lease("new", "a", 15.0)
    monkeypatch.setattr("random.random", lambda: 0.0)
    await storage.save("k", "value")
    assert rows(path, "SELECT group_concat(key) FROM leases") == "new"
    await storage.aclose()


@anyio_test
async def test_a_purge_that_fails(path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has been saved is reported as saved, also if nothing could be removed."""
    storage = SQLiteStorage(path, clock=clock)
    await storage.save("k", "value")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("CREATE TRIGGER refuse BEFORE DELETE ON visitors BEGIN SELECT RAISE(ABORT, 'no'); END")
    other.close()
    clock.now += 1e8
    monkeypatch.setattr("random.random", lambda: 0.0)
    version = await storage.save("new", "value")
    assert await storage.load("new") == Record("value", version)
    assert rows(path) == 2
    await storage.aclose()


@anyio_test
async def test_a_clock_that_is_set_back(path: Path, clock: Clock) -> None:
    """A lease from the future is free: it lasts no longer than what was asked for."""
    storage = SQLiteStorage(path, clock=clock)
    await storage.acquire_lease("k", "a", 15.0)
    clock.now -= 3600
    assert await storage.acquire_lease("k", "b", 15.0) == 0.0
    assert await storage.acquire_lease("k", "a", 15.0) == 15.0
    await storage.aclose()


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), True, "1"])
def test_a_life_of_no_time(path: Path, seconds: Any) -> None:
    """A life that nobody could have is refused."""
    with pytest.raises(ConfigurationError, match="expire_after"):
        SQLiteStorage(path, expire_after=seconds)


# Whose file it is


@posix
@anyio_test
async def test_the_files_are_private(path: Path) -> None:
    """The file and those beside it are for their owner only, also under a liberal umask; so is a new directory."""
    before = os.umask(0)
    try:
        storage = SQLiteStorage(path)
        await storage.save("k", "value")
        modes = {one.name: one.stat().st_mode & 0o777 for one in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"visitors.db": 0o600, "visitors.db-wal": 0o600, "visitors.db-shm": 0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700
    await storage.aclose()


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def somebody_elses(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE visitors (key, value)")
    connection.commit()
    connection.close()


def of_the_future(path: Path) -> None:
    connection = connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()


def prepared(path: Path, make: Any) -> bytes | None:
    path.parent.mkdir()
    make(path)
    if path.is_file():
        path.chmod(0o600)
    return content(path)


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (somebody_elses, "another program's database"),
        (of_the_future, "schema version 2; this version of wixvisitor reads 1"),
        (lambda path: path.write_text("no database, " * 100, "utf-8"), "file is not a database"),
        pytest.param(lambda path: path.symlink_to(path.parent / "x"), "is a symlink", marks=posix),
        pytest.param(lambda path: os.mkfifo(path, 0o600), "not a regular file", marks=posix),
    ],
)
@anyio_test
async def test_refused_and_left_alone(path: Path, make: Any, said: str) -> None:
    """What is not ours is a StorageError from every method, and stays byte for byte."""
    before = prepared(path, make)
    storage = SQLiteStorage(path)
    for call in (
        lambda: storage.load("k"),
        lambda: storage.save("k", "secret"),
        lambda: storage.delete("k"),
        lambda: storage.acquire_lease("k", "a", 1.0),
        lambda: storage.release_lease("k", "a"),
    ):
        with pytest.raises(StorageError, match=said) as caught:
            await call()
        assert "secret" not in str(caught.value)
    assert before == content(path)
    await storage.aclose()


@posix
@anyio_test
async def test_a_file_that_others_can_read(path: Path) -> None:
    """A file that all others can read is refused until it is private, and so is the log beside it."""
    open_one = SQLiteStorage(path)
    await open_one.save("k", "value")
    for name in (path, Path(f"{path}-wal")):
        os.chmod(name, 0o644)  # noqa: PTH101 - pathlib's is a blocking call to the linter, and this is not
        for accept_group in (False, True):
            with pytest.raises(StorageError, match="chmod 600"):
                await SQLiteStorage(path, accept_group=accept_group).load("k")
        os.chmod(name, 0o600)  # noqa: PTH101
        assert await SQLiteStorage(path).load("k") is not None
    await open_one.aclose()


@posix
@anyio_test
async def test_files_that_a_mount_gave_to_the_group(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The file and those beside it are put right with one warning."""
    open_one = SQLiteStorage(path)
    await open_one.save("k", "value")
    for one in list(path.parent.iterdir()):
        os.chmod(one, 0o660)  # noqa: PTH101 - as above
    storage = SQLiteStorage(path)
    assert await storage.load("k") is not None
    assert {one.stat().st_mode & 0o777 for one in path.parent.iterdir()} == {0o600}
    assert [entry.levelname for entry in caplog.records if "private again" in entry.message] == ["WARNING"]
    await storage.aclose()
    await open_one.aclose()


@posix
@anyio_test
async def test_a_mount_that_keeps_the_groups_bits(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the mode cannot be changed the error names the option, and with it the file is used as it is."""
    await SQLiteStorage(path).save("k", "value")
    os.chmod(path, 0o660)  # noqa: PTH101 - as above
    monkeypatch.setattr(os, "chmod", lambda *_: None)
    with pytest.raises(StorageError, match="accept_group=True"):
        await SQLiteStorage(path).load("k")
    storage = SQLiteStorage(path, accept_group=True)
    await storage.save("k", "newer")
    assert await storage.load("k") is not None
    assert mode(path) == 0o660
    await storage.aclose()


@anyio_test
async def test_a_single_file_that_is_mounted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is a mount of its own is refused, since its log would be lost with the container."""
    await SQLiteStorage(path).save("k", "value")
    monkeypatch.setattr("wixvisitor.storage._sqlite_file.is_mounted", lambda place: place == path)
    with pytest.raises(StorageError, match="mount its directory"):
        await SQLiteStorage(path).load("k")


@posix
@anyio_test
async def test_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    """A path that is no UTF-8 works, and an error about it can be written to any log."""
    path = tmp_path / os.fsdecode(b"caf\xe9") / "visitors.db"
    try:
        path.parent.mkdir()
    except OSError:
        pytest.skip("the file system takes no such name")
    storage = SQLiteStorage(path)
    await storage.save("k", "value")
    assert await storage.load("k") is not None
    await storage.aclose()
    path.write_bytes(b"no database" * 100)
    with pytest.raises(StorageError, match="caf") as caught:
        await storage.load("k")
    assert str(caught.value).encode()


@pytest.mark.parametrize("path", ["", "visitors\0.db", b"visitors.db"])
def test_no_path(path: Any) -> None:
    """What no file can be called is a ConfigurationError when the storage is made."""
    with pytest.raises(ConfigurationError, match="path"):
        SQLiteStorage(path)


@anyio_test
async def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """Where the system refuses, its reason is told."""
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(StorageError, match="cannot open"):
        await SQLiteStorage(tmp_path / "file" / "visitors.db").load("k")


def test_no_file_at_all() -> None:
    """SQLite's name for a database in memory is refused: it would be lost with the connection."""
    with pytest.raises(ConfigurationError, match=r"MemoryStorage\(\)"):
        SQLiteStorage(":memory:")


@anyio_test
async def test_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path names the file that it named when the store was made, wherever the process goes."""
    monkeypatch.chdir(tmp_path)
    storage = SQLiteStorage("visitors.db")
    monkeypatch.chdir("/")
    await storage.save("k", "value")
    await storage.aclose()
    assert rows(tmp_path / "visitors.db") == 1


@posix
@anyio_test
async def test_a_file_that_is_removed(path: Path) -> None:
    """Whoever has the file open goes on in the new one, and leaves what others have saved there."""
    storage, other = SQLiteStorage(path), SQLiteStorage(path)
    await storage.save("k", "value")
    for file in list(path.parent.iterdir()):
        file.unlink()
    await other.save("theirs", "value")
    await storage.save("ours", "value")
    for one in (storage, other):
        assert [await one.load(key) is not None for key in ("k", "theirs", "ours")] == [False, True, True]
        await one.aclose()
    assert rows(path) == 2


@anyio_test
async def test_a_text_that_no_file_can_hold(path: Path) -> None:
    """Half a surrogate pair is a StorageError that does not carry the text along."""
    storage = SQLiteStorage(path)
    with pytest.raises(StorageError, match="UTF-8") as caught:
        await storage.save("k", "secret \udc80")
    assert caught.value.__cause__ is None
    assert await storage.load("k") is None
    await storage.aclose()


@anyio_test
async def test_a_full_disk(path: Path, clock: Clock) -> None:
    """On a full disk a save is a StorageError, and visitors are read all the same; with room again all goes on."""
    storage = SQLiteStorage(path, expire_after=100.0, clock=clock)
    version = await storage.save("k", "value")
    with storage._file.connection() as connection:
        [most] = connection.execute("PRAGMA max_page_count").fetchone()
        connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(StorageError, match="full") as caught:
        await storage.save("k", "secret" * 10_000)
    assert "secret" not in str(caught.value)
    assert await storage.load("k") == Record("value", version)
    with storage._file.connection() as connection:
        connection.execute(f"PRAGMA max_page_count = {most}")
    newer = await storage.save("k", "secret" * 10_000, expected=version)
    assert await storage.load("k") == Record("secret" * 10_000, newer)
    await storage.aclose()


@anyio_test
async def test_reading_what_cannot_be_written(path: Path, clock: Clock) -> None:
    """A read needs no write: while others hold the file, or it is read-only, the visitor is kept the next time."""
    storage = SQLiteStorage(path, expire_after=100.0, clock=clock)
    version = await storage.save("k", "value")
    clock.now += 50
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    assert await storage.load("k") == Record("value", version)
    assert time.monotonic() - began < 2  # a save would wait for five seconds
    other.execute("COMMIT")
    other.close()
    for file in (storage._file, storage._reader):
        with file.connection() as connection:
            connection.execute("PRAGMA query_only = TRUE")
    assert await storage.load("k") == Record("value", version)
    with pytest.raises(StorageError, match="readonly"):
        await storage.save("k", "value")
    for file in (storage._file, storage._reader):
        with file.connection() as connection:
            connection.execute("PRAGMA query_only = FALSE")
    await storage.load("k")
    assert rows(path, "SELECT expires_at FROM visitors") == clock.now + 100
    await storage.aclose()


@anyio_test
async def test_saves_wait_for_the_disk(path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else was done in between, saves are synced at each commit, and attempts wait for other processes."""
    monkeypatch.setattr("random.random", lambda: 0.0)
    storage = SQLiteStorage(path, expire_after=100.0, clock=clock)
    assert settings_of(storage) == ["wal", 2, 50]
    await storage.save("k", "value")
    clock.now += 50
    await storage.load("k")
    await storage.acquire_lease("k", "a", 1.0)
    await storage.acquire_lease("k", "b", 1.0)
    await storage.release_lease("k", "a")
    assert settings_of(storage) == ["wal", 2, 50]
    await storage.aclose()


def settings_of(storage: SQLiteStorage) -> list[Any]:
    names = ("journal_mode", "synchronous", "busy_timeout")
    with storage._file.connection() as connection:
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]


@anyio_test
async def test_a_locked_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that another process keeps locked is a StorageError, and works when it is free."""
    monkeypatch.setattr("wixvisitor.storage._sqlite_file._BUSY", 0.01)
    storage = SQLiteStorage(path)
    await storage.save("k", "value")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="locked"):
        await storage.save("k", "newer")
    assert await storage.load("k") is not None
    other.execute("COMMIT")
    other.close()
    await storage.save("k", "newer")
    await storage.aclose()


@contextmanager
def long_writer(path: Path) -> Iterator[None]:
    """Another program that writes to the file for a long time."""
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@anyio_test
async def test_reading_while_others_write(path: Path) -> None:
    """While another program writes, and a dozen saves wait, reading goes on; so it does for who opens the file now."""
    storage, late = SQLiteStorage(path), SQLiteStorage(path)
    await storage.save("k", "value")
    async with anyio.create_task_group() as tasks:
        with long_writer(path):
            for number in range(12):
                tasks.start_soon(storage.save, f"waits {number}", "value")
            await anyio.wait_all_tasks_blocked()
            with anyio.fail_after(1):
                for reader in (storage, late):
                    assert await reader.load("k") is not None
    assert rows(path) == 13
    await storage.aclose()
    await late.aclose()


@anyio_test
async def test_saves_that_wait_in_vain(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saves that wait for the same program are told so together, not one after another."""
    monkeypatch.setattr("wixvisitor.storage._sqlite_file._BUSY", 0.2)
    storage, told = SQLiteStorage(path), 0
    await storage.save("k", "value")

    async def save() -> None:
        nonlocal told
        with pytest.raises(StorageError, match="locked"):
            await storage.save("k", "newer")
        told += 1

    with long_writer(path), anyio.fail_after(2):  # twelve times 0.2 s would be longer
        async with anyio.create_task_group() as tasks:
            for _ in range(12):
                tasks.start_soon(save)
    assert told == 12
    await storage.aclose()


@anyio_test
async def test_a_lease_begins_when_the_file_is_free(path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease that had to wait for the file lasts as long as was asked for, and nobody gets it meanwhile."""
    monkeypatch.setattr("wixvisitor.storage._sqlite_file._TURN", 5.0)  # so that it waits in a single attempt
    storage, other = SQLiteStorage(path, clock=clock), SQLiteStorage(path, clock=clock)
    await storage.save("k", "value")
    lasts: list[float] = []

    async def acquire() -> None:
        lasts.append(await storage.acquire_lease("k", "a", 10.0))

    async with anyio.create_task_group() as tasks:
        with long_writer(path):
            tasks.start_soon(acquire)
            await anyio.sleep(0.1)  # it is under way, and waits
            clock.now += 60
    assert lasts == [0.0]
    assert await other.acquire_lease("k", "b", 10.0) == 10.0
    await storage.aclose()
    await other.aclose()


# The file alone


def alone(path: Path) -> Any:
    """How many visitors a copy of the file has, as a backup that forgets those beside it."""
    copy = path.with_name("copy.db")
    copy.write_bytes(path.read_bytes())
    try:
        return rows(copy)
    finally:
        copy.unlink()


@anyio_test
@pytest.mark.parametrize("is_sealed", [False, True])
async def test_the_file_is_complete_when_the_last_pool_is_closed(
    path: Path, still: FakeWix, client_id: str, *, is_sealed: bool
) -> None:
    """After a pool or a session is closed a copy of the file alone has every visitor, though the storage stays open."""
    inner = SQLiteStorage(path)
    storage = SealedStorage(inner, [SealedStorage.generate_key()]) if is_sealed else inner
    arguments: Any = {"storage": storage, "client": still.client(), "clock": still.now}
    async with VisitorPool(client_id, **arguments) as pool:
        for key in ("a", "b"):
            await (await pool.session(key)).generate_visitor_tokens()
        assert content(Path(f"{path}-wal"))
    assert alone(path) == 2
    async with VisitorSession(client_id, key="c", **arguments) as session:
        await session.generate_visitor_tokens()
    assert alone(path) == 3
    await inner.aclose()
    assert [one.name for one in path.parent.iterdir()] == ["visitors.db"]


@posix
@anyio_test
async def test_the_log_of_a_killed_process(path: Path, still: FakeWix, client_id: str) -> None:
    """What a killed process left in the log is in the file once a pool was closed that only read."""
    process = python(SAVE, path)
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.communicate()
    assert content(Path(f"{path}-wal"))
    async with VisitorPool(client_id, storage=SQLiteStorage(path), client=still.client()) as pool:
        await pool.session("somebody")
    assert alone(path) == 1


@anyio_test
async def test_closing_while_others_write(path: Path, still: FakeWix, client_id: str) -> None:
    """Closing a pool waits for no other program."""
    storage = SQLiteStorage(path)
    pool = VisitorPool(client_id, storage=storage, client=still.client(), clock=still.now)
    await (await pool.session("a")).generate_visitor_tokens()
    with long_writer(path), anyio.fail_after(2):
        await pool.aclose()
        await storage.aclose()
    assert rows(path) == 1


# Threads, event loops, processes


@anyio_test
async def test_a_thousand_callers_take_one_thread(path: Path) -> None:
    """However many read the file, other storages' threads stay free."""
    storage = SQLiteStorage(path)
    await storage.save("k", "value")
    lend, inside, most = storage._reader.connection, 0, 0

    @contextmanager
    def watched() -> Iterator[sqlite3.Connection]:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        try:
            with lend() as connection:
                yield connection
        finally:
            inside -= 1

    storage._reader.connection = watched  # type: ignore[method-assign]
    async with anyio.create_task_group() as tasks:
        for _ in range(1_000):
            tasks.start_soon(storage.load, "k")
    assert (most, inside) == (1, 0)
    await storage.aclose()


def test_several_event_loops(path: Path) -> None:
    """One object serves event loops one after another, and in four threads at the same time."""
    storage = SQLiteStorage(path)
    asyncio.run(storage.save("k", "0"))
    assert asyncio.run(storage.load("k")) is not None

    async def add() -> None:
        for _ in range(25):
            while True:
                record = await storage.load("k")
                assert record is not None
                try:
                    await storage.save("k", str(int(record.value) + 1), expected=record.version)
                except VersionConflict:
                    continue
                break

    threads = [threading.Thread(target=asyncio.run, args=(add(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    record = asyncio.run(storage.load("k"))
    assert record is not None
    assert record.value == "100"
    asyncio.run(storage.aclose())


def python(program: str, *arguments: object, warnings: str = "error") -> subprocess.Popen[str]:
    command = [sys.executable, "-W", warnings, "-c", program, *map(str, arguments)]
    pipe = subprocess.PIPE
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8", env=environment)


NEW_FILE = """
import asyncio, sys
from wixvisitor.storage.sqlite import SQLiteStorage
print("ready", flush=True)
for name in range(20):
    sys.stdin.readline()
    asyncio.run(SQLiteStorage(f"{sys.argv[1]}-{name}").save(sys.argv[2], "value"))
    print("saved", flush=True)
"""


@pytest.mark.machine
def test_processes_that_open_a_new_file_together(path: Path) -> None:
    """Four processes make the same new file at the same moment, twenty times: none is told that it is locked."""
    processes = [python(NEW_FILE, path, number) for number in range(4)]
    for word in ["ready", *["saved"] * 20]:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == f"{word}\n", process.communicate()
        for process in processes:
            if process.stdin is not None and process.poll() is None:
                process.stdin.write("go\n")
                process.stdin.flush()
    for process in processes:
        assert process.communicate()[1] == ""
    assert [rows(Path(f"{path}-{name}")) for name in range(20)] == [4] * 20


class Contended(sqlite3.Connection):
    """A connection that others are faster than, twice."""

    refusals = 2

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        if "journal_mode" in sql and Contended.refusals:
            Contended.refusals -= 1
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY_RECOVERY
            raise error
        return super().execute(sql, *arguments)


@anyio_test
@pytest.mark.parametrize("first", ["load", "save"])
async def test_a_new_file_that_others_prepare(path: Path, monkeypatch: pytest.MonkeyPatch, first: str) -> None:
    """SQLite's refusal to wait while others switch a new file to the log is waited out."""
    monkeypatch.setattr(Contended, "refusals", 2)
    monkeypatch.setattr("sqlite3.connect", partial(sqlite3.connect, factory=Contended))
    storage = SQLiteStorage(path)
    if first == "load":
        assert await storage.load("k") is None
    else:
        await storage.save("k", "value")
    assert Contended.refusals == 0
    await storage.aclose()


COUNT = """
import asyncio, sys
from wixvisitor.storage import VersionConflict
from wixvisitor.storage.sqlite import SQLiteStorage

async def main():
    storage, lost = SQLiteStorage(sys.argv[1]), 0
    for _ in range(20):
        while True:
            record = await storage.load("k")
            try:
                await storage.save("k", str(int(record.value) + 1), expected=record.version)
                break
            except VersionConflict:
                lost += 1
    print(lost)

asyncio.run(main())
"""


@pytest.mark.machine
def test_processes_have_one_winner_a_round(path: Path) -> None:
    """Five processes count to a hundred by compare-and-set, and no step is lost."""
    asyncio.run(SQLiteStorage(path).save("k", "0"))
    processes = [python(COUNT, path) for _ in range(5)]
    assert [process.communicate()[1] for process in processes] == [""] * 5
    assert rows(path, "SELECT value FROM visitors") == "100"


LEAVE = """
import asyncio, gc, sys
from wixvisitor.storage.sqlite import SQLiteStorage

async def main():
    storage = SQLiteStorage(sys.argv[1])
    await storage.save("k", "value")
    return storage

storage = asyncio.run(main())
if sys.argv[2] == "dropped":
    del storage
    gc.collect()
print("end")
"""


@pytest.mark.machine
@pytest.mark.parametrize("how", ["held", "dropped"])
def test_never_closed(path: Path, how: str) -> None:
    """A program that never closes its store ends at once and without a warning."""
    out, err = python(LEAVE, path, how).communicate(timeout=10)
    assert (out, err) == ("end\n", "")
    assert rows(path) == 1


SAVE = """
import asyncio, sys
from wixvisitor.storage.sqlite import SQLiteStorage

async def main():
    storage = SQLiteStorage(sys.argv[1])
    for number in range(100_000):
        await storage.save("k", str(number) * 500)
        print(number, flush=True)

asyncio.run(main())
"""


@posix
@pytest.mark.machine
def test_killed_while_saving(path: Path) -> None:
    """``kill -9`` among saves: the last one that was reported is there, or the next one, whole."""
    for enough in (1, 7, 40):
        process = python(SAVE, path)
        assert process.stdout is not None
        while int(process.stdout.readline()) < enough:
            pass
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read()  # not by communicate(), which forgets what readline() has read ahead
        process.communicate()
        last = int([str(enough), *rest.split()][-1])
        value = rows(path, "SELECT value FROM visitors")
        assert value in {str(number) * 500 for number in (last, last + 1)}
        assert rows(path, "PRAGMA integrity_check") == "ok"


FORK = """
import asyncio, os, sys
from wixvisitor.storage.sqlite import SQLiteStorage

storage = SQLiteStorage(sys.argv[1])
asyncio.run(storage.save("before", "value"))
opened, go = os.pipe(), os.pipe()
child = os.fork()
if not child:
    asyncio.run(storage.save("child", "value"))
    os.write(opened[1], b".")
    os.read(go[0], 1)
    asyncio.run(storage.save("child, later", "value"))
    os._exit(0)
os.read(opened[0], 1)
asyncio.run(storage.save("parent", "value"))
asyncio.run(storage.aclose())
os.write(go[1], b".")
print(os.waitpid(child, 0)[1])
"""


@posix
@pytest.mark.machine
def test_a_fork(path: Path) -> None:
    """What a forked child saves is in the file, also after its parent has closed it and gone on without."""
    assert python(FORK, path).communicate(timeout=20) == ("0\n", "")
    assert rows(path, "SELECT group_concat(key) FROM (SELECT key FROM visitors ORDER BY key)") == (
        "before,child,child, later,parent"
    )


IDLE_CHILD = """
import asyncio, os, sys
from wixvisitor.storage.sqlite import SQLiteStorage

storage = SQLiteStorage(sys.argv[1])
asyncio.run(storage.save("k", "value"))
child = os.fork()
if child:
    print(os.waitpid(child, 0)[1], asyncio.run(storage.load("k")) is not None)
"""


@posix
@pytest.mark.machine
def test_a_child_that_uses_nothing(path: Path) -> None:
    """A child that leaves the store alone ends without a warning, and the parent goes on."""
    assert python(IDLE_CHILD, path).communicate(timeout=20) == ("0 True\n", "")


@posix
@anyio_test
async def test_a_fork_that_nobody_told_of(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where something forked past Python, the child is told instead of losing visitors; it closes nothing."""
    storage, ours = SQLiteStorage(path), os.getpid()
    await storage.save("k", "value")
    with storage._file.connection() as before:
        pass
    monkeypatch.setattr("os.getpid", lambda: ours + 1)
    with pytest.raises(StorageError, match="forked"):
        await storage.save("k", "newer")
    await storage.aclose()
    monkeypatch.undo()
    assert await storage.load("k") is not None
    with storage._file.connection() as after:
        assert after is before
    await storage.aclose()


DAEMON = """
import sys, threading, time
import anyio
from wixvisitor.storage.sqlite import SQLiteStorage

storage, begun = SQLiteStorage(sys.argv[1]), threading.Event()

async def save():
    for number in range(1_000_000):
        await storage.save(f"{number % 50}", "x" * 20_000)
        begun.set()

threading.Thread(target=anyio.run, args=(save,), kwargs={"backend": sys.argv[2]}, daemon=True).start()
begun.wait()
time.sleep(float(sys.argv[3]))
"""


@pytest.mark.machine
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_program_that_ends_among_saves(path: Path, backend: str) -> None:
    """A daemon thread that still saves when the program ends does not crash it, and the file is whole."""
    for number in range(6 if IN_CI else 2):
        process = python(DAEMON, path, backend, number / 50, warnings="default")
        process.communicate(timeout=20)
        assert process.returncode == 0
        assert rows(path, "PRAGMA integrity_check") == "ok"


@anyio_test
async def test_a_visitor_over_restarts(path: Path, still: FakeWix, client_id: str) -> None:
    """A session resumes from the file, and its cart is the same visitor's."""
    tokens = set()
    for _ in range(3):
        storage = SQLiteStorage(path)
        async with VisitorSession(client_id, storage=storage, client=still.client(), clock=still.now) as session:
            await session.get("/ecom/v2/carts/current")
            tokens.add(session.get_tokens())
        await storage.aclose()
    assert len(tokens) == len(still.token_calls()) == 1
