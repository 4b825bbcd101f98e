"""A limit on how many tasks do something at once. The others wait in a queue."""

from __future__ import annotations

from collections import OrderedDict

import anyio


class Capacity:
    """A semaphore whose waiters are served in the order in which they came.

    A task may hold several slots. Leaving the queue takes constant time, because hundreds of callers whose deadline
    passes may leave it at once.

    Args:
        number: how many slots there are.

    Concurrency: safe from many tasks of one event loop at a time.
    Cancellation: a waiter that is cancelled leaves the queue. If it has just got a slot, it releases the slot.
    """

    __slots__ = ("_free", "_queue")

    def __init__(self, number: int) -> None:
        self._free = number
        self._queue: OrderedDict[anyio.Event, None] = OrderedDict()

    def try_acquire(self) -> bool:
        """Takes a slot if one is free and no task waits; returns whether it did."""
        if self._queue or self._free <= 0:
            return False
        self._free -= 1
        return True

    async def acquire(self, seconds: float | None) -> None:
        """Takes a slot; waits until one is free.

        Args:
            seconds: how long to wait; None waits without a limit.

        Raises:
            TimeoutError: no slot became free in time.
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
        """Gives a slot to every waiter, even if that exceeds the number of slots."""
        while self._queue:
            turn, _ = self._queue.popitem(last=False)
            turn.set()
            self._free -= 1

    def release(self) -> None:
        """Frees a slot: the first waiter gets it, if there is one."""
        if self._queue:
            turn, _ = self._queue.popitem(last=False)
            turn.set()
        else:
            self._free += 1
