"""A stand-in for Wix on loopback, files with tokens, and `python -m wixvisitor`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import commands
from tests.commands import Written
from tests.storage.conftest import redis_prefix, redis_url, server_kind  # noqa: F401 - fixtures
from wixvisitor import Tokens
from wixvisitor.cli import main
from wixvisitor.testing import FakeWix


@pytest.fixture(autouse=True)
def no_client_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own environment says nothing about Wix."""
    monkeypatch.delenv("WIX_CLIENT_ID", raising=False)


@pytest.fixture
def url(fake: FakeWix) -> Iterator[str]:
    with commands.served_in_a_thread(fake) as base_url:
        yield base_url


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Written]:
    """Runs a command in this process."""
    return lambda *argv: commands.run_here(main, argv, capsys)


@pytest.fixture
def run_apart() -> Callable[..., Written]:
    """Runs a command in a process of its own."""
    return lambda *argv, **environment: commands.run_apart("wixvisitor", *argv, **environment)


@pytest.fixture
def tokens(fake: FakeWix, client_id: str) -> Tokens:
    return commands.tokens_of_a_visitor(fake, client_id)


@pytest.fixture
def plain(tmp_path: Path, tokens: Tokens) -> Path:
    """A file that `@wix/sdk` could have written."""
    file = tmp_path / "tokens.json"
    file.write_text(tokens.to_json(), "utf-8")
    file.chmod(0o600)
    return file


@pytest.fixture
def keep(client_id: str) -> Callable[..., None]:
    """Keeps tokens with `FileStorage`."""

    def command(path: Path | str, tokens: Tokens, *, key: str = "default", client: str = client_id) -> None:
        commands.keep(path, tokens, client, key)

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
