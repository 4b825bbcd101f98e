"""Visitors for aiohttp's server and client.

Server: ``setup(app, pool, cookie=…)``, and ``await get_visitor(request)`` in a handler. Client:
``aiohttp.ClientSession(middlewares=(client_middleware(session),))``.

Needs the extra ``aiohttp``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

try:
    from aiohttp import web
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "aiohttp":
        raise
    raise ImportError("wixvisitor.aiohttp needs aiohttp: pip install 'wixvisitor[aiohttp]'", name=error.name) from error

from wixvisitor._session import VisitorSession
from wixvisitor._web.catalog_reader import CatalogReader
from wixvisitor._web.headers import Additions
from wixvisitor._web.site import PoolOrMaker, Site
from wixvisitor._wire.catalog import CATALOG_PATHS
from wixvisitor._wire.redaction import drops_frames
from wixvisitor.aiohttp._client import client_middleware
from wixvisitor.aiohttp._login import get_member, login_router
from wixvisitor.aiohttp._visit import SITE, visit_of
from wixvisitor.cookies import VisitorCookie
from wixvisitor.errors import ConfigurationError

__all__ = [
    "CATALOG_PATHS",
    "CatalogReader",
    "client_middleware",
    "get_catalog_visitor",
    "get_member",
    "get_visitor",
    "login_router",
    "setup",
]


def setup(
    app: web.Application,
    pool: PoolOrMaker,
    *,
    cookie: VisitorCookie | None = None,
    consent: Callable[[web.BaseRequest], bool] | None = None,
    close: bool = True,
    catalog_paths: Sequence[str] = CATALOG_PATHS,
    trusted_origins: Sequence[str] = (),
) -> None:
    """Gives each browser of this app, and of its sub-applications, its visitor.

    Args:
        app: the app, before it is started.
        pool: creates and keeps the visitors. Or a function that returns the pool, if the app makes it when it starts:
            ``lambda: app[POOL]``. It is called at the first request after each start.
        cookie: where visitors live: an ``IdCookie``, ``SealedCookie`` or ``SharedCookie`` of ``wixvisitor.cookies``.
            None is for a pool without a storage: an ``IdCookie`` whose key is lost with the process, like the visitors.
        consent: called with the request; returns whether the browser consents. Without consent there is no cookie and
            no record, and each request that calls Wix does so as a new visitor.
        close: whether the pool and its storage are closed when the app is cleaned up.
        catalog_paths: the paths that the catalogue's visitor may read, instead of ``CATALOG_PATHS``. They are prefixes,
            without the path of ``base_url``. A prefix that ends in a slash covers the paths below it; another prefix
            covers itself, too.
        trusted_origins: for a cookie with ``same_site="none"``: origins of pages that embed the shop, like
            ``"https://partner.example"``. Requests from their pages may log in and out, and set the cookie. Requests
            from other sites' pages may do so only if they are safe, like a ``GET``.

    Raises:
        ConfigurationError: an argument is wrong, or the app has been set up already.
    """
    if SITE in app:
        raise ConfigurationError("setup: this app has been set up already")
    site = Site(
        pool,
        cookie=cookie,
        consent=consent,
        close=close,
        catalog_paths=catalog_paths,
        trusted_origins=trusted_origins,
    )
    app[SITE] = site
    app.middlewares.append(_finish)
    app.on_response_prepare.append(_add_headers)

    async def closing(_: web.Application) -> AsyncIterator[None]:
        site.open()
        yield
        await site.aclose()

    app.cleanup_ctx.append(closing)


async def get_visitor(request: web.Request) -> VisitorSession:
    """Returns the visitor of the browser that made this request. Makes no call to Wix.

    Raises:
        ConfigurationError: the app was not set up; or the response has started, and a new visitor would be lost.
        StorageError: the store cannot be read.

    Concurrency: all calls within a request get the same object.
    Cancellation: the visitor is unchanged.
    """
    return await visit_of(request).visitor()


async def get_catalog_visitor(request: web.Request) -> CatalogReader:
    """Returns the reader of the catalogue, whose visitor all browsers share. Makes no call to Wix.

    If the handler uses no other visitor, the answer carries no cookie and no ``Vary``.

    Raises:
        ConfigurationError: the app was not set up.

    Concurrency: one object for all requests.
    Cancellation: it never waits.
    """
    return visit_of(request).catalog()


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    visit = visit_of(request)
    if visit.started or visit.starts_unseen():
        return
    await visit.settle()
    vary, cache_control = (", ".join(response.headers.getall(name, ())) for name in ("Vary", "Cache-Control"))
    _add(response, visit.start(vary=vary, cache_control=cache_control))


@drops_frames
def _add(response: web.StreamResponse, added: Additions) -> None:
    headers = response.headers
    for cookie in added.cookies:  # response.set_cookie would be too late: aiohttp writes those before this signal
        headers.add("Set-Cookie", cookie)
    if added.vary is not None:
        headers["Vary"] = added.vary
    if added.cache_control is not None:
        headers["Cache-Control"] = added.cache_control


@web.middleware
async def _finish(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    visit = visit_of(request)  # made at the request's beginning, because its start time counts
    try:
        return await handler(request)
    finally:
        if visit.started:  # a plain response starts after this
            visit.finish()
