"""`python -m wixvisitor` as a whole: help, version, wrong usage, and what it does without extras."""

from __future__ import annotations

import subprocess
import sys

import pytest

from wixvisitor import __version__
from wixvisitor.cli import main

WITHOUT = """
import sys
for name in {names!r}:
    sys.modules[name] = None
from wixvisitor.cli import main
sys.exit(main({argv!r}))
"""


def run_without(names: list[str], argv: list[str]) -> subprocess.CompletedProcess[str]:
    program = WITHOUT.format(names=names, argv=argv)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", timeout=30)


@pytest.mark.parametrize("argv", [["--help"], ["tokens", "--help"], ["fake", "--help"]])
def test_help_names_the_exit_codes(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Help is written to stdout and says what the exit codes mean."""
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert "usage: python -m wixvisitor" in out
    assert "exit codes: 0 all well" in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """The version is the package's."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"wixvisitor {__version__}\n"


def test_the_module_runs_as_a_program() -> None:
    """`python -m wixvisitor` leads to the same place."""
    done = subprocess.run(
        [sys.executable, "-m", "wixvisitor", "--version"], capture_output=True, encoding="utf-8", timeout=30
    )
    assert (done.returncode, done.stdout) == (0, f"wixvisitor {__version__}\n")


@pytest.mark.parametrize("argv", [[], ["dance"], ["demo"], ["tokens"], ["tokens", "--file", ""], ["tokens", "--file"]])
def test_wrong_usage_exits_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong usage is explained on stderr and exits with 2."""
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "usage: python -m wixvisitor" in err


def test_tokens_needs_no_extra() -> None:
    """`tokens` runs with the library's own dependencies."""
    done = run_without(["rich", "starlette", "uvicorn", "graphql"], ["tokens", "--file", "/nonexistent"])
    assert (done.returncode, done.stderr) == (1, "wixvisitor: cannot read /nonexistent: No such file or directory\n")
