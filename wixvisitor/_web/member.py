"""Handlers that need a member: a browser without one is sent to the login, or gets a 401."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from wixvisitor._session import VisitorSession
from wixvisitor._web.login_rules import with_query
from wixvisitor._web.request import opens_page
from wixvisitor._web.visit import Visit
from wixvisitor.errors import WixVisitorError

# RFC 9110, section 15.5.2, wants a challenge. No registered scheme means "log in on a page".
_CHALLENGE: Final = 'Cookie realm="members"'


class MemberRequired(WixVisitorError):
    """No member is logged in. Answer the request with ``status_code`` and ``headers``.

    Attributes:
        status_code: 303 if the browser opens a page: it goes to the login, and comes back. 401 for all other requests.
        headers: ``Location`` or ``WWW-Authenticate``, and ``Cache-Control``.
    """

    def __init__(self, message: str, *, status_code: int, headers: Mapping[str, str]) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.headers = dict(headers)


async def member_of(visit: Visit, query: str, login: str | None) -> VisitorSession:
    """Returns the request's member.

    Args:
        visit: the request's.
        query: the text after the question mark.
        login: the path of the login; None: there is none.

    Raises:
        MemberRequired: no member is logged in.
        ConfigurationError, StorageError: as ``Visit.visitor``.
    """
    visitor = await visit.visitor()
    if visitor.logged_in():
        return visitor
    request = visit.request
    if login is None or not opens_page(request, is_embedded=visit.visits.cookie.is_embedded):
        status, headers = 401, {"WWW-Authenticate": _CHALLENGE}
    else:
        target = f"{request.path}?{query}" if query else request.path
        status, headers = 303, {"Location": with_query(login, next=target, required="1")}
    raise MemberRequired("No member is logged in", status_code=status, headers={**headers, "Cache-Control": "no-store"})
