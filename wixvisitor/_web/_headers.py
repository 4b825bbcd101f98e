"""HTTP headers: what a request says, and what an answer that knows a visitor has to say. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

_SHARED: Final = re.compile(r"(?:^|[\s,])(?:public|s-maxage)(?:$|[\s,=])", re.IGNORECASE)
_QUOTED: Final = re.compile(r'"[^"]*"')
_SAFE: Final = re.compile(r"(?:^|[\s,])(?:private|no-store)(?:$|[\s,])", re.IGNORECASE)


@attrs.frozen
class Additions:
    """What an answer's headers get.

    Attributes:
        cookies: one ``Set-Cookie`` each.
        vary: the new ``Vary``, None if it stays as it is.
        cache_control: the new ``Cache-Control``, None if it stays as it is.
    """

    cookies: tuple[str, ...] = attrs.field(default=(), repr=lambda cookies: f"<{len(cookies)}>")
    vary: str | None = None
    cache_control: str | None = None


NOTHING: Final = Additions()


def cookie_values(header: str, name: str) -> list[str]:
    """Returns the values of the cookies of this name in a ``Cookie`` header, each once, in the browser's order.

    Whatever else is in there is skipped: other people's cookies need not be well-formed.
    """
    pairs = (pair.partition("=") for pair in header.split(";"))
    found = (value.strip() for key, _, value in pairs if key.strip() == name)
    return list(dict.fromkeys(value[1:-1] if value[:1] == value[-1:] == '"' else value for value in found))


def is_document(method: str, headers: Mapping[str, str]) -> bool:
    """Whether the browser navigates to this page, so that its scripts' calls will follow.

    Browsers say it with ``Sec-Fetch-Dest`` (Fetch Metadata, section 2.1). One that is too old for it is known by
    asking for HTML.
    """
    if method not in ("GET", "HEAD"):
        return False
    destination = headers.get("sec-fetch-dest")
    if destination is None:
        return "text/html" in headers.get("accept", "")
    return destination == "document"


def is_frame(method: str, headers: Mapping[str, str]) -> bool:
    """Whether the browser opens this page inside another one."""
    return method in ("GET", "HEAD") and headers.get("sec-fetch-dest") in ("iframe", "frame")


def is_shared(cache_control: str) -> bool:
    """Whether a cache may hand this answer to other people: ``public`` or ``s-maxage`` (RFC 9111, section 5.2.2)."""
    return _SHARED.search(cache_control) is not None


def additions(cookies: Iterable[str], *, vary: str, cache_control: str) -> Additions:
    """Returns what an answer gets that depends on the visitor.

    Args:
        cookies: ``Set-Cookie`` headers.
        vary: the answer's own ``Vary``.
        cache_control: the answer's own ``Cache-Control``.
    """
    cookies = tuple(cookies)
    names = [name.strip().lower() for name in vary.split(",")]
    known = "cookie" in names or "*" in names
    return Additions(
        cookies,
        vary=None if known else ", ".join(filter(None, [vary.strip(), "Cookie"])),
        cache_control=_private(cache_control) if cookies else None,
    )


def _private(cache_control: str) -> str | None:
    """Returns what keeps shared caches from handing on a cookie, which they may (RFC 9111, section 7.3); None: it does.

    ``private="X-Name"`` is about a header only, and does not; what ``no-cache`` stores is handed on after a 304.
    """
    if not cache_control.strip():
        return "private, no-store"
    return None if _SAFE.search(_QUOTED.sub('""', cache_control)) else f"{cache_control.strip()}, private"
