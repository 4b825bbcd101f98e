"""`FakeWix.answer`, the fake's reservations, and the shapes of what it answers by itself."""

from __future__ import annotations

import types
import typing
from typing import Any

import pytest

from tests.constants import CLIENT_ID
from wixvisitor import VisitorSession, WixAPIError
from wixvisitor.apis import each, shared_types
from wixvisitor.apis.ecom import current_cart, current_cart_types
from wixvisitor.apis.events import events, ticket_reservations, ticket_reservations_types
from wixvisitor.apis.members import members, members_types
from wixvisitor.apis.redirects import redirects, redirects_types
from wixvisitor.apis.stores import products, products_types, products_v3, products_v3_types
from wixvisitor.testing import Call, FakeWix

pytestmark = pytest.mark.anyio

STORES = "215238eb-22a5-4c36-9e7b-e7c08025e04e"


@pytest.fixture
def visitor(fake: FakeWix, anyio_backend: str) -> VisitorSession:
    return VisitorSession(CLIENT_ID, client=fake.client())


async def test_given_answer(fake: FakeWix, visitor: VisitorSession) -> None:
    """A given answer is sent to callers with a token, is recorded, and can be replaced."""
    fake.answer("events.events.query_events", {"events": [{"title": "Tea", "status": "UPCOMING"}]})
    assert [event["title"] async for event in each(events.query_events, visitor, query={})] == ["Tea"]
    assert fake.api_calls()[-1].path == "/events/v3/events/query"
    fake.answer("events.events.query_events", {"events": []})
    assert (await events.query_events(visitor, query={}))["events"] == []
    async with fake.client() as stranger:
        assert (await stranger.post("/events/v3/events/query", json={})).status_code == 401
    assert fake.unmatched == []


async def test_a_function_answers(fake: FakeWix, visitor: VisitorSession) -> None:
    """A function gets the call, so that it can answer with the next page."""

    def page(call: Call) -> Any:
        start = int(call.json["query"].get("cursorPaging", {}).get("cursor", "0"))
        cursors = {"next": str(start + 1)} if start < 2 else {}
        name = f"{start} of {call.visitor_id}"
        return {"products": [{"name": name}], "pagingMetadata": {"cursors": cursors}}

    fake.answer("stores.products_v3.query_products", page)
    titles = [product["name"] async for product in each(products_v3.query_products, visitor, query={})]
    [caller] = fake.visitors
    assert titles == [f"{number} of {caller}" for number in range(3)]


async def test_given_answer_of_a_path_with_places(fake: FakeWix, visitor: VisitorSession) -> None:
    """An answer for `/members/{id}` is none for `/members/my`, and goes before what the fake plays itself."""
    fake.answer("members.members.get_member", {"member": {"id": "other"}})
    assert (await members.get_member(visitor, id="other"))["member"]["id"] == "other"
    with pytest.raises(WixAPIError):  # a visitor is no member
        await members.get_current_member(visitor)
    fake.answer("stores.products_v3.get_product_by_slug", {"product": {"name": "Given"}})
    assert (await products_v3.get_product_by_slug(visitor, slug="mug"))["product"]["name"] == "Given"


def test_unknown_function(fake: FakeWix) -> None:
    """A name that no function has is a ValueError that names one like it."""
    with pytest.raises(ValueError, match=r"did you mean 'events\.events\.query_events'"):
        fake.answer("events.events.query_event", {})  # type: ignore[call-overload]


async def test_reservation(fake: FakeWix, visitor: VisitorSession) -> None:
    """Tickets are held for the visitor who asked, can be looked up, and given back."""
    wanted: Any = {"tickets": [{"ticketDefinitionId": "t", "quantity": 2}]}
    created = await ticket_reservations.create_ticket_reservation(visitor, ticket_reservation=wanted)
    id_ = created["ticketReservation"]["id"]
    found = await ticket_reservations.get_ticket_reservation(visitor, ticket_reservation_id=id_)
    assert found["ticketReservation"]["tickets"][0]["quantity"] == 2
    cancelled = await ticket_reservations.cancel_ticket_reservation(visitor, ticket_reservation_id=id_)
    assert cancelled["ticketReservation"]["status"] == "CANCELED_MANUALLY"
    with pytest.raises(WixAPIError) as caught:
        await ticket_reservations.get_ticket_reservation(
            VisitorSession(CLIENT_ID, client=fake.client()), ticket_reservation_id=id_
        )
    assert caught.value.code == "TICKET_RESERVATION_NOT_FOUND"
    conforms(cancelled, ticket_reservations_types.CancelTicketReservationResponse)


async def test_last_reservations(fake: FakeWix, visitor: VisitorSession) -> None:
    """The last hundred reservations of a visitor are kept."""
    wanted: Any = {"tickets": [{"ticketDefinitionId": "t", "quantity": 1}]}
    ids = []
    for _ in range(101):
        answer = await ticket_reservations.create_ticket_reservation(visitor, ticket_reservation=wanted)
        ids.append(answer["ticketReservation"]["id"])
    (kept,) = (one.reservations for one in fake.visitors.values())
    assert list(kept) == ids[1:]


@pytest.mark.parametrize("tickets", [[], [{}], [{"ticketDefinitionId": "t", "quantity": 0}], [1], None])
async def test_wrong_reservation(visitor: VisitorSession, tickets: Any) -> None:
    """A reservation without tickets, definitions or quantities is a validation error."""
    with pytest.raises(WixAPIError) as caught:
        await ticket_reservations.create_ticket_reservation(visitor, ticket_reservation={"tickets": tickets})
    assert caught.value.field_violations


async def test_shapes_of_the_shop(fake: FakeWix, visitor: VisitorSession) -> None:
    """What the fake answers to a shop has REST's keys and kinds of values, by the generated types."""
    fake.coupons["TEN"] = 10
    page = await products_v3.query_products(visitor, query={"cursorPaging": {"limit": 1}})
    conforms(page, products_v3_types.V3QueryProductsResponse)
    conforms(await products_v3.search_products(visitor, search={}), products_v3_types.V3SearchProductsResponse)
    product = page["products"][0]
    by_slug = await products_v3.get_product_by_slug(visitor, slug=product["slug"])
    conforms(by_slug, products_v3_types.V3GetProductBySlugResponse)
    by_id = await products_v3.get_product(visitor, product_id=product["id"])
    conforms(by_id, products_v3_types.V3GetProductResponse)
    conforms(await products.query_products(visitor, query={}), products_types.QueryProductsPlatformizedResponse)
    item: Any = {"quantity": 2, "catalogReference": {"appId": STORES, "catalogItemId": product["id"]}}
    cart = await current_cart.add_line_items_to_current_cart(visitor, catalog_items=[item])
    conforms(cart, current_cart_types.AddLineItemsToCurrentCartResponse)
    conforms(
        await current_cart.add_coupon_to_current_cart(visitor, coupon={"code": "TEN"}),
        current_cart_types.AddCouponToCurrentCartResponse,
    )
    conforms(await current_cart.estimate_current_cart(visitor), current_cart_types.EstimateCurrentCartResponse)
    conforms(await current_cart.get_current_cart(visitor), current_cart_types.GetCurrentCartResponse)
    conforms(
        await redirects.create_redirect_session(visitor, ecom_checkout={"checkoutId": cart["cart"]["id"]}),
        redirects_types.CreateRedirectSessionResponse,
    )
    assert await current_cart.delete_current_cart(visitor) is None
    assert fake.unmatched == []


async def test_shape_of_a_member(fake: FakeWix, visitor: VisitorSession) -> None:
    """The member that the fake shows has REST's keys, too."""
    fake.add_member("ada@example.com", "secret-of-ada", profile={"nickname": "Ada"})
    await visitor.members.complete(await visitor.members.login("ada@example.com", "secret-of-ada"))
    conforms(await members.get_current_member(visitor), members_types.GetMyMemberResponse)


def test_the_check_finds_what_is_wrong() -> None:
    """An unknown key and a value of another kind are found, at any depth."""
    with pytest.raises(AssertionError, match=r"cart\.lineItem:"):
        conforms({"cart": {"lineItem": []}}, current_cart_types.GetCurrentCartResponse)
    with pytest.raises(AssertionError, match=r"cart.lineItems\[0\].quantityInfo.requestedQuantity"):
        conforms(
            {"cart": {"lineItems": [{"quantityInfo": {"requestedQuantity": "1"}}]}},
            current_cart_types.GetCurrentCartResponse,
        )
    assert shared_types.__doc__


def conforms(value: Any, kind: Any, at: str = "") -> None:
    """Raises unless a value has a type's keys, those that are there, and its kinds of values."""
    if typing.is_typeddict(kind):
        assert isinstance(value, dict), at
        hints = typing.get_type_hints(kind)
        for key, inner in value.items():
            assert key in hints, f"{at}.{key}: no such key"
            conforms(inner, hints[key], f"{at}.{key}".lstrip("."))
        return
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is list:
        assert isinstance(value, list), at
        for index, inner in enumerate(value):
            conforms(inner, arguments[0], f"{at}[{index}]")
    elif origin is dict:
        assert isinstance(value, dict), at
    elif origin in (typing.Union, types.UnionType):
        assert type(value) is str, at  # an enum, with the values that Wix may add
        known = next(typing.get_args(one) for one in arguments if one is not str)
        assert value in known, f"{at}: {value} is none of {known}"
    elif kind is not Any:
        assert type(value) is kind or (kind is float and type(value) is int), f"{at}: {value!r} is no {kind.__name__}"
