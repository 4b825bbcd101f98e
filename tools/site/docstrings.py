"""How the site reads docstrings: as Google's style with Markdown, and with links for public names.

Docstrings write code in double backquotes, as Python's tools expect it. Where such code is a public name of the
package, the site makes it a link.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

import wixvisitor

_ROLE = re.compile(r":(?:class|data|func|meth|mod|exc):`~?([^`]+)`")
_CODE = re.compile(r"``([A-Za-z_][\w.]*?)(\(\))?``")
_LABEL = re.compile(r"^(Concurrency|Cancellation|Note|Source): ", re.MULTILINE)

PUBLIC = {name: f"wixvisitor.{name}" for name in wixvisitor.__all__ if name != "__version__"}


class Docstrings(griffe.Extension):
    """Makes Markdown with links of each docstring of the package."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called by griffe for each object that it has read."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value, of=obj.name)


def as_markdown(text: str, *, of: str = "") -> str:
    """Returns a docstring as Markdown.

    Args:
        text: the docstring.
        of: the name of what it describes, which gets no link to itself.
    """
    text = _ROLE.sub(r"``\1``", text)
    text = _LABEL.sub(r"\n**\1.** ", text)

    def linked(match: re.Match[str]) -> str:
        name = match[1]
        target = PUBLIC.get(name.partition(".")[0])
        if target is None or name == of or "." in name:
            return match[0]
        return f"[`{name}{match[2] or ''}`][{target}]"

    return _CODE.sub(linked, text)
