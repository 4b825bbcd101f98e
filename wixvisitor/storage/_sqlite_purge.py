"""Removes the visitors of a database that were not used for a long time. Blocking.

The clock may be wrong: a bad time server, a restored virtual machine, a board that starts in 1970. So a record past its
time stays readable until it was found past its time twice. Between the two findings a wrong clock would have been
corrected:

- HOUR. One process finds it past its time twice, an hour apart by a clock that is never set (``time.monotonic``).
- DAY. Two processes find it past twice its time and a day. The second process was started at least a day after the
  first one was, and at least a day less an hour after the first one found the record. This rule is for programs that
  never run for an hour. A process's start is calculated back from the present time of the clock, so that both times
  come from the same clock, right or wrong.

A finding is a mark in a table of its own, ``overdue``, so that programs of older versions can still use the file. A
mark is valid for one version and one expiry of a record, so a save or a load cancels it. If the clock finds the record
not past its time, the mark is removed.
"""

from __future__ import annotations

import math
import sqlite3
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from wixvisitor.storage._sqlite_file import transaction

_HOUR: Final = 3_600.0  # seconds, as all here
_DAY: Final = 86_400.0
_SLACK: Final = 60.0  # tolerance for the day between two starts, whose times are estimates
_BETWEEN: Final = 60.0  # between two searches for all records past their time
_IMPLAUSIBLE: Final = 1_700_000_000.0  # November 2023; no record ends earlier, unless it was saved with a wrong clock

# The columns "long_…" are for DAY: when it was found past twice its time and a day, and when that process began.
_TABLE: Final = """
    CREATE TABLE IF NOT EXISTS overdue (number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE NOT NULL,
    version TEXT NOT NULL, expires_at REAL NOT NULL, long_found_at REAL, long_began_at REAL)"""
_SAME: Final = "overdue.key = v.key AND overdue.version = v.version AND overdue.expires_at = v.expires_at"
_DATE_AGAIN: Final = "UPDATE visitors SET expires_at = :fresh WHERE expires_at < :implausible"
_UNMARK: Final = (
    "DELETE FROM overdue WHERE expires_at > :now",
    f"DELETE FROM overdue WHERE NOT EXISTS (SELECT 1 FROM visitors AS v WHERE {_SAME})",  # noqa: S608 - constants, as below
    """UPDATE overdue SET long_found_at = NULL, long_began_at = NULL
    WHERE long_found_at > :now OR expires_at + :longer > :now""",
)
_MARK: Final = f"""
    INSERT OR REPLACE INTO overdue (key, version, expires_at)
    SELECT v.key, v.version, v.expires_at FROM visitors AS v
    WHERE v.expires_at <= :now AND NOT EXISTS (SELECT 1 FROM overdue WHERE {_SAME}) LIMIT :most"""  # noqa: S608
_MARK_LONG: Final = """
    UPDATE overdue SET long_found_at = :now, long_began_at = :began
    WHERE long_found_at IS NULL AND expires_at + :longer <= :now"""
_LAST: Final = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'overdue'"
_FOUND: Final = f"""
    SELECT v.key FROM overdue JOIN visitors AS v ON {_SAME}
    WHERE number <= :seen AND v.expires_at <= :now LIMIT :most"""  # noqa: S608
_FOUND_LONG: Final = f"""
    SELECT v.key FROM overdue JOIN visitors AS v ON {_SAME}
    WHERE long_began_at <= :a_day_before AND long_found_at <= :day_less_hour_before LIMIT :most"""  # noqa: S608


class Step(NamedTuple):
    """The result of one step of a purge.

    Attributes:
        removed: the number of removed visitors.
        has_more: whether another step would find more to remove.
    """

    removed: int
    has_more: bool


class Purge:
    """What one process knows about the records past their time.

    Args:
        life: seconds that a record is kept after it was loaded or saved.
        monotonic: seconds by a clock that is never set.

    Concurrency: for the one thread that writes.
    """

    def __init__(self, life: float, monotonic: Callable[[], float]) -> None:
        self._life = life
        self._monotonic = monotonic
        self._began = monotonic()
        self._connection: sqlite3.Connection | None = None  # the numbers are valid for one file only
        self._seen: deque[tuple[float, int]] = deque()  # by search: its time, and the highest number of a mark

    def step(self, connection: sqlite3.Connection, now: float, *, most: int, is_asked: bool) -> Step:
        """Marks the records past their time, and removes those that were found twice.

        Args:
            connection: to the database; it is in no transaction.
            now: seconds since the epoch.
            most: the largest number of records to mark, and to remove.
            is_asked: whether to search for all records past their time, even if that was done a moment ago.
        """
        if math.isinf(self._life):
            return Step(0, has_more=False)
        if connection is not self._connection:
            self._connection = connection
            self._seen.clear()
        tick = self._monotonic()
        looks = is_asked or not self._seen or tick - self._seen[-1][0] >= _BETWEEN
        with transaction(connection, "IMMEDIATE"):
            connection.execute(_TABLE)
            marked = self._mark(connection, now, tick, most) if looks else 0
            removed = self._remove(connection, now, tick, most, looks=looks)
            [last] = connection.execute(_LAST).fetchone()
        if looks:
            self._remember(tick, last)
        return Step(removed, has_more=most in (marked, removed))

    def _remember(self, tick: float, last: int) -> None:
        """Notes that all marks up to this number exist now. Of many notes it keeps some, so that these can grow old."""
        if len(self._seen) > 1 and tick - self._seen[-2][0] < _BETWEEN:
            self._seen.pop()
        self._seen.append((tick, last))

    def _mark(self, connection: sqlite3.Connection, now: float, tick: float, most: int) -> int:
        longer = self._life + _DAY
        if now >= _IMPLAUSIBLE:
            connection.execute(_DATE_AGAIN, {"fresh": now + self._life, "implausible": _IMPLAUSIBLE})
        for statement in _UNMARK:
            connection.execute(statement, {"now": now, "longer": longer})
        marked = connection.execute(_MARK, {"now": now, "most": most}).rowcount
        began = now - (tick - self._began)
        connection.execute(_MARK_LONG, {"now": now, "longer": longer, "began": began})
        return marked

    def _remove(self, connection: sqlite3.Connection, now: float, tick: float, most: int, *, looks: bool) -> int:
        while len(self._seen) > 1 and self._seen[1][0] <= tick - _HOUR:
            self._seen.popleft()
        when, number = self._seen[0] if self._seen else (tick, 0)
        seen = number if when <= tick - _HOUR else 0
        found = connection.execute(_FOUND, {"now": now, "seen": seen, "most": most}).fetchall()
        if looks and len(found) < most:
            began = now - (tick - self._began)
            limits = {"a_day_before": began - _DAY + _SLACK, "day_less_hour_before": began - _DAY + _HOUR}
            found += connection.execute(_FOUND_LONG, {**limits, "most": most - len(found)}).fetchall()
        connection.executemany("DELETE FROM visitors WHERE key = ?", found)
        connection.executemany("DELETE FROM overdue WHERE key = ?", found)
        return len(set(found))
