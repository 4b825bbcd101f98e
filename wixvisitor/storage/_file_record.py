"""One visitor's file: its format, and how to read and replace it without ever losing it. Blocking; no locks."""

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

from wixvisitor._wire.json_text import parsed_object
from wixvisitor.errors import StorageError
from wixvisitor.storage._arguments import BRIEF
from wixvisitor.storage._places import Group, cannot_replace, ensure_private, is_mounted, shown
from wixvisitor.storage._protocol import AnotherVisitor, Record
from wixvisitor.storage._system import NO_WAIT, opened, remove, replace, sync, sync_directory

_FORMAT: Final = 1
_MAX: Final = 1 << 20  # bytes; a record has about 2,000


@contextmanager
def failures(verb: str, place: Path) -> Iterator[None]:
    """Turns the system's errors into ``StorageError``; the file is unchanged."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StorageError(f"cannot {verb} {shown(place)}: {reason}") from error


def read(place: Path, key: str, group: Group = Group.REMOVED) -> Record | None:
    """Returns the file's record, None if there is no file.

    Args:
        place: the file.
        key: the visitor's key.
        group: what to do with a file that its group may use.

    Raises:
        StorageError: it is not a private regular file with this visitor's record. It is left in place.
    """
    with failures("read", place):
        try:
            data = _read_private(place, group)
        except FileNotFoundError:
            return None
    return _parsed(data, place, key)


def write(place: Path, key: str, value: str, group: Group = Group.REMOVED, *, keep_until: float | None = None) -> str:
    """Replaces the file atomically and durably, and returns the new version. The caller holds the lock.

    Args:
        place: the file.
        key: the visitor's key.
        value: the record's text.
        group: what to do with a file that its group may use.
        keep_until: seconds since the epoch after which ``is_expired``; None: never.
    """
    version = f"{'' if keep_until is None else BRIEF}{uuid.uuid4().hex}"
    content = {"wixvisitor": _FORMAT, "key": key, "version": version, "value": value}
    data = json.dumps(content if keep_until is None else {**content, "keepUntil": keep_until}).encode()
    if len(data) > _MAX:
        raise StorageError(f"a record of {len(data)} bytes is too large for a visitor; {shown(place)} is unchanged")
    draft = place.with_name(place.name + ".tmp")  # a fixed name: it replaces a killed writer's draft
    try:
        _write_private(draft, data, group)
        with replacing(place):
            replace(draft, place)
    except BaseException:
        with suppress(OSError):
            remove(draft)
        raise
    sync_directory(place.parent)
    return version


def key_in(place: Path, group: Group) -> str | None:
    """Returns the key of the file's visitor, None if there is no file.

    Raises:
        StorageError: as ``read``.
    """
    with failures("read", place):
        try:
            data = _read_private(place, group)
        except FileNotFoundError:
            return None
    key = (parsed_object(data) or {}).get("key")
    key = key if isinstance(key, str) else ""
    _parsed(data, place, key)
    return key


def is_expired(place: Path, now: float) -> bool:
    """Whether the file has a record with ``keep_until`` before ``now``."""
    until = _content(place).get("keepUntil")
    return isinstance(until, int | float) and until < now


def is_record(place: Path) -> bool:
    """Whether the file has a record that this version reads."""
    return bool(_content(place))


def _content(place: Path) -> dict[str, Any]:
    """Returns the JSON of a record, an empty dict for any other file."""
    with suppress(OSError, StorageError):
        content = parsed_object(_read_private(place, Group.ACCEPTED))
        if content and content.get("wixvisitor") == _FORMAT:
            return content
    return {}


def delete(place: Path) -> None:
    """Removes the file durably: it does not come back after a power failure. The caller holds the lock."""
    with suppress(FileNotFoundError), replacing(place):
        remove(place)
        sync_directory(place.parent)


@contextmanager
def replacing(place: Path) -> Iterator[None]:
    """Explains the system's error if the file is a mount, which can be neither replaced nor removed."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.EXDEV) or (error.errno == errno.EPERM and is_mounted(place)):
            raise cannot_replace(place) from error
        raise


def _read_private(place: Path, group: Group) -> bytes:
    try:
        descriptor = opened(place, os.O_RDONLY | NO_WAIT)
    except OSError as error:
        if error.errno == errno.ELOOP or place.is_symlink():
            raise StorageError(f"{shown(place)} is a symlink; give the path of the file itself") from None
        raise
    with open(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise StorageError(f"{shown(place)} is not a regular file")
        ensure_private(place, descriptor, group)
        return file.read(_MAX + 1)


def _write_private(draft: Path, data: bytes, group: Group = Group.REMOVED) -> None:
    with suppress(FileNotFoundError):
        remove(draft)
    descriptor = opened(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    with open(descriptor, "wb") as file:
        ensure_private(draft, descriptor, group)  # a mount may give every file a wider mode
        file.write(data)
        file.flush()
        sync(file.fileno())


def _parsed(data: bytes, place: Path, key: str) -> Record:
    content = parsed_object(data)
    if content is None or "wixvisitor" not in content:
        raise StorageError(
            f"{shown(place)} is no visitor's record (cut off, or another program's file). It is left as it is: restore "
            "it, or move it away to start with a new visitor. If it was made for a mount of this one file, mount its "
            "directory instead."
        )
    if content["wixvisitor"] != _FORMAT:
        raise StorageError(f"{shown(place)} has format {content['wixvisitor']!r:.20}; this version reads {_FORMAT}")
    if content.get("key") != key:
        raise AnotherVisitor(f"{shown(place)} is another visitor's file; give a directory to keep several")
    value, version = content.get("value"), content.get("version")
    if not isinstance(value, str) or not isinstance(version, str):
        raise StorageError(f"{shown(place)} is damaged: a field is missing. It is left as it is.")
    return Record(value, version)
