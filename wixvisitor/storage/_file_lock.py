"""The operating system's lock on a file, which ends with the process that holds it. Never waits.

POSIX has ``flock``. What ``filelock`` adds to it is not needed here, and has a price: it takes 27 times as long, and a
fork waits half a minute for an acquisition that hangs. Windows has no ``flock``, so ``filelock`` is used there. It
locks a file of its own, ``….held``: no other handle can read or write a locked file (LockFileEx).
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from wixvisitor._tasks.forks import at_fork
from wixvisitor.storage._system import NO_FOLLOW, NO_WAIT

if sys.platform != "win32":
    import fcntl
else:
    fcntl: Any = None

_FLAGS: Final = os.O_RDWR | os.O_CREAT | NO_FOLLOW | NO_WAIT

_held: Final[set[int]] = set()  # descriptors that a forked child has to close; else a lock would outlive its holder


class FileLock:
    """A lock on one file; another object's lock on the same file excludes it, also in the same process.

    Args:
        place: the file. It is made with mode 0600, never followed if it is a symlink, and never removed.

    Concurrency: one thread at a time.
    """

    __slots__ = ("__weakref__", "_descriptor", "_process", "_theirs", "place")

    def __init__(self, place: Path) -> None:
        self.place = place
        self._descriptor: int | None = None
        self._process = 0
        self._theirs: Any = None

    def acquire(self) -> bool:
        """Takes the lock if it is free, and returns whether it was.

        Raises:
            OSError: the file cannot be opened or locked.
        """
        return self._acquire_theirs() if sys.platform == "win32" else self._acquire_ours()

    def _acquire_ours(self) -> bool:
        while True:
            descriptor = os.open(self.place, _FLAGS, 0o600)
            _held.add(descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(self.place, descriptor):
                    self._descriptor, self._process = descriptor, os.getpid()
                    return True
            except (BlockingIOError, PermissionError):
                return False
            finally:
                if self._descriptor is None:
                    _held.discard(descriptor)
                    os.close(descriptor)

    def release(self) -> None:
        """Gives the lock back if this process has it. A forked child does not release its parent's lock."""
        theirs, self._theirs = self._theirs, None
        if theirs is not None:
            theirs.release()
        descriptor, self._descriptor = self._descriptor, None
        if sys.platform != "win32" and descriptor is not None and self._process == os.getpid():
            _held.discard(descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing is not enough: a child that was just forked has a copy
            os.close(descriptor)

    def __del__(self) -> None:
        with suppress(Exception):
            self.release()

    def _acquire_theirs(self) -> bool:
        import filelock  # noqa: PLC0415 - 60 ms, and not on POSIX

        held = self.place.with_name(f"{self.place.name}.held")
        lock = filelock.FileLock(held, timeout=0, mode=0o600, thread_local=False)
        try:
            lock.acquire()
        except TimeoutError:  # filelock's Timeout is one
            return False
        self._theirs = lock
        return True


def _is_at(place: Path, descriptor: int) -> bool:
    """Whether the file is still the one at this place. If it was removed meanwhile, others lock a new file."""
    with suppress(FileNotFoundError):
        return os.path.samestat(place.lstat(), os.fstat(descriptor))
    return False


def _in_child() -> None:
    while _held:
        with suppress(OSError):
            os.close(_held.pop())


at_fork(in_child=_in_child)
