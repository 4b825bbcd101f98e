"""A store in one SQLite file: many visitors, many processes, one machine. Needs no extra."""

from __future__ import annotations

import os
import random
import sqlite3
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from wixvisitor._masking import hides_locals_async
from wixvisitor.errors import ConfigurationError, StorageError
from wixvisitor.storage._arguments import YEAR, seconds
from wixvisitor.storage._protocol import ANY_VERSION, AnyVersion, Record, VersionConflict
from wixvisitor.storage._sqlite_connection import OpenFile
from wixvisitor.storage._sqlite_file import hurried, spare, transaction

P = ParamSpec("P")
T = TypeVar("T")

_PURGED: Final = 100  # records, and leases, that one purge removes at most
_PURGING: Final = 0.02  # the share of saves that purge
_SKEW: Final = 1.0  # seconds; a lease that began later than this from now was taken before the clock was set back
_UNTOUCHED: Final = 0.9  # of its life: reading a record that has more left writes nothing

_SAVE: Final = {
    ANY_VERSION: """
        INSERT INTO visitors VALUES (:key, :value, :version, :expires_at) ON CONFLICT (key) DO UPDATE
        SET value = :value, version = :version, expires_at = :expires_at""",
    None: """
        INSERT INTO visitors VALUES (:key, :value, :version, :expires_at) ON CONFLICT (key) DO UPDATE
        SET value = :value, version = :version, expires_at = :expires_at WHERE visitors.expires_at <= :now""",
}
_REPLACE: Final = """
    UPDATE visitors SET value = :value, version = :version, expires_at = :expires_at
    WHERE key = :key AND version = :expected AND expires_at > :now"""
_PURGES: Final = (
    "DELETE FROM visitors WHERE rowid IN (SELECT rowid FROM visitors WHERE expires_at <= ? LIMIT ?)",
    "DELETE FROM leases WHERE rowid IN (SELECT rowid FROM leases WHERE until <= ? LIMIT ?)",  # of those who died
)
_LEASE: Final = """
    INSERT INTO leases VALUES (:key, :holder, :now, :until) ON CONFLICT (key) DO UPDATE
    SET holder = :holder, since = :now, until = :until
    WHERE leases.holder = :holder OR leases.until <= :now OR leases.since > :ahead"""


class SQLiteStorage:
    """Keeps visitors in a SQLite file: for a busy server, in any number of processes on one machine.

    Args:
        path: the file; what is missing is created, the file with mode 0600, its directory with 0700. Two more appear
            beside it, ``…-wal`` and ``…-shm``. Not on a network file system.
        expire_after: seconds after which a visitor whom nobody loaded or saved is forgotten; None keeps all for ever.
            A year by default, like Wix's refresh tokens. Now and then a save removes up to a hundred of them; the file
            does not shrink, it uses their space for others.
        clock: seconds since the epoch; for tests.

    A save is conditional and durable (write-ahead log, synced at each commit: also a power failure loses nothing), and
    a lease is seen by every process. Opens the file at first use, once in each process. ``os.fork`` waits for the call
    under way and closes it; both processes open it again. So does a process whose file was removed or replaced.

    Raises:
        ConfigurationError: an argument is wrong.
        StorageError: by every method, if the file is a symlink, readable by others, no database, another program's or
            of another schema version (it is then left as it is), or SQLite cannot go on.

    Concurrency: share one object between sessions, tasks, threads and event loops; statements run one at a time in a
    worker thread. Works on asyncio and trio.
    Cancellation: a cancelled call has happened or has not, never half.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        expire_after: float | None = YEAR,
        clock: Callable[[], float] | None = None,
    ) -> None:
        if os.fspath(path) == ":memory:":
            raise ConfigurationError("path: expected a file; MemoryStorage() keeps visitors in memory")
        self._path = Path(path).expanduser().absolute()  # the process may change its directory before it opens it
        self._life = float("inf") if expire_after is None else seconds(expire_after, "expire_after")
        self._clock = clock or time.time
        self._file = OpenFile(self, self._path)
        self._limiter = RunVar[anyio.CapacityLimiter]("wixvisitor: one thread for a file")

    @hides_locals_async
    async def load(self, key: str) -> Record | None:
        """Returns the visitor's record, None if there is none; now and then this keeps it for another year."""
        return await self._run(self._load, key)

    @hides_locals_async
    async def save(self, key: str, value: str, *, expected: str | AnyVersion | None = ANY_VERSION) -> str:
        """Replaces the visitor's record and returns its version.

        Raises:
            VersionConflict: another version is there; it is unchanged.
        """
        return await self._run(self._save, key, value, expected)

    async def delete(self, key: str) -> None:
        """Forgets the visitor."""
        await self._run(_delete, key)

    async def acquire_lease(self, key: str, holder: str, seconds: float) -> float:
        """Returns 0.0 if ``holder`` has the lease now, else the seconds until it ends."""
        return await self._run(self._acquire, key, holder, seconds)

    async def release_lease(self, key: str, holder: str) -> None:
        """Gives the lease back if ``holder`` has it."""
        await self._run(_release, key, holder)

    async def aclose(self) -> None:
        """Closes the file; the next use opens it again. Without, it is closed when nobody holds this object."""
        await anyio.to_thread.run_sync(self._file.close, limiter=self._one_thread())

    def __repr__(self) -> str:
        return f"<SQLiteStorage {str(self._path)!r}>"

    def _one_thread(self) -> anyio.CapacityLimiter:
        limiter = self._limiter.get(None)
        if limiter is None:
            limiter = anyio.CapacityLimiter(1)
            self._limiter.set(limiter)
        return limiter

    async def _run(self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        def alone() -> T:
            with self._file.connection() as connection:
                return work(connection, *args, **kwargs)

        return await anyio.to_thread.run_sync(alone, limiter=self._one_thread())

    # In the worker thread

    def _load(self, connection: sqlite3.Connection, key: str) -> Record | None:
        now = self._clock()
        statement = "SELECT value, version, expires_at FROM visitors WHERE key = ? AND expires_at > ?"
        row = connection.execute(statement, (key, now)).fetchone()
        if row is None:
            return None
        value, version, expires_at = row
        if not isinstance(value, str) or not isinstance(version, str) or not isinstance(expires_at, float):
            raise StorageError(f"{self._path}: the visitor's record is damaged: a column is of another type")
        if expires_at - now < _UNTOUCHED * self._life:
            touch = "UPDATE visitors SET expires_at = ? WHERE key = ? AND version = ?"
            with spare(connection):  # what was read counts, also where nothing can be written
                connection.execute(touch, (now + self._life, key, version))
        return Record(value, version)

    def _save(self, connection: sqlite3.Connection, key: str, value: str, expected: str | AnyVersion | None) -> str:
        now, version = self._clock(), uuid.uuid4().hex
        statement = _REPLACE if isinstance(expected, str) else _SAVE[expected]
        row = {"key": key, "value": value, "version": version, "expires_at": now + self._life}
        if connection.execute(statement, {**row, "now": now, "expected": expected}).rowcount < 1:
            raise VersionConflict(f"the visitor in {self._path} was changed by somebody else")
        if random.random() < _PURGING:  # noqa: S311 - spreads the work, protects nothing
            with spare(connection):
                for purge in _PURGES:
                    connection.execute(purge, (now, _PURGED))
        return version

    def _acquire(self, connection: sqlite3.Connection, key: str, holder: str, seconds: float) -> float:
        with hurried(connection), transaction(connection, "IMMEDIATE"):
            now = self._clock()  # after the wait for the file, or a lease taken meanwhile would be one of the future
            row = {"key": key, "holder": holder, "now": now, "until": now + seconds, "ahead": now + _SKEW}
            if connection.execute(_LEASE, row).rowcount > 0:
                return 0.0
            [until] = connection.execute("SELECT until FROM leases WHERE key = ?", (key,)).fetchone()
            return float(until) - now


def _delete(connection: sqlite3.Connection, key: str) -> None:
    connection.execute("DELETE FROM visitors WHERE key = ?", (key,))


def _release(connection: sqlite3.Connection, key: str, holder: str) -> None:
    with hurried(connection):  # a lease that a power failure brings back runs out
        connection.execute("DELETE FROM leases WHERE key = ? AND holder = ?", (key, holder))
