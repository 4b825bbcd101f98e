"""The content of a visitor's cookie, its name, and its largest size. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final, Literal

import attrs

from wixvisitor._tokens import EMPTY_TOKENS, Tokens
from wixvisitor.errors import ConfigurationError

LARGEST: Final = 4_096  # bytes of one cookie, name and value; RFC 6265, section 6.1
LARGEST_TOGETHER: Final = 6_000  # bytes of one visitor's cookies; a request's Cookie header has to fit 8,190 (aiohttp)
CURE: Final = (
    "The tokens are too long for a cookie: keep them in a storage, with cookie=IdCookie(…). Nothing was changed."
)


SameSite = Literal["lax", "none"]
SITES: Final[Mapping[str, str]] = {"lax": "SameSite=Lax", "none": "SameSite=None; Partitioned"}


class Unreadable(Exception):
    """A cookie that is not used. The exception's text says why, and holds nothing of the cookie's content."""


class Foreign(Unreadable):
    """A cookie that is not used, since it seems to belong to another site on the same host."""


@attrs.frozen
class CookieContent:
    """The content of a cookie.

    Attributes:
        key: the visitor's key.
        tokens: the visitor's tokens, if the cookie holds them; else ``EMPTY_TOKENS``.
        is_due: whether the cookie should be written again: it was sealed with an older key, or a tenth of its life
            is over.
        is_derived: whether the browser sent several visitors, and this one replaces them: see ``SiteCookie``.
    """

    key: str = attrs.field(repr=False)
    tokens: Tokens = EMPTY_TOKENS
    is_due: bool = False
    is_derived: bool = False


@attrs.frozen
class Opened:
    """The content of a cookie, without a check of its age.

    Attributes:
        content: the content.
        since: when it was written, in seconds since the epoch; None if it does not hold this.
        is_old: whether it was sealed with an older key.
        is_split: whether it has parts in further cookies, so that the content also depends on these.
    """

    content: CookieContent
    since: float | None = None
    is_old: bool = False
    is_split: bool = False


@attrs.frozen
class Names:
    """The names of one site's cookie.

    Attributes:
        first: the usual name.
        second: a name that is read if no readable cookie has the first name.
        is_common: whether another site may use the first name as well, since the application, or the page's front
            end, has chosen it. Then only this site uses the second name.
    """

    first: str
    second: str
    is_common: bool


def site_name(name: str, client_id: str) -> str:
    """Returns a name that no other site on the host has: the name, and eight characters made from the client ID."""
    site = hashlib.sha256(b"wixvisitor site\0" + client_id.encode("utf-8", "surrogatepass"))
    return f"{name}-{site.hexdigest()[:8]}"


def size_of(name: str, value: str) -> int:
    """Returns the bytes of ``name=value``, both ASCII."""
    return len(name) + 1 + len(value)


def fitting(name: str, value: str, attributes: str) -> str:
    """Returns the ``Set-Cookie`` header.

    Raises:
        ConfigurationError: it is too large, and browsers would not keep it.
    """
    size = size_of(name, value)
    if size > LARGEST:
        raise ConfigurationError(
            f"The visitor's cookie {name} would be {size} bytes, and browsers keep {LARGEST}. {CURE}"
        )
    return f"{name}={value}; {attributes}"


def is_embedded(same_site: object, *, secure: bool) -> bool:
    """Whether the cookie is for a shop that is embedded in other sites' pages.

    Raises:
        ConfigurationError: browsers do not accept such a cookie.
    """
    if same_site not in ("lax", "none"):
        raise ConfigurationError('same_site: expected "lax" or "none"')
    if same_site == "none" and not secure:
        raise ConfigurationError('same_site: browsers accept a cookie with "none" only over https, with secure=True')
    return same_site == "none"
