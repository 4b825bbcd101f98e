"""What the page shows, as JSON: no token, only the last letters of one. Texts from outside are masked and cut."""

import heapq
import itertools
from typing import Any, Final

from attrs import define, field

from wixvisitor.testing._calls import Call
from wixvisitor.testing._cart import Cart
from wixvisitor.testing._fake import FakeWix
from wixvisitor.testing._member import Mail
from wixvisitor.testing._stand_in.clock import Clock
from wixvisitor.testing._stand_in.fault_verbs import GRANT_TYPES, describe
from wixvisitor.testing._token_text import mask_tokens
from wixvisitor.testing._visitors import IssuedToken, Visitor

Json = dict[str, Any]

SHOWN_VISITORS: Final = 50
"""How many visitors are shown: those who were seen last."""
SHOWN_CALLS: Final = 100
"""How many calls are shown: the last ones."""
SHOWN_MAIL: Final = 20
"""How many mails are shown: the last ones."""
_LONGEST: Final = 200  # characters of a text from outside
_SHOWN_LINES: Final = 20  # of a cart


@define(eq=False)
class Counts:
    """How many calls there were since the start, by kind. Written under the lock of the fake's call log."""

    mints: int = 0
    renewals: int = 0
    refused: int = 0
    api_calls: int = 0
    failures: int = 0

    def note(self, call: Call) -> None:
        """Counts a call that has ended."""
        served = call.status is not None and call.status < 400
        if call.is_token_call:
            self.mints += served and call.grant_type == "anonymous"
            self.renewals += served and call.grant_type == "refresh_token"
            self.refused += call.status in (400, 401, 403)
        else:
            self.api_calls += call.is_api_call
        self.failures += call.status is None or call.status >= 500 or call.status == 429

    def as_json(self) -> Json:
        """Returns the numbers for the page."""
        return {
            "mints": self.mints,
            "renewals": self.renewals,
            "refused": self.refused,
            "apiCalls": self.api_calls,
            "failures": self.failures,
        }


@define(eq=False, kw_only=True)
class Facts:
    """Describes a FakeWix for the page.

    Concurrency: safe from any thread.
    """

    fake: FakeWix
    counts: Counts = field(factory=Counts)

    def now(self) -> Json:
        """The fake's clock. ``speed`` is None if a test owns the clock."""
        clock = self.fake._clock
        speed = clock.speed if isinstance(clock, Clock) else None
        return {"now": self.fake._server_time(), "speed": speed}

    def everything(self) -> Json:
        """All that the page shows, by section."""
        fake = self.fake
        with fake._lock:
            calls = list(itertools.islice(reversed(fake._log.calls), SHOWN_CALLS))
            visitors = self._visitors()
            totals = {
                "visitors": len(fake._visitors.by_id),
                "carts": sum(bool(one.cart and one.cart.lines) for one in fake._visitors.by_id.values()),
                **self.counts.as_json(),
            }
            return {
                "clock": self.now(),
                "totals": totals,
                "faults": [describe(fault) for fault in fake._faults.active],
                "visitors": visitors,
                "calls": [_call(call) for call in calls],
                "mail": [_mail(mail) for mail in itertools.islice(reversed(fake._members.outbox), SHOWN_MAIL)],
            }

    def _visitors(self) -> list[Json]:
        book = self.fake._visitors
        shown = heapq.nlargest(SHOWN_VISITORS, book.by_id.values(), key=lambda visitor: visitor.seen_at)
        ids = {visitor.id for visitor in shown}
        # The newest token of a visitor is the last one.
        access = {token.visitor.id: token for token in book.access_tokens.values() if token.visitor.id in ids}
        refresh = {token.visitor.id: token for token in book.refresh_tokens.values() if token.visitor.id in ids}
        return [_visitor(one, access.get(one.id), refresh.get(one.id)) for one in shown]


def shown(text: str) -> str:
    """Returns a text from outside for the page: without tokens, and not too long."""
    clean = mask_tokens(text[: _LONGEST * 10]).encode(errors="replace").decode()  # JSON can hold half surrogate pairs
    return clean if len(clean) <= _LONGEST else f"{clean[:_LONGEST]}…"


def _visitor(visitor: Visitor, access: IssuedToken | None, refresh: IssuedToken | None) -> Json:
    return {
        "id": visitor.id,
        "clientId": shown(visitor.client_id),
        "memberId": None if visitor.member_id is None else shown(visitor.member_id),
        "createdAt": visitor.created_at,
        "seenAt": visitor.seen_at,
        "cart": None if visitor.cart is None else _cart(visitor.cart),
        "accessToken": _token(access),
        "refreshToken": _token(refresh),
    }


def _token(token: IssuedToken | None) -> Json | None:
    if token is None:
        return None
    return {
        "end": token.value[-6:],  # of the signature: enough to tell two tokens apart, and useless as a token
        "issuedAt": token.issued_at,
        "expiresAt": token.expires_at,
        "revoked": token.revoked or token.refusal is not None,
    }


def _cart(cart: Cart) -> Json:
    return {
        "lines": [
            {
                "name": shown(line.product.name),
                "quantity": line.quantity,
                "confirmed": line.confirmed,
                "total": f"{line.total:,.2f}",
            }
            for line in cart.lines[:_SHOWN_LINES]
        ],
        "more": max(0, len(cart.lines) - _SHOWN_LINES),
        "coupons": [shown(coupon.code) for coupon in cart.coupons],
        "total": f"{cart.total:,.2f}",
        "updatedAt": cart.updated_at,
    }


def _mail(mail: Mail) -> Json:
    """A mail with its code and its link, as in a mailbox: they are for whoever tries the app."""
    return {
        "to": shown(mail.to),
        "subject": mail.subject,
        "code": mail.code,
        "url": mail.url,
        "at": mail.sent_at,
    }


def _call(call: Call) -> Json:
    return {
        "id": call.request_id,
        "at": call.received_at,
        "method": shown(call.method),
        "path": shown(call.path),
        "status": call.status,
        "running": call.under_way,
        "known": call.matched,
        "grant": call.grant_type if call.grant_type in GRANT_TYPES else None,
        "visitor": call.visitor_id,
        "agent": shown(call.headers.get("user-agent", "")),
    }
