"""From a free time slot to the slot that ``create_booking`` takes. Written by hand: Wix names the same things twice.

What a booking needs, and which names differ: Wix's page "End-to-End Booking Flow (REST)",
https://dev.wix.com/docs/api-reference/business-solutions/bookings/skills/end-to-end-booking-flow
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from wixvisitor.apis._runtime import types_of

if TYPE_CHECKING:
    from wixvisitor.apis import shared_types as shared
    from wixvisitor.apis.bookings import bookings_arguments as a
    from wixvisitor.apis.bookings import services_types as t
else:
    shared = types_of("wixvisitor.apis.shared_types")
    a = types_of("wixvisitor.apis.bookings.bookings_arguments")
    t = types_of("wixvisitor.apis.bookings.services_types")

__all__ = ["booked_slot"]

_LOCATIONS: Final[dict[str, a.LocationType]] = {
    "BUSINESS": "OWNER_BUSINESS",
    "CUSTOM": "OWNER_CUSTOM",
    "CUSTOMER": "CUSTOM",
}


def booked_slot(service: t.Service, slot: shared.TimeSlot, time_zone: str) -> a.BookedSlot:
    """Returns the ``slot`` of a booking's ``bookedEntity``, for an appointment or a class.

    Args:
        service: as ``query_services`` returns it. Its first staff member takes the appointment, unless the slot says
            who is free (``get_availability_time_slot`` does).
        slot: as ``list_availability_time_slots`` or ``list_event_time_slots`` returns it.
        time_zone: of the slot's times: the one that these functions were asked for, like ``"Europe/Berlin"``.

    Raises:
        ValueError: the slot cannot be booked or is of another service, neither of them names a staff member, or Wix
            left out what a booking needs.
    """
    found = cast("dict[str, Any]", slot)  # Wix leaves keys out
    if found.get("bookable") is False:
        raise ValueError("booked_slot: Wix says that this slot cannot be booked")
    if found.get("serviceId", service["id"]) != service["id"]:
        raise ValueError("booked_slot: the slot is of another service")
    if not isinstance(time_zone, str) or not time_zone:
        raise ValueError("booked_slot: time_zone: expected a name like 'Europe/Berlin'")
    event_id = (found.get("eventInfo") or {}).get("eventId")
    if event_id:
        return {"serviceId": service["id"], "eventId": event_id}
    kinds = found.get("availableResources") or []
    free = [one["id"] for kind in kinds for one in kind.get("resources") or [] if one.get("id")]
    staff = [*free, *(service.get("staffMemberIds") or [])]
    if not staff:
        raise ValueError("booked_slot: neither the service nor the slot names a staff member")
    known = {
        "schedule.id": (cast("dict[str, Any]", service).get("schedule") or {}).get("id"),
        "localStartDate": found.get("localStartDate"),
        "localEndDate": found.get("localEndDate"),
    }
    if missing := [name for name, value in known.items() if not value]:
        raise ValueError(f"booked_slot: Wix left out {', '.join(missing)}")
    place = found.get("location") or {}
    location: a.Location = {"locationType": _LOCATIONS.get(place.get("locationType", ""), "OWNER_BUSINESS")}
    if place.get("id"):
        location["id"] = place["id"]
    return {
        "serviceId": service["id"],
        "scheduleId": service["schedule"]["id"],
        "startDate": slot["localStartDate"],
        "endDate": slot["localEndDate"],
        "timezone": time_zone,
        "resource": {"id": staff[0]},
        "location": location,
    }
