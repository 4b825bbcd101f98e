"""Importing does nothing but import: no socket, no process, no thread, no file written, whatever module it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import wixvisitor

TOP = Path(wixvisitor.__file__).parent

WATCHED = """
import importlib, json, os, pkgutil, sys

LOUD = ("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.startfile", "pty.spawn",
        "urllib.", "http.client.", "ftplib.", "smtplib.", "webbrowser.", "sqlite3.connect", "os.remove", "os.rename",
        "os.mkdir", "os.rmdir", "os.chmod", "os.symlink", "os.truncate", "os.putenv", "shutil.", "tempfile.",
        "ctypes.dlopen")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
heard, listening = [], [True]

def hook(event, arguments):
    if not listening[0] or (event, arguments) == ("ctypes.dlopen", (None,)):  # importing ctypes does that
        return
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES
    if writes or event.startswith(LOUD):
        listening[0] = False  # what is said about it may open something itself
        heard.append(f"{event} {arguments!r:.200}")
        listening[0] = True

def tell(names):
    if len(sys._current_frames()) > 1:  # Python 3.11 has no event for the start of a thread
        heard.append("a thread was started")
    print(json.dumps({"heard": heard, "names": names}))

sys.addaudithook(hook)
"""
IMPORT_ALL = """
names = ["wixvisitor", *(one.name for one in pkgutil.walk_packages([TOP], "wixvisitor."))]
names = [name for name in names if not name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
tell(names)
"""


def watched(program: str, place: Path) -> dict[str, list[str]]:
    """Runs a program in an empty directory; every loud event is written down."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "COVERAGE_"))}
    environment |= {"PYTHONPATH": str(TOP.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"PYDANTIC_DISABLE_PLUGINS": "__all__"}  # logfire is one, and opens a socket
    command = [sys.executable, "-c", f"TOP = {str(TOP)!r}\n{WATCHED}{program}"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, cwd=place, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_no_module_does_anything_when_it_is_imported(tmp_path: Path) -> None:
    """All modules, with the optional ones and what they depend on: nothing is opened, started or written."""
    found = watched(IMPORT_ALL, tmp_path)
    assert found["heard"] == []
    public = {
        *("wixvisitor", "wixvisitor.asgi", "wixvisitor.aiohttp", "wixvisitor.cli", "wixvisitor.cookies"),
        *("wixvisitor.errors", "wixvisitor.fastapi", "wixvisitor.testing", "wixvisitor.testing.plugin"),
        *(f"wixvisitor.storage.{name}" for name in ("file", "keyvalue", "memory", "redis", "sealed", "sqlite")),
    }
    assert public <= set(found["names"])


def test_making_the_objects_asks_nobody(tmp_path: Path) -> None:
    """A session, a pool, every store and every cookie can be made where there is no network; use is what connects."""
    program = """
from wixvisitor import VisitorPool, VisitorSession
from wixvisitor.cookies import IdCookie, SealedCookie, SharedCookie, generate_key
from wixvisitor.storage import FileStorage, MemoryStorage
from wixvisitor.storage.redis import RedisStorage
from wixvisitor.storage.sealed import SealedStorage
from wixvisitor.storage.sqlite import SQLiteStorage

key = generate_key()
heard.clear()
made = [MemoryStorage(), FileStorage("visitors/"), SQLiteStorage("visitors.db"), RedisStorage("redis://127.0.0.1:1")]
made += [SealedStorage(made[0], keys=[key]), IdCookie([key]), SealedCookie([key]), SharedCookie()]
made += [VisitorPool("5e9c1d0a-7c1e-4a52-9d5e-1f2a3b4c5d6e", storage=made[2])]
made += [VisitorSession("5e9c1d0a-7c1e-4a52-9d5e-1f2a3b4c5d6e", storage=made[1])]
tell([type(one).__name__ for one in made])
"""
    found = watched(program, tmp_path)
    assert found["heard"] == []
    assert len(found["names"]) == 10
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "program",
    [
        "import socket; socket.socket().close()",
        "import socket; socket.getaddrinfo('127.0.0.1', 1)",
        "import subprocess; subprocess.run([sys.executable, '-c', ''])",
        "os.system('true')",
        "import urllib.request\ntry: urllib.request.urlopen('http://127.0.0.1:1/')\nexcept OSError: pass",
        "open(os.devnull, 'w').close()",
        "os.close(os.open(os.devnull, os.O_RDWR))",
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
        "import asyncio; asyncio.new_event_loop().close()",
        "import sqlite3; sqlite3.connect(':memory:').close()",
    ],
)
def test_the_watch_hears(program: str, tmp_path: Path) -> None:
    """Each of the things that must not happen is heard when it does."""
    assert watched(f"{program}\ntell([])", tmp_path)["heard"] != []
