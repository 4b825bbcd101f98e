"""Makes a place in the file system private and durable before tokens are written there. Blocking."""

from __future__ import annotations

import errno
import logging
import os
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Final

from wixvisitor._tasks.log import logger
from wixvisitor.errors import StorageError
from wixvisitor.storage import _system

_GROUP: Final = 0o070
_OTHERS: Final = 0o007
_CANNOT_SYNC: Final = (errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM, errno.EBADF)  # of a directory's fsync
_warned: Final[set[Path]] = set()  # directories for which the warning was logged


class Group(Enum):
    """What to do with a file that its group may use."""

    REMOVED = "the group's bits are taken away"
    ACCEPTED = "they are left as they are"


def shown(place: Path) -> str:
    """Returns the path for a message; parts that are no UTF-8 are escaped, so that every log can hold it."""
    return os.fsencode(place).decode("utf-8", "backslashreplace")


def ensure_private(place: Path, opened: int | None, group: Group) -> None:
    """Checks that only its owner may use a file. Removes the group's bits from a file of our own, with a warning.

    Volumes add such bits at each mount: Kubernetes with ``fsGroup``, SMB, WSL.

    Args:
        place: the file.
        opened: its descriptor; None: the path is used, since closing a descriptor would end SQLite's locks.
        group: what to do with the group's bits.

    Raises:
        StorageError: others may use it; or the group may, and that cannot be changed.
    """
    mode = _mode(place, opened)
    if _system.is_windows() or not mode & (_GROUP | _OTHERS):
        return
    if mode & _OTHERS:
        raise StorageError(
            f"{shown(place)} can be read by others, who could act as the visitor: chmod 600 it. If the mount gives "
            "every file such a mode, mount it with another one (SMB and vfat: file_mode=0600 or umask=077)."
        )
    if group is Group.ACCEPTED:
        return
    reason = _without_group(place, opened, mode)
    if reason:
        raise StorageError(
            f"{shown(place)} can be read by its group, which could then act as the visitor. The mode cannot be changed "
            f"({reason}): chmod 600 it, or if you trust all users in that group, pass accept_group=True"
        )
    level = logging.DEBUG if place.parent in _warned else logging.WARNING  # a directory may have thousands
    _warned.add(place.parent)
    logger.log(level, "wixvisitor: %s could be read by its group; it is private again", shown(place))


def _mode(place: Path, opened: int | None) -> int:
    return (place.lstat() if opened is None else os.fstat(opened)).st_mode


def _without_group(place: Path, opened: int | None, mode: int) -> str:
    """Removes the group's bits; returns why that is impossible, or an empty text."""
    if not _system.is_ours(place.lstat() if opened is None else os.fstat(opened)):
        return "it belongs to another user"
    try:
        os.chmod(place if opened is None else opened, mode & 0o700)  # noqa: PTH101 - a Path cannot be a descriptor
    except OSError as error:
        return error.strerror or type(error).__name__
    return "the file system keeps it" if _mode(place, opened) & _GROUP else ""


def make_directory(directory: Path) -> None:
    """Creates a directory with mode 0700, and missing directories above it with the umask's mode."""
    missing: list[Path] = []
    above = directory
    while not above.exists():
        missing.append(above)
        above = above.parent
    for one in reversed(missing):
        with suppress(FileExistsError):  # another process has created it
            one.mkdir(mode=0o700 if one is missing[0] else 0o777)


def sync_above(directory: Path) -> None:
    """Makes the directory itself, and those above it, durable.

    Does so also if another process has just created them, since it may have died before this step. Stops at the
    border of the file system, and skips directories that belong to others or cannot be synced. Windows cannot sync a
    directory, so nothing is looked at there: a process may be refused to look at a folder above its own.
    """
    if _system.is_windows():
        return
    below = directory.resolve()
    device = below.stat().st_dev
    for one in below.parents:
        found = one.stat()
        if found.st_dev != device:
            return
        try:
            _system.sync_directory(one)
        except OSError as error:
            if error.errno not in _CANNOT_SYNC:
                raise


def is_mounted(place: Path) -> bool:
    """Whether the file itself is a mount, so that no file can be renamed onto it. False if unknown."""
    try:
        mounts = Path("/proc/self/mountinfo").read_bytes()
    except OSError:
        return False
    wanted = os.fsencode(os.path.realpath(place))
    return any(_unescaped(line.split(b" ")[4]) == wanted for line in mounts.splitlines())


def _unescaped(text: bytes) -> bytes:
    for code in (b"040", b"011", b"012", b"134"):  # space, tab, newline, backslash
        text = text.replace(b"\\" + code, bytes([int(code, 8)]))
    return text


def cannot_replace(place: Path) -> StorageError:
    """Returns the error for a file that is a mount of its own."""
    return StorageError(
        f"{shown(place)} cannot be replaced, because it is mounted as a single file: mount its directory instead, and "
        "give the path of the file in it. It was left as it is."
    )
