"""How annotations are spelled in the reference: a private name says what it stands for, or is only a word."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, Final

import griffe

_FOREIGN: Final = ("httpx.", "httpx2.")  # both have a Response, so the module is shown
_NUMBER: Final = re.compile(r"[\d_.]+")
_OF_OTHERS: Final = {"RequestArguments"}  # arguments of httpx, which has them in its own documentation


class Spelling:
    """Spells the annotations of one package.

    Args:
        package: as griffe has read it.
    """

    def __init__(self, package: griffe.Module) -> None:
        self._package = package
        self._public = set(_exported(package))

    def signature(self, function: griffe.Function) -> None:
        """Spells a function's arguments and what it returns."""
        parameters = [spelled for parameter in function.parameters for spelled in self._parameters(parameter)]
        function.parameters = griffe.Parameters(*parameters)
        function.returns = self.spelled(function.returns)

    def spelled(self, value: Any) -> Any:
        """Returns an annotation, or a default, without private names."""
        if isinstance(value, griffe.ExprName | griffe.ExprAttribute):
            return self._name(value)
        if isinstance(value, list | tuple):
            return type(value)(self.spelled(one) for one in value)
        if isinstance(value, griffe.Expr) and is_dataclass(value):
            twin = copy.copy(value)
            for field in fields(twin):
                if field.name != "parent":
                    setattr(twin, field.name, self.spelled(getattr(twin, field.name)))
            return twin
        return value

    def target(self, name: Any) -> griffe.Object | None:
        """Returns what a name stands for; None if it is another package's."""
        try:
            path = name.canonical_path
            if not path.startswith(f"{self._package.name}."):
                return None
            found = self._package[path.removeprefix(f"{self._package.name}.")]
            return found.final_target if isinstance(found, griffe.Alias) else found
        except (AttributeError, KeyError, griffe.AliasResolutionError, griffe.NameResolutionError):
            return None

    def _name(self, name: Any) -> Any:
        target, path = self.target(name), name.canonical_path
        if path.startswith(_FOREIGN):
            return path
        if target is not None and target.path in self._public:
            return name
        if isinstance(target, griffe.Attribute) and isinstance(target.value, griffe.Expr | str):
            is_type = isinstance(target.value, griffe.Expr) and not isinstance(target.value, griffe.ExprCall)
            if is_type or _NUMBER.fullmatch(str(target.value)):
                return self.spelled(target.value)
        return str(name) if path.startswith(f"{self._package.name}.") else name

    def _parameters(self, parameter: griffe.Parameter) -> Iterator[griffe.Parameter]:
        annotation = parameter.annotation
        if isinstance(annotation, griffe.ExprSubscript) and str(annotation.left) == "Unpack":
            yield from self._unpacked(parameter, annotation.slice)
            return
        parameter.annotation, parameter.default = self.spelled(annotation), self.spelled(parameter.default)
        yield parameter

    def _unpacked(self, parameter: griffe.Parameter, name: Any) -> Iterator[griffe.Parameter]:
        """Yields the arguments that a TypedDict stands for; ``**arguments`` if they are another library's."""
        kind = self.target(name)
        if not isinstance(kind, griffe.Class) or kind.name in _OF_OTHERS:
            parameter.annotation, parameter.default = "Any", None
            yield parameter
            return
        bases = [member for base in reversed(kind.mro()) for member in base.members.values()]
        for member in (*bases, *kind.members.values()):
            if isinstance(member, griffe.Attribute) and member.annotation is not None:
                keyword = griffe.ParameterKind.keyword_only
                yield griffe.Parameter(
                    member.name, annotation=self.spelled(member.annotation), kind=keyword, default="..."
                )


def _exported(module: griffe.Module) -> Iterator[str]:
    """Yields the paths of all that public modules export, or hold if they do not say what they export."""
    if any(part.startswith("_") for part in module.path.split(".")):
        return
    for name, member in module.members.items():
        if isinstance(member, griffe.Module):
            yield from _exported(member)
        elif name in module.exports if module.exports else not (member.is_alias or name.startswith("_")):
            try:
                yield member.final_target.path if isinstance(member, griffe.Alias) else member.path
            except griffe.AliasResolutionError:
                continue
