"""The README's code runs as it stands: its calls to Wix are answered by FakeWix."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import respx
from sybil import Document
from sybil.parsers.markdown import PythonCodeBlockParser

from wixvisitor.testing import FakeWix

README = Path(__file__).parent.parent / "README.md"


@pytest.fixture
def wix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWix]:
    fake = FakeWix()
    monkeypatch.chdir(tmp_path)
    with respx.mock(assert_all_called=False) as router:
        router.route(host="www.wixapis.com").mock(side_effect=respx.ASGIHandler(fake.app))
        router.route(host="127.0.0.1").pass_through()
        yield fake


def test_code_blocks_run_in_order(wix: FakeWix, client_id: str, tmp_path: Path) -> None:
    """Every Python block of the README runs, one after another, in one namespace."""
    copy = tmp_path / "README.md"
    copy.write_text(README.read_text().replace("<CLIENT-ID>", client_id))
    examples = list(Document.parse(str(copy), PythonCodeBlockParser()))
    for example in examples:
        example.evaluate()
    assert len(examples) >= 7
    assert len(wix.visitors) == 4  # the first block's, step 2's (the one of all later steps), and the pool's two
    assert wix.unmatched == []


def test_code_stands_within_the_first_twenty_lines() -> None:
    """A reader sees the two commands and Python before line 20."""
    head = README.read_text().splitlines()[:20]
    assert "```python" in head
    assert sum("nox -s" in line for line in head) == 2
