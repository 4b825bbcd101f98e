"""A store that lives as long as the process."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator

from wixvisitor._tasks.locks import fork_safe_lock
from wixvisitor._wire.redaction import drops_frames_async
from wixvisitor.storage._pickling import Pickling
from wixvisitor.storage._protocol import ANY_VERSION, AnyVersion, Record, VersionConflict


class SharedText(str):  # noqa: SLOT000 - a subclass of str has no slots but a dict; it lives for one save
    """A record's text, with the texts that it was put together from: prefix, tokens, and what is between and after.

    ``MemoryStorage`` keeps these, so that the tokens of a session in use are in memory once and not twice.
    """

    parts: tuple[str, ...]

    @classmethod
    def of(cls, text: str, tokens: tuple[str, ...]) -> str:
        """Returns the text with its parts; the text as it is if it does not hold these tokens in this order."""
        parts, rest = [], text
        for token in tokens:
            before, found, rest = rest.partition(token) if token else ("", "", "")
            if not found:
                return text
            parts += [before, token]
        shared = cls(text)
        shared.parts = (*parts, rest)
        return shared


class _Kept(Record):
    """A record whose text is in parts until it is read."""

    __slots__ = ("parts",)
    parts: tuple[str, ...]

    def __init__(self, parts: tuple[str, ...], version: str) -> None:
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "version", version)

    @property
    def value(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride] # both are read-only
        return "".join(self.parts)


class MemoryStorage(Pickling):
    """Keeps visitors in a dict: for tests, for one process, and for programs that may lose them at exit.

    Raises: nothing, but the ``VersionConflict`` of ``save``.
    Concurrency: safe to share between sessions, tasks, event loops and threads. It never waits.
    Cancellation: since it never waits, no call can be cancelled.
    """

    _never_waits = True

    def __init__(self) -> None:
        self._records: dict[str, _Kept] = {}
        self._prefixes: dict[str, str] = {}  # how records begin: with their site's client ID
        self._brief: dict[str, tuple[str, float]] = {}  # versions with keep_for, and their time.monotonic() end
        self._leases: dict[str, tuple[str, float]] = {}
        self._versions = itertools.count(1)
        self._lock = fork_safe_lock()

    async def load(self, key: str) -> Record | None:
        """Returns the record, or None."""
        kept = self._records.get(key)
        return None if kept is None else Record(kept.value, kept.version)

    @drops_frames_async
    async def save(
        self, key: str, value: str, *, expected: str | AnyVersion | None = ANY_VERSION, keep_for: float | None = None
    ) -> str:
        """Keeps ``value``, at least for ``keep_for`` seconds if given, and returns its version.

        Raises:
            VersionConflict: another version is there; nothing was changed.
        """
        with self._lock:
            held = self._records.get(key)
            if expected is not ANY_VERSION and expected != (held.version if held else None):
                raise VersionConflict("the record was changed by another process or task")
            version = str(next(self._versions))
            self._records[key] = _Kept(self._parts(value), version)
            if keep_for is not None:
                self._drop_expired()
                self._brief.pop(key, None)
                self._brief[key] = version, time.monotonic() + keep_for
            return version

    async def delete(self, key: str) -> None:
        """Forgets the record."""
        with self._lock:
            self._records.pop(key, None)

    async def keys(self) -> AsyncIterator[str]:
        """Yields the key of each record."""
        for key in tuple(self._records):
            yield key

    async def acquire_lease(self, key: str, holder: str, seconds: float) -> float:
        """Returns 0.0 if ``holder`` has the lease now, else the seconds until it ends."""
        with self._lock:
            now = time.monotonic()
            owner, until = self._leases.get(key, (holder, now))
            if owner != holder and until > now:
                return until - now
            self._leases[key] = (holder, now + seconds)
            return 0.0

    async def release_lease(self, key: str, holder: str) -> None:
        """Gives the lease back if ``holder`` has it."""
        with self._lock:
            if self._leases.get(key, ("",))[0] == holder:
                del self._leases[key]

    def _parts(self, value: str) -> tuple[str, ...]:
        if not isinstance(value, SharedText):
            return (value,)
        first, *others = value.parts
        return self._prefixes.setdefault(first, first), *others

    def _pickled(self) -> str:
        return "it keeps its visitors in this process; give each process a FileStorage or SQLiteStorage"

    def _drop_expired(self) -> None:
        while self._brief:
            key, (version, until) = next(iter(self._brief.items()))
            if until > time.monotonic():
                return
            del self._brief[key]
            record = self._records.get(key)
            if record is not None and record.version == version:
                del self._records[key]

    def __repr__(self) -> str:
        return f"<MemoryStorage of {len(self._records)} visitors>"
