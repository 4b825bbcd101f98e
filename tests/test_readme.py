"""The code in README.md and docs/ runs as it stands: its calls to Wix are answered by FakeWix."""

from __future__ import annotations

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


def test_the_flask_app_of_the_page_serves(wix: FakeWix) -> None:
    """The Flask app of docs/how-to/frameworks.md gives a browser one visitor, and its end closes what it opened."""
    document = Document.parse(str(TOP / "docs/how-to/frameworks.md"), PythonCodeBlockParser())
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
