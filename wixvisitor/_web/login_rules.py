"""The rules of the login's routes: where a browser may go, who may post, and what a pending login holds. Pure.

Rule 1, WITHIN THE SITE: a browser is sent to a path of this site, or to an address that Wix has given.
Rule 2, OWN PAGES: a POST counts only if a page of this site's origin sent it. That is the origin of ``redirect_uri``,
and no request header says what it is.
Rule 3, ONE BROWSER: a login ends in the browser in which it began, for the visitor who began it, within 30 minutes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from typing import Any, Final, Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

import attrs

from wixvisitor._web.cross_site import is_cross_site
from wixvisitor._web.headers import Headers
from wixvisitor.errors import ConfigurationError

LIFE: Final = 1_800  # seconds that a login may take
MOST: Final = 3  # logins that a browser may have begun at the same time
LARGEST: Final = 1_024  # bytes of a login's cookie, name and value
MAX_BODY: Final = 16_384  # bytes of a form
MAX_NEXT: Final = 400  # characters of the path to which a login leads

_MAX_FIELDS: Final = 50
_LOOPBACK: Final = re.compile(r"localhost|[a-z0-9-]+\.localhost|127(\.[0-9]{1,3}){3}|::1")
_PLAIN: Final = re.compile(r"[!-~]+")
_TWICE: Final = 2  # how often a path may have been encoded
_IN_PATH: Final = "/%:@!$&'()*+,;=~?#\\"  # RFC 3986, sections 3.3 to 3.5; and a backslash, which is judged later
_PORTS: Final = {"https": 443, "http": 80}


# Rule 1, WITHIN THE SITE


def safe_next(target: str | None, default: str, own: tuple[str, ...] = ()) -> str:
    """Returns the path to which a browser may be sent, ``default`` if the given one may lead out of the site.

    Browsers read ``//host`` as another host, a backslash as a slash, and skip tabs (URL standard, section 4.4). What a
    server or a script might decode or shorten to one of these is not taken either.

    Args:
        target: a path with an optional query, as the browser gave it.
        default: a path of the application's.
        own: the paths of the login's own routes, to which no login leads.
    """
    if not target or len(target) > MAX_NEXT or not target.isprintable():
        return default
    text = quote(target, safe=_IN_PATH, errors="replace")
    if len(text) > MAX_NEXT:
        return default
    path = re.split("[?#]", text)[0]
    for _ in range(_TWICE + 1):
        if not _is_path(path):
            return default
        path = unquote(path, errors="replace")
    if not _is_path(path) or path.rstrip("/") in own:
        return default
    return text


def _is_path(path: str) -> bool:
    """Whether this is the path of a page: it begins with one slash, and no host can be read in it."""
    if not path.startswith("/") or "\\" in path or "//" in path:
        return False
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in path):
        return False
    return not {".", ".."} & set(path.split("/"))


def with_query(path: str, **fields: str) -> str:
    """Returns the path with these fields in its query; empty ones are left out."""
    pairs = "&".join(f"{name}={quote(value, safe='')}" for name, value in fields.items() if value)
    return f"{path}{'&' if '?' in path else '?'}{pairs}" if pairs else path


@attrs.frozen
class Place:
    """Where the login's routes are, as browsers see it.

    Attributes:
        redirect_uri: the address to which Wix sends the browser back.
        origin: the site's, as browsers spell it in ``Origin``.
        prefix: the path below which the routes are; ``""`` for the root.
        callback: the path of ``redirect_uri``.
    """

    redirect_uri: str
    origin: str
    prefix: str
    callback: str

    @classmethod
    def of(cls, redirect_uri: object) -> Self:
        """Returns the place of the routes beside this callback.

        Raises:
            ConfigurationError: the address is none to which Wix can send a browser.
        """
        parts = _parts(redirect_uri)
        if parts is None:
            raise ConfigurationError(
                "redirect_uri: expected the callback's address as it is listed at Wix, like "
                "https://shop.example/auth/callback; http is for localhost only"
            )
        scheme, host, port, path = parts
        place = "" if port in (None, _PORTS[scheme]) else f":{port}"
        return cls(str(redirect_uri), f"{scheme}://{host}{place}", path.rpartition("/")[0], path)

    def path(self, name: str) -> str:
        """Returns the path of a route."""
        return f"{self.prefix}/{name}"

    @property
    def own(self) -> tuple[str, ...]:
        """The paths of all routes."""
        return (self.callback, *(self.path(name) for name in ("login", "logout", "register", "verify")))


def _parts(redirect_uri: object) -> tuple[str, str, int | None, str] | None:
    if not isinstance(redirect_uri, str) or not _PLAIN.fullmatch(redirect_uri) or "\\" in redirect_uri:
        return None
    try:
        parts = urlsplit(redirect_uri)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not host or parts.query or parts.fragment or "@" in parts.netloc:
        return None
    if parts.scheme == "http" and not _LOOPBACK.fullmatch(host):
        return None
    if not _is_path(parts.path) or parts.path.endswith("/"):
        return None
    return parts.scheme, f"[{host}]" if ":" in host else host, port, parts.path


# Rule 2, OWN PAGES


def is_own_page(headers: Headers, origin: str) -> bool:
    """Whether a page of this origin sent this POST.

    Browsers say it with ``Origin`` (Fetch, section 3.2) and ``Sec-Fetch-Site`` (Fetch Metadata, section 2.3), and no
    page can change them. One of them has to be there, and none may name another site. A page whose ``Referrer-Policy``
    is ``no-referrer`` sends ``Origin: null``; then only ``Sec-Fetch-Site`` counts.
    """
    site = (headers.get("sec-fetch-site") or "").strip().lower()
    sender = (headers.get("origin") or "").strip().lower()
    if site and site != "same-origin":
        return False
    if not sender or sender == "null":
        return site == "same-origin"
    return sender == origin


def is_prefetch(headers: Headers) -> bool:
    """Whether the browser loads a page that the shopper may never open (``Sec-Purpose``, Fetch, section 3.7)."""
    names = ("sec-purpose", "purpose", "x-purpose", "x-moz")
    return any(re.search(r"prefetch|prerender|preview", (headers.get(name) or "").lower()) for name in names)


def is_in_background(headers: Headers) -> bool:
    """Whether another site's page loads this without showing it: as an image, a script or a frame."""
    destination = (headers.get("sec-fetch-dest") or "document").strip().lower()
    return destination != "document" and is_cross_site(headers)


# What a browser sends


def single_fields(text: str) -> dict[str, str]:
    """Returns the fields of a query or form that are there once (RFC 6749, section 3.1)."""
    try:
        found = parse_qs(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="replace")
    except ValueError:
        return {}
    return {name: values[0] for name, values in found.items() if len(values) == 1}


def fields_of(body: bytes, content_type: str) -> tuple[dict[str, Any], bool] | None:
    """Returns the fields of a form or of a JSON object, and whether it is JSON; None if it is neither.

    ``profile.firstName`` of a form is ``firstName`` in the object ``profile``.
    """
    try:
        text = body.decode()
        if is_json(content_type):
            content = json.loads(text)
            json.dumps(content, ensure_ascii=False).encode()  # half a surrogate pair could not be sent on
            return (content, True) if isinstance(content, dict) else None
    except (ValueError, RecursionError):
        return None
    if _kind(content_type) != "application/x-www-form-urlencoded":
        return None
    fields: dict[str, Any] = dict(single_fields(text))
    profile = {name.partition(".")[2]: fields[name] for name in fields if name.startswith("profile.")}
    return ({**fields, "profile": profile} if profile else fields), False


def is_json(content_type: str | None) -> bool:
    """Whether this ``Content-Type`` is JSON's."""
    return _kind(content_type or "") == "application/json"


def _kind(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


# Rule 3, ONE BROWSER


def cookie_part(state: str) -> str:
    """Returns what the state adds to its cookie's name. The name tells nothing of the state."""
    return hashlib.sha256(f"wixvisitor login\0{state}".encode("utf-8", "replace")).hexdigest()[:12]


@attrs.frozen
class Pending:
    """What is kept of a login, or of a verification by email, until the browser comes back.

    Attributes:
        since: when it began, in seconds since the epoch.
        owner: the visitor who began it; see ``Visit.owner``.
        state: the login's state, or the state token of a verification.
        secret: the login's code verifier.
        target: where the browser goes after that.
        is_silent: whether Wix was asked without a page, so that a refusal is no error.
    """

    since: int
    owner: str = attrs.field(repr=False)
    state: str = attrs.field(repr=False)
    secret: str = attrs.field(repr=False)
    target: str
    is_silent: bool = False

    def to_json(self) -> bytes:
        """Returns it as JSON, which holds secrets."""
        return json.dumps(attrs.astuple(self), separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Returns what ``to_json`` wrote.

        Raises:
            ValueError: it is something else.
        """
        values = json.loads(text)
        kinds = [int, str, str, str, str, bool]
        if not isinstance(values, list) or list(map(type, values)) != kinds:
            raise ValueError("this is no pending login")
        return cls(*values)

    def is_over(self, now: float) -> bool:
        """Whether it took too long. A time in the future counts as well: no login began there."""
        return not -60 <= now - self.since <= LIFE


def is_same(one: str | None, other: str) -> bool:
    """Whether two texts are the same, in constant time."""
    return hmac.compare_digest((one or "").encode(), other.encode())


def checked_path(path: Any, name: str) -> str:
    """Returns a path of the application's.

    Raises:
        ConfigurationError: it may lead out of the site.
    """
    if not isinstance(path, str) or safe_next(path, "") != path or "#" in path:
        raise ConfigurationError(f"{name}: expected a path within the site, like /account")
    return path


def is_prefix(path: object) -> bool:
    """Whether this can stand before a route's path."""
    return isinstance(path, str) and (not path or (_is_path(path) and not path.endswith("/")))


def text_of(fields: Mapping[str, Any], name: str) -> str:
    """Returns a field's text, ``""`` if there is none."""
    value = fields.get(name)
    return value if isinstance(value, str) else ""
