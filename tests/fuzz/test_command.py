"""``python -m tests.fuzz``: what it reads from libFuzzer, and how a finding is replayed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from . import __main__ as command
from .targets import TARGETS


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["tests.fuzz", *arguments])
    return command.main()


def test_replay_raises_what_the_target_raises(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The very bytes of a file reach the target, and what it raises is seen."""
    given: list[bytes] = []

    def broken(data: bytes) -> None:
        given.append(data)
        raise LookupError

    monkeypatch.setitem(TARGETS, "token_json", broken)
    (tmp_path / "crash").write_bytes(b"\xff\x00")
    with pytest.raises(LookupError):
        _run(monkeypatch, "--replay", str(tmp_path / "crash"), "token_json")
    assert given == [b"\xff\x00"]


def test_replay_of_what_is_handled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An input that is handled by now is a success."""
    (tmp_path / "crash").write_bytes(b"{}")
    assert _run(monkeypatch, "--replay", str(tmp_path / "crash"), "token_json") == 0


def test_an_unknown_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever mistypes a target reads which there are."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    with pytest.raises(SystemExit, match="no such target: tokens; there are token_json"):
        _run(monkeypatch, "tokens")


def test_what_libfuzzer_says() -> None:
    """Inputs, branches and the file of a finding are read from libFuzzer's lines."""
    run = command.Run("token_json")
    for line in (
        "INFO: Running with entropic power schedule",
        "#2048\tNEW    cov: 95 ft: 244 corp: 30/9Kb lim: 4096 exec/s: 12 rss: 80Mb L: 12/90 MS: 1 Custom-",
        "#4096\tpulse  cov: 96 ft: 251 corp: 31/9Kb lim: 4096 exec/s: 12 rss: 80Mb",
        "artifact_prefix='.nox/fuzz/token_json/'; Test unit written to .nox/fuzz/token_json/crash-0a",
    ):
        command._note(run, line)
    assert (run.executions, run.coverage, run.features) == (4_096, 96, 251)
    assert run.finding == ".nox/fuzz/token_json/crash-0a"
