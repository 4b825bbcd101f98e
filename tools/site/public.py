"""What is public: the modules, their names, and where the reference shows a name."""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from typing import Final

_TOP: Final = Path(__file__).parents[2]
FAMILIES: Final = sorted(path.parent.name for path in (_TOP / "wixvisitor/apis").glob("*/__init__.py"))
MODULES: Final = (
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
SERVICES: Final = tuple(
    f"wixvisitor.apis.{family}.{path.stem}"
    for family in FAMILIES
    for path in sorted((_TOP / "wixvisitor/apis" / family).glob("*.py"))
    if path.stem != "__init__" and not path.stem.endswith(("_types", "_arguments"))
)
# Modules without __all__: each of them is for this.
NAMES: Final = {
    "wixvisitor.storage.sqlite": ("SQLiteStorage",),
    "wixvisitor.storage.redis": ("RedisStorage",),
    "wixvisitor.storage.sqlalchemy": ("SQLAlchemyStorage", "add_tables"),
    "wixvisitor.storage.keyvalue": ("KeyValueStorage",),
    "wixvisitor.storage.sealed": ("SealedStorage",),
    "wixvisitor.storage.moving": ("MovingStorage", "Copied", "copy"),
    "wixvisitor.opentelemetry": ("instrument", "uninstrument"),
}
MODULES_AS_NAMES: Final = {"errors", "storage"}  # names of wixvisitor that are modules
SHOWN_IN: Final = {"CATALOG_PATHS": "wixvisitor.web", "CatalogReader": "wixvisitor.web"}  # of several that export them


@functools.cache
def names_of(module: str) -> tuple[str, ...]:
    """Returns the public names of a module.

    Raises:
        ValueError: it has no ``__all__``, and is not in ``NAMES``.
    """
    if module in NAMES:
        return NAMES[module]
    tree = ast.parse(source_of(module).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return tuple(
                name for name in ast.literal_eval(node.value) if name not in {*MODULES_AS_NAMES, "__version__"}
            )
    raise ValueError(f"{module} has no __all__")


def source_of(module: str) -> Path:
    """Returns a module's file."""
    path = _TOP / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def address_of(name: str, near: str = "") -> str | None:
    """Returns where the reference shows a public name; None if there is no such name, or if it could be several.

    Args:
        name: such as ``FileStorage``.
        near: the module whose text has the name: ``setup`` is its own one.
    """
    homes = [SHOWN_IN[name]] if name in SHOWN_IN else [module for module in MODULES if name in names_of(module)]
    if len(homes) > 1:
        homes = [module for module in homes if f"{near}.".startswith(f"{module}.")]
    return f"{homes[0]}.{name}" if homes else None
