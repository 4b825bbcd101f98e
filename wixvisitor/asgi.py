"""Visitors for any ASGI app: Starlette, FastAPI, Litestar, Quart, Django. Imports no framework. Needs ``crypto``.

Error reporters print local variables, and an ASGI scope holds the browser's cookies. So each function here deletes its
reference to the scope, and to a message with a cookie, before it waits or raises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Self
from urllib.parse import quote

from wixvisitor._session import VisitorSession
from wixvisitor._web.catalog_reader import CatalogReader
from wixvisitor._web.headers import NOTHING, Additions
from wixvisitor._web.login_asgi import LoginApp
from wixvisitor._web.login_flow import LoginFlow, OnLogin
from wixvisitor._web.member import MemberRequired, member_of
from wixvisitor._web.scope import KEY, ASGIApp, Message, Receive, Scope, Send, known
from wixvisitor._web.site import PoolOrMaker, Site
from wixvisitor._web.visit import Visit
from wixvisitor._wire.catalog import CATALOG_PATHS
from wixvisitor.cookies import VisitorCookie

__all__ = [
    "CATALOG_PATHS",
    "CatalogReader",
    "MemberRequired",
    "VisitorMiddleware",
    "get_catalog_visitor",
    "get_member",
    "get_visitor",
    "login_router",
]

_STARTS: Final = ("http.response.start", "websocket.accept", "websocket.http.response.start")


class VisitorMiddleware:
    """Gives each browser its visitor: ``app = VisitorMiddleware(app, pool, cookie=IdCookie([KEY]))``.

    Make it the outermost middleware, so that the answer to an unhandled error carries the cookie, too. In a handler,
    ``await get_visitor(request.scope)`` returns the visitor.

    Args:
        app: an ASGI app.
        pool: creates and keeps the visitors. Or a function that returns the pool, if the app makes it in its lifespan:
            ``lambda: app.state.pool``. It is called once at each start, after the app's own startup.
        cookie: where visitors live: an ``IdCookie``, ``SealedCookie`` or ``SharedCookie`` of ``wixvisitor.cookies``.
            None is for a pool without a storage: an ``IdCookie`` whose key is lost with the process, like the visitors.
        consent: called with the scope; returns whether the browser consents. Without consent there is no cookie and no
            record, and each request that calls Wix does so as a new visitor. An existing cookie is neither read nor
            removed.
        close: whether the pool and its storage are closed when the app shuts down (ASGI's lifespan).
        catalog_paths: the paths that the catalogue's visitor may read, instead of ``CATALOG_PATHS``. They are prefixes,
            without the path of ``base_url``. A prefix that ends in a slash covers the paths below it; another prefix
            covers itself, too.
        trusted_origins: for a cookie with ``same_site="none"``: origins of pages that embed the shop, like
            ``"https://partner.example"``. Requests from their pages may log in and out, and set the cookie. Requests
            from other sites' pages may do so only if they are safe, like a ``GET``.

    Raises:
        ConfigurationError: an argument is wrong.

    Concurrency: one object for each app and event loop.
    Cancellation: a request that is cancelled, or whose client has disconnected, leaves the visitor intact.
    """

    def __init__(
        self,
        app: ASGIApp,
        pool: PoolOrMaker,
        *,
        cookie: VisitorCookie | None = None,
        consent: Callable[[Any], bool] | None = None,
        close: bool = True,
        catalog_paths: Sequence[str] = CATALOG_PATHS,
        trusted_origins: Sequence[str] = (),
    ) -> None:
        self.app = app  # Starlette's name for it: tools walk through a stack of middlewares by it
        """The app inside."""
        self._site = Site(
            pool,
            cookie=cookie,
            consent=consent,
            close=close,
            catalog_paths=catalog_paths,
            trusted_origins=trusted_origins,
        )

    @classmethod
    def _around(cls, app: ASGIApp, site: Site) -> Self:
        """Returns a middleware whose arguments have been checked."""
        middleware = cls.__new__(cls)
        middleware.app, middleware._site = app, site
        return middleware

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection."""
        visit: Visit | None = None
        match scope["type"]:
            case "http" | "websocket":
                visit = Visit(self._site.visits(), _Request(scope))
                serving = self.app({**scope, KEY: visit}, receive, _sending(visit, send))
            case "lifespan":
                serving = _Lifespan(self.app, self._site).serve(scope, receive, send)
            case _:
                serving = self.app(scope, receive, send)
        del scope
        try:
            await serving
        finally:
            if visit is not None:
                visit.finish()

    def __repr__(self) -> str:
        return f"<VisitorMiddleware with {self._site.cookie!r}>"


async def get_visitor(scope: Mapping[str, Any]) -> VisitorSession:
    """Returns the visitor of the browser that made this request. Makes no call to Wix.

    Args:
        scope: the request's scope, ``request.scope`` in most frameworks.

    Raises:
        ConfigurationError: the app is not wrapped in ``VisitorMiddleware``; or the response has started, and a new
            visitor would be lost.
        StorageError: the store cannot be read.

    Concurrency: all calls within a request get the same object.
    Cancellation: the visitor is unchanged.
    """
    visit = scope.get(KEY)
    del scope
    return await known(visit).visitor()


async def get_member(scope: Mapping[str, Any], *, login: str | None = "/auth/login") -> VisitorSession:
    """Returns the member of the browser that made this request. Makes no call to Wix.

    Args:
        scope: the request's scope.
        login: the path of ``login_router``'s login, as browsers see it. None: there is no way to log in.

    Raises:
        MemberRequired: no member is logged in. Answer with its ``status_code`` and ``headers``.
        ConfigurationError, StorageError: as ``get_visitor``.

    Concurrency: all calls within a request get the same object.
    Cancellation: the visitor is unchanged.
    """
    visit, query = known(scope.get(KEY)), scope.get("query_string", b"").decode("latin-1")
    del scope
    return await member_of(visit, query, login)


def login_router(
    redirect_uri: str,
    *,
    after_login: str = "/",
    after_logout: str = "/",
    login_page: str | None = None,
    forms: bool = False,
    idp: str | None = None,
    keys: Sequence[str | bytes] | None = None,
    on_login: OnLogin | None = None,
) -> LoginApp:
    """Returns an ASGI app with the routes of logins: ``login``, the callback, and ``logout``.

    Put it inside ``VisitorMiddleware``, below the path at which browsers see it: with the callback
    ``https://shop.example/auth/callback`` that is ``/auth``. ``GET /auth/login?next=/account`` begins a login on
    Wix's page, and a form that posts to ``/auth/logout?next=/`` ends it. docs/how-to/login.md has the details.

    Args:
        redirect_uri: the callback's address, as it is listed at Wix. The other routes are beside it. Its origin is the
            one whose pages may post.
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
    return LoginApp(flow)


async def get_catalog_visitor(scope: Mapping[str, Any]) -> CatalogReader:
    """Returns the reader of the catalogue, whose visitor all browsers share. Makes no call to Wix.

    If the handler uses no other visitor, the answer carries no cookie and no ``Vary``.

    Args:
        scope: the request's scope, ``request.scope`` in most frameworks.

    Raises:
        ConfigurationError: the app is not wrapped in ``VisitorMiddleware``.

    Concurrency: one object for all requests.
    Cancellation: it never waits.
    """
    visit = scope.get(KEY)
    del scope
    return known(visit).catalog()


def _sending(visit: Visit, send: Send) -> Send:
    async def send_with_cookie(message: Message) -> None:
        if not visit.started and message["type"] in _STARTS and not visit.starts_unseen():
            await visit.settle()
            message = _started(visit, message)
        sending = send(message)
        del message
        await sending

    return send_with_cookie


class _Request:
    """A scope as this layer sees it. A header is decoded only when it is needed. Its repr shows nothing."""

    __slots__ = ("_raw", "is_websocket", "method", "native")

    def __init__(self, scope: Scope) -> None:
        self.native = scope
        self.is_websocket: bool = scope["type"] == "websocket"
        self.method: str = "GET" if self.is_websocket else scope["method"]
        self._raw = tuple(scope["headers"])  # a copy, since the app may change its list

    def get(self, name: str, /) -> str | None:
        """Returns the header of this lower-case name, None if there is none."""
        sought = name.encode()
        found = [value for raw, value in self._raw if raw.lower() == sought]
        if len(found) > 1:  # HTTP/2 may send one header for each cookie (RFC 9113, section 8.2.3)
            return (b"; " if name == "cookie" else b", ").join(found).decode("latin-1")
        return found[0].decode("latin-1") if found else None

    @property
    def path(self) -> str:
        """The path as the browser sent it, including a mount's prefix, or one that a proxy removes."""
        scope = self.native
        path, root = scope.get("path") or "/", (scope.get("root_path") or "").rstrip("/")
        raw = scope.get("raw_path")
        encoded = raw.decode("latin-1").partition("?")[0] if raw else quote(path)
        return encoded if path == root or path.startswith(f"{root}/") else quote(root) + encoded


def _started(visit: Visit, message: Message) -> Message:
    """Returns the message that starts the answer, with the visit's changes to its headers."""
    headers: list[tuple[bytes, bytes]] = list(message.get("headers") or ())
    own: dict[bytes, list[str]] = {b"vary": [], b"cache-control": []}
    for name, value in headers:
        texts = own.get(bytes(name).lower())
        if texts is not None:
            texts.append(bytes(value).decode("latin-1"))
    added = visit.start(vary=", ".join(own[b"vary"]), cache_control=", ".join(own[b"cache-control"]))
    if added is NOTHING:
        return {**message, "headers": headers}  # a list, since the app's iterable may be used up
    replaced = {
        name for name, text in ((b"vary", added.vary), (b"cache-control", added.cache_control)) if text and own[name]
    }
    if replaced:
        headers = [(name, value) for name, value in headers if bytes(name).lower() not in replaced]
    return {**message, "headers": [*headers, *_raw(added)]}


def _raw(added: Additions) -> list[tuple[bytes, bytes]]:
    pairs = [(b"set-cookie", cookie) for cookie in added.cookies]
    if added.vary is not None:
        pairs.append((b"vary", added.vary))
    if added.cache_control is not None:
        pairs.append((b"cache-control", added.cache_control))
    return [(name, value.encode("latin-1")) for name, value in pairs]


class _Lifespan:
    """The app's start and end. The app's messages are passed on; at its end the visitors are closed first."""

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self._app = app
        self._site = site
        self._is_heard = False

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def heard() -> Message:
            self._is_heard = True
            return await receive()

        async def said(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                self._site.visits()  # now the app has made its pool; an error here is an error of the start
            if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                await self._site.aclose()
            await send(message)

        self._site.open()
        try:
            await self._app(scope, heard, said)
        except Exception:
            if self._is_heard:
                raise
        if not self._is_heard:  # an app without lifespan raises for this scope, as Django does, or returns at once
            await self._serve_alone(receive, send)

    async def _serve_alone(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self._site.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return
            self._site.visits()
            await send({"type": "lifespan.startup.complete"})
