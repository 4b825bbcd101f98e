"""Visitors for FastAPI apps: ``setup(app, pool, cookie=…)``, and ``visitor: CurrentVisitor`` in a handler.

Needs the extra ``fastapi``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

try:
    from fastapi import Depends, FastAPI
    from fastapi.requests import HTTPConnection
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "fastapi":
        raise
    raise ImportError("wixvisitor.fastapi needs FastAPI: pip install 'wixvisitor[fastapi]'", name=error.name) from error

from wixvisitor import asgi
from wixvisitor._pool import VisitorPool
from wixvisitor._session import VisitorSession
from wixvisitor._web.catalog_reader import CatalogReader
from wixvisitor._web.visits import Visits
from wixvisitor._wire.catalog import CATALOG_PATHS
from wixvisitor.cookies import VisitorCookie
from wixvisitor.errors import ConfigurationError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = [
    "CATALOG_PATHS",
    "CatalogReader",
    "CatalogVisitor",
    "CurrentVisitor",
    "get_catalog_visitor",
    "get_visitor",
    "setup",
]


def setup(
    app: FastAPI,
    pool: VisitorPool,
    *,
    cookie: VisitorCookie | None = None,
    consent: Callable[[HTTPConnection], bool] | None = None,
    close: bool = True,
    catalog_paths: Sequence[str] = CATALOG_PATHS,
    trusted_origins: Sequence[str] = (),
) -> None:
    """Gives each browser of this app its visitor.

    The middleware is put around all of the app, its error handling included, which ``add_middleware`` cannot: an
    unhandled error's answer carries the cookie as well. A Starlette app works as well.

    Args:
        app: before it has served anything.
        pool: makes the visitors.
        cookie: where they live: an ``IdCookie``, ``SealedCookie`` or ``SharedCookie`` of ``wixvisitor.cookies``; None,
            for a pool without a storage, an ``IdCookie`` whose key is lost with the process, as the visitors are.
        consent: called with the request or websocket; without its consent there is no cookie and no record, and each
            request that calls Wix does so as a visitor of its own.
        close: whether the pool and its storage are closed when the app shuts down.
        catalog_paths: what the catalogue's visitor may read, as prefixes of paths without ``base_url``'s own; one that
            ends in a slash covers what is below it, another one covers itself, too. Instead of ``CATALOG_PATHS``.
        trusted_origins: for a cookie with ``same_site="none"``: origins of pages that the shop is inside of, like
            ``"https://partner.example"``. Their pages' requests may log in and out, and set the cookie; those of other
            sites' pages only if they are safe (``GET``, say).

    Raises:
        ConfigurationError: an argument is wrong, or the app is already serving.
    """
    if app.middleware_stack is not None:
        raise ConfigurationError("setup: the app is already serving; call setup right after making it")
    build = app.build_middleware_stack
    visits = Visits(
        pool,
        cookie=cookie,
        consent=consent,
        native=HTTPConnection,
        close=close,
        catalog_paths=catalog_paths,
        trusted_origins=trusted_origins,
    )

    def build_with_visitors() -> ASGIApp:
        return asgi.VisitorMiddleware._around(build(), visits)

    app.build_middleware_stack = build_with_visitors  # type: ignore[method-assign]


async def get_visitor(connection: HTTPConnection) -> VisitorSession:
    """Returns the visitor of the browser that made this request; makes no call to Wix.

    A dependency, for HTTP routes and websockets; replace it in tests with ``app.dependency_overrides[get_visitor]``.

    Raises:
        ConfigurationError: the app was not set up; or the response has started, and nothing can keep a new visitor.
        StorageError: the store cannot be read.

    Concurrency: any number of calls within a request get the same object.
    """
    visit = connection.scope.get(asgi.KEY)
    del connection  # error reporters print local variables, and it holds the browser's cookies
    return await asgi.known(visit).visitor()


CurrentVisitor = Annotated[VisitorSession, Depends(get_visitor)]
"""The type of a handler's argument that is the browser's visitor: ``async def cart(visitor: CurrentVisitor)``."""


async def get_catalog_visitor(connection: HTTPConnection) -> CatalogReader:
    """Returns what reads the catalogue, as one visitor whom all browsers share; makes no call to Wix.

    A dependency; replace it in tests with ``app.dependency_overrides[get_catalog_visitor]``. An answer for which no
    other visitor was looked at carries no cookie and no ``Vary``.

    Raises:
        ConfigurationError: the app was not set up.

    Concurrency: one object for all requests.
    """
    return await asgi.get_catalog_visitor(connection.scope)


CatalogVisitor = Annotated[CatalogReader, Depends(get_catalog_visitor)]
"""The type of a handler's argument that reads the catalogue: ``async def products(catalog: CatalogVisitor)``."""
