"""What a soak found: tables, figures as JSON, charts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from tests.faults.soak import Soak

SURVIVOR: Final = "worker 0"  # lives from the beginning to the end


def show(soak: Soak, console: Console) -> None:
    """Prints the tables, the verdict, and how to repeat it."""
    console.print(_table("how the callers' calls ended", soak.ended))
    console.print(_table("faults", soak.happened))
    console.print(_table("visitors asked for after faults, by client", soak.judged))
    console.print(_table("in all", _totals(soak)))
    for one in soak.growths:
        console.print(_table(one.name, _growth(one)))
    for text in soak.wrong:
        console.print(f"[red]WRONG[/red] {text}", highlight=False)
    console.print("[green]nothing was wrong" if not soak.wrong else f"[red]{len(soak.wrong)} things were wrong")
    console.print(f"again: python -m tests.faults.soak --seconds {soak.seconds:g} --seed {soak.seed}", highlight=False)


def write(soak: Soak, place: Path) -> None:
    """Writes every figure."""
    place.write_text(json.dumps(attrs.asdict(soak), indent=1) + "\n", "utf-8")


def draw(soak: Soak, place: Path) -> None:
    """Draws memory and descriptors over time, and a mark for each fault."""
    from benchmarks import drawing  # matplotlib takes long, and not every run draws

    with drawing.chart(place / "soak", columns=2, height=3.2) as charts:
        for axes, look in charts:
            for axis, field in zip(axes, ("memory", "descriptors"), strict=True):
                colors = {SURVIVOR: look.ours, **{f"worker {number}": look.quiet for number in range(1, 5)}}
                for name, color in reversed(colors.items()):
                    _line(axis, soak, name, field, color)
                axis.set_ylim(bottom=0)
                marks = soak.began
                axis.plot(
                    marks,
                    [0.02] * len(marks),
                    "|",
                    color=look.other,
                    markeredgewidth=0.5,
                    transform=axis.get_xaxis_transform(),
                )
                axis.set_xlabel("seconds; each mark is a fault")
            axes[0].set_title("MiB of a process")
            axes[1].set_title("open descriptors of a process")
            axes[0].legend(frameon=False, labelcolor=look.ink)


def _line(axis: Any, soak: Soak, name: str, field: str, color: str) -> None:
    own = [sample for sample in soak.samples if sample.name == name]
    label = {SURVIVOR: "never killed", "worker 1": "killed and started again"}.get(name)
    wide = 1.6 if name == SURVIVOR else 0.8
    axis.plot([one.at for one in own], [getattr(one, field) for one in own], color=color, label=label, linewidth=wide)


def _table(title: str, rows: Mapping[str, Any]) -> Table:
    table = Table("", "", title=title, title_justify="left", show_header=False)
    table.columns[1].justify = "right"
    for name, value in sorted(rows.items()) if title.startswith(("how", "fault")) else rows.items():
        table.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    return table


def _totals(soak: Soak) -> dict[str, Any]:
    truth = soak.truth
    return {
        "seconds with faults": f"{soak.seconds:g}",
        "API requests": truth["requests"],
        "renewals": truth["renewals"],
        "faults": soak.happened.total(),
        "gusts of them, judged": soak.judgements,
        "seconds after a gust or a pause until a visitor was served, at most": f"{soak.late:.1f}",
        "visitors": truth["visitors"],
        "visitors lost": len(truth["lost"]),
        "visitors replaced, whom Wix had refused": truth["replaced"],
        "visitors minted in vain, used by nobody": truth["spare"],
        "seconds until all were served again, at most": f"{soak.longest_recovery:.1f}",
    }


def _growth(one: Any) -> dict[str, str]:
    return {
        "MiB a quarter into the run": f"{one.memory[0]:.1f}",
        "MiB in the end": f"{one.memory[1]:.1f}",
        "slope, MiB an hour": f"{one.slope:+.1f}",
        "descriptors before the faults": f"{one.descriptors[0]:g}",
        "descriptors at most": f"{one.descriptors[1]:g}",
        "descriptors after the faults": f"{one.descriptors[2]:g}",
    }
