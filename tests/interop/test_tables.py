"""The README and the page that sets wixvisitor beside the real @wix/sdk say what a run finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import compare, compare_logins
from .compare_logins import end
from .tables import pairs, table_in, tables

pytestmark = pytest.mark.interop

TOP = Path(__file__).parents[2]
PAGE = "docs/explanation/beside-wix-sdk.md"


@pytest.mark.parametrize(
    ("page", "mark"),
    [("README.md", "sdk table"), *((PAGE, f"{name} table") for name in ("interop", "login", "alike"))],
)
def test_a_table(shopping_rows: list[compare.Row], login_rows: list[compare_logins.Row], page: str, mark: str) -> None:
    """The table is this run's; `python -m tests.interop.tables` prints it."""
    found = table_in((TOP / page).read_text(encoding="utf-8"), mark)
    assert found, f"{page} has no table between <!-- {mark} --> and <!-- /{mark} -->"
    assert found == tables(shopping_rows, login_rows)[mark]


def test_how_many_end_alike(login_rows: list[compare_logins.Row]) -> None:
    """The page says in how many situations of a login both end the same way."""
    text = " ".join((TOP / PAGE).read_text(encoding="utf-8").split()).lower()
    alike = [sdk for sdk, ours in pairs(login_rows) if end(sdk) == end(ours)]
    assert f"in {len(alike)} of {len(login_rows) // 2} situations" in text
