"""Reservations of event tickets, as ``/events/v1/ticket-reservations`` keeps them.

Field names are those of the typings of ``@wix/auto_sdk_events_ticket-reservations`` 1.0.54. The fake has no events, so
every ticket definition exists and has enough tickets.
"""

from datetime import UTC, datetime
from typing import Any, Final

from wixvisitor.testing._cart_format import buyer
from wixvisitor.testing._refusals import application_error, validation_error
from wixvisitor.testing._site import CallContext
from wixvisitor.testing._visitors import new_id

Json = dict[str, Any]

_LIFETIME: Final = 20 * 60  # seconds for which the tickets are held
_KEPT: Final = 100  # reservations of one visitor, the last ones: a stand-in may run for weeks


def create(context: CallContext) -> Json:
    """Holds tickets for this visitor.

    Raises:
        Refused: The tickets are missing, or one has no definition or no quantity.

    """
    wanted = context.body.get("ticketReservation")
    tickets = wanted.get("tickets") if isinstance(wanted, dict) else None
    if not isinstance(tickets, list) or not tickets:
        raise validation_error("ticketReservation.tickets", "must not be empty", rule="REQUIRED_FIELD")
    now = context.site.server_time()
    reservation = {
        "id": new_id(),
        "revision": "1",
        "createdDate": _iso(now),
        "updatedDate": _iso(now),
        "expirationDate": _iso(now + _LIFETIME),
        "status": "PENDING",
        **buyer(context.token),
        "tickets": [_ticket(ticket) for ticket in tickets],
    }
    held = context.visitor.reservations
    held[reservation["id"]] = reservation
    while len(held) > _KEPT:
        del held[next(iter(held))]
    return {"ticketReservation": reservation}


def get(context: CallContext) -> Json:
    """One of the visitor's reservations.

    Raises:
        Refused: The visitor has no such reservation.

    """
    return {"ticketReservation": _found(context)}


def cancel(context: CallContext) -> Json:
    """Gives the tickets back.

    Raises:
        Refused: The visitor has no such reservation.

    """
    reservation = _found(context)
    reservation.update(status="CANCELED_MANUALLY", revision="2", updatedDate=_iso(context.site.server_time()))
    return {"ticketReservation": reservation}


def _found(context: CallContext) -> Json:
    reservation: Json | None = context.visitor.reservations.get(context.params["reservation_id"])
    if reservation is None:
        raise application_error(404, "TICKET_RESERVATION_NOT_FOUND", "Ticket reservation not found")
    return reservation


def _ticket(ticket: object) -> Json:
    kept = {name: ticket.get(name) for name in ("ticketDefinitionId", "quantity")} if isinstance(ticket, dict) else {}
    definition, quantity = kept.get("ticketDefinitionId"), kept.get("quantity")
    if not isinstance(definition, str) or isinstance(quantity, bool) or not isinstance(quantity, int) or quantity < 1:
        raise validation_error("ticketReservation.tickets", "must have a ticketDefinitionId and a quantity")
    return {"ticketLineItemId": new_id(), **kept}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
