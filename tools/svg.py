"""Drawings of boxes and arrows, as SVG texts. The same drawing is the same bytes on every machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Final

import attrs

PICTURES: Final = Path(__file__).parents[1] / "docs" / "pictures"
WIDTH: Final = 420  # units; on a phone a unit is a little less than a pixel, so texts stay readable
_NAMES: Final = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"
_TEXTS: Final = "system-ui, -apple-system, Segoe UI, Roboto, sans-serif"


@attrs.frozen
class Look:
    """The colours of a drawing."""

    name: str
    ink: str
    faint: str
    line: str
    box: str
    accent: str


LOOKS: Final = (
    Look("light", ink="#1f2328", faint="#57606a", line="#6e7781", box="#f6f8fa", accent="#dbe4ff"),
    Look("dark", ink="#e6edf3", faint="#a6b0ba", line="#8b949e", box="#21262d", accent="#2b3a67"),
)


@attrs.frozen
class Box:
    """A box with a name and lines below it. ``x`` and ``y`` are its middle."""

    x: float
    y: float
    width: float
    height: float
    name: str
    lines: tuple[str, ...] = ()
    is_accent: bool = False

    @property
    def left(self) -> float:
        """Its left edge."""
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.x + self.width / 2

    @property
    def top(self) -> float:
        """Its upper edge."""
        return self.y - self.height / 2

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return self.y + self.height / 2

    def overlaps(self, other: Box) -> bool:
        """Returns whether two boxes share a point."""
        apart = self.right < other.left or other.right < self.left or self.bottom < other.top or other.bottom < self.top
        return not apart

    def svg(self, look: Look) -> str:
        """Returns its elements."""
        first = self.y + 4.5 - 7.5 * len(self.lines)
        texts = [text(self.x, first, self.name, look.ink, size=13, font=_NAMES, weight=600)]
        for number, line in enumerate(self.lines, start=1):
            texts.append(text(self.x, first + 15 * number, line, look.faint))
        colour = look.accent if self.is_accent else look.box
        return (
            f'<rect x="{self.left:g}" y="{self.top:g}" width="{self.width:g}" height="{self.height:g}" rx="6" '
            f'fill="{colour}" stroke="{look.line}"/>' + "".join(texts)
        )


def text(
    x: float, y: float, words: str, colour: str, *, size: float = 11.5, font: str = _TEXTS, weight: int = 400,
    anchor: str = "middle",
) -> str:  # fmt: skip
    """Returns a line of text whose ``anchor`` is at ``x`` and whose baseline is at ``y``."""
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-family="{font}" font-size="{size:g}" '
        f'font-weight="{weight}" fill="{colour}">{escape(words)}</text>'
    )


def arrow(points: Iterable[tuple[float, float]], look: Look, *, is_dashed: bool = False) -> str:
    """Returns a line through the points, with a head at its last one."""
    path = " L".join(f"{x:g},{y:g}" for x, y in points)
    dashes = ' stroke-dasharray="4 3"' if is_dashed else ""
    return f'<path d="M{path}" fill="none" stroke="{look.line}" stroke-width="1.3"{dashes} marker-end="url(#head)"/>'


def drawing(title: str, height: float, parts: Iterable[str], look: Look) -> str:
    """Returns the whole drawing.

    Args:
        title: what a screen reader says of it.
        height: in units, as ``WIDTH``.
        parts: its elements, those below others first.
        look: its colours.
    """
    head = (
        f'<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto-start-reverse"><path d="M0,0 L8,4 L0,8 z" fill="{look.line}"/></marker></defs>'
    )
    start = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" '
        f'height="{height:g}" role="img"><title>{escape(title)}</title>'
    )
    return "\n".join([start + head, *parts, "</svg>", ""])


def files(name: str, picture: Callable[[Look], str]) -> dict[Path, str]:
    """Returns the files of a drawing, one for each look, and their content."""
    return {PICTURES / f"{name}-{look.name}.svg": picture(look) for look in LOOKS}


def write(pictures: Mapping[Path, str]) -> None:
    """Writes the files, and prints their names."""
    for path, content in pictures.items():
        path.write_text(content, encoding="utf-8", newline="\n")
        print(path.relative_to(PICTURES.parents[1]))
