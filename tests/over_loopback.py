"""Every client in the matrix: `pytest --client default` runs the tests with clients that reach the fake over sockets.

Ordinarily `FakeWix.client()` hands requests to the fake in process. Here it returns a client of the same library whose
requests, whatever their host, go to the fake on loopback through the transport that is named.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import httpx
import httpx_aiohttp
import httpx_aiohttp.httpx2
import pytest

from wixvisitor._http import own_client
from wixvisitor.testing import FakeWix
from wixvisitor.testing._fake import BASE_URL
from wixvisitor.testing._serve import _listener, _ServerThread


def _httpx_aiohttp(family: ModuleType) -> Any:
    transport = (httpx_aiohttp if family is httpx else httpx_aiohttp.httpx2).AiohttpTransport
    return transport, transport


def _default(family: ModuleType) -> Any:
    if family is not httpx:  # a session makes none of httpx2's
        return family.AsyncHTTPTransport, family.AsyncHTTPTransport
    return httpx.AsyncHTTPTransport, functools.partial(own_client._transport, None)


TRANSPORTS: dict[str, Callable[[ModuleType], Any]] = {
    "default": _default,
    "httpx-aiohttp": _httpx_aiohttp,
}
CANNOT = {  # words in the names of tests
    "default": ("loop", "echoes_tokens"),  # httpcore's own DEBUG lines show the head of a response as it came
    "httpx-aiohttp": ("trio", "loop"),
}


@functools.cache
def _redirected(base: type) -> Any:
    class Redirected(base):
        """Sends everything to one port of this machine; the response is that of the request as it was."""

        port = 0

        async def handle_async_request(self, request: Any) -> Any:
            sent = type(request)(
                request.method,
                request.url.copy_with(scheme="http", host="127.0.0.1", port=self.port),
                headers=request.headers,
                stream=request.stream,
                extensions=request.extensions,
            )
            response = await super().handle_async_request(sent)
            response.request = request
            return response

    return Redirected


@pytest.fixture(autouse=True)
def client_over_loopback(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Makes `FakeWix.client()` go over loopback, if the command line says so."""
    kind = request.config.getoption("--client")
    if kind is None:
        yield
        return
    servers: dict[FakeWix, tuple[_ServerThread, int]] = {}

    def client(fake: FakeWix, module: ModuleType | None = None, **arguments: Any) -> Any:
        family = module or httpx
        if fake not in servers:
            listener = _listener("127.0.0.1", 0)
            servers[fake] = _ServerThread(fake.app, listener), listener.getsockname()[1]
            servers[fake][0].start()
        base, make = TRANSPORTS[kind](family)
        transport = make()
        transport.__class__ = _redirected(base)
        transport.port = servers[fake][1]
        arguments = {"transport": transport, "base_url": BASE_URL, **arguments}
        return family.AsyncClient(**arguments)

    monkeypatch.setattr(FakeWix, "client", client)
    yield
    for server, _ in servers.values():
        server.stop()
