"""The settings of the public classes and functions as Markdown, made from signatures and docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import attrs

from tools.site.markdown import wrapped
from wixvisitor import VisitorPool, VisitorSession, asgi, fastapi
from wixvisitor.cookies import IdCookie, SealedCookie, SharedCookie
from wixvisitor.storage import FileStorage
from wixvisitor.storage.keyvalue import KeyValueStorage
from wixvisitor.storage.moving import MovingStorage
from wixvisitor.storage.redis import RedisStorage
from wixvisitor.storage.sealed import SealedStorage
from wixvisitor.storage.sqlalchemy import SQLAlchemyStorage
from wixvisitor.storage.sqlite import SQLiteStorage
from wixvisitor.testing import FakeWix
from wixvisitor.testing._settings import Settings

_ARGUMENT = re.compile(r"^    (\w+): (.*?)(?=^    \w+: |\Z)", re.DOTALL | re.MULTILINE)
_SECTION = re.compile(r"^Args:\n(?P<arguments>(?:(?: {4}.*)?\n)+)", re.MULTILINE)
_TABLE = re.compile(r"^ *=+ =.*^ *=+ =[ =]*$", re.DOTALL | re.MULTILINE)
_ALIKE: dict[Any, Any] = {VisitorPool: VisitorSession, SealedCookie: IdCookie}  # whose docstrings name the other's
_NAMED = {id(fastapi.CATALOG_PATHS): "CATALOG_PATHS"}

DOCUMENTED: tuple[Any, ...] = (
    *(VisitorSession, FileStorage, SQLiteStorage, RedisStorage, SQLAlchemyStorage, KeyValueStorage, SealedStorage),
    *(MovingStorage, IdCookie, SharedCookie, fastapi.setup, fastapi.login_router, FakeWix, FakeWix.serve),
)


def parts() -> dict[str, str]:
    """Returns the Markdown of each list of settings, by the name of the class or function."""
    found = {one.__qualname__: _list(one, leave_out=()) for one in DOCUMENTED}
    shared = set(inspect.signature(VisitorSession).parameters)
    found["VisitorPool"] = _list(VisitorPool, leave_out=shared)
    found["VisitorMiddleware"] = _list(asgi.VisitorMiddleware, leave_out=inspect.signature(fastapi.setup).parameters)
    found["FakeWix attributes"] = _attributes()
    return {name: text for name, text in found.items() if text}


def described(subject: Any) -> dict[str, str]:
    """Returns what the docstring says of each argument, in one line of Markdown each."""
    section = _SECTION.search((inspect.getdoc(subject) or "") + "\n")
    own = {name: _plain(text) for name, text in _ARGUMENT.findall(section["arguments"] if section else "")}
    return (described(_ALIKE[subject]) if subject in _ALIKE else {}) | own


def _list(subject: Callable[..., Any], *, leave_out: Any) -> str:
    texts, items = described(subject), []
    for name, parameter in inspect.signature(subject).parameters.items():
        if name == "self" or name in leave_out:
            continue
        items.append(wrapped(f"`{name}{_default(parameter)}`: {texts[name]}", first="- ", others="  "))
    return "".join(items)


def _attributes() -> str:
    """Returns the settings of FakeWix that are attributes only."""
    given, defaults = inspect.signature(FakeWix).parameters, Settings()
    values = {field.name: getattr(defaults, field.name) for field in attrs.fields(Settings) if field.name not in given}
    return "".join(
        wrapped(f"`{name} = {_value(value)}`: {_of_attribute(name)}", first="- ", others="  ")
        for name, value in values.items()
    )


def _of_attribute(name: str) -> str:
    for kind in Settings.__mro__:
        found = re.search(rf'^    {name}: [^\n]*\n    """(.*?)"""', inspect.getsource(kind), re.DOTALL | re.MULTILINE)
        if found:
            return _plain(found[1])
    raise LookupError(f"{name} has no docstring")


def _default(parameter: inspect.Parameter) -> str:
    return "" if parameter.default is inspect.Parameter.empty else f" = {_value(parameter.default)}"


def _value(value: Any) -> str:
    """Returns a default as Python code."""
    if id(value) in _NAMED:
        return _NAMED[id(value)]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:_}"
    return '"' + value + '"' if isinstance(value, str) else repr(value)


def _plain(text: str) -> str:
    """Returns a text of a docstring as one line of Markdown, which begins with a small letter.

    Of a table of reStructuredText only the first column is left.
    """
    text = _TABLE.sub(lambda table: ", ".join(re.findall(r"^ *(``[^`]+``)", table[0], re.MULTILINE)) + ".", text + "\n")
    text = re.sub(r"``([^`]+)``", r"`\1`", " ".join(text.split()))
    return text if text.startswith(("False", "None", "True")) else text[:1].lower() + text[1:]
