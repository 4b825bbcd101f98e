"""A stand-in for Wix on loopback for commands that bring their own event loop, and what they wrote."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest
from anyio.from_thread import start_blocking_portal

from wixvisitor import RefreshToken, Tokens, VisitorSession
from wixvisitor._tokens import AccessToken, TokenRole
from wixvisitor.cli import main
from wixvisitor.storage import FileStorage
from wixvisitor.testing import FakeWix

SECRET = re.compile(r"JWS|eyJ|[A-Za-z0-9][A-Za-z0-9_=-]{43,}")  # a token, or a part of one


@attrs.frozen
class Written:
    """What a command left: its exit code and its two streams."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def no_client_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own environment says nothing about Wix."""
    monkeypatch.delenv("WIX_CLIENT_ID", raising=False)


@pytest.fixture
def url(fake: FakeWix) -> Iterator[str]:
    """Where the fake answers, in a thread of its own."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(fake.serve()) as base_url:
        yield base_url


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Written]:
    """Runs a command in this process, and fails if any of its output looks like a secret or a traceback."""

    def command(*argv: Any) -> Written:
        code = main([str(word) for word in argv])
        out, err = capsys.readouterr()
        assert SECRET.search(out + err) is None
        assert "Traceback" not in err
        return Written(code, out, err)

    return command


@pytest.fixture
def run_apart() -> Callable[..., Written]:
    """Runs a command in a process of its own."""

    def command(*argv: Any, **environment: str) -> Written:
        words = [sys.executable, "-m", "wixvisitor", *map(str, argv)]
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=60, env={**os.environ, **environment}, errors="replace"
        )
        assert SECRET.search(done.stdout + done.stderr) is None
        return Written(done.returncode, done.stdout, done.stderr)

    return command


@pytest.fixture
def tokens(fake: FakeWix, client_id: str) -> Tokens:
    """A visitor whom the fake knows."""
    granted = fake.mint_visitor(client_id)
    access = AccessToken(granted["access_token"], int(fake.now()) + granted["expires_in"])
    return Tokens(access, RefreshToken(granted["refresh_token"], TokenRole.VISITOR))


@pytest.fixture
def plain(tmp_path: Path, tokens: Tokens) -> Path:
    """A file that `@wix/sdk` could have written."""
    file = tmp_path / "tokens.json"
    file.write_text(tokens.to_json())
    file.chmod(0o600)
    return file


@pytest.fixture
def keep(client_id: str) -> Callable[..., None]:
    """Keeps tokens with `FileStorage`."""

    def command(path: Path | str, tokens: Tokens, *, key: str = "default", client: str = client_id) -> None:
        async def save() -> None:
            async with VisitorSession(client, tokens=tokens, storage=FileStorage(path), key=key):
                pass

        anyio.run(save)

    return command


@pytest.fixture
def record(tmp_path: Path, tokens: Tokens, keep: Callable[..., None]) -> Path:
    """A file of `FileStorage`."""
    file = tmp_path / "visitor.json"
    keep(file, tokens)
    return file


@pytest.fixture
def visitor_id(fake: FakeWix, tokens: Tokens) -> str:
    """Whose tokens they are."""
    (one,) = fake.visitors
    return one
