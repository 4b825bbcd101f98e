"""The fast client: httpx in front, aiohttp behind."""

from __future__ import annotations

import functools
import importlib
import logging
import time
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, overload

import httpx

from wixvisitor._internals import with_environments_proxies
from wixvisitor._requests import TIMEOUTS
from wixvisitor.errors import ConfigurationError

if TYPE_CHECKING:
    import httpx2 as _httpx2


@overload
def aiohttp_client(*, httpx2: Literal[False] = False, **arguments: Any) -> httpx.AsyncClient: ...
@overload
def aiohttp_client(*, httpx2: Literal[True], **arguments: Any) -> _httpx2.AsyncClient: ...
def aiohttp_client(*, httpx2: bool = False, **arguments: Any) -> httpx.AsyncClient | _httpx2.AsyncClient:
    """Returns an ``httpx.AsyncClient`` that sends with aiohttp, several times as fast as httpx's own transport.

    Hand the function itself to a session or pool, which then makes a client for each event loop and closes it:
    ``VisitorSession(…, client=aiohttp_client)``; with arguments ``client=lambda: aiohttp_client(timeout=10.0)``. Or
    make a client, and close it yourself. Needs the extra ``aiohttp``, and asyncio.

    Args:
        httpx2: return an ``httpx2.AsyncClient``, which is faster still; needs the extra ``httpx2``.
        arguments: what ``httpx.AsyncClient`` takes: ``timeout`` (default 30 s, 10 s to connect), ``limits`` (100
            connections), ``verify``, ``proxy``, ``mounts``, ``event_hooks``, ``headers``, …

    Raises:
        ImportError: an extra is not installed.
        ConfigurationError: HTTP/2, a SOCKS proxy, or TLS settings for the proxy itself, which aiohttp does not do.

    Concurrency: share the client between tasks of one event loop; loops may follow one another.
    Cancellation: closes the request's connection, and nothing else.
    """
    if arguments.get("http2") or not arguments.get("http1", True):
        raise ConfigurationError("http2: aiohttp speaks HTTP/1.1 only; use httpx.AsyncClient for HTTP/2")
    family = _imported("httpx2", "httpx2") if httpx2 else httpx
    arguments.setdefault("timeout", family.Timeout(**TIMEOUTS))
    client: httpx.AsyncClient = _client_class(family)(**arguments)
    return client


def _imported(module: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"aiohttp_client needs an extra: pip install 'wixvisitor[{extra}]'") from error


@functools.cache
def _client_class(family: ModuleType) -> Any:
    _imported("aiohttp", "aiohttp")
    from wixvisitor._aiohttp_transport import Transport, transport_class  # noqa: PLC0415 - needs the extra

    logger = logging.getLogger(family.__name__)

    class AiohttpClient(family.AsyncClient):  # type: ignore[misc, name-defined]
        """httpx's client, whose transports are ours; httpx has no public place for that which heeds proxies."""

        def _init_transport(self, *, transport: Any = None, **settings: Any) -> Any:
            return self._aiohttp_transport(**settings) if transport is None else transport

        def _init_proxy_transport(self, proxy: Any, **settings: Any) -> Any:
            return self._aiohttp_transport(proxy=proxy, **settings)

        def _aiohttp_transport(
            self, *, verify: Any, cert: Any, trust_env: bool, limits: Any, proxy: Any = None, **_: Any
        ) -> Any:
            context = family.create_ssl_context(verify=verify, cert=cert, trust_env=trust_env)
            return transport_class(family)(context, limits, proxy)

        async def _send_single_request(self, request: Any) -> Any:
            """What httpx does, as far as there is something to do: logging, storing cookies, measuring the time."""
            transport = self._transport_for_url(request.url)
            is_ours = isinstance(transport, Transport) and isinstance(request.stream, family.AsyncByteStream)
            if not is_ours or logger.isEnabledFor(logging.INFO):
                return await super()._send_single_request(request)
            started = time.perf_counter()
            response = await transport.handle_async_request(request)
            response.started = started
            response.default_encoding = self._default_encoding
            if response.sets_cookies:
                self.cookies.extract_cookies(response)
            return response

    return with_environments_proxies(family, AiohttpClient, takes_socks=False)
