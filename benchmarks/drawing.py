"""Charts as SVG, one for light and one for dark pages; the same figures make the same file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt


@attrs.frozen
class Look:
    """The colours of a page."""

    name: str
    ink: str
    ours: str
    other: str
    quiet: str


LOOKS: Final = (
    Look("light", ink="#24292f", ours="#2f6fd0", other="#1f8a5b", quiet="#9aa0a6"),
    Look("dark", ink="#d0d7de", ours="#6ea8fe", other="#56c596", quiet="#7d8590"),
)


@contextmanager
def chart(place: Path, *, columns: int = 1, height: float = 3.0, **arguments: Any) -> Iterator[Any]:
    """Hands out ``(axes, look)`` for each look, to be drawn upon; writes ``<place>-<look>.svg`` at the end."""
    mpl.rcParams.update({"svg.hashsalt": "wixvisitor", "svg.fonttype": "none", "font.size": 9, "axes.titlesize": 10})
    drawn = []
    for look in LOOKS:
        names = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
        with mpl.rc_context(dict.fromkeys(names, look.ink)):
            figure, axes = plt.subplots(
                1, columns, figsize=(11, height), layout="constrained", squeeze=False, **arguments
            )
        for axis in axes[0]:
            axis.spines[["top", "right"]].set_visible(False)
        drawn.append((figure, axes[0], look))
    yield [(axes, look) for _, axes, look in drawn]
    place.parent.mkdir(parents=True, exist_ok=True)
    for figure, _, look in drawn:
        figure.savefig(f"{place}-{look.name}.svg", metadata={"Date": None}, transparent=True)
        plt.close(figure)
