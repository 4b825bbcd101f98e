"""What a handler gets: a visitor within one request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from wixvisitor import _checks
from wixvisitor._auth import VisitorAuth
from wixvisitor._http.arguments import URLTypes
from wixvisitor._session import VisitorSession
from wixvisitor._tokens import RefreshToken, Tokens
from wixvisitor._wire.token_endpoint import TokenRequest

if TYPE_CHECKING:
    from wixvisitor._web.visit import Visit


class RequestVisitor(VisitorSession):
    """A visitor within one request. It uses a session of the pool. Login and logout replace that session.

    Concurrency: share it between the request's tasks.
    Cancellation: never hurts the visitor.
    """

    __slots__ = ("_visit",)
    if TYPE_CHECKING:  # frameworks evaluate handlers' annotations at run time, and ``Visit`` imports this module
        _visit: Visit

    @classmethod
    def within(cls, visit: Any, pooled: VisitorSession) -> RequestVisitor:
        """Returns a visitor of this request that uses the session."""
        visitor = cls._of_pool(pooled._refresher)
        visitor._visit = visit
        return visitor

    def become(self, pooled: VisitorSession) -> None:
        """Uses this session from now on."""
        self._refresher = pooled._refresher

    async def generate_visitor_tokens(self, tokens: Tokens | None = None) -> Tokens:
        """As ``VisitorSession.generate_visitor_tokens``; raises if the cookie can no longer be sent."""
        self._visit.check_can_keep()
        return await super().generate_visitor_tokens(tokens)

    async def set_tokens(self, tokens: Tokens) -> None:
        """Adopts tokens. Another visitor's, a member's after login or none after logout, get a new id and cookie.

        ``EMPTY_TOKENS`` forgets the visitor. A logout forgets the member. Both are removed from the store as well.

        Raises:
            ConfigurationError: the response has started, so the cookie can no longer be changed; or another site's page
                sent the request, by POST for instance. Nothing was changed.
            StorageError: the tokens could not be saved, and the visitor is as before; or, after a logout, the old
                record could not be removed.
        """
        await self._visit.adopt(self, _checks.checked_tokens(tokens))

    async def _log_in(self, request: TokenRequest) -> Tokens:
        """Exchanges a login; the request continues as the member, under a new id."""
        return await self._visit.log_in(self, request)

    async def _log_out(self, *, waits: bool = True) -> None:  # noqa: ARG002 - the answer needs the new id
        with anyio.CancelScope(shield=True):  # a logout is not left half done; each step of a store takes 10 s at most
            await self._visit.log_out(self)

    async def renew_token(self, refresh_token: RefreshToken | None = None) -> Tokens:
        """As ``VisitorSession.renew_token``; a member's refresh token is a login if the session holds no tokens."""
        self._visit.check_can_keep()
        if refresh_token is None or self.get_tokens().refresh_token.value:
            return await super().renew_token(refresh_token)
        return await self._visit.renew_into(self, refresh_token)

    async def auth_headers(self) -> dict[str, str]:
        """As ``VisitorSession.auth_headers``; raises if the cookie can no longer be sent."""
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
