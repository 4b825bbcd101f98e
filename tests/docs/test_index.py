"""The lists of pages are complete."""

from __future__ import annotations

import re
from pathlib import Path

TOP = Path(__file__).parents[2]


def test_every_how_to_is_found_by_a_question() -> None:
    """docs/how-to/index.md leads to each how-to page."""
    index = (TOP / "docs/how-to/index.md").read_text("utf-8")
    pages = {path.name for path in (TOP / "docs/how-to").glob("*.md")} - {"index.md"}
    assert pages == set(re.findall(r"\]\(([\w-]+\.md)", index))
