"""One client, many visitors: what Wix sets for one never travels with another's request.

httpx stores every ``Set-Cookie`` in the client's jar and sends it with the next request, whoever's that is; below it,
httpx-aiohttp has a second jar. So requests go out through a *view* of the caller's client: the same transports,
mounts, hooks, timeouts and headers, live, but cookies can only be read. What the caller put into the jar is sent
and stays; what Wix sets reaches the response, and nothing else.
"""

from __future__ import annotations

import copy
import functools
import weakref
from types import ModuleType
from typing import Any


def view_of(client: Any, family: ModuleType) -> Any:
    """Returns a view of an httpx or httpx2 client that sends as it does, but stores no cookies.

    The view shares the client's attributes themselves: what its owner changes, or closes, later counts at once.
    """
    client_class: Any = type(client)
    view = object.__new__(_view_class(client_class, family))
    view.__dict__ = client.__dict__
    return view


def transport_of(client: Any, url: Any) -> Any:
    """Returns the transport that the client uses for this URL, proxies and mounts considered, without any cookies."""
    return without_jar(client._transport_for_url(url), sends_cookies=False)  # no public way to ask


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

        @property
        def cookies(self) -> Any:
            return ReadOnlyCookies(self._cookies.jar)

        @cookies.setter
        def cookies(self, cookies: Any) -> None:
            self._cookies = family.Cookies(cookies)

        def _transport_for_url(self, url: Any) -> Any:
            transport = super()._transport_for_url(url)
            return without_jar(transport, sends_cookies=True)

    return View


@functools.cache
def _has_own_jar(transport_class: Any) -> bool:
    return any(base.__module__.partition(".")[0] == "httpx_aiohttp" for base in transport_class.__mro__)


_twins: weakref.WeakKeyDictionary[Any, dict[bool, Any]] = weakref.WeakKeyDictionary()


def without_jar(transport: Any, *, sends_cookies: bool) -> Any:
    """Returns the transport itself, or for httpx-aiohttp its twin: the same connections, another cookie jar.

    Args:
        transport: an httpx or httpx2 transport.
        sends_cookies: whether the cookies that the caller put into aiohttp's jar are sent.
    """
    transport_class: Any = type(transport)
    if not _has_own_jar(transport_class):
        return transport
    import aiohttp  # noqa: PLC0415 - an extra; it is there if the transport is

    if not isinstance(transport.client, aiohttp.ClientSession):
        transport.client = transport.get_client()
    twins = _twins.setdefault(transport, {})
    twin = twins.get(sends_cookies)
    if twin is None or twin.source() is not transport.client:
        twin = twins[sends_cookies] = _twin(transport, sends_cookies=sends_cookies)
    return twin


def _twin(transport: Any, *, sends_cookies: bool) -> Any:
    from wixvisitor import _aiohttp_jar  # noqa: PLC0415 - needs the extra

    session = _aiohttp_jar.twin_session(transport.client, sends_cookies=sends_cookies)
    twin = copy.copy(transport)
    twin.client = session
    twin.source = weakref.ref(transport.client)
    weakref.finalize(twin, session.detach)  # its connector is the caller's; detached, it needs no closing
    return twin
