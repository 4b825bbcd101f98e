"""Which of a browser's ids is newer: an older answer never undoes a login or a logout that was answered before it.

A login or logout gives the browser another id. The ids of one browser, in their order, are a line. Each change has a
number. A change counts as soon as its answer's headers are sent. From then on an answer with an older number carries no
cookie.
"""

from __future__ import annotations

import itertools
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import attrs

SECONDS: Final = 120.0  # time for an answer to arrive; a browser that sends the old id later never got the new one
MAX_IDS: Final = 50_000  # ids that are remembered; 20 MB


@attrs.define(eq=False)
class _Line:
    """The ids that one browser had, one after the other.

    Attributes:
        sent: the number of the newest change whose answer's headers have been sent.
        at: when that was.
    """

    sent: int = 0
    at: float = 0.0


@attrs.define(eq=False)
class _Place:
    """An id's place: its line, the number of the change that made it, and the time when this was noted."""

    line: _Line
    number: int
    at: float


class Order:
    """Remembers which ids were replaced, as long as an answer with an older id may still be under way.

    Args:
        clock: returns seconds since any fixed point.

    Concurrency: for one event loop.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._numbers = itertools.count(1)
        self._places: OrderedDict[str, _Place] = OrderedDict()  # by id, the oldest note first
        self._under_way: dict[weakref.ref[object], float] = {}  # when each began; faster than a WeakKeyDictionary

    def enter(self, request: object) -> float:
        """Notes that a request has begun, and returns when that was."""
        since = self._under_way[weakref.ref(request, self._left)] = self._clock()
        return since

    def leave(self, request: object) -> None:
        """Notes that the headers of its answer were sent, or never will be."""
        self._under_way.pop(weakref.ref(request), None)

    def _left(self, reference: weakref.ref[object]) -> None:
        self._under_way.pop(reference, None)

    def number(self) -> int:
        """Returns the next change's number."""
        return next(self._numbers)

    def is_older(self, key: str, number: int | None, since: float) -> bool:
        """Whether an answer is older than a login or logout that was answered before it.

        Args:
            key: the id that the request came with.
            number: the change that the request itself made, None if it made none.
            since: when the request began.
        """
        place = self._places.get(key)
        if place is None:
            return False
        own = place.number if number is None else number
        return own < place.line.sent and since <= place.line.at + SECONDS

    def sent(self, left: str, key: str, number: int) -> None:
        """Notes that the headers of a change's answer were sent: it replaced the id ``left`` by ``key``."""
        now, place = self._clock(), self._places.get(left)
        line, before = (_Line(), 0) if place is None else (place.line, place.number)
        if number > line.sent:
            line.sent, line.at = number, now
        self._put(left, _Place(line, before, now))
        self._put(key, _Place(line, number, now))

    def same(self, key: str, other: str) -> None:
        """Notes that the browser's next requests come with another key for the same visitor."""
        now, place = self._clock(), self._places.get(key)
        line, number = (_Line(), 0) if place is None else (place.line, place.number)
        self._put(key, _Place(line, number, now))
        self._put(other, _Place(line, number, now))

    def _put(self, key: str, place: _Place) -> None:
        self._places[key] = place
        self._places.move_to_end(key)
        over = place.at - SECONDS
        if self._oldest() < over:  # a request that began before a change needs its note, however long the request takes
            over = min([over, *self._under_way.values()])
        while self._oldest() < over or len(self._places) > MAX_IDS:
            self._places.popitem(last=False)

    def _oldest(self) -> float:
        return next(iter(self._places.values())).at

    def __len__(self) -> int:
        return len(self._places)
