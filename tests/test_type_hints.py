"""``typing.get_type_hints`` works on what is public, as frameworks that look at annotations need it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx
import pytest

import wixvisitor
from wixvisitor import VisitorPool, VisitorSession, apis
from wixvisitor._http.arguments import RequestArguments
from wixvisitor._web.request_visitor import RequestVisitor
from wixvisitor.testing import StorageContract

HELD = (RequestVisitor, StorageContract)  # what users get, or look up, without an ordinary import


MODULES_OF_TYPES = ("_types", "_arguments")  # of wixvisitor.apis: 1,500 classes, which are looked at in one test


def public_modules() -> list[str]:
    found = pkgutil.walk_packages(wixvisitor.__path__, "wixvisitor.")
    names = (one.name for one in found if not one.name.endswith(MODULES_OF_TYPES))
    return ["wixvisitor", *(name for name in names if not any(part.startswith("_") for part in name.split(".")))]


def is_ours(thing: Any) -> bool:
    return str(getattr(thing, "__module__", "")).partition(".")[0] == "wixvisitor"


def public_things() -> Iterator[Any]:
    """Every class and function that a public module has a public name for."""
    for name in public_modules():
        module = importlib.import_module(name)
        for public in {*vars(module), *getattr(module, "__all__", ())}:  # some names are imported at their first use
            thing = getattr(module, public)
            if not public.startswith("_") and is_ours(thing) and (inspect.isclass(thing) or inspect.isfunction(thing)):
                yield thing
    yield from HELD


def methods_of(kind: type) -> Iterator[Callable[..., Any]]:
    """Its public methods, those of its own bases included, and what makes it."""
    for base in filter(is_ours, kind.__mro__):
        for name, member in vars(base).items():
            function = getattr(member, "fget", None) or getattr(member, "__func__", member)
            if inspect.isfunction(function) and (not name.startswith("_") or name.startswith("__")):
                yield function


THINGS = sorted({f"{thing.__module__}.{thing.__qualname__}": thing for thing in public_things()}.items())


@pytest.mark.parametrize("thing", [thing for _, thing in THINGS], ids=[name for name, _ in THINGS])
def test_hints_of_what_is_public(thing: Any) -> None:
    """Each public class, its methods, and each public function has hints that can be evaluated."""
    for one in (thing, *(methods_of(thing) if inspect.isclass(thing) else ())):
        typing.get_type_hints(one)


def test_hints_of_the_apis_types() -> None:
    """So do the types of all arguments and answers of `wixvisitor.apis`."""
    names = [one.name for one in pkgutil.walk_packages(apis.__path__, "wixvisitor.apis.")]
    modules = [importlib.import_module(name) for name in names if name.endswith(MODULES_OF_TYPES)]
    kinds = [kind for module in modules for kind in vars(module).values() if typing.is_typeddict(kind)]
    for kind in kinds:
        typing.get_type_hints(kind)
    assert len(kinds) > 1_000


def test_the_walk_finds_what_people_use() -> None:
    """Sessions, pools, storages, the web's functions and the fake are among what is looked at."""
    names = {name.rpartition(".")[2] for name, _ in THINGS}
    assert names >= {"VisitorSession", "VisitorPool", "VisitorAuth", "Tokens", "WixAPIError", "FileStorage", "FakeWix"}
    assert names >= {
        "RedisStorage",
        "SQLiteStorage",
        "SealedStorage",
        "KeyValueStorage",
        "IdCookie",
        "client_middleware",
    }
    assert names >= {"setup", "get_visitor", "VisitorMiddleware", "CatalogReader", "raise_for_error", "WixClock"}
    assert {method.__name__ for method in methods_of(RequestVisitor)} >= {"__init__", "get", "graphql", "set_tokens"}


@pytest.mark.parametrize("kind", [VisitorSession, VisitorPool])
def test_a_client_of_either_library_fits_its_hint(kind: type) -> None:
    """The hint of ``client=`` names httpx's class, and rules out none of httpx2's."""
    client = typing.get_type_hints(kind.__init__)["client"]
    assert {httpx.AsyncClient, Any, type(None)} <= set(typing.get_args(client))


def test_arguments_are_those_of_httpx() -> None:
    """A request takes what ``AsyncClient.request`` of httpx takes, by the same names, except for ``auth``."""
    taken = set(inspect.signature(httpx.AsyncClient.request).parameters) - {"self", "method", "url", "auth"}
    hints = typing.get_type_hints(RequestArguments)
    assert set(hints) == taken
    assert {httpx.Headers, Sequence[tuple[str, str]]} <= set(typing.get_args(hints["headers"]))
    assert {float, httpx.Timeout, type(httpx.USE_CLIENT_DEFAULT)} <= set(typing.get_args(hints["timeout"]))
