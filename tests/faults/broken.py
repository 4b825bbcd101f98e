"""Connections, pauses and turns that are broken on purpose: the checks after a storm have to notice each of them.

Each is a patch of one seam, with the mistake that its name says.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final
from unittest.mock import patch

import anyio.lowlevel

from wixvisitor._http import internals
from wixvisitor._http.connection_pool import ExclusivePool
from wixvisitor._http.idle import PooledConnection
from wixvisitor._renewal import endpoint, permit_queue
from wixvisitor._renewal.breaker import Breaker


def _leave_orphans() -> Any:
    """The pool of a caller's client is left as it is after a request that ended badly."""

    async def recover(_pool: object, _ended: object) -> None:
        await anyio.lowlevel.checkpoint()

    return patch.object(internals, "recover", recover)


def _use_what_ended_badly() -> Any:
    """A connection whose request ended badly goes back to those that are free."""
    throw_away = ExclusivePool._discard

    async def keep(self: ExclusivePool, held: PooledConnection, error: BaseException | None = None) -> None:
        if error is None:
            await throw_away(self, held)
        else:
            self._idle.put(held)

    @contextmanager
    def both() -> Iterator[None]:
        with patch.object(ExclusivePool, "_discard", keep), patch.object(PooledConnection, "is_usable", lambda _: True):
            yield

    return both()


def _lose_places() -> Any:
    """A request that ends badly does not give its place back."""
    leave = ExclusivePool._leave

    def lose(self: ExclusivePool, *, waits: bool) -> None:
        if sys.exception() is None:
            leave(self, waits=waits)

    return patch.object(ExclusivePool, "_leave", lose)


def token_calls_wait() -> Any:
    """Token calls wait for a place as API calls do."""
    return patch.object(endpoint, "URGENT", "some other extension")


def pause_one_visitor() -> Any:
    """A failure pauses the visitor that met it, and no other."""
    return patch.object(Breaker, "failed", lambda *_, **__: False)


def new_visitors_first() -> Any:
    """New visitors go before those that exist."""

    def new_first(self: permit_queue.Queue) -> Iterator[Any]:
        known, new = self.lines
        yield from new
        yield from known

    return patch.object(permit_queue.Queue, "__iter__", new_first)


BROKEN_CONNECTIONS: Final[dict[str, tuple[str, tuple[str, ...], Callable[[], AbstractContextManager[Any]]]]] = {
    # asyncio's own cancellation strikes where trio's, and anyio's, does not
    "leave orphans": ("httpx, 5 connections", ("asyncio",), _leave_orphans),
    "use what ended badly": ("default", ("asyncio", "trio"), _use_what_ended_badly),
    "lose places": ("default", ("asyncio", "trio"), _lose_places),
}
"""By name: the client in which the mistake is made, the event loops where it shows, and what makes it."""
