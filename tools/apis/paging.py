"""Which methods page, and how."""

from __future__ import annotations

import attrs

from tools.apis.answers import item_fields
from tools.apis.description import Argument, Method, Module, Type

Place = tuple[str, ...]


@attrs.frozen
class Paging:
    """How a method pages: the key of its items, their type, and where cursor and offset go."""

    key: str
    item: Type
    cursor: Place | None
    offset: Place | None


def paging_of(one: Module, method: Method) -> Paging | None:
    """Returns how a method pages; None if it does not."""
    cursor = offset = None
    for argument in method.arguments:
        for place, keys in _places(one, argument):
            cursor = place if "cursor" in keys and cursor is None else cursor
            offset = place if "offset" in keys and offset is None else offset
    if {"limit", "offset"} <= {argument.name for argument in method.arguments} and offset is None:
        offset = ()
    if cursor == offset:
        cursor = None  # the blog's lists, which name a cursor, but do not say of which page
    items = item_fields(one, method)
    if not method.reads or not items or (cursor is None and offset is None):
        return None
    key, kind = next(iter(items.items()))
    return Paging(key, Type(kind.base), cursor, offset)


def _places(one: Module, argument: Argument) -> list[tuple[Place, set[str]]]:
    fields = one.fields(argument.type.base)
    inner = [key for key in ("cursorPaging", "paging") if key in fields]
    places = [
        ((argument.name,), set(fields)),
        *(((argument.name, key), set(one.fields(fields[key].base))) for key in inner),
    ]
    return [(place, keys) for place, keys in places if "limit" in keys]
