"""aiohttp sessions without a cookie jar of their own. Needs the extra ``aiohttp``."""

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
    """Sends what another jar holds and stores nothing."""

    def __init__(self, source: AbstractCookieJar) -> None:
        super().__init__()
        self._source = source

    @property
    def quote_cookie(self) -> bool:
        """Whether values are quoted, as the source does."""
        return self._source.quote_cookie

    def filter_cookies(self, request_url: URL) -> BaseCookie[str]:
        """Returns what the source would send."""
        return self._source.filter_cookies(request_url)

    def __iter__(self) -> Iterator[Morsel[str]]:
        return iter(self._source)

    def __len__(self) -> int:
        return len(self._source)


def cookieless_session(session: aiohttp.ClientSession, *, sends_cookies: bool) -> aiohttp.ClientSession:
    """Returns a session with the same connections and settings that stores no cookies.

    Args:
        session: the caller's; it stays the owner of the connections.
        sends_cookies: whether the caller's own cookies are sent.
    """
    without_cookies = copy.copy(session)  # not a new one: proxies and middlewares have no public name to copy them by
    without_cookies._cookie_jar = ReadOnlyJar(session.cookie_jar) if sends_cookies else aiohttp.DummyCookieJar()
    without_cookies._connector_owner = False
    return without_cookies


_sends_cookies: Final[contextvars.ContextVar[bool | None]] = contextvars.ContextVar("wixvisitor_jar", default=None)


class CookielessTransport:
    """Sends through a transport whose way to httpx-aiohttp's session cannot be changed, and leaves no cookie there.

    That is so where the transport was patched on the instance, as by OpenTelemetry, or is wrapped in another one. So
    the session's jar is told which requests are ours.

    Args:
        transport: the caller's.
        jars: returns the jars below it, as they are now.
        sends_cookies: whether the caller's own cookies are sent.
    """

    def __init__(self, transport: Any, jars: Callable[[], list[Any]], *, sends_cookies: bool) -> None:
        self._transport, self._jars, self._sends_cookies = transport, jars, sends_cookies

    async def handle_async_request(self, request: Any) -> Any:
        """Sends the request; raises what the transport raises."""
        for jar in self._jars():
            _patch_jar(jar)
        before = _sends_cookies.set(self._sends_cookies)
        try:
            return await self._transport.handle_async_request(request)
        finally:
            _sends_cookies.reset(before)


def _patch_jar(jar: Any) -> None:
    """Makes the jar's methods pass over our requests; for all others they do what they did."""
    if getattr(jar.filter_cookies, "is_ours", False):
        return
    for name in ("filter_cookies", "update_cookies", "update_cookies_from_headers"):
        if hasattr(jar, name):  # the last one came with aiohttp 3.12
            setattr(jar, name, _skipping_marked(getattr(jar, name), stores=name != "filter_cookies"))


def _skipping_marked(method: Callable[..., Any], *, stores: bool) -> Any:
    def passing(*arguments: Any, **named: Any) -> Any:
        sends = _sends_cookies.get()
        if sends is None or (sends and not stores):
            return method(*arguments, **named)
        return None if stores else SimpleCookie()

    passing.is_ours = True  # type: ignore[attr-defined]
    return passing
