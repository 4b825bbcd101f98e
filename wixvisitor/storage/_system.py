"""What stores do differently on each operating system: files are opened, replaced, removed, synced. Blocking.

- Windows refuses a step while another program has the file open, to read it or to look for viruses (errors 5 and 32).
  Python opens without ``FILE_SHARE_DELETE``. That lasts for milliseconds, so the step is tried again for two seconds.
- Windows cannot open a directory. So the list of its files cannot be synced, and a power failure may undo the last
  rename.
- The ``fsync`` of macOS leaves the data in the drive's cache. ``F_FULLFSYNC`` writes them to the medium (fsync(2)).
- Windows has no modes: what ``chmod`` says about group and others means nothing there.
- Python has no Unix sockets on Windows.
"""

from __future__ import annotations

import errno
import os
import random
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from wixvisitor.errors import ConfigurationError

T = TypeVar("T")

NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
NO_WAIT: Final = getattr(os, "O_NONBLOCK", 0)  # for the other end of a pipe
_PATIENCE: Final = 2.0  # seconds; a reader needs milliseconds
_AGAIN: Final = (0.001, 0.02)  # seconds until the next attempt


def is_windows() -> bool:
    """Whether this is Windows, where a file's mode does not say who may use it."""
    return sys.platform == "win32"


def has_unix_sockets() -> bool:
    """Whether Python has Unix sockets here."""
    return hasattr(socket, "AF_UNIX")


def is_ours(found: os.stat_result) -> bool:
    """Whether the file belongs to the user of this process."""
    return sys.platform == "win32" or found.st_uid == os.geteuid()


def opened(place: str | Path, flags: int, mode: int = 0o600) -> int:
    """Opens a file and returns its descriptor.

    Raises:
        OSError: with ``ELOOP``, it is a symlink; or the system cannot open it.
    """
    if not NO_FOLLOW and os.path.islink(place):  # noqa: PTH114 - it may be text
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(place))
    return _patiently(lambda: os.open(place, flags | NO_FOLLOW, mode))


def replace(source: Path, target: Path) -> None:
    """Renames a file; one that has the name already is replaced."""
    _patiently(lambda: os.replace(source, target))


def remove(place: Path) -> None:
    """Removes a file."""
    _patiently(place.unlink)


def _patiently(step: Callable[[], T]) -> T:
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return step()
        except PermissionError:
            if not is_windows() or time.monotonic() >= until:
                raise
        time.sleep(random.uniform(*_AGAIN))  # noqa: S311 - spreads the attempts, protects nothing


def sync(descriptor: int) -> None:
    """Makes a file's content, or a directory's list of files, durable."""
    if sys.platform == "darwin":
        import fcntl  # noqa: PLC0415 - not on Windows

        with suppress(OSError):  # network file systems lack it
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    os.fsync(descriptor)


def sync_directory(directory: Path) -> None:
    """Makes the directory's list of files durable, if the system can do that."""
    if is_windows():
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def check_path(path: Path) -> None:
    """Checks that Windows takes the path as a file's name.

    Raises:
        ConfigurationError: a colon in it would name a stream of another file.
    """
    if is_windows() and ":" in str(path)[len(path.drive) :]:
        raise ConfigurationError(f"path: Windows allows no colon in a file's name: {path}")
