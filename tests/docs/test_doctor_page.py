"""docs/how-to/doctor.md quotes errors as the package raises them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.test_generated import rows

TOP = Path(__file__).parents[2]
PAGE = (TOP / "docs/how-to/doctor.md").read_text("utf-8")


def texts(kind: str) -> Iterator[str]:
    """The text of each error of this kind that the package raises, with … for values."""
    for path in (TOP / "wixvisitor").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == kind and node.args:
                yield text_of(node.args[0])


def text_of(node: ast.expr) -> str:
    """A text or an f-string as the page writes it."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in parts)  # type: ignore[misc]


RAISED = {kind: list(texts(kind)) for kind in ("ConfigurationError", "ImportError", "RuntimeError", "TypeError")}


@pytest.mark.parametrize("row", rows(PAGE, "ConfigurationError"), ids=lambda row: row[0])
def test_a_configuration_error(row: list[str]) -> None:
    """The package raises an error that begins with the text of the row."""
    assert [text for text in RAISED["ConfigurationError"] if text.startswith(row[0].strip("`"))]


@pytest.mark.parametrize(("kind", "text"), re.findall(r"^\| `(\w+Error): (.*?)` \|", PAGE, re.MULTILINE))
def test_an_error_of_python(kind: str, text: str) -> None:
    """The package raises an error of this kind with this text in it."""
    pattern = re.escape(text).replace("…", ".*")
    assert [found for found in RAISED[kind] if re.search(pattern, found)]
