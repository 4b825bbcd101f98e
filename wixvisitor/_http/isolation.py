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


class Ways:
    """The transports that our requests take through one client: the same connections, no cookies, pools that recover.

    Concurrency: safe from many tasks.
    """

    __slots__ = ("_family", "_found")

    def __init__(self, family: ModuleType) -> None:
        self._family = family
        self._found: dict[tuple[int, bool], tuple[Any, Any]] = {}

    def __call__(self, transport: Any) -> Any:
        """Returns the way of an API call through one of the client's transports."""
        return self._way(transport, sends_cookies=True)

    def of_token_calls(self, client: Any, url: Any) -> Any:
        """Returns the way of a token call to this URL: through the client's proxies and mounts, without any cookies."""
        return self._way(internals.transport_for(client, url), sends_cookies=False)

    def _way(self, transport: Any, *, sends_cookies: bool) -> Any:
        if has_own_jar(transport):
            return without_jar(transport, sends_cookies=sends_cookies)
        key = (id(transport), sends_cookies)
        found = self._found.get(key)
        if found is None or found[0] is not transport:
            if len(self._found) >= _KEPT:  # a client that gets new transports all the time
                self._found.clear()
            found = self._found[key] = transport, self._made(transport, sends_cookies=sends_cookies)
        return found[1]

    def _made(self, transport: Any, *, sends_cookies: bool) -> Any:
        with_jars = [one for one in internals.inner_transports(transport) if has_own_jar(one)]
        if with_jars:
            return _discreet(transport, with_jars, sends_cookies=sends_cookies)
        from wixvisitor._http.recovery import recovering  # noqa: PLC0415 - needs httpcore; imports take time

        return recovering(transport, self._family)


def has_own_jar(transport: Any) -> bool:
    """Whether there is a second cookie jar below this transport, which is httpx-aiohttp's."""
    transport_class: Any = type(transport)
    return _has_own_jar(transport_class)


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
    if not has_own_jar(transport):
        return transport
    if "handle_async_request" in vars(transport):  # patched, and the patch leads to the caller's own session
        return _discreet(transport, [transport], sends_cookies=sends_cookies)
    _session_of(transport)
    twins = _twins.setdefault(transport, {})
    twin = twins.get(sends_cookies)
    if twin is None or twin.source() is not transport.client:
        twin = twins[sends_cookies] = _twin(transport, sends_cookies=sends_cookies)
    return twin


def _session_of(transport: Any) -> Any:
    import aiohttp  # noqa: PLC0415 - an extra; it is there if the transport is

    if not isinstance(transport.client, aiohttp.ClientSession):
        transport.client = transport.get_client()
    return transport.client


def _discreet(transport: Any, with_jars: list[Any], *, sends_cookies: bool) -> Any:
    from wixvisitor._http import aiohttp_jar  # noqa: PLC0415 - needs the extra

    def jars() -> list[Any]:
        return [_session_of(one).cookie_jar for one in with_jars]

    return aiohttp_jar.DiscreetTransport(transport, jars, sends_cookies=sends_cookies)


def _twin(transport: Any, *, sends_cookies: bool) -> Any:
    from wixvisitor._http import aiohttp_jar  # noqa: PLC0415 - needs the extra

    session = aiohttp_jar.twin_session(transport.client, sends_cookies=sends_cookies)
    twin = copy.copy(transport)
    twin.client = session
    twin.source = weakref.ref(transport.client)
    weakref.finalize(twin, session.detach)  # its connector is the caller's; detached, it needs no closing
    return twin
