"""The lease on one visitor's file: who renews it. Blocking; the caller holds the file's lock.

Two things make a lease. The operating system's lock on ``….lease`` ends with its holder, however it dies. The time
written into that file ends a lease whose holder was stopped and still has the lock.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from filelock import BaseFileLock


@attrs.frozen
class Lease:
    """A lease that this process has.

    Attributes:
        holder: who asked for it.
        until: when it ends, in seconds since the epoch.
        lock: the system's lock, None if a stopped process still has it.
    """

    holder: str
    until: float
    lock: BaseFileLock | None


def take(lock: BaseFileLock, holder: str, seconds: float) -> Lease | float:
    """Returns the lease, or for how many seconds somebody else has it."""
    place = Path(lock.lock_file)
    try:
        lock.acquire(timeout=0)
    except TimeoutError:  # filelock's Timeout is one
        remaining = min(_read(place) - time.time(), seconds)
        if remaining > 0:
            return remaining
        return _write(place, Lease(holder, time.time() + seconds, None))
    return _write(place, Lease(holder, time.time() + seconds, lock))


def give_back(lease: Lease, place: Path) -> None:
    """Ends the lease."""
    if _read(place) == lease.until:
        place.write_text("")
    if lease.lock is not None:
        lease.lock.release()


def _write(place: Path, lease: Lease) -> Lease:
    place.write_text(json.dumps(lease.until))
    return lease


def _read(place: Path) -> float:
    """Returns until when the lease is taken; one that cannot be read is taken for as long as any."""
    with suppress(ValueError, OSError):
        return float(place.read_text())
    return float("inf")
