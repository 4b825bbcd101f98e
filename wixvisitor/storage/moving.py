"""Moves visitors from one store to another while programs run. docs/how-to/stores.md has the recipe."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import attrs

from wixvisitor._wire.redaction import drops_frames_async
from wixvisitor.errors import ConfigurationError
from wixvisitor.storage._arguments import BRIEF
from wixvisitor.storage._closing import Closing
from wixvisitor.storage._pickling import Pickling
from wixvisitor.storage._protocol import (
    ANY_VERSION,
    AnyVersion,
    LeasingStorage,
    ListingStorage,
    Record,
    TokenStorage,
    VersionConflict,
    settle,
    takes_expected,
    takes_keep_for,
)

_FROM_OLD: Final = "old-"  # prefix of the version of a record that only the old store has
_BRIEF_LIFE: Final = 2_592_000.0  # seconds; 30 days, as for a visitor that is forgotten now
_ROUNDS: Final = 20  # attempts to save over a record that is copied again and again


class MovingStorage(Closing, Pickling):
    """Keeps visitors in ``new``, and finds those that are still in ``old`` only.

    Args:
        old: the store that the visitors leave. It is only read.
        new: the store that they move to. It needs compare-and-set.

    ``load`` reads ``new``, and ``old`` if ``new`` has no record. A record without tokens (of a visitor that was
    forgotten) is one, too. ``save`` and leases use ``new``. A visitor that was loaded from ``old`` is saved only if
    ``new`` has no record, or the same one that ``copy`` has put there. So another process that saved first wins, as in
    any store. Records of forgotten visitors are kept as long as others, since ``old`` still has these visitors.

    Closing it closes both. ``purge`` is that of ``new``.

    Raises:
        ConfigurationError: an argument is no store, or ``new`` cannot compare and set.
        StorageError: by every method: what the stores raise.

    Concurrency: as the stores. All processes have to use it, while one still does.
    Cancellation: as the stores.
    """

    def __init__(self, old: TokenStorage, new: TokenStorage) -> None:
        for name, storage in (("old", old), ("new", new)):
            if isinstance(storage, type) or not isinstance(storage, TokenStorage):
                raise ConfigurationError(f"{name}: expected a storage, with async load, save and delete")
        if not takes_expected(new):
            raise ConfigurationError("new: expected a storage that can compare and set")
        self._old = old
        self._new: Any = new
        own = vars(self)  # a method that new lacks must be missing here, too
        if isinstance(new, LeasingStorage):
            own.update(acquire_lease=new.acquire_lease, release_lease=new.release_lease)
        if isinstance(old, ListingStorage) and isinstance(new, ListingStorage):
            own["keys"] = self._keys
        if (purge := getattr(new, "purge", None)) is not None:
            own["purge"] = purge

    @drops_frames_async
    async def load(self, key: str) -> Record | None:
        """Returns the record of ``new``, else that of ``old``, else None."""
        found = await self._new.load(key)
        if found is not None:
            return _record(found)
        left = await self._old.load(key)
        return None if left is None else Record(value := _record(left).value, _version_of(value))

    @drops_frames_async
    async def save(self, key: str, value: str, *, expected: str | AnyVersion | None = ANY_VERSION) -> str:
        """Keeps ``value`` in ``new`` and returns its version there.

        Raises:
            VersionConflict: ``new`` holds something else than what was loaded; it is unchanged.
        """
        if not isinstance(expected, str) or not expected.startswith(_FROM_OLD):
            return str(await self._new.save(key, value, expected=expected))
        version: str | None = None
        for _ in range(_ROUNDS):
            try:
                return str(await self._new.save(key, value, expected=version))
            except VersionConflict:
                found = await self._new.load(key)
            if found is not None and _version_of(_record(found).value) != expected:
                break
            version = None if found is None else _record(found).version  # what was loaded, copied meanwhile
        raise VersionConflict("the record was changed by another process")

    async def delete(self, key: str) -> None:
        """Forgets the record in both stores. A copy under way may bring it back: sessions save one without tokens."""
        await self._old.delete(key)
        await self._new.delete(key)

    async def aclose(self) -> None:
        """Closes both stores."""
        for storage in (self._old, self._new):
            aclose: Any = getattr(storage, "aclose", None)
            if aclose is not None:
                await aclose()

    def __repr__(self) -> str:
        return f"<MovingStorage from {self._old!r} to {self._new!r}>"

    def _pickled(self) -> str:
        return "its stores are yours; send them, and make this one in the process that uses it"

    async def _keys(self) -> AsyncIterator[str]:
        """Yields the keys of both stores; many come twice."""
        old: Any = self._old
        for storage in (old, self._new):
            async with _closing(storage.keys()) as keys:
                async for key in keys:
                    yield key

    async def _settle(self) -> None:
        for storage in (self._old, self._new):
            await settle(storage, 10.0)


@attrs.frozen
class Copied:
    """The numbers of records that ``copy`` has met.

    Attributes:
        copied: those that it has written.
        present: those that the new store had already.
        gone: those that were removed from the old store before they were read.
    """

    copied: int = 0
    present: int = 0
    gone: int = 0


async def copy(
    old: TokenStorage,
    new: TokenStorage,
    *,
    in_flight: int = 16,
    on_progress: Callable[[Copied], object] | None = None,
) -> Copied:
    """Copies each record that ``new`` lacks, and overwrites none. Returns the numbers.

    Args:
        old: a store that can list its keys. It is only read.
        new: a store that can compare and set.
        in_flight: records that are copied at the same time.
        on_progress: called with the numbers after each record.

    It may be interrupted at any moment, even by kill -9, and called again. Programs may go on meanwhile, with
    ``MovingStorage(old, new)``: what they have saved in ``new`` is left as it is, also that a visitor was forgotten.

    Raises:
        ConfigurationError: ``old`` cannot list its keys, or ``new`` cannot compare and set.
        StorageError: a store failed. What was copied stays.

    Concurrency: several may run at once.
    Cancellation: what was copied stays, and no record is copied in half.
    """
    if not isinstance(old, ListingStorage):
        raise ConfigurationError(f"old: {type(old).__name__} cannot list its keys, so it cannot be copied from")
    if not takes_expected(new):
        raise ConfigurationError(
            f"new: {type(new).__name__} cannot compare and set, so a copy could overwrite visitors"
        )
    copying = _Copying(old, new, on_progress)
    async with anyio.create_task_group() as tasks:
        sending, receiving = anyio.create_memory_object_stream[str](in_flight)
        async with sending:
            for _ in range(in_flight):
                tasks.start_soon(copying.work, receiving.clone())
            receiving.close()
            try:
                async with _closing(old.keys()) as keys:
                    async for key in keys:
                        await sending.send(key)
            except anyio.BrokenResourceError:  # a worker has failed, and all have ended
                pass
            except Exception as error:  # raised inside the task group, it would come out as an exception group
                copying.failure = error
    if copying.failure is not None:
        raise copying.failure
    return copying.numbers


class _Copying:
    """One run of ``copy``.

    Attributes:
        numbers: what was done so far.
        failure: why it ended early.
    """

    def __init__(self, old: TokenStorage, new: Any, on_progress: Callable[[Copied], object] | None) -> None:
        self.numbers = Copied()
        self.failure: Exception | None = None
        self._old, self._new, self._on_progress = old, new, on_progress
        self._keeps_briefly = takes_keep_for(new)

    async def work(self, keys: Any) -> None:
        """Copies the records of these keys until there are no more, or one worker has failed."""
        async with keys:
            async for key in keys:
                if self.failure is not None:
                    return
                try:
                    outcome = await self._copy(key)
                    self.numbers = attrs.evolve(self.numbers, **{outcome: getattr(self.numbers, outcome) + 1})
                    if self._on_progress is not None:
                        self._on_progress(self.numbers)
                except Exception as error:
                    self.failure = self.failure or error
                    return

    @drops_frames_async
    async def _copy(self, key: str) -> str:
        """Copies one record, if there is none. Returns what it counts as."""
        found = await self._old.load(key)
        if found is None:
            return "gone"
        record, more = _record(found), {}
        if self._keeps_briefly and (record.version or "").startswith(BRIEF):
            more["keep_for"] = _BRIEF_LIFE
        try:
            await self._new.save(key, record.value, expected=None, **more)
        except VersionConflict:
            return "present"
        return "copied"


@asynccontextmanager
async def _closing(keys: AsyncIterator[str]) -> AsyncIterator[AsyncIterator[str]]:
    """Ends the generator, if it is one. Trio warns about one that the garbage collector ends."""
    try:
        yield keys
    finally:
        if (aclose := getattr(keys, "aclose", None)) is not None:
            await aclose()


def _record(found: Record | str) -> Record:
    return found if isinstance(found, Record) else Record(found)


def _version_of(value: str) -> str:
    """Returns the version of a record of the old store: a digest, which is the same for a copy of it."""
    return f"{_FROM_OLD}{hashlib.sha256(value.encode('utf-8', 'surrogatepass')).hexdigest()}"
