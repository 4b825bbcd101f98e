"""A visitor's tokens and their JSON, exchangeable with ``@wix/sdk``. Pure: no I/O, no clock.

Times are absolute: ``expires_at`` is in whole seconds since the epoch, as in the JavaScript SDK's ``expiresAt``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, Self

import attrs

# Some Wix helpers write milliseconds (Date.now()). 1e11 s is the year 5138, 1e11 ms is March 1973: nothing
# that is a date on one scale is plausible on the other.
_MILLISECONDS_FROM: Final = 100_000_000_000
_LATEST: Final = 1000 * _MILLISECONDS_FROM  # milliseconds; the year 5138; seconds below it stay seconds when read
_SURROGATE: Final = "[\ud800-\udfff]"


class TokenRole(StrEnum):
    """The role of a refresh token's owner; the values are those of ``@wix/sdk``."""

    NONE = "none"
    """There is no refresh token."""
    VISITOR = "visitor"
    """An anonymous shopper."""
    MEMBER = "member"
    """A member who is logged in."""


def _role(value: object) -> TokenRole:
    try:
        return TokenRole(value)  # type: ignore[arg-type] # or a text that names one
    except ValueError:  # this error quotes the value, which may be a misplaced token
        raise ValueError(f"refreshToken.role: expected one of {', '.join(TokenRole)}") from None


def _hidden(value: str) -> str:
    return "'[token]'" if value else "''"


@attrs.frozen(weakref_slot=False)
class AccessToken:
    """The token that the ``Authorization`` header carries, without "Bearer".

    Args:
        value: the token's text; ``""`` for none. Never part of a repr.
        expires_at: its end, in whole seconds since the epoch.
    """

    value: str = attrs.field(repr=_hidden)
    expires_at: int


@attrs.frozen(weakref_slot=False)
class RefreshToken:
    """The token that renews the access token. A program that has it can act as the visitor.

    Args:
        value: the token's text; ``""`` for none. Never part of a repr.
        role: the role of a visitor, of a member, or none; the role's text is accepted, too.

    Raises:
        ValueError: there is no such role.
    """

    value: str = attrs.field(repr=_hidden)
    role: TokenRole = attrs.field(converter=_role)


@attrs.frozen(weakref_slot=False)
class Tokens:
    """One visitor: an access token and the refresh token that renews it.

    Attributes:
        access_token: what requests carry. Its ``expires_at`` is absolute, in whole seconds since the epoch.
        refresh_token: what renews it, and says whose it is.

    Concurrency: immutable, share it freely.
    """

    access_token: AccessToken
    refresh_token: RefreshToken

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Returns the tokens in ``@wix/sdk``'s ``getTokens()`` shape.

        A missing token is an empty one, as in JavaScript. ``expiresAt`` may be in milliseconds. Other keys beside the
        two tokens are ignored.

        Raises:
            ValueError: the data has another shape; the text names the field, never its value.
        """
        if not isinstance(data, Mapping):
            raise ValueError(f"tokens: expected an object with accessToken and refreshToken, not {_kind(data)}")
        if data and not {"accessToken", "refreshToken"} & set(data):
            raise ValueError("tokens: accessToken and refreshToken are both missing; is this a token response?")
        return cls(_access_token(data.get("accessToken")), _refresh_token(data.get("refreshToken")))

    def to_dict(self) -> dict[str, Any]:
        """Returns a dict that ``from_dict`` and ``@wix/sdk`` read. It holds the secrets in the clear."""
        access, refresh = self.access_token, self.refresh_token
        return {
            "accessToken": {"value": access.value, "expiresAt": access.expires_at},
            "refreshToken": {"value": refresh.value, "role": refresh.role.value},
        }

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Returns the tokens that ``JSON.stringify(getTokens())`` or ``to_json`` wrote.

        Raises:
            ValueError: the text is no JSON, or not of that shape.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):  # the parser's own error holds the whole text, including secrets
            raise ValueError("tokens: this is not JSON") from None
        return cls.from_dict(data)

    def to_json(self) -> str:
        """Returns exactly the text of JavaScript's ``JSON.stringify``. It holds the secrets in the clear."""
        text = json.dumps(self.to_dict(), ensure_ascii=False, separators=(",", ":"))
        return re.sub(_SURROGATE, lambda half: f"\\u{ord(half[0]):04x}", text)


EMPTY_TOKENS: Final = Tokens(AccessToken("", 0), RefreshToken("", TokenRole.NONE))
"""No tokens: what ``get_tokens`` returns before there is a visitor. ``@wix/sdk`` calls the same ``EMPTY_TOKENS``."""


def _access_token(data: object) -> AccessToken:
    if data is None:
        return EMPTY_TOKENS.access_token
    half = _object(data, "accessToken")
    value = _text(half, "accessToken")
    if "expiresAt" not in half and not value:
        return EMPTY_TOKENS.access_token
    return AccessToken(value, _seconds(half.get("expiresAt")))


def _refresh_token(data: object) -> RefreshToken:
    if data is None:
        return EMPTY_TOKENS.refresh_token
    half = _object(data, "refreshToken")
    return RefreshToken(_text(half, "refreshToken"), half.get("role"))


def _object(data: object, field: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise ValueError(f"{field}: expected an object, not {_kind(data)}")
    return data


def _text(half: Mapping[str, Any], field: str) -> str:
    value = half.get("value")
    if not isinstance(value, str):
        raise ValueError(f"{field}.value: expected a string, not {_kind(value)}")
    return value


def _seconds(value: object) -> int:
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not 0 <= number < _LATEST or (number < _MILLISECONDS_FROM and number != int(number)):
        raise ValueError("accessToken.expiresAt: expected seconds (or milliseconds) since the epoch, a whole number")
    return int(number) // 1000 if number >= _MILLISECONDS_FROM else int(number)


def _kind(value: object) -> str:
    return "nothing" if value is None else type(value).__name__
