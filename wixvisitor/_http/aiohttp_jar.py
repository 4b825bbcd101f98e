"""Sends through a caller's aiohttp session without storing cookies in its jar. Needs the extra ``aiohttp``."""

from __future__ import annotations

import contextvars
import copy
from collections.abc import Callable, Iterator
from http.cookies import BaseCookie, Morsel, SimpleCookie
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractCookieJar
from yarl import URL


class ReadOnlyJar(aiohttp.DummyCookieJar):
    """A cookie jar that sends the cookies of another jar and stores none."""

    def __init__(self, source: AbstractCookieJar) -> None:
        super().__init__()
        self._source = source

    @property
    def quote_cookie(self) -> bool:
        """Whether values are quoted, as in the other jar."""
        return self._source.quote_cookie

    def filter_cookies(self, request_url: URL) -> BaseCookie[str]:
        """Returns the cookies that the other jar would send."""
        return self._source.filter_cookies(request_url)

    def __iter__(self) -> Iterator[Morsel[str]]:
        return iter(self._source)

    def __len__(self) -> int:
        return len(self._source)


def cookieless_session(session: aiohttp.ClientSession, *, sends_cookies: bool) -> aiohttp.ClientSession:
    """Returns a session that has the same connections and settings, and stores no cookies.

    Args:
        session: the caller's session. It remains the owner of the connections.
        sends_cookies: whether to send the caller's own cookies.
    """
    copied = copy.copy(session)  # a new session would lose proxies and middlewares: they cannot be read by public names
    copied._cookie_jar = ReadOnlyJar(session.cookie_jar) if sends_cookies else aiohttp.DummyCookieJar()
    copied._connector_owner = False
    return copied


_sends_cookies: Final[contextvars.ContextVar[bool | None]] = contextvars.ContextVar("wixvisitor_jar", default=None)


class CookielessTransport:
    """Sends through a transport over httpx-aiohttp, without storing cookies in aiohttp's jar.

    It is for a transport whose aiohttp session cannot be replaced, because a tool such as OpenTelemetry has patched
    the transport or because another transport wraps it. So the session's jar itself is patched to ignore our requests.

    Args:
        transport: the caller's transport.
        jars: returns the aiohttp jars that the transport uses at the moment.
        sends_cookies: whether to send the caller's own cookies.
    """

    def __init__(self, transport: Any, jars: Callable[[], list[Any]], *, sends_cookies: bool) -> None:
        self._transport, self._jars, self._sends_cookies = transport, jars, sends_cookies

    async def handle_async_request(self, request: Any) -> Any:
        """Sends the request.

        Raises:
            What the transport raises.
        """
        for jar in self._jars():
            _patch_jar(jar)
        before = _sends_cookies.set(self._sends_cookies)
        try:
            return await self._transport.handle_async_request(request)
        finally:
            _sends_cookies.reset(before)


def _patch_jar(jar: Any) -> None:
    """Patches the jar's methods to ignore our requests. Other requests are handled as before."""
    if getattr(jar.filter_cookies, "is_ours", False):
        return
    for name in ("filter_cookies", "update_cookies", "update_cookies_from_headers"):
        if hasattr(jar, name):  # aiohttp has the last one since 3.12
            setattr(jar, name, _skipping_marked(getattr(jar, name), stores=name != "filter_cookies"))


def _skipping_marked(method: Callable[..., Any], *, stores: bool) -> Any:
    def passing(*arguments: Any, **named: Any) -> Any:
        sends = _sends_cookies.get()
        if sends is None or (sends and not stores):
            return method(*arguments, **named)
        return None if stores else SimpleCookie()

    passing.is_ours = True  # type: ignore[attr-defined]
    return passing
