"""What a handler gets: a visitor within one request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wixvisitor import _checks
from wixvisitor._auth import VisitorAuth
from wixvisitor._http.arguments import URLTypes
from wixvisitor._session import VisitorSession
from wixvisitor._tokens import RefreshToken, Tokens

if TYPE_CHECKING:
    from wixvisitor._web.visit import Visit


class RequestVisitor(VisitorSession):
    """A visitor within one request. Its session is the pool's; login and logout change which one.

    Concurrency: share it between the request's tasks.
    Cancellation: never hurts the visitor.
    """

    __slots__ = ("_visit",)
    if TYPE_CHECKING:  # handlers' annotations are looked at when the program runs, and ``Visit`` imports this module
        _visit: Visit

    @classmethod
    def within(cls, visit: Any, pooled: VisitorSession) -> RequestVisitor:
        """Returns the session as this request's."""
        visitor = cls._of_pool(pooled._refresher, pooled._connections)
        visitor._visit = visit
        return visitor

    def become(self, pooled: VisitorSession) -> None:
        """Goes on as this session."""
        self._refresher, self._auth = pooled._refresher, None

    async def generate_visitor_tokens(self, tokens: Tokens | None = None) -> Tokens:
        """As ``VisitorSession.generate_visitor_tokens``, in time for the cookie."""
        self._visit.check_can_keep()
        return await super().generate_visitor_tokens(tokens)

    async def set_tokens(self, tokens: Tokens) -> None:
        """Adopts tokens. Somebody else's, a member's after login or none after logout, get a new id and cookie.

        ``EMPTY_TOKENS`` forgets whoever it was, and a member is forgotten at logout, in the store as well.

        Raises:
            ConfigurationError: the response has started, so that no cookie can be changed; or another site's page sent
                the request by POST, say. Nothing was changed.
            StorageError: they could not be saved, and the visitor is as before; or, after a logout, the old record
                could not be removed.
        """
        await self._visit.adopt(self, _checks.checked_tokens(tokens))

    async def renew_token(self, refresh_token: RefreshToken | None = None) -> Tokens:
        """As ``VisitorSession.renew_token``; a member's refresh token for nobody's session is a login."""
        self._visit.check_can_keep()
        if refresh_token is None or self.get_tokens().refresh_token.value:
            return await super().renew_token(refresh_token)
        return await self._visit.renew_into(self, refresh_token)

    async def auth_headers(self) -> dict[str, str]:
        """As ``VisitorSession.auth_headers``, in time for the cookie."""
        self._visit.check_can_keep()
        return await super().auth_headers()

    @property
    def auth(self) -> VisitorAuth:
        """As ``VisitorSession.auth``; ask for it again after ``set_tokens``."""
        self._visit.check_can_keep()
        return super().auth

    async def _send(self, method: str, url: URLTypes, arguments: dict[str, Any], *, stream: bool) -> Any:
        self._visit.check_can_keep()
        return await super()._send(method, url, arguments, stream=stream)
