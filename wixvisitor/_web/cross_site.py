"""Requests that another site's page sent: how browsers mark them, and what is not done for them. Pure.

Browsers send no Lax cookie with a POST of another site's page, but take the cookie of its answer (RFC 6265bis, sections
5.2 and 5.7). So an answer that gave the seeming newcomer a cookie would replace the shopper's own, and cost the cart.
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
    "Another site's page sent this request without the visitor's cookie: browsers keep a SameSite=Lax cookie back from "
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
    """Whether the browser says that another site's page sent this.

    ``Sec-Fetch-Site`` says it (Fetch Metadata, section 2.3). A browser that is too old for it sends ``Origin``, whose
    host is compared with the host that was asked for. Cookies know no ports, so that neither does this.
    """
    site = (headers.get("sec-fetch-site") or "").strip().lower()
    if site:
        return site == "cross-site"
    origin = headers.get("origin")
    if origin is None:  # no browser, or nothing that a page of another site could make one send
        return False
    asked = [headers.get("host") or "", *(headers.get("x-forwarded-host") or "").split(",")]  # no page can set either
    host = _host(origin.strip())
    return host is None or host not in {_host(f"//{name.strip()}") for name in asked}


def is_listed(headers: Headers, trusted: frozenset[str]) -> bool:
    """Whether the page that sent this is of an origin that the application trusts."""
    return (headers.get("origin") or "").strip().lower() in trusted


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def checked_origins(origins: Sequence[str]) -> frozenset[str]:
    """Returns origins as browsers spell them in ``Origin`` (RFC 6454, section 6.2).

    Raises:
        ConfigurationError: one is no origin; its text says how one looks.
    """
    if isinstance(origins, str | bytes) or not isinstance(origins, Iterable):
        raise ConfigurationError("trusted_origins: expected several origins; put the one into a tuple")
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
