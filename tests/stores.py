"""Stores that several test files need."""

from __future__ import annotations

from wixvisitor.storage import ANY_VERSION, AnyVersion, MemoryStorage


class PlainStorage:
    """A store that knows no versions."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    async def load(self, key: str) -> str | None:
        """Returns what was saved."""
        return self._texts.get(key)

    async def save(self, key: str, value: str) -> None:
        """Keeps it."""
        self._texts[key] = value

    async def delete(self, key: str) -> None:
        """Forgets it."""
        self._texts.pop(key, None)


class FailingStorage(MemoryStorage):
    """Keeps visitors in memory, except while its disk is full.

    Attributes:
        fails: whether saves fail.
    """

    fails = False

    async def save(
        self, key: str, value: str, *, expected: str | AnyVersion | None = ANY_VERSION, keep_for: float | None = None
    ) -> str:
        """Keeps it, or fails."""
        if self.fails:
            raise OSError("disk full")
        return await super().save(key, value, expected=expected, keep_for=keep_for)
