"""The demo, run in this process and in one of its own, and a stand-in for Wix on loopback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from examples.demo.command import main
from tests import commands
from tests.cli.conftest import no_client_id, url  # noqa: F401 - fixtures
from tests.commands import Written
from wixvisitor.testing import FakeWix


@pytest.fixture
def fake() -> FakeWix:
    return FakeWix()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Written]:
    """Runs the demo in this process."""
    return lambda *argv: commands.run_here(main, argv, capsys)


@pytest.fixture
def run_apart() -> Callable[..., Written]:
    """Runs the demo in a process of its own."""
    return lambda *argv, **environment: commands.run_apart("examples.demo", *argv, **environment)


@pytest.fixture
def record(tmp_path: Path, fake: FakeWix, client_id: str) -> Path:
    """A file of `FileStorage` with a visitor whom the fake knows."""
    file = tmp_path / "visitor.json"
    commands.keep(file, commands.tokens_of_a_visitor(fake, client_id), client_id)
    return file
