"""Runs in an environment with the wheel and one extra: ``main(extra)``. Raises what is wrong, else prints a line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import wixvisitor

from . import promises, visitor
from .modules import check_modules, check_packages, usable

_HELP = ((), ("tokens",), ("copy",), ("fake",), ("doctor",))


def main(extra: str) -> None:
    """Checks this environment.

    Args:
        extra: the one that is installed: a name of pyproject.toml, or empty for none.

    Raises:
        AssertionError: something is missing, came along, or does not say what it needs.
    """
    assert Path(wixvisitor.__file__).is_relative_to(sys.prefix), "this is not the installed package"
    check_packages(extra)
    modules, extras = check_modules(extra), usable()
    check_command_line(has_fake="testing" in extras)
    visitor.without_extras()
    kept = [name for name in promises.BY_EXTRA if name in extras]
    for name in kept:
        promises.BY_EXTRA[name]()
    promises.contract_needs_pytest()
    if "testing" not in extras:
        promises.fake_needs_its_extra()
    print(f"{modules} modules; works: {', '.join(('a visitor', *kept))}")


def check_command_line(*, has_fake: bool) -> None:
    """``--help`` of each command works; ``fake`` names its extra where it is not installed."""
    for command in _HELP:
        done = _run(*command, "--help")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("usage: python -m wixvisitor"), done.stdout
    assert _run("--version").stdout.strip() == f"wixvisitor {wixvisitor.__version__}"
    if not has_fake:
        done = _run("fake", "--port", "0")
        assert done.returncode == 2, done
        assert "pip install 'wixvisitor[testing]'" in done.stderr, done.stderr


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-m", "wixvisitor", *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, check=False)
