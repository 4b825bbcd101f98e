"""Visitors for any ASGI app: Starlette, FastAPI, Litestar, Quart, Django. Imports no framework. Needs ``crypto``.

Error reporters print local variables, and an ASGI scope holds the browser's cookies. So a function here lets go of the
scope, and of a message with a cookie, before it waits or raises.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, Final, Self
from urllib.parse import quote

from wixvisitor._pool import VisitorPool
from wixvisitor._session import VisitorSession
from wixvisitor._web.catalog_reader import CatalogReader
from wixvisitor._web.headers import Additions, is_document
from wixvisitor._web.visit import Visit
from wixvisitor._web.visits import Request, Visits
from wixvisitor._wire.catalog import CATALOG_PATHS
from wixvisitor._wire.redaction import drops_frames
from wixvisitor.cookies import VisitorCookie
from wixvisitor.errors import ConfigurationError

__all__ = ["CATALOG_PATHS", "CatalogReader", "VisitorMiddleware", "get_catalog_visitor", "get_visitor"]

logger = logging.getLogger("wixvisitor")

# The types of ASGI 3.0 (asgi.readthedocs.io)
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_KEY: Final = "wixvisitor"
_STARTS: Final = ("http.response.start", "websocket.accept", "websocket.http.response.start")


class VisitorMiddleware:
    """Gives each browser its visitor: ``app = VisitorMiddleware(app, pool, cookie=IdCookie([KEY]))``.

    Wrap it outermost, so that also the answer to an unhandled error carries the cookie. In a handler it is
    ``await get_visitor(request.scope)``.

    Args:
        app: an ASGI app.
        pool: makes the visitors.
        cookie: where they live: an ``IdCookie``, ``SealedCookie`` or ``SharedCookie`` of ``wixvisitor.cookies``; None,
            for a pool without a storage, an ``IdCookie`` whose key is lost with the process, as the visitors are.
        consent: called with the scope; without its consent there is no cookie and no record, and each request that
            calls Wix does so as a visitor of its own. An existing cookie is neither read nor removed.
        close: whether the pool and its storage are closed when the app shuts down (ASGI's lifespan).
        catalog_paths: what the catalogue's visitor may read, as prefixes of paths without ``base_url``'s own; one that
            ends in a slash covers what is below it, another one covers itself, too. Instead of ``CATALOG_PATHS``.
        trusted_origins: for a cookie with ``same_site="none"``: origins of pages that the shop is inside of, like
            ``"https://partner.example"``. Their pages' requests may log in and out, and set the cookie; those of other
            sites' pages only if they are safe (``GET``, say).

    Raises:
        ConfigurationError: an argument is wrong.

    Concurrency: one for each app, and event loop.
    Cancellation: a request that is cancelled, or whose client is gone, leaves the visitor whole.
    """

    def __init__(
        self,
        app: ASGIApp,
        pool: VisitorPool,
        *,
        cookie: VisitorCookie | None = None,
        consent: Callable[[Any], bool] | None = None,
        close: bool = True,
        catalog_paths: Sequence[str] = CATALOG_PATHS,
        trusted_origins: Sequence[str] = (),
    ) -> None:
        self._app = app
        self._visits = Visits(
            pool,
            cookie=cookie,
            consent=consent,
            close=close,
            catalog_paths=catalog_paths,
            trusted_origins=trusted_origins,
        )

    @classmethod
    def _around(cls, app: ASGIApp, visits: Visits) -> Self:
        """Returns a middleware whose arguments were checked before the app was there."""
        middleware = cls.__new__(cls)
        middleware._app, middleware._visits = app, visits
        return middleware

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection."""
        match scope["type"]:
            case "lifespan":
                serving: Awaitable[None] = _Lifespan(self._app, self._visits).serve(scope, receive, send)
            case "http" | "websocket":
                visit = Visit(self._visits, _request(scope))
                app = self._app({**scope, _KEY: visit}, receive, _sending(visit, send))
                serving = _finished(visit, app)
            case _:
                serving = self._app(scope, receive, send)
        del scope
        await serving

    def __repr__(self) -> str:
        return f"<VisitorMiddleware with {self._visits.cookie!r}>"


async def get_visitor(scope: Mapping[str, Any]) -> VisitorSession:
    """Returns the visitor of the browser that made this request; makes no call to Wix.

    Args:
        scope: the request's, ``request.scope`` in most frameworks.

    Raises:
        ConfigurationError: the app is not wrapped in ``VisitorMiddleware``; or the response has started, and nothing
            can keep a new visitor any more.
        StorageError: the store cannot be read.

    Concurrency: any number of calls within a request get the same object.
    """
    visit = scope.get(_KEY)
    del scope
    return await _known(visit).visitor()


async def get_catalog_visitor(scope: Mapping[str, Any]) -> CatalogReader:
    """Returns what reads the catalogue, as one visitor whom all browsers share; makes no call to Wix.

    An answer for which no other visitor was looked at carries no cookie and no ``Vary``.

    Args:
        scope: the request's, ``request.scope`` in most frameworks.

    Raises:
        ConfigurationError: the app is not wrapped in ``VisitorMiddleware``.

    Concurrency: one object for all requests.
    """
    visit = scope.get(_KEY)
    del scope
    return _known(visit).catalog()


def _known(visit: object) -> Visit:
    if not isinstance(visit, Visit):
        raise ConfigurationError("This app knows no visitors: wrap it, app = VisitorMiddleware(app, pool, cookie=…)")
    return visit


async def _finished(visit: Visit, serving: Awaitable[None]) -> None:
    try:
        await serving
    finally:
        visit.finish()


def _sending(visit: Visit, send: Send) -> Send:
    async def send_with_cookie(message: Message) -> None:
        if message["type"] in _STARTS and not visit.started:
            await visit.settle()
            message = _started(visit, message)
        sending = send(message)
        del message
        await sending

    return send_with_cookie


@drops_frames
def _request(scope: Scope) -> Request:
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        glue = "; " if name == "cookie" else ", "  # HTTP/2 sends one cookie each (RFC 9113, section 8.2.3)
        headers[name] = f"{headers[name]}{glue}{value}" if name in headers else value
    is_websocket = scope["type"] == "websocket"
    method = "GET" if is_websocket else scope["method"]
    is_page = not is_websocket and is_document(method, headers)
    return Request(headers, is_page, scope, method=method, is_websocket=is_websocket, path=_path(scope))


def _path(scope: Scope) -> str:
    """Returns the path as the browser sent it, with the part that the app is mounted under, or a proxy removes."""
    path, root = scope.get("path") or "/", (scope.get("root_path") or "").rstrip("/")
    raw = scope.get("raw_path")
    encoded = raw.decode("latin-1").partition("?")[0] if raw else quote(path)
    return encoded if path == root or path.startswith(f"{root}/") else quote(root) + encoded


def _started(visit: Visit, message: Message) -> Message:
    """Returns the message that starts the answer, with what the visit has to say in its headers."""
    headers = [(bytes(name), bytes(value)) for name, value in message.get("headers") or ()]
    added = visit.start(vary=_joined(headers, b"vary"), cache_control=_joined(headers, b"cache-control"))
    return {**message, "headers": [*_without_replaced(headers, added), *_raw(added)]}


def _joined(headers: list[tuple[bytes, bytes]], name: bytes) -> str:
    return ", ".join(value.decode("latin-1") for key, value in headers if key.lower() == name)


def _without_replaced(headers: list[tuple[bytes, bytes]], added: Additions) -> list[tuple[bytes, bytes]]:
    replaced = {b"vary"} if added.vary is not None else set()
    replaced |= {b"cache-control"} if added.cache_control is not None else set()
    return [(name, value) for name, value in headers if name.lower() not in replaced]


def _raw(added: Additions) -> list[tuple[bytes, bytes]]:
    pairs = [("set-cookie", cookie) for cookie in added.cookies]
    pairs += [("vary", added.vary)] if added.vary is not None else []
    pairs += [("cache-control", added.cache_control)] if added.cache_control is not None else []
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]


class _Lifespan:
    """The app's start and end. What the app says is passed on; at its end the visitors are closed first."""

    def __init__(self, app: ASGIApp, visits: Visits) -> None:
        self._app = app
        self._visits = visits
        self._is_heard = False

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def heard() -> Message:
            self._is_heard = True
            return await receive()

        async def said(message: Message) -> None:
            if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                await self._visits.aclose()
            await send(message)

        try:
            await self._app(scope, heard, said)
        except Exception:
            if self._is_heard:
                raise
        if not self._is_heard:  # an app without lifespan refuses the scope, as Django does, or returns at once
            await self._serve_alone(receive, send)

    async def _serve_alone(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self._visits.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return
            await send({"type": "lifespan.startup.complete"})
