"""What can be read in a Wix token without its key: hints, never proof. Pure.

The shape is not documented; it was read from expired public samples: an access token is
``OauthNG.JWS.<header>.<payload>.<signature>``, a refresh token ``JWS.<header>.<payload>.<signature>``, the payload
``{"data": "<JSON>", "iat": seconds, "exp": seconds}`` in base64url without padding. Whatever differs reads as None.
"""

from __future__ import annotations

import base64
import json
from typing import Any, Final

import attrs

_MAX: Final = 16_384  # a real token has about 1,000 characters
_LATEST: Final = 10**11  # seconds; the year 5138. What is later is no date, and too large a number for arithmetic


@attrs.frozen(match_args=False)
class Claims:
    """The hints of one token.

    Attributes:
        issued_at: ``iat`` in seconds by Wix's clock.
        expires_at: ``exp`` in seconds by Wix's clock.
        visitor_id: ``aid`` of the token's data, which seems to be the visitor's id.
        member_id: ``uid``, which only a member's token has.
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
    """Returns the token's hints, or None if it does not have the known shape."""
    parts = token.removeprefix("OauthNG.").split(".")
    if len(token) > _MAX or len(parts) != 4 or parts[0] != "JWS":
        return None
    payload = _decoded(parts[2])
    if not isinstance(payload, dict):
        return None
    issued_at, expires_at = payload.get("iat"), payload.get("exp")
    if type(issued_at) is not int or type(expires_at) is not int or not 0 < issued_at < expires_at < _LATEST:
        return None
    instance = _instance(payload.get("data"))
    return Claims(issued_at, expires_at, _id(instance.get("aid")), _id(instance.get("uid")))


def _instance(data: object) -> dict[str, Any]:
    try:
        content = json.loads(data) if isinstance(data, str) else None
    except (ValueError, RecursionError):
        return {}
    instance = content.get("instance") if isinstance(content, dict) else None
    if isinstance(instance, str):
        instance = _decoded(instance)
    return instance if isinstance(instance, dict) else {}


def _decoded(segment: str) -> object:
    try:
        return json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (ValueError, RecursionError):
        return None


def _id(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
