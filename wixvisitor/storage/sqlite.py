"""A store in one SQLite file: many visitors, many processes, one machine. Needs no extra."""

from __future__ import annotations

import os
import random
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import anyio

from wixvisitor._wire.redaction import drops_frames_async
from wixvisitor.errors import ConfigurationError, StorageError
from wixvisitor.storage import _sqlite_file
from wixvisitor.storage._arguments import BRIEF, YEAR, seconds
from wixvisitor.storage._closing import Closing
from wixvisitor.storage._pickling import Pickling
from wixvisitor.storage._places import Group, shown
from wixvisitor.storage._protocol import ANY_VERSION, AnyVersion, Record, VersionConflict
from wixvisitor.storage._sqlite_connection import OpenFile
from wixvisitor.storage._sqlite_file import Busy, best_effort, transaction, unsynced
from wixvisitor.storage._sqlite_purge import Purge, Step
from wixvisitor.storage._system import check_path
from wixvisitor.storage._threads import LOAD_SECONDS, THREADS

P = ParamSpec("P")
T = TypeVar("T")

_PURGED: Final = 100  # records, and leases, that a save removes at most
_PURGED_AT_ONCE: Final = 1_000  # records that purge() removes at most before others may write
_LISTED: Final = 1_000  # keys that are listed at once
_PURGING: Final = 0.02  # the share of saves that purge, beside each process's first
_SKEW: Final = 1.0  # seconds; a lease that begins later than this from now was taken before the clock was set back
_CLOSING: Final = 5.0  # seconds that closing waits for calls under way
_SETTLING: Final = 1.0  # seconds that closing a pool waits until the file is complete
_UNTOUCHED: Final = 0.9  # the share of its life; if a record has more left, loading it writes nothing

_SAVE: Final = {
    ANY_VERSION: """
        INSERT INTO visitors VALUES (:key, :value, :version, :expires_at) ON CONFLICT (key) DO UPDATE
        SET value = :value, version = :version, expires_at = :expires_at""",
    None: "INSERT INTO visitors VALUES (:key, :value, :version, :expires_at) ON CONFLICT (key) DO NOTHING",
}
_REPLACE: Final = """
    UPDATE visitors SET value = :value, version = :version, expires_at = :expires_at
    WHERE key = :key AND version = :expected"""
_KEYS: Final = "SELECT key FROM visitors WHERE :after IS NULL OR key > :after ORDER BY key LIMIT :most"
_PURGE_LEASES: Final = (  # of holders that have died
    "DELETE FROM leases WHERE rowid IN (SELECT rowid FROM leases WHERE until <= ? LIMIT ?)"
)
_LEASE: Final = """
    INSERT INTO leases VALUES (:key, :holder, :now, :until) ON CONFLICT (key) DO UPDATE
    SET holder = :holder, since = :now, until = :until
    WHERE leases.holder = :holder OR leases.until <= :now OR leases.since > :ahead"""


class SQLiteStorage(Closing, Pickling):
    """Keeps visitors in a SQLite file: for a busy server, in any number of processes on one machine.

    Args:
        path: the file. A missing file is created with mode 0600, a missing directory with 0700. Two more files appear
            beside it, ``…-wal`` and ``…-shm``. Not on a network file system.
        expire_after: seconds after which a visitor may be removed if it was neither loaded nor saved; None keeps all
            for ever. A year by default, like the known refresh tokens of Wix. Until it is removed a visitor can be
            loaded. Some saves remove up to a hundred, and ``purge`` removes all; the file does not shrink, but reuses
            their space.
        accept_group: whether files that their group may use are accepted, as in ``FileStorage``.
        clock: seconds since the epoch; for tests.
        monotonic: seconds by a clock that is never set; for tests.

    A save is conditional and durable (write-ahead log, synced at each commit: even a power failure loses nothing). All
    processes see a lease. The file is opened at first use, twice in each process, so that reading does not wait for
    writing. ``os.fork`` waits for the calls under way and closes the file; both processes open it again. A process also
    opens it again if it was removed or replaced. The latest saves are in ``…-wal``. Closing this storage, or a pool or
    session over it, moves them into the file. The file is complete then, unless another process still uses it.

    Raises:
        ConfigurationError: an argument is wrong.
        StorageError: by every method, if the file is a symlink, readable by others, no database, another program's or
            of another schema version (it is then left as it is), or if SQLite fails. A write waits up to 5 s while
            another program writes to the file.

    Concurrency: share one object between sessions, tasks, threads and event loops. Works on asyncio and trio. Reads are
    made one at a time in a thread of our own, writes in another.
    Cancellation: a cancelled call took effect completely or not at all. One that had begun may end a little later, but
    before the next one begins.
    """

    _loads_end_at_once = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        expire_after: float | None = YEAR,
        accept_group: bool = False,
        clock: Callable[[], float] | None = None,
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        text = os.fspath(path)
        if text == ":memory:":
            raise ConfigurationError("path: expected a file; MemoryStorage() keeps visitors in memory")
        if not isinstance(text, str) or not text or "\0" in text:
            raise ConfigurationError("path: expected the path of a file, as text")
        self._path = (
            Path(text).expanduser().absolute()
        )  # the process may change its working directory before the first use
        check_path(self._path)
        self._life = float("inf") if expire_after is None else seconds(expire_after, "expire_after")
        self._options = {
            "expire_after": expire_after,
            "accept_group": accept_group,
            "clock": clock,
            "monotonic": monotonic,
        }
        self._clock = clock or time.time
        self._purging = Purge(self._life, monotonic or time.monotonic)
        self._has_saved = False
        group = Group.ACCEPTED if accept_group else Group.REMOVED
        self._file = OpenFile(self, self._path, group)
        self._reader = OpenFile(self, self._path, group)

    @drops_frames_async
    async def load(self, key: str) -> Record | None:
        """Returns the visitor's record, None if there is none. Loading restarts its life after a tenth of it."""
        return await THREADS.run(self._reader, partial(self._read, key), seconds=LOAD_SECONDS)

    @drops_frames_async
    async def save(
        self, key: str, value: str, *, expected: str | AnyVersion | None = ANY_VERSION, keep_for: float | None = None
    ) -> str:
        """Replaces the visitor's record and returns its version.

        Args:
            key: the visitor's key.
            value: the record's text.
            expected: the version that the record must have now; None: there must be no record.
            keep_for: seconds after which it may be removed, even if it was loaded; None: ``expire_after``.

        Raises:
            VersionConflict: the record has another version; it is unchanged.
        """
        return await self._write(self._save, key, value, expected, keep_for)

    async def delete(self, key: str) -> None:
        """Forgets the visitor."""
        await self._write(_delete, key)

    async def purge(self) -> int:
        """Removes the visitors that were neither loaded nor saved for ``expire_after``. Returns their number.

        The clock may be wrong, so a visitor is removed only if it was found past its time twice: an hour apart by this
        process; or past twice its time and a day, by two processes that were started at least a day apart. So the first
        call in a long-running process removes few visitors or none; a call an hour later removes the others. A program
        that cron starts each day may call it once each time. Some saves do the same, so you need not call it at all.

        Concurrency: other calls can run meanwhile.
        Cancellation: the visitors that were not removed yet stay.
        """
        removed, has_more = 0, True
        while has_more:
            step = await self._write(self._purge, _PURGED_AT_ONCE, is_asked=True)
            removed, has_more = removed + step.removed, step.has_more
        return removed

    async def keys(self) -> AsyncIterator[str]:
        """Yields the key of each visitor, a thousand at a time, in the order of their bytes."""
        last: str | None = None
        while found := await THREADS.run(self._reader, partial(self._list, last), seconds=LOAD_SECONDS):
            for last in found:
                yield last

    async def acquire_lease(self, key: str, holder: str, seconds: float) -> float:
        """Returns 0.0 if ``holder`` has the lease now, else the seconds until it ends."""
        return await self._write(self._acquire, key, holder, seconds)

    async def release_lease(self, key: str, holder: str) -> None:
        """Gives the lease back if ``holder`` has it."""
        await self._write(_release, key, holder)

    async def aclose(self) -> None:
        """Closes the file; the next use opens it again. Otherwise it is closed when this object is garbage collected.

        If no other process has it open, the file is complete then, and the files beside it are removed. Waits for calls
        under way, but not for one that hangs.
        """
        await self._settle()
        with anyio.move_on_after(_CLOSING):
            for file in (self._reader, self._file):
                if file.is_open:
                    await THREADS.run(file, file.close)

    def __repr__(self) -> str:
        return f"<SQLiteStorage {str(self._path)!r}>"

    def _pickled(self) -> tuple[tuple[str], dict[str, Any]]:
        return (str(self._path),), self._options

    async def _settle(self) -> None:
        """Moves the saves from the log into the file, if no other process prevents it. Closing a pool calls this."""
        if self._file.is_open or self._reader.is_open:
            with anyio.move_on_after(_SETTLING), suppress(StorageError):
                await THREADS.run(self._file, self._empty_log)

    async def _write(
        self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Does the work in the thread that writes. If the file is busy, the work is tried again for a while."""
        until = time.monotonic() + _sqlite_file._BUSY

        def attempts() -> T:
            while True:
                try:
                    with self._file.connection() as connection:
                        return work(connection, *args, **kwargs)
                except Busy:
                    if time.monotonic() >= until:
                        raise
                time.sleep(random.uniform(0.001, 0.01))  # noqa: S311 - spreads the attempts, protects nothing

        return await THREADS.run(self._file, attempts)

    # In a thread

    def _read(self, key: str) -> Record | None:
        with self._reader.connection() as connection:
            return self._load(connection, key)

    def _list(self, after: str | None) -> list[str]:
        with self._reader.connection() as connection:
            found = connection.execute(_KEYS, {"after": after, "most": _LISTED}).fetchall()
        if not all(isinstance(key, str) for (key,) in found):
            raise StorageError(f"{shown(self._path)}: a visitor's record is damaged: its key is of another type")
        return [key for (key,) in found]

    def _empty_log(self) -> None:
        with suppress(FileNotFoundError):
            if self._path.with_name(f"{self._path.name}-wal").stat().st_size:
                with self._file.connection() as connection:
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def _load(self, connection: sqlite3.Connection, key: str) -> Record | None:
        row = connection.execute("SELECT value, version, expires_at FROM visitors WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        value, version, expires_at = row
        if not isinstance(value, str) or not isinstance(version, str) or not isinstance(expires_at, float):
            raise StorageError(f"{shown(self._path)}: the visitor's record is damaged: a column is of another type")
        now = self._clock()  # it may be wrong, so a record past its time is loaded until it is purged
        if expires_at - now < _UNTOUCHED * self._life and not version.startswith(BRIEF):
            touch, is_there = "UPDATE visitors SET expires_at = ? WHERE key = ? AND version = ?", True
            # Loading succeeds, even if the file cannot be written. A record past its time may be removed right now.
            with best_effort(connection, waits=expires_at <= now):
                is_there = connection.execute(touch, (now + self._life, key, version)).rowcount > 0
            if not is_there:  # it was replaced or removed since it was read
                return self._load(connection, key)
        return Record(value, version)

    def _save(
        self,
        connection: sqlite3.Connection,
        key: str,
        value: str,
        expected: str | AnyVersion | None,
        keep_for: float | None,
    ) -> str:
        now, version, life = self._clock(), uuid.uuid4().hex, self._life
        if keep_for is not None:
            version, life = f"{BRIEF}{version}", min(life, keep_for)
        statement = _REPLACE if isinstance(expected, str) else _SAVE[expected]
        row = {"key": key, "value": value, "version": version, "expires_at": now + life}
        if connection.execute(statement, {**row, "expected": expected}).rowcount < 1:
            raise VersionConflict(f"the visitor in {shown(self._path)} was changed by another process")
        if not self._has_saved or random.random() < _PURGING:  # noqa: S311 - spreads the work, protects nothing
            with best_effort(connection):
                connection.execute(_PURGE_LEASES, (now, _PURGED))
                self._purge(connection, _PURGED, is_asked=False)
        self._has_saved = True
        return version

    def _purge(self, connection: sqlite3.Connection, most: int, *, is_asked: bool) -> Step:
        return self._purging.step(connection, self._clock(), most=most, is_asked=is_asked)

    def _acquire(self, connection: sqlite3.Connection, key: str, holder: str, seconds: float) -> float:
        with unsynced(connection), transaction(connection, "IMMEDIATE"):
            now = self._clock()  # read after waiting for the file; else a lease taken meanwhile would lie in the future
            row = {"key": key, "holder": holder, "now": now, "until": now + seconds, "ahead": now + _SKEW}
            if connection.execute(_LEASE, row).rowcount > 0:
                return 0.0
            [until] = connection.execute("SELECT until FROM leases WHERE key = ?", (key,)).fetchone()
            return float(until) - now


def _delete(connection: sqlite3.Connection, key: str) -> None:
    connection.execute("DELETE FROM visitors WHERE key = ?", (key,))


def _release(connection: sqlite3.Connection, key: str, holder: str) -> None:
    with unsynced(connection):  # if a power failure brings the lease back, it expires by itself
        connection.execute("DELETE FROM leases WHERE key = ? AND holder = ?", (key, holder))
