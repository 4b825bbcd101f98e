"""The types of arguments: keys are optional unless a method requires them, and enums are closed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import attrs

from tools.apis.answers import reached
from tools.apis.description import Method, Module, Shapes, Type, pascal
from tools.apis.spelling import alias, imports, module, spelled, typed_dict

Paths = frozenset[tuple[str, ...]]
"""Paths of required keys inside a value; lists and maps are looked through."""

NONE: Paths = frozenset()


@attrs.define
class ArgumentTypes:
    """The types that a module's arguments need.

    Two methods may require different keys of the same type. Then the second has a type of its own, named after both.
    """

    one: Module
    _names: dict[tuple[str, Paths], str] = attrs.field(factory=dict, init=False)
    _fields: dict[str, Mapping[str, str]] = attrs.field(factory=dict, init=False)
    enums: dict[str, tuple[str, ...]] = attrs.field(factory=dict, init=False)

    def spelled(self, kind: Type, requires: Iterable[tuple[str, ...]], method: Method, *, nullable: bool = True) -> str:
        """Returns a type in Python, and collects what it leads to."""
        paths = frozenset(requires)
        return spelled(kind, lambda name: self._named(name, paths, method), nullable=nullable)

    def _named(self, name: str, paths: Paths, method: Method) -> str:
        one = self.one
        if name not in one.own and not _inside(paths, one.fields(name)):
            return f"shared.{name}"
        if name in one.own.enums:
            self.enums[name] = one.own.enums[name]
            return name
        key = (name, _inside(paths, one.fields(name)))
        if key not in self._names:
            self._names[key] = self._free(name, method)
            self._fields[self._names[key]] = {}
            self._fields[self._names[key]] = self._fields_of(name, paths, method)
        return self._names[key]

    def _free(self, name: str, method: Method) -> str:
        taken = self._names.values()
        return name if name not in taken else f"{name}For{pascal(method.wix_name)}"

    def _fields_of(self, name: str, paths: Paths, method: Method) -> Mapping[str, str]:
        fields = {}
        for key, kind in self.one.fields(name).items():
            below = [path[1:] for path in paths if path[0] == key and len(path) > 1]
            required = kind.required or (key,) in paths
            text = self.spelled(kind, below, method, nullable=not required)
            fields[key] = f"Required[{text}]" if required else text
        return fields

    @property
    def used(self) -> bool:
        """Whether anything was collected."""
        return bool(self.enums or self._fields)

    def definitions(self) -> Iterator[str]:
        """Yields what was collected."""
        yield from (alias(name, self.enums[name]) for name in sorted(self.enums))
        yield from (typed_dict(name, self._fields[name], total=False) for name in sorted(self._fields))


def _inside(paths: Paths, fields: Mapping[str, Type]) -> Paths:
    """Returns the paths that exist in a type."""
    return frozenset(path for path in paths if path and path[0] in fields)


def argument_types(types: ArgumentTypes, shared: str) -> Iterator[str]:
    """Yields the module with the types that were collected."""
    definitions = list(types.definitions())
    yield from module(f"Arguments: {types.one.dotted}.", imports(definitions, shared), definitions)


def shared_argument_types(shapes: Shapes, modules: Iterable[Module]) -> Iterator[str]:
    """Yields the module with the types that several modules' arguments share."""
    names = {name for one in modules for name in _argument_names(one) if name not in one.own}

    def definitions() -> Iterator[str]:
        named: Callable[[str], str] = str
        yield from (alias(name, shapes.enums[name]) for name in sorted(names) if name in shapes.enums)
        for name in sorted(names):
            if name in shapes.types:
                fields = {key: spelled(kind, named) for key, kind in shapes.types[name].items()}
                yield typed_dict(name, fields, total=False)

    found = list(definitions())
    yield from module("Arguments: what several modules share.", imports(found), found)


def _argument_names(one: Module) -> list[str]:
    return reached((argument.type for method in one.methods for argument in method.arguments), one)
