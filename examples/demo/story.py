"""How the demo is told: chapters, what was measured, and claims that were checked. Needs rich."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import attrs
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from examples.demo.screen import clean

_INDENT: Final = "   "


def _console() -> Console:
    return Console(markup=False, emoji=False, highlight=False)


@attrs.define
class Story:
    """What is told, and whether it is true.

    Attributes:
        claims: how many claims were made.
        failures: those that did not hold.

    """

    claims: int = 0
    failures: list[str] = attrs.field(factory=list)
    _chapters: int = 0
    _console: Console = attrs.field(factory=_console)

    def begin(self, title: str, *lines: str) -> None:
        """Says what is to come."""
        self._lines("", title, "", style="bold")
        for line in lines:
            self._lines("", line, "")

    def chapter(self, title: str) -> None:
        """Begins the next one."""
        self._chapters += 1
        self._console.print()
        self._lines("", f"{self._chapters}. {title}", "", style="bold cyan")

    def say(self, text: str) -> None:
        """Tells what happens; before it is waited for, so that it is the progress as well."""
        self._lines(_INDENT, text, "")

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Shows on a terminal that something goes on."""
        spinner = "dots" if self._unicode else "line"
        with self._console.status("", spinner=spinner):
            yield

    def measured(self, label: str, value: str) -> None:
        """Shows a figure."""
        self._lines(_INDENT, value, f"{label:<14} ", mark_style="dim")

    def claim(self, text: str, holds: object, seen: object = "") -> None:
        """Claims something; where it does not hold, says so, and what was seen instead."""
        self.claims += 1
        if holds:
            mark = "\N{CHECK MARK}" if self._unicode else "ok"
            self._lines(_INDENT, text, f"{mark} ", mark_style="green")
        else:
            self.failures.append(text)
            self._lines(_INDENT, f"{text} (seen: {seen})", "FAILED ", mark_style="bold red", style="red")

    def table(self, headings: Sequence[str], rows: Sequence[tuple[str, str, str]]) -> None:
        """Sums up."""
        table = Table(*headings, box=box.SIMPLE_HEAD)
        for row in rows:
            table.add_row(*(Text(clean(cell)) for cell in row))
        self._console.print(table)

    def end(self, verdict: str) -> bool:
        """Says the verdict, or how many claims failed; returns whether all held."""
        self._console.print()
        if not self.failures:
            self._lines("", f"{verdict} All {self.claims} claims were checked.", "", style="bold green")
            return True
        self._lines("", f"FAILED: {len(self.failures)} of {self.claims} claims did not hold.", "", style="bold red")
        return False

    @property
    def _unicode(self) -> bool:
        return self._console.encoding.startswith("utf")

    def _lines(self, indent: str, text: str, mark: str, *, mark_style: str = "", style: str = "") -> None:
        """Writes a text behind its mark, its further lines below the first."""
        margin = len(indent) + len(mark)
        lines = textwrap.wrap(clean(text), max(self._console.width - margin, 20), break_on_hyphens=False) or [""]
        for number, line in enumerate(lines):
            front = Text(mark, mark_style) if number == 0 else Text(" " * len(mark))
            self._console.print(Text.assemble(indent, front, Text(line, style)), soft_wrap=True)


def brief(seconds: float) -> str:
    """Returns a short length of time: ``34 ms``, ``1.2 s``."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
