"""A database of visitors: its application id, its schema, and how it is opened. Blocking."""

from __future__ import annotations

import os
import random
import sqlite3
import stat
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NoReturn

from wixvisitor._tasks.locks import fork_safe_lock
from wixvisitor.errors import StorageError
from wixvisitor.storage._places import (
    Group,
    cannot_replace,
    ensure_private,
    is_mounted,
    make_directory,
    shown,
    sync_above,
)
from wixvisitor.storage._system import opened, sync_directory

_APPLICATION: Final = 0x77697876  # "wixv", in the file's header
_SCHEMA_VERSION: Final = 1
BESIDE: Final = ("-wal", "-shm", "-journal")  # suffixes of the files that SQLite makes beside a database
_BUSY: Final = 5.0  # seconds that another process may keep the file locked
_TURN: Final = 0.05  # seconds that one attempt waits for the file; a fork or a close can happen between attempts
FAILURES: Final = (sqlite3.Error, OSError, UnicodeDecodeError, UnicodeEncodeError, MemoryError)
_creation_locks: Final = weakref.WeakValueDictionary[Path, "CreationLock"]()
_SCHEMA: Final = (
    # WITHOUT ROWID would make it 2.3 times bigger and 3 to 4 times slower: a record is 1.4 kB.
    """CREATE TABLE visitors
    (key TEXT PRIMARY KEY, value TEXT NOT NULL, version TEXT NOT NULL, expires_at REAL NOT NULL)""",
    "CREATE INDEX visitors_by_expiry ON visitors (expires_at)",
    "CREATE TABLE leases (key TEXT PRIMARY KEY, holder TEXT NOT NULL, since REAL NOT NULL, until REAL NOT NULL)",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_SCHEMA_VERSION}",
)


class Busy(StorageError):
    """Another process writes to the file."""


class CreationLock:
    """A lock for creating a file: closing the new file ends all locks of this process on it, other threads' as well."""

    __slots__ = ("__weakref__", "lock")

    def __init__(self) -> None:
        self.lock = fork_safe_lock()


def creation_lock(place: Path) -> CreationLock:
    """Returns the lock that all users of this file in this process share. Each user keeps a reference to it."""
    return _creation_locks.setdefault(place, CreationLock())


@contextmanager
def failures(place: Path) -> Iterator[None]:
    """Turns sqlite3's and the system's errors into ``StorageError``. Its text quotes no values."""
    try:
        yield
    except FAILURES as error:
        raise_failure(error, place)


def raise_failure(error: Exception, place: Path) -> NoReturn:
    """Raises the ``StorageError`` for one of ``FAILURES``."""
    if isinstance(error, sqlite3.OperationalError):
        if is_busy(error):
            raise Busy(f"{shown(place)}: {error}") from error
        if str(error).startswith("Could not decode to UTF-8"):  # it quotes the whole text
            raise StorageError(f"{shown(place)}: a record is damaged: it is no UTF-8. It was left as it is.") from None
    if isinstance(error, sqlite3.Error):
        raise StorageError(f"{shown(place)}: {error}") from error
    if isinstance(error, UnicodeEncodeError):  # it quotes the whole text
        raise StorageError(f"{shown(place)}: a key or value is no text that UTF-8 can hold") from None
    if isinstance(error, OSError):
        raise StorageError(f"cannot open {shown(place)}: {error.strerror or type(error).__name__}") from error
    # SQLite's own message quotes the file; a MemoryError comes from absurdly large pages
    raise StorageError(f"{shown(place)}: the database is damaged; it was left as it is") from None


def is_busy(error: BaseException) -> bool:
    """Whether another process, or another connection of this one, has the file."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def connect(place: Path, group: Group = Group.REMOVED) -> sqlite3.Connection:
    """Opens the database. If there is none, creates it durably, and the directories that it needs.

    Raises:
        StorageError: it is not a private regular file, not a database, another program's, or of another version. It
            is left as it is.
    """
    with failures(place):
        with creation_lock(place).lock:
            _make_private(place, group)
        connection = sqlite3.connect(place, timeout=_TURN, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection, place)
            sync_directory(place.parent)  # SQLite does this for its log, but not for the database file
            sync_above(place.parent)
        except BaseException:
            connection.close()
            raise
        return connection


def _make_private(place: Path, group: Group) -> None:
    """Creates the file before SQLite does. SQLite gives the files beside it the same mode."""
    make_directory(place.parent)
    try:
        os.close(opened(place, os.O_RDWR | os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        mode = place.lstat().st_mode
        if stat.S_ISLNK(mode):
            raise StorageError(f"{shown(place)} is a symlink; give the path of the file itself") from None
        if not stat.S_ISREG(mode):
            raise StorageError(f"{shown(place)} is not a regular file") from None
        if is_mounted(place):  # the log beside it holds the latest saves, and would not be in the mount
            raise cannot_replace(place) from None
    for one in (place, *(place.with_name(place.name + suffix) for suffix in BESIDE)):
        with suppress(FileNotFoundError):
            ensure_private(one, None, group)


def _prepare(connection: sqlite3.Connection, place: Path) -> None:
    """Tries again while the file is locked: SQLite's own timeout does not apply while two processes create one file."""
    give_up = time.monotonic() + _BUSY
    while True:
        try:
            return _prepare_once(connection, place)
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() >= give_up:
                raise
        time.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - it keeps two processes from meeting again


def _prepare_once(connection: sqlite3.Connection, place: Path) -> None:
    with transaction(connection, "DEFERRED"):
        is_new = _is_new(connection, place)
    connection.execute("PRAGMA journal_mode = WAL")
    # With NORMAL, a power failure could undo the last commits: a new visitor, or a rotated refresh token.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")  # macOS: also out of the drive's cache; without effect elsewhere
    if is_new:
        with transaction(connection, "IMMEDIATE"):
            if _is_new(connection, place):  # no other process has created it meanwhile
                for statement in _SCHEMA:
                    connection.execute(statement)


@contextmanager
def transaction(connection: sqlite3.Connection, kind: str) -> Iterator[None]:
    """Commits all that is done in it, or nothing; ``IMMEDIATE`` waits for other writers first."""
    connection.execute(f"BEGIN {kind}")
    with connection:  # commits, or rolls back
        yield


@contextmanager
def unsynced(connection: sqlite3.Connection) -> Iterator[None]:
    """Skips the sync to the disk, for changes that a power failure may undo."""
    connection.execute("PRAGMA synchronous = NORMAL")
    try:
        yield
    finally:
        connection.execute("PRAGMA synchronous = FULL")


@contextmanager
def best_effort(connection: sqlite3.Connection, *, waits: bool = False) -> Iterator[None]:
    """Best effort: skips the statements if the database is busy, and never raises.

    Args:
        connection: to the database.
        waits: whether to wait for another writer for the usual time; otherwise it does not wait at all.
    """
    with suppress(sqlite3.Error), unsynced(connection):
        if not waits:
            connection.execute("PRAGMA busy_timeout = 0")
        try:
            yield
        finally:
            connection.execute(f"PRAGMA busy_timeout = {_TURN * 1000:.0f}")


def _is_new(connection: sqlite3.Connection, place: Path) -> bool:
    application, version, tables = (
        connection.execute(question).fetchone()[0]
        for question in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
    )
    if (application, version, tables) == (0, 0, 0):
        return True
    if application != _APPLICATION:
        raise StorageError(f"{shown(place)} is another program's database; it was left as it is")
    if version != _SCHEMA_VERSION:
        raise StorageError(
            f"{shown(place)} has schema version {version}; this version of wixvisitor reads {_SCHEMA_VERSION}"
        )
    return False
