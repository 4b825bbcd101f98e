"""The tokens as front ends write them into a cookie: in more forms than ``@wix/sdk`` uses. Pure.

Only cookies are read so leniently. If a form is not read here, the visitor loses the cart on the server, while the
front end still has it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote

from wixvisitor._tokens import TokenRole, Tokens
from wixvisitor._wire.claims import read_claims

_LAYERS: Final = 3  # how often a value may be encoded; some frameworks encode an encoded value again
_ESCAPE: Final = re.compile(r"\\(?:([0-3][0-7][0-7])|(.))")
_LATEST: Final = 1e14  # milliseconds; the year 5138, beyond which no number is a date


def content_of(value: str) -> Mapping[str, Any]:
    """Returns the JSON object in a cookie's value, which may be URL-encoded several times, or be a JSON text.

    Raises:
        ValueError, RecursionError: the value holds no JSON object.
    """
    for text in _spellings(value):
        with suppress(ValueError):
            content = json.loads(text)
            content = json.loads(content) if isinstance(content, str) else content  # JSON.stringify was called twice
            if isinstance(content, Mapping):
                return content
    raise ValueError("the cookie holds no JSON object")


def _spellings(value: str) -> Iterator[str]:
    """Returns the texts that the value may stand for, the most usual first."""
    text = value.removeprefix("j:")  # Express marks JSON with this prefix
    for _ in range(_LAYERS + 1):
        if text[:1] != "%":  # an encoded value is no JSON yet
            yield text
        if "\\" in text:  # quoted by Python's http.cookies, so by Starlette, Flask and Django
            yield _ESCAPE.sub(lambda found: chr(int(found[1], 8)) if found[1] else found[2], text)
        if "+" in text:  # encoded as a form's field
            yield text.replace("+", " ")
        further = unquote(text, errors="strict").removeprefix("j:")
        if further == text:
            return
        text = further


def tokens_of(data: object) -> Tokens:
    """Returns the tokens. If their expiry cannot be read, the token's own is used; without that it needs a renewal.

    Raises:
        ValueError: these are no tokens.
    """
    if not isinstance(data, Mapping):
        raise ValueError("tokens: expected an object")
    access, refresh = data.get("accessToken"), data.get("refreshToken")
    strict = {name: data[name] for name in ("accessToken", "refreshToken") if name in data}
    if isinstance(access, Mapping):
        value = access.get("value") or ""
        strict["accessToken"] = {"value": value, "expiresAt": _end(access.get("expiresAt"), value)} if value else None
    if isinstance(refresh, Mapping) and refresh.get("role") is None:
        role = TokenRole.VISITOR if refresh.get("value") else TokenRole.NONE
        strict["refreshToken"] = {**refresh, "role": role}
    return Tokens.from_dict(strict)


def _end(moment: object, token: object) -> int:
    """Returns seconds since the epoch from a front end's expiry; 0 if it cannot be read."""
    number = _number(moment)
    if 0 <= number < _LATEST:
        return int(number / 1000 if number >= _LATEST / 1000 else number)
    claims = read_claims(token) if isinstance(token, str) else None
    return claims.expires_at if claims else 0


def _number(moment: object) -> float:
    """Returns seconds or milliseconds: from a number, from a number as text, or from a ``Date`` in JSON."""
    with suppress(ValueError, OverflowError):
        if isinstance(moment, int | float) and not isinstance(moment, bool):
            return float(moment)
        if isinstance(moment, str) and re.fullmatch(r"\s*[0-9]+(\.[0-9]*)?\s*", moment):
            return float(moment)
        if isinstance(moment, str):
            end = datetime.fromisoformat(moment)
            return (end if end.tzinfo else end.replace(tzinfo=UTC)).timestamp()
    return math.nan
