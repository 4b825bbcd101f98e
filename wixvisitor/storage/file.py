"""A store of files: the file of one visitor, or a directory with a file for each visitor.

Two small files appear next to ``visitor.json`` and stay. ``visitor.json.lock`` is locked while the record is replaced.
``visitor.json.lease`` is locked while a process renews the visitor, and holds the end of that lease. They hold no
tokens. If they are removed while programs run, these programs no longer exclude each other. On Windows two more files,
whose names end in ``.held``, are locked instead.
"""

from __future__ import annotations

import functools
import hashlib
import os
import random
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio

from wixvisitor._tasks.log import logger
from wixvisitor._wire.redaction import drops_frames_async
from wixvisitor.errors import ConfigurationError, StorageError
from wixvisitor.storage import _file_lease, _file_purge, _file_record, _system
from wixvisitor.storage._arguments import BRIEF, YEAR, seconds
from wixvisitor.storage._closing import Closing
from wixvisitor.storage._file_lease import Lease
from wixvisitor.storage._file_lock import FileLock
from wixvisitor.storage._file_purge import RENAMED, FilePurge
from wixvisitor.storage._pickling import Pickling
from wixvisitor.storage._places import Group, make_directory, shown, sync_above
from wixvisitor.storage._protocol import ANY_VERSION, AnyVersion, Record, VersionConflict
from wixvisitor.storage._threads import LOAD_SECONDS, THREADS

T = TypeVar("T")

_WRITE_TIMEOUT = 9.0  # seconds; a write takes milliseconds, so a process that has the lock for longer is stopped
_LISTED: Final = 100  # files that are read at once to list their keys
_PURGED: Final = 100  # files that a save removes at most
_LOOKED_AT: Final = 1_000  # files that it examines for this
_PURGING: Final = 0.02  # the share of saves that purge, beside each process's first
_SPARE: Final = 0.1  # seconds that a save waits for this at most
_NAME: Final = re.compile(rf"([0-9a-f]{{40}}\.json)(?:{re.escape(RENAMED)})?")
_LOOK_AGAIN: Final = (0.005, 0.03)  # seconds until another process's lock is tried again


class FileStorage(Closing, Pickling):
    """Keeps visitors in files: for command lines, bots and desktop programs.

    Args:
        path: a directory (or a path that ends in a slash) keeps one file per visitor; any other path is one
            visitor's file, and a second visitor in it is a ``StorageError``. Missing files are created with
            mode 0600, a missing directory with 0700.
        expire_after: seconds after which a visitor may be removed if it was neither loaded nor saved, as in
            ``SQLiteStorage``; None keeps all for ever. A year by default, like the known refresh tokens of Wix. Until
            it is removed a visitor can be loaded. Some saves into a directory remove up to a hundred others, and
            ``purge`` removes all. If the path is one visitor's file, only ``purge`` removes it.
        accept_group: whether files that their group may use are accepted. By default a file of our own is made private
            again, with a warning, and a file whose mode cannot be changed is a ``StorageError``. Pass True if the
            volume fixes the mode (SMB, WSL) and all users in the group may act as the visitor. Files that all other
            users may use are never accepted.
        clock: seconds since the epoch; for tests.
        monotonic: seconds by a clock that is never set; for tests.

    Writes are atomic and durable (temporary file, fsync, rename, fsync of the directory and, once, of those above it),
    conditional on the version, and safe between processes on one machine. A lease ends as soon as its process
    ends, in whatever way. Not for network file systems without working locks, nor for a file that is mounted by itself
    (mount its directory).

    Raises:
        ConfigurationError: an argument is wrong.
        StorageError: by every method, if the file is a symlink, readable by others, not a file, not ours, or cut off
            (it is then left in place), or if the system raises an error.

    Concurrency: share one object between sessions, tasks, threads and event loops. Works on asyncio and trio. Calls run
    in a few threads of our own, one at a time for each visitor. A file that hangs, or is locked by another process,
    delays its own visitor only. A forked child can use the object like one of its own.
    Cancellation: a cancelled ``save`` took effect completely or not at all. One that had begun may end a little later,
    but before the visitor's next one begins.
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
        self._path = Path(text).expanduser().absolute()  # a daemon changes its working directory
        _system.check_path(self._path)
        separators = tuple(filter(None, (os.sep, os.altsep)))
        self._is_directory = text.endswith(separators)
        with suppress(OSError):  # every method will raise the error
            self._is_directory = self._is_directory or self._path.is_dir()
        self._group = Group.ACCEPTED if accept_group else Group.REMOVED
        life = None if expire_after is None else seconds(expire_after, "expire_after")
        self._options = {
            "expire_after": expire_after,
            "accept_group": accept_group,
            "clock": clock,
            "monotonic": monotonic,
        }
        self._clock = clock or time.time
        self._purging = None if life is None else FilePurge(life, self._clock, monotonic or time.monotonic)
        self._has_saved = False
        self._leases: dict[Path, Lease] = {}  # each is used by its visitor's thread only
        self._durable: set[Path] = set()  # directories that were made durable

    @drops_frames_async
    async def load(self, key: str) -> Record | None:
        """Returns the visitor's record, None if there is no file. Loading starts its life anew after a tenth of it.

        Takes no lock. It waits only for a purge that is about to remove this visitor.
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
        """Removes the visitor's file durably. Its lock files stay."""
        await self._alone("delete", self._place(key), lambda place: self._delete(place, key))

    async def purge(self) -> int:
        """Removes the visitors that were neither loaded nor saved for ``expire_after``. Returns their number.

        The remaining records of visitors that were forgotten 30 days ago are removed as well. The clock may be wrong,
        so a visitor is removed only if it was found past its time twice: an hour apart by this process; or past twice
        its time and a day, by two processes that were started at least a day apart. So the first call in a long-running
        process removes few visitors or none; a call an hour later removes the others. A program that cron starts each
        day may call it once each time. If a file cannot be removed, the others are removed all the same.

        Raises:
            StorageError: at the end, the first failure.

        Concurrency: other calls can run meanwhile.
        Cancellation: the visitors that were not removed yet stay.
        """
        removed, failure = 0, None
        for place in await THREADS.run((self._path, "purge"), self._expired):
            try:
                removed += await self._alone("purge", place, self._remove_if_expired)
            except StorageError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return removed

    async def _purge_at_times(self) -> None:
        """Removes visitors past their time, after some of the saves. A hanging file system delays a save briefly."""
        if self._purging is None or not self._is_directory:
            return
        if self._has_saved and random.random() >= _PURGING:  # noqa: S311 - spreads the work, protects nothing
            return
        self._has_saved = True
        with anyio.move_on_after(_SPARE), suppress(StorageError):
            await THREADS.run((self._path, "purge"), self._purge_some)

    async def keys(self) -> AsyncIterator[str]:
        """Yields the key of each visitor. A file that holds no record of ours is left out, with a warning."""
        with _file_record.failures("list", self._path):
            places = await THREADS.run((self._path, "list"), self._all_places)
        for start in range(0, len(places), _LISTED):
            read = functools.partial(self._keys_in, places[start : start + _LISTED])
            for key in await THREADS.run((self._path, "list"), read):
                yield key

    async def acquire_lease(self, key: str, holder: str, seconds: float) -> float:
        """Returns 0.0 if ``holder`` has the lease now, else the seconds until it is free at the latest."""
        return await self._alone("lease", self._place(key), lambda place: self._acquire(place, holder, seconds))

    async def release_lease(self, key: str, holder: str) -> None:
        """Gives the lease back if ``holder`` has it."""
        await self._alone("lease", self._place(key), lambda place: self._release(place, holder))

    async def aclose(self) -> None:
        """Gives back the remaining leases. Files are open during a call only. The object can be used again."""
        for place, lease in tuple(self._leases.items()):
            with suppress(StorageError):  # the lease ends by itself
                await self._alone("lease", place, functools.partial(self._release, holder=lease.holder))

    def __repr__(self) -> str:
        return f"<FileStorage {str(self._path)!r}, {'a directory' if self._is_directory else 'one visitor'}>"

    def _pickled(self) -> tuple[tuple[str], dict[str, Any]]:
        return (f"{self._path}{os.sep if self._is_directory else ''}",), self._options

    def _place(self, key: str) -> Path:
        if not self._is_directory:
            return self._path
        # A key may be a session's id, which is secret, or hold slashes: neither may be part of a file's name.
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
        while True:
            record = self._read(place, key)
            if record is None or self._purging is None or str(record.version).startswith(BRIEF):
                return record
            if self._purging.loaded(place):
                return record

    def _read(self, place: Path, key: str) -> Record | None:
        """Returns the record. If a purge has renamed the file, waits until it is removed or has its name again."""
        until = time.monotonic() + _WRITE_TIMEOUT
        while (record := _file_record.read(place, key, self._group)) is None:
            if not os.path.lexists(_file_purge.renamed_of(place)) and not os.path.lexists(place):
                break
            if _with_lock("load", place, lambda _: True) is None:  # else the purge has ended, or was killed
                if time.monotonic() > until:
                    raise StorageError(f"cannot load {shown(place)}: a purge has had its lock for {_WRITE_TIMEOUT:g} s")
                time.sleep(random.uniform(*_LOOK_AGAIN))  # noqa: S311 - spreads the attempts, protects nothing
        return record

    def _all_places(self) -> list[Path]:
        return self._places() if self._is_directory else [self._path]

    def _keys_in(self, places: list[Path]) -> list[str]:
        keys = []
        for place in places:
            try:
                key = _file_record.key_in(place, self._group)
                if key is None:  # a purge has renamed it, and may have been killed
                    key = _file_record.key_in(_file_purge.renamed_of(place), self._group)
            except StorageError as error:
                logger.warning("wixvisitor: a file is left out: %s", error)
                continue
            if key is not None:  # else it was removed meanwhile
                keys.append(key)
        return keys

    def _expired(self) -> list[Path]:
        """Returns the files that may have to be removed."""
        with _file_record.failures("purge", self._path):
            purging, places = self._purging, self._all_places()
        return [
            place
            for place in places
            if (purging is not None and purging.past(place))
            or _file_record.is_expired(place, self._clock())
            or os.path.lexists(_file_purge.renamed_of(place))
        ]

    def _places(self) -> list[Path]:
        """Returns the visitors' files of the directory, and no other program's."""
        with suppress(FileNotFoundError):
            names = os.listdir(self._path)  # noqa: PTH208 - there may be thousands, and a Path for each takes longer
            return [self._path / name for name in {found[1] for found in map(_NAME.fullmatch, names) if found}]
        return []

    def _purge_some(self) -> None:
        assert self._purging is not None
        removed, places = 0, []
        with suppress(OSError):
            places = self._places()
        for place in random.sample(places, min(len(places), _LOOKED_AT)):
            if removed < _PURGED and self._purging.past(place):
                with suppress(StorageError):  # the others are removed all the same
                    removed += _with_lock("purge", place, self._remove_if_expired) == (True,)

    # In a thread, under the visitor's lock

    def _save(
        self, place: Path, key: str, value: str, expected: str | AnyVersion | None, keep_for: float | None
    ) -> str:
        record = _file_record.read(place, key, self._group)
        if expected is not ANY_VERSION and expected != (record.version if record else None):
            raise VersionConflict(f"{shown(place)} was changed by another process")
        keep_until = None if keep_for is None else self._clock() + keep_for
        version = _file_record.write(place, key, value, self._group, keep_until=keep_until)
        if self._purging is not None:
            with suppress(OSError):  # then the file keeps the system's time
                self._purging.used(place)
        if place.parent not in self._durable:
            sync_above(place.parent)
            self._durable.add(place.parent)
        return version

    def _remove_if_expired(self, place: Path) -> bool:
        """Removes the file if it is past its time; returns whether it did."""
        if not _file_record.is_record(place):
            return False
        used = place.lstat().st_mtime_ns
        may_go = self._purging is not None and self._purging.may_go(place)
        if not may_go and not _file_record.is_expired(place, self._clock()):
            return False
        is_gone = _file_purge.remove_unused(place, used)
        if self._purging is not None:
            self._purging.forget(place)
        return is_gone

    def _delete(self, place: Path, key: str) -> None:
        if _file_record.read(place, key, self._group) is not None:
            _file_record.delete(place)
            if self._purging is not None:
                self._purging.forget(place)

    def _acquire(self, place: Path, holder: str, seconds: float) -> float:
        ours = self._leases.get(place)
        if ours is not None and ours.process != os.getpid():  # a forked child has inherited it from its parent
            ours = self._leases.pop(place) and None
        if ours is not None and ours.until > time.time() and ours.holder != holder:
            return ours.until - time.time()
        if ours is not None:  # its holder extends it, or a task has left it behind
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
    """Does the work; returns None if another process, or another storage of this process, has the lock."""
    with _file_record.failures(verb, place):
        make_directory(place.parent)
        lock = FileLock(_beside(place, ".lock"))
        if not lock.acquire():
            return None
        try:
            _file_purge.restore(place)
            return (work(place),)
        finally:
            lock.release()


def _beside(place: Path, suffix: str) -> Path:
    return place.with_name(place.name + suffix)
