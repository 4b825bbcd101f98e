"""`python -m wixvisitor doctor`: its rows, its JSON, its exit codes. The `run` fixture looks for secrets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wixvisitor.testing import FakeWix

Run = Callable[..., Any]


def test_rows(run: Run, url: str, client_id: str, fake: FakeWix) -> None:
    """Each check is a row, as soon as it is known; a site without problems ends with 0."""
    done = run("doctor", "--client-id", client_id, "--base-url", url, "--redirect-uri", "https://shop.example/cb")
    assert (done.code, done.err) == (0, "")
    assert "ok       token endpoint   knows the client ID; made a visitor in" in done.out
    assert "ok       login            Wix has a login page that returns to https://shop.example/cb" in done.out
    assert done.out.splitlines()[-1].startswith("no problems, calls to Wix: ")
    assert len(fake.visitors) == 1


def test_json(run: Run, url: str, client_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--json`` is one document; the progress goes to stderr. The client ID may stand in the environment."""
    monkeypatch.setenv("WIX_CLIENT_ID", client_id)
    done = run("doctor", "--base-url", url, "--json")
    found = json.loads(done.out)
    assert (done.code, found["healthy"]) == (0, True)
    assert {finding["check"] for finding in found["findings"]} >= {"token", "clock", "stores", "blog", "login"}
    assert "clock: ok" in done.err


def test_as_the_visitor_of_a_file(run: Run, url: str, record: Path, fake: FakeWix) -> None:
    """The file's visitor is renewed, and no other visitor is made."""
    before = len(fake.visitors)
    done = run("doctor", "--file", record, "--base-url", url)
    assert done.code == 0
    assert "renewed the visitor" in done.out
    assert len(fake.visitors) == before


def test_exit_codes(run: Run, url: str, client_id: str, fake: FakeWix, record: Path) -> None:
    """1: something is wrong; 2: wrong usage; 3: Wix could not be reached."""
    assert run("doctor").code == 2
    assert run("doctor", "--client-id", "nonsense").code == 2
    other = "00000000-7c1e-4a52-9d5e-1f2a3b4c5d6e"
    assert run("doctor", "--file", record, "--client-id", other).code == 2
    away = run("doctor", "--client-id", client_id, "--base-url", "http://127.0.0.1:9")
    assert (away.code, "PROBLEM  token endpoint   nothing listens there" in away.out) == (3, True)
    fake.client_ids = frozenset()
    unknown = run("doctor", "--client-id", client_id, "--base-url", url)
    assert (unknown.code, "-> Copy the client ID again" in unknown.out) == (1, True)
