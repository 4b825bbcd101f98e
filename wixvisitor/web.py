"""Visitors for web servers that are neither ASGI nor aiohttp: Flask, Tornado, Robyn. Needs the extra ``crypto``.

Three steps for each request: ``begin`` reads the cookie, ``await visit.visitor()`` returns the browser's visitor, and
``await visit.headers()`` returns the headers that the answer needs, with the cookie. The rules are those of the other
integrations. A server whose handlers run in threads, like Flask, uses ``BlockingBrowserVisitors``: the same without
``await``. docs/how-to/frameworks.md has an example for Flask and one for Tornado.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar
from urllib.parse import quote

from wixvisitor._blocking_proxy import BlockingProxy, CallingProxy, ClosableProxy, InLoop, blocking
from wixvisitor._session import VisitorSession
from wixvisitor._tasks.background_loop import Call
from wixvisitor._web.catalog_reader import CatalogReader
from wixvisitor._web.site import PoolOrMaker, Site
from wixvisitor._web.visit import Visit
from wixvisitor._wire.catalog import CATALOG_PATHS
from wixvisitor.blocking import BlockingVisitorSession
from wixvisitor.cookies import VisitorCookie

__all__ = [
    "CATALOG_PATHS",
    "BlockingBrowserVisit",
    "BlockingBrowserVisitors",
    "BlockingCatalogReader",
    "BrowserVisit",
    "BrowserVisitors",
    "CatalogReader",
]

P = ParamSpec("P")
R = TypeVar("R")

_SAFE: Final = "/%:@!$&'()*+,;=~"  # RFC 3986, section 3.3: pchar, the slash, and what is encoded already


class BrowserVisitors:
    """Finds the visitor of each browser. One object for each app.

    Args:
        pool: creates and keeps the visitors. Or a function that returns it, called once, at the first request.
        cookie: where visitors live: an ``IdCookie``, ``SealedCookie`` or ``SharedCookie`` of ``wixvisitor.cookies``.
            None is for a pool without a storage: an ``IdCookie`` whose key is lost with the process, like the visitors.
        consent: called with the ``request`` that ``begin`` was given; returns whether the browser consents. Without
            consent there is no cookie and no record, and each request that calls Wix does so as a new visitor.
        catalog_paths: the paths that the catalogue's visitor may read, instead of ``CATALOG_PATHS``.
        trusted_origins: for a cookie with ``same_site="none"``: origins of pages that embed the shop.

    Use it with ``async with``, or call ``await visitors.aclose()`` at the end: both close the pool and its storage.

    Raises:
        ConfigurationError: an argument is wrong.

    Concurrency: for one event loop. Threads use ``BlockingBrowserVisitors``.
    Cancellation: a request that is cancelled leaves its visitor intact.
    """

    def __init__(
        self,
        pool: PoolOrMaker,
        *,
        cookie: VisitorCookie | None = None,
        consent: Callable[[Any], bool] | None = None,
        catalog_paths: Sequence[str] = CATALOG_PATHS,
        trusted_origins: Sequence[str] = (),
    ) -> None:
        self._site = Site(
            pool,
            cookie=cookie,
            consent=consent,
            close=True,
            catalog_paths=catalog_paths,
            trusted_origins=trusted_origins,
        )

    def begin(
        self, method: str, path: str, headers: Mapping[str, str] | Iterable[tuple[str, str]], request: object = None
    ) -> BrowserVisit:
        """Returns the visit of a request. Reads no cookie yet, and asks neither the store nor Wix.

        Args:
            method: the HTTP method.
            path: the path that the browser asked for, including what a proxy or mount has removed.
            headers: the request's headers: a mapping, or pairs of name and value.
            request: the framework's own object, for ``consent``.

        Raises:
            ConfigurationError: the function that was given as ``pool`` returned none.
        """
        seen = _Request(method, path, headers, request)
        del headers, request  # error reporters print local variables
        return BrowserVisit(Visit(self._site.visits(), seen))

    async def __aenter__(self) -> Self:
        self._site.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the pool and its storage. Raises nothing: a failure is only logged, since the app is ending."""
        await self._site.aclose()

    def __repr__(self) -> str:
        return f"<BrowserVisitors with {self._site.cookie!r}>"


class BrowserVisit:
    """One request of a browser. ``BrowserVisitors.begin`` returns it.

    Concurrency: for the tasks and threads of this request; each call runs in the event loop of ``BrowserVisitors``.
    Cancellation: leaves the visitor intact.
    """

    __slots__ = ("_visit",)

    def __init__(self, visit: Visit) -> None:
        self._visit = visit

    async def visitor(self) -> VisitorSession:
        """Returns the visitor of this browser, the same object during the request. Makes no call to Wix.

        Raises:
            ConfigurationError: ``headers`` was called already, and a new visitor would be lost.
            StorageError: the store cannot be read.
        """
        return await self._visit.visitor()

    def catalog(self) -> CatalogReader:
        """Returns the reader of the catalogue, whose visitor all browsers share. Makes no call to Wix."""
        return self._visit.catalog()

    async def headers(self, vary: str = "", cache_control: str = "") -> list[tuple[str, str]]:
        """Returns the headers that the answer needs. Call it once, right before the answer's headers are sent.

        Add each ``Set-Cookie``; set the others in place of the answer's own. A second call returns none.

        Args:
            vary: the answer's own ``Vary``, several of them joined by commas; empty if it has none.
            cache_control: the answer's own ``Cache-Control``, likewise.

        Raises: nothing. If a cookie cannot be written, that is logged, and the answer has none.
        """
        visit = self._visit
        if visit.started or visit.starts_unseen():
            return []
        await visit.settle()
        added = visit.start(vary=vary, cache_control=cache_control)
        return [
            *(("Set-Cookie", cookie) for cookie in added.cookies),
            *([] if added.vary is None else [("Vary", added.vary)]),
            *([] if added.cache_control is None else [("Cache-Control", added.cache_control)]),
        ]

    def end(self) -> None:
        """Ends the visit, after the answer was sent or when there will be none. Logs if a new visitor is lost."""
        self._visit.finish()

    def __repr__(self) -> str:
        return f"<BrowserVisit, {self._visit!r}>"


class _Visitors(BrowserVisitors):
    is_closed = False  # in every event loop, for its visits as well


class BlockingBrowserVisitors(ClosableProxy[BrowserVisitors]):
    """``BrowserVisitors`` for servers whose handlers run in threads. Its arguments and methods are the same.

    Its pool is a ``VisitorPool``, used in the background loop of ``wixvisitor.blocking``. All may be made before
    a server forks, as gunicorn does with ``preload_app``.

    Use it with ``with``, or call ``close()`` at the end: both close the pool and its storage.

    Raises:
        ConfigurationError: an argument is wrong.

    Concurrency: may be shared between threads.
    Cancellation: Ctrl-C ends the waiting call, and leaves the visitor intact.
    """

    __slots__ = ()

    def __init__(
        self,
        pool: PoolOrMaker,
        *,
        cookie: VisitorCookie | None = None,
        consent: Callable[[Any], bool] | None = None,
        catalog_paths: Sequence[str] = CATALOG_PATHS,
        trusted_origins: Sequence[str] = (),
    ) -> None:
        inner = _Visitors(
            pool, cookie=cookie, consent=consent, catalog_paths=catalog_paths, trusted_origins=trusted_origins
        )
        super().__init__(inner, inner)

    def __enter__(self) -> Self:
        self._owner.is_closed = False
        return self

    def close(self) -> None:
        """As ``BrowserVisitors.aclose``. May be called twice."""
        self._owner.is_closed = True
        super().close()

    def begin(
        self, method: str, path: str, headers: Mapping[str, str] | Iterable[tuple[str, str]], request: object = None
    ) -> BlockingBrowserVisit:
        """As ``BrowserVisitors.begin``."""
        work = Call(InLoop(functools.partial(self._inner.begin, method, path, headers, request)))
        del headers, request  # error reporters print local variables
        return BlockingBrowserVisit(self._run(work), self._owner)


class BlockingBrowserVisit(BlockingProxy[BrowserVisit]):
    """``BrowserVisit`` without ``await``. ``BlockingBrowserVisitors.begin`` returns it.

    Concurrency: for the threads of this request.
    Cancellation: Ctrl-C ends the waiting call, and leaves the visitor intact.
    """

    __slots__ = ()

    headers = blocking(BrowserVisit.headers)
    _visitor = blocking(BrowserVisit.visitor)

    def visitor(self) -> BlockingVisitorSession:
        """As ``BrowserVisit.visitor``."""
        return BlockingVisitorSession._of_pool(self._visitor(), self._owner)

    def catalog(self) -> BlockingCatalogReader:
        """As ``BrowserVisit.catalog``."""
        return BlockingCatalogReader(self._inner.catalog(), self._owner)

    def end(self) -> None:
        """As ``BrowserVisit.end``."""
        self._run(Call(InLoop(self._inner.end)))


class BlockingCatalogReader(CallingProxy[CatalogReader]):
    """``CatalogReader`` without ``await``.

    Concurrency: may be shared between threads.
    Cancellation: Ctrl-C ends the waiting call, and leaves the visitor intact.
    """

    __slots__ = ()

    request = blocking(CatalogReader.request)
    get = blocking(CatalogReader.get)
    post = blocking(CatalogReader.post)
    graphql = blocking(CatalogReader.graphql)


class _Request:
    """A request as this layer sees it. Its repr shows nothing."""

    __slots__ = ("_values", "is_websocket", "method", "native", "path")

    def __init__(self, method: str, path: str, headers: Any, native: object) -> None:
        self.native = native
        self.method = method.upper()
        self.path = quote(path.partition("?")[0], safe=_SAFE)
        self._values: dict[str, list[str]] = {}
        for name, value in headers.items() if isinstance(headers, Mapping) else headers:
            self._values.setdefault(name.lower(), []).append(value)
        self.is_websocket = (self.get("upgrade") or "").lower() == "websocket"

    def get(self, name: str, /) -> str | None:
        """Returns the header of this lower-case name, None if there is none."""
        found = self._values.get(name)
        return None if found is None else ("; " if name == "cookie" else ", ").join(found)
