"""Stores that several test files need."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from wixvisitor.storage import ANY_VERSION, AnyVersion, MemoryStorage, Record

ALL_CALLS = ("load", "save", "delete", "acquire_lease", "release_lease")


class Call(NamedTuple):
    """A call of a store, and for how long its record has to be kept."""

    name: str
    key: str
    keep_for: float | None = None


class PlainStorage:
    """A store that knows no versions: three methods, a text in and a text out.

    Attributes:
        texts: what it keeps; another one that is given them is the same store, opened again.
    """

    def __init__(self, texts: dict[str, Any] | None = None) -> None:
        self.texts = {} if texts is None else texts

    async def load(self, key: str) -> Any:
        """Returns what was saved."""
        return self.texts.get(key)

    async def save(self, key: str, value: str) -> None:
        """Keeps it."""
        self.texts[key] = value

    async def delete(self, key: str) -> None:
        """Forgets it."""
        self.texts.pop(key, None)


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


class TroubledStorage(MemoryStorage):
    """Keeps visitors in memory, and does before each call what a test wants.

    Attributes:
        before: by the call's name, an exception that is raised, or a function of its arguments, which may be async.
        calls: what was called so far, in order.
    """

    def __init__(self, **before: BaseException | Callable[..., Any] | None) -> None:
        super().__init__()
        self.before = before
        self.calls: list[Call] = []

    def called(self, name: str) -> int:
        """How often this was called."""
        return sum(call.name == name for call in self.calls)

    async def load(self, key: str) -> Record | None:
        """Loads it, after the trouble."""
        await self._meet(Call("load", key), key)
        return await super().load(key)

    async def save(
        self, key: str, value: str, *, expected: str | AnyVersion | None = ANY_VERSION, keep_for: float | None = None
    ) -> str:
        """Saves it, after the trouble."""
        await self._meet(Call("save", key, keep_for), key, value)
        return await super().save(key, value, expected=expected, keep_for=keep_for)

    async def delete(self, key: str) -> None:
        """Deletes it, after the trouble."""
        await self._meet(Call("delete", key), key)
        await super().delete(key)

    async def acquire_lease(self, key: str, holder: str, seconds: float) -> float:
        """Takes the lease, after the trouble."""
        await self._meet(Call("acquire_lease", key), key, holder)
        return await super().acquire_lease(key, holder, seconds)

    async def release_lease(self, key: str, holder: str) -> None:
        """Gives the lease back, after the trouble."""
        await self._meet(Call("release_lease", key), key, holder)
        await super().release_lease(key, holder)

    async def aclose(self) -> None:
        """Closes nothing, after the trouble."""
        await self._meet(Call("aclose", ""))

    async def _meet(self, call: Call, *arguments: str) -> None:
        self.calls.append(call)
        trouble = self.before.get(call.name)
        if isinstance(trouble, BaseException):
            raise trouble.with_traceback(None)
        done = trouble(*arguments) if trouble is not None else None
        if inspect.isawaitable(done):
            await done
