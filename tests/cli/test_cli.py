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
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize("argv", [["--help"], ["demo", "--help"], ["tokens", "--help"]])
def test_help_names_the_exit_codes(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Help is written to stdout, says what the exit codes mean, and keeps the hidden command hidden."""
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert "usage: python -m wixvisitor" in out
    assert "exit codes: 0 all well" in out
    assert "_life" not in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """The version is the package's."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"wixvisitor {__version__}\n"


def test_the_module_runs_as_a_program() -> None:
    """`python -m wixvisitor` leads to the same place."""
    done = subprocess.run([sys.executable, "-m", "wixvisitor", "--version"], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (0, f"wixvisitor {__version__}\n")


@pytest.mark.parametrize(
    "argv", [[], ["dance"], ["_life"], ["tokens"], ["tokens", "--file", ""], ["tokens", "--file"], ["demo", "now"]]
)
def test_wrong_usage_exits_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong usage is explained on stderr and exits with 2."""
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "usage: python -m wixvisitor" in err


@pytest.mark.parametrize("missing", ["rich", "starlette", "uvicorn", "graphql"])
def test_the_demo_names_the_extra_that_is_missing(missing: str) -> None:
    """Without its extra the demo says in one line what to install, and exits with 2."""
    done = run_without([missing], ["demo"])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"wixvisitor: the demo needs {missing}: pip install 'wixvisitor[demo]'\n"


def test_tokens_needs_no_extra() -> None:
    """The other command runs with the library's own dependencies."""
    done = run_without(["rich", "starlette", "uvicorn", "graphql"], ["tokens", "--file", "/nonexistent"])
    assert (done.returncode, done.stderr) == (1, "wixvisitor: cannot read /nonexistent: No such file or directory\n")


def test_an_import_that_fails_for_another_reason_is_not_called_a_missing_extra() -> None:
    """Only the demo's own extras are what its message speaks of."""
    done = run_without(["tempfile"], ["demo"])
    assert done.returncode == 1
    assert "wixvisitor[demo]" not in done.stderr
