"""Which visitors' files may be removed, because nobody has needed them for long. Blocking.

A file's time of modification says when its visitor was last saved or loaded. The clock may be wrong, so the rules are
those of SQLite's file (``_sqlite_purge``): a file past its time stays, and is read, until that was found twice.

- HOUR. One process finds it twice, an hour apart by the clock that is never set (``time.monotonic``).
- DAY. Two processes find it past twice its time and a day. The second one was started a day after the first one, and a
  day less an hour after that found it. This is for programs that never run for an hour. What the first one found is
  kept in ``….overdue`` beside the visitor's file.

A save or a load in between makes the first finding void, because it changes the file's time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

_HOUR: Final = 3_600.0  # seconds, as all here
_DAY: Final = 86_400.0
_SLACK: Final = 60.0  # of the day between two starts, which are reckoned
_IMPLAUSIBLE: Final = 1_700_000_000.0  # November 2023: no file was used before, so a clock was wrong
_UNTOUCHED: Final = 0.9  # of its life: loading a record that has more left changes no time
_MARK: Final = ".overdue"


class _Mark(NamedTuple):
    """What a process found: the file's time of use, when it found that too old, and when the process began."""

    used: float
    found_at: float
    began_at: float


class FilePurge:
    """What one process knows of the files past their time.

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
        self._seen: dict[Path, tuple[float, float]] = {}  # a file's time of use, and when it was found too old

    def used(self, place: Path) -> None:
        """Notes in the file that its visitor was saved now."""
        _set_time(place, self._clock())

    def loaded(self, place: Path) -> None:
        """Notes in the file that its visitor was loaded, if a tenth of its time has passed and it can be written."""
        with suppress(OSError):  # what was read counts, also where nothing can be written
            now = self._clock()
            if now - _time_of(place) > (1 - _UNTOUCHED) * self._life:
                _set_time(place, now)

    def past(self, place: Path) -> bool:
        """Whether this file is past its time, by what the clock shows now. If not, what was found of it is void."""
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
        """Forgets what was found of a file, which has gone or is in use."""
        self._seen.pop(place, None)
        with suppress(OSError):
            _mark_of(place).unlink()

    def _was_found_by_another(self, place: Path, used: float, now: float, began: float) -> bool:
        if used + 2 * self._life + _DAY > now:
            return False
        mark = _read(_mark_of(place))
        if mark is None or mark.used != used or mark.found_at > now:
            with suppress(OSError):
                _mark_of(place).write_text(json.dumps(_Mark(used, now, began)))
            return False
        return mark.began_at <= began - _DAY + _SLACK and mark.found_at <= began - _DAY + _HOUR


def _mark_of(place: Path) -> Path:
    return place.with_name(place.name + _MARK)


def _read(path: Path) -> _Mark | None:
    with suppress(OSError, ValueError, TypeError, RecursionError):
        used, found_at, began_at = json.loads(path.read_text())
        return _Mark(float(used), float(found_at), float(began_at))
    return None


def _time_of(place: Path) -> float:
    return place.lstat().st_mtime


def _set_time(place: Path, seconds: float) -> None:
    os.utime(place, (seconds, seconds))
