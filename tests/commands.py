"""Commands that bring their own event loop: what they wrote, and a stand-in for Wix on loopback for them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import anyio
import attrs
import pytest
from anyio.from_thread import start_blocking_portal

from wixvisitor import AccessToken, RefreshToken, TokenRole, Tokens, VisitorSession
from wixvisitor.storage import FileStorage
from wixvisitor.testing import FakeWix

SECRET = re.compile(r"JWS|eyJ|[A-Za-z0-9][A-Za-z0-9_=-]{43,}")  # a token, or a part of one

NEEDED_PLUGINS = {  # for pytest in a process of its own, which imports all that are installed else
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    "PYTEST_PLUGINS": "anyio.pytest_plugin,wixvisitor.testing.plugin",
}


@attrs.frozen
class Written:
    """What a command left: its exit code and its two streams."""

    code: int
    out: str
    err: str


def run_here(main: Any, argv: Sequence[Any], capsys: pytest.CaptureFixture[str]) -> Written:
    """Runs a command in this process, and fails if any of its output looks like a secret or a traceback."""
    code = main([str(word) for word in argv])
    out, err = capsys.readouterr()
    assert SECRET.search(out + err) is None
    assert "Traceback" not in err
    return Written(code, out, err)


def run_apart(module: str, *argv: Any, **environment: str) -> Written:
    """Runs a command in a process of its own."""
    words = [sys.executable, "-m", module, *map(str, argv)]
    done = subprocess.run(
        words, capture_output=True, encoding="utf-8", timeout=60, env={**os.environ, **environment}, errors="replace"
    )
    assert SECRET.search(done.stdout + done.stderr) is None
    return Written(done.returncode, done.stdout, done.stderr)


@contextmanager
def served_in_a_thread(fake: FakeWix) -> Iterator[str]:
    """Where the fake answers, in a thread of its own."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(fake.serve()) as base_url:
        yield base_url


@attrs.define
class Served:
    """`python -m wixvisitor fake` as a process: what it has written at its start, and where it serves."""

    process: subprocess.Popen[str]
    lines: list[str]

    @property
    def url(self) -> str:
        return re.search(r"http://[^/ ]+", self.lines[0])[0]

    def how(self, client: str) -> str:
        """The line that says how to point this client here."""
        (line,) = (line for line in self.lines if line.split()[0] == client)
        return line.split(maxsplit=1)[1]

    def stop(self, number: int = signal.SIGINT) -> tuple[int, float, str]:
        """Sends the signal; returns the exit code, how many seconds the end took, and what was written since."""
        began = time.monotonic()
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=30)
        return self.process.returncode, time.monotonic() - began, rest


@contextmanager
def fake_command(*argv: Any) -> Iterator[Served]:
    """Runs `python -m wixvisitor fake`, on a free port unless the arguments name one."""
    port = () if "--port" in argv else ("--port", "0")
    with served("-m", "wixvisitor", "fake", *port, *map(str, argv)) as command:
        yield command


@contextmanager
def served(*words: str, **options: Any) -> Iterator[Served]:
    """Runs Python with these words, a program that writes four lines once it serves; what still runs is killed."""
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, encoding="utf-8", **options)
    limit = threading.Timer(120, process.kill)  # then there are no more lines
    limit.start()
    try:
        lines = [process.stdout.readline() for _ in range(4)]
        limit.cancel()
        yield Served(process, lines)
    finally:
        limit.cancel()
        process.kill()
        process.communicate()


def tokens_of_a_visitor(fake: FakeWix, client_id: str) -> Tokens:
    """A visitor whom the fake knows."""
    granted = fake.mint_visitor(client_id)
    access = AccessToken(granted["access_token"], int(fake.now()) + granted["expires_in"])
    return Tokens(access, RefreshToken(granted["refresh_token"], TokenRole.VISITOR))


def keep(path: Any, tokens: Tokens, client_id: str, key: str = "default") -> None:
    """Keeps tokens with `FileStorage`."""

    async def save() -> None:
        async with VisitorSession(client_id, tokens=tokens, storage=FileStorage(path), key=key):
            pass

    anyio.run(save)
