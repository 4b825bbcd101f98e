"""The browser test of docs/how-to/testing.md passes as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.testing.test_page import PAGE, WITHOUT_ASYNCIO, passed, titled

pytestmark = pytest.mark.browser


def test_the_browser_test_of_the_page(tmp_path: Path, chromium: str) -> None:
    """Its app is served on loopback, and Chromium stays one visitor."""
    pytest.importorskip("playwright")
    (tmp_path / "test_browser.py").write_text(titled(PAGE, "test_browser.py"), "utf-8")
    assert passed(tmp_path, "test_browser.py", WITHOUT_ASYNCIO, environment={"CHROMIUM": chromium}) == 1
