"""A store of files: one visitor's file, or a directory with a file for each.

Next to ``visitor.json`` two small files appear and stay: ``visitor.json.lock`` is held while the record is replaced,
``visitor.json.lease`` while a process renews the visitor, and says until when. No token is in them. Removing them while
a program runs breaks its exclusion.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

from wixvisitor._masking import hides_locals_async
from wixvisitor.storage import _file_lease, _file_record
from wixvisitor.storage._file_lease import Lease
from wixvisitor.storage._protocol import ANY_VERSION, AnyVersion, Record, VersionConflict

if TYPE_CHECKING:
    from filelock import BaseFileLock

_WRITE_TIMEOUT = 10.0  # seconds; a write takes milliseconds, so whoever holds the lock longer has been stopped


class FileStorage:
    """Keeps visitors in files: for command lines, bots and desktop programs.

    Args:
        path: a directory (or a path that ends in a slash) keeps one file per visitor; any other path is one
            visitor's file, and a second visitor in it is a ``StorageError``. What is missing is created, files with
            mode 0600, the directory with 0700.

    Writes are atomic and durable (temporary file, fsync, rename, fsync of the directory), conditional on the version,
    and safe between processes on one machine. A lease ends at once when its holder dies, however it dies. Not for
    network file systems without working locks.

    Raises:
        StorageError: by every method, if the file is a symlink, readable by others, not a file, not ours, or cut off
            (it is then left in place), or the system refuses.

    Concurrency: share one object between sessions, tasks, threads and event loops. Works on asyncio and trio.
    Cancellation: a cancelled ``save`` happened or did not, never half.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        text = os.fspath(path)
        self._path = Path(text).expanduser().absolute()  # a daemon changes its directory
        separators = tuple(filter(None, (os.sep, os.altsep)))
        self._is_directory = text.endswith(separators) or self._path.is_dir()
        self._leases: dict[Path, Lease] = {}
        self._guard = threading.Lock()

    @hides_locals_async
    async def load(self, key: str) -> Record | None:
        """Returns the visitor's record, None if there is no file."""
        return await anyio.to_thread.run_sync(_file_record.read, self._place(key), key)

    @hides_locals_async
    async def save(self, key: str, value: str, *, expected: str | AnyVersion | None = ANY_VERSION) -> str:
        """Replaces the visitor's file and returns its version.

        Raises:
            VersionConflict: the file holds another version; it is unchanged.
        """
        return await anyio.to_thread.run_sync(self._save, key, value, expected)

    async def delete(self, key: str) -> None:
        """Removes the visitor's file; its lock files stay."""
        await anyio.to_thread.run_sync(self._delete, key)

    async def acquire_lease(self, key: str, holder: str, seconds: float) -> float:
        """Returns 0.0 if ``holder`` has the lease now, else the seconds that it may take at most."""
        return await anyio.to_thread.run_sync(self._acquire, self._place(key), holder, seconds)

    async def release_lease(self, key: str, holder: str) -> None:
        """Gives the lease back if ``holder`` has it."""
        await anyio.to_thread.run_sync(self._release, self._place(key), holder)

    def __repr__(self) -> str:
        return f"<FileStorage {str(self._path)!r}, {'a directory' if self._is_directory else 'one visitor'}>"

    def _place(self, key: str) -> Path:
        if not self._is_directory:
            return self._path
        # A key may be a session's id or hold slashes: neither belongs into a file's name.
        return self._path / f"{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:40]}.json"

    def _save(self, key: str, value: str, expected: str | AnyVersion | None) -> str:
        place = self._place(key)
        with _file_record.failures("save", place):
            with _lock(place, ".lock"):
                record = _file_record.read(place, key)
                if expected is not ANY_VERSION and expected != (record.version if record else None):
                    raise VersionConflict(f"{place} was changed by somebody else")
                return _file_record.write(place, key, value)

    def _delete(self, key: str) -> None:
        place = self._place(key)
        with _file_record.failures("delete", place):
            with _lock(place, ".lock"), suppress(FileNotFoundError):
                _file_record.read(place, key)
                place.unlink()

    def _acquire(self, place: Path, holder: str, seconds: float) -> float:
        with self._guard, _file_record.failures("lease", place), _lock(place, ".lock"):
            ours = self._leases.get(place)
            if ours is not None and ours.until > time.time() and ours.holder != holder:
                return ours.until - time.time()
            if ours is not None:  # renewed by its holder, or left behind by a task that never came to give it back
                _file_lease.give_back(ours, _beside(place, ".lease"))
                del self._leases[place]
            taken = _file_lease.take(_lock(place, ".lease"), holder, seconds)
            if not isinstance(taken, Lease):
                return taken
            self._leases[place] = taken
            return 0.0

    def _release(self, place: Path, holder: str) -> None:
        with self._guard, _file_record.failures("lease", place):
            lease = self._leases.get(place)
            if lease is not None and lease.holder == holder:
                with _lock(place, ".lock"):
                    del self._leases[place]
                    _file_lease.give_back(lease, _beside(place, ".lease"))


def _beside(place: Path, suffix: str) -> Path:
    return place.with_name(place.name + suffix)


def _lock(place: Path, suffix: str) -> BaseFileLock:
    import filelock  # noqa: PLC0415 - 60 ms that only those pay who keep files

    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return filelock.FileLock(_beside(place, suffix), timeout=_WRITE_TIMEOUT, mode=0o600, thread_local=False)
