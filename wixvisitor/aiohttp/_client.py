"""Puts a visitor's token on the requests of aiohttp's own client. Needs the extra ``aiohttp``; asyncio only.

The rules are in ``_renewal.authorization``; this module has what is special to aiohttp. aiohttp calls a middleware for
each hop of a redirect, with a new request that carries the caller's headers only.
"""

from __future__ import annotations

import asyncio
import sys
import weakref
from collections.abc import Awaitable, Sequence
from typing import Final

import aiohttp
import httpx
from aiohttp import hdrs
from multidict import istr
from yarl import URL

from wixvisitor._http.requests import set_default_headers
from wixvisitor._renewal.authorization import Authorization
from wixvisitor._renewal.decision import Snapshot
from wixvisitor._renewal.refresher import Refresher
from wixvisitor._session import VisitorSession
from wixvisitor._tasks import shared_task
from wixvisitor._wire import token_endpoint
from wixvisitor._wire.redaction import drop_inner_frames
from wixvisitor.aiohttp._bodies import UnansweredResponse, is_in_memory
from wixvisitor.aiohttp._cookies import VisitorCookies, cookies_of, keeps_cookies, with_callers
from wixvisitor.errors import ConfigurationError

_CONSISTENT: Final = istr(token_endpoint.CONSISTENT_HEADER)
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_OF_SENDING: Final = (aiohttp.ClientError, OSError)  # errors of sending; their frames hold the request's bytes


def client_middleware(session: VisitorSession) -> aiohttp.ClientMiddlewareType:
    """Returns a middleware that makes the requests of an ``aiohttp.ClientSession`` as this visitor.

    ``aiohttp.ClientSession(middlewares=(client_middleware(session),))`` is for one visitor. A client that several
    visitors share gets the middleware with each request, and needs a jar that stores nothing::

        http = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        async with http.get(url, middlewares=(client_middleware(session),)) as response: ...

    The rules are those of ``session.auth``: the token goes to the session's allowed origins only, a 401 leads to one
    renewal, and the request is sent once more if its body is in memory. A redirect to another allowed origin arrives
    there with the token. After a redirect to any other origin, the request's further hops get no token. With a
    ``DummyCookieJar`` the cookies that Wix sets are kept for each visitor and sent with its requests only.

    Token calls do not go through this client, but through the session's own.

    Args:
        session: the visitor; the middleware keeps it alive.

    Raises:
        ConfigurationError: it is no ``VisitorSession``. From a request: the client has a cookie jar and serves several
            visitors; nothing was sent.
        TokenRequestError, SessionExpired, StorageError, ConfigurationError: from a request: no token could be
            obtained.

    Concurrency: share it between tasks and clients.
    Cancellation: closes the request's connection; a renewal under way goes on.
    """
    if not isinstance(session, VisitorSession):
        raise ConfigurationError(f"client_middleware: expected a VisitorSession, not {type(session).__name__}")
    return _ClientMiddleware(session)


class _ClientMiddleware:
    """See ``client_middleware``."""

    __slots__ = ("_cookies", "_left", "_refresher", "_session")

    def __init__(self, session: VisitorSession) -> None:
        self._session = session  # this reference keeps it in its pool
        self._refresher = session._refresher
        self._cookies = cookies_of(session)
        self._left: dict[int, object] = {}  # calls under way that have left the allowed origins

    def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> Awaitable[aiohttp.ClientResponse]:
        """Returns the awaitable that sends the request: with the token, or without it."""
        refresher = self._refresher
        if (self._left and id(_call_of(request)) in self._left) or _is_token_call(request):
            return handler(request)
        if not refresher.settings.origins.allow(request.url):
            return self._elsewhere(request, handler)
        has_jar = keeps_cookies(request.session, refresher)
        return _Exchange(refresher, request, None if has_jar else self._cookies).send(handler)

    async def _elsewhere(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        response = await handler(request)
        if response.status in _REDIRECTS:
            call = _call_of(request)
            self._left[id(call)] = call
            # The call's history keeps the response alive, so the entry stays until the call has ended.
            weakref.finalize(response, self._left.pop, id(call), None).atexit = False
        return response

    def __repr__(self) -> str:
        return f"<client_middleware of {self._session!r}>"


def _call_of(request: aiohttp.ClientRequest) -> object:
    """Returns an object that all hops of one call share; aiohttp has no public name for it."""
    return getattr(request, "_timer", None) or asyncio.current_task()


def _is_token_call(request: aiohttp.ClientRequest) -> bool:
    """Whether this is a token call. It goes through this client if httpx-aiohttp shares it."""
    return shared_task.is_inside() and request.url.path.endswith(token_endpoint.TOKEN_PATH)


class _Exchange(Authorization):
    """One request of aiohttp, and its replays.

    Our headers are on the request only while it is sent: aiohttp's exceptions show a request's headers.
    """

    __slots__ = ("_callers", "_cookies", "_request")

    def __init__(self, refresher: Refresher, request: aiohttp.ClientRequest, cookies: VisitorCookies | None) -> None:
        super().__init__(refresher)
        self._request = request
        self._cookies = cookies
        self._callers: dict[str, Sequence[str]] = {}  # the caller's values of the headers that we replaced

    async def send(self, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        """Sends the request, and again after each 401 that a renewal could solve."""
        self._put(self._refresher.state.fresh() or await self._refresher.usable())
        outer, response = sys.exception(), None
        try:
            set_default_headers(self._request)
            response = await handler(self._request)
            while self._learn(response, response.status) and await self._renew(response):
                response = await handler(self._request)
            return response
        except BaseException as error:
            if response is not None:
                response.close()
            if isinstance(error, _OF_SENDING) or not isinstance(error, Exception):
                drop_inner_frames(error, outer)
            raise
        finally:
            self._remove_ours()

    def _put(self, held: Snapshot) -> None:
        if self._replays:  # the replay may have another visitor's token
            self._remove_ours()
        # Raw, without "Bearer": https://dev.wix.com/docs/api-reference/articles/authentication/rest-api-authentication
        self._set(hdrs.AUTHORIZATION, held.value)
        self._held = held
        if consistent := self._refresher.state.consistent:
            self._set(_CONSISTENT, consistent)
        if self._cookies is not None and (pairs := self._cookies.pairs(held, self._request.url)):
            self._set(hdrs.COOKIE, with_callers(self._request.headers.getall(hdrs.COOKIE, ()), pairs))

    def _set(self, name: str, value: str) -> None:
        headers = self._request.headers
        self._callers[name] = headers.getall(name) if name in headers else ()
        headers[name] = value

    def _remove_ours(self) -> None:
        headers = self._request.headers
        for name, values in self._callers.items():
            headers.popall(name, None)
            for value in values:
                headers.add(name, value)
        self._callers.clear()

    def _note(self, response: aiohttp.ClientResponse, status: int, held: Snapshot) -> None:
        super()._note(response, status, held)
        if self._cookies is not None and hdrs.SET_COOKIE in response.headers and self._allows(response.url):
            self._cookies.keep(held, response, now=self._refresher.state.held)

    def _asked(self) -> tuple[str, httpx.URL]:
        return self._request.method, _httpx_url(self._request.url)

    def _answered(self, response: aiohttp.ClientResponse) -> tuple[httpx.URL, str | None]:
        is_ours = self._allows(response.url)  # another middleware may have sent it to another origin
        return _httpx_url(response.url), self._request.headers.get(hdrs.AUTHORIZATION) if is_ours else None

    def _consistent(self, response: aiohttp.ClientResponse) -> str:
        return response.headers.get(_CONSISTENT, "").strip()

    def _is_replayable(self) -> bool:
        return is_in_memory(self._request.body)

    def _unanswered(self, response: aiohttp.ClientResponse) -> UnansweredResponse:
        return UnansweredResponse(self._request, response)


def _httpx_url(url: URL) -> httpx.URL:
    """Returns scheme, host and path as an httpx URL, which the rules need."""
    plain = url.with_query(None).with_fragment(None)
    try:
        return httpx.URL(str(plain))
    except httpx.InvalidURL:  # longer than httpx takes
        return httpx.URL(str(plain.origin()))
