"""FakeWix's collections, through the typed functions: all pages, one item, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from tests.constants import CLIENT_ID
from wixvisitor import VisitorSession, WixAPIError
from wixvisitor.apis import each
from wixvisitor.apis.data import items
from wixvisitor.testing import FakeWix

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("paging", ["paging", "cursorPaging"])
async def test_collections_of_the_fake(fake: FakeWix, anyio_backend: str, paging: str) -> None:
    """A collection is read in pages, by offsets and by cursors; items get the IDs that they lack."""
    fake.collections["Books"] = [{"title": f"Book {number}"} for number in range(5)]
    visitor = VisitorSession(CLIENT_ID, client=fake.client())
    query: Any = {paging: {"limit": 2}}
    found = [item async for item in each(items.query, visitor, data_collection_id="Books", query=query)]
    assert [item["data"]["title"] for item in found] == [f"Book {number}" for number in range(5)]
    assert len(fake.api_calls()) == 3
    one = await items.get(visitor, data_item_id="2", data_collection_id="Books")
    assert one["dataItem"]["data"] == {"_id": "2", "title": "Book 1"}


async def test_what_the_fake_cannot_do(fake: FakeWix, anyio_backend: str) -> None:
    """An unknown collection is a 404, and a filter is an error, since the fake would ignore it."""
    visitor = VisitorSession(CLIENT_ID, client=fake.client())
    with pytest.raises(WixAPIError, match="WDE0025"):
        await items.query(visitor, data_collection_id="Books")
    fake.collections["Books"] = []
    with pytest.raises(WixAPIError, match="filters"):
        await items.query(visitor, data_collection_id="Books", query={"filter": {"a": 1}})
    with pytest.raises(WixAPIError, match="WDE0073"):
        await items.get(visitor, data_item_id="9", data_collection_id="Books")
