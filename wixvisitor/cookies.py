"""Where a browser's visitor lives: what its cookie holds, and how that is written. Needs the extra ``crypto``.

=====================  ==========================================  ================================================
cookie                 holds                                       tokens are
=====================  ==========================================  ================================================
:class:`IdCookie`      an id, sealed: nobody can make one up       in the pool's storage
:class:`SealedCookie`  the tokens, sealed with AES-256-GCM         in the cookie; no store
:class:`SharedCookie`  the tokens, in the clear                    in the cookie; a JavaScript front end has them too
=====================  ==========================================  ================================================

The first two bind the client ID and the cookie's name in: a cookie of another site, or another name, does not open.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal
from urllib.parse import quote, unquote

import attrs

from wixvisitor._given import checked_tokens, is_empty
from wixvisitor._masking import hides_locals
from wixvisitor._tokens import EMPTY_TOKENS, Tokens
from wixvisitor.errors import ConfigurationError
from wixvisitor.storage._sealing import NotOpened, Sealer, UnknownKey, generate_key

__all__ = ["IdCookie", "SealedCookie", "SharedCookie", "generate_key"]

_YEAR: Final = 31_536_000  # seconds; the life of a Wix refresh token
_LONGEST_LIFE: Final = 400 * 86_400  # seconds; browsers keep no cookie longer (RFC 6265bis, section 5.5)
_LATEST: Final = 10**11  # seconds; the year 5138
_LARGEST: Final = 4_096  # bytes of name and value; RFC 6265, section 6.1
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_ID: Final = re.compile(r"[A-Za-z0-9_-]{43}")  # 256 bits as base64url


SameSite = Literal["lax", "none"]
_SITES: Final[Mapping[str, str]] = {"lax": "SameSite=Lax", "none": "SameSite=None; Partitioned"}


class Unreadable(Exception):
    """A cookie that is not taken. Its text says why, and nothing of what was in there."""


@attrs.frozen
class Card:
    """What a cookie says.

    Attributes:
        key: which visitor.
        tokens: who that is, if the cookie holds them; else ``EMPTY_TOKENS``.
        is_due: whether the cookie ought to be written anew: it was sealed with an older key, or a tenth of its life
            is over.
    """

    key: str = attrs.field(repr=False)
    tokens: Tokens = EMPTY_TOKENS
    is_due: bool = False


class _Sealed:
    """A cookie that only its server can write and read."""

    holds_tokens: bool
    _purpose: str

    def __init__(
        self,
        keys: Sequence[str | bytes],
        *,
        name: str = "wixvisitor",
        max_age: int = _YEAR,
        secure: bool = True,
        same_site: SameSite = "lax",
    ) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name.startswith("__"):
            raise ConfigurationError("name: expected letters, digits, '_', '.' and '-'; the prefix __Host- is added")
        if isinstance(max_age, bool) or not isinstance(max_age, int) or not 0 < max_age <= _LONGEST_LIFE:
            raise ConfigurationError("max_age: expected whole seconds, at most 400 days")
        self.name = f"__Host-{name}" if secure else name
        self.reservation: IdCookie | None = None
        self._max_age = max_age
        self.is_embedded = _is_embedded(same_site, secure=secure)
        site = _SITES[same_site]
        self._attributes = f"Path=/; Max-Age={max_age}; {'Secure; ' if secure else ''}HttpOnly; {site}"
        self._sealer = Sealer(keys, self._purpose)

    @hides_locals
    def read(self, value: str, client_id: str, now: float) -> Card:
        """Returns what the cookie says.

        Args:
            value: as the browser sent it.
            client_id: whose visitor it has to be.
            now: seconds since the epoch.

        Raises:
            Unreadable: it was not sealed here, for this client ID, or is too old.
        """
        if len(value) > _LARGEST:
            raise Unreadable("it is longer than any of ours")
        try:
            content = self._sealer.open(value, (client_id, self.name))
        except UnknownKey as error:
            held = ", ".join(self._sealer.key_ids)
            raise Unreadable(f"it is sealed with the key {error}, but keys has {held}") from None
        except NotOpened:
            raise Unreadable("it does not open: it was made up, changed, or made for another site") from None
        key, since, tokens = self._parsed(content)
        age = now - since
        if age > self._max_age:
            raise Unreadable("it is older than max_age")
        old = not value.startswith(f"1.{self._sealer.key_ids[0]}.")
        return Card(key, tokens, is_due=old or age > self._max_age / 10)

    @hides_locals
    def write(self, card: Card, client_id: str, now: float) -> str:
        """Returns the ``Set-Cookie`` header.

        Raises:
            ConfigurationError: no browser would keep it, it is too large.
        """
        content: dict[str, Any] = {"id": card.key, "at": int(now)}
        if self.holds_tokens and not is_empty(card.tokens):
            content["tokens"] = card.tokens.to_dict()
        text = json.dumps(content, separators=(",", ":")).encode()
        return _fitting(self.name, self._sealer.seal(text, (client_id, self.name)), self._attributes)

    def clear(self) -> str:
        """Returns the ``Set-Cookie`` header that removes it."""
        return f"{self.name}=; {self._attributes.replace(f'Max-Age={self._max_age}', 'Max-Age=0')}"

    def key_of(self, tokens: Tokens) -> str | None:
        """Returns which visitor these tokens are by themselves; None, since the id says that here."""
        del tokens
        return None

    def _parsed(self, content: bytes) -> tuple[str, float, Tokens]:
        """Returns id, time of sealing and tokens. What is sealed is ours, but may be another version's."""
        try:
            found = json.loads(content)
            key, since = found["id"], found["at"]
            tokens = checked_tokens(Tokens.from_dict(found.get("tokens") or {}))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, ConfigurationError):
            raise Unreadable("what is sealed in it is not what this version of wixvisitor writes") from None
        is_ours = isinstance(key, str) and _ID.fullmatch(key) and isinstance(since, int) and 0 <= since < _LATEST
        if not is_ours or (tokens != EMPTY_TOKENS and not self.holds_tokens):
            raise Unreadable("what is sealed in it is not what this version of wixvisitor writes")
        return key, since, tokens

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}, keys {', '.join(self._sealer.key_ids)}>"


class IdCookie(_Sealed):
    """A random id of 256 bits, sealed; the visitor is in the pool's storage under it. For servers.

    Junk, and ids from elsewhere, are refused before the storage is asked. Login and logout change the id.

    Args:
        keys: the first one seals, all of them open; 32 random bytes each, as bytes or as base64 text:
            ``generate_key()`` makes one. To rotate, deploy ``keys=[old, new]`` everywhere, then ``[new, old]``; a
            cookie is sealed anew when its visitor is next looked at.
        name: the cookie's name, without the prefix ``__Host-`` that it gets.
        max_age: seconds that the browser keeps it, counted anew when a tenth of them is over; at most 400 days.
        secure: False is for development over plain http, where no browser takes a secure cookie: the cookie is then
            without ``Secure`` and without the prefix, and another site on the same host could plant one.
        same_site: ``"lax"``, or ``"none"`` for a shop inside other sites' pages (an iframe): the cookie is then also
            ``Partitioned``, one for each site that the shop is inside of. See ``trusted_origins`` of ``setup``.

    Raises:
        ConfigurationError: an argument is wrong.

    Concurrency: immutable, share it freely.
    """

    holds_tokens = False
    _purpose = "wixvisitor cookie: id"


class SealedCookie(_Sealed):
    """The tokens themselves, sealed with AES-256-GCM: no store is needed. Make the pool without a storage.

    What it cannot do: take a cookie back (a copy stays good until Wix refuses its refresh token, after logout as
    well); let several processes agree while a visitor is being made, so that a first page whose parallel calls meet
    different processes may make one each; or carry tokens that change after a response has started. Each process
    remembers what it did for 2 minutes, which is enough for the calls that one page makes to one process.

    Args, Raises, Concurrency: as ``IdCookie``.
    """

    holds_tokens = True
    _purpose = "wixvisitor cookie: tokens"


class SharedCookie:
    """The tokens in the clear, so that ``@wix/sdk`` in the page and the server are the same visitor.

    The security trade-off: JavaScript has to read this cookie, so it cannot be ``HttpOnly``, and nothing is sealed.
    Whoever runs a script in the page (XSS) or can write a cookie for the host has, or plants, the visitor and a
    logged-in member. Use it only where a front end needs the tokens, for visitors rather than members.

    Args:
        name: which front end's format:

            ============== ======================================= ============ =====================================
            ``wixSession``  ``{"clientId", "tokens"}``              session      @wix/astro
            ``session``     the tokens                              session      wix-headless-example, minimal-examples
            ``wix-session`` the tokens                              12 days      headless-templates/commerce
            ============== ======================================= ============ =====================================

            All are URL-encoded JSON, as ``encodeURIComponent`` writes it. A ``wixSession`` of another client ID is
            not taken; one that is just the tokens (headless-templates/external-identity-provider) is.
        secure: False is for development over plain http; the name stays.
        same_site: as for ``IdCookie``.

    Tokens that were renewed here are written back, so that the page has them too. As with ``SealedCookie``, each
    process remembers what it did for 2 minutes, also for a first page's parallel calls: a second cookie, sealed with
    a key of this process, reserves their visitor meanwhile.

    Raises:
        ConfigurationError: the name is none of these.

    Concurrency: immutable, share it freely.
    """

    holds_tokens: Final = True

    def __init__(self, name: str = "wixSession", *, secure: bool = True, same_site: SameSite = "lax") -> None:
        if name not in _LIVES:
            raise ConfigurationError(f"name: expected one of {', '.join(_LIVES)}")
        self.name = name
        self.reservation: IdCookie | None = IdCookie(
            [generate_key()], name="wixvisitor-new", max_age=120, secure=secure, same_site=same_site
        )
        self.is_embedded = _is_embedded(same_site, secure=secure)
        self._attributes = f"Path=/; {'Secure; ' if secure else ''}{_SITES[same_site]}"

    @hides_locals
    def read(self, value: str, client_id: str, now: float) -> Card:
        """Returns what the cookie says; see ``IdCookie.read``."""
        del now
        if len(value) > 2 * _LARGEST:
            raise Unreadable("it is longer than any of ours")
        try:
            content = json.loads(unquote(value, errors="strict"))
            inner = content.get("tokens", content) if self.name == "wixSession" else content
            if content.get("clientId", client_id) != client_id:
                raise Unreadable("it belongs to another client ID")
            tokens = checked_tokens(Tokens.from_dict(inner))
        except (ValueError, AttributeError, RecursionError, ConfigurationError):
            raise Unreadable("it is not the JSON of @wix/sdk's tokens") from None
        key = self.key_of(tokens)
        if key is None:
            raise Unreadable("it holds no tokens")
        return Card(key, tokens)

    @hides_locals
    def write(self, card: Card, client_id: str, now: float) -> str:
        """Returns the ``Set-Cookie`` header; see ``IdCookie.write``."""
        del now
        content = card.tokens.to_dict()
        if self.name == "wixSession":
            content = {"clientId": client_id, "tokens": content}
        text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
        return _fitting(self.name, quote(text, safe="!~*'()"), self._attributes + _LIVES[self.name])

    def clear(self) -> str:
        """Returns the ``Set-Cookie`` header that removes it."""
        return f"{self.name}=; {self._attributes}; Max-Age=0"

    @hides_locals
    def key_of(self, tokens: Tokens) -> str | None:
        """Returns which visitor these tokens are: there is no id in the cookie, so the refresh token says it."""
        value = tokens.refresh_token.value or tokens.access_token.value
        return hashlib.sha256(f"wixvisitor shared\0{value}".encode("utf-8", "replace")).hexdigest() if value else None

    def __repr__(self) -> str:
        return f"<SharedCookie {self.name!r}>"


VisitorCookie = IdCookie | SealedCookie | SharedCookie

_LIVES: Final[Mapping[str, str]] = {"wixSession": "", "session": "", "wix-session": "; Max-Age=1036800"}


def _is_embedded(same_site: object, *, secure: bool) -> bool:
    """Whether the cookie is for a shop inside other sites' pages.

    Raises:
        ConfigurationError: browsers take no such cookie.
    """
    if same_site not in ("lax", "none"):
        raise ConfigurationError('same_site: expected "lax" or "none"')
    if same_site == "none" and not secure:
        raise ConfigurationError('same_site: browsers take a cookie with "none" only over https, with secure=True')
    return same_site == "none"


def _fitting(name: str, value: str, attributes: str) -> str:
    size = len(name) + len(value)
    if size > _LARGEST:
        raise ConfigurationError(
            f"The visitor's cookie {name} would be {size} bytes, and browsers keep {_LARGEST}. The tokens are too long "
            f"for a cookie: keep them in a storage, with cookie=IdCookie(…)."
        )
    return f"{name}={value}; {attributes}"
