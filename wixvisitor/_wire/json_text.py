"""Parses JSON that others wrote. Pure.

``json.loads`` raises ``RecursionError``, too, if a text is nested too deeply. Here that is a text that is not JSON.
"""

from __future__ import annotations

import json
from typing import Any


def parsed(text: str | bytes) -> Any:
    """Returns the value of a JSON text; None if the text is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def parsed_object(text: str | bytes) -> dict[str, Any] | None:
    """Returns the value of a JSON text if it is an object, else None."""
    value = parsed(text)
    return value if isinstance(value, dict) else None
