"""Reads the claims of a Wix token without checking its signature: they are hints, not proof. Pure.

Wix does not document the format. It was read from expired public samples: an access token is
``OauthNG.JWS.<header>.<payload>.<signature>``, a refresh token is ``JWS.<header>.<payload>.<signature>``. The payload
is ``{"data": "<JSON>", "iat": seconds, "exp": seconds}`` in base64url without padding. For a token in any other format
``read_claims`` returns None.
"""

from __future__ import annotations

import base64
from typing import Any, Final

import attrs

from wixvisitor._wire.json_text import parsed_object

_MAX: Final = 16_384  # a real token has about 1,000 characters
_LATEST: Final = 10**11  # seconds; the year 5138. A larger number is no date, and could overflow in arithmetic


@attrs.frozen(match_args=False)
class Claims:
    """The claims of one token.

    Attributes:
        issued_at: ``iat`` in seconds by Wix's clock.
        expires_at: ``exp`` in seconds by Wix's clock.
        visitor_id: ``aid`` in the token's data. It seems to be the visitor's ID.
        member_id: ``uid`` in the token's data. Only a member's token has it.
    """

    issued_at: int
    expires_at: int
    visitor_id: str | None = None
    member_id: str | None = None

    @property
    def lifetime(self) -> int:
        """Seconds from issue to expiry."""
        return self.expires_at - self.issued_at


def read_claims(token: str) -> Claims | None:
    """Returns the token's claims, or None if the token does not have the known format."""
    parts = token.removeprefix("OauthNG.").split(".")
    if len(token) > _MAX or len(parts) != 4 or parts[0] != "JWS":
        return None
    payload = _decoded(parts[2])
    if payload is None:
        return None
    issued_at, expires_at = payload.get("iat"), payload.get("exp")
    if type(issued_at) is not int or type(expires_at) is not int or not 0 < issued_at < expires_at < _LATEST:
        return None
    instance = _instance(payload.get("data"))
    return Claims(issued_at, expires_at, _id(instance.get("aid")), _id(instance.get("uid")))


def _instance(data: object) -> dict[str, Any]:
    content = parsed_object(data) if isinstance(data, str) else None
    instance = (content or {}).get("instance")
    if isinstance(instance, str):
        instance = _decoded(instance)
    return instance if isinstance(instance, dict) else {}


def _decoded(segment: str) -> dict[str, Any] | None:
    try:
        return parsed_object(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except ValueError:  # not base64
        return None


def _id(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
