"""From a free slot to what `create_booking` takes."""

from __future__ import annotations

from typing import Any

import pytest

from wixvisitor.apis.booking_slots import booked_slot

SERVICE: Any = {"id": "s", "schedule": {"id": "c"}, "staffMemberIds": ["ben", "eva"]}
SLOT: Any = {"serviceId": "s", "localStartDate": "2026-12-01T10:00:00", "localEndDate": "2026-12-01T10:30:00"}


def test_appointment() -> None:
    """An appointment needs all that Wix's page on bookings lists; the first staff member takes it."""
    assert booked_slot(SERVICE, SLOT, "Europe/Berlin") == {
        "serviceId": "s",
        "scheduleId": "c",
        "startDate": "2026-12-01T10:00:00",
        "endDate": "2026-12-01T10:30:00",
        "timezone": "Europe/Berlin",
        "resource": {"id": "ben"},
        "location": {"locationType": "OWNER_BUSINESS"},
    }


def test_who_is_free() -> None:
    """If the slot says who is free, that one takes the appointment."""
    free = [{"resourceTypeId": "t", "resources": [{"id": "eva", "name": "Eva"}]}]
    assert booked_slot(SERVICE, {**SLOT, "availableResources": free}, "UTC")["resource"] == {"id": "eva"}
    nobody = {**SLOT, "availableResources": [{"resourceTypeId": "t", "resources": []}], "location": None}
    assert booked_slot(SERVICE, nobody, "UTC")["resource"] == {"id": "ben"}


@pytest.mark.parametrize(
    ("of_slot", "of_booking"),
    [("BUSINESS", "OWNER_BUSINESS"), ("CUSTOM", "OWNER_CUSTOM"), ("CUSTOMER", "CUSTOM")],
)
def test_location(of_slot: str, of_booking: str) -> None:
    """A location keeps its ID, and its type gets the name that bookings have for it."""
    slot = {**SLOT, "location": {"id": "l", "name": "Shop", "locationType": of_slot}}
    assert booked_slot(SERVICE, slot, "UTC")["location"] == {"id": "l", "locationType": of_booking}


def test_class() -> None:
    """A class is booked by its event, which knows time, place and teacher."""
    slot = {**SLOT, "eventInfo": {"eventId": "e"}}
    assert booked_slot(SERVICE, slot, "UTC") == {"serviceId": "s", "eventId": "e"}


def test_a_service_without_staff() -> None:
    """An appointment that nobody could take is an error that says so."""
    with pytest.raises(ValueError, match="staff"):
        booked_slot({**SERVICE, "staffMemberIds": []}, SLOT, "UTC")


@pytest.mark.parametrize(
    ("service", "slot", "zone", "words"),
    [
        (SERVICE, {**SLOT, "bookable": False}, "UTC", "cannot be booked"),
        (SERVICE, {**SLOT, "serviceId": "other"}, "UTC", "another service"),
        (SERVICE, SLOT, "", "time_zone"),
        ({**SERVICE, "schedule": None}, SLOT, "UTC", r"left out schedule\.id"),
        (SERVICE, {"serviceId": "s"}, "UTC", "left out localStartDate, localEndDate"),
    ],
)
def test_slots_that_cannot_be_booked(service: Any, slot: Any, zone: str, words: str) -> None:
    """What Wix would refuse, or has left out, is named before anything is sent."""
    with pytest.raises(ValueError, match=words):
        booked_slot(service, slot, zone)
