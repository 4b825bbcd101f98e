"""``description.json`` and ``by_hand.json`` in Python's terms."""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

HERE: Final = Path(__file__).parent
_WORD_START: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_PARTS: Final = re.compile(r"(\w+)((?:\[\]|\{\}|\?)*)(!?)")


def snake(name: str) -> str:
    """Returns ``catalog_items`` for ``catalogItems``."""
    words = _WORD_START.sub("_", name).lower()
    return f"{words}_" if keyword.iskeyword(words) else words


def pascal(name: str) -> str:
    """Returns ``QueryProducts`` for ``queryProducts``."""
    return name[:1].upper() + name[1:]


@attrs.frozen
class Type:
    """A type as the description writes it: ``Cart[]?`` is ``Cart`` with the suffixes ``[]`` and ``?``."""

    base: str
    suffixes: tuple[str, ...] = ()
    required: bool = False

    @classmethod
    def of(cls, text: str) -> Type:
        """Reads one."""
        match = _PARTS.fullmatch(text)
        assert match is not None, text
        return cls(match[1], tuple(re.findall(r"\[\]|\{\}|\?", match[2])), bool(match[3]))


@attrs.frozen
class Shapes:
    """Types and enums by name."""

    types: Mapping[str, Mapping[str, Type]]
    enums: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, read: Mapping[str, Any]) -> Shapes:
        """Reads those of a module, or the shared ones."""
        types = {
            name: {key: Type.of(text) for key, text in fields.items()} for name, fields in sorted(read["types"].items())
        }
        return cls(types, {name: tuple(values) for name, values in sorted(read["enums"].items())})

    def __contains__(self, name: str) -> bool:
        return name in self.types or name in self.enums


@attrs.frozen
class Argument:
    """An argument: its name in Python, its place in the payload, and which keys inside it are required."""

    name: str
    at: tuple[str, ...]
    type: Type
    required: bool
    joined: bool
    requires: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, read: Mapping[str, Any]) -> Argument:
        """Reads one."""
        return cls(
            snake(read["name"]),
            tuple(read["at"].split(".")),
            Type.of(read["type"]),
            read.get("required", False),
            read.get("joined", False),
            tuple(tuple(path.split(".")) for path in read.get("requires", ())),
        )


@attrs.frozen
class Method:
    """A method of Wix's."""

    wix_name: str
    name: str
    method: str
    path: str
    carries: str
    reads: bool
    arguments: tuple[Argument, ...]
    answer: Type
    codes: tuple[str, ...]
    permissions: tuple[str, ...]
    scopes: tuple[str, ...]
    deprecated: Mapping[str, Any] | None
    reference: str

    @classmethod
    def of(cls, name: str, read: Mapping[str, Any]) -> Method:
        """Reads one. Required arguments come first."""
        arguments = sorted(map(Argument.of, read["arguments"]), key=lambda argument: not argument.required)
        return cls(
            wix_name=name,
            name=snake(name),
            arguments=tuple(arguments),
            answer=Type.of(read["answer"]),
            codes=tuple(read["codes"]),
            permissions=tuple(read["permissions"]),
            scopes=tuple(read.get("scopes", ())),
            deprecated=read.get("deprecated"),
            **{key: read[key] for key in ("method", "path", "carries", "reads", "reference")},
        )

    @property
    def answers(self) -> bool:
        """Whether its answer has any key."""
        return self.answer.base not in ("any", "nothing")


@attrs.frozen
class Module:
    """A module of ``wixvisitor.apis``, such as ``ecom/current_cart``."""

    name: str
    package: str
    methods: tuple[Method, ...]
    own: Shapes
    shared: Shapes

    @property
    def dotted(self) -> str:
        """Its name in Python, below ``wixvisitor.apis``."""
        return self.name.replace("/", ".")

    def fields(self, name: str) -> Mapping[str, Type]:
        """Returns the fields of a type, which may be shared."""
        return self.own.types.get(name) or self.shared.types.get(name) or {}


def read_description() -> tuple[Shapes, tuple[Module, ...]]:
    """Returns the shared shapes and the modules, with those that are described by hand."""
    read = json.loads((HERE / "description.json").read_text("utf-8"))
    by_hand = json.loads((HERE / "by_hand.json").read_text("utf-8"))
    shared = Shapes.of(read["shared"])
    return shared, (*_modules(read["modules"], shared), *_modules(by_hand, shared))


def _modules(read: Mapping[str, Any], shared: Shapes) -> Iterator[Module]:
    for name, module in read.items():
        methods = tuple(Method.of(method, module["methods"][method]) for method in sorted(module["methods"]))
        yield Module(name, module["package"], methods, Shapes.of(module), shared)
