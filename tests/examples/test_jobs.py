"""The nine jobs of examples/jobs, each over a stand-in."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from examples.jobs import sitemap
from examples.jobs.stand_in import stand_in
from tests.constants import CLIENT_ID, EPOCH
from wixvisitor.blocking import BlockingVisitorSession
from wixvisitor.testing import FakeWix


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def fake() -> FakeWix:
    return stand_in(clock=lambda: EPOCH, strict=True)


@pytest.fixture
def visitor(fake: FakeWix) -> Iterator[BlockingVisitorSession]:
    with BlockingVisitorSession(CLIENT_ID, client=fake.client, clock=fake.now) as session, fake:
        yield session


def test_sitemap(visitor: BlockingVisitorSession, fake: FakeWix, tmp_path: Path) -> None:
    """Every item of the collection is in the sitemap and in the table, though it takes three pages."""
    number = sitemap.export(visitor, "Books", "https://shop.example/books", tmp_path)
    urls = [element.text for element in ElementTree.parse(tmp_path / "sitemap.xml").iter() if element.text]
    rows = list(csv.DictReader((tmp_path / "items.csv").open(newline="")))
    assert number == len(urls) == len(rows) == 250
    assert urls[249] == f"https://shop.example/books/{rows[249]['slug']}"
    assert len(fake.api_calls()) == 3
