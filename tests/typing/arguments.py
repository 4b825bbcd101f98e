"""Checked by mypy and pyright, never run: a request's arguments have httpx's types, for clients of both libraries."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import httpx2

from wixvisitor import VisitorPool, VisitorSession
from wixvisitor.asgi import CatalogReader


async def chunks() -> AsyncIterator[bytes]:
    """A body that is made as it is sent."""
    yield b""


async def good(session: VisitorSession, catalog: CatalogReader) -> None:
    """What httpx and httpx2 take."""
    await session.get(httpx.URL("/x"), headers={"A": "b"}, params=[("a", 1), ("a", None)], timeout=httpx.Timeout(5.0))
    await session.get(httpx2.URL("/x"), headers=httpx2.Headers({"A": "b"}), timeout=httpx2.Timeout(5.0))
    await session.post("/x", content=chunks(), headers=[(b"A", b"b")], cookies={"a": "b"}, timeout=None)
    await session.post("/x", files={"a": ("a.txt", b"", "text/plain")}, data={"a": ["b", "c"]})
    await session.request("GET", "/x", follow_redirects=httpx.USE_CLIENT_DEFAULT, timeout=(1.0, 2.0, None, 3.0))
    await catalog.get("/x", params=httpx.QueryParams(a=1), extensions={"trace": print})
    VisitorPool("id", client=httpx2.AsyncClient)


async def bad(session: VisitorSession) -> None:
    """What neither takes."""
    await session.get("/x", headers={"A": 1})  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    await session.get("/x", timeout="5")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    await session.post("/x", content={"a": 1})  # type: ignore[dict-item] # pyright: ignore[reportArgumentType]
    await session.get("/x", auth=("a", "b"))  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    await session.get(b"/x")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
