"""How the site completes what griffe reads of the package."""

from __future__ import annotations

from collections.abc import Iterator

import griffe
import pytest

from tools.site.docstrings import as_markdown
from tools.site.objects import complete
from tools.site.tables import as_markdown as tables

SHOP = '''
"""A package."""
from typing import Literal, TypedDict, Unpack

import attrs
import httpx

__all__ = ["Mug", "Shop", "Blocking", "Error"]

_Colour = Literal["red", "blue"]
_LIFE = 3_600


class _Which(TypedDict, total=False):
    times: int


@attrs.frozen(kw_only=True)
class Mug:
    """A mug.

    Attributes:
        colour: its colour,
            or none.
        size: in litres.
    """

    colour: _Colour
    size: float = attrs.field(default=0.3)
    serial: int = attrs.field(init=False)


class Shop:
    """A shop.

    Args:
        life: seconds.
    """

    def __init__(self, life: int = _LIFE) -> None: ...

    async def sell(self, mug: Mug, client: httpx.AsyncClient, **which: Unpack[_Which]) -> _Colour:
        """Sells it.

        More.
        """


class ClosableProxy: ...


class Blocking(ClosableProxy[Shop]):
    """Its arguments are those of Shop."""

    def __init__(self, **arguments: Unpack[_Which]) -> None: ...

    sell = blocking(Shop.sell)


class Error(Exception):
    """An error.

    Attributes:
        code: a code.
    """

    def __init__(self, message: str, *, code: str | None = None) -> None:
        self.code = code
'''


@pytest.fixture(scope="module")
def shop() -> Iterator[griffe.Module]:
    with griffe.temporary_visited_module(SHOP, module_name="shop") as module:
        complete(module)
        yield module


def signature(one: griffe.Object | griffe.Alias) -> dict[str, tuple[str, str | None]]:
    """Returns annotation and default of each parameter but ``self``."""
    function = one.members["__init__"] if one.is_class else one
    assert isinstance(function, griffe.Function)
    return {
        each.name: (str(each.annotation), None if each.default is None else str(each.default))
        for each in function.parameters
        if each.name != "self"
    }


def test_a_class_of_attrs_has_arguments(shop: griffe.Module) -> None:
    """They are those that attrs makes, and what the class says of a field stands at the field."""
    mug = shop["Mug"]
    assert signature(mug) == {"colour": ("Literal['red', 'blue']", None), "size": ("float", "0.3")}
    assert mug["colour"].docstring.value == "Its colour,\nor none."
    assert mug.docstring.value == "A mug."


def test_private_names_are_spelled_out(shop: griffe.Module) -> None:
    """A private type says what it stands for, a number is a number, and another package's name has its module."""
    assert signature(shop["Shop"]) == {"life": ("int", "3600")}
    assert signature(shop["Shop.sell"]) == {
        "mug": ("Mug", None),
        "client": ("httpx.AsyncClient", None),
        "times": ("int", "..."),
    }
    assert str(shop["Shop.sell"].returns) == "Literal['red', 'blue']"


def test_a_blocking_method_is_one(shop: griffe.Module) -> None:
    """It has the arguments of the async method, is not async, and leads to it."""
    sell = shop["Blocking.sell"]
    assert signature(sell) == signature(shop["Shop.sell"])
    assert "async" not in sell.labels
    assert sell.docstring.value == "Sells it.\n\n[`Shop.sell`][shop.Shop.sell] says more, and what it raises."
    assert signature(shop["Blocking"]) == signature(shop["Shop"])


def test_who_makes_an_object(shop: griffe.Module) -> None:
    """The arguments of a class that says nothing of them are hidden; its attributes keep their types."""
    assert "__init__" not in shop["Error"].members
    assert str(shop["Error.code"].annotation) == "str | None"
    assert shop["Error.code"].docstring.value == "A code."


def test_what_is_raised_besides() -> None:
    """A line that names no error becomes a sentence below the errors."""
    text = "Raises:\n    ValueError: no.\n    What ``get`` raises.\n\nThe end."
    assert as_markdown(text) == "Raises:\n    ValueError: no.\n\nAlso what ``get`` raises.\n\nThe end."
    assert as_markdown("Raises:\n    What ``get`` raises.") == "\n**Raises.** What ``get`` raises."


def test_a_table() -> None:
    """A simple table becomes Markdown's; a row without a first cell goes on, and ``::`` is one colon."""
    text = "Two::\n\n====  =======\na     b\n====  =======\n1     one,\n      or so\n2     two\n====  =======\n"
    assert tables(text) == "Two:\n\n| a | b |\n| --- | --- |\n| 1 | one, or so |\n| 2 | two |\n"


def test_a_table_without_an_end() -> None:
    """A table whose last rule is missing is an error that names the docstring."""
    with pytest.raises(ValueError, match=r"no rule at its end: Two\.$"):
        tables("Two.\n\n====  =======\na     b\n")
