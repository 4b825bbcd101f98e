"""What has no public name in httpx and httpcore: where it is used, and what holds where it is missing."""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType
from typing import Any

import httpcore
import httpx
import pytest

import wixvisitor
from tests.constants import CART, CLIENT_ID
from wixvisitor import Tokens, VisitorSession
from wixvisitor._http import internals, own_client

TOP = Path(wixvisitor.__file__).parent


THEIRS = {  # names that no object of this package has
    *("_mounts", "_cookies", "_transport_for_url", "_init_transport", "_init_proxy_transport"),
    *("_send_single_request", "_send_handling_redirects", "_send_handling_auth", "_merge_url", "_event_hooks"),
    *("_max_connections", "_http2", "_ssl_context", "_assign_requests_to_connections", "_close_connections"),
    *("_max_keepalive_connections", "_keepalive_expiry", "_network_backend", "_connect_failed"),
}


def used_in(path: Path) -> set[str]:
    """The private names that a module uses of other objects than ``self``, and those that it looks up as a text."""
    found = set[str]()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") not in ("self", "cls"):
            found.add(node.attr)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "setattr", "hasattr"):
            found |= {one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)}
    return {name for name in found if name.startswith("_") and not name.startswith("__")}


def test_one_module_touches_what_is_private() -> None:
    """No private name of httpx's client or transports, or of httpcore's pool, is used outside of one module."""
    for path in TOP.rglob("*.py"):
        if path.name != "internals.py":
            assert used_in(path) & THEIRS == set(), path.name
    assert {"_transport_for_url", "_max_connections"} <= used_in(TOP / "_http/internals.py")


def test_the_names_are_there(family: ModuleType) -> None:
    """The releases that are installed have what is used of them, so that less than all is no accident."""
    client = family.AsyncClient
    for name in (*internals.SEND_METHODS, "_send_single_request", "_transport_for_url", "_init_transport"):
        assert callable(getattr(client, name)), name
    pool = httpcore.AsyncConnectionPool(max_connections=3)
    assert internals.max_requests_of(pool) == 3
    for name in ("_requests", "_connections", "_http2"):
        assert hasattr(pool, name), name
    assert callable(pool._assign_requests_to_connections)


def test_a_pools_places() -> None:
    """HTTP/2 and pools without a limit have no number of requests that they send at once."""
    assert internals.max_requests_of(httpcore.AsyncConnectionPool(max_connections=None)) is None
    assert internals.max_requests_of(httpcore.AsyncConnectionPool(max_connections=3, http2=True)) is None
    assert internals.max_requests_of(object()) is None


@pytest.mark.anyio
async def test_another_pool_is_left_alone() -> None:
    """A pool that is built otherwise is not touched, and nothing fails."""
    await internals.recover(object(), object())

    class Other:
        _requests, _connections = (), ()

    await internals.recover(Other(), None)


@pytest.mark.anyio
async def test_an_httpx_that_is_built_otherwise(
    served: Any, still: Any, visitor: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where httpx's transport has no pool below it, a session's own client is httpx's as it is."""
    monkeypatch.setattr(internals, "pool_of", lambda _: None)
    async with VisitorSession(CLIENT_ID, base_url=served.url, tokens=visitor, clock=still.now) as session:
        assert (await session.get(CART)).status_code == 404
        await session.renew_token()


@pytest.mark.anyio
async def test_an_async_client_that_was_replaced(monkeypatch: pytest.MonkeyPatch, still: Any) -> None:
    """A function that a test puts in the place of ``httpx.AsyncClient`` is asked for the client."""
    monkeypatch.setattr(httpx, "AsyncClient", lambda **arguments: "made", raising=True)
    assert own_client.own_client() == "made"
