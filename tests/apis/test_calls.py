"""What a call of `wixvisitor.apis` sends, returns and raises, and when it is sent again."""

from __future__ import annotations

import json
import typing
from collections.abc import Callable
from typing import Any

import pytest

from tests.constants import CLIENT_ID
from wixvisitor import ConfigurationError, VisitorPool, VisitorSession, WixAPIError
from wixvisitor.apis import each
from wixvisitor.apis.data import items
from wixvisitor.apis.ecom import checkout, current_cart, orders
from wixvisitor.apis.events import events, rsvps, ticket_definitions
from wixvisitor.apis.members import members
from wixvisitor.apis.stores import collections, products, products_v3
from wixvisitor.web import CATALOG_PATHS, CatalogReader

from .conftest import Wix

pytestmark = pytest.mark.anyio

AT_ONCE = {"retry-after": "0"}


async def test_body(wix: Wix, shopper: VisitorSession) -> None:
    """A call that writes sends its arguments as JSON, under Wix's names and without those left out."""
    wix.answer(json={"cart": {"id": "c"}})
    items: list[Any] = [{"quantity": 1, "catalogReference": {"appId": "a", "catalogItemId": "p"}}]
    answer = await current_cart.add_line_items_to_current_cart(shopper, catalog_items=items)
    (request,) = wix.requests
    assert answer["cart"]["id"] == "c"
    assert (request.method, request.url.path) == ("POST", "/ecom/v2/carts/current/add-line-items")
    assert json.loads(request.content) == {"catalogItems": items}
    assert request.headers["Authorization"] == "OauthNG.JWS.a.b.c"


async def test_path_and_query(wix: Wix, shopper: VisitorSession) -> None:
    """Arguments in the path are percent-encoded, lists are repeated parameters, nested keys are joined by dots."""
    await events.list_events_by_category(
        shopper, category_id="a/b ü?", paging={"limit": 5, "offset": 0}, fields=["DETAILS", "TEXTS"]
    )
    (request,) = wix.requests
    assert request.url.raw_path.startswith(b"/events/v3/events/category/a%2Fb%20%C3%BC%3F?")
    assert request.url.params.multi_items() == [
        ("categoryId", "a/b ü?"),
        ("paging.limit", "5"),
        ("paging.offset", "0"),
        ("fields", "DETAILS"),
        ("fields", "TEXTS"),
    ]


async def test_id_inside_what_is_updated(wix: Wix, shopper: VisitorSession) -> None:
    """The id of what is updated goes into the path, and into the object; the caller's object stays as it was."""
    rsvp: Any = {"firstName": "Ada"}
    await rsvps.update_rsvp(shopper, id="r-1", rsvp=rsvp)
    (request,) = wix.requests
    assert (request.method, request.url.path) == ("PATCH", "/events/v2/rsvps/r-1")
    assert json.loads(request.content) == {"rsvp": {"firstName": "Ada", "id": "r-1"}}
    assert rsvp == {"firstName": "Ada"}


@pytest.mark.parametrize("id", ["", ".", "..", None])
async def test_no_way_out_of_the_path(wix: Wix, shopper: VisitorSession, id: Any) -> None:  # noqa: A002
    """A segment that would lead to another path is refused, and nothing is sent."""
    with pytest.raises(ConfigurationError, match=r"id: expected a text"):
        await orders.get_order(shopper, id=id)
    assert wix.requests == []


async def test_data_items(wix: Wix, shopper: VisitorSession) -> None:
    """Items of a collection are read and replaced as Wix's REST reference says."""
    wix.answer(json={"dataItems": [{"id": "i", "data": {"title": "Tea"}}], "pagingMetadata": {"hasNext": False}})
    found = [item async for item in each(items.query, shopper, data_collection_id="Teas", query={})]
    await items.update(shopper, data_collection_id="Teas", data_item={"id": "i", "data": {"title": "Coffee"}})
    await items.remove(shopper, data_collection_id="Teas", data_item_id=found[0]["id"])
    first, second, third = wix.requests
    assert (first.url.path, json.loads(first.content)) == (
        "/wix-data/v2/items/query",
        {"dataCollectionId": "Teas", "query": {}},
    )
    assert (second.method, second.url.path) == ("PUT", "/wix-data/v2/items/i")
    assert (third.method, dict(third.url.params)["dataCollectionId"]) == ("DELETE", "Teas")


async def test_error(wix: Wix, shopper: VisitorSession) -> None:
    """Wix's error is a WixAPIError with its code."""
    wix.answer(404, {"message": "no", "details": {"applicationError": {"code": "CURRENT_CART_NOT_FOUND"}}})
    with pytest.raises(WixAPIError) as caught:
        await current_cart.refresh_current_cart(shopper)
    assert (caught.value.status_code, caught.value.code) == (404, "CURRENT_CART_NOT_FOUND")


async def test_no_object(wix: Wix, shopper: VisitorSession) -> None:
    """A good status with something else than a JSON object is a WixAPIError; no body at all is an empty answer."""
    wix.answers = [wix.family.Response(200, text="<html>"), wix.family.Response(204)]
    with pytest.raises(WixAPIError, match="no JSON object"):
        await members.get_current_member(shopper)
    assert await members.get_current_member(shopper) == {}
    assert await members.delete_my_member(shopper) is None


@pytest.mark.parametrize("trouble", ["503", "429", "connection"])
async def test_reading_calls_are_repeated(wix: Wix, shopper: VisitorSession, trouble: str) -> None:
    """A reading call is sent again after a 503, a short 429 or a lost connection, twice at most."""
    if trouble == "connection":
        wix.answers = [wix.family.ConnectError("lost")]
    else:
        wix.answer(int(trouble), headers=AT_ONCE)
        wix.answer(int(trouble), headers=AT_ONCE)
    wix.answer(json={"products": []})
    assert (await products_v3.query_products(shopper, query={}))["products"] == []
    wix.requests.clear()
    for _ in range(4):
        wix.answer(503, headers=AT_ONCE)
    with pytest.raises(WixAPIError):
        await products_v3.query_products(shopper, query={})
    assert len(wix.requests) == 3


@pytest.mark.parametrize(("status", "headers"), [(429, {}), (429, {"retry-after": "11"}), (500, {}), (404, {})])
async def test_other_errors_are_not_repeated(
    wix: Wix, shopper: VisitorSession, status: int, headers: dict[str, str]
) -> None:
    """A 429 without a time or with a long one, and other errors, are raised at once."""
    wix.answer(status, headers=headers)
    with pytest.raises(WixAPIError):
        await products_v3.query_products(shopper, query={})
    assert len(wix.requests) == 1


async def test_no_repetition_after_a_read_timeout(wix: Wix, shopper: VisitorSession) -> None:
    """A read timeout is raised: it has taken its time, and Wix may be working still."""
    wix.answers = [wix.family.ReadTimeout("slow")]
    with pytest.raises(wix.family.ReadTimeout):
        await products_v3.query_products(shopper, query={})
    assert len(wix.requests) == 1


@pytest.mark.parametrize("call", [current_cart.refresh_current_cart, checkout.create_checkout])
@pytest.mark.filterwarnings("ignore:create_checkout:DeprecationWarning")
async def test_writing_calls_are_sent_once(wix: Wix, shopper: VisitorSession, call: Callable[..., Any]) -> None:
    """A call that writes is sent once, whatever happens."""
    wix.answers = [wix.family.ConnectError("lost")]
    with pytest.raises(wix.family.ConnectError):
        await call(shopper, **({"channel_type": "WEB"} if call is checkout.create_checkout else {}))
    wix.answer(503, headers=AT_ONCE)
    with pytest.raises(WixAPIError):
        await current_cart.refresh_current_cart(shopper)
    assert len(wix.requests) == 2


async def test_max_retries(wix: Wix, session_for: Callable[..., VisitorSession]) -> None:
    """`max_retries` of a call goes before the session's; 0 sends it once."""
    for expected, session, arguments in [(1, {"max_retries": 0}, {}), (2, {}, {"max_retries": 1})]:
        wix.answers, wix.requests = [], []
        for _ in range(3):
            wix.answer(503, headers=AT_ONCE)
        with pytest.raises(WixAPIError):
            await products_v3.query_products(session_for(**session), query={}, **arguments)
        assert len(wix.requests) == expected


async def test_wrong_max_retries(session_for: Callable[..., VisitorSession]) -> None:
    """Another number than 0, 1, 2 … is a ConfigurationError, of the session as of a call."""
    with pytest.raises(ConfigurationError, match="max_retries"):
        session_for(max_retries=-1)
    with pytest.raises(ConfigurationError, match="max_retries"):
        await products_v3.query_products(session_for(), query={}, max_retries=True)


async def test_catalog_visitor(wix: Wix, session_for: Callable[..., VisitorSession]) -> None:
    """What reads the catalogue takes a CatalogVisitor, whose number of repetitions is the pool's."""
    wix.answer(json={"access_token": "OauthNG.JWS.a.b.c", "refresh_token": "JWS.r", "expires_in": 14_400})
    async with wix.family.AsyncClient(transport=wix.family.MockTransport(wix.handle)) as client:
        catalog = CatalogReader(VisitorPool(CLIENT_ID, client=client, max_retries=1), CATALOG_PATHS)
        await products.query_products(catalog, query={"filter": {"slug": "mug"}})
        await collections.get_collection(catalog, id="c")
        await ticket_definitions.query_available_ticket_definitions(catalog, query={})
        assert len(wix.requests) == 4
        wix.answers = [wix.family.Response(503, headers=AT_ONCE) for _ in range(3)]
        with pytest.raises(WixAPIError):
            await products_v3.query_products(catalog, query={})
        assert len(wix.requests) == 6
        with pytest.raises(ConfigurationError, match="catalog"):
            await orders.get_order(catalog, id="o")


async def test_deprecated(wix: Wix, shopper: VisitorSession) -> None:
    """A method that Wix will remove warns at the caller's line, with the date of removal."""
    with pytest.warns(DeprecationWarning, match="get_checkout: Wix removes this method on 2027-02-01") as caught:
        await checkout.get_checkout(shopper, id="c")
    assert caught[0].filename == __file__
    assert len(wix.requests) == 1


def test_annotations_can_be_evaluated() -> None:
    """Frameworks that look at annotations find the types, which no import of a module has loaded."""
    hints = typing.get_type_hints(current_cart.get_current_cart)
    assert hints["return"].__name__ == "GetCurrentCartResponse"
    assert typing.get_type_hints(hints["return"])["cart"].__name__ == "Cart"
