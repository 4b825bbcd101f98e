"""The clients that shops use, with fewer connections than there are callers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs
import httpx
import httpx2
import httpx_aiohttp


@attrs.frozen
class Kind:
    """A kind of client.

    Attributes:
        make: returns one; None is the client that a session makes for itself.
        callers: how many callers are more than it has connections.
        on_trio: whether it runs on trio.
    """

    make: Callable[[], Any] | None
    callers: int
    on_trio: bool = True


def _of_httpx() -> Any:
    return httpx.AsyncClient(limits=httpx.Limits(max_connections=5), timeout=5.0)


def _of_httpx2() -> Any:
    return httpx2.AsyncClient(limits=httpx2.Limits(max_connections=10), timeout=5.0)


def _of_httpx_aiohttp() -> Any:
    return httpx_aiohttp.HttpxAiohttpClient(limits=httpx.Limits(max_connections=10), timeout=5.0)


CLIENTS: Final[dict[str, Kind]] = {
    "default": Kind(None, 150),
    "httpx, 5 connections": Kind(_of_httpx, 40),
    "httpx2": Kind(_of_httpx2, 40),
    "httpx-aiohttp": Kind(_of_httpx_aiohttp, 40, on_trio=False),
}


def kinds_on(backend: str) -> tuple[str, ...]:
    """Returns the names of those that run on this event loop."""
    return tuple(name for name, kind in CLIENTS.items() if kind.on_trio or backend == "asyncio")


def kind_after(name: str, backend: str) -> str:
    """Returns which kind is next on this event loop."""
    kinds = kinds_on(backend)
    return kinds[(kinds.index(name) + 1) % len(kinds)]
