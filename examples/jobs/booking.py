"""A free appointment: found, booked, and on its way to the checkout: ``python -m examples.jobs.booking``."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from examples.jobs.command_line import chosen_site
from wixvisitor.apis.booking_slots import booked_slot
from wixvisitor.apis.bookings import availability, bookings, services
from wixvisitor.apis.bookings.bookings_arguments import BookedEntity, BookingForCreateBooking, ContactDetails
from wixvisitor.apis.ecom import current_cart
from wixvisitor.apis.shared_arguments import CatalogReference
from wixvisitor.blocking import BlockingVisitorSession

TIME_ZONE = "Europe/Berlin"
BOOKINGS = "13d21c63-b5ec-5912-8397-c3a5ddb27a97"  # the app ID of Wix Bookings


def book(visitor: BlockingVisitorSession, name: str, start: datetime, email: str) -> str | None:
    """Books the first free slot within 30 days, and returns where the visitor pays; None if there is no slot."""
    service = next((one for one in visitor.each(services.query_services, query={}) if one["name"] == name), None)
    if service is None:
        raise LookupError(f"The site has no service {name!r}.")
    free = visitor.each(
        availability.list_availability_time_slots,
        service_id=service["id"],
        from_local_date=f"{start:%Y-%m-%dT%H:%M:%S}",
        to_local_date=f"{start + timedelta(days=30):%Y-%m-%dT%H:%M:%S}",
        time_zone=TIME_ZONE,
        bookable=True,
    )
    for slot in free:
        entity: BookedEntity = {"slot": booked_slot(service, slot, TIME_ZONE)}
        who: ContactDetails = {"email": email}
        wanted: BookingForCreateBooking = {"bookedEntity": entity, "contactDetails": who, "totalParticipants": 1}
        booked = visitor.call(bookings.create_booking, booking=wanted)["booking"]
        reference: CatalogReference = {"appId": BOOKINGS, "catalogItemId": booked["id"]}  # like a product's
        visitor.call(
            current_cart.add_line_items_to_current_cart, catalog_items=[{"quantity": 1, "catalogReference": reference}]
        )
        return visitor.checkout.url(return_to="https://shop.example/")
    return None


if __name__ == "__main__":
    client_id, base_url = chosen_site()  # your client ID, and None
    with BlockingVisitorSession(client_id, base_url=base_url) as visitor:
        print(book(visitor, "Haircut", datetime.now(ZoneInfo(TIME_ZONE)), "anna@example.com"))
