"""docs/reference/events.md lists every log line, with its level, and every event with its fields."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

import wixvisitor
from wixvisitor import Event

TOP = Path(__file__).parent.parent
PAGE = (TOP / "docs/reference/events.md").read_text("utf-8")
OTHERS = ("cli", "testing")  # they write to a terminal or a test's report
TASKS = ("wixvisitor: ", "wixvisitor: storage", "wixvisitor: the store's ")  # names of tasks and threads


def lines() -> Iterator[str]:
    """Every text that the package logs. All begin with its name."""
    for path in (TOP / "wixvisitor").rglob("*.py"):
        if path.relative_to(TOP / "wixvisitor").parts[0] in OTHERS:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and text.startswith("wixvisitor: ") and text not in TASKS:
                yield text


def spoken(text: str) -> str:
    """The text as the page writes it: without the prefix, with … for values, and its first line only."""
    text = text.removeprefix("wixvisitor: ").split("\n")[0]
    return re.sub(r"%(\.\d)?[sdgf]", "…", text)


LINES = sorted(set(lines()))
EVENTS = [
    kind
    for name in wixvisitor.__all__
    if isinstance(kind := getattr(wixvisitor, name), type) and issubclass(kind, Event) and kind is not Event
]
ROWS = [row.split(" | ") for row in re.findall(r"^\| (?:DEBUG|INFO|WARNING|ERROR) \| .*$", PAGE, re.MULTILINE)]


def test_the_walk_finds_the_lines() -> None:
    """Lines of the renewal, of the web layer and of a store are among what is looked at."""
    assert len(LINES) > 30
    assert any("tokens %s" in line for line in LINES)
    assert any("the cookie %s is not taken" in line for line in LINES)


@pytest.mark.parametrize("line", LINES)
def test_every_line_is_listed(line: str) -> None:
    """The page has a row whose text is the line's, or its beginning."""
    assert [row[1] for row in ROWS if spoken(line).startswith(row[1])]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[1])
def test_every_row_is_logged(row: list[str]) -> None:
    """The page lists no line that nothing writes any more."""
    assert [line for line in LINES if spoken(line).startswith(row[1])]


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_is_listed(event: type) -> None:
    """The page has a row for each event, with all of its fields."""
    (row,) = re.findall(rf"^\| `{event.__name__}` \| .*$", PAGE, re.MULTILINE)
    assert {name for name in attrs.fields_dict(event) if name != "key"} == set(re.findall(r"`(\w+)`", row)[1:]) - {
        "key",
        "None",
    }
    assert len(EVENTS) == 7
