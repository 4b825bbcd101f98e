"""Where a thread waits for its next call: with and without an eventfd."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from wixvisitor.storage._inbox import EventInbox, Inbox, new_inbox

linux = pytest.mark.skipif(not hasattr(os, "eventfd"), reason="this system has no eventfd")
CHILD = """
import anyio, contextlib, os, time
from wixvisitor.storage import _threads
from wixvisitor.storage._threads import THREADS

def eventfds():
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of this very listing
            found += os.readlink(f"/proc/self/fd/{name}") == "anon_inode:[eventfd]"
    return found

anyio.run(THREADS.run, "lane", lambda: None)
assert eventfds() == 1, eventfds()
child = os.fork()
if not child:
    try:
        assert eventfds() == 0, eventfds()
        anyio.run(THREADS.run, "lane", lambda: None)
        assert eventfds() == 1, eventfds()
    except BaseException:
        os._exit(1)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
_threads._IDLE = 0.01
anyio.run(THREADS.run, "lane", lambda: None)
until = time.monotonic() + 10
while eventfds() and time.monotonic() < until:
    time.sleep(0.01)
assert eventfds() == 0, eventfds()
"""


@pytest.mark.parametrize("kind", [Inbox, pytest.param(EventInbox, marks=linux)])
def test_an_inbox(kind: type[Inbox[str]]) -> None:
    """A thread gets what is put, in its turn, and nothing if nothing comes in time."""
    inbox, got = kind(), list[str | None]()
    assert inbox.get(0.0) is None
    inbox.put("first")
    assert inbox.get(None) == "first"
    assert inbox.get(0.001) is None
    waiting = threading.Thread(target=lambda: got.append(inbox.get(10.0)))
    waiting.start()
    inbox.put("second")
    waiting.join(10)
    assert got == ["second"]
    inbox.close()


@pytest.mark.parametrize("error", [OSError, None])
def test_no_eventfd(monkeypatch: pytest.MonkeyPatch, error: type[OSError] | None) -> None:
    """Where there is no eventfd, or the process may open no more files, there is an inbox all the same."""

    def refuse(*_: object) -> int:
        raise OSError("too many open files")

    if error is None:
        monkeypatch.delattr(os, "eventfd", raising=False)
    else:
        monkeypatch.setattr(os, "eventfd", refuse, raising=False)
    inbox = new_inbox()
    inbox.put("item")
    assert (type(inbox), inbox.get(None)) == (Inbox, "item")


@linux
def test_eventfds_are_closed() -> None:
    """A thread closes its eventfd when it ends. A forked child keeps none of its parent, which goes on with its own."""
    subprocess.run([sys.executable, "-c", CHILD], check=True, timeout=30)
