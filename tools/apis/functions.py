"""The modules with the functions."""

from __future__ import annotations

from collections.abc import Iterator

from tools.apis.answers import codes_name
from tools.apis.arguments import ArgumentTypes
from tools.apis.description import Argument, Method, Module
from tools.apis.paging import Paging, paging_of
from tools.apis.spelling import GENERATED, PLAIN, WIDTH, call, quoted
from wixvisitor._wire.catalog import CATALOG_PATHS, READING_POSTS


def functions(one: Module, types: ArgumentTypes) -> Iterator[str]:
    """Yields the module with a module's functions; collects the types of their arguments."""
    texts = ["".join(_function(one, method, types)) for method in one.methods]
    area, _, name = one.name.partition("/")
    package = f"wixvisitor.apis.{area}"
    yield f'"""{one.dotted}: {one.package}.\n\n{GENERATED}\n"""\n\nfrom __future__ import annotations\n\n'
    yield from _imports(package, name, "".join(texts))
    names = [quoted(method.name) for method in one.methods]
    line = f"__all__ = [{', '.join(names)}]"
    yield (
        f"\n{line}\n" if len(line) <= WIDTH else "\n__all__ = [\n" + "".join(f"    {name},\n" for name in names) + "]\n"
    )
    yield from (f"\n\n{text}" for text in texts)


def _imports(package: str, name: str, text: str) -> Iterator[str]:
    """Yields the imports. Types are imported by checkers, and by what evaluates annotations."""
    any_too = ", Any" if "Any" in text else ""
    yield f"from typing import TYPE_CHECKING{any_too}\n\nfrom wixvisitor.apis import _runtime as api\n"
    mine = {"a": f"{name}_arguments", "t": f"{name}_types"}
    modules = [
        (letter, package, module) for letter, module in mine.items() if f" {letter}." in text or f"[{letter}." in text
    ]
    shared = [module for module in ("shared_arguments", "shared_types") if f"{module}." in text]
    if not modules and not shared:
        return
    yield "\nif TYPE_CHECKING:\n"
    yield f"    from wixvisitor.apis import {', '.join(shared)}\n" if shared else ""
    yield "".join(f"    from {package} import {module} as {letter}\n" for letter, package, module in modules)
    yield "else:\n"
    yield "".join(f'    {module} = api.types_of("wixvisitor.apis.{module}")\n' for module in shared)
    yield "".join(f'    {letter} = api.types_of("{package}.{module}")\n' for letter, package, module in modules)


def _answer(one: Module, name: str) -> str:
    return f"t.{name}" if name in one.own else f"shared_types.{name}"


def _function(one: Module, method: Method, types: ArgumentTypes) -> Iterator[str]:
    paging = paging_of(one, method)
    if paging is not None:
        yield from _items(one, method, paging)
    if method.deprecated is not None:
        yield f"@api.deprecated({quoted(deprecation(method))})\n"
    answer = _answer(one, method.answer.base) if method.answers else "None"
    yield f"async def {method.name}(\n    visitor: api.{visitor_type(method)},\n"
    parameters = [f"    {_parameter(argument, types, method)},\n" for argument in method.arguments]
    if method.reads:
        parameters.append("    max_retries: int | None = None,\n")
    if parameters:
        yield "    *,\n"
    yield from parameters
    yield f") -> {answer}:\n"
    yield from _docstring(method)
    yield from _call(method, answer)


def visitor_type(method: Method) -> str:
    """Returns who may call it. A ``CatalogVisitor`` sends GET and some POSTs, to the paths of the catalogue."""
    is_catalogue = any(f"{method.path}/".startswith(f"{path.rstrip('/')}/") for path in CATALOG_PATHS)
    may_read = is_catalogue and (method.method == "GET" or method.path.rpartition("/")[2] in READING_POSTS)
    return "Reader" if method.reads and may_read else "Visitor"


def _items(one: Module, method: Method, paging: Paging) -> Iterator[str]:
    item = _answer(one, paging.item.base)
    places = [
        f"{word}=({', '.join(map(quoted, place))}{',' if len(place) == 1 else ''})"
        for word, place in (("cursor", paging.cursor), ("offset", paging.offset))
        if place is not None
    ]
    name = f"_items_of_{method.name}"
    line = f"def {name}(answer: {_answer(one, method.answer.base)}) -> list[{item}]:"
    yield f"{line}\n" if len(line) <= WIDTH else line.replace("(", "(\n    ", 1).replace(")", ",\n)", 1) + "\n"
    yield f'    return answer.get("{paging.key}") or []\n\n\n'
    yield f"@api.paged({name}, {', '.join(places)})\n"


def deprecation(method: Method) -> str:
    """Returns what the warning says."""
    removal = (method.deprecated or {}).get("removal")
    return f"{method.name}: Wix removes this method on {removal}" if removal else f"{method.name}: deprecated by Wix"


def _parameter(argument: Argument, types: ArgumentTypes, method: Method) -> str:
    text = types.spelled(argument.type, argument.requires, method)
    return f"{argument.name}: {_qualified(text)}" + ("" if argument.required else " | None = None")


def _qualified(text: str) -> str:
    """Puts the module's name before a type's."""
    for word in ("list[", "dict[str, "):
        if text.startswith(word):
            return f"{word}{_qualified(text[len(word) : -1])}]"
    if text.endswith(" | None"):
        return f"{_qualified(text.removesuffix(' | None'))} | None"
    if text.startswith("shared."):
        return text.replace("shared.", "shared_arguments.")
    return text if text in PLAIN.values() else f"a.{text}"


def _docstring(method: Method) -> Iterator[str]:
    yield f'    """{method.method} {method.path}\n\n'
    if method.deprecated is not None:
        yield f"    Deprecated: {deprecation(method).partition(': ')[2]}.\n\n"
    yield "    Raises:\n"
    if method.codes:
        yield f"        WixAPIError: its ``code`` is one of ``{codes_name(method)}``, or one that Wix does not list:\n"
        yield from _wrapped([f"{code}," for code in method.codes[:-1]] + [f"{method.codes[-1]}."], " " * 12)
    else:
        yield "        WixAPIError: the status is not 2xx. Wix lists no codes.\n"
    yield "        What ``visitor.request`` raises.\n"
    if method.permissions:
        yield "\n    Permissions:\n"
        yield from _wrapped(method.permissions, " " * 8)
    if method.scopes:
        yield "\n    Scopes:\n"
        yield from _wrapped(method.scopes, " " * 8)
    yield f'\n    See {method.reference}\n    """\n'


def _wrapped(words: list[str] | tuple[str, ...], before: str) -> Iterator[str]:
    line = ""
    for word in words:
        if line and len(before) + len(line) + 1 + len(word) > WIDTH:
            yield f"{before}{line}\n"
            line = ""
        line = f"{line} {word}" if line else word
    yield f"{before}{line}\n"


def _call(method: Method, answer: str) -> Iterator[str]:
    items = list(_payload(method))
    word = {"body": "json", "query": "params"}.get(method.carries)
    function = "read" if method.reads else "write"
    arguments = [quoted(method.method), quoted(method.path)]
    if word is not None and (items or word == "json"):
        if items:
            yield "    payload: dict[str, Any] = {\n" + "".join(f"        {item},\n" for item in items) + "    }\n"
        arguments.append(f"{word}={'payload' if items else '{}'}")
    if method.reads:
        arguments.append("max_retries=max_retries")
    start = f"answer: {answer} = await" if answer != "None" else "await"
    yield call(f"{start} api.{function}", ["visitor", *arguments], indent="    ")
    if answer != "None":
        yield "    return answer\n"


def _payload(method: Method) -> Iterator[str]:
    """Yields the payload's items. An argument may stand inside another one: the id of what is updated."""
    nested = {argument.at[0]: argument for argument in method.arguments if len(argument.at) > 1}
    for argument in method.arguments:
        key = argument.at[0]
        value = f"api.joined({argument.name})" if argument.joined else argument.name
        if len(argument.at) == 1 and key not in nested:
            yield f"{quoted(key)}: {value}"
    for key, inner in nested.items():
        assert len(inner.at) == 2, inner
        outer = next((one for one in method.arguments if one.at == (key,)), None)
        rest = "" if outer is None else f"**{outer.name}, " if outer.required else f"**({outer.name} or {{}}), "
        yield f"{quoted(key)}: {{{rest}{quoted(inner.at[1])}: {inner.name}}}"
