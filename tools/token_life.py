"""``python -m tools.token_life``: draws the life of a visitor's tokens, by the states of ``_renewal/decision.py``.

It writes ``docs/pictures/token-life-light.svg`` and ``-dark.svg``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tools.svg import Box, Look, arrow, drawing, files, text, write

TITLE: Final = (
    "The life of a visitor's tokens: they are read or minted, saved, used while they are fresh, renewed in the "
    "background while they age, and renewed before use once they have expired or were rejected"
)
UNREAD: Final = Box(150, 34, 200, 44, "UNREAD", ("the store was not read yet",))
FRESH: Final = Box(150, 136, 200, 44, "FRESH", ("used as it is",), is_accent=True)
AGEING: Final = Box(150, 222, 200, 44, "AGEING", ("used; a renewal begins",), is_accent=True)
EXPIRED: Final = Box(100, 308, 130, 44, "EXPIRED", ("callers wait",))
REJECTED: Final = Box(236, 308, 118, 44, "REJECTED", ("an API said 401",))
UNSAVED: Final = Box(350, 222, 120, 59, "UNSAVED", ("granted, but no", "caller has it"))
ASK: Final = Box(210, 416, 260, 59, "one token call", ("for all callers of this visitor,", "in a task of its own"))
REPLACED: Final = Box(115, 520, 180, 59, "a visitor is replaced", ("a mint: a new visitor,", "and on_change is told"))
RAISED: Final = Box(314, 520, 190, 59, "a member is not", ("SessionExpired: the member", "has to log in again"))
STATES: Final = (UNREAD, UNSAVED, FRESH, AGEING, REJECTED, EXPIRED)


def _label(x: float, y: float, words: str, look: Look, anchor: str = "start") -> str:
    return text(x, y, words, look.faint, anchor=anchor)


def _parts(look: Look) -> Iterator[str]:
    """Yields the arrows with their words, and then the boxes."""
    yield arrow([(150, UNREAD.bottom), (150, FRESH.top)], look)
    yield _label(158, 82, "a record is found. By the clock it may be", look)
    yield _label(158, 97, "AGEING or EXPIRED. No record: a mint.", look)
    yield arrow([(150, FRESH.bottom), (150, AGEING.top)], look)
    yield _label(158, 184, "at most 15 min before its end", look)
    yield arrow([(100, AGEING.bottom), (100, EXPIRED.top)], look)
    yield _label(92, 270, "its end", look, "end")
    yield arrow([(220, AGEING.bottom), (220, REJECTED.top)], look)
    yield arrow([(100, EXPIRED.bottom), (130, ASK.top)], look)
    yield arrow([(236, REJECTED.bottom), (236, ASK.top)], look)
    yield arrow([(30 + 20, 222), (22, 222), (22, 416), (ASK.left, 416)], look, is_dashed=True)
    yield _label(28, 360, "in the", look)
    yield _label(28, 375, "background", look)
    yield arrow([(ASK.right, 416), (372, 416), (372, UNSAVED.bottom)], look)
    yield _label(364, 372, "granted", look, "end")
    yield arrow([(350, UNSAVED.top), (350, 136), (FRESH.right, 136)], look)
    yield _label(262, 128, "saved", look)
    yield arrow([(130, ASK.bottom), (115, REPLACED.top)], look)
    yield arrow([(290, ASK.bottom), (314, RAISED.top)], look)
    yield _label(212, 472, "Wix refuses", look, "middle")
    yield _label(210, 574, "Anything else is a failure: the tokens stay as they are,", look, "middle")
    yield _label(210, 589, "and Wix is left alone for a while (1 s at first, then up to 60 s).", look, "middle")
    for box in (*STATES, ASK, REPLACED, RAISED):
        yield box.svg(look)


def picture(look: Look) -> str:
    """Returns the drawing."""
    return drawing(TITLE, 600, _parts(look), look)


def pictures() -> dict[Path, str]:
    """Returns the drawing's files and their content."""
    return files("token-life", picture)


if __name__ == "__main__":
    write(pictures())
