"""HTTP headers: what a request says, and what an answer that knows a visitor has to say. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Protocol

import attrs

_SHARED: Final = re.compile(r"(?:^|[\s,])(?:public|s-maxage)(?:$|[\s,=])", re.IGNORECASE)
_QUOTED: Final = re.compile(r'"[^"]*"')
_MAX_PATH: Final = 200
_PATH: Final = re.compile(rf"/[!-:<-~]{{1,{_MAX_PATH}}}")  # what an attribute of Set-Cookie can hold
_MAX_PATHS: Final = 16
_SAFE: Final = re.compile(r"(?:^|[\s,])(?:private|no-store)(?:$|[\s,])", re.IGNORECASE)


class Headers(Protocol):
    """A request's headers. Several of one name are read as one, joined."""

    def get(self, name: str, /) -> str | None:
        """Returns the header of this lower-case name, None if there is none."""
        ...


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
_LOOKED_AT: Final = Additions(vary="Cookie")


def cookies_of(header: str, *starts: str) -> dict[str, list[str]]:
    """Returns the values of the cookies in a ``Cookie`` header by name, each once, in the browser's order.

    Whatever else is in there is skipped: other people's cookies need not be well-formed.

    Args:
        header: the header's value.
        starts: how a name that matters may begin.
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

    The likeliest come first: a cookie whose path nobody named has the directory of its page, without a slash at the
    end. There are no more than so many, since an answer's headers have to fit into a proxy's buffer.

    Args:
        path: the request's, encoded as the browser sent it.
    """
    ends = [place for place in range(1, min(len(path), _MAX_PATH)) if path[place] == "/"]
    paths = [*(path[:end] for end in ends), path, *(path[: end + 1] for end in ends)]
    return [each for each in dict.fromkeys(paths) if _PATH.fullmatch(each)][:_MAX_PATHS]


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
    """Returns what keeps shared caches from handing on a cookie, which they may (RFC 9111, section 7.3); None: it does.

    ``private="X-Name"`` is about a header only, and does not; what ``no-cache`` stores is handed on after a 304.
    """
    if not cache_control.strip():
        return "private, no-store"
    return None if _SAFE.search(_QUOTED.sub('""', cache_control)) else f"{cache_control.strip()}, private"
