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
from typing import Any, Final

from wixvisitor._http import internals

_KEPT: Final = 64


class Transports:
    """The transports that our requests take through one client: the same connections, no cookies, pools that recover.

    Concurrency: safe from many tasks.
    """

    __slots__ = ("_family", "_known")

    def __init__(self, family: ModuleType) -> None:
        self._family = family
        self._known: dict[tuple[int, bool], tuple[Any, Any]] = {}

    def __call__(self, transport: Any) -> Any:
        """Returns the way of an API call through one of the client's transports."""
        return self._choose(transport, sends_cookies=True)

    def for_token_calls(self, client: Any, url: Any) -> Any:
        """Returns the way of a token call to this URL: through the client's proxies and mounts, without any cookies."""
        return self._choose(internals.transport_for(client, url), sends_cookies=False)

    def _choose(self, transport: Any, *, sends_cookies: bool) -> Any:
        if has_own_jar(transport):
            return without_jar(transport, sends_cookies=sends_cookies)
        key = (id(transport), sends_cookies)
        found = self._known.get(key)
        if found is None or found[0] is not transport:
            if len(self._known) >= _KEPT:  # a client that gets new transports all the time
                self._known.clear()
            found = self._known[key] = transport, self._wrapped(transport, sends_cookies=sends_cookies)
        return found[1]

    def _wrapped(self, transport: Any, *, sends_cookies: bool) -> Any:
        with_jars = [one for one in internals.inner_transports(transport) if has_own_jar(one)]
        if with_jars:
            return _cookieless(transport, with_jars, sends_cookies=sends_cookies)
        from wixvisitor._http.recovery import recovering  # noqa: PLC0415 - needs httpcore; imports take time

        return recovering(transport, self._family)


def has_own_jar(transport: Any) -> bool:
    """Whether there is a second cookie jar below this transport, which is httpx-aiohttp's."""
    transport_class: Any = type(transport)
    return _has_own_jar(transport_class)


@functools.cache
def _has_own_jar(transport_class: Any) -> bool:
    return any(base.__module__.partition(".")[0] == "httpx_aiohttp" for base in transport_class.__mro__)


_copies: weakref.WeakKeyDictionary[Any, dict[bool, Any]] = weakref.WeakKeyDictionary()


def without_jar(transport: Any, *, sends_cookies: bool) -> Any:
    """Returns the transport itself, or for httpx-aiohttp its without_cookies: the same connections, another cookie jar.

    Args:
        transport: an httpx or httpx2 transport.
        sends_cookies: whether the cookies that the caller put into aiohttp's jar are sent.
    """
    if not has_own_jar(transport):
        return transport
    if "handle_async_request" in vars(transport):  # patched, and the patch leads to the caller's own session
        return _cookieless(transport, [transport], sends_cookies=sends_cookies)
    _session_of(transport)
    copies = _copies.setdefault(transport, {})
    without_cookies = copies.get(sends_cookies)
    if without_cookies is None or without_cookies.source() is not transport.client:
        without_cookies = copies[sends_cookies] = _cookieless_copy(transport, sends_cookies=sends_cookies)
    return without_cookies


def _session_of(transport: Any) -> Any:
    import aiohttp  # noqa: PLC0415 - an extra; it is there if the transport is

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
    without_cookies = copy.copy(transport)
    without_cookies.client = session
    without_cookies.source = weakref.ref(transport.client)
    weakref.finalize(without_cookies, session.detach)  # its connector is the caller's; detached, it needs no closing
    return without_cookies
