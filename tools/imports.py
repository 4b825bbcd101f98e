"""What imports what within ``wixvisitor``, read from the source without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TOP = Path(__file__).parents[1] / "wixvisitor"


def module_files() -> dict[str, Path]:
    """Returns every module of the package by its dotted name below ``wixvisitor``."""
    files = {}
    for path in sorted(TOP.rglob("*.py")):
        parts = path.relative_to(TOP).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


MODULES = module_files()


def row_of(module: str) -> str:
    """Returns the module at the top of the package, or the wing, that a module belongs to."""
    return module.partition(".")[0]


def is_for_types(node: ast.AST) -> bool:
    """Returns whether a node is an ``if TYPE_CHECKING``."""
    test = node.test if isinstance(node, ast.If) else None
    return "TYPE_CHECKING" in (getattr(test, "id", None), getattr(test, "attr", None))


def import_nodes(tree: ast.AST, *, inside_functions: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yields the import statements that run, at once or (with ``inside_functions``) ever."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and is_for_types(node):
            for other in node.orelse:
                yield from import_nodes(other, inside_functions=inside_functions)
        elif inside_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from import_nodes(node, inside_functions=inside_functions)


def imported(module: str, *, inside_functions: bool = False) -> set[str]:
    """Returns the absolute names of the modules that a module imports."""
    path, names = MODULES[module], set()
    package = ["wixvisitor", *path.relative_to(TOP).parts[:-1]]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in import_nodes(tree, inside_functions=inside_functions):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
            continue
        base = node.module or ""
        if node.level:
            base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
        below = base.removeprefix("wixvisitor").removeprefix(".")
        for alias in node.names:
            is_module = base.partition(".")[0] == "wixvisitor" and f"{below}.{alias.name}".lstrip(".") in MODULES
            names.add(f"{base}.{alias.name}" if is_module else base)
    return names


def ours(module: str, *, inside_functions: bool = False) -> set[str]:
    """Returns the modules of the package that a module imports, by their names below ``wixvisitor``."""
    names = {name for name in imported(module, inside_functions=inside_functions) if row_of(name) == "wixvisitor"}
    return {name.removeprefix("wixvisitor").removeprefix(".") for name in names}
