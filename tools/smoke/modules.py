"""Imports every module of the installed package. What needs an extra that is not installed has to say so."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Iterator
from typing import Final

# The packages that each extra of pyproject.toml brings, by the names that are imported.
PACKAGES: Final = {
    "aiohttp": ("aiohttp", "cryptography"),
    "crypto": ("cryptography",),
    "fastapi": ("cryptography", "fastapi"),
    "graphql": ("graphql",),
    "httpx2": ("httpx2",),
    "kv": ("key_value",),
    "opentelemetry": ("opentelemetry",),
    "redis": ("redis",),
    "sqlalchemy": ("sqlalchemy",),
    "testing": ("graphql", "starlette", "uvicorn"),
    "trio": ("trio",),
}
COMES_ALONG: Final = {"fastapi": {"starlette", "opentelemetry"}}  # FastAPI itself depends on them
# Public modules that need an extra. They raise an ImportError with its name; all others can always be imported.
NEEDS: Final = {
    "wixvisitor.aiohttp": "aiohttp",
    "wixvisitor.asgi": "crypto",
    "wixvisitor.cookies": "crypto",
    "wixvisitor.fastapi": "fastapi",
    "wixvisitor.opentelemetry": "opentelemetry",
    "wixvisitor.storage.keyvalue": "kv",
    "wixvisitor.storage.redis": "redis",
    "wixvisitor.storage.sealed": "crypto",
    "wixvisitor.storage.sqlalchemy": "sqlalchemy",
    "wixvisitor.web": "crypto",
}
PYTEST: Final = ("wixvisitor.testing.plugin",)  # pytest itself loads it


def is_installed(package: str) -> bool:
    """Returns whether the package can be imported here."""
    return importlib.util.find_spec(package) is not None


def usable() -> set[str]:
    """Returns the extras whose packages are all here, whatever brought them."""
    return {extra for extra, packages in PACKAGES.items() if all(map(is_installed, packages))}


def check_packages(extra: str) -> None:
    """Raises an AssertionError if the extra lacks a package, or if a package came along that does not belong to it."""
    chosen = PACKAGES if extra == "all" else {extra: PACKAGES[extra]} if extra else {}
    missing = sorted(chosen.keys() - usable())
    assert not missing, f"the extra {extra!r} does not bring what these need: {missing}"
    belong = {package for packages in chosen.values() for package in packages} | COMES_ALONG.get(extra, set())
    others = {package for packages in PACKAGES.values() for package in packages} - belong
    foreign = sorted(filter(is_installed, others))
    assert not foreign, f"{foreign} came along, so this does not show that {extra!r} works alone"


def check_modules(extra: str) -> int:
    """Imports every module, and returns how many there are.

    Raises:
        AssertionError: a module cannot be imported although its extra is installed, or it does not name the extra.
    """
    extras, count = usable(), 0
    for name in module_names("wixvisitor"):
        count += 1
        needed = NEEDS.get(name)
        try:
            importlib.import_module(name)
        except ImportError as error:
            if not _is_excused(name, error, extras):
                raise AssertionError(f"with the extra {extra!r}: {name} cannot be imported: {error!r}") from error
        else:
            assert needed is None or needed in extras, f"{name} needs {needed!r}: it was imported without it"
    return count


def _is_excused(name: str, error: ImportError, extras: set[str]) -> bool:
    """Returns whether the module's extra is not installed, and the error says so where a user meets it."""
    package = (error.name or "").partition(".")[0]
    if not package or is_installed(package):
        return False
    if package == "pytest":
        return name in PYTEST or "._contract" in name
    needed = NEEDS.get(name)
    if needed is not None:
        return needed not in extras and f"pip install 'wixvisitor[{needed}]'" in str(error)
    is_private = any(part.startswith("_") for part in name.split("."))
    return is_private and any(package in PACKAGES[extra] for extra in PACKAGES.keys() - extras)


def module_names(package: str) -> Iterator[str]:
    """Yields the names of the package and of all modules in it, imported or not, but not of ``__main__``."""
    yield package
    spec = importlib.util.find_spec(package)
    assert spec is not None
    for module in pkgutil.iter_modules(spec.submodule_search_locations):
        name = f"{package}.{module.name}"
        if module.ispkg:
            yield from module_names(name)
        elif module.name != "__main__":
            yield name
