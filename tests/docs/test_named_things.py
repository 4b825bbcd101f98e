"""What pages and the package's texts name by its name is there: sessions of nox, modules that run, files, pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks import PAGES, TOP
from tools.imports import MODULES

WHOLE = pytest.mark.skipif(
    not (TOP / "benchmarks").exists() or not (TOP / "docs/pictures").exists(),
    reason="a source distribution has neither benchmarks nor the pictures of docs",
)
SESSIONS = set(re.findall(r"@nox\.session.*\ndef (\w+)\(", (TOP / "noxfile.py").read_text(encoding="utf-8")))
NOX = re.compile(r"nox (?:-R )?-s (\w+)")
RUNS = re.compile(r"python -m ((?:tools|tests|benchmarks|examples)(?:\.\w+)*)")
FILE = re.compile(r"`((?:tests|tools|wixvisitor|benchmarks|examples|docs)/[\w/.-]*\.\w+)(?:::[^`]*)?`")
PAGE = re.compile(r"(?<![\w/.-])docs/[\w/-]+\.md")


def is_module(name: str) -> bool:
    """Whether `python -m` finds it."""
    place = TOP.joinpath(*name.split("."))
    return place.with_suffix(".py").exists() or (place / "__main__.py").exists()


@WHOLE
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


PICTURE = re.compile(r"pictures/([\w-]+?)(?:-light|-dark)?\.(?:svg|png)")
MADE_BY = {  # by the beginning of a picture's name
    "architecture": "python -m tools.architecture",
    "token-life": "python -m tools.token_life",
    "soak": "nox -s soak",
    "shop": "nox -s browser",
    "fake": "nox -s browser",
    **dict.fromkeys(("expiry", "herd", "memory", "middleware", "stores", "throughput", "web_load"), "nox -s bench"),
}


def maker_of(picture: str) -> str:
    return next(command for name, command in MADE_BY.items() if picture.startswith(name))


@pytest.mark.parametrize("page", [page for page in PAGES if PICTURE.search((TOP / page).read_text("utf-8"))])
def test_what_made_a_picture(page: str) -> None:
    """A page with a picture names the command that makes it."""
    text = (TOP / page).read_text("utf-8")
    assert {picture for picture in PICTURE.findall(text) if maker_of(picture) not in text} == set()


@WHOLE
def test_each_picture_is_shown() -> None:
    """Each picture of docs/pictures stands on a page, with its light and dark half if it has two."""
    shown = {name for page in PAGES for name in re.findall(r"pictures/([\w-]+\.\w+)", (TOP / page).read_text("utf-8"))}
    assert shown == {path.name for path in (TOP / "docs/pictures").iterdir()}
