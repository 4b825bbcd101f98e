"""A request header that is bound to the token: after a redirect it is sent only if the token is sent.

httpx and httpx2 follow redirects without calling an ``auth`` in between. They copy the request's headers, and remove
``Authorization`` if the redirect leads to another origin. So the bound header is added to httpx's list of headers under
a name that httpx removes together with ``Authorization``. The list is private, so ``supports_binding`` tests it on a
copy first. If the test fails, the header is not sent.
"""

from __future__ import annotations

import functools
from typing import Any, Final

_TOKEN: Final = b"authorization"


class _Name(bytes):
    """A header's name. httpx compares the name itself to read a header, and ``lower()`` of it to remove one."""

    __slots__ = ()

    def lower(self) -> bytes:
        return _MatchesAuthorization(self)


class _MatchesAuthorization(bytes):
    """A name that equals the header's own name and ``Authorization``, so that removing either removes the header."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return bytes.__eq__(self, other) is True or other == _TOKEN

    __hash__ = bytes.__hash__


def bind(headers: Any, name: str, value: str) -> None:
    """Adds a header to a request. Code that removes ``Authorization`` removes it, too.

    Args:
        headers: the request's headers, of httpx or httpx2, with the token in them.
        name: the header's name. An existing value is replaced.
        value: ASCII; ``""`` removes the header if this function added it.
    """
    kind: Any = type(headers)
    if not supports_binding(kind):
        return
    if value or any(isinstance(known, _Name) for _, known, _ in headers._list):
        headers.pop(name, None)
    if value:
        _append(headers, name, value)


def copy_bound(old: Any, new: Any) -> None:
    """Copies the token and the headers bound to it from the old headers to the new ones."""
    if "Authorization" not in old:
        return
    new["Authorization"] = old["Authorization"]
    for raw, known, value in getattr(old, "_list", ()):
        if isinstance(known, _Name):
            bind(new, raw.decode(), value.decode())


@functools.cache
def supports_binding(kind: Any) -> bool:
    """Whether this class of headers removes a bound header together with the token, also in a copy of the headers."""
    try:
        headers = kind({"Authorization": "token"})
        _append(headers, "X-Bound", "value")
        copied = kind(headers)
        is_sent = copied["X-Bound"] == "value" and (b"X-Bound", b"value") in copied.raw
        copied.pop("Authorization")
        return is_sent and not copied.raw and len(headers.raw) == 2
    except (AttributeError, TypeError, ValueError, LookupError):  # this release's private list is different
        return False


def _append(headers: Any, name: str, value: str) -> None:
    raw = name.encode()
    headers._list.append((raw, _Name(raw.lower()), value.encode()))
