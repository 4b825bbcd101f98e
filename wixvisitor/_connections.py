"""Where requests go out: the caller's client, or one of our own per event loop."""

from __future__ import annotations

import threading
from types import ModuleType
from typing import Any, Final

import attrs
import httpx

from wixvisitor import _flight
from wixvisitor._family import family_of
from wixvisitor._isolation import view_of

# Seconds. Wix documents no limits; a product query on a cold site takes several.
_TIMEOUT: Final = httpx.Timeout(30.0, connect=10.0)


@attrs.frozen
class Connection:
    """A client, the view of it that sends without storing cookies, and the module that both come from."""

    client: Any
    view: Any
    family: ModuleType


class Connections:
    """Gives the connection for the running event loop.

    Args:
        client: the caller's, never closed here; None: an httpx client of our own, which cannot live longer than the
            event loop it was first used in.

    Concurrency: safe from many tasks and threads.
    """

    __slots__ = ("_given", "_lock", "_own")

    def __init__(self, client: Any) -> None:
        self._given = None if client is None else _connection(client, family_of(client))
        self._own: dict[object, Connection] = {}
        self._lock = threading.Lock()

    def current(self) -> Connection:
        """Returns the connection; opens our own client if need be."""
        if self._given is not None:
            return self._given
        loop = _flight.current_loop()
        return self._own.get(loop) or self._open(loop)

    def _open(self, loop: object) -> Connection:
        with self._lock:
            for old in [old for old in self._own if _flight.has_ended(old)]:
                del self._own[old]
            return self._own.setdefault(loop, _connection(httpx.AsyncClient(timeout=_TIMEOUT), httpx))

    async def aclose(self) -> None:
        """Closes the running loop's client of our own. The next use opens another."""
        own = self._own.pop(_flight.current_loop(), None)
        if own is not None:
            await own.client.aclose()


def _connection(client: Any, family: ModuleType) -> Connection:
    return Connection(client, view_of(client, family), family)
