"""Visitors for FastAPI apps: ``setup(app, pool, cookie=…)``, and ``visitor: CurrentVisitor`` in a handler.

Needs the extra ``fastapi``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

try:
    from fastapi import Depends, FastAPI
    from fastapi.requests import HTTPConnection
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "fastapi":
        raise
    raise ImportError("wixvisitor.fastapi needs FastAPI: pip install 'wixvisitor[fastapi]'", name=error.name) from error

from wixvisitor import asgi
from wixvisitor._session import VisitorSession
from wixvisitor._web.catalog_reader import CatalogReader
from wixvisitor._web.site import PoolOrMaker, Site
from wixvisitor._wire.catalog import CATALOG_PATHS
from wixvisitor.cookies import VisitorCookie
from wixvisitor.errors import ConfigurationError

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

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
    pool: PoolOrMaker,
    *,
    cookie: VisitorCookie | None = None,
    consent: Callable[[HTTPConnection], bool] | None = None,
    close: bool = True,
    catalog_paths: Sequence[str] = CATALOG_PATHS,
    trusted_origins: Sequence[str] = (),
) -> None:
    """Gives each browser of this app its visitor.

    The middleware is put around the whole app, including its error handling, which ``add_middleware`` cannot do. So the
    answer to an unhandled error carries the cookie, too. A Starlette app works as well. Tools that rebuild the app's
    own stack of middlewares, such as OpenTelemetry, may come before or after ``setup``.

    Args:
        app: the app, before it serves requests.
        pool: creates and keeps the visitors. Or a function that returns the pool, if the app makes it in its lifespan:
            ``setup(app, lambda: app.state.pool)``. It is called once at each start, after the lifespan's first half.
        cookie: where visitors live: an ``IdCookie``, ``SealedCookie`` or ``SharedCookie`` of ``wixvisitor.cookies``.
            None is for a pool without a storage: an ``IdCookie`` whose key is lost with the process, like the visitors.
        consent: called with the request or websocket; returns whether the browser consents. Without consent there is no
            cookie and no record, and each request that calls Wix does so as a new visitor.
        close: whether the pool and its storage are closed when the app shuts down.
        catalog_paths: the paths that the catalogue's visitor may read, instead of ``CATALOG_PATHS``. They are prefixes,
            without the path of ``base_url``. A prefix that ends in a slash covers the paths below it; another prefix
            covers itself, too.
        trusted_origins: for a cookie with ``same_site="none"``: origins of pages that embed the shop, like
            ``"https://partner.example"``. Requests from their pages may log in and out, and set the cookie. Requests
            from other sites' pages may do so only if they are safe, like a ``GET``.

    Raises:
        ConfigurationError: an argument is wrong, or the app is already serving.
    """
    if app.middleware_stack is not None:
        raise ConfigurationError(
            "setup: the app is already serving; call setup right after making it. If its lifespan makes the pool: "
            "setup(app, lambda: app.state.pool)"
        )
    site = Site(
        pool,
        cookie=cookie,
        consent=consent,
        native=HTTPConnection,
        close=close,
        catalog_paths=catalog_paths,
        trusted_origins=trusted_origins,
    )
    _put_around(app, site)


def _put_around(app: FastAPI, site: Site) -> None:
    """Makes the app serve each connection through the middleware.

    The app gets a subclass with another ``__call__``. Its ``build_middleware_stack`` stays as it is: OpenTelemetry
    replaces that method, restores it, and expects that the stack begins with Starlette's ``ServerErrorMiddleware``.
    """
    kind: Any = type(app)

    class AppWithVisitors(kind):  # type: ignore[misc]
        """The app, served through the middleware."""

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            serving = middleware(scope, receive, send)
            del scope  # error reporters print local variables, and it holds the browser's cookies
            await serving

    def serve(scope: Any, receive: Any, send: Any) -> Any:
        return super(AppWithVisitors, app).__call__(scope, receive, send)  # type: ignore[misc]

    middleware = asgi.VisitorMiddleware._around(serve, site)
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(AppWithVisitors, name, getattr(kind, name))
    app.__class__ = AppWithVisitors


async def get_visitor(connection: HTTPConnection) -> VisitorSession:
    """Returns the visitor of the browser that made this request. Makes no call to Wix.

    A dependency, for HTTP routes and websockets; replace it in tests with ``app.dependency_overrides[get_visitor]``.

    Raises:
        ConfigurationError: the app was not set up; or the response has started, and a new visitor would be lost.
        StorageError: the store cannot be read.

    Concurrency: all calls within a request get the same object.
    """
    visit = connection.scope.get(asgi.KEY)
    del connection  # error reporters print local variables, and it holds the browser's cookies
    return await asgi.known(visit).visitor()


CurrentVisitor = Annotated[VisitorSession, Depends(get_visitor)]
"""The type of a handler's argument that is the browser's visitor: ``async def cart(visitor: CurrentVisitor)``."""


async def get_catalog_visitor(connection: HTTPConnection) -> CatalogReader:
    """Returns the reader of the catalogue, whose visitor all browsers share. Makes no call to Wix.

    A dependency; replace it in tests with ``app.dependency_overrides[get_catalog_visitor]``. If the
    handler uses no other visitor, the answer carries no cookie and no ``Vary``.

    Raises:
        ConfigurationError: the app was not set up.

    Concurrency: one object for all requests.
    """
    return await asgi.get_catalog_visitor(connection.scope)


CatalogVisitor = Annotated[CatalogReader, Depends(get_catalog_visitor)]
"""The type of a handler's argument that reads the catalogue: ``async def products(catalog: CatalogVisitor)``."""
