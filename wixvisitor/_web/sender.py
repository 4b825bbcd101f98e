"""Who sent a request, as far as consent, cookies and origin tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from wixvisitor._web.request import Request
from wixvisitor._web.site_cookie import Reading
from wixvisitor.cookies._content import CookieContent

if TYPE_CHECKING:
    from wixvisitor._web.visits import Visits

_UNREAD: Final = Reading(None, "", "")


@attrs.frozen(eq=False)
class Sender:
    """The browser that sent a request.

    Attributes:
        reading: what its cookies say. Without consent they are not read.
        given: the visitor that they name, None if they name none.
        is_failure: whether this request may change no cookie (rule 7, OTHER SITES). Browsers send embedded cookies with
            everything, so that only the origin counts; a Lax cookie tells by being there.
        allowed: whether the browser may be remembered (rules 5, CONSENT, and 7, OTHER SITES).
    """

    reading: Reading = attrs.field(repr=False)
    given: CookieContent | None = attrs.field(repr=False)
    is_failure: bool
    allowed: bool


def sender_of(visits: Visits, request: Request) -> Sender:
    """Returns who sent a request.

    Raises:
        ConfigurationError: ``consent`` returned what has to be awaited.
    """
    has_consent = visits.allows(request)
    reading = visits.read(request) if has_consent else _UNREAD
    given = reading.content
    is_failure = visits.is_suspect(request) and (visits.cookie.is_embedded or given is None)
    return Sender(reading, given, is_failure, has_consent and (not is_failure or given is not None))
