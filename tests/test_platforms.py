"""What differs on Windows and macOS: shown by ``tests/windows.py``, which plays Windows on Linux, and by injection."""

from __future__ import annotations

import ast
import asyncio
import errno
import io
import os
import re
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

import wixvisitor
from tests.commands import NEEDED_PLUGINS, served
from tests.diagonal import ONLY_IN_CI
from wixvisitor import StorageError
from wixvisitor._tasks.background_loop import Call, background
from wixvisitor._tasks.time_limits import outside_clock
from wixvisitor.cli import main
from wixvisitor.storage import FileStorage
from wixvisitor.storage._sqlite_file import connect
from wixvisitor.storage.sqlalchemy import SQLAlchemyStorage
from wixvisitor.storage.sqlite import SQLiteStorage
from wixvisitor.testing._stand_in.state_file import StateFile

TOP = Path(wixvisitor.__file__).parents[1]
PARTS = ("wixvisitor", "examples", "tests", "tools", "benchmarks")
# The modules that ask which system this is. All others use what these offer.
ASKING = {
    "wixvisitor/_http/idle.py",
    "wixvisitor/_tasks/background_loop.py",
    "wixvisitor/_tasks/forks.py",
    "wixvisitor/_tasks/time_limits.py",
    "wixvisitor/cli/_fake_command.py",
    "wixvisitor/storage/_file_lock.py",
    "wixvisitor/storage/_system.py",
    "wixvisitor/testing/_serve.py",
    "wixvisitor/testing/_stand_in/state_file.py",
}
pytestmark = [pytest.mark.machine]
played = pytest.mark.skipif(sys.platform != "linux", reason="Windows is played on Linux")


def on_windows(
    program: str, *arguments: Any, place: Path, used: str = "core", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs a program where Windows is played; ``used`` says which modules are imported before."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "COVERAGE_"))}
    command = [sys.executable, "-m", "tests.windows", used, program, *map(str, arguments)]
    return subprocess.run(
        command,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        cwd=place,
        env={**ours, "PYTHONPATH": str(TOP), **environment},
    )


def pytest_on_windows(*arguments: Any, place: Path, used: str = "extras") -> str:
    """Runs tests of ours where Windows is played; returns what pytest says."""
    program = "import pytest, sys; sys.exit(pytest.main(sys.argv[1:]))"
    options = ["-q", "-p", "no:cacheprovider", "-c", TOP / "pyproject.toml", f"--basetemp={place / 'base'}"]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # modules of plugins are imported before
    done = on_windows(program, *arguments, *options, place=TOP, used=used, **NEEDED_PLUGINS)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


IMPORT_ALL = """
import importlib, pkgutil, wixvisitor
for one in pkgutil.walk_packages(wixvisitor.__path__, "wixvisitor."):
    if not one.name.endswith("__main__"):
        importlib.import_module(one.name)
print("all")
"""


@played
def test_every_module_is_imported_on_windows(tmp_path: Path) -> None:
    """No module needs ``fork``, ``fcntl`` or another function of POSIX when it is imported."""
    done = on_windows(IMPORT_ALL, place=tmp_path, used="extras")
    assert (done.stdout, done.stderr) == ("all\n", "")


@played
@ONLY_IN_CI
def test_stores_on_windows(tmp_path: Path) -> None:
    """The stores in files keep their contract: no directory is opened, no open file replaced, no locked one read."""
    said = pytest_on_windows(
        "tests/storage/test_contract.py", "tests/storage/test_sqlite.py", "-k", "TestFile or TestSQLite", place=tmp_path
    )
    assert int(re.search(r"(\d+) passed", said)[1]) > 150


READ_ALL_THE_TIME = """
import sys, threading, anyio
from wixvisitor.storage import FileStorage

async def main():
    storage = FileStorage(sys.argv[1])
    await storage.save("a", "0")
    ended = threading.Event()

    def hold():
        while not ended.is_set():
            with open(sys.argv[1], "rb") as file:
                ended.wait(0.01)
            ended.wait(0.005)

    reader = threading.Thread(target=hold, daemon=True)
    reader.start()
    for number in range(20):
        await storage.save("a", str(number))
    ended.set()
    reader.join()
    await storage.delete("a")
    print((await storage.load("a")))

anyio.run(main)
"""


@played
def test_a_file_that_is_being_read(tmp_path: Path) -> None:
    """A record is saved and deleted though another program opens it again and again."""
    done = on_windows(READ_ALL_THE_TIME, tmp_path / "visitor.json", place=tmp_path)
    assert (done.stdout, done.stderr) == ("None\n", "")


LIFE = """
import sys, anyio
from wixvisitor import VisitorSession
from wixvisitor.blocking import BlockingVisitorSession
from wixvisitor.storage import FileStorage
from wixvisitor.storage.sqlite import SQLiteStorage
from wixvisitor.testing import FakeWix

fake = FakeWix(clock=lambda: fake_now[0])
fake_now = [1_800_000_000.0]
ID = "5e9c1d0a-7c1e-4a52-9d5e-1f2a3b4c5d6e"

async def live(store):
    for _ in range(3):
        async with fake.serve() as url, VisitorSession(
            ID, storage=store, base_url=url, clock=lambda: fake_now[0]
        ) as session:
            assert (await session.get("/ecom/v2/carts/current")).status_code in (200, 404)
        fake_now[0] += 5 * 3600

for name, store in (("file", FileStorage(sys.argv[1] + "/v/")), ("sqlite", SQLiteStorage(sys.argv[1] + "/v.db"))):
    for backend in ("asyncio", "trio"):
        anyio.run(live, store, backend=backend)
    print(name, len(fake.visitors), len(fake.token_calls()))
"""


@played
def test_a_visitors_life_on_windows(tmp_path: Path) -> None:
    """One visitor stays one visitor there, in each store, on asyncio and trio, through three programs and renewals."""
    done = on_windows(LIFE, tmp_path, place=tmp_path)
    assert (done.stdout, done.stderr) == ("file 1 6\nsqlite 2 12\n", "")


FAKE = """
import signal, sys
from wixvisitor.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
sys.exit(main(["fake", "--port", "0", "--reload-state", sys.argv[1]]))
"""


@played
def test_ctrl_c_ends_the_fake_on_windows(tmp_path: Path) -> None:
    """No event loop can handle signals there; Ctrl-C ends the command all the same, and its state is saved."""
    state, environment = tmp_path / "state.json", {**os.environ, "PYTHONPATH": str(TOP)}
    with served("-m", "tests.windows", "core", FAKE, str(state), cwd=tmp_path, env=environment) as command:
        assert "Ctrl-C ends it" in command.lines[0]
        code, _, rest = command.stop()
    assert (code, "0 visitors are kept" in rest) == (0, True)
    assert '"visitors":[]' in state.read_text("utf-8")


@played
@ONLY_IN_CI
def test_all_tests_are_collected_on_windows(tmp_path: Path) -> None:
    """No test file needs POSIX when it is imported; what needs it is skipped with a reason."""
    said = pytest_on_windows("tests", "--collect-only", place=tmp_path, used="tests")
    assert int(re.search(r"(\d+)(?:/\d+)? tests collected", said)[1]) > 1_000


REFUSED = """
from pathlib import Path
import anyio
from wixvisitor import ConfigurationError, StorageError
from wixvisitor.storage import FileStorage
from wixvisitor.storage.redis import RedisStorage
from wixvisitor.storage.sqlite import SQLiteStorage

for make, place in ((FileStorage, "shop:a.json"), (SQLiteStorage, "shop:v.db"), (RedisStorage, "unix:///x")):
    try:
        make(place)
    except ConfigurationError as error:
        print(error)

Path("link.json").symlink_to("elsewhere.json")
try:
    anyio.run(FileStorage("link.json").load, "a")
except StorageError as error:
    print("link:", error)
"""


CLOSED_ABOVE = """
import sys
from pathlib import Path
import anyio
from wixvisitor.storage import FileStorage
from wixvisitor.storage.sqlite import SQLiteStorage

place, stat = Path(sys.argv[1]), Path.stat

def refuses(path, **options):
    if path in place.parents:
        raise PermissionError(13, "Access is denied", str(path))
    return stat(path, **options)

Path.stat = refuses
for storage in (FileStorage(place / "visitor.json"), SQLiteStorage(place / "visitors.db")):
    anyio.run(storage.save, "a", "text")
    print(anyio.run(storage.load, "a").value == "text")
"""


@played
def test_a_folder_that_may_not_be_looked_at(tmp_path: Path) -> None:
    """On Windows a store needs no folder but its own: those above may be closed to the process."""
    done = on_windows(CLOSED_ABOVE, tmp_path, place=tmp_path)
    assert (done.stdout, done.stderr) == ("True\nTrue\n", "")


@played
def test_what_is_refused_on_windows(tmp_path: Path) -> None:
    """Errors say so: a colon would name a stream of a file, Python has no Unix sockets there, a symlink is no file."""
    done = on_windows(REFUSED, place=tmp_path, used="extras")
    assert done.stderr == ""
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == ["path", "path", "url", "link"]
    assert "is a symlink" in done.stdout
    FileStorage("shop:anna.json")  # is a file's name on other systems
    SQLiteStorage("shop:v.db")


@pytest.mark.parametrize("is_supported", [True, False])
def test_macos_writes_to_the_medium(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_supported: bool) -> None:
    """A file and its directory are synced with ``F_FULLFSYNC`` on macOS, and with fsync where that is not supported."""
    fcntl = pytest.importorskip("fcntl")
    full, plain, sync = [], [], os.fsync

    def control(descriptor: int, command: int) -> None:
        if not is_supported:
            raise OSError(errno.ENOTSUP, "not supported")
        full.append((descriptor, command))

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", control)
    monkeypatch.setattr(os, "fsync", lambda descriptor: plain.append(sync(descriptor)))
    anyio.run(FileStorage(tmp_path / "visitor.json").save, "a", "text")
    assert {command for _, command in full} == ({51} if is_supported else set())
    assert (len(full) >= 2, len(plain) >= 2) == (is_supported, not is_supported)


def test_macos_writes_databases_to_the_medium(tmp_path: Path) -> None:
    """SQLite syncs with ``F_FULLFSYNC`` where the system has it."""
    with closing(connect(tmp_path / "visitors.db")) as connection:
        assert connection.execute("PRAGMA fullfsync").fetchone() == (1,)


@pytest.mark.parametrize(
    ("system", "clock"), [("linux", "boot"), ("android", "boot"), ("darwin", "monotonic"), ("win32", "python's own")]
)
def test_a_clock_that_runs_while_the_machine_sleeps(monkeypatch: pytest.MonkeyPatch, system: str, clock: str) -> None:
    """Each system has a clock that shows how long the machine slept, and that is never set."""
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(time, "CLOCK_BOOTTIME", "boot", raising=False)
    monkeypatch.setattr(time, "CLOCK_MONOTONIC", "monotonic", raising=False)
    monkeypatch.setattr(time, "clock_gettime", lambda name: name, raising=False)
    monkeypatch.setattr(time, "monotonic", lambda: "python's own")
    assert outside_clock() == clock


def test_the_fakes_state_is_saved_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows refuses to replace a file that another program reads: saving is tried again there, and only there."""
    refusals, replace = [2], os.replace

    def busy(source: Any, target: Any) -> None:
        if refusals[0]:
            refusals[0] -= 1
            raise PermissionError(errno.EACCES, "Access is denied", str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", busy)
    with StateFile(tmp_path / "state.json") as state:
        with pytest.raises(PermissionError):
            state.write({"a": 1})
        monkeypatch.setattr(sys, "platform", "win32")
        state.write({"a": 2})
    assert (tmp_path / "state.json").read_text("utf-8") == '{"a":2}'
    assert [place.name for place in tmp_path.glob("*.tmp")] == []


def test_psycopg_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Psycopg cannot use the event loop that is usual there: the error says what to do. Blocking calls have another."""

    class Proactor(asyncio.SelectorEventLoop):
        pass

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(asyncio, "ProactorEventLoop", Proactor, raising=False)
    storage = SQLAlchemyStorage("postgresql+psycopg://me:password@127.0.0.1:1/shop")

    async def load() -> object:
        return await storage.load("a")

    with asyncio.Runner(loop_factory=Proactor) as runner, pytest.raises(StorageError, match=r"postgresql\+asyncpg"):
        runner.run(load())
    with pytest.raises(StorageError, match="the server cannot be reached"):
        background.run(None, Call(load))


def test_keys_that_a_file_system_would_fold(tmp_path: Path) -> None:
    """Keys that differ in case, or in how an accent is composed, have files of their own on macOS and Windows, too."""
    keys = ["Anna", "anna", "ANNA", "caf\u00e9", "cafe\u0301", "CON", "con", "a.", "a", "a ", "x" * 300, "a:b"]

    async def save_all() -> None:
        for key in keys:
            await FileStorage(f"{tmp_path}/v/").save(key, key)

    anyio.run(save_all)
    names = {unicodedata.normalize("NFD", place.name).casefold() for place in (tmp_path / "v").glob("*.json")}
    assert len(names) == len(keys)
    assert all(re.fullmatch(r"[0-9a-f]{40}\.json", name) for name in names)


def test_a_reader_that_has_gone_on_windows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Windows reports a closed pipe as ``EINVAL``. The command ends with 1 and says nothing, as elsewhere."""

    class Closed(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(errno.EINVAL, "Invalid argument")

        def fileno(self) -> int:
            return descriptor

    descriptor = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    (tmp_path / "visitors").mkdir()
    monkeypatch.setattr(sys, "stdout", Closed())
    assert main(["tokens", "--file", f"{tmp_path / 'visitors'}/", "--json"]) == 1
    os.close(descriptor)


def files() -> Iterator[Path]:
    for part in PARTS:
        yield from (path for path in (TOP / part).rglob("*.py") if "node_modules" not in path.parts)
    yield TOP / "noxfile.py"


def test_few_modules_ask_for_the_system() -> None:
    """The differences between systems are known to few modules. Most ask ``sys.platform``, which mypy knows."""
    texts = {path.relative_to(TOP).as_posix(): path.read_text("utf-8") for path in files()}
    asks = re.compile(r"\bsys\.platform\b|\b(?:has|get)attr\((?:os|socket|select|signal|time),")
    assert {name for name, text in texts.items() if name.startswith("wixvisitor/") and asks.search(text)} == ASKING
    assert [name for name, text in texts.items() if re.search(r"\bos\.name\b(?!\\)", text)] == []


def guesses_the_encoding(call: ast.Call) -> bool:
    """Whether a call reads or writes text in the encoding of the machine, cp1252 on Windows."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    words = {word.arg: word.value for word in call.keywords}
    if "encoding" in words or None in words:
        return False
    match name:
        case "read_text":
            return not call.args
        case "write_text":
            return len(call.args) < 2
        case "open" | "fdopen":
            if isinstance(call.func, ast.Name) or name == "fdopen":
                mode = words.get("mode") or (call.args[1] if len(call.args) > 1 else ast.Constant("r"))
            else:  # a method: Path's, if its argument looks like a mode
                mode = words.get("mode") or (call.args[0] if call.args else ast.Constant("b"))
            return re.fullmatch(r"[rwaxt+]+", str(getattr(mode, "value", "b"))) is not None
        case "run" | "Popen" | "check_output":
            return any(getattr(words.get(name), "value", False) for name in ("text", "universal_newlines"))
        case _:
            return False


def test_text_files_have_an_encoding() -> None:
    """Each call that opens a text file, or that reads what a program writes as text, names the encoding."""
    seen = ["open(x)", "open(x, mode='w')", "x.open('w')", "x.open(mode='a')", "run(x, text=True)", "x.read_text()"]
    unseen = ["open(x, 'rb')", "x.open('rb')", "x.open('w', encoding='ascii')", "store.open()", "run(x)"]
    for code in [*seen, *unseen]:
        assert guesses_the_encoding(ast.parse(code, mode="eval").body) == (code in seen), code  # type: ignore[arg-type]
    found = [
        f"{path.relative_to(TOP)}:{node.lineno}"
        for path in files()
        if re.search(r"[oO]pen\(|read_text|write_text|text=|universal_newlines", text := path.read_text("utf-8"))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and guesses_the_encoding(node)
        if "tutorial" not in path.parts  # a beginner's code; its one file is ASCII
    ]
    assert found == []
