"""Checks of a fault's arguments. Each returns the value, or raises a ``WrongFault`` that names the argument. Pure."""

import re
from collections.abc import Callable
from typing import Any, Final

Check = Callable[[str, Any], Any]

_NAME: Final = re.compile(  # RFC 9110 section 5.6.2: token
    r"(?i:(?!(?:content-length|transfer-encoding)$))[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}"
)
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,8000}")


class WrongFault(ValueError):
    """The JSON names no fault. The message says why."""


def one_of(known: Any) -> Check:
    """One of these texts."""

    def check(name: str, value: Any) -> Any:
        if not isinstance(value, str) or value not in known:
            raise WrongFault(f"{name} must be one of {', '.join(known)}")
        return value

    return check


def number(least: float, most: float, *, whole: bool, optional: bool = False) -> Check:
    """A number in this range; with ``optional`` also null."""

    def check(name: str, value: Any) -> Any:
        if value is None and optional:
            return None
        kinds = (int,) if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
            kind = "whole number" if whole else "number"
            raise WrongFault(f"{name} must be a {kind} from {least:g} to {most:g}{' or null' if optional else ''}")
        return value

    return check


def matching(pattern: re.Pattern[str], what: str, *, optional: bool = False) -> Check:
    """A text that the whole pattern matches; with ``optional`` also null. ``what`` names it in the message."""

    def check(name: str, value: Any) -> Any:
        if value is None and optional:
            return None
        if not isinstance(value, str) or pattern.fullmatch(value) is None:
            raise WrongFault(f"{name} must be {what}{' or null' if optional else ''}")
        return value

    return check


def boolean(name: str, value: Any) -> Any:
    """True or false."""
    if not isinstance(value, bool):
        raise WrongFault(f"{name} must be true or false")
    return value


def headers(name: str, value: Any) -> Any:
    """An object of headers."""
    if not isinstance(value, dict) or len(value) > 50:
        raise WrongFault(f"{name} must be an object")
    for header, text in value.items():
        header_name(name, header)
        header_value(name, text)
    return value


def _encodable(text: str) -> str:
    """The text without half surrogate pairs, which JSON can hold and UTF-8 cannot."""
    return text.encode(errors="replace").decode()


def body(name: str, value: Any) -> Any:
    """A body: an object, a text or null."""
    if value is not None and not isinstance(value, dict | str):
        raise WrongFault(f"{name} must be an object, a text or null")
    if isinstance(value, str) and value != _encodable(value):
        raise WrongFault(f"{name} must be text that has an encoding")
    return value


header_name = matching(_NAME, "the name of a header that does not say how long the body is")
header_value = matching(_VALUE, "a header's value, without line breaks")
