"""The cookies that keep a browser's visitor: their content and their format. Needs the extra ``crypto``.

=====================  ==========================================  ================================================
cookie                 holds                                       tokens are
=====================  ==========================================  ================================================
:class:`IdCookie`      an id, sealed: it cannot be forged          in the pool's storage
:class:`SealedCookie`  the tokens, sealed with AES-256-GCM         in the cookie; no store
:class:`SharedCookie`  the tokens, in the clear                    in the cookie; a JavaScript front end has them too
=====================  ==========================================  ================================================

The first two are bound to the client ID and the cookie's name: a cookie of another site, or with another name, does not
open. Your code makes these objects and gives them to ``setup``. Their methods are for the package itself.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from wixvisitor._checks import checked_tokens
from wixvisitor._tokens import AccessToken, Tokens
from wixvisitor._wire.redaction import drops_frames
from wixvisitor.cookies import _parts
from wixvisitor.cookies._content import (
    CURE,
    LARGEST,
    LARGEST_TOGETHER,
    SITES,
    CookieContent,
    Foreign,
    Names,
    Opened,
    SameSite,
    Unreadable,
    fitting,
    site_name,
    size_of,
)
from wixvisitor.cookies._sealed import NO_COOKIES, PURPOSES, SealedForm
from wixvisitor.cookies._spelling import content_of, tokens_of
from wixvisitor.errors import ConfigurationError
from wixvisitor.storage._sealing import Sealer, generate_key

__all__ = ["IdCookie", "SealedCookie", "SharedCookie", "generate_key"]


class IdCookie(SealedForm):
    """A random id of 256 bits, sealed. The pool's storage holds the visitor under this id. For servers.

    Invalid values and foreign ids are ignored without asking the storage. Login and logout change the id. A login's id
    begins with the first 120 bits of the id before it, so that a logout finds all logins that came from one id.

    Args:
        keys: the first one seals, all of them open; 32 random bytes each, as bytes or as base64 text:
            ``generate_key()`` makes one. To rotate, deploy ``keys=[old, new]`` everywhere, then ``[new, old]``; a
            cookie is sealed again when a handler next uses its visitor.
        name: the cookie's name, without the prefix ``__Host-`` that it gets; None: ``wixvisitor-`` and eight characters
            made from the client ID, so that two sites on one host have different names.
        max_age: seconds that the browser keeps it; they start again after a tenth of them; at most 400 days.
        secure: False is for development over plain http, where browsers accept no secure cookie. The cookie then has
            no ``Secure`` and no prefix, and another site on the same host could plant one.
        same_site: ``"lax"``, or ``"none"`` for a shop inside other sites' pages (an iframe): the cookie is then also
            ``Partitioned``, with one cookie for each embedding site. See ``trusted_origins`` of ``setup``.

    Raises:
        ConfigurationError: an argument is wrong.

    Concurrency: immutable, share it freely.
    Cancellation: nothing in it waits.
    """

    holds_tokens = False
    _purpose = PURPOSES[0]


class _Reservation(IdCookie):
    """Reserves a visitor for a first page, if the visitor's cookie holds no id. Only this process can read it."""

    def names(self, client_id: str) -> Names:
        """Returns its only name."""
        own = site_name(self.name, client_id)
        return Names(own, own, is_common=False)


class SealedCookie(SealedForm):
    """The tokens themselves, sealed with AES-256-GCM: no store is needed. Make the pool without a storage.

    It has three limits. It cannot revoke a cookie: a copy stays valid until Wix refuses its refresh token, even after a
    logout. Several processes do not agree while a visitor is being created: if a first page's parallel calls go to
    different processes, each may create one. And it cannot carry tokens that change after a response has started. Each
    process remembers its visitors for 2 minutes, which is enough for the calls that one page makes to one process.

    Tokens that are too large for one cookie are split over several, 6,000 bytes together. ``set_tokens`` raises for
    tokens that do not fit. If renewed tokens do not fit, the cookie keeps the refresh token only.

    Its arguments are those of ``IdCookie``.

    Raises: as ``IdCookie``.
    Concurrency: immutable, share it freely.
    Cancellation: nothing in it waits.
    """

    holds_tokens = True
    _purpose = PURPOSES[1]

    @drops_frames
    def write_all(self, content: CookieContent, client_id: str, now: float, *, name: str | None = None) -> list[str]:
        """Returns the ``Set-Cookie`` headers: one; or one with the refresh token, and several with the access token.

        Raises:
            ConfigurationError: they are too large.
        """
        name = name or self.names(client_id).first
        try:
            return [self.write(content, client_id, now, name=name)]
        except ConfigurationError:
            pairs = self._split(content, (client_id, name), now)
        size = sum(size_of(*pair) for pair in pairs)
        if size > LARGEST_TOGETHER or max(size_of(*pair) for pair in pairs) > LARGEST:
            raise ConfigurationError(
                f"The visitor's cookies {name} would be {size} bytes; browsers keep {LARGEST} in each cookie, and "
                f"wixvisitor writes at most {LARGEST_TOGETHER} in all. {CURE}"
            )
        return [f"{part}={value}; {self._attributes}" for part, value in pairs]

    def _split(self, content: CookieContent, context: tuple[str, str], now: float) -> list[tuple[str, str]]:
        """Returns names and values. The first cookie is enough to keep the visitor, even if the parts get lost."""
        write, tokens = secrets.token_urlsafe(9), content.tokens.to_dict()
        parts = _parts.split(context[1], self._seal(tokens.pop("accessToken"), (*context, write)))
        first = {"id": content.key, "at": int(now), "tokens": tokens, "write": write, "parts": len(parts)}
        return [(context[1], self._seal(first, context)), *parts]


class SharedCookie:
    """The tokens in the clear, so that ``@wix/sdk`` in the page and the server are the same visitor.

    The security trade-off: JavaScript has to read this cookie, so it cannot be ``HttpOnly``, and nothing is sealed.
    A script in the page (XSS) can read the tokens of the visitor or of a logged-in member. A site that can write
    cookies for the host can plant some. Use it only if a front end needs the tokens, for visitors rather than members.

    Args:
        name: the name, which also selects a front end's format. ``wixSession`` (@wix/astro) is
            ``{"clientId", "tokens"}``, and ends with the browser. ``session`` (wix-headless-example, minimal-examples)
            is the tokens, and ends with the browser. ``wix-session`` (headless-templates/commerce) is the tokens, for
            12 days. All are written as URL-encoded JSON, as ``encodeURIComponent`` does it, and are read in every form
            that front ends use. A ``wixSession`` of another client ID is neither used nor overwritten. One that holds
            only the tokens (headless-templates/external-identity-provider) is used.
        secure: False is for development over plain http; the name stays.
        same_site: as for ``IdCookie``.

    Tokens that were renewed here are written back, so that the page has them too. As with ``SealedCookie``, each
    process remembers its visitors for 2 minutes. For a first page's parallel calls a second cookie, sealed with a key
    of this process, reserves their visitor meanwhile.

    Raises:
        ConfigurationError: the name is none of these.

    Concurrency: immutable, share it freely.
    Cancellation: nothing in it waits.
    """

    holds_tokens: Final = True

    def __init__(self, name: str = "wixSession", *, secure: bool = True, same_site: SameSite = "lax") -> None:
        if name not in _LIVES:
            raise ConfigurationError(f"name: expected one of {', '.join(_LIVES)}")
        self.name = name
        self.is_secure = secure
        self._reserving = _Reservation(
            [generate_key()], name="wixvisitor-new", max_age=120, secure=secure, same_site=same_site
        )
        self.reservation: SealedForm | None = self._reserving
        self.is_embedded = self._reserving.is_embedded
        self._attributes = f"Path=/; {'Secure; ' if secure else ''}{SITES[same_site]}"

    def sealer_for(self, purpose: str) -> Sealer | None:
        """Returns None, since this cookie has no keys that other processes have."""
        del purpose
        return None

    def names(self, client_id: str) -> Names:
        """Returns the front end's name, and a second one, in case another site's front end uses the first."""
        return Names(self.name, site_name(self.name, client_id), is_common=True)

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
        """Returns what the cookie says; see ``IdCookie.read``."""
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
        """Returns what the cookie says, whatever the time is; see ``IdCookie.read``."""
        del name, others
        if len(value) > 2 * LARGEST:
            raise Unreadable("it is too long to be one of ours")
        try:
            found = content_of(value)
            inner = found.get("tokens", found) if self.name == "wixSession" else found
            self._check_site(found, client_id)
            tokens = checked_tokens(tokens_of(inner))
        except (ValueError, AttributeError, RecursionError, ConfigurationError):
            raise Unreadable("it is not the JSON of @wix/sdk's tokens") from None
        key = self.key_of(tokens)
        if key is None:
            raise Unreadable("it holds no tokens")
        return Opened(CookieContent(key, tokens))

    def dated(self, opened: Opened, now: float) -> CookieContent:
        """Returns the content of an opened cookie. It does not depend on the time, as this cookie holds none."""
        del now
        return opened.content

    def _check_site(self, found: Mapping[str, Any], client_id: str) -> None:
        owner = found.get("clientId")
        if owner is not None and str(owner).lower() != client_id.lower():
            raise Foreign("it belongs to another client ID")

    @drops_frames
    def write(self, content: CookieContent, client_id: str, now: float, *, name: str | None = None) -> str:
        """Returns the ``Set-Cookie`` header; see ``IdCookie.write``."""
        del now
        data = content.tokens.to_dict()
        if self.name == "wixSession":
            data = {"clientId": client_id, "tokens": data}
        text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
        hidden = "" if name in (None, self.name) else "; HttpOnly"  # no front end reads it
        attributes = f"{self._attributes}{_LIVES[self.name]}{hidden}"
        return fitting(name or self.name, quote(text, safe="!~*'()"), attributes)

    def write_all(self, content: CookieContent, client_id: str, now: float, *, name: str | None = None) -> list[str]:
        """Returns the ``Set-Cookie`` headers: only one, since front ends read a single cookie."""
        return [self.write(content, client_id, now, name=name)]

    def clear(self, name: str | None = None, path: str = "/") -> str:
        """Returns the ``Set-Cookie`` header that removes it."""
        return f"{name or self.name}=; {self._attributes.replace('Path=/', f'Path={path}', 1)}; Max-Age=0"

    def without_access(self, tokens: Tokens, now: float) -> Tokens:
        """Returns the part of too large tokens that fits: the refresh token, and an empty access token that ends now.

        Front ends renew a token that has just ended, but treat one that ended long ago as a lost visitor.
        """
        return Tokens(AccessToken("", int(now)), tokens.refresh_token)

    def derive(self, keys: Iterable[str]) -> str:
        """Returns the key that replaces several; see ``IdCookie.derive``. It is derived with a key of this process."""
        return self._reserving.derive(keys)

    @drops_frames
    def key_of(self, tokens: Tokens) -> str | None:
        """Returns the key of the visitor with these tokens: the cookie has no id, so it is the refresh token's hash."""
        value = tokens.refresh_token.value or tokens.access_token.value
        return hashlib.sha256(f"wixvisitor shared\0{value}".encode("utf-8", "replace")).hexdigest() if value else None

    def __repr__(self) -> str:
        return f"<SharedCookie {self.name!r}>"


VisitorCookie = IdCookie | SealedCookie | SharedCookie

_LIVES: Final[Mapping[str, str]] = {"wixSession": "", "session": "", "wix-session": "; Max-Age=1036800"}
