"""A process's connection to a database: how threads share it, and how it ends at a fork and at the program's end.

SQLite's locks belong to a process, but its notes about them are in memory, which a fork copies. A child that inherits a
connection, even an unused one, trusts in locks that only the parent has. The parent then closes as if it were the last
user and removes the log, and everything that the child saves from then on is lost. Therefore all connections are closed
before a fork, and both processes open them again at their next use.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Final

import attrs

from wixvisitor._tasks.forks import at_fork
from wixvisitor.errors import StorageError
from wixvisitor.storage._places import Group, shown
from wixvisitor.storage._sqlite_file import FAILURES, connect, creation_lock, raise_failure

_AT_THE_END: Final = 1.0  # seconds that an ending program waits for a thread that still uses the file
_AT_A_FORK: Final = 5.0  # seconds that a fork waits for calls under way; only one that hangs takes longer


@attrs.frozen
class _Opened:
    """A connection, its file and its process.

    Attributes:
        file: the device and inode; the path may lead to another file by now.
        process: the id of the process that opened it.
    """

    connection: sqlite3.Connection
    file: tuple[int, int] | None
    process: int


class OpenFile:
    """Lends this process's connection to one thread at a time; opens it when it is needed.

    Args:
        owner: the object that uses it; when that is gone, or the program ends, the connection is closed.
        place: the file.
        group: what to do with files that their group may use.
    """

    def __init__(self, owner: object, place: Path, group: Group) -> None:
        self.lock = threading.RLock()
        self._group = group
        self._creation_lock = creation_lock(place)
        self._place = place
        self._opened: _Opened | None = None
        _forks.add(self)
        weakref.finalize(owner, self._end)

    def connection(self) -> AbstractContextManager[sqlite3.Connection]:
        """Lends the connection.

        Raises:
            StorageError: it cannot be opened, or a statement failed.
        """
        return self  # a generator would cost each read a microsecond

    def __enter__(self) -> sqlite3.Connection:
        _forks.wait()
        self.lock.acquire()
        try:
            return self._current()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise

    def __exit__(self, kind: object, error: BaseException | None, frames: object) -> None:
        self.lock.release()
        if isinstance(error, FAILURES):
            raise_failure(error, self._place)

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, of this process or of the one that it was forked from."""
        return self._opened is not None

    def close(self) -> None:
        """Closes the connection if there is one; the next use opens another."""
        with self.lock:
            opened = self._opened
            if opened is not None and opened.process == os.getpid():
                self._opened = None
                opened.connection.close()

    def _current(self) -> sqlite3.Connection:
        opened = self._opened
        if opened is not None and opened.process != os.getpid():
            raise StorageError(
                f"{shown(self._place)} was open when this process was forked, while a call hung or without Python's "
                "knowledge, so what is saved here could be lost. Call aclose() before the fork, or make the storage "
                "after it."
            )
        if opened is not None and opened.file != _file_at(self._place):
            self.close()  # the file was removed or replaced: other processes would not see what is saved
            opened = None
        if opened is None:
            opened = self._opened = _Opened(connect(self._place, self._group), _file_at(self._place), os.getpid())
        return opened.connection

    def _end(self) -> None:
        """Closes the connection, unless a daemon thread is in the middle of a call: closing it then would crash."""
        if self.lock.acquire(timeout=_AT_THE_END):
            try:
                self.close()
            finally:
                self.lock.release()


def _file_at(place: Path) -> tuple[int, int] | None:
    try:
        found = os.lstat(place)
    except OSError:
        return None
    return found.st_dev, found.st_ino


class _Forks:
    """Closes every file before ``os.fork``, and keeps them closed until both processes exist."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._files = weakref.WeakSet[OpenFile]()
        self._waiting: list[OpenFile] = []
        self._is_forking = False
        at_fork(before=self._before, in_parent=self._in_parent, in_child=self._in_child)

    def add(self, file: OpenFile) -> None:
        with self._lock:
            self._files.add(file)

    def wait(self) -> None:
        """Waits for a fork that is pending. Else a thread that makes one call after another could delay it for ever."""
        while self._is_forking:
            time.sleep(0.001)

    def _before(self) -> None:
        self._lock.acquire()
        self._is_forking = True
        until = time.monotonic() + _AT_A_FORK
        for file in list(self._files):
            if file.lock.acquire(timeout=max(0.0, until - time.monotonic())):
                self._waiting.append(file)
                with suppress(sqlite3.Error):
                    file.close()

    def _in_parent(self) -> None:
        while self._waiting:
            self._waiting.pop().lock.release()
        self._is_forking = False
        self._lock.release()

    def _in_child(self) -> None:
        self._lock = threading.RLock()
        self._waiting.clear()
        for file in list(self._files):
            file.lock = threading.RLock()  # the parent's threads may have waited for the old one
        self._is_forking = False


_forks: Final = _Forks()
