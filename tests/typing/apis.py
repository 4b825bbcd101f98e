"""Checked by mypy and pyright, never run: what `wixvisitor.apis` takes and returns."""

from __future__ import annotations

from typing import assert_type

from wixvisitor import VisitorSession
from wixvisitor.apis import each
from wixvisitor.apis.bookings import availability, bookings
from wixvisitor.apis.ecom import current_cart, current_cart_arguments, current_cart_types
from wixvisitor.apis.events import ticket_reservations
from wixvisitor.apis.stores import products_v3, products_v3_types
from wixvisitor.blocking import BlockingVisitorSession
from wixvisitor.fastapi import CatalogVisitor, CurrentVisitor
from wixvisitor.testing import FakeWix


async def good(visitor: VisitorSession, current: CurrentVisitor, catalog: CatalogVisitor) -> None:
    """Answers have all keys; a `CurrentVisitor` and, for what reads, a `CatalogVisitor` are visitors, too."""
    page = await products_v3.query_products(
        visitor, query={"filter": {"visible": True}, "cursorPaging": {"limit": 100}}
    )
    assert_type(page, products_v3_types.V3QueryProductsResponse)
    assert_type(page["products"][0]["name"], str)
    async for product in each(products_v3.query_products, catalog, query={}, fields=["CURRENCY"], max_retries=0):
        assert_type(product, products_v3_types.V3Product)
    item: list[current_cart_arguments.CatalogItemInput] = [
        {"quantity": 1, "catalogReference": {"appId": "a", "catalogItemId": "i"}}
    ]
    answer = await current_cart.add_line_items_to_current_cart(current, catalog_items=item)
    assert_type(answer["cart"]["lineItems"][0]["quantityInfo"]["requestedQuantity"], int)
    assert_type(answer["cart"], current_cart_types.Cart)
    reservation = (
        await ticket_reservations.create_ticket_reservation(
            visitor, ticket_reservation={"tickets": [{"ticketDefinitionId": "t", "quantity": 2}]}
        )
    )["ticketReservation"]
    await ticket_reservations.get_ticket_reservation(visitor, ticket_reservation_id=reservation["id"])
    slots = await availability.list_availability_time_slots(
        visitor, service_id="s", from_local_date="2026-12-01T00:00:00", to_local_date="2026-12-02T00:00:00"
    )
    slot = slots["timeSlots"][0]
    await bookings.create_booking(
        visitor,
        booking={
            "bookedEntity": {"slot": {"serviceId": slot["serviceId"], "startDate": slot["localStartDate"]}},
            "contactDetails": {"firstName": "Ada", "email": "ada@example.com"},
            "totalParticipants": 1,
        },
    )


def without_async(visitor: BlockingVisitorSession) -> None:
    """A blocking session calls the functions with their types."""
    assert_type(visitor.call(products_v3.query_products, query={}), products_v3_types.V3QueryProductsResponse)
    assert_type(visitor.call(current_cart.get_current_cart), current_cart_types.GetCurrentCartResponse)


async def bad(visitor: VisitorSession, catalog: CatalogVisitor) -> None:
    """A wrong key, a wrong value, a missing argument, a missing key, an unknown enum, a call that writes."""
    await products_v3.query_products(visitor, query={"filtre": {}})  # type: ignore[typeddict-unknown-key] # pyright: ignore[reportArgumentType]
    await products_v3.query_products(visitor, query={"cursorPaging": {"limit": "1"}})  # type: ignore[typeddict-item] # pyright: ignore[reportArgumentType]
    await products_v3.query_products(visitor)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    await products_v3.query_products(visitor, query={}, fields=["PRICE"])  # type: ignore[list-item] # pyright: ignore[reportArgumentType]
    await current_cart.add_line_items_to_current_cart(visitor, catalog_items=[{"quantity": 1}])  # type: ignore[typeddict-item] # pyright: ignore[reportArgumentType]
    await current_cart.remove_line_items_from_current_cart(visitor, line_item_ids="abc")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    await current_cart.refresh_current_cart(catalog)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    answer = await current_cart.get_current_cart(visitor)
    answer["cart"]["lineItem"]  # type: ignore[typeddict-item] # pyright: ignore[reportTypedDictNotRequiredAccess, reportGeneralTypeIssues]
    each(current_cart.get_current_cart, visitor)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    each(products_v3.query_products, visitor, quer={})  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


def answers(fake: FakeWix) -> None:
    """The answers that a test gives may leave keys out, and have no other ones."""
    fake.answer("events.events.query_events", {"events": [{"title": "Tea", "status": "UPCOMING"}]})
    fake.answer("events.events.query_events", lambda call: {"events": [{"title": call.path}]})
    fake.answer("events.events.query_events", {"event": []})  # type: ignore[call-overload] # pyright: ignore[reportCallIssue, reportArgumentType]
    fake.answer("events.events.query_event", {})  # type: ignore[call-overload] # pyright: ignore[reportCallIssue, reportArgumentType]
