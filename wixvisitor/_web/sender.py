"""The browser that sent a request: its consent, its cookies, and the origin of its page."""

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
        given: the visitor that the cookies name, None without one.
        is_failure: whether this request may change no cookie (rule 7, OTHER SITES). Browsers send embedded cookies with
            every request, so for these only the origin counts. A Lax cookie that comes with it shows that the
            browser did not treat it as a request of another site.
        allowed: whether the browser may be remembered (rules 5, CONSENT, and 7, OTHER SITES).
    """

    reading: Reading = attrs.field(repr=False)
    given: CookieContent | None = attrs.field(repr=False)
    is_failure: bool
    allowed: bool


def sender_of(visits: Visits, request: Request) -> Sender:
    """Returns the browser that sent a request.

    Raises:
        ConfigurationError: ``consent`` returned an awaitable.
    """
    has_consent = visits.allows(request)
    reading = visits.read(request) if has_consent else _UNREAD
    given = reading.content
    is_failure = visits.is_suspect(request) and (visits.cookie.is_embedded or given is None)
    return Sender(reading, given, is_failure, has_consent and (not is_failure or given is not None))
