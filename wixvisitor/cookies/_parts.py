"""One text in several cookies: ``<name>.1``, ``<name>.2`` and so on. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from wixvisitor.cookies._content import LARGEST, size_of

MAX_PARTS: Final = 9  # so that a part's number is one digit
_MAX_TRIES: Final = 16  # combinations of parts to try, if a browser sends several cookies of one name


def split(name: str, text: str) -> list[tuple[str, str]]:
    """Returns names and values of the parts."""
    room = LARGEST - size_of(part_name(name, 1), "")
    slices = [text[start : start + room] for start in range(0, len(text), room)]
    return [(part_name(name, number), part) for number, part in enumerate(slices, 1)]


def joined(name: str, count: int, cookies: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Returns the texts that these parts may form; no text if a part is missing.

    Args:
        name: the name of the first cookie.
        count: how many parts there are.
        cookies: the values that the browser sent, by name.
    """
    values = [cookies.get(part_name(name, number), ()) for number in range(1, count + 1)]
    return ("".join(parts) for parts in itertools.islice(itertools.product(*values), _MAX_TRIES))


def part_name(name: str, number: int) -> str:
    """Returns the name of a part's cookie."""
    return f"{name}.{number}"


def parts_among(names: Iterable[str], name: str) -> list[str]:
    """Returns which of these names are parts of that cookie."""
    return [other for other in names if re.fullmatch(rf"{re.escape(name)}\.[1-{MAX_PARTS}]", other)]
