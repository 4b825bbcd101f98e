"""The CMS's items, which no npm package describes: what is sent, all pages, and FakeWix's collections."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.constants import CLIENT_ID
from wixvisitor import VisitorSession, WixAPIError
from wixvisitor.apis import each
from wixvisitor.apis.data import items
from wixvisitor.testing import FakeWix

from .conftest import Wix

pytestmark = pytest.mark.anyio


async def test_requests(wix: Wix, shopper: VisitorSession) -> None:
    """A query is the body of a POST, an item is named by its path and its collection."""
    await items.query_data_items(shopper, data_collection_id="Books", query={"filter": {"shelf": 1}})
    await items.get_data_item(shopper, data_item_id="a/b", data_collection_id="Books", consistent_read=True)
    query, get = wix.requests
    assert (query.method, query.url.path) == ("POST", "/wix-data/v2/items/query")
    assert json.loads(query.content) == {"dataCollectionId": "Books", "query": {"filter": {"shelf": 1}}}
    assert get.url.raw_path.startswith(b"/wix-data/v2/items/a%2Fb?")
    assert dict(get.url.params)["consistentRead"] == "true"


@pytest.mark.parametrize("paging", ["paging", "cursorPaging"])
async def test_collections_of_the_fake(fake: FakeWix, anyio_backend: str, paging: str) -> None:
    """A collection is read in pages, by offsets and by cursors; items get the IDs that they lack."""
    fake.collections["Books"] = [{"title": f"Book {number}"} for number in range(5)]
    visitor = VisitorSession(CLIENT_ID, client=fake.client())
    query: Any = {paging: {"limit": 2}}
    found = [item async for item in each(items.query_data_items, visitor, data_collection_id="Books", query=query)]
    assert [item["data"]["title"] for item in found] == [f"Book {number}" for number in range(5)]
    assert len(fake.api_calls()) == 3
    one = await items.get_data_item(visitor, data_item_id="2", data_collection_id="Books")
    assert one["dataItem"]["data"] == {"_id": "2", "title": "Book 1"}


async def test_what_the_fake_cannot_do(fake: FakeWix, anyio_backend: str) -> None:
    """An unknown collection is a 404, and a filter is an error, since the fake would ignore it."""
    visitor = VisitorSession(CLIENT_ID, client=fake.client())
    with pytest.raises(WixAPIError, match="WDE0025"):
        await items.query_data_items(visitor, data_collection_id="Books")
    fake.collections["Books"] = []
    with pytest.raises(WixAPIError, match="filters"):
        await items.query_data_items(visitor, data_collection_id="Books", query={"filter": {"a": 1}})
    with pytest.raises(WixAPIError, match="WDE0073"):
        await items.get_data_item(visitor, data_item_id="9", data_collection_id="Books")
