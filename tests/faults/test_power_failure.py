"""A power failure at any moment of a save: what was acknowledged is there, or what came later, and never half."""

from __future__ import annotations

import builtins
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.disk import Disk, put
from tests.faults.traced import can_trace, trace
from wixvisitor import StorageError
from wixvisitor.storage import FileStorage, _file_record
from wixvisitor.storage.sqlite import SQLiteStorage

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="what an fsync promises is POSIX's"),
]

KEY = "client:visitor"


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    top = tmp_path / "top"
    top.mkdir()
    return Disk(top)


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory in memory, where there is one: it is synced in no time."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as place:
        yield Path(place)


@pytest.fixture
def recorded(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """Tells the model what this process does through ``os`` and through the files of ``_file_record``."""
    opened: dict[int, Path] = {}
    real: dict[str, Callable[..., Any]] = {name: getattr(os, name) for name in ("open", "fsync", "replace", "mkdir")}
    unlink = os.unlink

    def make(path: Any, flags: int, *arguments: Any, **more: Any) -> int:
        descriptor: int = real["open"](path, flags, *arguments, **more)
        opened[descriptor] = Path(path)
        if flags & os.O_CREAT:
            disk.make(Path(path))
        return descriptor

    def sync(descriptor: int) -> None:
        real["fsync"](descriptor)
        disk.sync(opened[descriptor])

    def replace(old: Any, new: Any) -> None:
        real["replace"](old, new)
        disk.rename(Path(old), Path(new))

    def mkdir(path: Any, *arguments: Any, **more: Any) -> None:
        real["mkdir"](path, *arguments, **more)
        disk.make(Path(path))

    def remove(path: Any, *arguments: Any, **more: Any) -> None:
        unlink(path, *arguments, **more)
        disk.remove(Path(path))

    def writing(descriptor: Any, mode: str) -> Any:
        file = builtins.open(descriptor, mode)  # noqa: SIM115 - it is the caller's to close
        if mode == "wb":
            write = file.write
            recorder = type("Recorder", (), {"__enter__": lambda self: self, "__exit__": lambda *_: file.close()})()
            recorder.write = lambda data: (disk.write(opened[descriptor], 0, data), write(data))
            recorder.flush, recorder.fileno = file.flush, file.fileno
            return recorder
        return file

    for name, function in {"open": make, "fsync": sync, "replace": replace, "mkdir": mkdir, "unlink": remove}.items():
        monkeypatch.setattr(os, name, function)
    monkeypatch.setattr(_file_record, "open", writing, raising=False)
    yield disk
    monkeypatch.undo()


async def live(storage: Any, disk: Disk) -> None:
    """A visitor's life: saved, renewed twice, forgotten, made again."""
    for value in ("1", "2", "3", "", "4"):
        disk.say("begins", value)
        await (storage.save(KEY, value * 1500) if value else storage.delete(KEY))
        disk.say("has", value)


async def check(disk: Disk, make: Callable[[Path], Any], place: Path, *, every: int = 7, some: int = 48) -> int:
    """Loads from every state in which a crash may leave the disk, and returns how many there were."""
    states: set[tuple[frozenset[str], tuple[Any, ...]]] = set()
    found = place / "found"
    for allowed, changes in disk.crashes(random.Random(1), every=every, some=some):
        state = frozenset(allowed), tuple(changes)
        if state in states:
            continue
        states.add(state)
        put(changes, found)
        storage = make(found)
        record = await storage.load(KEY)
        value = record.value[:1] if record else ""
        assert value in allowed, (value, allowed, changes)
        assert record is None or record.value == value * 1500
        if hasattr(storage, "aclose"):
            await storage.aclose()
        shutil.rmtree(found)
    return len(states)


@pytest.mark.parametrize("kind", ["file", "directory"])
async def test_files(recorded: Disk, memory: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A file, and a directory of files: in directories that were just made, one in the other."""
    end = "visitor.json" if kind == "file" else ""

    def at(top: Path) -> FileStorage:
        return FileStorage(f"{top}/a/b/c/{end}")

    await live(at(recorded.top), recorded)
    monkeypatch.undo()
    assert await check(recorded, at, memory) > 50


@pytest.mark.parametrize("forgotten", [0, 1, 2, 3])
async def test_the_model_finds_a_forgotten_fsync(
    recorded: Disk, memory: Path, monkeypatch: pytest.MonkeyPatch, forgotten: int
) -> None:
    """Where one of the first save's syncs is left out (the file's, its directory's, those above), the check fails."""
    await live(FileStorage(recorded.top / "a" / "b" / "visitor.json"), recorded)
    monkeypatch.undo()
    syncs = [event for event in recorded.events if type(event).__name__ == "Sync"]
    recorded.events.remove(syncs[forgotten])
    saved = next(index for index, event in enumerate(recorded.events) if getattr(event, "word", "") == "has")
    del recorded.events[saved + 1 :]
    with pytest.raises((AssertionError, StorageError)):
        await check(recorded, lambda top: FileStorage(top / "a" / "b" / "visitor.json"), memory)


LIFE = """
import os, sys, anyio
from wixvisitor.storage.sqlite import SQLiteStorage

def say(word, value): os.write(1, f"{word} {value or '-'}".encode())

async def main():
    for values in (("1", "2", "", "3"), ("4", "5")):
        storage = SQLiteStorage(sys.argv[1])
        await storage.load("client:visitor")
        await storage.acquire_lease("client:visitor", "a", 5.0)
        for value in values:
            say("begins", value)
            await (storage.save("client:visitor", value * 1500) if value else storage.delete("client:visitor"))
            say("has", value)
            await storage.release_lease("client:visitor", "a")
        await storage.save("client:another", "x" * 3000)
        await storage._settle()
        await storage.save("client:another", "y" * 3000)
        await storage.aclose()

anyio.run(main)
"""


@pytest.mark.machine
@pytest.mark.skipif(not can_trace(), reason="needs strace")
async def test_sqlite(disk: Disk, tmp_path: Path, memory: Path) -> None:
    """A database in a directory that was just made: made, filled, its log emptied, closed and opened again."""
    trace(LIFE, disk, tmp_path / "log", disk.top / "a" / "b" / "visitors.db")
    disk.events = [_without_dash(event) for event in disk.events]
    assert sum(getattr(event, "word", "") == "has" for event in disk.events) == 6
    assert await check(disk, lambda top: SQLiteStorage(top / "a" / "b" / "visitors.db"), memory, every=2, some=2) > 100


def _without_dash(event: Any) -> Any:
    return type(event)(event.word, "") if getattr(event, "value", "") == "-" else event
