"""Runs the questions: a progress bar, tables, a verdict for each target, figures as JSON, charts."""

from __future__ import annotations

import argparse
import datetime as dt
import importlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, Final

import attrs
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from benchmarks.measuring import Answer, Verdict

QUESTIONS: Final = (
    "throughput",
    "herd",
    "expiry",
    "memory",
    "many_visitors",
    "sites",
    "imports",
    "auth_headers",
    "renewal",
    "events",
    "blocking",
    "stores",
    "web_load",
    "middleware",
)
MARK: Final = "<!-- figures -->"
PACKAGES: Final = (
    "wixvisitor",
    "httpx",
    "httpx2",
    "httpx-aiohttp",
    "aiohttp",
    "anyio",
    "uvloop",
    "Authlib",
    "sniffio",
    "fastapi",
    "starlette",
)


def about() -> dict[str, Any]:
    """Returns what the figures were measured with."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    try:
        versions["Node"] = subprocess.run(
            ["node", "--version"], capture_output=True, encoding="utf-8", check=True
        ).stdout.strip()
    except OSError:
        versions["Node"] = None
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    date = dt.datetime.now(tz=dt.UTC).date().isoformat()
    return {"date": date, "python": platform.python_version(), "machine": machine, "versions": versions}


def table_of(title: str, rows: list[dict[str, Any]]) -> Table:
    """Draws the rows; columns are named by the first."""
    drawn = Table(title=title, title_justify="left")
    for name, value in rows[0].items():
        drawn.add_column(name, justify="left" if isinstance(value, str) else "right")
    for row in rows:
        drawn.add_row(*(_shown(value) for value in row.values()))
    return drawn


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return str(value)


def verdict_table(verdicts: list[Verdict]) -> Table:
    """Draws the targets."""
    drawn = Table(title="targets", title_justify="left")
    for name in ("what", "beside", "figure", "target", "verdict"):
        drawn.add_column(name, justify="right" if name in ("figure", "target") else "left")
    for one in verdicts:
        sign = "≤" if one.at_most else "≥"
        verdict = "[green]met" if one.is_met else "[red]missed"
        figure = f"{one.figure:,.2f}{one.unit}".replace(".00", "")
        drawn.add_row(one.what, one.beside, figure, f"{sign} {one.target:,g}{one.unit}", verdict)
    return drawn


def markdown(results: dict[str, Any]) -> str:
    """Returns the targets, and what they were measured with, for a page of the docs."""
    about = results["about"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items() if version)
    measured_with = f"{about['date']}, Python {about['python']}, {about['machine']}; {versions}."
    lines = [
        *textwrap.wrap(measured_with, width=120, break_on_hyphens=False),
        "",
        "| what | beside | figure | target |",
        "| --- | --- | ---: | --- |",
    ]
    for name in QUESTIONS:
        for one in results.get(name, {}).get("verdicts", ()):
            verdict = Verdict(**one)
            sign, missed = "≤" if verdict.at_most else "≥", "" if verdict.is_met else ": **missed**"
            both = (f"{number:,.2f}".removesuffix(".00") + one["unit"] for number in (verdict.figure, verdict.target))
            lines.append(f"| {verdict.what} | {verdict.beside} | {f' | {sign} '.join(both)}{missed} |")
    return "\n".join(lines)


def write_docs(page: Path, text: str) -> None:
    """Puts the text between the page's marks."""
    before, _, rest = page.read_text("utf-8").partition(MARK)
    page.write_text(f"{before}{MARK}\n{text}\n{MARK}{rest.partition(MARK)[2]}", "utf-8")


def main() -> int:
    """Returns 1 if a count is wrong; a speed that is missed is shown, and no error."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "questions", nargs="*", metavar="quick or a question", help=f"{', '.join(QUESTIONS)}; none: all"
    )
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--charts", type=Path, help="draw the charts into this directory")
    parser.add_argument("--docs", type=Path, help="write the targets into this page, between its marks")
    arguments = parser.parse_args()
    quick = "quick" in arguments.questions
    names = [name for name in arguments.questions if name != "quick"] or QUESTIONS
    unknown = set(names) - set(QUESTIONS)
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}")
    answers: dict[str, Answer] = {}
    console = Console(width=None if sys.stdout.isatty() else 120)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        for name in names:
            module = importlib.import_module(f"benchmarks.{name}")
            answers[name] = module.measure(progress, quick=quick)
            console.print(table_of(module.__doc__.partition("\n")[0], answers[name].rows))
            for note in answers[name].notes:
                console.print(note)
            if arguments.charts and hasattr(module, "draw"):
                module.draw(answers[name], arguments.charts)
    verdicts = [verdict for answer in answers.values() for verdict in answer.verdicts]
    if verdicts:
        console.print(verdict_table(verdicts))
    results = {"about": about(), "quick": quick, **{name: attrs.asdict(answer) for name, answer in answers.items()}}
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    if arguments.docs:
        write_docs(arguments.docs, markdown(results))
    return int(any(verdict.must_hold and not verdict.is_met for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
