"""``python -m tools.architecture``: draws what imports what in ``wixvisitor``, from the imports themselves.

It writes ``docs/pictures/architecture-light.svg`` and ``-dark.svg``. A box stands below all boxes that it imports from;
an arrow that follows from others is left out. Imports within functions do not count: they run later, or never.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs

from tools.imports import MODULES, ours, row_of
from tools.svg import Box, Look, arrow, drawing, files, write

TITLE: Final = "The parts of wixvisitor in the order of their imports: each imports only from parts above it"
_STEP: Final = 76.0  # from one layer to the next
_HEIGHT: Final = 44.0


@attrs.frozen
class Part:
    """One box.

    Args:
        modules: the modules at the top of the package, or the wings, that it stands for.
        x: its middle; ``y`` follows from the imports.
        width: of the box.
        name: what stands in it.
        line: what it is, in a few words.
    """

    modules: tuple[str, ...]
    x: float
    width: float
    name: str
    line: str


PARTS: Final = (
    Part(("_version", "_tokens", "errors"), 210, 190, "_tokens, errors", "tokens and exceptions"),
    Part(("_wire", "_checks"), 210, 190, "_wire, _checks", "Wix's spelling; no I/O"),
    Part(("_tasks",), 200, 150, "_tasks", "tasks and locks"),
    Part(("apis",), 350, 110, "apis", "Wix's typed APIs"),
    Part(("_http",), 110, 150, "_http", "clients and requests"),
    Part(("storage",), 300, 170, "storage", "where visitors are kept"),
    Part(("_renewal",), 130, 150, "_renewal", "every rule of a visitor"),
    Part(("testing",), 262, 92, "testing", "FakeWix"),
    Part(("cookies",), 364, 100, "cookies", "sealed cookies"),
    Part(
        ("", "_auth", "members", "_session", "_status", "_pool", "_diagnose"), 175, 250, "_session, _pool, members",
        "what a program holds",
    ),
    Part(("cli",), 36, 62, "cli", "command"),
    Part(("opentelemetry",), 128, 112, "opentelemetry", "spans, metrics"),
    Part(("blocking", "_blocking_proxy"), 240, 96, "blocking", "without await"),
    Part(("_web",), 358, 112, "_web", "a browser's visit"),
    Part(("web", "asgi", "fastapi", "aiohttp"), 290, 230, "fastapi, asgi, aiohttp, web", "web frameworks"),
)  # fmt: skip
_STARTS: Final = frozenset({"__main__"})  # starts the command line, and is left out


def parts_by_module() -> Mapping[str, Part]:
    """Returns the part of each module at the top of the package."""
    return {module: part for part in PARTS for module in part.modules}


@functools.cache
def imports() -> Mapping[Part, frozenset[Part]]:
    """Returns from which other parts each part imports."""
    part_of, found = parts_by_module(), {part: set[Part]() for part in PARTS}
    for module in MODULES:
        if row_of(module) not in _STARTS:
            found[part_of[row_of(module)]] |= {part_of[row_of(other)] for other in ours(module)}
    return {part: frozenset(others - {part}) for part, others in found.items()}


@functools.cache
def layer_of(part: Part) -> int:
    """Returns how many parts stand one above the other above this one."""
    return max((layer_of(other) + 1 for other in imports()[part]), default=0)


def above(part: Part) -> frozenset[Part]:
    """Returns the parts that a part imports from, directly or by way of others."""
    return frozenset(itertools.chain(imports()[part], *(above(other) for other in imports()[part])))


def drawn(part: Part) -> Iterator[Part]:
    """Yields the parts to which an arrow is drawn."""
    others = imports()[part]
    yield from (other for other in PARTS if other in others and not any(other in above(way) for way in others))


def box_of(part: Part) -> Box:
    """Returns where a part stands."""
    y = 8 + _HEIGHT / 2 + _STEP * layer_of(part)
    is_core = "_renewal" in part.modules
    return Box(part.x, y, part.width, _HEIGHT, part.name, (part.line,), is_accent=is_core)


def _arrow(part: Part, other: Part, look: Look) -> str:
    """Returns an arrow that leaves a box where it is nearest to the other one."""
    start, end = box_of(part), box_of(other)
    left, right = max(start.left, end.left) + 12, min(start.right, end.right) - 12
    if left <= right:
        x = min(max(start.x, left), right)
        return arrow([(x, start.top), (x, end.bottom + 1)], look)
    from_x = start.right - 18 if end.x > start.x else start.left + 18
    to_x = end.left + 18 if end.x > start.x else end.right - 18
    return arrow([(from_x, start.top), (to_x, end.bottom + 1)], look)


def picture(look: Look) -> str:
    """Returns the drawing."""
    boxes = [box_of(part) for part in PARTS]
    arrows = [_arrow(part, other, look) for part in PARTS for other in drawn(part)]
    height = max(box.bottom for box in boxes) + 8
    return drawing(TITLE, height, [*arrows, *(box.svg(look) for box in boxes)], look)


def pictures() -> dict[Path, str]:
    """Returns the drawing's files and their content."""
    return files("architecture", picture)


if __name__ == "__main__":
    write(pictures())
