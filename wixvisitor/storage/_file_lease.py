"""The lease on one visitor's file: it says which process renews the visitor. Blocking; the caller holds its lock.

A lease has two parts. The operating system's lock on ``….lease`` ends with the process that holds it, however that
ends. The time written into the file ends the lease of a stopped process, which still has the lock.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path

import attrs

from wixvisitor._wire.json_text import parsed
from wixvisitor.storage._file_lock import FileLock


@attrs.frozen
class Lease:
    """A lease that this process has.

    Attributes:
        holder: the id of the holder that asked for it.
        until: when it ends, in seconds since the epoch.
        lock: the system's lock, None if a stopped process still has it.
        process: the id of the process that has it; a forked child inherits this object, but not the lease.
    """

    holder: str
    until: float
    lock: FileLock | None
    process: int = attrs.field(factory=os.getpid)


def take(place: Path, holder: str, seconds: float) -> Lease | float:
    """Returns the lease, or for how many seconds another process has it."""
    lock = FileLock(place)
    if not lock.acquire():
        remaining = min(_read(place).until - time.time(), seconds)
        return remaining if remaining > 0 else _write(place, Lease(holder, time.time() + seconds, None))
    noted = _read(place)
    if noted.taken_by_time and noted.until > time.time():  # the stopped process runs again, and has released its lock
        lock.release()
        return min(noted.until - time.time(), seconds)
    return _write(place, Lease(holder, time.time() + seconds, lock))


def give_back(lease: Lease, place: Path) -> None:
    """Ends the lease."""
    if _read(place).until == lease.until:
        place.write_text("", "utf-8")
    if lease.lock is not None:
        lease.lock.release()


@attrs.frozen
class _Note:
    """What the file says: when the lease ends, and whether a stopped process had the system's lock then."""

    until: float
    taken_by_time: bool = False


def _write(place: Path, lease: Lease) -> Lease:
    place.write_text(json.dumps([lease.until, lease.lock is None]), "utf-8")
    return lease


def _read(place: Path) -> _Note:
    """Returns the note. One that cannot be read never ends, for as long as the system's lock is held."""
    with suppress(ValueError, OSError, TypeError):
        until, taken_by_time = parsed(place.read_bytes())
        return _Note(float(until), bool(taken_by_time))
    return _Note(float("inf"))
