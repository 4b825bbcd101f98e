"""Commands that bring their own event loop: what they wrote, and a stand-in for Wix on loopback for them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
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
        words, capture_output=True, text=True, timeout=60, env={**os.environ, **environment}, errors="replace"
    )
    assert SECRET.search(done.stdout + done.stderr) is None
    return Written(done.returncode, done.stdout, done.stderr)


@contextmanager
def served_in_a_thread(fake: FakeWix) -> Iterator[str]:
    """Where the fake answers, in a thread of its own."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(fake.serve()) as base_url:
        yield base_url


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
