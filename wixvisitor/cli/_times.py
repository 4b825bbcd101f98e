"""Writes points in time for people. Pure, except for the local time zone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def moment(seconds: float) -> str:
    """Returns a time (epoch seconds) as the local date and time."""
    try:
        return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    except (ValueError, OverflowError, OSError):  # outside the calendar's years: the value is damaged or invented
        return f"{seconds:g} s after 1970"


def expiry(seconds: float, now: float) -> str:
    """Returns when something ends or ended, as seen from ``now`` (both epoch seconds)."""
    if seconds > now:
        return f"expires {moment(seconds)}, in {duration(seconds - now)}"
    return f"expired {moment(seconds)}, {duration(now - seconds)} ago"


def duration(seconds: float) -> str:
    """Returns a length of time in its two largest units: ``3 h 12 min``."""
    rest = int(seconds)
    for index, (size, name) in enumerate(_UNITS):
        if rest >= size:
            count, rest = divmod(rest, size)
            finer = _UNITS[index + 1 : index + 2]
            tail = [f"{rest // size} {name}" for size, name in finer if rest >= size]
            return " ".join([f"{count} {name}", *tail])
    return "0 s"
