"""An httpx (or httpx2) transport over aiohttp, for speed. Needs the extra ``aiohttp``; asyncio only.

A request is translated once, and a response is read without httpx's chain of generators; the rest is aiohttp's:
connections, TLS, HTTP. Cookies are left to the client above. What httpx documents holds: the four timeouts, the
limits, HTTP proxies, streaming both ways, the exceptions.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import ssl
from collections.abc import Awaitable
from http.cookies import SimpleCookie
from types import ModuleType
from typing import Any, Final

import aiohttp
from yarl import URL

from wixvisitor._aiohttp_body import UnreadableBody, Upload, response_of
from wixvisitor._aiohttp_errors import httpx_error
from wixvisitor.errors import ConfigurationError

_BUFFERED: Final = 65_536  # bytes; a body up to this size is written at once and never waited for
_LONGEST_LINE: Final = 65_536  # bytes of one response header; aiohttp's 8 kB are less than what httpx takes
_WITHOUT_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})  # aiohttp adds no Content-Type to these
_NO_COOKIES: Final = SimpleCookie()
_FOR_BODIES: Final = frozenset({"content-type"})
_AIOHTTP_ADDS: Final = _FOR_BODIES | {"accept", "accept-encoding", "user-agent"}  # httpx added them, or shall not


class NoCookies(aiohttp.DummyCookieJar):
    """Cookies are left to the client above; and one answer to the question for them is enough."""

    def filter_cookies(self, request_url: URL) -> SimpleCookie:  # noqa: ARG002 - aiohttp's signature
        """Returns none."""
        return _NO_COOKIES


class Proxying:
    """An HTTP proxy, as aiohttp wants to hear of it.

    Raises:
        ConfigurationError: it is a proxy that aiohttp does not speak to.
    """

    def __init__(self, proxy: Any) -> None:
        if not proxy.url.scheme.startswith("http") or proxy.ssl_context is not None:
            what = "an SSL context for the proxy" if proxy.ssl_context else f"a {proxy.url.scheme} proxy"
            raise ConfigurationError(f"proxy: aiohttp_client cannot use {what}; httpx.AsyncClient can")
        self.url = URL(str(proxy.url))
        self.headers = [(name.decode(), value.decode()) for name, value in proxy.headers.raw]
        if proxy.auth:
            credentials = base64.b64encode(":".join(proxy.auth).encode()).decode()
            self.headers.append(("Proxy-Authorization", f"Basic {credentials}"))

    def arguments(self, request: Any, headers: list[tuple[str, str]]) -> dict[str, Any]:
        """Returns what makes aiohttp go through the proxy."""
        if request.url.scheme == "https":
            return {"proxy": self.url, "proxy_headers": self.headers}
        return {"proxy": self.url, "headers": [*self.headers, *headers]}


class Transport:
    """Sends with aiohttp; ``transport_class`` makes it httpx's or httpx2's.

    Args:
        ssl_context: for https.
        limits: how many connections there are at once, and how long idle ones are kept; aiohttp has no word for
            ``max_keepalive_connections``.
        proxy: where everything goes through.

    Concurrency: share it between tasks of one event loop; loops may follow one another.
    Cancellation: closes the request's connection.
    """

    family: ModuleType

    def __init__(self, ssl_context: ssl.SSLContext, limits: Any, proxy: Any = None) -> None:
        self._ssl, self._limits = ssl_context, limits
        self._proxy = None if proxy is None else Proxying(proxy)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session: aiohttp.ClientSession
        self._slots: asyncio.Semaphore

    async def handle_async_request(self, request: Any) -> Any:
        """Sends a request and returns the response, its body still to be read.

        Raises:
            httpx.TransportError: whatever goes wrong.
            RuntimeError: there is no asyncio event loop, or the transport is in use in another one.
        """
        if self._loop is not _running_loop():
            await self._open()
        timeouts = request.extensions.get("timeout", {})
        if self._slots.locked():
            await self._wait_for_slot(request, timeouts.get("pool"))
        else:
            await self._slots.acquire()
        try:
            response = await self._respond(request, timeouts)
        except BaseException as error:
            self._slots.release()
            failure = error.error if isinstance(error, UnreadableBody) else httpx_error(error, self.family, request)
            if failure is None:
                raise
        else:
            if response.connection is None:
                self._slots.release()
            else:
                response.connection.add_callback(self._slots.release)
            return response_of(self.family, response, request)
        raise failure

    async def _wait_for_slot(self, request: Any, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._slots.acquire()
        except TimeoutError:
            pass
        else:
            return
        raise self.family.PoolTimeout("all connections are in use", request=request)

    def _respond(self, request: Any, timeouts: dict[str, float | None]) -> Awaitable[aiohttp.ClientResponse]:
        """Returns what is to be awaited: what waits holds no headers, since error reporters print local variables."""
        url, headers = _yarl(str(request.url)), [(name.decode(), value.decode()) for name, value in request.headers.raw]
        timeout = _timeout(timeouts.get("connect"), timeouts.get("read"))
        arguments: dict[str, Any] = {"headers": headers, "timeout": timeout, "allow_redirects": False}
        if "sni_hostname" in request.extensions:
            arguments["server_hostname"] = request.extensions["sni_hostname"]
        if self._proxy is not None:
            arguments |= self._proxy.arguments(request, headers)
        if not isinstance(request.stream, self.family.ByteStream):
            return self._upload(request, url, timeouts.get("write"), arguments)
        body = request.read()
        if len(body) > _BUFFERED:
            return self._upload(request, url, timeouts.get("write"), arguments)
        unwanted = _AIOHTTP_ADDS.difference([name.lower() for name, _ in headers])
        if unwanted and (unwanted != _FOR_BODIES or request.method not in _WITHOUT_BODY):
            arguments["skip_auto_headers"] = unwanted
        return self._session.request(request.method, url, data=body or None, **arguments)

    def _upload(
        self, request: Any, url: URL, seconds: float | None, arguments: dict[str, Any]
    ) -> Awaitable[aiohttp.ClientResponse]:
        arguments["headers"] = [pair for pair in arguments["headers"] if pair[0].lower() != "transfer-encoding"]
        arguments["skip_auto_headers"] = _AIOHTTP_ADDS
        upload = Upload(request.stream, seconds)
        sending = self._session.request(request.method, url, data=upload.pieces(), **arguments)
        return self._uploaded(request, upload, sending)

    async def _uploaded(
        self, request: Any, upload: Upload, sending: Awaitable[aiohttp.ClientResponse]
    ) -> aiohttp.ClientResponse:
        try:
            async with upload.timer:
                return await sending
        except Exception:
            if upload.error is not None:
                raise UnreadableBody(upload.error) from None
            if not upload.timer.expired():
                raise
        raise self.family.WriteTimeout("the server takes no more of the body", request=request)

    async def _open(self) -> None:
        old = None if self._loop is None else self._session
        if self._loop is not None and not self._loop.is_closed():
            raise RuntimeError("this client is in use in another event loop; make one for each")
        connections = self._limits.max_connections
        self._loop = _running_loop()
        self._slots = asyncio.Semaphore(2**31 if connections is None else connections)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # the slots are the limit: httpx tells a wait for them from one for the server
                ssl=self._ssl,
                keepalive_timeout=self._limits.keepalive_expiry,
            ),
            cookie_jar=NoCookies(),
            auto_decompress=False,
            max_line_size=_LONGEST_LINE,
            max_field_size=_LONGEST_LINE,
        )
        if old is not None:
            await old.close()

    async def aclose(self) -> None:
        """Closes the connections."""
        if self._loop is not None:
            self._loop = None
            await self._session.close()


@functools.cache
def transport_class(family: ModuleType) -> Any:
    """Returns the transport as a class of httpx's or httpx2's."""
    return type("AiohttpTransport", (Transport, family.AsyncBaseTransport), {"family": family})


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError("aiohttp_client needs asyncio; on trio use httpx.AsyncClient") from None


@functools.lru_cache(64)
def _timeout(connect: float | None, read: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=connect, sock_read=read)


@functools.lru_cache(512)
def _yarl(text: str) -> URL:
    return URL(text, encoded=True)  # httpx has encoded it
