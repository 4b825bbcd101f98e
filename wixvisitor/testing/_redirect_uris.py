"""Where a browser may be sent, and how parameters get into an address. Pure."""

import ipaddress
import re
from collections.abc import Collection, Mapping
from urllib.parse import urlencode, urlsplit, urlunsplit

# No white space, no control character, no half surrogate pair, and no backslash, which browsers take for a slash.
_CLEAN = re.compile(r"[^\x00-\x20\x7f-\xa0\\\ud800-\udfff]{1,2048}")


def is_redirect_uri(uri: str, allowed: Collection[str] | None) -> bool:
    """Whether a login may lead to this address: it is listed, or without a list, a usual one.

    RFC 6749 section 3.1.2: it has no fragment. RFC 9700 section 2.1: it is compared to the letter.
    """
    if "#" in uri:
        return False
    return _is_usual(uri) if allowed is None else uri in allowed


def is_return_url(url: str, allowed: Collection[str] | None) -> bool:
    """Whether a flow that is no login may return to this address: its origin is that of a listed address."""
    if allowed is None:
        return _is_usual(url)
    return _is_usual(url) and _origin_parts(url) in {_origin_parts(listed) for listed in allowed}


def with_parameters(url: str, parameters: Mapping[str, str], *, in_fragment: bool = False) -> str:
    """Adds parameters to an address, which keeps those that it has."""
    parts = urlsplit(url)
    added = urlencode(parameters)
    if in_fragment:
        return urlunsplit(parts._replace(fragment=added))
    return urlunsplit(parts._replace(query=f"{parts.query}&{added}" if parts.query else added))


def origin_of(url: str) -> str:
    """The origin of an address that is allowed (RFC 6454 section 6.2)."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _is_usual(url: str) -> bool:
    """Whether this is ``https``, or ``http`` of this machine (RFC 8252 section 7.3), with no user and no oddities."""
    if _CLEAN.fullmatch(url) is None:
        return False
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    host = parts.hostname or ""
    if not host or "@" in parts.netloc:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_this_machine(host))


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _origin_parts(url: str) -> tuple[str, str, int | None]:
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return ("", url, None)
    return (parts.scheme, parts.hostname or "", port)
