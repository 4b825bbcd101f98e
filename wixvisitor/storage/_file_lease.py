"""The lease on one visitor's file: who renews it. Blocking; the caller holds the file's lock.

Two things make a lease. The operating system's lock on ``….lease`` ends with its holder, however it dies. The time
written into that file ends a lease whose holder was stopped and still has the lock.
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
        holder: who asked for it.
        until: when it ends, in seconds since the epoch.
        lock: the system's lock, None if a stopped process still has it.
        process: whose lease it is; a forked child inherits this object, not the lease.
    """

    holder: str
    until: float
    lock: FileLock | None
    process: int = attrs.field(factory=os.getpid)


def take(place: Path, holder: str, seconds: float) -> Lease | float:
    """Returns the lease, or for how many seconds somebody else has it."""
    lock = FileLock(place)
    if not lock.acquire():
        remaining = min(_read(place).until - time.time(), seconds)
        return remaining if remaining > 0 else _write(place, Lease(holder, time.time() + seconds, None))
    noted = _read(place)
    if noted.taken_by_time and noted.until > time.time():  # the stopped one is back, and gave up what it had lost
        lock.release()
        return min(noted.until - time.time(), seconds)
    return _write(place, Lease(holder, time.time() + seconds, lock))


def give_back(lease: Lease, place: Path) -> None:
    """Ends the lease."""
    if _read(place).until == lease.until:
        place.write_text("")
    if lease.lock is not None:
        lease.lock.release()


@attrs.frozen
class _Note:
    """What the file says: until when, and whether without the system's lock, because a stopped process has it."""

    until: float
    taken_by_time: bool = False


def _write(place: Path, lease: Lease) -> Lease:
    place.write_text(json.dumps([lease.until, lease.lock is None]))
    return lease


def _read(place: Path) -> _Note:
    """Returns the note; where the system's lock is held, one that cannot be read counts as taken for ever."""
    with suppress(ValueError, OSError, TypeError):
        until, taken_by_time = parsed(place.read_bytes())
        return _Note(float(until), bool(taken_by_time))
    return _Note(float("inf"))
