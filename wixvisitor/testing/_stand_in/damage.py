"""Values of a state, each checked when it is read. Pure."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

Json = dict[str, Any]


class Damage(ValueError):
    """A value of a state is wrong. The message says which."""


@contextmanager
def damages_reported() -> Iterator[None]:
    """Turns whatever a wrong value causes into a ``ValueError`` that says that the state is damaged."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        match error:
            case Damage():
                what = str(error)
            case KeyError():
                what = f"{error.args[0]} is missing"
            case _:
                what = "a value has the wrong type"
        raise ValueError(f"it is damaged: {what}") from None


def text_of(item: Json, name: str) -> str:
    """The text with this name.

    Raises:
        Damage: It is something else.

    """
    return str(checked(item[name], str, name))


def number_of(item: Json, name: str) -> float:
    """The number with this name.

    Raises:
        Damage: It is something else.

    """
    value = item[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Damage(f"{name} is no number")
    return value


def checked(value: Any, kind: type, name: str) -> Any:
    """The value, if it is of this kind.

    Raises:
        Damage: It is not.

    """
    if not isinstance(value, kind):
        raise Damage(f"{name} has the wrong type")
    return value
