"""What FileStorage does beyond the contract: whose files it touches, and what a crash leaves behind."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

import wixvisitor
from wixvisitor.errors import ConfigurationError, StorageError
from wixvisitor.storage import (
    ConditionalStorage,
    FileStorage,
    LeasingStorage,
    VersionConflict,
    _file_lock,
    _file_record,
)
from wixvisitor.storage import file as file_module
from wixvisitor.storage._file_lock import FileLock

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes, signals and fork")]

KEY = "client:default"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(wixvisitor.__file__).parents[1])}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "visitor.json"


def mode(place: Path) -> int:
    return stat.S_IMODE(place.stat().st_mode)


def record(key: str = KEY, **changes: Any) -> bytes:
    return json.dumps({"wixvisitor": 1, "key": key, "version": "v", "value": "text"} | changes).encode()


def put(place: Path, data: bytes, permissions: int = 0o600) -> None:
    place.write_bytes(data)
    place.chmod(permissions)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


# Whose files


def test_offers_everything(place):
    """It can compare and set, and it has leases."""
    assert isinstance(FileStorage(place), ConditionalStorage)
    assert isinstance(FileStorage(place), LeasingStorage)


async def test_files_are_private(tmp_path):
    """Files are 0600 and a new directory 0700, whatever the umask allows."""
    place = tmp_path / "new" / "visitor.json"
    storage = FileStorage(place)
    with umask(0):
        await storage.save(KEY, "value")
        await storage.acquire_lease(KEY, "a", 60)
    assert mode(place.parent) == 0o700
    assert {path.name: mode(path) for path in place.parent.iterdir()} == {
        "visitor.json": 0o600,
        "visitor.json.lock": 0o600,
        "visitor.json.lease": 0o600,
    }
    await storage.release_lease(KEY, "a")


async def test_an_existing_directory_keeps_its_mode(tmp_path):
    """A directory that was there is the user's business."""
    tmp_path.chmod(0o755)
    await FileStorage(tmp_path).save(KEY, "value")
    assert mode(tmp_path) == 0o755


async def test_another_working_directory(tmp_path, monkeypatch):
    """A relative path is where the program was when it made the storage, wherever it goes then, as daemons do."""
    monkeypatch.chdir(tmp_path)
    storage = FileStorage("visitor.json")
    await storage.save(KEY, "value")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    record = await storage.load(KEY)
    assert record is not None
    assert record.value == "value"


async def test_directory_keeps_a_file_for_each(tmp_path):
    """Below a directory each visitor has a file, whose name tells nothing of the key."""
    outside, tmp_path = tmp_path, tmp_path / "visitors"
    storage = FileStorage(f"{tmp_path}/")
    await storage.save("client:one", "1")
    await storage.save("client:../two", "2")
    names = sorted(path.name for path in tmp_path.glob("*.json"))
    assert len(names) == 2
    assert not any(word in name for name in names for word in ("client", "one", "two"))
    assert list(outside.iterdir()) == [tmp_path]


async def test_a_trailing_slash_makes_a_directory(tmp_path):
    """A path that ends in a slash is a directory before it exists."""
    storage = FileStorage(f"{tmp_path}/visitors/")
    await storage.save("one", "1")
    await storage.save("two", "2")
    assert (tmp_path / "visitors").is_dir()
    assert "a directory" in repr(storage)


async def test_home_is_expanded(tmp_path, monkeypatch):
    """A path may begin with ``~``."""
    monkeypatch.setenv("HOME", str(tmp_path))
    await FileStorage("~/visitor.json").save(KEY, "value")
    assert (tmp_path / "visitor.json").is_file()


async def test_a_second_visitor_in_one_file(place):
    """A single file is one visitor's: a second one's load, save and delete raise, and the first one stays."""
    storage = FileStorage(place)
    await storage.save(KEY, "value")
    before = place.read_bytes()
    await refuses(storage, "another visitor's file", key="client:other")
    assert place.read_bytes() == before


async def refuses(storage: FileStorage, reason: str, key: str = KEY) -> None:
    with pytest.raises(StorageError, match=reason):
        await storage.load(key)
    with pytest.raises(StorageError, match=reason) as caught:
        await storage.save(key, "new")
    assert not isinstance(caught.value, VersionConflict)
    with pytest.raises(StorageError, match=reason):
        await storage.delete(key)


DAMAGED = {
    "0 bytes": (b"", "no visitor's record"),
    "blank": (b" \n", "no visitor's record"),
    "half": (record()[:-20], "no visitor's record"),
    "zeros": (b"\0" * 200, "no visitor's record"),
    "not UTF-8": (b"\xff\xfe\x00{", "no visitor's record"),
    "deep": (b"[" * 100_000, "no visitor's record"),
    "a list": (b"[]", "no visitor's record"),
    "a number": (b"1", "no visitor's record"),
    "tokens of @wix/sdk": (b'{"accessToken":{"value":"","expiresAt":0}}', "no visitor's record"),
    "another program's": (b"[section]\nkey = value\n", "no visitor's record"),
    "a later format": (record(wixvisitor=2), "format 2"),
    "an odd format": (record(wixvisitor={"a": 1}), "format"),
    "another visitor's": (record("client:other"), "another visitor's file"),
    "without a key": (b'{"wixvisitor": 1, "version": "v", "value": "t"}', "another visitor's file"),
    "without a value": (b'{"wixvisitor": 1, "version": "v", "key": "client:default"}', "damaged"),
    "a value that is no text": (record(value={"a": 1}), "damaged"),
    "a version that is no text": (record(version=None), "damaged"),
    "2 MB": (b" " * 2_000_000 + record(), "no visitor's record"),
}


@pytest.mark.parametrize("name", DAMAGED)
async def test_damaged_file_is_left_in_place(place, name):
    """A file that is no record of this visitor raises, and is left byte for byte as it was."""
    data, reason = DAMAGED[name]
    put(place, data)
    await refuses(FileStorage(place), reason)
    assert place.read_bytes() == data
    assert not list(place.parent.glob("*.tmp"))


async def test_damage_is_told_without_the_value(place):
    """The error about a damaged file names the file and nothing of its content."""
    put(place, record(value="JWS.header.classified.signature")[:-3])
    with pytest.raises(StorageError) as caught:
        await FileStorage(place).load(KEY)
    assert str(place) in str(caught.value)
    assert "classified" not in repr(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("permissions", [0o604, 0o644, 0o601, 0o666, 0o777])
@pytest.mark.parametrize("accept_group", [False, True])
async def test_a_file_that_others_can_use(place, permissions, accept_group):
    """A record that all others may use in any way is refused until it is private, whatever is said of the group."""
    put(place, record(), permissions)
    await refuses(FileStorage(place, accept_group=accept_group), "chmod 600")
    assert mode(place) == permissions
    place.chmod(0o600)
    assert (await FileStorage(place).load(KEY)).value == "text"


@pytest.mark.parametrize("permissions", [0o640, 0o660, 0o610, 0o620, 0o670])
async def test_a_file_that_a_mount_gave_to_the_group(place, permissions, caplog):
    """A record of our own that the group may use is put right with one warning for its directory, and is served."""
    put(place, record(), permissions)
    other = place.with_name("other.json")
    put(other, record(), permissions)
    assert (await FileStorage(place).load(KEY)).value == "text"
    assert await FileStorage(other).save(KEY, "new")
    assert (mode(place), mode(other)) == (0o600, 0o600)
    assert [entry.levelname for entry in caplog.records if "is private again" in entry.message] == ["WARNING"]
    assert "text" not in caplog.text


MOUNTS = {
    "keeps the mode": lambda *_: None,
    "refuses": lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, os.strerror(errno.EPERM))),
    "is read-only": lambda *_: (_ for _ in ()).throw(OSError(errno.EROFS, os.strerror(errno.EROFS))),
}


@pytest.mark.parametrize("mount", MOUNTS)
async def test_a_mount_that_keeps_the_groups_bits(place, mount, monkeypatch):
    """Where the mode cannot be changed the error names the option, and with it the record is served as it is."""
    put(place, record(), 0o660)
    monkeypatch.setattr(os, "chmod", MOUNTS[mount])
    await refuses(FileStorage(place), "accept_group=True")
    assert place.read_bytes() == record()
    storage = FileStorage(place, accept_group=True)
    assert (await storage.load(KEY)).value == "text"
    await storage.save(KEY, "new")
    assert (await storage.load(KEY)).value == "new"


async def test_another_users_file(place, monkeypatch):
    """A file of another user that our group may use is not changed, also by root; the option accepts it."""
    put(place, record(), 0o660)
    monkeypatch.setattr(os, "geteuid", lambda: place.stat().st_uid + 1)
    await refuses(FileStorage(place), "belongs to another user")
    assert mode(place) == 0o660
    assert (await FileStorage(place, accept_group=True).load(KEY)).value == "text"


@pytest.mark.parametrize("added", [0o060, 0o077])
async def test_a_mount_whose_new_files_are_not_private(place, added, monkeypatch):
    """Where a new file would not be private, no token is written into one: the save is refused, not the next load."""
    make = os.open

    def mounted(path, flags, *arguments, **more):
        descriptor = make(path, flags, *arguments, **more)
        if flags & os.O_CREAT and str(path).endswith(".tmp"):
            os.fchmod(descriptor, 0o600 | added)
        return descriptor

    monkeypatch.setattr(os, "open", mounted)
    monkeypatch.setattr(os, "chmod", MOUNTS["keeps the mode"])
    with pytest.raises(StorageError, match=r"tmp can be read by"):
        await FileStorage(place).save(KEY, "classified")
    assert not any(path.read_bytes() for path in place.parent.glob("*.json*"))
    if added == 0o060:
        await FileStorage(place, accept_group=True).save(KEY, "value")
        assert (await FileStorage(place, accept_group=True).load(KEY)).value == "value"


@pytest.mark.parametrize("code", [errno.EBUSY, errno.EXDEV])
async def test_a_single_file_that_is_mounted(place, code, monkeypatch):
    """Where nothing can be renamed onto the file the error says what to mount, and the record stays."""
    storage = FileStorage(place)
    await storage.save(KEY, "old")

    unlink = Path.unlink

    def mounted(target, *_):
        if target.name.endswith(".tmp") and not _:
            return unlink(target)
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", mounted)
        patch.setattr(Path, "unlink", mounted)
        with pytest.raises(StorageError, match="mount its directory"):
            await storage.save(KEY, "new")
        with pytest.raises(StorageError, match="mount its directory"):
            await storage.delete(KEY)
    assert not list(place.parent.glob("*.tmp"))
    assert (await storage.load(KEY)).value == "old"


async def test_an_empty_file_made_for_a_mount(place):
    """A file that was made empty, as a mount needs it, is told what to mount instead."""
    put(place, b"")
    await refuses(FileStorage(place), "mount its directory")


async def test_a_directory_behind_a_symlink(tmp_path):
    """The directory may be a symlink to another one, and the files are in that one."""
    (tmp_path / "volume").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "volume")
    storage = FileStorage(tmp_path / "link" / "new" / "visitor.json")
    await storage.save(KEY, "value")
    assert (await storage.load(KEY)).value == "value"
    assert (tmp_path / "volume" / "new" / "visitor.json").is_file()
    many = FileStorage(tmp_path / "link")
    await many.save("one", "1")
    assert (await many.load("one")).value == "1"


async def test_a_name_that_is_no_utf8(tmp_path):
    """A path that is no UTF-8 works, and an error about it can be written to any log."""
    try:
        place = tmp_path / os.fsdecode(b"caf\xe9") / "visitor.json"
        place.parent.mkdir()
    except OSError:
        pytest.skip("the file system takes no such name")
    storage = FileStorage(place)
    await storage.save(KEY, "value")
    assert (await storage.load(KEY)).value == "value"
    place.write_bytes(b"junk")
    with pytest.raises(StorageError, match="caf") as caught:
        await storage.load(KEY)
    assert str(caught.value).encode()


@pytest.mark.parametrize("key", ["k" * 100_000, "\ud800", "a/../b\0c", "", " "])
async def test_keys_of_any_length_and_content(tmp_path, key):
    """A key may be very long, or hold what no file's name may."""
    storage = FileStorage(f"{tmp_path}/")
    await storage.save(key, "value")
    assert (await storage.load(key)).value == "value"
    await storage.delete(key)
    assert await storage.load(key) is None


async def test_a_name_that_is_too_long(tmp_path):
    """A path that the file system refuses is a StorageError by every method."""
    await refuses(FileStorage(tmp_path / ("n" * 300)), "too long")


@pytest.mark.parametrize("path", ["", "visitor\0.json", b"visitor.json"])
def test_no_path(path):
    """What no file can be called is a ConfigurationError when the storage is made."""
    with pytest.raises(ConfigurationError, match="path"):
        FileStorage(path)


async def test_symlink(tmp_path, place):
    """A symlink is not followed, and what it points to stays as it was."""
    target = tmp_path / "target"
    put(target, record())
    place.symlink_to(target)
    await refuses(FileStorage(place), "symlink")
    assert place.is_symlink()
    assert target.read_bytes() == record()


async def test_dangling_symlink(tmp_path, place):
    """A symlink to nothing is no missing record: nobody is minted over it, and nothing is made at its end."""
    place.symlink_to(tmp_path / "nothing")
    await refuses(FileStorage(place), "symlink")
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("suffix", [".tmp", ".lock", ".lease"])
async def test_symlink_beside_the_record(tmp_path, place, suffix):
    """A symlink in place of a helper file never empties or changes the file that it points to."""
    victim = tmp_path / "victim"
    victim.write_text("precious", "utf-8")
    place.with_name(place.name + suffix).symlink_to(victim)
    storage = FileStorage(place)
    for call in (storage.save(KEY, "value"), storage.acquire_lease(KEY, "a", 60), storage.release_lease(KEY, "a")):
        try:
            await call
        except StorageError:
            continue
    assert victim.read_text("utf-8") == "precious"


async def test_directory_in_place(place):
    """A directory where the file should be is refused."""
    storage = FileStorage(place)
    place.mkdir()
    await refuses(storage, r"not a regular file|[Dd]irectory")
    assert place.is_dir()


async def test_fifo_in_place(place):
    """A named pipe is refused at once instead of being waited on."""
    os.mkfifo(place, 0o600)
    writer = threading.Timer(6, lambda: os.close(os.open(place, os.O_RDWR)))  # a thread that waits cannot be cancelled
    writer.start()
    try:
        with anyio.fail_after(5):
            await refuses(FileStorage(place), "not a regular file")
    finally:
        writer.cancel()


async def test_path_below_a_file(tmp_path):
    """A path that cannot exist is a StorageError that names it, by every method."""
    (tmp_path / "file").write_text("", "utf-8")
    storage = FileStorage(tmp_path / "file" / "visitor.json")
    await refuses(storage, "visitor.json")
    with pytest.raises(StorageError, match="cannot lease"):
        await storage.acquire_lease(KEY, "a", 60)


async def test_what_is_saved_can_be_loaded(place):
    """A value that is too long to be read back is refused when it is saved, not when it is needed."""
    storage = FileStorage(place)
    await storage.save(KEY, "before")
    value = "x" * 2_000_000
    try:
        await storage.save(KEY, value)
    except StorageError:
        value = "before"
    assert (await storage.load(KEY)).value == value


# Atomic and durable


async def test_order_of_a_write(place, monkeypatch):
    """A record is written beside the old one, flushed to disk, renamed, and the rename flushed as well."""
    storage = FileStorage(place)
    await storage.save(KEY, "old")
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def watch_fsync(descriptor: int) -> None:
        steps.append("fsync directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "fsync file")
        fsync(descriptor)

    def watch_replace(source: Path, target: Path) -> None:
        assert json.loads(Path(source).read_bytes())["value"] == "new"
        assert json.loads(Path(target).read_bytes())["value"] == "old"
        assert source.parent == target.parent
        steps.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watch_fsync)
    monkeypatch.setattr(os, "replace", watch_replace)
    await storage.save(KEY, "new")
    assert steps == ["fsync file", "replace", "fsync directory"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
async def test_failing_write(place, monkeypatch, call):
    """When the disk is full the save raises, the old record stays, and nothing is left beside it."""
    storage = FileStorage(place)
    version = await storage.save(KEY, "old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(StorageError, match="No space left"):
            await storage.save(KEY, "new")
    assert (await storage.load(KEY)).value == "old"
    assert not list(place.parent.glob("*.tmp"))
    assert await storage.save(KEY, "new", expected=version)


async def test_cancelled_save_is_whole(place, monkeypatch):
    """A save that is cancelled in the middle has happened or has not, and the next one works."""
    storage = FileStorage(place)
    await storage.save(KEY, "old")
    inside, go_on, fsync = threading.Event(), threading.Event(), os.fsync

    def slow(descriptor: int) -> None:
        inside.set()
        go_on.wait(5)
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", slow)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(storage.save, KEY, "new")
            await anyio.to_thread.run_sync(inside.wait, 5)
            tasks.cancel_scope.cancel()
            go_on.set()
    assert (await storage.load(KEY)).value in ("old", "new")
    await storage.save(KEY, "newer")
    assert (await storage.load(KEY)).value == "newer"


@pytest.mark.parametrize("leftover", [b"", record()[:30], b"\0" * 5000], ids=["empty", "half", "zeros"])
async def test_leftovers_are_harmless(place, leftover):
    """What a killed writer left beside the record is never read, and written over."""
    put(place.with_name(place.name + ".tmp"), leftover)
    storage = FileStorage(place)
    assert await storage.load(KEY) is None
    await storage.save(KEY, "value")
    assert (await storage.load(KEY)).value == "value"
    assert not list(place.parent.glob("*.tmp"))


async def test_delete_leaves_no_secret(place):
    """After a delete no file holds the value."""
    storage = FileStorage(place)
    await storage.save(KEY, "classified")
    await storage.delete(KEY)
    assert b"classified" not in b"".join(path.read_bytes() for path in place.parent.iterdir())
    assert not place.exists()


async def test_a_lock_that_is_never_given_back(place, monkeypatch):
    """When another process was stopped in the middle of a write, a save ends with a StorageError; loads go on."""
    import filelock

    storage = FileStorage(place)
    await storage.save(KEY, "value")
    monkeypatch.setattr(file_module, "_WRITE_TIMEOUT", 0.05)
    with filelock.FileLock(f"{place}.lock"):
        assert (await storage.load(KEY)).value == "value"
        with pytest.raises(StorageError, match="cannot save"):
            await storage.save(KEY, "new")
    await storage.save(KEY, "new")
    assert (await storage.load(KEY)).value == "new"


def test_one_event_loop_after_another(place):
    """A lease that was taken in one event loop is given back in another."""
    storage = FileStorage(place)
    anyio.run(storage.save, KEY, "value", backend="trio")
    anyio.run(storage.acquire_lease, KEY, "a", 60.0, backend="asyncio")
    assert anyio.run(FileStorage(place).acquire_lease, KEY, "b", 60.0, backend="trio") > 0
    anyio.run(storage.release_lease, KEY, "a", backend="trio")
    assert anyio.run(FileStorage(place).acquire_lease, KEY, "b", 60.0, backend="asyncio") == 0.0
    assert anyio.run(storage.load, KEY, backend="asyncio").value == "value"


async def test_a_late_release_frees_nobody_elses_lease(place):
    """A holder who gives its lease back after its time does not free the next holder's, who then still can."""
    late, next_one, third = FileStorage(place), FileStorage(place), FileStorage(place)
    assert await late.acquire_lease(KEY, "late", 0.0) == 0.0  # over at once, as after a pause of the process
    assert await next_one.acquire_lease(KEY, "next", 60.0) == 0.0
    await late.release_lease(KEY, "late")
    assert await third.acquire_lease(KEY, "third", 60.0) > 0
    await next_one.release_lease(KEY, "next")
    assert await third.acquire_lease(KEY, "third", 60.0) == 0.0


# Other processes

# One interpreter forks a child for each step, and the child kills itself there with SIGKILL, as `kill -9` would.
KILLER = """
import json, os, signal, sys
import anyio
from wixvisitor.storage import FileStorage, _file_record

def die(*_): os.kill(os.getpid(), signal.SIGKILL)

def patch(step):
    when, name = step.split(" ", 1)
    if name == "half":
        def halved(*args):
            file = open(*args)
            if args[1] != "wb": return file
            write = file.write
            def half(data):
                write(data[: len(data) // 2])
                file.flush()
                die()
            class Half:
                def __enter__(self): return self
                def __exit__(self, *_): pass
                write = staticmethod(half)
            return Half()
        _file_record.open = halved
        return
    number = 0
    module, name, wanted = {
        "lock": (_file_record, "read", 1), "draft": (_file_record, "_write_private", 1),
        "fsync": (os, "fsync", 1), "replace": (os, "replace", 1), "directory fsync": (os, "fsync", 2),
    }[name]
    original = getattr(module, name)
    def dying(*args):
        nonlocal number
        number += 1
        if number == wanted and when == "before": die()
        result = original(*args)
        if number == wanted and when == "after": die()
        return result
    setattr(module, name, dying)

for step, place in json.load(sys.stdin):
    child = os.fork()
    if child == 0:
        patch(step)
        anyio.run(FileStorage(place).save, "client:default", "new")
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL, step
    print(step)
"""
OLD_STAYS = ("after lock", "before draft", "in half", "before fsync", "after fsync", "after draft", "before replace")
NEW_COUNTS = ("after replace", "before directory fsync", "after directory fsync")
KILLED = (*OLD_STAYS, *NEW_COUNTS)


@pytest.fixture(scope="module")
def crashes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a record for each step at which its writer was killed, and one where there was no record."""
    top = tmp_path_factory.mktemp("crashes")
    todo = []
    for step in KILLED:
        for before in ("old", "nothing"):
            place = top / before / f"{step}.json"
            place.parent.mkdir(exist_ok=True)
            if before == "old":
                put(place, record(value="old"))
            todo.append((step, str(place)))
    result = subprocess.run(
        [sys.executable, "-c", KILLER],
        input=json.dumps(todo),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        env=ENVIRONMENT,
    )
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == len(todo)
    return top


@pytest.mark.parametrize("before", ["old", "nothing"])
@pytest.mark.parametrize("step", KILLED)
def test_killed_in_the_middle_of_a_save(crashes, step, before):
    """After ``kill -9`` at any step the record is the old or the new one, never half, and the next save works."""
    storage = FileStorage(crashes / before / f"{step}.json")
    found = anyio.run(storage.load, KEY)
    value = found.value if found else "nothing"
    assert value == ("new" if step in NEW_COUNTS else before)
    anyio.run(storage.save, KEY, "newer")
    assert anyio.run(storage.load, KEY).value == "newer"
    assert not (crashes / before / f"{step}.json.tmp").exists()


HOLDER = """
import sys, anyio
from wixvisitor.storage import FileStorage

async def main(place, seconds):
    storage = FileStorage(place)
    print(await storage.acquire_lease("client:default", "holder", float(seconds)), flush=True)
    await anyio.sleep(60)

anyio.run(main, *sys.argv[1:])
"""


@contextmanager
def holder(place: Path, seconds: float) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDER, str(place), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8", env=ENVIRONMENT) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "0.0\n"
            yield process
        finally:
            process.kill()


def test_lease_of_a_killed_process(place):
    """A lease is free as soon as its holder was killed, however long it was to last."""
    storage = FileStorage(place)
    with holder(place, 60) as process:
        assert anyio.run(storage.acquire_lease, KEY, "b", 60.0) > 0
        process.kill()
        process.wait(5)
        assert anyio.run(storage.acquire_lease, KEY, "b", 60.0) == 0.0


def test_lease_of_a_stopped_process(place):
    """A process that is stopped with the lease keeps nobody from the record, and the lease ends after its seconds."""
    storage = FileStorage(place)
    with holder(place, 0.05) as process:
        process.send_signal(signal.SIGSTOP)
        anyio.run(storage.save, KEY, "value")
        assert anyio.run(storage.load, KEY).value == "value"
        anyio.run(anyio.sleep, 0.06)
        remaining = anyio.run(storage.acquire_lease, KEY, "b", 60.0)
    assert remaining == 0.0  # TokenStorage: "A lease ends by itself after ``seconds``"


HOLD = """
import fcntl, os, signal, sys
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(descriptor, fcntl.LOCK_EX)
print("held", flush=True)
signal.pause()
"""


@contextmanager
def locked_by_another(place: Path) -> Iterator[None]:
    """Another process has this file's lock, and is stopped."""
    command = [sys.executable, "-c", HOLD, f"{place}.lock"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.kill()


async def test_one_stuck_file(tmp_path):
    """While another process has the locks of twenty visitors the others are served within a second, and all read."""
    storage = FileStorage(f"{tmp_path}/")
    for number in range(21):
        await storage.save(f"{number}", "value")
    with contextlib.ExitStack() as stack:
        for number in range(20):
            name = hashlib.sha256(f"{number}".encode()).hexdigest()[:40]
            stack.enter_context(locked_by_another(tmp_path / f"{name}.json"))
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(storage.acquire_lease, f"{number}", "stuck", 5.0)
            await anyio.sleep(0.1)
            with anyio.fail_after(1):
                assert await storage.acquire_lease("20", "a", 5.0) == 0.0
                await storage.save("20", "newer")
                await storage.release_lease("20", "a")
                assert (await storage.load("0")).value == "value"
            tasks.cancel_scope.cancel()


FORKED_HOLDER = """
import os, sys, time, anyio
from wixvisitor.storage import FileStorage

storage, key = FileStorage(sys.argv[1]), "client:default"
anyio.run(storage.acquire_lease, key, "parent", 60.0)
child = os.fork()
if child:
    print(child, flush=True)
    time.sleep(60)
anyio.run(storage.release_lease, key, "parent")  # what it inherited is not its own
print("child", anyio.run(storage.acquire_lease, key, "child", 60.0) > 0, flush=True)
time.sleep(60)
"""


def test_lease_of_a_process_that_forked(place):
    """A lease is the process's own: a forked child cannot give it back, and does not keep it when the parent dies."""
    command = [sys.executable, "-W", "ignore", "-c", FORKED_HOLDER, str(place)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8", env=ENVIRONMENT) as process:
        assert process.stdout is not None
        lines = {process.stdout.readline().strip() for _ in range(2)}
        child = next(int(line) for line in lines if line.isdigit())
        try:
            assert lines == {str(child), "child True"}
            assert anyio.run(FileStorage(place).acquire_lease, KEY, "b", 60.0) > 0
            process.kill()
            process.wait(5)
            assert anyio.run(FileStorage(place).acquire_lease, KEY, "b", 60.0) == 0.0
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_lock_that_was_inherited(place, monkeypatch):
    """A child that lets go of its parent's lock object neither gives the lock back nor closes a descriptor."""
    lock, ours = FileLock(place), os.getpid()
    assert lock.acquire()
    monkeypatch.setattr(os, "getpid", lambda: ours + 1)
    lock.release()
    monkeypatch.undo()
    assert not FileLock(place).acquire()
    _file_lock._in_child()  # closes what the child has of it
    assert FileLock(place).acquire()


def test_locks_are_compatible_with_filelock(place):
    """Today's releases lock with filelock: each side sees the other's lock."""
    import filelock

    lock = FileLock(Path(f"{place}.lock"))
    assert lock.acquire()
    with pytest.raises(filelock.Timeout):
        filelock.FileLock(f"{place}.lock", timeout=0).acquire()
    lock.release()
    with filelock.FileLock(f"{place}.lock"):
        assert not lock.acquire()
    assert lock.acquire()
    lock.release()


def test_a_lock_file_that_was_removed(place):
    """Who locks a file that is no longer at its place has locked nothing, and locks the new one."""
    lock, opened = FileLock(place), os.open

    def removing(*arguments: Any) -> int:
        monkey.undo()
        descriptor = opened(*arguments)
        place.unlink()
        return descriptor

    with pytest.MonkeyPatch.context() as monkey:
        monkey.setattr(os, "open", removing)
        assert lock.acquire()
    assert not FileLock(place).acquire()
    lock.release()
    assert FileLock(place).acquire()


CONTENDERS = """
import json, multiprocessing, sys
from functools import partial
import anyio
from wixvisitor.storage import FileStorage, VersionConflict

def contend(number, place, rounds, barrier):
    storage = FileStorage(place)
    for turn in range(rounds):
        record = anyio.run(storage.load, "client:default")
        barrier.wait(30)
        try:
            version = record.version if record else None
            anyio.run(partial(storage.save, "client:default", f"{turn}.{number}", expected=version))
            sys.stdout.write(f"{turn}.{number}\\n")
            sys.stdout.flush()
        except VersionConflict:
            pass
        barrier.wait(30)

context = multiprocessing.get_context("fork")
barrier = context.Barrier(8)
workers = [context.Process(target=contend, args=(n, sys.argv[1], int(sys.argv[2]), barrier)) for n in range(8)]
for worker in workers: worker.start()
for worker in workers: worker.join()
sys.exit(max(worker.exitcode for worker in workers))
"""


def test_processes_have_one_winner_a_round(place):
    """Of eight processes that save over the same version exactly one wins, the first save included."""
    rounds = 5
    command = [sys.executable, "-c", CONTENDERS, str(place), str(rounds)]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120, env=ENVIRONMENT)
    assert result.returncode == 0, result.stderr
    winners = result.stdout.split()
    assert [winner.partition(".")[0] for winner in winners] == [str(turn) for turn in range(rounds)]
    assert anyio.run(FileStorage(place).load, KEY).value == winners[-1]


# Fine print


async def test_every_kind_of_text(place):
    """The file is JSON in ASCII, so that no locale and no editor changes it."""
    await FileStorage(place).save(KEY, "Zoë 訪問者 🛒")
    assert place.read_bytes().isascii()
    assert _file_record.read(place, KEY).value == "Zoë 訪問者 🛒"


async def test_repr_tells_the_place_only(place):
    """The repr shows where, and whether it is a directory."""
    storage = FileStorage(place)
    await storage.save(KEY, "classified")
    assert repr(storage) == f"<FileStorage {str(place)!r}, one visitor>"
