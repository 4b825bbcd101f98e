"""One request to the login's routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import attrs

from wixvisitor._session import VisitorSession
from wixvisitor._tokens import EMPTY_TOKENS
from wixvisitor._web.visit import Visit
from wixvisitor.errors import MemberLoginError, SessionExpired, WixAPIError
from wixvisitor.members import MemberLogin

T = TypeVar("T")
Body = Callable[[], Awaitable[bytes | None]]


@attrs.define(eq=False, repr=False)
class Call:
    """One request to the login's routes.

    Attributes:
        visit: the request's.
        query: the text after the question mark.
        body: returns the request's body, None if it is too large.
        done: a login that has just succeeded, for the application's ``on_login``.
    """

    visit: Visit
    query: str
    body: Body
    done: tuple[VisitorSession, MemberLogin] | None = None

    @property
    def cookie(self) -> str:
        """The browser's ``Cookie`` header."""
        return self.visit.request.get("cookie") or ""


async def as_visitor(visitor: VisitorSession, ask: Callable[[], Awaitable[T]]) -> T:
    """Returns the answer to a call. A member whose session Wix has ended makes it as a new visitor."""
    try:
        return await ask()
    except SessionExpired:
        await visitor.set_tokens(EMPTY_TOKENS)
        return await ask()


def is_for_now(error: Exception) -> bool:
    """Whether an error of Wix's says to try again: 429 and 5xx. It tells nothing of the login."""
    if not isinstance(error, WixAPIError | MemberLoginError) or error.status_code is None:
        return False
    return error.status_code == 429 or error.status_code >= 500
