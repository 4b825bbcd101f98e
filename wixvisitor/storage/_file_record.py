"""One visitor's file: its format, and how it is read and replaced without ever losing it. Blocking; no locks."""

from __future__ import annotations

import errno
import json
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from wixvisitor.errors import StorageError
from wixvisitor.storage._protocol import Record

_FORMAT: Final = 1
_LONGEST: Final = 1 << 20  # bytes; a record has about 2,000
_NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
_POSIX: Final = os.name == "posix"


@contextmanager
def failures(verb: str, place: Path) -> Iterator[None]:
    """Turns the system's errors into ``StorageError``; the file is as it was."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StorageError(f"cannot {verb} {place}: {reason}") from error


def read(place: Path, key: str) -> Record | None:
    """Returns the file's record, None if there is no file.

    Raises:
        StorageError: it is not a private regular file with this visitor's record. It is left in place.
    """
    with failures("read", place):
        try:
            data = _read_private(place)
        except FileNotFoundError:
            return None
    return _parsed(data, place, key)


def write(place: Path, key: str, value: str) -> str:
    """Replaces the file atomically and durably, and returns the new version. The caller holds the lock."""
    version = uuid.uuid4().hex
    data = json.dumps({"wixvisitor": _FORMAT, "key": key, "version": version, "value": value}).encode()
    if len(data) > _LONGEST:
        raise StorageError(f"a record of {len(data)} bytes is no visitor's; {place} is unchanged")
    draft = place.with_name(place.name + ".tmp")  # one name: what a killed writer left behind is written over
    try:
        _write_private(draft, data)
        os.replace(draft, place)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
    _sync_directory(place.parent)
    return version


def _read_private(place: Path) -> bytes:
    try:
        descriptor = os.open(place, os.O_RDONLY | _NO_FOLLOW | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        if error.errno == errno.ELOOP or place.is_symlink():
            raise StorageError(f"{place} is a symlink; give the path of the file itself") from None
        raise
    with open(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise StorageError(f"{place} is not a regular file")
        if _POSIX and mode & 0o077:
            raise StorageError(f"{place} can be read by others, and whoever reads it is the visitor: chmod 600 it")
        return file.read(_LONGEST + 1)


def _write_private(draft: Path, data: bytes) -> None:
    with suppress(FileNotFoundError):
        draft.unlink()
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    if not _POSIX:
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _parsed(data: bytes, place: Path, key: str) -> Record:
    content: Any = None
    with suppress(ValueError, RecursionError):
        content = json.loads(data)
    if not isinstance(content, dict) or "wixvisitor" not in content:
        raise StorageError(
            f"{place} is no visitor's record (cut off, or another program's file). It is left as it is: restore it, "
            "or move it away to start with a new visitor."
        )
    if content["wixvisitor"] != _FORMAT:
        raise StorageError(f"{place} has format {content['wixvisitor']!r:.20}; this version reads {_FORMAT}")
    if content.get("key") != key:
        raise StorageError(f"{place} is another visitor's file; give a directory to keep several")
    value, version = content.get("value"), content.get("version")
    if not isinstance(value, str) or not isinstance(version, str):
        raise StorageError(f"{place} is damaged: a field is missing. It is left as it is.")
    return Record(value, version)
