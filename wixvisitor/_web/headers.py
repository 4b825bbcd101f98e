"""HTTP headers: those of a request, and those that an answer gets when it depends on a visitor. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Protocol

import attrs

_SHARED: Final = re.compile(r"(?:^|[\s,])(?:public|s-maxage)(?:$|[\s,=])", re.IGNORECASE)
_QUOTED: Final = re.compile(r'"[^"]*"')
_MAX_PATH: Final = 200
_PATH: Final = re.compile(rf"/[!-:<-~]{{1,{_MAX_PATH}}}")  # what the Path attribute of Set-Cookie can hold
_MAX_PATHS: Final = 16
_SAFE: Final = re.compile(r"(?:^|[\s,])(?:private|no-store)(?:$|[\s,])", re.IGNORECASE)


class Headers(Protocol):
    """A request's headers. Several of one name are read as one, joined."""

    def get(self, name: str, /) -> str | None:
        """Returns the header of this lower-case name, None if there is none."""
        ...


@attrs.frozen
class Additions:
    """The changes to an answer's headers.

    Attributes:
        cookies: one ``Set-Cookie`` each.
        vary: the new ``Vary``, None if it stays as it is.
        cache_control: the new ``Cache-Control``, None if it stays as it is.
    """

    cookies: tuple[str, ...] = attrs.field(default=(), repr=lambda cookies: f"<{len(cookies)}>")
    vary: str | None = None
    cache_control: str | None = None


NOTHING: Final = Additions()
_LOOKED_AT: Final = Additions(vary="Cookie")


def cookies_of(header: str, *starts: str) -> dict[str, list[str]]:
    """Returns the values of the cookies in a ``Cookie`` header by name, each once, in the browser's order.

    Anything that cannot be parsed is skipped: other programs' cookies need not be well-formed.

    Args:
        header: the header's value.
        starts: the prefixes of the names that matter; other cookies are skipped.
    """
    found: dict[str, dict[str, None]] = {}
    for part in header.split(";"):
        pair = part.lstrip()
        if pair.startswith(starts):
            name, is_pair, value = pair.partition("=")
            text = value.strip()
            text = text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
            if is_pair:
                found.setdefault(name.rstrip(), {})[text] = None
    return {name: list(values) for name, values in found.items()}


def longer_paths(path: str) -> list[str]:
    """Returns the paths below ``/`` whose cookies a browser sends with a request (RFC 6265, section 5.1.4).

    The likeliest paths come first: a cookie without a ``Path`` attribute has the directory of its page, without a slash
    at the end. The number of paths is limited, since an answer's headers have to fit into a proxy's buffer.

    Args:
        path: the request's, encoded as the browser sent it.
    """
    ends = [place for place in range(1, min(len(path), _MAX_PATH)) if path[place] == "/"]
    paths = [*(path[:end] for end in ends), path, *(path[: end + 1] for end in ends)]
    return [each for each in dict.fromkeys(paths) if _PATH.fullmatch(each)][:_MAX_PATHS]


def is_shared(cache_control: str) -> bool:
    """Whether a cache may give this answer to other browsers: ``public`` or ``s-maxage`` (RFC 9111, section 5.2.2)."""
    return _SHARED.search(cache_control) is not None


def additions(cookies: Iterable[str], *, vary: str, cache_control: str) -> Additions:
    """Returns the changes to the headers of an answer that depends on the visitor.

    Args:
        cookies: ``Set-Cookie`` headers.
        vary: the answer's own ``Vary``.
        cache_control: the answer's own ``Cache-Control``.
    """
    cookies = tuple(cookies)
    if not cookies and not vary:
        return _LOOKED_AT
    names = [name.strip().lower() for name in vary.split(",")]
    known = "cookie" in names or "*" in names
    return Additions(
        cookies,
        vary=None if known else ", ".join(filter(None, [vary.strip(), "Cookie"])),
        cache_control=_private(cache_control) if cookies else None,
    )


def _private(cache_control: str) -> str | None:
    """Returns a ``Cache-Control`` with which no shared cache gives the cookie to others; None if this one does so.

    A shared cache may store an answer with a cookie (RFC 9111, section 7.3). ``private="X-Name"`` is about one header
    only and does not prevent it. Nor does ``no-cache``: what it stores is given to others after a 304.
    """
    if not cache_control.strip():
        return "private, no-store"
    return None if _SAFE.search(_QUOTED.sub('""', cache_control)) else f"{cache_control.strip()}, private"
