"""What griffe does not know of the package: attrs, blocking methods, and who makes an object.

- A class of attrs has an ``__init__``. What its docstring says of a field belongs to that field.
- ``get = blocking(VisitorSession.get)`` is a method, with the arguments of the other one.
- A class that only the package makes has no arguments for a reader.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import griffe

from tools.site.spelling import Spelling

_ATTRIBUTES: Final = re.compile(r"^Attributes:\n((?:(?: .*)?\n)+)\n?", re.MULTILINE)
_FIELDS: Final = re.compile(r"^(?:Args|Attributes):\n((?:(?: .*)?\n)+)\n?", re.MULTILINE)
_ENTRY: Final = re.compile(r"^    (\w+): ((?:.*\n?)(?: {5,}.*\n?)*)", re.MULTILINE)
_ATTRS: Final = {"attrs.frozen", "attrs.define"}
_KEYWORD: Final = griffe.ParameterKind.keyword_only
_EITHER: Final = griffe.ParameterKind.positional_or_keyword
_MADE_BY_USERS: Final = {"SealedForm"}  # its subclasses say what its arguments are
_MADE_HERE: Final = {"BlockingProxy"}


def complete(package: griffe.Module) -> None:
    """Completes all classes and functions of the package."""
    spelling = Spelling(package)
    classes = [one for one in _all(package) if isinstance(one, griffe.Class)]
    for one in classes:
        _describe_attributes(one)
        if _is_attrs(one):
            _make_init(one)
    for each in _all(package):
        if isinstance(each, griffe.Function):
            spelling.signature(each)
        elif isinstance(each, griffe.Attribute):
            each.annotation = spelling.spelled(each.annotation)
            each.labels -= {"class-attribute", "instance-attribute", "module-attribute", "writable"}
    for one in classes:
        _copy_arguments(one, spelling)
        _make_blocking(one, spelling)
        _type_attributes(one)
    for one in classes:
        _hide_init(one)


def _all(parent: griffe.Module | griffe.Class) -> Iterator[griffe.Object]:
    for member in list(parent.members.values()):
        if not isinstance(member, griffe.Alias):
            yield member
            if isinstance(member, griffe.Module | griffe.Class):
                yield from _all(member)


def _is_attrs(one: griffe.Class) -> bool:
    return any(_path(decorator.value) in _ATTRS for decorator in one.decorators)


def _path(value: Any) -> str:
    called = value.function if isinstance(value, griffe.ExprCall) else value
    return str(called.canonical_path) if isinstance(called, griffe.Expr) else str(called)


def _describe_attributes(one: griffe.Class) -> None:
    """Moves what the class says of its attributes to them: each has an address of its own."""
    if one.docstring is None:
        return
    text = one.docstring.value + "\n"
    found = (_ATTRIBUTES if "__init__" in one.members else _FIELDS).search(text)
    if found is None:
        return
    left = ""
    for entry in _ENTRY.finditer(found[1]):
        attribute = one.members.get(entry[1])
        if isinstance(attribute, griffe.Attribute):
            words = re.sub(r"\n +", "\n", entry[2].strip())
            attribute.docstring = griffe.Docstring(words[0].upper() + words[1:], parent=attribute)
        else:
            left += entry[0]
    kept = f"Args:\n{left}\n" if left else ""
    one.docstring.value = (text[: found.start()] + kept + text[found.end() :]).strip()


def _make_init(one: griffe.Class) -> None:
    """Gives a class of attrs the arguments that attrs gives it."""
    all_keywords = any("kw_only=True" in str(decorator.value) for decorator in one.decorators)
    parameters = [griffe.Parameter("self", kind=_EITHER)]
    for member in one.members.values():
        if not isinstance(member, griffe.Attribute) or member.annotation is None or "property" in member.labels:
            continue
        options = _options(member.value)
        default = options.get("default", "..." if "factory" in options else None) if options else member.value
        kind = _KEYWORD if all_keywords or options.get("kw_only") == "True" else _EITHER
        if options.get("init") != "False" and "ClassVar" not in str(member.annotation):
            name = member.name.lstrip("_")
            parameters.append(griffe.Parameter(name, annotation=member.annotation, kind=kind, default=default))
        member.value = None
    if "__init__" not in one.members:
        one.set_member("__init__", griffe.Function("__init__", parameters=griffe.Parameters(*parameters), parent=one))


def _options(value: Any) -> dict[str, str]:
    """Returns the keyword arguments of ``attrs.field(…)``."""
    if not isinstance(value, griffe.ExprCall) or not _path(value).endswith(".field"):
        return {}
    return {one.name: str(one.value) for one in value.arguments if isinstance(one, griffe.ExprKeyword)}


def _type_attributes(one: griffe.Class) -> None:
    """Gives an attribute that ``__init__`` sets the type of the argument. Its value says nothing."""
    init = one.members.get("__init__")
    for member in one.members.values():
        if not isinstance(init, griffe.Function) or not isinstance(member, griffe.Attribute):
            continue
        if member.value is not None and member.name in init.parameters and member.annotation is None:
            member.annotation = init.parameters[member.name].annotation
            member.value = None
        if str(member.value).startswith("self."):
            member.value = None


def _hide_init(one: griffe.Class) -> None:
    """Removes the arguments of a class that only the package makes: it says nothing of them."""
    init = one.members.get("__init__")
    if not isinstance(init, griffe.Function) or _is_attrs(one) or one.name in _MADE_BY_USERS:
        return
    text = one.docstring.value if one.docstring else ""
    is_described = "Args:" in text or "arguments" in text
    if len(init.parameters) > 1 and (one.name.startswith("_") or one.name in _MADE_HERE or not is_described):
        one.del_member("__init__")


def _copy_arguments(one: griffe.Class, spelling: Spelling) -> None:
    """Gives a blocking class the arguments of the class whose methods it runs."""
    init = one.members.get("__init__")
    for base in one.bases:
        if isinstance(init, griffe.Function) and isinstance(base, griffe.ExprSubscript):
            inner = spelling.target(base.slice) if str(base.left) == "ClosableProxy" else None
            theirs = inner.members.get("__init__") if isinstance(inner, griffe.Class) else None
            if isinstance(theirs, griffe.Function):
                init.parameters = theirs.parameters


def _make_blocking(one: griffe.Class, spelling: Spelling) -> None:
    """Makes methods of ``get = blocking(VisitorSession.get)``."""
    for name, member in list(one.members.items()):
        value = getattr(member, "value", None)
        if not isinstance(value, griffe.ExprCall) or str(value.function) != "blocking":
            continue
        target = spelling.target(value.arguments[0])
        if isinstance(target, griffe.Function) and target.parent is not None:
            method = griffe.Function(name, parameters=target.parameters, returns=target.returns, parent=one)
            method.lineno, method.endlineno = member.lineno, member.endlineno
            first = (target.docstring.value if target.docstring else "").partition("\n\n")[0]
            home = f"[`{target.parent.name}.{target.name}`][{target.path}]"
            method.docstring = griffe.Docstring(f"{first}\n\n{home} says more, and what it raises.", parent=method)
            one.set_member(name, method)
