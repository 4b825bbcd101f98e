"""A store of files: one visitor's file, or a directory with a file for each.

Next to ``visitor.json`` two small files appear and stay: ``visitor.json.lock`` is held while the record is replaced,
``visitor.json.lease`` while a process renews the visitor, and says until when. No token is in them. Removing them while
a program runs breaks its exclusion.
"""

from __future__ import annotations

import functools
import hashlib
import os
import random
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import anyio

from wixvisitor._wire.redaction import drops_frames_async
from wixvisitor.errors import ConfigurationError, StorageError
from wixvisitor.storage import _file_lease, _file_record
from wixvisitor.storage._arguments import BRIEF, YEAR, seconds
from wixvisitor.storage._closing import Closing
from wixvisitor.storage._file_lease import Lease
from wixvisitor.storage._file_lock import FileLock
from wixvisitor.storage._file_purge import FilePurge
from wixvisitor.storage._places import Group, make_directory, shown, sync_above
from wixvisitor.storage._protocol import ANY_VERSION, AnyVersion, Record, VersionConflict
from wixvisitor.storage._threads import LOAD_SECONDS, THREADS

T = TypeVar("T")

_WRITE_TIMEOUT = 9.0  # seconds; a write takes milliseconds, so a process that has the lock for longer has been stopped
_PURGED: Final = 100  # files that a save removes at most
_LOOKED_AT: Final = 1_000  # files that it looks at for that
_PURGING: Final = 0.02  # the share of saves that purge, beside each process's first
_SPARE: Final = 0.1  # seconds that a save waits for that at most
_NAME: Final = re.compile(r"[0-9a-f]{40}\.json")
_LOOK_AGAIN: Final = (0.005, 0.03)  # seconds until a lock that another process has is tried again


class FileStorage(Closing):
    """Keeps visitors in files: for command lines, bots and desktop programs.

    Args:
        path: a directory (or a path that ends in a slash) keeps one file per visitor; any other path is one
            visitor's file, and a second visitor in it is a ``StorageError``. What is missing is created, files with
            mode 0600, the directory with 0700.
        expire_after: seconds after which a visitor whom nobody loaded or saved may be removed, as in ``SQLiteStorage``;
            None keeps all for ever. A year by default, like Wix's refresh tokens. Until it is removed a visitor is
            loaded as ever. Now and then a save into a directory removes up to a hundred others, and ``purge`` all. A
            path of one visitor's file loses it by ``purge`` only.
        accept_group: whether files that their group may use are accepted. By default a file of our own is made private
            again, with a warning, and one whose mode cannot be changed is a ``StorageError``. Say True where the volume
            fixes the mode (SMB, WSL) and everybody in the group may be the visitor. Files that all others may use are
            never accepted.
        clock: seconds since the epoch; for tests.
        monotonic: seconds by a clock that is never set; for tests.

    Writes are atomic and durable (temporary file, fsync, rename, fsync of the directory and, once, of those above it),
    conditional on the version, and safe between processes on one machine. A lease ends at once when its holder dies,
    however it dies. Not for network file systems without working locks, nor for a file that is mounted by itself
    (mount its directory).

    Raises:
        ConfigurationError: an argument is wrong.
        StorageError: by every method, if the file is a symlink, readable by others, not a file, not ours, or cut off
            (it is then left in place), or the system refuses.

    Concurrency: share one object between sessions, tasks, threads and event loops. Works on asyncio and trio. Calls are
    made in a few threads of our own, for one visitor one at a time; a visitor whose file hangs, or is locked by another
    process, delays no other one. A forked child uses it as if it had opened it itself.
    Cancellation: a cancelled ``save`` happened or did not, never half; one that had begun may end a little later, but
    before the visitor's next one begins.
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
        if not isinstance(text, str) or not text or "\0" in text:
            raise ConfigurationError("path: expected the path of a file or directory, as text")
        self._path = Path(text).expanduser().absolute()  # a daemon changes its directory
        separators = tuple(filter(None, (os.sep, os.altsep)))
        self._is_directory = text.endswith(separators)
        with suppress(OSError):  # every method will say why it cannot be looked at
            self._is_directory = self._is_directory or self._path.is_dir()
        self._group = Group.ACCEPTED if accept_group else Group.REMOVED
        life = None if expire_after is None else seconds(expire_after, "expire_after")
        self._clock = clock or time.time
        self._purging = None if life is None else FilePurge(life, self._clock, monotonic or time.monotonic)
        self._has_saved = False
        self._leases: dict[Path, Lease] = {}  # each is touched by one thread at a time, its visitor's
        self._durable: set[Path] = set()  # directories that a power failure does not take

    @drops_frames_async
    async def load(self, key: str) -> Record | None:
        """Returns the visitor's record, None if there is no file; now and then this keeps it for another year.

        Does not wait for a lock.
        """
        place = self._place(key)
        read = functools.partial(self._load, place, key)
        return await THREADS.run((place, "read"), read, seconds=LOAD_SECONDS)

    @drops_frames_async
    async def save(
        self, key: str, value: str, *, expected: str | AnyVersion | None = ANY_VERSION, keep_for: float | None = None
    ) -> str:
        """Replaces the visitor's file and returns its version; ``purge`` may remove it after ``keep_for`` seconds.

        Raises:
            VersionConflict: the file holds another version; it is unchanged.
        """
        save = functools.partial(self._save, key=key, value=value, expected=expected, keep_for=keep_for)
        version = await self._alone("save", self._place(key), save)
        await self._purge_at_times()
        return version

    async def delete(self, key: str) -> None:
        """Removes the visitor's file, durably; its lock files stay."""
        await self._alone("delete", self._place(key), lambda place: self._delete(place, key))

    async def purge(self) -> int:
        """Removes the visitors whom nobody has loaded or saved for ``expire_after``, and returns how many.

        What is left of visitors who were forgotten 30 days ago is removed as well. The clock may be wrong, so a visitor
        is removed only if it was found past its time twice: an hour apart by this process; or past twice its time and a
        day, by two processes that were started at least a day apart. So the first call of a process that runs on
        removes few or none, and one an hour later the others. A program that cron starts each day may call it once
        each time.

        Concurrency: other calls go on meanwhile.
        Cancellation: leaves what was not removed yet.
        """
        over = await THREADS.run((self._path, "purge"), self._over)
        return sum([await self._alone("purge", place, self._remove_if_over) for place in over])

    async def _purge_at_times(self) -> None:
        """Now and then removes some of the visitors past their time. A place that hangs delays no save for long."""
        if self._purging is None or not self._is_directory:
            return
        if self._has_saved and random.random() >= _PURGING:  # noqa: S311 - spreads the work, protects nothing
            return
        self._has_saved = True
        with anyio.move_on_after(_SPARE), suppress(StorageError):
            await THREADS.run((self._path, "purge"), self._purge_some)

    async def acquire_lease(self, key: str, holder: str, seconds: float) -> float:
        """Returns 0.0 if ``holder`` has the lease now, else the seconds that it may take at most."""
        return await self._alone("lease", self._place(key), lambda place: self._acquire(place, holder, seconds))

    async def release_lease(self, key: str, holder: str) -> None:
        """Gives the lease back if ``holder`` has it."""
        await self._alone("lease", self._place(key), lambda place: self._release(place, holder))

    async def aclose(self) -> None:
        """Gives back the leases that are left; files are open during a call only. It can be used again."""
        for place, lease in tuple(self._leases.items()):
            with suppress(StorageError):  # it ends by itself
                await self._alone("lease", place, functools.partial(self._release, holder=lease.holder))

    def __repr__(self) -> str:
        return f"<FileStorage {str(self._path)!r}, {'a directory' if self._is_directory else 'one visitor'}>"

    def _place(self, key: str) -> Path:
        if not self._is_directory:
            return self._path
        # A key may be a session's id or hold slashes: neither belongs into a file's name.
        return self._path / f"{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:40]}.json"

    async def _alone(self, verb: str, place: Path, work: Callable[[Path], T]) -> T:
        """Does the work while this process has the visitor's lock. No thread waits for the lock."""
        until = time.monotonic() + _WRITE_TIMEOUT
        attempt = functools.partial(_with_lock, verb, place, work)
        while (done := await THREADS.run((place, "write"), attempt)) is None:
            if time.monotonic() > until:
                raise StorageError(
                    f"cannot {verb} {shown(place)}: another process has had its lock for {_WRITE_TIMEOUT:g} s"
                )
            await anyio.sleep(random.uniform(*_LOOK_AGAIN))  # noqa: S311 - spreads the attempts, protects nothing
        return done[0]

    # In a thread

    def _load(self, place: Path, key: str) -> Record | None:
        record = _file_record.read(place, key, self._group)
        if record is not None and self._purging is not None and not str(record.version).startswith(BRIEF):
            self._purging.loaded(place)
        return record

    def _over(self) -> list[Path]:
        """Returns the files that may have to be removed."""
        with _file_record.failures("purge", self._path):
            purging, places = self._purging, self._places() if self._is_directory else [self._path]
        return [
            place
            for place in places
            if (purging is not None and purging.past(place)) or _file_record.is_over(place, self._clock())
        ]

    def _places(self) -> list[Path]:
        """Returns the visitors' files of the directory, and no other program's."""
        with suppress(FileNotFoundError):
            names = os.listdir(self._path)  # noqa: PTH208 - there may be thousands, and a Path for each takes longer
            return [self._path / name for name in names if _NAME.fullmatch(name)]
        return []

    def _purge_some(self) -> None:
        assert self._purging is not None
        removed = 0
        with suppress(OSError, StorageError):
            places = self._places()
            for place in random.sample(places, min(len(places), _LOOKED_AT)):
                if removed < _PURGED and self._purging.past(place):
                    removed += _with_lock("purge", place, self._remove_if_over) == (True,)

    # In a thread, under the visitor's lock

    def _save(
        self, place: Path, key: str, value: str, expected: str | AnyVersion | None, keep_for: float | None
    ) -> str:
        record = _file_record.read(place, key, self._group)
        if expected is not ANY_VERSION and expected != (record.version if record else None):
            raise VersionConflict(f"{shown(place)} was changed by somebody else")
        keep_until = None if keep_for is None else self._clock() + keep_for
        version = _file_record.write(place, key, value, self._group, keep_until=keep_until)
        if self._purging is not None:
            with suppress(OSError):  # then it is the system's time
                self._purging.used(place)
        if place.parent not in self._durable:
            sync_above(place.parent)
            self._durable.add(place.parent)
        return version

    def _remove_if_over(self, place: Path) -> bool:
        """Removes the file if it may go; returns whether it did."""
        if not _file_record.is_record(place):
            return False
        may_go = self._purging is not None and self._purging.may_go(place)
        if not may_go and not _file_record.is_over(place, self._clock()):
            return False
        _file_record.delete(place, durably=False)  # who is forgotten may come back once more
        if self._purging is not None:
            self._purging.forget(place)
        return True

    def _delete(self, place: Path, key: str) -> None:
        if _file_record.read(place, key, self._group) is not None:
            _file_record.delete(place)
            if self._purging is not None:
                self._purging.forget(place)

    def _acquire(self, place: Path, holder: str, seconds: float) -> float:
        ours = self._leases.get(place)
        if ours is not None and ours.process != os.getpid():  # its parent's, in a forked child
            ours = self._leases.pop(place) and None
        if ours is not None and ours.until > time.time() and ours.holder != holder:
            return ours.until - time.time()
        if ours is not None:  # renewed by its holder, or left behind by a task that never came to give it back
            _file_lease.give_back(ours, _beside(place, ".lease"))
            del self._leases[place]
        taken = _file_lease.take(_beside(place, ".lease"), holder, seconds)
        if not isinstance(taken, Lease):
            return taken
        self._leases[place] = taken
        return 0.0

    def _release(self, place: Path, holder: str) -> None:
        lease = self._leases.get(place)
        if lease is not None and lease.holder == holder:
            del self._leases[place]
            if lease.process == os.getpid():
                _file_lease.give_back(lease, _beside(place, ".lease"))


def _with_lock(verb: str, place: Path, work: Callable[[Path], T]) -> tuple[T] | None:
    """Does the work; None if another process, or another storage of this one, has the lock."""
    with _file_record.failures(verb, place):
        make_directory(place.parent)
        lock = FileLock(_beside(place, ".lock"))
        if not lock.acquire():
            return None
        try:
            return (work(place),)
        finally:
            lock.release()


def _beside(place: Path, suffix: str) -> Path:
    return place.with_name(place.name + suffix)
