"""Requests that another site's page sent: how browsers mark them, and which are turned down. Pure.

Browsers send no Lax cookie with a POST from another site's page, but store its answer's cookie (RFC 6265bis, sections
5.2 and 5.7). Such a request looks like one of a new shopper. A cookie in its answer would replace the shopper's
own cookie, and the cart would be lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import urlsplit

from wixvisitor._web.headers import Headers
from wixvisitor.errors import ConfigurationError

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # RFC 9110, section 9.2.1
_PORTS: Final = {"https": 443, "http": 80}

WITHHELD: Final = (
    "Another site's page sent this request without the visitor's cookie: browsers send no SameSite=Lax cookie with "
    "such a POST. So it is unknown who logs in or out. Let the callback be a GET (responseMode=query), or answer it "
    "with a 303 to a GET that finishes the login. Nothing was changed."
)
UNTRUSTED: Final = (
    "Another site's page sent this request, and its Origin is not in trusted_origins, so it may neither log in nor "
    "out. Add the origin, or let the callback be a GET (responseMode=query), or answer it with a 303 to a GET that "
    "finishes the login. Nothing was changed."
)


def is_unsafe(method: str) -> bool:
    """Whether a request by this method may change something."""
    return method.upper() not in _SAFE


def is_cross_site(headers: Headers) -> bool:
    """Whether the browser says that another site's page sent this request.

    ``Sec-Fetch-Site`` says it (Fetch Metadata, section 2.3). A browser that is too old for it sends ``Origin``, whose
    host is compared with the requested host. Ports are ignored, as cookies ignore them.
    """
    site = (headers.get("sec-fetch-site") or "").strip().lower()
    if site:
        return site == "cross-site"
    origin = headers.get("origin")
    if origin is None:  # not a browser, or a request that another site's page could not cause
        return False
    asked = [headers.get("host") or "", *(headers.get("x-forwarded-host") or "").split(",")]  # no page can set them
    host = _host(origin.strip())
    return host is None or host not in {_host(f"//{name.strip()}") for name in asked}


def is_listed(headers: Headers, trusted: frozenset[str]) -> bool:
    """Whether the page that sent this request has an origin that the application trusts."""
    return (headers.get("origin") or "").strip().lower() in trusted


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def checked_origins(origins: Sequence[str]) -> frozenset[str]:
    """Returns origins as browsers spell them in ``Origin`` (RFC 6454, section 6.2).

    Raises:
        ConfigurationError: one of them is no origin; the text shows what an origin looks like.
    """
    if isinstance(origins, str | bytes) or not isinstance(origins, Iterable):
        raise ConfigurationError("trusted_origins: expected a sequence of origins; put a single one into a tuple")
    return frozenset(map(_checked, origins))


def _checked(origin: object) -> str:
    found = _spelled(origin) if isinstance(origin, str) else None
    if found is None:
        raise ConfigurationError("trusted_origins: expected origins like https://partner.example, without a path")
    return found


def _spelled(origin: str) -> str | None:
    try:
        parts = urlsplit(origin)
        host, port = (parts.hostname or "").encode("ascii" if origin.isascii() else "idna").decode(), parts.port
    except ValueError:
        return None
    more = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme not in _PORTS or more or not host or set(host) & set("* %_"):
        return None
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}" + ("" if port in (None, _PORTS[parts.scheme]) else f":{port}")
