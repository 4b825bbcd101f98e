"""The operating system's lock on a file, which ends with the process that holds it. Never waits.

POSIX has ``flock``. What ``filelock`` adds to it is not needed here, and has a price: it takes 27 times as long, and a
fork waits half a minute for an acquisition that hangs. Windows has no ``flock``, so ``filelock`` is used there.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

if sys.platform != "win32":
    import fcntl

_FLAGS: Final = (
    os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
)

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
        if sys.platform == "win32":
            return self._acquire_theirs()
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
        if self._theirs is not None:
            self._theirs.release()
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

        lock = filelock.FileLock(self.place, timeout=0, mode=0o600, thread_local=False)
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


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
