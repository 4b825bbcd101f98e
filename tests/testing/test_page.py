"""The Python of docs/how-to/testing.md is test files, which pass as they stand: one, and those with a title."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import TOP, Block, blocks_of

PAGE = "docs/how-to/testing.md"
# Starlette's TestClient uses it in the lowest versions that are allowed; anyio 4.16 says so.
ALIAS = "ignore:The anyio.abc.BlockingPortal alias is deprecated:DeprecationWarning"
WITHOUT_ASYNCIO = "-pno:asyncio"  # without its settings that plugin warns


def titled(page: str, title: str) -> str:
    """The file that the page shows under this title."""
    (code,) = (block.code for block in blocks_of(page) if block.title == title)
    return code


def passed(place: Path, file: str, *options: str, environment: dict[str, str] | None = None) -> int:
    """Runs a test file in a process of its own, with warnings as errors, and returns how many tests passed: all."""
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-W", ALIAS, "-p", "no:cacheprovider", *options]
    ran = subprocess.run(
        [*command, str(place / file)],
        env=os.environ | {"PYTHONPATH": str(TOP)} | (environment or {}),
        cwd=place,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    number = re.search(r"^(\d+) passed in", ran.stdout, re.MULTILINE)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert number, ran.stdout
    return int(number[1])


def test_the_page(tmp_path: Path) -> None:
    """All Python blocks without a title, in their order, are one test file."""
    blocks: list[Block] = [block for block in blocks_of(PAGE) if block.language == "python" and block.title is None]
    text = "\n".join(block.code for block in blocks)
    (tmp_path / "test_page.py").write_text(text, "utf-8")
    (tmp_path / "conftest.py").write_text(titled(PAGE, "conftest.py"), "utf-8")
    (tmp_path / "reports.py").write_text(titled("docs/how-to/observe.md", "reports.py"), "utf-8")
    expected = len(re.findall(r"^(?:async )?def test_", text, re.MULTILINE))
    assert passed(tmp_path, "test_page.py", WITHOUT_ASYNCIO) == expected >= 12


@pytest.mark.parametrize(("file", "number"), [("test_strict.py", 2), ("test_auto.py", 1)])
def test_pytest_asyncio(tmp_path: Path, file: str, number: int) -> None:
    """The files for pytest-asyncio pass in their mode."""
    pytest.importorskip("pytest_asyncio")
    strict, auto = (block.code for block in blocks_of(PAGE) if block.language == "ini")
    (tmp_path / file).write_text(titled(PAGE, file), "utf-8")
    (tmp_path / "pytest.ini").write_text(auto if file == "test_auto.py" else strict, "utf-8")
    assert passed(tmp_path, file) == number
