"""The client that a session makes for itself: an ``httpx.AsyncClient`` over our own connection pool."""

from __future__ import annotations

import ssl
from typing import Any

import httpx

from wixvisitor._http import internals
from wixvisitor._http.connection_pool import SECURE, ExclusivePool
from wixvisitor._http.requests import TIMEOUTS
from wixvisitor._http.tls import shared_context


def own_client() -> httpx.AsyncClient:
    """Returns a client with the environment's proxies and certificates, and with our timeouts."""
    return internals.own_client(_transport, timeout=httpx.Timeout(**TIMEOUTS))


def _transport(proxy: httpx.Proxy | None, **settings: Any) -> httpx.AsyncBaseTransport:
    """Returns httpx's own transport, with our connection pool in place of httpcore's."""
    settings = {name: value for name, value in settings.items() if name not in ("verify", "cert", "trust_env")}
    factory = _PoolFactory(proxy, settings)
    front = factory.transport(_no_context())
    if internals.is_httpcore_pool(internals.pool_of(front)):
        internals.set_pool(front, ExclusivePool(factory))
        return front
    return factory.transport(shared_context())  # this release of httpx does not use httpcore's pool


class _PoolFactory:
    """Returns the httpcore pools that make the connections of one transport.

    The pool for https is made at first use, because reading the certificates is slow.
    """

    def __init__(self, proxy: httpx.Proxy | None, settings: dict[str, Any]) -> None:
        self._proxy, self._settings = proxy, settings
        self._plain: Any = self.pool(_no_context())
        self._secure: tuple[ssl.SSLContext, Any] | None = None

    def __call__(self, scheme: bytes) -> Any:
        if scheme not in SECURE:
            return self._plain
        try:
            context = shared_context()
        except OSError as error:  # the certificates cannot be read, for example because no file descriptor is left
            import httpcore  # noqa: PLC0415 - httpx imports it when it makes its first transport

            raise httpcore.ConnectError(f"the HTTP client could not be created: {error}") from error
        if self._secure is None or self._secure[0] is not context:
            self._secure = context, self.pool(context)
        return self._secure[1]

    async def aclose(self) -> None:
        """Closes the pools. They hold connections only if a tool has sent requests through them."""
        await self._plain.aclose()
        if self._secure is not None:
            await self._secure[1].aclose()

    def transport(self, context: ssl.SSLContext) -> httpx.AsyncHTTPTransport:
        return httpx.AsyncHTTPTransport(verify=context, proxy=self._proxy, **self._settings)

    def pool(self, context: ssl.SSLContext) -> Any:
        return internals.pool_of(self.transport(context))


_unused: ssl.SSLContext | None = None


def _no_context() -> ssl.SSLContext:
    """Returns a context without certificates, for connections without TLS. By default httpx would read them all."""
    global _unused  # noqa: PLW0603 - one is enough for the process
    if _unused is None:
        _unused = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return _unused
