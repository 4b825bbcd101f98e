"""The drawings of the docs are what their commands draw, and they say what the code does."""

from __future__ import annotations

import itertools
import re

import pytest

from tests.test_imports import ORDER
from tools import architecture, token_life
from tools.imports import MODULES, TOP, ours, row_of
from tools.svg import PICTURES, WIDTH
from wixvisitor._renewal.decision import State

PAGE = (PICTURES.parent / "project" / "architecture.md").read_text(encoding="utf-8")


@pytest.mark.skipif(not PICTURES.exists(), reason="a source distribution has no pictures of docs")
@pytest.mark.parametrize("module", [architecture, token_life], ids=lambda module: module.__name__)
def test_committed_is_drawn(module) -> None:
    """Each committed drawing is as its command draws it: otherwise run `python -m` with the module's name."""
    for path, content in module.pictures().items():
        assert path.read_bytes().decode() == content, path.name


def test_every_module_has_a_part() -> None:
    """The drawing leaves out no module at the top of the package but the one that starts the command line."""
    assert set(architecture.parts_by_module()) == set(ORDER) - {"__main__"}


def test_a_part_stands_below_what_it_imports() -> None:
    """Each import between two parts leads to a box that stands higher, and is an arrow or follows from arrows."""
    part_of = architecture.parts_by_module()
    for module in [module for module in MODULES if row_of(module) != "__main__"]:
        part = part_of[row_of(module)]
        for other in {part_of[row_of(name)] for name in ours(module)} - {part}:
            assert architecture.box_of(other).bottom < architecture.box_of(part).top
            assert other in {above for way in architecture.drawn(part) for above in (way, *architecture.above(way))}


@pytest.mark.parametrize(
    "boxes",
    [
        [architecture.box_of(part) for part in architecture.PARTS],
        [*token_life.STATES, token_life.ASK, token_life.REPLACED, token_life.RAISED],
    ],
    ids=["architecture", "token_life"],
)
def test_boxes_stand_apart(boxes) -> None:
    """No box of a drawing lies over another one or outside, and its texts fit in."""
    for box in boxes:
        assert box.left >= 0
        assert box.right <= WIDTH
        assert max(len(box.name) * 7.9, *(len(line) * 6 for line in box.lines)) < box.width + 6, box.name
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other), (one.name, other.name)


def test_every_state_is_in_the_life_of_tokens() -> None:
    """The drawing has the states of the table that decides, and no other."""
    assert {box.name for box in token_life.STATES} == {state.name for state in State}


def test_every_wing_has_a_sentence() -> None:
    """The page about the architecture has a line for each wing of the package."""
    wings = {row_of(module) for module in MODULES if MODULES[module].name == "__init__.py"} - {""}
    assert {wing for wing in wings if f"- **`{wing}`**" not in PAGE} == set()


def test_every_place_is_there() -> None:
    """The table of places on that page names modules of the package."""
    places = re.findall(r"`([\w/]+\.py)`", PAGE.partition("## Where is it?")[2].partition("\n\n`")[0])
    assert len(places) > 15
    assert [place for place in places if not (TOP / place).exists()] == []
