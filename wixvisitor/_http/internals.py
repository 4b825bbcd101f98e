"""All of httpx and httpcore that has no public name and is used here all the same. No other module touches it.

httpx has no public transport_of to ask a client for its transport, to say which transports it makes for proxies of the
environment, or to send without storing cookies; httpcore has none to drop a connection. Where a name is missing in
another release, what needs it does less, and nothing fails.
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
"""A client's methods on the transport_of to the one below."""
_SEND_ONE: Final = "_send_single_request"


# The view of a client


def view_of(client: Any, family: ModuleType, transport_of: Callable[[Any], Any], may_see: Callable[[Any], bool]) -> Any:
    """Returns a view of an httpx or httpx2 client that sends as it does, but stores no cookies.

    The view shares the client's attributes themselves: what its owner changes, or closes, later counts at once.

    Args:
        client: the client.
        family: httpx or httpx2.
        transport_of: returns the transport that is used in place of one of the client's.
        may_see: whether the token may go to a URL.
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
        """The caller's jar, for reading."""

        def __init__(self, jar: Any) -> None:
            self.jar = jar

        def extract_cookies(self, response: Any) -> None:
            """Leaves the response's cookies to whoever reads the response."""

    class View(client_class):  # type: ignore[misc]
        """The caller's client, minus the jar."""

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
            """As httpx's, which takes the token away for another origin: one that may see it has it."""
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
    """Returns the transport that the client uses for this URL, proxies and mounts considered."""
    return client._transport_for_url(url)


def route_marked_requests(view: Any) -> None:
    """Makes the view's client send marked requests as the view does; other requests as ever.

    For a client of which one of ``SEND_METHODS`` was replaced on the instance: the replacement calls the client's own
    method, which knows nothing of the view.
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
    """Returns an ``httpx.AsyncClient`` whose transports, those for proxies of the environment too, a function makes.

    Args:
        make: takes the proxy, or None, and what ``httpx.AsyncHTTPTransport`` takes.
        arguments: what ``httpx.AsyncClient`` takes.
    """
    kind: Any = httpx.AsyncClient  # looked up now: tests put others in its place
    client: httpx.AsyncClient = (_own_class(kind, make) if isinstance(kind, type) else kind)(**arguments)
    return client


@functools.cache
def _own_class(kind: Any, make: Callable[..., Any]) -> Any:
    class OwnClient(kind):  # type: ignore[misc]
        """httpx's client over our transports."""

        def _init_transport(self, *, transport: Any = None, **settings: Any) -> Any:
            return make(None, **settings) if transport is None else transport

        def _init_proxy_transport(self, proxy: Any, **settings: Any) -> Any:
            return make(proxy, **settings)

    return with_environment_proxies(httpx, OwnClient)


def with_environment_proxies(family: Any, kind: Any) -> Any:
    """Returns a client's class that reads the environment's proxies as ``proxies`` does, where it reads them at all.

    Args:
        family: httpx or httpx2.
        kind: the client's class.
    """
    from wixvisitor._http.proxies import Bypass, Unusable, from_environment  # noqa: PLC0415 - a caller's client does without

    class UnusableProxyTransport(family.AsyncBaseTransport):  # type: ignore[misc]
        """Stands for a proxy that cannot be used."""

        def __init__(self, reason: str) -> None:
            self.reason = reason

    class EnvironmentProxyClient(kind):  # type: ignore[misc]
        """A client with the environment's proxies."""

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
    """Returns httpcore's pool below httpx's transport, None where there is none."""
    return getattr(transport, "_pool", None)


def is_httpcore_pool(pool: Any) -> bool:
    """Whether this is a pool of httpcore's."""
    import httpcore  # noqa: PLC0415 - it is slow to import; httpx imports it when it makes its first transport

    return isinstance(pool, httpcore.AsyncConnectionPool)


def set_pool(transport: httpx.AsyncHTTPTransport, pool: Any) -> None:
    """Makes httpx's transport send through this pool."""
    transport._pool = pool


# A pool of the caller's


def inner_transports(transport: Any) -> Iterator[Any]:
    """Yields what a transport that wraps others wraps: the values of its attributes that are transports."""
    slots = (name for base in type(transport).__mro__ for name in getattr(base, "__slots__", ()))
    values = [*getattr(transport, "__dict__", {}).values(), *(getattr(transport, name, None) for name in slots)]
    for value in values:
        if hasattr(value, "handle_async_request"):
            yield value


def max_requests_of(pool: Any) -> int | None:
    """Returns how many requests a pool sends at once; None if that is not limited by its connections alone."""
    number = getattr(pool, "_max_connections", None)
    if getattr(pool, "_http2", True) or not isinstance(number, int) or number >= sys.maxsize:
        return None
    return number


async def recover(pool: Any, ended: object) -> None:
    """Drops the connections that belong to no request any more, and lets queued requests have their places.

    httpcore 1.0 keeps a connection that was assigned to a request which was cancelled before it connected
    (encode/httpcore#1093), and both the request and its connection if closing the response was cancelled.

    Args:
        pool: httpcore's.
        ended: the mark of a request of ours that has ended, whatever the pool believes; None: of none.
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
    """Returns the stream that the transport gave, without httpx's generator around it, which would keep it from us."""
    stream = response.stream
    return getattr(stream, "_stream", stream) if type(stream).__name__ == "BoundAsyncStream" else stream
