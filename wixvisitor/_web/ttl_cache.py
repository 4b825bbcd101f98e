"""What a process remembers for two minutes."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from wixvisitor._wire.redaction import drops_frames_async
from wixvisitor.storage import ANY_VERSION, MemoryStorage, Record
from wixvisitor.storage._protocol import AnyVersion

T = TypeVar("T")

SECONDS: Final = 120.0  # longer than a page takes to make its first calls
MAX_ITEMS: Final = 10_000  # things that are remembered; 20 MB of tokens
MAX_VISITORS: Final = 1_000  # browsers whose cookie and record are not read again if they did not change; 10 MB at most


class TTLCache(Generic[T]):
    """Remembers what was put into it for ``SECONDS``, and at most ``most`` items.

    Args:
        forget: called with the key of an item that is forgotten.
        most: the largest number of items.
        clock: returns seconds since any fixed point.

    Concurrency: for one event loop.
    """

    def __init__(
        self,
        forget: Callable[[str], object] = lambda _: None,
        *,
        most: int = MAX_ITEMS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._items: OrderedDict[str, tuple[float, T]] = OrderedDict()
        self._forget = forget
        self._most = most
        self._clock = clock

    def put(self, key: str, thing: T) -> None:
        """Remembers an item, and forgets the expired ones."""
        now = self._clock()
        self._items[key] = (now, thing)
        self._items.move_to_end(key)
        while len(self._items) > self._most or now - next(iter(self._items.values()))[0] > SECONDS:
            self._forget(self._items.popitem(last=False)[0])

    def get(self, key: str) -> T | None:
        """Returns the item, None if there is none or it has expired."""
        since, thing = self._items.get(key, (0.0, None))
        return thing if thing is not None and self._clock() - since <= SECONDS else None

    def keep(self, key: str) -> None:
        """Remembers an item for the whole time again, if it has not expired."""
        thing = self.get(key)
        if thing is not None:
            self.put(key, thing)

    def drop(self, key: str) -> None:
        """Forgets an item at once."""
        self._items.pop(key, None)

    def __len__(self) -> int:
        return len(self._items)


class TTLStorage(MemoryStorage):
    """Keeps visitors for 2 minutes after their last save. Their tokens are in the browser's cookie."""

    _never_waits = True

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._recent = TTLCache[bool](lambda key: self._records.pop(key, None), clock=clock)

    async def load(self, key: str) -> Record | None:
        """Returns the record, None if there is none or it has expired."""
        return await super().load(key) if self._recent.get(key) else None

    @drops_frames_async
    async def save(
        self,
        key: str,
        value: str,
        *,
        expected: str | AnyVersion | None = ANY_VERSION,
        keep_for: float | None = None,  # noqa: ARG002 - all is gone sooner
    ) -> str:
        """Keeps ``value``, for 2 minutes, and returns its version."""
        if not self._recent.get(key):
            await self.delete(key)
        version = await super().save(key, value, expected=expected)
        self._recent.put(key, True)
        return version

    def keep(self, key: str) -> None:
        """Keeps a record for the whole time again, if there is one."""
        self._recent.keep(key)

    async def delete(self, key: str) -> None:
        """Forgets the record."""
        await super().delete(key)
        self._recent.drop(key)
