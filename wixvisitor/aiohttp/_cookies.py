"""Each visitor's cookies, where several visitors share one ``aiohttp.ClientSession``. Needs the extra ``aiohttp``.

aiohttp stores each ``Set-Cookie`` in the session's cookie jar and sends it with the next request, whichever visitor
makes that. This happens outside of middlewares, so a middleware cannot prevent it. Therefore a session with a real jar
serves one visitor only. Several visitors need a ``DummyCookieJar``, and this module keeps the cookies of each of them.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Final

import aiohttp
from yarl import URL

from wixvisitor._renewal.decision import Snapshot
from wixvisitor._renewal.refresher import Refresher
from wixvisitor._renewal.settings import Settings
from wixvisitor._session import VisitorSession
from wixvisitor.errors import ConfigurationError

_PLAIN: Final = frozenset(map(chr, range(33, 127))) - frozenset('",;\\')  # RFC 6265, section 4.1.1: cookie-octet
_SEVERAL: Final = (
    "client_middleware: this aiohttp.ClientSession serves several visitors, and its cookie jar would send the cookies "
    "of one with the requests of another; make it with cookie_jar=aiohttp.DummyCookieJar(). The middleware keeps the "
    "cookies of each visitor"
)


class VisitorCookies:
    """The cookies that Wix has set for one visitor. They are dropped when another visitor, or a member, replaces it.

    Concurrency: safe from many tasks.
    """

    __slots__ = ("_jar", "_owner")

    def __init__(self) -> None:
        self._jar: aiohttp.CookieJar | None = None  # made for the first cookie
        self._owner: int | str = 0

    def pairs(self, held: Snapshot, url: URL) -> list[str]:
        """Returns the cookies for this URL as ``name=value``, as Wix spelled them."""
        if self._jar is None or self._owner != _owner(held):
            return []
        return [f"{cookie.key}={_quoted(cookie.value)}" for cookie in self._jar.filter_cookies(url).values()]

    def keep(self, held: Snapshot, response: aiohttp.ClientResponse, *, now: Snapshot | None) -> None:
        """Keeps the cookies that an answer sets.

        Args:
            held: the visitor of the request.
            response: the answer.
            now: the session's present visitor; if it is another one, the cookies of a late answer are dropped.
        """
        if now is None or _owner(now) != _owner(held):
            return
        if self._jar is None or self._owner != _owner(held):
            self._jar, self._owner = aiohttp.CookieJar(unsafe=True), _owner(held)  # unsafe: IP addresses are hosts, too
        self._jar.update_cookies_from_headers(response.headers.getall("Set-Cookie"), response.url)


def _quoted(value: str) -> str:
    if _PLAIN.issuperset(value):
        return value
    escaped = value.replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}"'


def _owner(held: Snapshot) -> int | str:
    """Returns a value that identifies the visitor and does not change when its tokens are renewed."""
    return held.tokens.refresh_token.value if held.lineage is None else held.lineage.identity


def with_callers(callers: Iterable[str], pairs: Iterable[str]) -> str:
    """Returns a ``Cookie`` header with the caller's cookies and these. For one name the caller's cookie is used."""
    own = "; ".join(callers)
    names = {pair.partition("=")[0].strip() for pair in own.split(";")}
    return "; ".join([*filter(None, [own]), *(pair for pair in pairs if pair.partition("=")[0] not in names)])


_of_visitors: Final[weakref.WeakKeyDictionary[VisitorSession, VisitorCookies]] = weakref.WeakKeyDictionary()
_served: Final[weakref.WeakKeyDictionary[aiohttp.ClientSession, tuple[weakref.ref[Settings], str]]] = (
    weakref.WeakKeyDictionary()
)


def cookies_of(session: VisitorSession) -> VisitorCookies:
    """Returns the cookies of this visitor: the same object for all its middlewares."""
    return _of_visitors.get(session) or _of_visitors.setdefault(session, VisitorCookies())


def keeps_cookies(client: aiohttp.ClientSession, refresher: Refresher) -> bool:
    """Whether the client has a cookie jar of its own, which serves this visitor alone.

    Raises:
        ConfigurationError: the jar has served another visitor.
    """
    if isinstance(client.cookie_jar, aiohttp.DummyCookieJar):
        return False
    settings, key = refresher.settings, refresher.state.key
    known_settings, known_key = _served.setdefault(client, (weakref.ref(settings), key))
    if known_settings() is not settings or known_key != key:
        raise ConfigurationError(_SEVERAL)
    return True
