"""The text of a token, in Wix's format.

An access token is ``OauthNG.JWS.<header>.<payload>.<signature>``. A refresh token is the same without ``OauthNG.``.
The payload is ``{"data": "<JSON>", "iat", "exp"}``. The format was read from expired tokens in public repositories and
from the example at https://dev.wix.com/docs/go-headless/coding/java-script-sdk/visitors-and-members/handle-visitors.
"""

import base64
import hashlib
import hmac
import json
import re
from datetime import UTC, datetime
from typing import Any

SIGNING_KEY = b"wixvisitor.testing: not a secret"
"""The key of every signature of every fake. A test can use it to check a signature."""

_TOKEN = re.compile(r"(?:OauthNG\.|IST\.|JWS\.|eyJ)[A-Za-z0-9_.=-]*")
_HEADER = {"kid": "fake0001", "alg": "HS256"}


def access_token(instance: dict[str, Any], *, issued_at: int, expires_at: int) -> str:
    """An access token with this ``instance`` in its payload. Times are in seconds since the epoch."""
    return f"OauthNG.{_jws({'instance': instance}, issued_at, expires_at)}"


def refresh_token(identifier: str, *, issued_at: int, expires_at: int) -> str:
    """A refresh token with an opaque ID, which is not the visitor's ID. Times are in seconds since the epoch."""
    return _jws(identifier, issued_at, expires_at)


def mask_tokens(text: str) -> str:
    """Returns the text with ``[token]`` in place of everything that looks like a token of Wix, or the start of one."""
    return _TOKEN.sub("[token]", text)


def visitor_instance(
    *, site: dict[str, str], client_id: str, visitor_id: str, issued_at: int, expires_at: int, serial: int
) -> dict[str, Any]:
    """The ``instance`` of a visitor's access token. Times are in seconds since the epoch.

    ``site`` has the site's ``instanceId``, ``metaSiteId`` and ``siteOwnerId``. ``serial`` becomes the microseconds of
    ``signDate``, so that two tokens of the same second differ.
    """
    return {
        **site,
        "appDefId": client_id,
        "aid": visitor_id,
        "signDate": _iso(issued_at, serial % 1_000_000),
        "expirationDate": _iso(expires_at),
        "permissions": "",
        "demoMode": False,
    }


def member_instance(visitor: dict[str, Any], *, member_id: str, session_id: str) -> dict[str, Any]:
    """The ``instance`` of a member's access token: that of a visitor's, and the member's ID."""
    return {
        **visitor,
        "uid": member_id,
        "siteMemberId": member_id,
        "sid": session_id,
        "sct": visitor["signDate"],
        "hasUserRole": False,
        "aor": False,
        "permissions": "offline_access",
    }


def _jws(data: object, issued_at: int, expires_at: int) -> str:
    payload = {"data": _json(data), "iat": issued_at, "exp": expires_at}
    signed = f"{_base64url(_json(_HEADER).encode())}.{_base64url(_json(payload).encode())}"
    signature = hmac.new(SIGNING_KEY, signed.encode(), hashlib.sha256).digest()
    return f"JWS.{signed}.{_base64url(signature)}"


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _iso(seconds: int, microseconds: int = 0) -> str:
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
