"""What pages and the package's texts name by its name is there: sessions of nox, modules that run, files, pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks import PAGES, TOP
from tools.imports import MODULES

SESSIONS = set(re.findall(r"@nox\.session.*\ndef (\w+)\(", (TOP / "noxfile.py").read_text(encoding="utf-8")))
NOX = re.compile(r"nox (?:-R )?-s (\w+)")
RUNS = re.compile(r"python -m ((?:tools|tests|benchmarks|examples)(?:\.\w+)*)")
FILE = re.compile(r"`((?:tests|tools|wixvisitor|benchmarks|examples|docs)/[\w/.-]*\.\w+)(?:::[^`]*)?`")
PAGE = re.compile(r"(?<![\w/.-])docs/[\w/-]+\.md")


def is_module(name: str) -> bool:
    """Whether `python -m` finds it."""
    place = TOP.joinpath(*name.split("."))
    return place.with_suffix(".py").exists() or (place / "__main__.py").exists()


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])  # that one names what has gone
def test_what_a_page_names(page: str) -> None:
    """Each session of nox, each module to run and each file on a page exists."""
    text = (TOP / page).read_text(encoding="utf-8")
    assert set(NOX.findall(text)) - SESSIONS == set()
    assert {name for name in RUNS.findall(text) if not is_module(name)} == set()
    assert {path for path in FILE.findall(text) if not (TOP / path).exists()} == set()


def test_pages_that_the_package_names() -> None:
    """A message or docstring that names a page of ours names one that exists."""
    named = {
        (path.relative_to(TOP).as_posix(), page)
        for path in MODULES.values()
        for page in PAGE.findall(Path(path).read_text(encoding="utf-8"))
    }
    assert named
    assert {(path, page) for path, page in named if not (TOP / page).exists()} == set()


def test_every_session_is_told() -> None:
    """CONTRIBUTING.md tells of each session of nox, and of no other."""
    text = (TOP / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## What can be run")[2]
    listed = re.findall(r"^- (.*?)\n(?=-|\n)", text.partition("\n## ")[0], re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"`(\w+)`", " ".join(listed))) == SESSIONS
