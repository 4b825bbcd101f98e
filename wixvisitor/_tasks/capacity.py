"""So many at once, and the others wait in a line."""

from __future__ import annotations

from collections import OrderedDict

import anyio


class Capacity:
    """A number of places, given to those who wait in the order in which they came.

    A task may hold several. Leaving the line takes the same time however long it is, since callers with a deadline
    leave it by the hundred at once.

    Args:
        number: how many there are.

    Concurrency: one event loop at a time, many tasks.
    Cancellation: who leaves the line, or leaves with a place just given, costs nobody a place.
    """

    __slots__ = ("_free", "_queue")

    def __init__(self, number: int) -> None:
        self._free = number
        self._queue: OrderedDict[anyio.Event, None] = OrderedDict()

    def try_acquire(self) -> bool:
        """Takes a place if one is free and no one waits for it; returns whether it did."""
        if self._queue or self._free <= 0:
            return False
        self._free -= 1
        return True

    async def acquire(self, seconds: float | None) -> None:
        """Takes a place, waiting for it if need be.

        Args:
            seconds: how long to wait; None: without an end.

        Raises:
            TimeoutError: none became free in time.
        """
        if self.try_acquire():
            return
        turn = anyio.Event()
        self._queue[turn] = None
        try:
            with anyio.fail_after(seconds):
                await turn.wait()
        except BaseException:
            if turn.is_set():
                self.release()
            else:
                del self._queue[turn]
            raise

    def release_all(self) -> None:
        """Gives a place to each who waits, however many there are."""
        while self._queue:
            turn, _ = self._queue.popitem(last=False)
            turn.set()
            self._free -= 1

    def release(self) -> None:
        """Gives a place to the first in the line, or back."""
        if self._queue:
            turn, _ = self._queue.popitem(last=False)
            turn.set()
        else:
            self._free += 1
