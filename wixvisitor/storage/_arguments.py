"""What the adapters have in common."""

from __future__ import annotations

from typing import Final

from wixvisitor.errors import ConfigurationError

YEAR: Final = 31_536_000.0  # seconds; the life of the known refresh tokens of Wix
BRIEF: Final = "brief-"  # prefix of a record's version, if loading the record does not extend its life
_MAX: Final = 1e9  # seconds


def seconds(value: object, name: str) -> float:
    """Returns a time span.

    Raises:
        ConfigurationError: it is no number of seconds above 0.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _MAX:
        raise ConfigurationError(f"{name}: expected seconds, a number above 0")
    return float(value)
