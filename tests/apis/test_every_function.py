"""Each function of `wixvisitor.apis` runs, sends what the description says, and has what its neighbours have."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import warnings
from typing import Any

import httpx
import pytest

from tools.apis.description import Argument, Method, Module, Type, read_description
from tools.apis.paging import Paging, paging_of
from wixvisitor import VisitorSession
from wixvisitor.apis import each

from .conftest import Wix

pytestmark = pytest.mark.anyio

SHARED, MODULES = read_description()


def function_of(one: Module, method: Method) -> Any:
    return getattr(importlib.import_module(f"wixvisitor.apis.{one.dotted}"), method.name)


def value_of(one: Module, kind: Type) -> Any:
    enums = one.own.enums.get(kind.base) or SHARED.enums.get(kind.base)
    plain: dict[str, Any] = {"string": "x y", "date": "2026-12-24", "boolean": True, "integer": 1, "number": 1.5}
    value = enums[0] if enums else plain.get(kind.base, {"id": "x y"})
    for suffix in kind.suffixes:
        value = {"[]": [value], "{}": {"key": value}, "?": value}[suffix]
    return value


def expected_path(method: Method) -> str:
    return re.sub(r"\{[^}]+\}", "x y", method.path)


def at_top(arguments: tuple[Argument, ...]) -> set[str]:
    return {argument.at[0] for argument in arguments}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("family", [httpx])
async def test_each_function_sends_its_request(wix: Wix, shopper: VisitorSession) -> None:
    """With every argument: the method, the path, and each argument under its name in the body or the query."""
    for one in MODULES:
        for method in one.methods:
            arguments = {argument.name: value_of(one, argument.type) for argument in method.arguments}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                await function_of(one, method)(shopper, **arguments)
            request = wix.requests[-1]
            assert (request.method, request.url.path) == (method.method, expected_path(method)), method.name
            if method.carries == "body":
                assert set(json.loads(request.content)) == at_top(method.arguments), method.name
            else:
                keys = {key.partition(".")[0] for key in request.url.params} or {""}
                assert keys <= at_top(method.arguments) | {""}, method.name
    assert len(wix.requests) == 158


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("family", [httpx])
async def test_each_function_with_pages_goes_on(wix: Wix, shopper: VisitorSession) -> None:
    """After a first page, by what its answer says by its type, `each` asks for the second, and for no third."""
    paged = [(one, method, paging) for one in MODULES for method in one.methods if (paging := paging_of(one, method))]
    for one, method, paging in paged:
        wix.requests.clear()
        for last in (False, True):
            wix.answer(json={paging.key: [{}], **metadata(one, method, paging, last=last)})
        required = {one_.name: value_of(one, one_.type) for one_ in method.arguments if one_.required}
        required = {name: {} if name in ("query", "search") else value for name, value in required.items()}
        found = [item async for item in each(function_of(one, method), shopper, **required)]
        assert (len(found), len(wix.requests)) == (2, 2), method.name
    assert len(paged) == 39


def metadata(one: Module, method: Method, paging: Paging, *, last: bool) -> dict[str, Any]:
    """What Wix says about the pages, by the type of the answer."""
    fields = one.fields(method.answer.base)
    said: dict[str, Any] = {"cursors": {} if last else {"next": "n"}} if paging.cursor else {"total": 2}
    if "total" in fields or "totalResults" in fields:
        return {"total" if "total" in fields else "totalResults": 2}
    (key,) = (key for key, kind in fields.items() if said.keys() <= one.fields(kind.base).keys())
    return {key: said}


def test_each_function_is_alike() -> None:
    """A coroutine function whose arguments are keywords, with the request first in its docstring, and no other name."""
    for one in MODULES:
        module = importlib.import_module(f"wixvisitor.apis.{one.dotted}")
        assert module.__all__ == [method.name for method in one.methods]
        for method in one.methods:
            function = function_of(one, method)
            assert inspect.iscoroutinefunction(inspect.unwrap(function))
            first, *others = inspect.signature(function).parameters.values()
            assert first.name == "visitor"
            assert {other.kind for other in others} <= {inspect.Parameter.KEYWORD_ONLY}
            assert ("max_retries" in {other.name for other in others}) is method.reads
            assert function.__doc__.startswith(f"{method.method} {method.path}\n")
            assert method.reference in function.__doc__
