"""Stores that several test files need."""

from __future__ import annotations


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
