"""Who the fake knows, and the tokens it gave them."""

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
    """One shopper: an anonymous visitor, or that visitor after logging in as a member."""

    id: str
    client_id: str
    member_id: str | None = None
    cart: Cart | None = None


@define(kw_only=True, eq=False)
class IssuedToken:
    """An access or a refresh token that the fake handed out. Times are whole seconds since the epoch."""

    value: str = field(repr=False)
    visitor: Visitor
    member_id: str | None
    issued_at: int
    expires_at: int
    revoked: bool = False
    refusal: RefusalStyle | None = None


@define(kw_only=True, eq=False)
class Visitors:
    """Mints visitors, renews their tokens and recognises them again. The caller holds the fake's lock."""

    settings: Settings
    server_time: Callable[[], float]
    site: dict[str, str] = field(factory=lambda: {key: new_id() for key in ("instanceId", "metaSiteId", "siteOwnerId")})
    by_id: dict[str, Visitor] = field(factory=dict)
    access_tokens: dict[str, IssuedToken] = field(factory=dict, repr=False)
    refresh_tokens: dict[str, IssuedToken] = field(factory=dict, repr=False)
    _serials: Iterator[int] = field(factory=lambda: itertools.count(1))

    def mint(self, client_id: str) -> tuple[Visitor, TokenResponse]:
        """A visitor that did not exist before, and its first tokens."""
        visitor = self.create(client_id)
        return visitor, self.issue(visitor, None)

    def create(self, client_id: str) -> Visitor:
        """A visitor that did not exist before."""
        visitor = Visitor(id=new_id(), client_id=client_id)
        self.by_id[visitor.id] = visitor
        return visitor

    def issue(self, visitor: Visitor, member_id: str | None) -> TokenResponse:
        """A fresh pair of tokens for this visitor."""
        return self._response(self._access(visitor, member_id), self._refresh(visitor, member_id))

    def renew(self, value: str, *, client_id: str | None) -> tuple[Visitor, TokenResponse]:
        """A new access token for whoever holds this refresh token.

        Raises:
            Refused: The refresh token is unknown, expired, refused or another client's.

        """
        used = self._usable(value, client_id)
        refresh = used
        if self.settings.rotate_refresh_tokens or self.settings.one_time_refresh_tokens:
            refresh = self._refresh(used.visitor, used.member_id)
        if self.settings.one_time_refresh_tokens:
            used.refusal = self.settings.refusal
        return used.visitor, self._response(self._access(used.visitor, used.member_id), refresh)

    def identify(self, authorization: str | None) -> IssuedToken:
        """Whose access token this Authorization header carries.

        Raises:
            Refused: 401. Wix has one answer per operation for a missing token and documents no body for an expired one;
                the fake answers 401 to both.

        """
        if not authorization:
            raise application_error(401, "UNAUTHENTICATED", "No identity found")
        token = self.access_tokens.get(authorization.removeprefix("Bearer "))
        if token is None or token.revoked or self.expired(token):
            raise application_error(401, "UNAUTHENTICATED", "The access token is invalid, expired or revoked")
        return token

    def expired(self, token: IssuedToken) -> bool:
        """Whether the server's clock has passed this token's ``exp``."""
        return self.server_time() >= token.expires_at

    def _usable(self, value: str, client_id: str | None) -> IssuedToken:
        token = self.refresh_tokens.get(value)
        if token is None:
            raise refresh_refused(self.settings.refusal, "The refresh token is unknown")
        if token.refusal is not None:
            raise refresh_refused(token.refusal, "The refresh token was revoked")
        if self.expired(token):
            raise refresh_refused(self.settings.refusal, "The refresh token has expired")
        # Older SDKs renew without a client id, so that an absent one is no mismatch.
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
    """A GUID, as Wix uses for everything."""
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
