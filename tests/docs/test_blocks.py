"""Every block of code on every page runs, or is checked by the tool of its language."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import CHECKS, PAGES, READ_ONLY, TOP, Block, blocks_of
from tests.docs.pages import steps
from wixvisitor.testing import FakeWix

# Pages whose Python runs in another test, which says how.
RUN_ELSEWHERE = {
    "docs/how-to/testing.md": "tests/testing/test_page.py",
    "docs/how-to/jobs.md": "tests/examples/test_jobs.py",
    "docs/tutorial.md": "tests/docs/test_tutorial.py",
}
VISITORS = {
    "README.md": 1,
    "docs/how-to/without-async.md": 2,
}  # pages of which a test should notice one visitor too many


@pytest.mark.parametrize("page", [page for page in PAGES if page not in RUN_ELSEWHERE])
def test_the_python_of_a_page_runs(wix: FakeWix, page: str) -> None:
    """Every Python block without a title runs, one after another, in one namespace; those with one are that file."""
    for block in blocks_of(page):
        if block.language == "python" and block.title and (TOP / block.title).exists():
            assert block.code in (TOP / block.title).read_text("utf-8"), f"{block}: {block.title} says something else"
    for _ in steps(page):
        pass  # it ran
    assert wix.unmatched == []
    assert len(wix.visitors) == VISITORS.get(page, len(wix.visitors))


@pytest.mark.parametrize(
    "block",
    [block for page in PAGES for block in blocks_of(page) if block.language not in {"python", *READ_ONLY}],
    ids=str,
)
def test_a_block_in_another_language(block: Block, tmp_path: Path) -> None:
    """The language's own tool accepts the block, or the page says why it cannot be asked."""
    assert block.language in CHECKS or block.reason, f"{block}: give its language, or say why it is not checked"
    if not block.reason:
        CHECKS[block.language](block, tmp_path)
