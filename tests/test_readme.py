"""The code in README.md and docs/ runs as it stands: its calls to Wix are answered by FakeWix."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import respx
from sybil import Document
from sybil.parsers.markdown import PythonCodeBlockParser

from wixvisitor.testing import FakeWix

TOP = Path(__file__).parent.parent


@pytest.fixture
def wix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWix]:
    fake = FakeWix()
    monkeypatch.chdir(tmp_path)
    with respx.mock(assert_all_called=False) as router:
        router.route(host="www.wixapis.com").mock(side_effect=respx.ASGIHandler(fake.app))
        router.route(host="127.0.0.1").pass_through()
        yield fake


@pytest.mark.parametrize(
    ("page", "blocks", "visitors"),
    [
        ("README.md", 16, 5),  # the first block's, step 2's (the one of all later steps), the pool's two, the script's
        ("docs/web.md", 8, 0),
        ("docs/speed.md", 1, 0),
        ("docs/storage.md", 4, 0),
        ("docs/observability.md", 3, 0),
        ("docs/members.md", 4, 0),
        ("docs/stand-in.md", 2, 0),
        ("docs/apis.md", 4, 0),
        ("docs/doctor.md", 1, 0),
        ("docs/blocking.md", 5, 2),  # the script's visitor, and one of the pool
    ],
)
def test_code_blocks_run_in_order(wix: FakeWix, page: str, blocks: int, visitors: int) -> None:
    """Every Python block of a page runs, one after another, in one namespace."""
    document = Document.parse(str(TOP / page), PythonCodeBlockParser())
    document.namespace["__name__"] = "__main__"
    examples = list(document)
    for example in examples:
        example.evaluate()
    assert len(examples) >= blocks
    assert len(wix.visitors) == visitors
    assert wix.unmatched == []


def test_the_flask_app_of_the_page_serves(wix: FakeWix) -> None:
    """The Flask app of docs/web.md gives a browser one visitor, and its end closes what it opened."""
    document = Document.parse(str(TOP / "docs/web.md"), PythonCodeBlockParser())
    document.namespace["__name__"] = "__main__"
    for example in document:
        example.evaluate()
    browser = document.namespace["flask_app"].test_client()
    with document.namespace["browsers"]:
        answers = [browser.get("/cart", base_url="https://shop.example") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert ["Set-Cookie" in answer.headers for answer in answers] == [True, False]
    assert len(wix.visitors) == 1


def test_code_stands_within_the_first_twenty_lines() -> None:
    """A reader sees the two commands and Python before line 20."""
    head = (TOP / "README.md").read_text("utf-8").splitlines()[:20]
    assert "```python" in head
    assert sum("nox -s" in line for line in head) == 2


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/web.md",
        "docs/speed.md",
        "docs/storage.md",
        "docs/observability.md",
        "docs/members.md",
        "docs/apis.md",
        "docs/blocking.md",
        "docs/doctor.md",
        "docs/jobs.md",
        "docs/security.md",
        "docs/reliability.md",
        "examples/README.md",
    ],
)
def test_links_lead_somewhere(page: str) -> None:
    """Every file that a page links to or shows is there."""
    text = (TOP / page).read_text("utf-8")
    links = [*re.findall(r"\]\(([^)#]+)\)", text), *re.findall(r'src(?:set)?="([^"]+)"', text)]
    assert [link for link in links if "://" not in link and not ((TOP / page).parent / link).exists()] == []
