"""Points in time as a person reads them."""

from __future__ import annotations

import pytest

from wixvisitor.cli._times import duration, expiry, moment


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.9, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3 * 3600 + 12 * 60 + 5, "3 h 12 min"),
        (3600 + 5, "1 h"),
        (365 * 86_400, "365 d"),
        (86_400 + 3600, "1 d 1 h"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    """Nobody needs the seconds of a year."""
    assert duration(seconds) == text


def test_an_expiry_is_seen_from_now() -> None:
    """What ends now has ended."""
    assert expiry(1_800_000_060, 1_800_000_000).endswith(", in 1 min")
    assert expiry(1_800_000_000, 1_800_000_300).endswith(", 5 min ago")
    assert expiry(1_800_000_000, 1_800_000_000).startswith("expired 2027-01-1")


def test_a_year_that_no_calendar_has_is_given_in_seconds() -> None:
    """A damaged expiry is shown, not raised."""
    assert moment(10**14) == "1e+14 s after 1970"
