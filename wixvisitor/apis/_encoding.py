"""A call's arguments as a path, as query parameters and as a body. Pure.

The rules are those of ``toURLSearchParams`` and ``resolveUrl`` in @wix/sdk-runtime 1.0.25: keys of nested objects are
joined by dots, and a list is a repeated parameter. Unlike there, path segments are percent-encoded.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from wixvisitor.errors import ConfigurationError

_PLACE: Final = re.compile(r"\{([^}]+)\}")  # "/v3/products/{product.id}": where in the payload the segment stands


def given(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the payload without the arguments that the caller left out."""
    return {name: value for name, value in payload.items() if value is not None}


def joined(values: list[str] | None) -> str | None:
    """Returns a field mask as REST has it: one text, with commas."""
    return None if values is None else ",".join(values)


def path_with(path: str, payload: Mapping[str, Any]) -> str:
    """Returns the path with the payload's values as segments.

    Raises:
        ConfigurationError: a value would lead to another path.
    """
    return _PLACE.sub(lambda place: _segment(place[1], payload), path)


def _segment(place: str, payload: Mapping[str, Any]) -> str:
    value: Any = payload
    for key in place.split("."):
        value = value[key] if isinstance(value, Mapping) and key in value else None
    if not isinstance(value, str) or value in ("", ".", ".."):
        raise ConfigurationError(f"{place}: expected a text that can be a segment of the URL's path")
    return quote(value, safe="")


def query_of(payload: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns the payload as query parameters; packed into ``.r`` if it holds lists of objects."""
    flat = list(_flat(payload, ""))
    if any(isinstance(value, Mapping) for _, value in flat):
        packed = json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        return [(".r", base64.urlsafe_b64encode(packed).decode().rstrip("="))]
    return [(key, _text(value)) for key, value in flat]


def _flat(values: Mapping[str, Any], before: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            items = value if isinstance(value, list | tuple) else [value]
            yield from ((f"{before}{key}", item) for item in items if item is not None)


def _text(value: Any) -> str:
    """Returns a parameter as JavaScript writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
