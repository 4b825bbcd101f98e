"""The visitors of one event loop that wait for a permit.

Visitors that have a cart go before visitors that have nothing yet, so there are two lines: one for renewals and for
mints that replace a visitor, and one for new visitors. While visitors wait in both, every fourth permit goes to a new
visitor.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import anyio

from wixvisitor._renewal.decision import Cooldown
from wixvisitor._tasks import shared_task

_IN_A_ROW: Final = 3  # permits for visitors that exist, while a new visitor waits


class Waiter:
    """A visitor that waits for a permit.

    Attributes:
        visitor: its key.
        loop: the event loop in which it waits.
        woken: set when there is something to look at.
        has_permit: whether it got a permit.
        cooldown: why it is sent away, None if it is not.
    """

    __slots__ = ("cooldown", "has_permit", "loop", "visitor", "woken")

    def __init__(self, visitor: str) -> None:
        self.visitor = visitor
        self.loop = shared_task.current_loop()
        self.woken = anyio.Event()
        self.has_permit = False
        self.cooldown: Cooldown | None = None

    def wake(self) -> None:
        """Wakes its task, from any thread."""
        shared_task.call_in(self.loop, self.woken.set)


class Queue:
    """The permits of one event loop: how many are out, and two lines of waiters, the second one for new visitors."""

    __slots__ = ("in_a_row", "lines", "under_way")

    def __init__(self) -> None:
        self.under_way = 0
        self.in_a_row = 0
        self.lines: tuple[dict[Waiter, None], dict[Waiter, None]] = ({}, {})

    def __iter__(self) -> Iterator[Waiter]:
        """Yields the waiters in the order in which they get permits."""
        known, new = self.lines
        first, second = (new, known) if new and self.in_a_row >= _IN_A_ROW else (known, new)
        yield from first
        yield from second

    def serve(self, waiter: Waiter) -> None:
        """Gives this waiter a permit."""
        is_new = waiter in self.lines[1]
        self.in_a_row = self.in_a_row + 1 if self.lines[1] and not is_new else 0
        self.leave(waiter)
        self.under_way += 1
        waiter.has_permit = True
        waiter.wake()

    def stop(self, cooldown: Cooldown) -> None:
        """Sends all waiters away: they raise the cooldown's cause."""
        for waiter in list(self):
            self.leave(waiter)
            waiter.cooldown = cooldown
            waiter.wake()

    def leave(self, waiter: Waiter) -> None:
        """Takes this waiter out of its line, if it is in one."""
        for line in self.lines:
            line.pop(waiter, None)
