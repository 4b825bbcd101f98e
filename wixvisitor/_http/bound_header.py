"""A request header that goes only where the token goes, across redirects that an HTTP client follows by itself.

httpx and httpx2 copy a request's headers into the next hop's, and remove ``Authorization`` if that is another origin.
An ``auth`` is not asked in between. So the header is put into httpx's own list under a name that is removed together
with ``Authorization``. The list is private, so a copy is tried out first; where that fails the header is not sent.
"""

from __future__ import annotations

import functools
from typing import Any, Final

_TOKEN: Final = b"authorization"


class _Name(bytes):
    """A header's name as httpx compares it when it reads; when httpx removes, it asks for ``lower()``."""

    __slots__ = ()

    def lower(self) -> bytes:
        return _MatchesAuthorization(self)


class _MatchesAuthorization(bytes):
    """Equal to the header's own name, and to ``Authorization``."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return bytes.__eq__(self, other) is True or other == _TOKEN

    __hash__ = bytes.__hash__


def bind(headers: Any, name: str, value: str) -> None:
    """Puts a header on a request; whatever removes ``Authorization`` removes it, too.

    Args:
        headers: httpx's or httpx2's, with the token in them.
        name: the header's; another value of it is replaced.
        value: ASCII; ``""`` removes the header if it was put here.
    """
    kind: Any = type(headers)
    if not supports_binding(kind):
        return
    if value or any(isinstance(known, _Name) for _, known, _ in headers._list):
        headers.pop(name, None)
    if value:
        _append(headers, name, value)


def copy_bound(old: Any, new: Any) -> None:
    """Puts the token of the old headers, and what is bound to it, on the new ones."""
    if "Authorization" not in old:
        return
    new["Authorization"] = old["Authorization"]
    for raw, known, value in getattr(old, "_list", ()):
        if isinstance(known, _Name):
            bind(new, raw.decode(), value.decode())


@functools.cache
def supports_binding(kind: Any) -> bool:
    """Whether this class of headers removes a bound header together with the token, also from a copy."""
    try:
        headers = kind({"Authorization": "token"})
        _append(headers, "X-Bound", "value")
        copied = kind(headers)
        is_sent = copied["X-Bound"] == "value" and (b"X-Bound", b"value") in copied.raw
        copied.pop("Authorization")
        return is_sent and not copied.raw and len(headers.raw) == 2
    except (AttributeError, TypeError, ValueError, LookupError):  # what is private has changed
        return False


def _append(headers: Any, name: str, value: str) -> None:
    raw = name.encode()
    headers._list.append((raw, _Name(raw.lower()), value.encode()))
