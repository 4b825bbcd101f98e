"""A page's Python, for tests that use what the page has made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sybil import Document
from sybil.parsers.markdown import PythonCodeBlockParser

from tests.docs.blocks import TOP, blocks_of


def steps(page: str) -> Iterator[dict[str, Any]]:
    """Runs a page's Python, block by block, and hands out the namespace after each of them. Titled blocks are files."""
    titled = {block.line for block in blocks_of(page) if block.title}
    document = Document.parse(str(TOP / page), PythonCodeBlockParser())
    document.namespace["__name__"] = "__main__"
    for example in document:
        if example.line not in titled:
            example.evaluate()
            yield document.namespace


def ran(page: str) -> dict[str, Any]:
    """Returns the namespace after all of the page's Python."""
    return list(steps(page))[-1]


def files_of(page: str) -> dict[str, str]:
    """Returns the blocks with a title, by title."""
    return {block.title: block.code for block in blocks_of(page) if block.title}
