"""Visitors for FastAPI apps: ``setup(app, pool, cookie=…)``, and ``visitor: CurrentVisitor`` in a handler.

Needs the extra ``fastapi``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

try:
    from fastapi import APIRouter, Depends, FastAPI, HTTPException, WebSocketException
    from fastapi.requests import HTTPConnection
    from starlette.routing import NoMatchFound
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "fastapi":
        raise
    raise ImportError("wixvisitor.fastapi needs FastAPI: pip install 'wixvisitor[fastapi]'", name=error.name) from error

from wixvisitor import asgi
from wixvisitor._session import VisitorSession
from wixvisitor._web.catalog_reader import CatalogReader
from wixvisitor._web.login_asgi import serve
from wixvisitor._web.login_flow import NAME, LoginFlow, OnLogin
from wixvisitor._web.member import MemberRequired, member_of
from wixvisitor._web.scope import KEY, known
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
    "CurrentMember",
    "CurrentVisitor",
    "get_catalog_visitor",
    "get_member",
    "get_visitor",
    "login_router",
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
    Cancellation: the visitor is unchanged.
    """
    visit = connection.scope.get(KEY)
    del connection  # error reporters print local variables, and it holds the browser's cookies
    return await known(visit).visitor()


CurrentVisitor = Annotated[VisitorSession, Depends(get_visitor)]
"""The type of a handler's argument that is the browser's visitor: ``async def cart(visitor: CurrentVisitor)``."""


async def get_member(connection: HTTPConnection) -> VisitorSession:
    """Returns the member of the browser that made this request. Makes no call to Wix.

    A dependency; replace it in tests with ``app.dependency_overrides[get_member]``.

    Raises:
        HTTPException: no member is logged in. If the browser opens a page, it is sent to the login of ``login_router``
            (303) and comes back after it. All other requests get a 401, and so do all if the app has no such route.
        WebSocketException: likewise, for a websocket.
        ConfigurationError, StorageError: as ``get_visitor``.

    Concurrency: all calls within a request get the same object.
    Cancellation: the visitor is unchanged.
    """
    visit, login = known(connection.scope.get(KEY)), _login_path(connection.scope)
    query = connection.scope.get("query_string", b"").decode("latin-1")
    is_websocket = connection.scope["type"] == "websocket"
    del connection
    try:
        return await member_of(visit, query, login)
    except MemberRequired as error:
        if is_websocket:
            raise WebSocketException(1008, str(error)) from None  # RFC 6455, section 7.4.1: policy violation
        raise HTTPException(error.status_code, str(error), headers=error.headers) from None


def _login_path(scope: Scope) -> str | None:
    """Returns the path of the login as browsers see it, None if the app has no such route."""
    try:
        path = scope["app"].url_path_for(NAME)
    except NoMatchFound:
        return None
    return f"{scope.get('app_root_path', scope.get('root_path', '')).rstrip('/')}{path}"


CurrentMember = Annotated[VisitorSession, Depends(get_member)]
"""The type of a handler's argument that is the logged-in member: ``async def account(member: CurrentMember)``."""


def login_router(
    redirect_uri: str,
    *,
    prefix: str | None = None,
    after_login: str = "/",
    after_logout: str = "/",
    login_page: str | None = None,
    forms: bool = False,
    idp: str | None = None,
    keys: Sequence[str | bytes] | None = None,
    on_login: OnLogin | None = None,
) -> APIRouter:
    """Returns the routes of logins: ``app.include_router(login_router("https://shop.example/auth/callback"))``.

    ``GET /auth/login?next=/account`` begins a login on Wix's page. A form that posts to ``/auth/logout?next=/`` logs
    out. The app also needs ``setup``. docs/how-to/login.md has the details.

    Args:
        redirect_uri: the callback's address, as it is listed at Wix. The other routes are beside it. Its origin is the
            one whose pages may post.
        prefix: the path of the routes in the app that gets them, if it is not that of ``redirect_uri``: ``""`` if the
            routes get ``/auth`` from a sub-application, or a mount.
        after_login: the path to which a login leads without ``next``.
        after_logout: the path to which a logout leads without ``next``.
        login_page: the path of your own login page. Members who have to log in are sent there, with ``next``; and
            logins that failed, with ``error`` and ``next``. None: Wix's page, and a short page of ours.
        forms: whether there are the routes ``POST login``, ``POST register`` and ``POST verify`` for your own forms.
        idp: ``"google"``, ``"facebook"``, or the ID of an identity provider: skips Wix's page.
        keys: the keys of the cookies of logins that have begun; None: those of the visitor's cookie. Needed with a
            ``SharedCookie``.
        on_login: called with the member and the ``MemberLogin`` after each login. ``login.previous`` has the tokens
            from before, so that your code can compare the carts.

    Raises:
        ConfigurationError: an argument is wrong.
    """
    flow = LoginFlow(
        redirect_uri,
        after_login=after_login,
        after_logout=after_logout,
        login_page=login_page,
        forms=forms,
        idp=idp,
        keys=keys,
        on_login=on_login,
    )
    router = APIRouter()
    for method, path, name in flow.routes(prefix):
        route_name = NAME if name == "login" else f"wixvisitor_{name}"
        endpoint: Any = _Endpoint(flow, name)
        router.add_route(path, endpoint, methods=[method], name=route_name, include_in_schema=False)
    return router


class _Endpoint:
    """A route of logins, as an ASGI app."""

    def __init__(self, flow: LoginFlow, name: str) -> None:
        self._flow, self._name = flow, name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        serving = serve(self._flow, self._name, scope, receive, send)
        del scope  # as in ``AppWithVisitors``
        await serving


async def get_catalog_visitor(connection: HTTPConnection) -> CatalogReader:
    """Returns the reader of the catalogue, whose visitor all browsers share. Makes no call to Wix.

    A dependency; replace it in tests with ``app.dependency_overrides[get_catalog_visitor]``. If the
    handler uses no other visitor, the answer carries no cookie and no ``Vary``.

    Raises:
        ConfigurationError: the app was not set up.

    Concurrency: one object for all requests.
    Cancellation: it never waits.
    """
    return await asgi.get_catalog_visitor(connection.scope)


CatalogVisitor = Annotated[CatalogReader, Depends(get_catalog_visitor)]
"""The type of a handler's argument that reads the catalogue: ``async def products(catalog: CatalogVisitor)``."""
