"""``python -m tests.fuzz``: every target under atheris, a while each; ``--replay FILE TARGET`` gives it one input.

What is found is kept in ``.nox/fuzz``, and the command that replays it is printed. Needs ``pip install atheris rich``.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from .targets import TARGETS, WORDS

CORPUS: Final = Path(__file__).with_name("corpus")
_FOUND: Final = Path(".nox/fuzz")
_LIMITS: Final = ("-timeout=20", "-rss_limit_mb=2048", "-max_len=8192", "-print_final_stats=0")  # for each input
_STATUS: Final = re.compile(r"#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+)")
_KEPT: Final = re.compile(r"Test unit written to (\S+)")


@attrs.define
class Run:
    """What one target's run has come to."""

    target: str
    executions: int = 0
    coverage: int = 0
    features: int = 0
    finding: str | None = None


def main() -> int:
    """Does what the command line says; 1 if an input was not handled."""
    arguments = _parser().parse_args()
    if arguments.replay is not None:
        return _replay(arguments.replay, arguments.targets)
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed: pip install atheris (Linux). The corpus and the property")
        print("tests need it not: python -m pytest tests/fuzz")
        return 2
    runs = _all(arguments.targets or list(TARGETS), arguments.seconds, arguments.seed)
    for run in runs:
        print(f"{run.target:16} {run.executions:>9,} inputs {run.coverage:>5,} branches {run.features:>6,} features")
    found = [run for run in runs if run.finding is not None]
    for run in found:
        print(f"{run.target} did not handle an input:\n  python -m tests.fuzz --replay {run.finding} {run.target}")
    print(f"{len(runs)} targets, {sum(run.executions for run in runs):,} inputs, {len(found)} not handled")
    return 1 if found else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all without any")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default 60)")
    parser.add_argument("--seed", type=int, default=1, help="of libFuzzer's random numbers (default 1)")
    parser.add_argument("--replay", metavar="FILE", type=Path, help="give this input to the target")
    return parser


def _replay(file: Path, names: list[str]) -> int:
    """Raises what the target raises."""
    [name] = names
    TARGETS[name](file.read_bytes())
    print(f"{name} handles {file}")
    return 0


def _all(names: list[str], seconds: int, seed: int) -> list[Run]:
    unknown = [name for name in names if name not in TARGETS]
    if unknown:
        raise SystemExit(f"no such target: {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    runs = []
    bar = Progress(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with bar:
        task = bar.add_task("", total=len(names) * seconds)
        for name in names:
            run = Run(name)
            runs.append(run)
            for spent in _fuzz(run, seconds, seed):
                label = f"{name}: {run.executions:,} inputs, {run.coverage:,} branches"
                bar.update(task, completed=(len(runs) - 1) * seconds + min(spent, seconds), description=label)
            if run.finding is not None:
                bar.print(f"python -m tests.fuzz --replay {run.finding} {name}", soft_wrap=True)
    return runs


def _fuzz(run: Run, seconds: int, seed: int) -> Iterator[float]:
    """Runs the target in a process of its own, and yields the seconds that went by."""
    place, began, said = _FOUND / run.target, time.monotonic(), []
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as fresh:
        words = Path(fresh, "words")
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in WORDS.split()), "utf-8")
        (grown := Path(fresh, "corpus")).mkdir()
        options = (f"-max_total_time={seconds}", f"-seed={seed}", f"-dict={words}", f"-artifact_prefix={place}/")
        command = [sys.executable, "-m", "tests.fuzz.engine", run.target, *_LIMITS, *options, str(grown)]
        seeds = CORPUS / run.target
        command += [str(seeds)] if seeds.is_dir() else []
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8") as process:
            assert process.stderr is not None
            for line in process.stderr:
                said.append(line)
                _note(run, line)
                yield time.monotonic() - began
    if process.returncode != 0 and run.finding is None:
        raise SystemExit("".join(said[-40:]) + f"\natheris ended with {process.returncode} on {run.target}")


def _note(run: Run, line: str) -> None:
    if status := _STATUS.match(line):
        run.executions, run.coverage, run.features = map(int, status.groups())
    elif kept := _KEPT.search(line):
        run.finding = kept[1]


def _escaped(word: str) -> str:
    r"""What libFuzzer reads as the word: it knows ``\xAB``, ``\\`` and ``\"``."""
    return word.replace('"', '\\"')


if __name__ == "__main__":
    sys.exit(main())
