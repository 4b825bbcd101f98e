"""Isolation of visitors that share a client: a cookie that Wix sets for one is never sent for another.

httpx stores every ``Set-Cookie`` in the client's jar and sends it with later requests of any visitor. Below httpx,
httpx-aiohttp has a second jar. So requests are sent through a *view* of the caller's client: it shares transports,
mounts, hooks, timeouts and headers, but its cookie jar is read-only. The caller's own cookies are sent and stay in the
jar. The cookies that Wix sets are in the response and are stored nowhere.
"""

from __future__ import annotations

import copy
import functools
import weakref
from collections.abc import Callable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import ModuleType
from typing import Any, Final

from wixvisitor._http import internals

_KEPT: Final = 64


class Transports:
    """Returns, for a client's transport, the one that our requests use in its place.

    That one uses the same connections, stores no cookies, and repairs the connection pool after a cancellation.

    Concurrency: safe from many tasks.
    """

    __slots__ = ("_family", "_known", "_token_client")

    def __init__(self, family: ModuleType) -> None:
        self._family = family
        self._token_client: Any = None
        self._known: dict[tuple[int, bool], tuple[Any, Any]] = {}

    def __call__(self, transport: Any) -> Any:
        """Returns the transport for an API call in place of one of the client's."""
        return self._choose(transport, sends_cookies=True)

    def token_client(self, client: Any) -> Any:
        """Returns the client that sends token calls: over the client's proxies and mounts, with nothing else of it.

        It has no hooks, cookies, auth or redirects. Token calls go through a client, and not to a transport at once,
        because Sentry, ddtrace and others watch ``AsyncClient.send``.
        """
        if self._token_client is None:
            self._token_client = _token_client(self._family, client, self._for_token_calls)
        return self._token_client

    def _for_token_calls(self, client: Any, url: Any) -> Any:
        return self._choose(internals.transport_for(client, url), sends_cookies=False)

    def _choose(self, transport: Any, *, sends_cookies: bool) -> Any:
        if has_own_jar(transport):
            return without_jar(transport, sends_cookies=sends_cookies)
        key = (id(transport), sends_cookies)
        found = self._known.get(key)
        if found is None or found[0] is not transport:
            if len(self._known) >= _KEPT:  # only a client that gets new transports all the time comes here
                self._known.clear()
            found = self._known[key] = transport, self._wrapped(transport, sends_cookies=sends_cookies)
        return found[1]

    def _wrapped(self, transport: Any, *, sends_cookies: bool) -> Any:
        with_jars = [one for one in internals.inner_transports(transport) if has_own_jar(one)]
        if with_jars:
            return _cookieless(transport, with_jars, sends_cookies=sends_cookies)
        from wixvisitor._http.recovery import recovering  # noqa: PLC0415 - imports httpcore, which is slow

        return recovering(transport, self._family)


def _token_client(family: ModuleType, client: Any, transport_for: Callable[[Any, Any], Any]) -> Any:
    class Chosen(family.AsyncBaseTransport):  # type: ignore[misc, name-defined]
        """Sends through the transport that the caller's client has for the URL."""

        async def handle_async_request(self, request: Any) -> Any:
            return await transport_for(client, request.url).handle_async_request(request)

    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
    return family.AsyncClient(transport=Chosen(), cookies=no_cookies, trust_env=False)


def has_own_jar(transport: Any) -> bool:
    """Whether this transport has a second cookie jar, as httpx-aiohttp's does."""
    transport_class: Any = type(transport)
    return _has_own_jar(transport_class)


@functools.cache
def _has_own_jar(transport_class: Any) -> bool:
    return any(base.__module__.partition(".")[0] == "httpx_aiohttp" for base in transport_class.__mro__)


_copies: weakref.WeakKeyDictionary[Any, dict[bool, Any]] = weakref.WeakKeyDictionary()


def without_jar(transport: Any, *, sends_cookies: bool) -> Any:
    """Returns a transport that stores no cookies: of httpx-aiohttp's a copy with the same connections, else itself.

    Args:
        transport: a transport of httpx or httpx2.
        sends_cookies: whether to send the cookies that the caller put into aiohttp's jar.
    """
    if not has_own_jar(transport):
        return transport
    if "handle_async_request" in vars(transport):  # patched: a copy would still send through the caller's own session
        return _cookieless(transport, [transport], sends_cookies=sends_cookies)
    _session_of(transport)
    copies = _copies.setdefault(transport, {})
    copied = copies.get(sends_cookies)
    if copied is None or copied.source() is not transport.client:
        copied = copies[sends_cookies] = _cookieless_copy(transport, sends_cookies=sends_cookies)
    return copied


def _session_of(transport: Any) -> Any:
    import aiohttp  # noqa: PLC0415 - an extra; httpx-aiohttp's transport needs it, so it is installed

    if not isinstance(transport.client, aiohttp.ClientSession):
        transport.client = transport.get_client()
    return transport.client


def _cookieless(transport: Any, with_jars: list[Any], *, sends_cookies: bool) -> Any:
    from wixvisitor._http import aiohttp_jar  # noqa: PLC0415 - needs the extra

    def jars() -> list[Any]:
        return [_session_of(one).cookie_jar for one in with_jars]

    return aiohttp_jar.CookielessTransport(transport, jars, sends_cookies=sends_cookies)


def _cookieless_copy(transport: Any, *, sends_cookies: bool) -> Any:
    from wixvisitor._http import aiohttp_jar  # noqa: PLC0415 - needs the extra

    session = aiohttp_jar.cookieless_session(transport.client, sends_cookies=sends_cookies)
    copied = copy.copy(transport)
    copied.client = session
    copied.source = weakref.ref(transport.client)
    weakref.finalize(copied, session.detach)  # the connector is the caller's, so the copy must not close it
    return copied
