"""Which visitors' files may be removed, because they were not used for a long time. Blocking.

A file's time of modification says when its visitor was last saved or loaded. The clock may be wrong, so the rules are
those of SQLite's file (``_sqlite_purge``): a file past its time stays readable until it was found past its time twice.

- HOUR. One process finds it past its time twice, an hour apart by a clock that is never set (``time.monotonic``).
- DAY. Two processes find it past twice its time and a day. The second process was started at least a day after the
  first one was, and at least a day less an hour after the first one found the file. This rule is for programs that
  never run for an hour. The first process notes what it found in ``….overdue`` beside the visitor's file.

A save or a load in between cancels the first finding, because it changes the file's time.

A load takes no lock, so another process may load a visitor while its file is being removed. Therefore a purge first
renames the file to ``….purged``, and removes it only if its time is still the old one. A load sets the time under the
file's own name. If that succeeds, it came before the renaming, and the purge gives the file its name back. If it fails,
the load reads again. A purge that is killed in between leaves ``….purged``, which the next use of the visitor, or the
next purge, gives its name back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from wixvisitor.storage._file_record import replacing
from wixvisitor.storage._system import remove, replace

_HOUR: Final = 3_600.0  # seconds, as all here
_DAY: Final = 86_400.0
_SLACK: Final = 60.0  # tolerance for the day between two starts, whose times are estimates
_IMPLAUSIBLE: Final = 1_700_000_000.0  # November 2023; no file is older, so an earlier time comes from a wrong clock
_UNTOUCHED: Final = 0.9  # the share of its life; if a record has more left, loading it changes no time
_MARK: Final = ".overdue"
RENAMED: Final = ".purged"


class _Mark(NamedTuple):
    """One finding: the file's time of use, when a process found that too old, and when that process began."""

    used: float
    found_at: float
    began_at: float


class FilePurge:
    """What one process knows about the files past their time.

    Args:
        life: seconds that a file is kept after its visitor was loaded or saved.
        clock: seconds since the epoch.
        monotonic: seconds by a clock that is never set.

    Concurrency: safe from many threads, one for each file at a time.
    """

    def __init__(self, life: float, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._life = life
        self._clock, self._monotonic = clock, monotonic
        self._began = monotonic()
        self._seen: dict[Path, tuple[float, float]] = {}  # by file: its time of use, and when that was found too old

    def used(self, place: Path) -> None:
        """Sets the file's time to now, since its visitor was saved."""
        _set_time(place, self._clock())

    def loaded(self, place: Path) -> bool:
        """Sets the file's time to now, since its visitor was loaded, if a tenth of its life has passed.

        Returns:
            False if there is no file any more. What was read from it before no longer counts.
        """
        try:
            now = self._clock()
            if now - _time_of(place) > (1 - _UNTOUCHED) * self._life:
                _set_time(place, now)
        except FileNotFoundError:
            return False
        except OSError:
            pass  # loading succeeds, also if the file cannot be written
        return True

    def past(self, place: Path) -> bool:
        """Whether this file is past its time by the clock now. If not, an earlier finding is forgotten."""
        with suppress(OSError):
            if _time_of(place) + self._life <= self._clock():
                return True
        self.forget(place)
        return False

    def may_go(self, place: Path) -> bool:
        """Whether the file was found past its time twice. The caller holds its lock."""
        try:
            used = _time_of(place)
        except FileNotFoundError:
            self.forget(place)
            return False
        now, tick = self._clock(), self._monotonic()
        if used < _IMPLAUSIBLE <= now:
            _set_time(place, now)
        if used < _IMPLAUSIBLE or used + self._life > now:
            self.forget(place)
            return False
        seen_as, since = self._seen.get(place, (None, tick))
        if seen_as != used:
            self._seen[place] = used, tick
        elif since <= tick - _HOUR:
            return True
        return self._was_found_by_another(place, used, now, now - (tick - self._began))

    def forget(self, place: Path) -> None:
        """Forgets what was found about a file that is gone or in use."""
        self._seen.pop(place, None)
        with suppress(OSError):
            _mark_of(place).unlink()

    def _was_found_by_another(self, place: Path, used: float, now: float, began: float) -> bool:
        if used + 2 * self._life + _DAY > now:
            return False
        mark = _read(_mark_of(place))
        if mark is None or mark.used != used or mark.found_at > now:
            with suppress(OSError):
                _mark_of(place).write_text(json.dumps(_Mark(used, now, began)), "utf-8")
            return False
        return mark.began_at <= began - _DAY + _SLACK and mark.found_at <= began - _DAY + _HOUR


def remove_unused(place: Path, used: int) -> bool:
    """Removes a file that may go, unless its visitor is loaded right now. The caller holds its lock.

    Args:
        place: the file.
        used: its time (``st_mtime_ns``) before it was found that it may go.

    Returns:
        Whether the file was removed.

    Raises:
        OSError: it cannot be renamed or removed.
    """
    renamed = renamed_of(place)
    with replacing(place):
        replace(place, renamed)
    if renamed.lstat().st_mtime_ns != used:
        replace(renamed, place)
        return False
    remove(renamed)  # after a power failure the file may come back, which is harmless
    return True


def restore(place: Path) -> None:
    """Gives a file its name back that a killed purge has left renamed. The caller holds its lock.

    Raises:
        OSError: it cannot be renamed.
    """
    renamed = renamed_of(place)
    if not os.path.lexists(renamed):
        return
    if os.path.lexists(place):  # a program of an older version has saved the visitor since
        remove(renamed)
    else:
        replace(renamed, place)


def renamed_of(place: Path) -> Path:
    """Returns the name that a purge gives to this file before it removes it."""
    return place.with_name(place.name + RENAMED)


def _mark_of(place: Path) -> Path:
    return place.with_name(place.name + _MARK)


def _read(path: Path) -> _Mark | None:
    with suppress(OSError, ValueError, TypeError, RecursionError):
        used, found_at, began_at = json.loads(path.read_bytes())
        return _Mark(float(used), float(found_at), float(began_at))
    return None


def _time_of(place: Path) -> float:
    return place.lstat().st_mtime


def _set_time(place: Path, seconds: float) -> None:
    os.utime(place, (seconds, seconds))
