"""Pieces of Markdown for the generated pages. Pure."""

from __future__ import annotations

import re
import textwrap

WIDTH = 120  # characters of a line


def wrapped(text: str, *, first: str = "", others: str = "") -> str:
    """Returns a paragraph in lines of at most ``WIDTH`` characters, with its end of line.

    Code and links are never divided.

    Args:
        text: the paragraph, in one line.
        first: what the first line begins with, like ``"- "``.
        others: what the other lines begin with.
    """
    kept = re.sub(r"`[^`]+`|\[[^\]]+\]\([^)]+\)", lambda match: match[0].replace(" ", "\0"), text)
    lines = textwrap.fill(
        kept,
        WIDTH,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines.replace("\0", " ") + "\n"
