"""``python -m tools.site.generate``: writes the generated parts of the reference pages.

A part stands between two comments, ``<!-- generated: NAME -->`` and ``<!-- /generated: NAME -->``. What is around it
is written by hand. A test compares the pages with what this program would write.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tools.site import command_line, settings

TOP = Path(__file__).parents[2]
_PART = re.compile(
    r"(?P<start><!-- generated: (?P<name>.+?) -->\n).*?(?P<end><!-- /generated: (?P=name) -->)", re.DOTALL
)


class PartsError(Exception):
    """A page lacks the place of a part, or has a place for a part that does not exist."""


def filled(text: str, parts: Mapping[str, str]) -> str:
    """Returns the page with its parts written anew. Pure.

    Args:
        text: the page.
        parts: Markdown by the name of the part.

    Raises:
        PartsError: the parts of the page are not these.
    """
    places = [match["name"] for match in _PART.finditer(text)]
    if sorted(places) != sorted(parts):
        raise PartsError(f"the page has places for {sorted(places)}, and there are {sorted(parts)}")
    return _PART.sub(lambda match: f"{match['start']}\n{parts[match['name']]}\n{match['end']}", text)


def pages() -> Iterator[tuple[Path, str]]:
    """Yields each page that has generated parts, with the text that it should have."""
    for name, parts in (("cli", command_line.parts()), ("configuration", settings.parts())):
        path = TOP / "docs" / "reference" / f"{name}.md"
        yield path, filled(path.read_text(encoding="utf-8"), parts)


def main() -> int:
    """Writes the pages, and returns the exit code."""
    for path, text in pages():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
