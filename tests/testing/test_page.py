"""docs/how-to/testing.md is one test file, and passes as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).parents[2]
# Starlette's TestClient uses it in the lowest versions that are allowed; anyio 4.16 says so.
ALIAS = "ignore:The anyio.abc.BlockingPortal alias is deprecated:DeprecationWarning"
CONFTEST = """
import pytest

@pytest.fixture
def anyio_backend():
    return "asyncio"
"""


def test_the_page(tmp_path: Path) -> None:
    """All Python blocks of the page, in their order, are tests that pass, each with warnings as errors."""
    page = (TOP / "docs/how-to/testing.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "test_page.py").write_text("\n".join(blocks), "utf-8")
    (tmp_path / "conftest.py").write_text(CONFTEST, "utf-8")
    expected = len(re.findall(r"^(?:async )?def test_", "\n".join(blocks), re.MULTILINE))
    options = ["-q", "-W", "error", "-W", ALIAS, "-p", "no:cacheprovider"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(TOP)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{expected} passed" in ran.stdout
    assert expected >= 9
