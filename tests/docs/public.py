"""The public names and the members of their classes, as griffe reads them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

import attrs
import griffe

from tests.docs.blocks import TOP
from tools.site.docstrings import Docstrings
from tools.site.public import MODULES, SERVICES, names_of

# The methods of the cookies have no underscore, but only the web layer calls them: an app makes a cookie and gives it
# to ``setup``. In the reference they would hide the three classes.
WITHOUT_MEMBERS = {"IdCookie", "SealedCookie", "SharedCookie"}


@attrs.frozen
class Public:
    """A public name: where it is imported from, and what it is."""

    path: str
    found: Any

    def __str__(self) -> str:
        return self.path

    @property
    def shown(self) -> str:
        """What the site says of it."""
        return self.found.docstring.value if self.found.docstring else ""

    @property
    def docstring(self) -> str:
        """What the code says; empty if the site makes the text, as for a blocking method."""
        return written(self.found)


def written(found: Any) -> str:
    return str(found.extra["wixvisitor"].get("docstring", ""))


@functools.cache
def package() -> griffe.Module:
    """Returns the package as the site reads it."""
    extensions = griffe.load_extensions(Docstrings)
    return griffe.load("wixvisitor", search_paths=[TOP], extensions=extensions, docstring_parser="google")  # type: ignore[return-value]


def public(modules: tuple[str, ...] = (*MODULES, *SERVICES)) -> Iterator[Public]:
    """Yields each public name, and after a class each of its public members, also the inherited ones."""
    top = package()
    for module in modules:
        for name in names_of(module):
            found = top[f"{module}.{name}".removeprefix("wixvisitor.")]
            found = found.final_target if found.is_alias else found
            yield Public(f"{module}.{name}", found)
            if found.is_class and name not in WITHOUT_MEMBERS:
                yield from (
                    Public(f"{module}.{name}.{member}", one.final_target if one.is_alias else one)
                    for member, one in found.all_members.items()
                    if not member.startswith("_") and not one.is_class
                )


def parameters_of(one: Public) -> list[str]:
    """Returns the names of the parameters that a caller gives."""
    function = one.found
    if function.is_class:
        function = function.all_members.get("__init__")
        function = getattr(function, "final_target", function)
    if function is None or not function.is_function:
        return []
    return [found.name for found in function.parameters if found.name not in {"self", "cls"}]


def documented(text: str) -> set[str]:
    """Returns the names of the parameters that a docstring explains: in its Args, or in its sentences."""
    args = re.search(r"^(?:Args|Attributes):\n((?:(?: .*)?\n)+)", text + "\n", re.MULTILINE)
    listed = re.findall(r"^    \*{0,2}(\w+): ", args[1], re.MULTILINE) if args else []
    forwarded = {"arguments"} if "arguments" in text else set()  # "Its arguments are those of …"
    return {*listed, *forwarded, *re.findall(r"``\*{0,2}(\w+)", text)}


def labels_of(text: str) -> set[str]:
    """Returns which of these a docstring says."""
    return set(re.findall(r"^(Raises|Concurrency|Cancellation):", text, re.MULTILINE))
