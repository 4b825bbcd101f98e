"""What is public: the modules, their names, and the members of their classes, as griffe reads them."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import griffe

from tests.docs.blocks import TOP
from tools.site.docstrings import Docstrings

FAMILIES = sorted(path.parent.name for path in (TOP / "wixvisitor/apis").glob("*/__init__.py"))
MODULES = (
    "wixvisitor",
    "wixvisitor.storage",
    "wixvisitor.storage.sqlite",
    "wixvisitor.storage.redis",
    "wixvisitor.storage.sqlalchemy",
    "wixvisitor.storage.keyvalue",
    "wixvisitor.storage.sealed",
    "wixvisitor.storage.moving",
    "wixvisitor.fastapi",
    "wixvisitor.aiohttp",
    "wixvisitor.asgi",
    "wixvisitor.web",
    "wixvisitor.cookies",
    "wixvisitor.members",
    "wixvisitor.blocking",
    "wixvisitor.testing",
    "wixvisitor.opentelemetry",
    "wixvisitor.apis",
    "wixvisitor.apis.booking_slots",
)
SERVICES = tuple(
    f"wixvisitor.apis.{family}.{path.stem}"
    for family in FAMILIES
    for path in sorted((TOP / "wixvisitor/apis" / family).glob("*.py"))
    if path.stem != "__init__" and not path.stem.endswith(("_types", "_arguments"))
)
# Modules without __all__: each of them is for this.
NAMES = {
    "wixvisitor.storage.sqlite": ("SQLiteStorage",),
    "wixvisitor.storage.redis": ("RedisStorage",),
    "wixvisitor.storage.sqlalchemy": ("SQLAlchemyStorage", "add_tables"),
    "wixvisitor.storage.keyvalue": ("KeyValueStorage",),
    "wixvisitor.storage.sealed": ("SealedStorage",),
    "wixvisitor.storage.moving": ("MovingStorage", "Copied", "copy"),
    "wixvisitor.opentelemetry": ("instrument", "uninstrument"),
}
MODULES_AS_NAMES = {"errors", "storage"}  # names of wixvisitor that are modules
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


def names_of(module: str) -> tuple[str, ...]:
    """Returns the public names of a module."""
    if module in NAMES:
        return NAMES[module]
    tree = ast.parse(source_of(module).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return tuple(
                name for name in ast.literal_eval(node.value) if name not in {*MODULES_AS_NAMES, "__version__"}
            )
    raise AssertionError(f"{module} has no __all__")


def source_of(module: str) -> Path:
    path = TOP / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


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
