"""README.md begins with what a reader looks for first."""

from __future__ import annotations

from pathlib import Path

TOP = Path(__file__).parent.parent


def test_code_stands_within_the_first_twenty_lines() -> None:
    """A reader sees the two commands and Python before line 20."""
    head = (TOP / "README.md").read_text("utf-8").splitlines()[:20]
    assert "```python" in head
    assert sum("nox -s" in line for line in head) == 2
