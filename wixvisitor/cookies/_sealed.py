"""A cookie that only its server can write and read: a sealed JSON object. Needs the extra ``crypto``.

It is bound to the client ID and to the cookie's name. All versions of wixvisitor read each other's cookies, so the
object may get new keys, but must keep the present ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Final

import attrs

from wixvisitor._checks import checked_tokens, is_empty
from wixvisitor._tokens import EMPTY_TOKENS, AccessToken, Tokens
from wixvisitor._wire.redaction import drops_frames
from wixvisitor.cookies import _parts
from wixvisitor.cookies._content import (
    LARGEST,
    SITES,
    CookieContent,
    Foreign,
    Names,
    Opened,
    SameSite,
    Unreadable,
    fitting,
    is_embedded,
    site_name,
)
from wixvisitor.errors import ConfigurationError
from wixvisitor.storage._sealing import NotOpened, Sealer, UnknownKey

YEAR: Final = 31_536_000  # seconds; the life of a Wix refresh token
_MAX_LIFE: Final = 400 * 86_400  # seconds; browsers keep no cookie longer (RFC 6265bis, section 5.5)
_LATEST: Final = 10**11  # seconds; the year 5138
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_ID: Final = re.compile(r"[A-Za-z0-9_-]{43}")  # 256 bits as base64url
_ENVELOPE: Final = re.compile(r"1\.[0-9a-f]{12}\.[A-Za-z0-9_-]{38,}")
PURPOSES: Final = ("wixvisitor cookie: id", "wixvisitor cookie: tokens")
NO_COOKIES: Final[Mapping[str, Sequence[str]]] = {}


class SealedForm:
    """A cookie that only its server can write and read."""

    holds_tokens: ClassVar[bool]
    _purpose: ClassVar[str]

    def __init__(
        self,
        keys: Sequence[str | bytes],
        *,
        name: str | None = None,
        max_age: int = YEAR,
        secure: bool = True,
        same_site: SameSite = "lax",
    ) -> None:
        chosen = "wixvisitor" if name is None else name
        if not isinstance(chosen, str) or not _NAME.fullmatch(chosen) or chosen.startswith("__"):
            raise ConfigurationError("name: expected letters, digits, '_', '.' and '-'; the prefix __Host- is added")
        if isinstance(max_age, bool) or not isinstance(max_age, int) or not 0 < max_age <= _MAX_LIFE:
            raise ConfigurationError("max_age: expected whole seconds, at most 400 days")
        self.name = f"__Host-{chosen}" if secure else chosen
        self.is_secure = secure
        self.reservation: SealedForm | None = None
        self._is_chosen = name is not None
        self._max_age = max_age
        self.is_embedded = is_embedded(same_site, secure=secure)
        site = SITES[same_site]
        self._attributes = f"Path=/; Max-Age={max_age}; {'Secure; ' if secure else ''}HttpOnly; {site}"
        self._sealer = Sealer(keys, self._purpose)
        self._other_forms = [Sealer(keys, purpose) for purpose in PURPOSES if purpose != self._purpose]

    def sealer_for(self, purpose: str) -> Sealer | None:
        """Returns a sealer with this cookie's keys for another purpose."""
        return self._sealer.for_purpose(purpose)

    def names(self, client_id: str) -> Names:
        """Returns the names of a site's cookie. Older versions used a name that does not depend on the site."""
        own = site_name(self.name, client_id)
        return Names(self.name, own, is_common=True) if self._is_chosen else Names(own, self.name, is_common=False)

    @drops_frames
    def read(
        self,
        value: str,
        client_id: str,
        now: float,
        *,
        name: str | None = None,
        others: Mapping[str, Sequence[str]] = NO_COOKIES,
    ) -> CookieContent:
        """Returns the content of the cookie.

        Args:
            value: the value as the browser sent it.
            client_id: the client ID that the cookie has to belong to.
            now: seconds since the epoch.
            name: the cookie's name; None: the site's first name.
            others: the values of all cookies that the browser sent, by name.

        Raises:
            Foreign: it was sealed by another site, or with a key that was removed.
            Unreadable: it was not sealed with these keys for this client ID and name, or is too old.
        """
        return self.dated(self.open(value, client_id, name=name, others=others), now)

    @drops_frames
    def open(
        self,
        value: str,
        client_id: str,
        *,
        name: str | None = None,
        others: Mapping[str, Sequence[str]] = NO_COOKIES,
    ) -> Opened:
        """Returns the content of the cookie without a check of its age; see ``read``."""
        if len(value) > LARGEST:
            raise Unreadable("it is too long to be one of ours")
        context = (client_id, name or self.names(client_id).first)
        key, since, tokens, is_split = self._parsed(self._unsealed(value, context), context, others)
        is_old = not value.startswith(f"1.{self._sealer.key_ids[0]}.")
        return Opened(CookieContent(key, tokens), since, is_old, is_split)

    def dated(self, opened: Opened, now: float) -> CookieContent:
        """Returns the content of an opened cookie at this time (seconds since the epoch). Raises as ``read`` does."""
        age = now - (opened.since or 0.0)
        if age > self._max_age:
            raise Unreadable("it is older than max_age")
        is_due = opened.is_old or age > self._max_age / 10
        return attrs.evolve(opened.content, is_due=True) if is_due else opened.content

    @drops_frames
    def write(self, content: CookieContent, client_id: str, now: float, *, name: str | None = None) -> str:
        """Returns the ``Set-Cookie`` header.

        Raises:
            ConfigurationError: it is too large, and browsers would not keep it.
        """
        name = name or self.names(client_id).first
        data: dict[str, Any] = {"id": content.key, "at": int(now)}
        if self.holds_tokens and not is_empty(content.tokens):
            data["tokens"] = content.tokens.to_dict()
        return fitting(name, self._seal(data, (client_id, name)), self._attributes)

    def write_all(self, content: CookieContent, client_id: str, now: float, *, name: str | None = None) -> list[str]:
        """Returns the ``Set-Cookie`` headers, of which there may be several.

        Raises:
            ConfigurationError: they are too large.
        """
        return [self.write(content, client_id, now, name=name)]

    def clear(self, name: str | None = None, path: str = "/") -> str:
        """Returns the ``Set-Cookie`` header that removes it."""
        attributes = self._attributes.replace(f"Max-Age={self._max_age}", "Max-Age=0")
        return f"{name or self.name}=; {attributes.replace('Path=/', f'Path={path}', 1)}"

    def without_access(self, tokens: Tokens, now: float) -> Tokens:
        """Returns the part of too large tokens that fits: the refresh token."""
        del now
        return Tokens(EMPTY_TOKENS.access_token, tokens.refresh_token)

    def derive(self, keys: Iterable[str]) -> str:
        """Returns the key that replaces several: the same for the same keys. Only the server can compute it."""
        return self._sealer.derive(tuple(sorted(keys)))

    def key_of(self, tokens: Tokens) -> str | None:
        """Returns None: the tokens alone do not give the visitor's key, since it is the id in the cookie."""
        del tokens
        return None

    def _unsealed(self, value: str, context: tuple[str, str]) -> bytes:
        try:
            return self._sealer.open(value, context)
        except UnknownKey as error:
            kind = Foreign if _ENVELOPE.fullmatch(value) else Unreadable
            held = ", ".join(self._sealer.key_ids)
            raise kind(f"it is sealed with the key {error}, but keys has {held}") from None
        except NotOpened:
            pass
        if not _ENVELOPE.fullmatch(value) or self._is_of_another_form(value, context):
            raise Unreadable("it does not open: it was forged, changed, or made by another kind of cookie")
        raise Foreign("it does not open: it was forged, changed, or made for another site")

    def _is_of_another_form(self, value: str, context: tuple[str, str]) -> bool:
        for sealer in self._other_forms:
            with suppress(NotOpened):
                sealer.open(value, context)
                return True
        return False

    def _seal(self, data: object, context: tuple[str, ...]) -> str:
        return self._sealer.seal(json.dumps(data, separators=(",", ":")).encode(), context)

    def _parsed(
        self, opened: bytes, context: tuple[str, str], others: Mapping[str, Sequence[str]]
    ) -> tuple[str, float, Tokens, bool]:
        """Returns id, time of sealing, tokens, and whether they are split. Another version may have written it."""
        try:
            found = json.loads(opened)
            key, since = found["id"], found["at"]
            tokens = checked_tokens(Tokens.from_dict(found.get("tokens") or {}))
            if "parts" in found:
                tokens = Tokens(
                    self._access_token(found["parts"], found["write"], context, others), tokens.refresh_token
                )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, ConfigurationError):
            raise Unreadable("what is sealed in it is not what this version of wixvisitor writes") from None
        is_ours = isinstance(key, str) and _ID.fullmatch(key) and isinstance(since, int) and 0 <= since < _LATEST
        if not is_ours or (tokens != EMPTY_TOKENS and not self.holds_tokens):
            raise Unreadable("what is sealed in it is not what this version of wixvisitor writes")
        return key, since, tokens, "parts" in found

    def _access_token(
        self, count: int, write: str, context: tuple[str, str], others: Mapping[str, Sequence[str]]
    ) -> AccessToken:
        """Returns the access token in the parts of this write. If a part is missing, none, which costs a renewal."""
        for text in _parts.joined(context[1], min(count, _parts.MAX_PARTS), others):
            with suppress(NotOpened, ValueError, ConfigurationError):
                half = json.loads(self._sealer.open(text, (*context, write)))
                return checked_tokens(Tokens.from_dict({"accessToken": half})).access_token
        return EMPTY_TOKENS.access_token

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}, keys {', '.join(self._sealer.key_ids)}>"
