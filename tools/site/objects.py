"""What griffe does not know of the package: attrs, blocking methods, and names that only stand for a type.

- A class of attrs has an ``__init__``. What its docstring says of a field belongs to that field.
- ``get = blocking(VisitorSession.get)`` is a method, with the arguments of the other one.
- An annotation with a private name, like ``Policy``, says what the name stands for.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, Final

import griffe

_SECTION: Final = re.compile(r"^Attributes:\n((?:(?: .*)?\n)+)\n?", re.MULTILINE)
_FIELDS: Final = re.compile(r"^(?:Args|Attributes):\n((?:(?: .*)?\n)+)\n?", re.MULTILINE)
_ENTRY: Final = re.compile(r"^    (\w+): ((?:.*\n?)(?: {5,}.*\n?)*)", re.MULTILINE)
_ATTRS: Final = {"attrs.frozen", "attrs.define"}
_MADE_BY_USERS: Final = {"SealedForm"}  # whose subclasses say what its arguments are
_KEYWORD: Final = griffe.ParameterKind.keyword_only
_EITHER: Final = griffe.ParameterKind.positional_or_keyword


def complete(package: griffe.Module) -> None:
    """Completes all classes and functions of the package."""
    everything = list(_all(package))
    classes = [one for one in everything if isinstance(one, griffe.Class)]
    for one in classes:
        _describe_attributes(one)
        if any(_path(decorator.value) in _ATTRS for decorator in one.decorators):
            _make_init(one)
    for one in everything:
        if isinstance(one, griffe.Function):
            _spell_out(one)
        elif isinstance(one, griffe.Attribute) and isinstance(one.annotation, griffe.Expr):
            one.annotation = _spelled(one.annotation)
    for one in classes:
        _copy_arguments(one)
        _make_blocking(one)
        _type_attributes(one)
    for one in classes:
        _hide_init(one)


def _all(parent: griffe.Module | griffe.Class) -> Iterator[griffe.Object]:
    for member in list(parent.members.values()):
        if isinstance(member, griffe.Alias):
            continue
        yield member
        if isinstance(member, griffe.Module | griffe.Class):
            yield from _all(member)


def _path(value: Any) -> str:
    called = value.function if isinstance(value, griffe.ExprCall) else value
    return str(called.canonical_path) if isinstance(called, griffe.Expr) else str(called)


def _describe_attributes(one: griffe.Class) -> None:
    """Moves what the class says of its attributes to them: each has an address of its own."""
    if one.docstring is None:
        return
    found = (_SECTION if "__init__" in one.members else _FIELDS).search(one.docstring.value + "\n")
    if found is None:
        return
    left = ""
    for entry in _ENTRY.finditer(found[1]):
        attribute = one.members.get(entry[1])
        if isinstance(attribute, griffe.Attribute):
            text = re.sub(r"\n +", "\n", entry[2].strip())
            attribute.docstring = griffe.Docstring(text[0].upper() + text[1:], parent=attribute)
        else:
            left += entry[0]
    start, end = found.span()
    kept = f"Args:\n{left}\n" if left else ""
    one.docstring.value = (one.docstring.value[:start] + kept + (one.docstring.value + "\n")[end:]).strip()


def _make_init(one: griffe.Class) -> None:
    """Gives a class of attrs the arguments that attrs gives it."""
    all_keywords = any("kw_only=True" in str(decorator.value) for decorator in one.decorators)
    parameters = [griffe.Parameter("self", kind=_EITHER)]
    for member in one.members.values():
        if isinstance(member, griffe.Attribute) and member.annotation is not None and "property" not in member.labels:
            options = _options(member.value)
            if options.get("init") == "False" or "class-attribute" in member.labels and "ClassVar" in str(member.annotation):
                continue
            kind = _KEYWORD if all_keywords or options.get("kw_only") == "True" else _EITHER
            parameters.append(
                griffe.Parameter(member.name.lstrip("_"), annotation=member.annotation, kind=kind, default=_default(member, options))
            )
        if isinstance(member, griffe.Attribute):
            member.value = None
    if "__init__" not in one.members:
        one.set_member("__init__", griffe.Function("__init__", parameters=griffe.Parameters(*parameters), parent=one))


def _options(value: Any) -> dict[str, str]:
    """Returns the keyword arguments of ``attrs.field(…)``."""
    if not isinstance(value, griffe.ExprCall) or not _path(value).endswith(("attrs.field", ".field")):
        return {}
    return {one.name: str(one.value) for one in value.arguments if isinstance(one, griffe.ExprKeyword)}


def _default(member: griffe.Attribute, options: dict[str, str]) -> str | griffe.Expr | None:
    if member.value is None:
        return None
    if not isinstance(member.value, griffe.ExprCall) or not _path(member.value).endswith(".field"):
        return member.value
    return options.get("default", "..." if "factory" in options else None)


def _spell_out(one: griffe.Function) -> None:
    """Replaces the private names in a signature by what they stand for."""
    spelled = []
    for parameter in one.parameters:
        annotation = parameter.annotation
        if isinstance(annotation, griffe.ExprSubscript) and str(annotation.left) == "Unpack":
            spelled += _unpacked(parameter, annotation.slice)
            continue
        if isinstance(annotation, griffe.Expr):
            parameter.annotation = _spelled(annotation)
        spelled.append(parameter)
        parameter.default = _number(parameter.default)
    one.parameters = griffe.Parameters(*spelled)
    if isinstance(one.returns, griffe.Expr):
        one.returns = _spelled(one.returns)


def _unpacked(parameter: griffe.Parameter, name: Any) -> list[griffe.Parameter]:
    """Returns the arguments that a TypedDict stands for; ``**arguments`` if they are another library's."""
    kind = _target(name)
    if not isinstance(kind, griffe.Class) or kind.name == "RequestArguments":
        parameter.annotation = "Any"
        return [parameter]
    members = {**{key: value for base in reversed(kind.mro()) for key, value in base.members.items()}, **kind.members}
    return [
        griffe.Parameter(key, annotation=_spelled(value.annotation), kind=_KEYWORD, default="...")
        for key, value in members.items()
        if isinstance(value, griffe.Attribute) and value.annotation is not None
    ]


def _spelled(value: Any) -> Any:
    """Returns an annotation without private names of types."""
    if isinstance(value, griffe.ExprName | griffe.ExprAttribute):
        target = _target(value)
        is_private = target is not None and not _is_public(target)
        if is_private and isinstance(target, griffe.Attribute) and isinstance(target.value, griffe.Expr):
            if not isinstance(target.value, griffe.ExprCall):
                return _spelled(target.value)
        return value.canonical_path if value.canonical_path.startswith(("httpx.", "httpx2.")) else value
    if isinstance(value, list):
        return [_spelled(one) for one in value]
    if isinstance(value, griffe.Expr) and is_dataclass(value):
        twin = copy.copy(value)
        for field in fields(twin):
            if field.name != "parent":
                setattr(twin, field.name, _spelled(getattr(twin, field.name)))
        return twin
    return value


def _number(value: Any) -> Any:
    """Returns a default without private names: the number that ``YEAR`` stands for."""
    target = _target(value) if isinstance(value, griffe.ExprName) else None
    if isinstance(target, griffe.Attribute) and not _is_public(target) and target.value is not None:
        return target.value
    return value


def _target(name: Any) -> griffe.Object | None:
    """Returns what a name of the package stands for."""
    try:
        path = name.canonical_path
        root = name
        while isinstance(root, griffe.ExprAttribute):
            root = root.first
        package = root.parent.package
        if not path.startswith(f"{package.name}."):
            return None
        found = package.modules_collection.get_member(path)
        return found.final_target if isinstance(found, griffe.Alias) else found
    except (KeyError, AttributeError, griffe.AliasResolutionError, griffe.NameResolutionError):
        return None


def _is_public(target: griffe.Object) -> bool:
    module = target.module
    return target.name in (module.exports or []) and "._" not in f".{module.path}"


def _copy_arguments(one: griffe.Class) -> None:
    """Gives a blocking class whose arguments are those of another class these arguments."""
    init = one.members.get("__init__")
    for base in one.bases:
        if isinstance(base, griffe.ExprSubscript) and str(base.left) == "ClosableProxy" and isinstance(init, griffe.Function):
            inner = _target(base.slice)
            if isinstance(inner, griffe.Class) and isinstance(inner.members.get("__init__"), griffe.Function):
                init.parameters = inner.members["__init__"].parameters


def _type_attributes(one: griffe.Class) -> None:
    """Gives an attribute that ``__init__`` sets the type of the argument. Its value says nothing."""
    init = one.members.get("__init__")
    for member in one.members.values():
        if not isinstance(member, griffe.Attribute):
            continue
        member.labels -= {"instance-attribute", "class-attribute", "writable"}
        if not isinstance(init, griffe.Function) or member.value is None or "property" in member.labels:
            continue
        if member.name in init.parameters and member.annotation is None:
            member.annotation = init.parameters[member.name].annotation
            member.value = None


def _hide_init(one: griffe.Class) -> None:
    """Removes the arguments of a class that only this package makes: it says nothing of them."""
    init = one.members.get("__init__")
    text = one.docstring.value if one.docstring else ""
    is_attrs = any(_path(decorator.value) in _ATTRS for decorator in one.decorators)
    if not isinstance(init, griffe.Function) or is_attrs or one.name in _MADE_BY_USERS:
        return
    is_described = "Args:" in text or "arguments" in text
    if len(init.parameters) > 1 and (one.name.startswith("_") or not is_described or one.name == "BlockingProxy"):
        one.del_member("__init__")


def _make_blocking(one: griffe.Class) -> None:
    """Makes methods of ``get = blocking(VisitorSession.get)``."""
    for name, member in list(one.members.items()):
        value = getattr(member, "value", None)
        if not isinstance(value, griffe.ExprCall) or str(value.function) != "blocking":
            continue
        target = _target(value.arguments[0])
        if not isinstance(target, griffe.Function):
            continue
        method = griffe.Function(
            name, parameters=target.parameters, returns=target.returns, parent=one, lineno=member.lineno, endlineno=member.endlineno
        )
        home = f"[`{target.parent.name}.{target.name}`][{_address(target)}]"
        first = (target.docstring.value if target.docstring else "").partition("\n\n")[0]
        method.docstring = griffe.Docstring(f"{first}\n\n{home} says more, and what it raises.", parent=method)
        one.set_member(name, method)


def _address(target: griffe.Function) -> str:
    return target.path
