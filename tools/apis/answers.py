"""The types of answers: all keys are declared, and an enum may have values that Wix adds later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from tools.apis.description import Method, Module, Shapes, Type, pascal
from tools.apis.spelling import PLAIN, alias, imports, module, spelled, typed_dict


def codes_name(method: Method) -> str:
    """Returns the name of the alias with the codes of a method's errors."""
    return f"{pascal(method.wix_name)}Code"


def reached(kinds: Iterable[Type], one: Module) -> list[str]:
    """Returns the names of all types that these lead to, sorted."""
    found: set[str] = set()
    waiting = [kind.base for kind in kinds]
    while waiting:
        name = waiting.pop()
        if name not in found and name not in PLAIN:
            found.add(name)
            waiting += [kind.base for kind in one.fields(name).values()]
    return sorted(found)


def answer_names(one: Module) -> list[str]:
    """Returns the names of all types that a module's answers use."""
    return reached((method.answer for method in one.methods if method.answers), one)


def answer_types(one: Module, shared: str, *, partial: bool = False) -> Iterator[str]:
    """Yields the module with the types of a module's answers, and the codes of its errors.

    Args:
        one: the module.
        shared: the statement that imports the shared types as ``shared``.
        partial: no key is required, for answers that tests give.
    """
    own = [name for name in answer_names(one) if name in one.own]
    codes = [] if partial else [alias(codes_name(method), method.codes) for method in one.methods if method.codes]
    definitions = [*codes, *_definitions(own, one.own, one.shared, partial=partial)]
    yield from module(_title(one.dotted, partial=partial), imports(definitions, shared), definitions)


def shared_answer_types(shapes: Shapes, modules: Iterable[Module], *, partial: bool = False) -> Iterator[str]:
    """Yields the module with the types that several modules' answers share."""
    used = {name for one in modules for name in answer_names(one) if name not in one.own}
    definitions = list(_definitions(sorted(used), shapes, shapes, partial=partial))
    yield from module(_title("what several modules share", partial=partial), imports(definitions), definitions)


def _title(what: str, *, partial: bool) -> str:
    return f"Answers as a test gives them: {what}." if partial else f"Answers: {what}."


def _definitions(names: Iterable[str], own: Shapes, shared: Shapes, *, partial: bool) -> Iterator[str]:
    named = _naming(own, shared)
    types = {name: own.types[name] for name in names if name in own.types}
    yield from (alias(name, own.enums[name]) for name in names if name in own.enums)
    for name, fields in types.items():
        yield typed_dict(
            name, {key: spelled(kind, named, nullable=partial) for key, kind in fields.items()}, total=not partial
        )


def _naming(own: Shapes, shared: Shapes) -> Callable[[str], str]:
    def named(name: str) -> str:
        shapes, text = (own, name) if name in own else (shared, f"shared.{name}")
        return f"{text} | str" if name in shapes.enums else text

    return named


def item_fields(one: Module, method: Method) -> Mapping[str, Type]:
    """Returns the keys of a method's answer that hold lists of objects."""
    fields = one.fields(method.answer.base)
    return {key: kind for key, kind in fields.items() if kind.suffixes == ("[]",) and one.fields(kind.base)}
