"""aiohttp sessions without a cookie jar of their own. Needs the extra ``aiohttp``."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from http.cookies import BaseCookie, Morsel

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


def twin_session(session: aiohttp.ClientSession, *, sends_cookies: bool) -> aiohttp.ClientSession:
    """Returns a session with the same connections and settings that stores no cookies.

    Args:
        session: the caller's; it stays the owner of the connections.
        sends_cookies: whether the caller's own cookies are sent.
    """
    twin = copy.copy(session)  # not a new one: proxies and middlewares have no public name to copy them by
    twin._cookie_jar = ReadOnlyJar(session.cookie_jar) if sends_cookies else aiohttp.DummyCookieJar()
    twin._connector_owner = False
    return twin
