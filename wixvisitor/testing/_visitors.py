"""The visitors of the fake, and the tokens that it issued to them."""

import itertools
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from attrs import define, field

from wixvisitor.testing._cart import Cart
from wixvisitor.testing._refusals import application_error, refresh_refused
from wixvisitor.testing._settings import RefusalStyle, Settings
from wixvisitor.testing._token_text import access_token, member_instance, refresh_token, visitor_instance

TokenResponse = dict[str, Any]


@define(kw_only=True, eq=False)
class Visitor:
    """A visitor: anonymous, or logged in as a member.

    Attributes:
        id: The visitor's ID, the token's ``aid``.
        client_id: The client ID for which it was made.
        member_id: The member who is logged in; None for an anonymous visitor.
        cart: What the visitor has put into the cart; None before the first item and after an order.
        reservations: The tickets of events that are reserved, by ID.
        created_at: Seconds since the epoch by the fake's clock.
        seen_at: The time of the last call with one of the visitor's tokens.

    Concurrency: read it from any thread; the fake changes it.
    Cancellation: nothing in it waits.

    """

    id: str
    client_id: str
    member_id: str | None = None
    cart: Cart | None = None
    reservations: dict[str, Any] = field(factory=dict, repr=False)
    created_at: float = 0.0
    seen_at: float = 0.0


@define(kw_only=True, eq=False)
class IssuedToken:
    """An access token or refresh token that the fake issued. Times are in whole seconds since the epoch."""

    value: str = field(repr=False)
    visitor: Visitor
    member_id: str | None
    issued_at: int
    expires_at: int
    revoked: bool = False
    refusal: RefusalStyle | None = None


@define(kw_only=True, eq=False)
class Visitors:
    """Mints visitors, renews their tokens, and finds the visitor of a token. The caller must hold the fake's lock."""

    settings: Settings
    server_time: Callable[[], float]
    site: dict[str, str] = field(factory=lambda: {key: new_id() for key in ("instanceId", "metaSiteId", "siteOwnerId")})
    by_id: dict[str, Visitor] = field(factory=dict)
    access_tokens: dict[str, IssuedToken] = field(factory=dict, repr=False)
    refresh_tokens: dict[str, IssuedToken] = field(factory=dict, repr=False)
    _serials: Iterator[int] = field(factory=lambda: itertools.count(1))

    def mint(self, client_id: str) -> tuple[Visitor, TokenResponse]:
        """A new visitor, and its first tokens."""
        visitor = self.create(client_id)
        return visitor, self.issue(visitor, None)

    def create(self, client_id: str) -> Visitor:
        """A new visitor without tokens."""
        now = self.server_time()
        visitor = Visitor(id=new_id(), client_id=client_id, created_at=now, seen_at=now)
        self.by_id[visitor.id] = visitor
        return visitor

    def issue(self, visitor: Visitor, member_id: str | None) -> TokenResponse:
        """A new access token and a new refresh token for this visitor."""
        return self._response(self._access(visitor, member_id), self._refresh(visitor, member_id))

    def renew(self, value: str, *, client_id: str | None) -> tuple[Visitor, TokenResponse]:
        """The visitor of this refresh token, and a new access token.

        Raises:
            Refused: The refresh token is unknown, expired, revoked, or of another client ID.

        """
        used = self._usable(value, client_id)
        used.visitor.seen_at = self.server_time()
        refresh = used
        if self.settings.rotate_refresh_tokens or self.settings.one_time_refresh_tokens:
            refresh = self._refresh(used.visitor, used.member_id)
        if self.settings.one_time_refresh_tokens:
            used.refusal = self.settings.refusal
        return used.visitor, self._response(self._access(used.visitor, used.member_id), refresh)

    def identify(self, authorization: str | None) -> IssuedToken:
        """The access token in this Authorization header.

        Raises:
            Refused: The token is missing, unknown, expired or revoked. The status is 401. At Wix the answer to a
                missing token depends on the operation, and Wix documents no body for an expired token.

        """
        if not authorization:
            raise application_error(401, "UNAUTHENTICATED", "No identity found")
        token = self.access_tokens.get(authorization.removeprefix("Bearer "))
        if token is None or token.revoked or self.expired(token):
            raise application_error(401, "UNAUTHENTICATED", "The access token is invalid, expired or revoked")
        token.visitor.seen_at = self.server_time()
        return token

    def expired(self, token: IssuedToken) -> bool:
        """Whether this token's ``exp`` is past by the server's clock."""
        return self.server_time() >= token.expires_at

    def _usable(self, value: str, client_id: str | None) -> IssuedToken:
        token = self.refresh_tokens.get(value)
        if token is None:
            raise refresh_refused(self.settings.refusal, "The refresh token is unknown")
        if token.refusal is not None:
            raise refresh_refused(token.refusal, "The refresh token was revoked")
        if self.expired(token):
            raise refresh_refused(self.settings.refusal, "The refresh token has expired")
        # Older SDKs renew without a client ID, so a missing one is not an error.
        if client_id is not None and client_id != token.visitor.client_id:
            raise refresh_refused(self.settings.refusal, "The refresh token belongs to another client")
        return token

    def _access(self, visitor: Visitor, member_id: str | None) -> IssuedToken:
        issued_at, expires_at = self._lifetime(self.settings.access_token_lifetime)
        instance = visitor_instance(
            site=self.site,
            client_id=visitor.client_id,
            visitor_id=visitor.id,
            issued_at=issued_at,
            expires_at=expires_at,
            serial=next(self._serials),
        )
        if member_id is not None:
            instance = member_instance(instance, member_id=member_id, session_id=new_id())
        text = access_token(instance, issued_at=issued_at, expires_at=expires_at)
        return _keep(self.access_tokens, text, visitor, member_id=member_id, issued_at=issued_at, expires_at=expires_at)

    def _refresh(self, visitor: Visitor, member_id: str | None) -> IssuedToken:
        issued_at, expires_at = self._lifetime(self.settings.refresh_token_lifetime)
        text = refresh_token(new_id(), issued_at=issued_at, expires_at=expires_at)
        return _keep(
            self.refresh_tokens, text, visitor, member_id=member_id, issued_at=issued_at, expires_at=expires_at
        )

    def _lifetime(self, seconds: float) -> tuple[int, int]:
        issued_at = int(self.server_time())
        return issued_at, issued_at + int(seconds)

    @staticmethod
    def _response(access: IssuedToken, refresh: IssuedToken) -> TokenResponse:
        return {
            "access_token": access.value,
            "token_type": "Bearer",
            "expires_in": access.expires_at - access.issued_at,
            "refresh_token": refresh.value,
        }


def new_id() -> str:
    """A new GUID, as Wix uses for all IDs."""
    return str(uuid.uuid4())


def _keep(
    table: dict[str, IssuedToken],
    value: str,
    visitor: Visitor,
    *,
    member_id: str | None,
    issued_at: int,
    expires_at: int,
) -> IssuedToken:
    token = IssuedToken(value=value, visitor=visitor, member_id=member_id, issued_at=issued_at, expires_at=expires_at)
    table[value] = token
    return token
