"""Error reporters print local variables: none of ours shows a cookie or a token, in any framework, with any cookie."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.constants import IN_CI
from tests.diagonal import ONLY_IN_CI
from tests.web.reported import FRAMEWORKS_OWN, check, reported
from tests.web.troubled import TROUBLED_APPS

pytestmark = pytest.mark.machine

COOKIES = ["id", "sealed", "wixSession"] if IN_CI else ["id"]
FRAMEWORKS = list(TROUBLED_APPS) if IN_CI else ["fastapi"]  # each is a process that imports all of it


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_no_report_shows_a_secret_of_ours(framework: str) -> None:
    """Sentry's SDK as it is sends no cookie and no token that stands in a frame, an object or a text of ours."""
    found = reported(framework=framework, cookies=COOKIES)
    check(found, COOKIES)
    assert "StorageError" in found["id/broken_store"]["kinds"]


@ONLY_IN_CI
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_what_the_docs_say_hides_the_frameworks_own(framework: str) -> None:
    """With the scrubber that the docs show, no frame at all shows a cookie or a token, the frameworks' own included."""
    page = (Path(__file__).parents[2] / "docs/explanation/browsers.md").read_text("utf-8")
    assert ", ".join(f'"{name}"' for name in FRAMEWORKS_OWN) in page
    check(reported(framework=framework, cookies=["wixSession"], scrubbed=True), ["wixSession"])
