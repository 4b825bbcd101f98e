"""Learns which routes answer 401 whatever the token is, such as those of an app that is not installed. Pure: no clock.

A 401 costs one renewal per visitor and minute. 250 shoppers on such a route would use up the site's limit at the token
endpoint. So a pool learns these routes (``decision``, rule 3):

1. A route is learned once ``STREAK`` different visitors in a row had a fresh token and their replay was rejected.
2. A learned route causes at most ``MAX_RENEWALS`` renewals in any minute. Earlier renewals of that minute count.
3. A replay that is not rejected makes the route ordinary again.

On every route that works, revoked tokens are renewed as usual.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from typing import Any, Final

STREAK: Final = 5  # visitors
MAX_RENEWALS: Final = 10  # renewals in a minute
_MINUTE: Final = 60.0  # seconds
_REMEMBERED: Final = 1_024  # routes; the one that was used longest ago is dropped

_VERSION: Final = r"[a-zA-Z]+(?:[-_][a-zA-Z]+)*[-_]?v?\d{1,2}"  # "v2", "oauth2", "cart-v1": no ID
_ID: Final = r"\d+|(?=[\w.~-]*\d)[\w.~-]{8,}|[\w~-]{25,}|[^/]*%[^/]*|[^/]*@[^/]*"


def route_of(method: str, url: Any) -> str:
    """Returns the route of a request: method, host and path, with IDs replaced."""
    segments = (_plain(segment) for segment in url.raw_path.partition(b"?")[0].decode("latin-1").split("/"))
    return f"{method.upper()} {url.raw_host.decode('latin-1')}{'/'.join(segments)}"


def _plain(segment: str) -> str:
    name, colon, action = segment.partition(":")  # "…/<id>:cancel"
    is_id = re.fullmatch(_ID, name) and not re.fullmatch(_VERSION, name)
    return f"{'*' if is_id else name}{colon}{action}"


class _Route:
    __slots__ = ("rejected", "renewed_at")

    def __init__(self) -> None:
        self.renewed_at: deque[float] = deque(maxlen=MAX_RENEWALS)
        self.rejected: set[str] = set()

    @property
    def is_learned(self) -> bool:
        return len(self.rejected) >= STREAK

    def is_full(self, now: float) -> bool:
        times = self.renewed_at
        return self.is_learned and len(times) == MAX_RENEWALS and 0 <= now - times[0] < _MINUTE


class Routes:
    """The routes of a pool that answered 401."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Route] = OrderedDict()

    def may_renew(self, route: str, now: float) -> bool:
        """Returns whether a 401 of this route may lead to a renewal now (``now`` in epoch seconds)."""
        known = self._known.get(route)
        return known is None or not known.is_full(now)

    def take(self, route: str, now: float) -> bool:
        """Returns whether a 401 of this route may lead to a renewal now, and counts the renewal."""
        known = self._known.setdefault(route, _Route())
        self._known.move_to_end(route)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        if known.is_full(now):
            return False
        known.renewed_at.append(now)
        return True

    def rejected(self, route: str, visitor: str) -> bool:
        """Notes that a replay with a fresh token was rejected; returns whether the route is learned by that."""
        known = self._known.get(route)
        if known is None or known.is_learned:
            return False
        known.rejected.add(visitor)
        return known.is_learned

    def succeeded(self, route: str) -> None:
        """Notes that a replay was not rejected."""
        self._known.pop(route, None)
