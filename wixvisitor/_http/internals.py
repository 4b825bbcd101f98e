"""Every use of private names of httpx and httpcore. No other module uses any.

httpx has no public way to ask a client for its transport, to choose the transports for proxies of the environment, or
to send without storing cookies. httpcore has no public way to drop a connection. If a release lacks one of the private
names, the feature that needs it is reduced, and nothing fails.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Final

import httpx

from wixvisitor._http.bound_header import copy_bound
from wixvisitor._http.requests import REQUEST_MARKER
from wixvisitor._tasks.closing import close_shielded
from wixvisitor.errors import ConfigurationError

SEND_METHODS: Final = frozenset({"send", "_send_handling_auth", "_send_handling_redirects"})
"""The client's methods that call each other until ``_SEND_ONE`` is called."""
_SEND_ONE: Final = "_send_single_request"


# The view of a client


def view_of(client: Any, family: ModuleType, transport_of: Callable[[Any], Any], may_see: Callable[[Any], bool]) -> Any:
    """Returns a view of an httpx or httpx2 client. It sends as the client does, but stores no cookies.

    The view shares the client's attributes, so later changes by the owner, and closing, take effect at once.

    Args:
        client: the client.
        family: httpx or httpx2.
        transport_of: takes a transport of the client, and returns the transport to use in its place.
        may_see: returns whether the token may be sent to a URL.
    """
    client_class: Any = type(client)
    view = object.__new__(_view_class(client_class, family))
    view.__dict__ = client.__dict__
    view._wixvisitor_transport = transport_of
    view._wixvisitor_may_see = may_see
    return view


@functools.cache
def _view_class(client_class: Any, family: ModuleType) -> Any:
    class ReadOnlyCookies(family.Cookies):  # type: ignore[misc, name-defined]
        """The caller's cookie jar, for reading only."""

        def __init__(self, jar: Any) -> None:
            self.jar = jar

        def extract_cookies(self, response: Any) -> None:
            """Stores nothing; the cookies can still be read in the response's headers."""

    class View(client_class):  # type: ignore[misc]
        """The caller's client, except that its cookie jar is read-only."""

        __slots__ = (
            "_wixvisitor_may_see",
            "_wixvisitor_transport",
        )  # the view's own; all other attributes are the client's
        _cookies: Any

        @property
        def cookies(self) -> Any:
            return ReadOnlyCookies(self._cookies.jar)

        @cookies.setter
        def cookies(self, cookies: Any) -> None:
            self._cookies = family.Cookies(cookies)

        def _transport_for_url(self, url: Any) -> Any:
            return self._wixvisitor_transport(super()._transport_for_url(url))

        def _redirect_headers(self, request: Any, url: Any, method: str) -> Any:
            """Returns httpx's headers for a redirect, but keeps the token if the new origin may see it."""
            headers = super()._redirect_headers(request, url, method)
            if (
                "Authorization" not in headers
                and self._wixvisitor_may_see(request.url)
                and self._wixvisitor_may_see(url)
            ):
                copy_bound(request.headers, headers)
            return headers

    return View


def transport_for(client: Any, url: Any) -> Any:
    """Returns the transport that the client uses for this URL, which may be a proxy's or a mounted one."""
    return client._transport_for_url(url)


def route_marked_requests(view: Any) -> None:
    """Makes the client behind the view send marked requests as the view does, and other requests as before.

    This is needed if a tool has replaced one of ``SEND_METHODS`` on the client's instance: the replacement calls the
    client's original method, which does not use the view.
    """
    client_class: Any = type(view).__mro__[1]
    before = view.__dict__.get(_SEND_ONE)
    if not hasattr(client_class, _SEND_ONE) or getattr(before, "is_ours", False):
        return
    client: Any = object.__new__(client_class)
    client.__dict__ = view.__dict__

    async def send(request: Any) -> Any:
        if before is not None and REQUEST_MARKER not in request.extensions:
            return await before(request)
        sender = view if REQUEST_MARKER in request.extensions else client
        return await getattr(client_class, _SEND_ONE)(sender, request)

    send.is_ours = True  # type: ignore[attr-defined]
    view.__dict__[_SEND_ONE] = send


# A client of our own


def own_client(make: Callable[..., httpx.AsyncBaseTransport], **arguments: Any) -> httpx.AsyncClient:
    """Returns an ``httpx.AsyncClient`` whose transports come from ``make``, also those for the environment's proxies.

    Args:
        make: makes a transport. It gets the proxy or None, and the arguments of ``httpx.AsyncHTTPTransport``.
        arguments: the arguments of ``httpx.AsyncClient``.
    """
    kind: Any = httpx.AsyncClient  # looked up at each call, because tests replace it
    client: httpx.AsyncClient = (_own_class(kind, make) if isinstance(kind, type) else kind)(**arguments)
    return client


@functools.cache
def _own_class(kind: Any, make: Callable[..., Any]) -> Any:
    class OwnClient(kind):  # type: ignore[misc]
        """httpx's client with our transports."""

        def _init_transport(self, *, transport: Any = None, **settings: Any) -> Any:
            return make(None, **settings) if transport is None else transport

        def _init_proxy_transport(self, proxy: Any, **settings: Any) -> Any:
            return make(proxy, **settings)

    return with_environment_proxies(httpx, OwnClient)


def with_environment_proxies(family: Any, kind: Any) -> Any:
    """Returns a subclass that reads the environment's proxies with our module ``proxies``.

    If the client is told not to use the environment, or gets a proxy as an argument, it behaves as before.

    Args:
        family: httpx or httpx2.
        kind: the client's class.
    """
    from wixvisitor._http.proxies import Bypass, Unusable, from_environment  # noqa: PLC0415 - a caller's client does without

    class UnusableProxyTransport(family.AsyncBaseTransport):  # type: ignore[misc]
        """Takes the place of a proxy that cannot be used. A request through it is an error with this reason."""

        def __init__(self, reason: str) -> None:
            self.reason = reason

    class EnvironmentProxyClient(kind):  # type: ignore[misc]
        """A client that uses the environment's proxies."""

        _bypass: Bypass | None = None
        _proxied: tuple[Any, ...] = ()

        def _get_proxy_map(self, proxy: Any, allow_env_proxies: Any) -> Any:
            if proxy is not None or not allow_env_proxies:
                return super()._get_proxy_map(proxy, allow_env_proxies)
            found, self._bypass = from_environment(family.Proxy)
            return found

        def _init_proxy_transport(self, proxy: Any, **settings: Any) -> Any:
            is_usable = not isinstance(proxy, Unusable)
            made = (
                super()._init_proxy_transport(proxy, **settings) if is_usable else UnusableProxyTransport(proxy.reason)
            )
            if self._bypass is not None:
                self._proxied += (made,)
            return made

        def _transport_for_url(self, url: Any) -> Any:
            transport = super()._transport_for_url(url)
            if self._bypass is None or all(one is not transport for one in self._proxied):
                return transport
            if self._bypass.covers(url):
                return self._transport
            if isinstance(transport, UnusableProxyTransport):
                raise ConfigurationError(transport.reason)
            return transport

    EnvironmentProxyClient.__name__ = EnvironmentProxyClient.__qualname__ = kind.__name__
    return EnvironmentProxyClient


def pool_of(transport: Any) -> Any:
    """Returns httpcore's connection pool below httpx's transport; None if there is none."""
    return getattr(transport, "_pool", None)


def is_httpcore_pool(pool: Any) -> bool:
    """Whether this is a connection pool of httpcore."""
    import httpcore  # noqa: PLC0415 - a slow import; httpx does it when it makes its first transport

    return isinstance(pool, httpcore.AsyncConnectionPool)


def set_pool(transport: httpx.AsyncHTTPTransport, pool: Any) -> None:
    """Makes httpx's transport send through this connection pool."""
    transport._pool = pool


# A pool of the caller's


def inner_transports(transport: Any) -> Iterator[Any]:
    """Yields the transports that this transport wraps: those of its attributes that are transports themselves."""
    slots = (name for base in type(transport).__mro__ for name in getattr(base, "__slots__", ()))
    values = [*getattr(transport, "__dict__", {}).values(), *(getattr(transport, name, None) for name in slots)]
    for value in values:
        if hasattr(value, "handle_async_request"):
            yield value


def max_requests_of(pool: Any) -> int | None:
    """Returns how many requests a pool sends at once; None if it has no limit, or if HTTP/2 shares connections."""
    number = getattr(pool, "_max_connections", None)
    if getattr(pool, "_http2", True) or not isinstance(number, int) or number >= sys.maxsize:
        return None
    return number


async def recover(pool: Any, ended: object) -> None:
    """Removes a pool's connections that belong to no request, and lets queued requests start.

    There are two such cases in httpcore 1.0. If a request is cancelled before it connects, its connection stays in the
    pool (encode/httpcore#1093). If closing a response is cancelled, the request and its connection stay in the pool.

    Args:
        pool: httpcore's pool.
        ended: the marker of a request that has ended, even if the pool still lists it; None if there is no such one.
    """
    requests, connections = getattr(pool, "_requests", None), getattr(pool, "_connections", None)
    assign: Any = getattr(pool, "_assign_requests_to_connections", None)
    if not (isinstance(requests, list) and isinstance(connections, list) and assign is not None):
        return
    if ended is not None:
        requests[:] = [one for one in requests if one.request.extensions.get(REQUEST_MARKER) is not ended]
    owned = {id(one.connection) for one in requests}
    orphans = [one for one in connections if id(one) not in owned and not (one.is_idle() or one.is_closed())]
    for one in orphans:
        connections.remove(one)
    if closing := [*orphans, *assign()]:
        await close_shielded(*(one.aclose for one in closing))


def transport_stream(response: Any) -> Any:
    """Returns the stream that the transport made. httpx wraps it in a generator, which would hide it."""
    stream = response.stream
    return getattr(stream, "_stream", stream) if type(stream).__name__ == "BoundAsyncStream" else stream
