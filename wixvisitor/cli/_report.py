"""Describes a file with tokens, for people and as JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from wixvisitor._tokens import Tokens
from wixvisitor._wire.claims import Claims, read_claims
from wixvisitor.cli._times import expiry
from wixvisitor.cli._visitor_file import VisitorFile

_LONGEST_KEY: Final = 20  # characters; a longer key may be a web session's id, which is a secret itself


def of(found: VisitorFile, now: float, *, before: Tokens | None = None) -> dict[str, Any]:
    """Returns the facts that may be shown, for JSON; times in epoch seconds."""
    claims, refresh = _claims(found.tokens)
    expires_at = found.tokens.access_token.expires_at if found.tokens.access_token.value else None
    content: dict[str, Any] = {
        "file": str(found.path),
        "format": "wixvisitor" if found.is_record else "@wix/sdk",
        "key": shown_key(found.key),
        "client_id": found.client_id,
        "role": found.tokens.refresh_token.role.value,
        "visitor_id": claims.visitor_id if claims else None,
        "member_id": claims.member_id if claims else None,
        "access_token_expires_at": expires_at,
        "access_token_expired": expires_at is None or expires_at <= now,
        "refresh_token_expires_at": refresh.expires_at if refresh else None,
        "mode": None if found.mode is None else f"{found.mode:04o}",
        "problems": found.problems,
    }
    if before is not None:
        content["before_renewal"] = {"access_token_expires_at": before.access_token.expires_at}
    return content


def as_json(content: object) -> str:
    """Returns one line of JSON, in ASCII."""
    return json.dumps(content)


def lines(found: VisitorFile, now: float, *, before: Tokens | None = None) -> Iterator[str]:
    """Returns the facts that may be shown, one line each."""
    yield str(found.path)
    for label, value in _facts(found, now):
        yield f"  {label:<15} {value}"
    if before is not None:
        yield f"  {'before renewal':<15} the access token {_access(before, now)}"


def line(found: VisitorFile, now: float) -> str:
    """Returns the most important facts in one line."""
    claims, _ = _claims(found.tokens)
    who = (claims.visitor_id if claims else None) or "unknown"
    key = shown_key(found.key) or f"{found.path.name} (@wix/sdk)"
    role = found.tokens.refresh_token.role.value
    return f"{key}  {role} {who}  access token {_access(found.tokens, now)}"


def shown_key(key: str | None) -> str | None:
    """Returns the key, shortened if it may be a secret."""
    if key is None or len(key) <= _LONGEST_KEY:
        return key
    return f"{key[:6]}... ({len(key)} characters)"


def _facts(found: VisitorFile, now: float) -> Iterator[tuple[str, str]]:
    claims, _ = _claims(found.tokens)
    if found.is_record:
        yield "kept by", f"wixvisitor, key {shown_key(found.key)}"
    else:
        yield "kept by", "@wix/sdk: the JSON of getTokens()"
    yield "client ID", found.client_id or "not in the file"
    yield "role", found.tokens.refresh_token.role.value
    yield "visitor id", _hint(claims.visitor_id if claims else None)
    if claims is not None and claims.member_id:
        yield "member id", _hint(claims.member_id)
    yield "access token", _access(found.tokens, now)
    yield "refresh token", _refresh(found.tokens, now)
    if found.mode is not None:
        yield "file mode", f"{found.mode:04o}" + (" (others can read it)" if found.problems else "")


def _claims(tokens: Tokens) -> tuple[Claims | None, Claims | None]:
    return read_claims(tokens.access_token.value), read_claims(tokens.refresh_token.value)


def _hint(value: str | None) -> str:
    return f"{value} (the token's own hint)" if value else "not told by the token"


def _access(tokens: Tokens, now: float) -> str:
    return expiry(tokens.access_token.expires_at, now) if tokens.access_token.value else "none"


def _refresh(tokens: Tokens, now: float) -> str:
    if not tokens.refresh_token.value:
        return "none"
    _, claims = _claims(tokens)
    return f"{expiry(claims.expires_at, now)} (its own hint)" if claims else "its expiry is not told by the token"
