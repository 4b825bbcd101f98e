"""The collections of the fake's CMS, as ``/wix-data/v2/items`` reads them.

Reference: https://dev.wix.com/docs/api-reference/business-solutions/cms/data-items/query-data-items. The fake neither
filters nor sorts: a query with a filter or a sort gets a 400, so that no test believes otherwise.
"""

from typing import Any

from wixvisitor.testing._refusals import application_error, plain_error, validation_error
from wixvisitor.testing._site import CallContext
from wixvisitor.testing._stores import page_of

Json = dict[str, Any]


def query(context: CallContext) -> Json:
    """The answer to ``/wix-data/v2/items/query``, in pages by cursor or by offset.

    Raises:
        Refused: There is no such collection, or the query has a filter or a sort.

    """
    name = context.body.get("dataCollectionId")
    wanted = context.body.get("query") or {}
    if not isinstance(wanted, dict):
        raise validation_error("query", "must be an object")
    if wanted.get("filter") or wanted.get("sort"):
        raise plain_error(400, "FakeWix neither filters nor sorts collections")
    page, metadata = page_of(_items(context, name), wanted, limit=50)
    return {"dataItems": [_item(name, item) for item in page], "pagingMetadata": metadata}


def get(context: CallContext) -> Json:
    """One item."""
    name = context.call.query.get("dataCollectionId")
    for item in _items(context, name):
        if item["_id"] == context.params["item_id"]:
            return {"dataItem": _item(name, item)}
    raise application_error(404, "WDE0073", "Item does not exist")


def _items(context: CallContext, name: object) -> list[Json]:
    found = context.site.settings.collections.get(name) if isinstance(name, str) else None
    if found is None:
        raise application_error(404, "WDE0025", "The collection does not exist")
    return [{"_id": str(number), **item} for number, item in enumerate(found, 1)]


def _item(name: object, item: Json) -> Json:
    return {"id": item["_id"], "dataCollectionId": name, "data": item}
