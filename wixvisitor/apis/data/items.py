"""data.items: the items of the CMS's collections.

Written by hand from Wix's REST reference, since ``@wix/data`` has no ``meta`` entry. The items' fields are the site's
own, so their type is ``dict[str, Any]``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wixvisitor.apis import _runtime as api

if TYPE_CHECKING:
    from wixvisitor.apis.data import items_types as t
else:
    t = api.types_of("wixvisitor.apis.data.items_types")

__all__ = ["get_data_item", "query_data_items"]


async def get_data_item(
    visitor: api.Reader,
    *,
    data_item_id: str,
    data_collection_id: str,
    consistent_read: bool | None = None,
    max_retries: int | None = None,
) -> t.GetDataItemResponse:
    """GET /wix-data/v2/items/{dataItemId}

    Raises:
        WixAPIError: the status is not 2xx; 404: there is no such item or collection.
        What ``visitor.request`` raises.

    See https://dev.wix.com/docs/api-reference/business-solutions/cms/data-items/get-data-item
    """
    payload: dict[str, Any] = {
        "dataItemId": data_item_id,
        "dataCollectionId": data_collection_id,
        "consistentRead": consistent_read,
    }
    answer: t.GetDataItemResponse = await api.read(
        visitor, "GET", "/wix-data/v2/items/{dataItemId}", params=payload, max_retries=max_retries
    )
    return answer


def _items_of_query_data_items(answer: t.QueryDataItemsResponse) -> list[t.DataItem]:
    return answer.get("dataItems") or []


@api.paged(_items_of_query_data_items, cursor=("query", "cursorPaging"), offset=("query", "paging"))
async def query_data_items(
    visitor: api.Reader,
    *,
    data_collection_id: str,
    query: t.DataQuery | None = None,
    return_total_count: bool | None = None,
    consistent_read: bool | None = None,
    max_retries: int | None = None,
) -> t.QueryDataItemsResponse:
    """POST /wix-data/v2/items/query

    ``each(query_data_items, visitor, data_collection_id="Books", query={"paging": {"limit": 1000}})`` yields the items
    of all pages. Their fields are below ``data``. With ``consistent_read`` Wix reads what was just written.

    Raises:
        WixAPIError: the status is not 2xx; 404: there is no such collection; 403: visitors may not read it.
        What ``visitor.request`` raises.

    See https://dev.wix.com/docs/api-reference/business-solutions/cms/data-items/query-data-items
    """
    payload: dict[str, Any] = {
        "dataCollectionId": data_collection_id,
        "query": query,
        "returnTotalCount": return_total_count,
        "consistentRead": consistent_read,
    }
    answer: t.QueryDataItemsResponse = await api.read(
        visitor, "POST", "/wix-data/v2/items/query", json=payload, max_retries=max_retries
    )
    return answer
