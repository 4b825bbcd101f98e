"""`each` goes through all pages, by cursors and by offsets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wixvisitor import ConfigurationError, VisitorSession, WixAPIError
from wixvisitor.apis import each
from wixvisitor.apis.bookings import availability, services
from wixvisitor.apis.ecom import current_cart
from wixvisitor.apis.events import orders, rsvps
from wixvisitor.apis.stores import products_v3

from .conftest import Wix

pytestmark = pytest.mark.anyio


def bodies(wix: Wix) -> list[Any]:
    return [json.loads(request.content) for request in wix.requests]


async def test_cursors(wix: Wix, shopper: VisitorSession) -> None:
    """A page's cursor asks for the next one, without the rest of the query, which the cursor holds."""
    wix.answer(json={"products": [{"id": "1"}, {"id": "2"}], "pagingMetadata": {"cursors": {"next": "n"}}})
    wix.answer(json={"products": [{"id": "3"}], "pagingMetadata": {"cursors": {}, "hasNext": False}})
    query: Any = {"filter": {"visible": True}, "cursorPaging": {"limit": 2}}
    found = [product["id"] async for product in each(products_v3.query_products, shopper, query=query, fields=["URL"])]
    assert found == ["1", "2", "3"]
    assert bodies(wix) == [
        {"query": query, "fields": ["URL"]},
        {"query": {"cursorPaging": {"limit": 2, "cursor": "n"}}, "fields": ["URL"]},
    ]


async def test_offsets(wix: Wix, shopper: VisitorSession) -> None:
    """Where Wix pages by offsets, the query stays and the offset grows, until all are there."""
    wix.answer(json={"services": [{"id": "1"}, {"id": "2"}], "pagingMetadata": {"total": 3, "offset": 0}})
    wix.answer(json={"services": [{"id": "3"}], "pagingMetadata": {"total": 3, "offset": 2}})
    query: Any = {"filter": {"hidden": False}, "paging": {"limit": 2}}
    assert [one["id"] async for one in each(services.query_services, shopper, query=query)] == ["1", "2", "3"]
    assert bodies(wix) == [{"query": query}, {"query": {**query, "paging": {"limit": 2, "offset": 2}}}]


async def test_arguments_of_their_own(wix: Wix, shopper: VisitorSession) -> None:
    """Limit, offset and cursor may be arguments of the function itself."""
    wix.answer(json={"orders": [{"orderNumber": "1"}], "total": 2})
    wix.answer(json={"orders": [{"orderNumber": "2"}], "total": 2})
    numbers = [order["orderNumber"] async for order in each(orders.list_orders, shopper, limit=1)]
    assert numbers == ["1", "2"]
    assert [dict(request.url.params) for request in wix.requests] == [{"limit": "1"}, {"limit": "1", "offset": "1"}]
    wix.requests.clear()
    wix.answer(json={"timeSlots": [{}], "cursorPagingMetadata": {"cursors": {"next": "n"}}})
    assert len([slot async for slot in each(availability.list_availability_time_slots, shopper, service_id="s")]) == 1
    assert bodies(wix)[1] == {"serviceId": "s", "cursorPaging": {"cursor": "n"}}
    wix.requests.clear()
    wix.answer(json={"rsvps": [{}], "pagingMetadata": {"cursors": {"next": "n"}}})
    assert len([one async for one in each(rsvps.list_current_rsvps, shopper, event_id="e", paging={"limit": 1})]) == 1
    assert dict(wix.requests[1].url.params)["paging.cursor"] == "n"


async def test_a_cursor_that_leads_nowhere(wix: Wix, shopper: VisitorSession) -> None:
    """The same cursor again ends it, and so does an answer without items, or without a word about further ones."""
    for _ in range(3):
        wix.answer(json={"products": [{}], "pagingMetadata": {"cursors": {"next": "same"}}})
    assert len([one async for one in each(products_v3.query_products, shopper, query={})]) == 2
    wix.answers.clear()
    assert [one async for one in each(services.query_services, shopper, query={})] == []
    wix.requests.clear()
    wix.answer(json={"services": [{}]})
    assert len([one async for one in each(services.query_services, shopper, query={})]) == 1
    assert len(wix.requests) == 1


async def test_a_cursor_that_is_given_twice(wix: Wix, shopper: VisitorSession) -> None:
    """If more is to follow and the cursor is the same again, that is an error: what came is not all."""
    for _ in range(2):
        wix.answer(json={"products": [{}], "pagingMetadata": {"cursors": {"next": "same"}, "hasNext": True}})
    with pytest.raises(WixAPIError, match="same cursor"):
        [one async for one in each(products_v3.query_products, shopper, query={})]


async def test_an_error_on_the_way(wix: Wix, shopper: VisitorSession) -> None:
    """What a page raises comes after the items before it."""
    wix.answer(json={"products": [{"id": "1"}], "pagingMetadata": {"cursors": {"next": "n"}}})
    wix.answer(403)
    products = each(products_v3.query_products, shopper, query={})
    assert (await anext(products))["id"] == "1"
    with pytest.raises(WixAPIError):
        await anext(products)


async def test_no_pages(shopper: VisitorSession) -> None:
    """A function without pages is a ConfigurationError."""
    with pytest.raises(ConfigurationError, match="pages"):
        await anext(each(current_cart.get_current_cart, shopper))  # type: ignore[arg-type]
