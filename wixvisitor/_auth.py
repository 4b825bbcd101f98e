"""Puts a visitor's token on requests, as an ``auth`` for any httpx or httpx2 client.

The rules are in ``_renewal.authorization``; this module has what is special to httpx and httpx2.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING, Any, Final

import httpx

from wixvisitor._checks import NotCopied
from wixvisitor._http.bound_header import bind
from wixvisitor._renewal.authorization import Authorization
from wixvisitor._wire import token_endpoint

if TYPE_CHECKING:
    from httpx2 import Auth as _Httpx2Auth

    from wixvisitor._http.compat import UnansweredResponse
    from wixvisitor._renewal.decision import Snapshot
    from wixvisitor._renewal.refresher import Refresher
else:
    _Httpx2Auth = object

_MAX_401: Final = 1_048_576  # bytes of a 401 that are read before the renewal
_CONSISTENT: Final = token_endpoint.CONSISTENT_HEADER.lower().encode()


class VisitorAuth(NotCopied, httpx.Auth, _Httpx2Auth):  # type: ignore[misc] # two unrelated classes with the same methods
    """A visitor's authentication for your own client; ``session.auth`` returns it.

    ``httpx.AsyncClient(auth=session.auth)``, or with one request ``client.get(url, auth=session.auth)``; clients of
    httpx2 take it too. Requests to origins that the session does not allow are sent unchanged. The client keeps the
    cookies: if several visitors share a client, use the session's methods instead.

    Raises: what ``VisitorSession.request`` raises; the client's call raises it.
    Concurrency: share it between tasks and clients.
    Cancellation: leaves a renewal running for all other callers.
    """

    requires_request_body = False
    """False: httpx reads no body of a request for this."""
    requires_response_body = False
    """False: httpx reads no body of a response for this."""

    def __init__(self, refresher: Any) -> None:
        self._refresher: Refresher = refresher

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """Always raises, since there is no blocking renewal.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError("VisitorAuth is asynchronous: use it with an AsyncClient")
        yield request  # type: ignore[unreachable] # makes this the generator that httpx asks for

    def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """Sends the request with the token, and once more after each 401 that a renewal could help."""
        return _Flow(self._refresher, request)


class _Flow(Authorization, AsyncGenerator[Any, Any]):
    """The flow of one request: yields the request, and again for each replay, and receives the responses.

    A class instead of a generator: asyncio registers each generator, which takes as long as all the rest here.
    """

    __slots__ = ("_request",)

    def __init__(self, refresher: Refresher, request: Any) -> None:
        super().__init__(refresher)
        self._request = request

    async def __anext__(self) -> Any:
        """Returns the request, with the token if its origin is allowed."""
        if self._allows(self._request.url):
            self._put(self._refresher.state.fresh() or await self._refresher.usable())
        return self._request

    async def asend(self, response: Any) -> Any:
        """Returns the request that is to be sent once more.

        Raises:
            StopAsyncIteration: no replay; the caller gets the response.
        """
        if self._learn(response, response.status_code) and await self._renew(response):
            return self._request
        raise StopAsyncIteration

    def _put(self, held: Snapshot) -> None:
        # Raw, without "Bearer": https://dev.wix.com/docs/api-reference/articles/authentication/rest-api-authentication
        self._request.headers["Authorization"] = held.value
        self._held = held
        consistent = self._refresher.state.consistent
        if consistent or self._replays:  # a replay may have another visitor's token
            bind(self._request.headers, token_endpoint.CONSISTENT_HEADER, consistent)

    def _asked(self) -> tuple[str, Any]:
        return self._request.method, self._request.url

    def _answered(self, response: Any) -> tuple[Any, str | None]:
        return response.request.url, response.request.headers.get("Authorization")

    def _consistent(self, response: Any) -> str:
        if not any(name.lower() == _CONSISTENT for name, _ in response.headers.raw):  # a tenth of what ``get`` takes
            return ""
        return str(response.headers[token_endpoint.CONSISTENT_HEADER]).strip()

    def _is_replayable(self) -> bool:
        from wixvisitor._http.compat import family_of_request, is_replayable  # noqa: PLC0415 - once there is a 401

        return is_replayable(self._request, family_of_request(self._request))

    def _unanswered(self, response: Any) -> UnansweredResponse:
        from wixvisitor._http.compat import UnansweredResponse, family_of_request  # noqa: PLC0415 - as above

        return UnansweredResponse(response, family_of_request(self._request), limit=_MAX_401)

    async def athrow(self, *error: Any) -> Any:
        """Ends the flow. There is nothing to clean up."""
        raise error[0]

    async def aclose(self) -> None:
        """Ends the flow."""


def auth_for(refresher: Refresher, *, httpx2: bool) -> VisitorAuth:
    """Returns the auth; with ``httpx2`` one that clients of both libraries accept."""
    return (_both_families() or VisitorAuth)(refresher) if httpx2 else VisitorAuth(refresher)


@functools.cache
def _both_families() -> type[VisitorAuth] | None:
    try:
        from httpx2 import Auth  # noqa: PLC0415 - an extra, imported only where it is used
    except ImportError:
        return None

    class VisitorAuthOfBoth(VisitorAuth, Auth):  # type: ignore[misc] # see VisitorAuth
        """A class with both ``Auth`` bases, because each library checks for its own."""

    VisitorAuthOfBoth.__name__ = VisitorAuthOfBoth.__qualname__ = "VisitorAuth"
    return VisitorAuthOfBoth
