"""What one process has open of a database: a connection, who uses it, and what becomes of it at a fork and at the end.

SQLite's locks belong to a process, but its notes about them are memory, which a fork copies. A child that has inherited
a connection, even one that it never touches, believes in locks that only the parent has: the parent closes as the last
one, removes the log, and what the child saves from then on is gone. So a fork finds everything closed, and both
processes open it again at their next use.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import attrs

from wixvisitor.errors import StorageError
from wixvisitor.storage._places import Group, shown
from wixvisitor.storage._sqlite_file import FAILURES, connect, making, raise_failure

_AT_THE_END: Final = 1.0  # seconds that an ending program waits for a thread which still uses the file
_AT_A_FORK: Final = 5.0  # seconds that a fork waits for calls under way; only one that hangs takes longer


@attrs.frozen
class _Opened:
    """A connection, to which file, and whose.

    Attributes:
        file: the device and inode; the path may be another file's by now.
        process: the id of the process that opened it.
    """

    connection: sqlite3.Connection
    file: tuple[int, int] | None
    process: int


class OpenFile:
    """Lends this process's connection to one thread at a time; opens it when it is needed.

    Args:
        owner: whoever uses it: when it is gone, or the program ends, the connection is closed.
        place: the file.
        group: what becomes of files that their group may use.
    """

    def __init__(self, owner: object, place: Path, group: Group) -> None:
        self.lock = threading.RLock()
        self._group = group
        self._making = making(place)
        self._place = place
        self._opened: _Opened | None = None
        _forks.add(self)
        weakref.finalize(owner, self._end)

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Lends the connection.

        Raises:
            StorageError: it cannot be opened, or what was done with it failed.
        """
        _forks.wait()
        with self.lock:
            try:
                yield self._current()
            except FAILURES as error:
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
        if self._opened is not None and self._opened.process != os.getpid():
            raise StorageError(
                f"{shown(self._place)} was open when this process was forked, by something that did not tell Python or "
                "while a call hung: what is saved here could be lost. Call aclose() before the fork, or make the "
                "storage after it."
            )
        if self._opened is not None and self._opened.file != _file_at(self._place):
            self.close()  # removed or replaced: what is saved to it is seen by nobody
        if self._opened is None:
            self._opened = _Opened(connect(self._place, self._group), _file_at(self._place), os.getpid())
        return self._opened.connection

    def _end(self) -> None:
        """Closes unless a daemon thread is in the middle of a call: that would crash, and leaving it open does not."""
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
    """Closes every file before ``os.fork``, and keeps it so until both processes are there."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._files = weakref.WeakSet[OpenFile]()
        self._waiting: list[OpenFile] = []
        self._is_forking = False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._before, after_in_parent=self._in_parent, after_in_child=self._in_child)

    def add(self, file: OpenFile) -> None:
        with self._lock:
            self._files.add(file)

    def wait(self) -> None:
        """Lets a fork go first, which a thread that makes one call after another would keep waiting."""
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
            file.lock = threading.RLock()  # threads may have waited for the old one that are not here
        self._is_forking = False


_forks: Final = _Forks()
