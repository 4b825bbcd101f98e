"""Puts a visitor's token on requests, as an ``auth`` for any httpx or httpx2 client.

The safety rules of a request live here: the token and ``X-Wix-Consistent`` go to the allowed origins only, a 401 is
read before anybody waits (open responses hold the connections that the renewal needs) and counts by its status,
whatever is wrong with its body, and only a body held in memory is replayed.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING, Any, Final

import httpx

from wixvisitor import _wire
from wixvisitor._bound_header import bind
from wixvisitor._decision import Held
from wixvisitor._family import Unanswered, family_of_request, is_replayable
from wixvisitor._refresher import Refresher
from wixvisitor._routes import route_of

if TYPE_CHECKING:
    from httpx2 import Auth as _Httpx2Auth
else:
    _Httpx2Auth = object

_LONGEST_401: Final = 1_048_576  # bytes of a 401 that are read before the renewal
_REPLAYS: Final = 2  # one with a token that another process had renewed, if need be, and one with a token of our own
_CONSISTENT: Final = _wire.CONSISTENT_HEADER.lower().encode()
_LONGEST_CONSISTENT: Final = 1_024  # characters of X-Wix-Consistent that are kept; its format is not documented


class VisitorAuth(httpx.Auth, _Httpx2Auth):  # type: ignore[misc] # two unrelated classes with the same methods
    """A visitor's authentication for your own client; ``session.auth`` gives it.

    ``httpx.AsyncClient(auth=session.auth)``, or with one request ``client.get(url, auth=session.auth)``; clients of
    httpx2 take it too. Requests to other origins than the session's go out untouched. Cookies are the client's own
    affair here: on a client that several visitors share, use the session's methods instead.

    Raises: what ``VisitorSession.request`` raises, out of the client's call.
    Concurrency: share it between tasks and clients.
    Cancellation: leaves a renewal running for everybody else.
    """

    requires_request_body = False
    requires_response_body = False

    def __init__(self, refresher: Refresher) -> None:
        self._refresher = refresher

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """Refuses: there is no blocking renewal.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError("VisitorAuth is asynchronous: use it with an AsyncClient")
        yield request  # type: ignore[unreachable] # makes this the generator that httpx asks for

    def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """Sends the request with the token, and once more after each 401 that a renewal could help."""
        return _Flow(self._refresher, request)


class _Flow(AsyncGenerator[Any, Any]):
    """What becomes of one request: yields it, at most ``_REPLAYS`` times more, and is sent the responses.

    A generator by hand: of each real one asyncio keeps a record, which takes as long as all that is done here.
    """

    __slots__ = ("_held", "_refresher", "_replays", "_request")

    def __init__(self, refresher: Refresher, request: Any) -> None:
        self._refresher = refresher
        self._request = request
        self._held: Held | None = None
        self._replays = 0

    async def __anext__(self) -> Any:
        """Returns the request, with the token if it may have it."""
        if self._refresher.settings.origins.allow(self._request.url):
            self._dress(self._refresher.ledger.fresh() or await self._refresher.usable())
        return self._request

    async def asend(self, response: Any) -> Any:
        """Returns the request that is to be sent once more.

        Raises:
            StopAsyncIteration: the response is the caller's.
        """
        held = self._held
        if held is None:
            raise StopAsyncIteration
        self._note(response, held)
        self._note_time(response)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            if self._is_about(held, response) and self._may_help(held):
                renewed = await self._after_401(held, response)
                if renewed is not None:
                    self._replays += 1
                    self._dress(renewed)
                    return self._request
        elif self._replays and _tells(response):
            self._refresher.note_replay(self._route(), is_turned_down=False)
        raise StopAsyncIteration

    def _may_help(self, held: Held) -> bool:
        """Whether a renewal may help; if this was the replay with a fresh token, the 401 is about something else."""
        if self._replays and self._refresher.ledger.replay_refused(held):
            self._refresher.note_replay(self._route(), is_turned_down=True)
            return False
        return self._replays < _REPLAYS

    def _route(self) -> str:
        return route_of(self._request.method, self._request.url)

    def _is_about(self, held: Held, response: Any) -> bool:
        """Whether this 401 answers our token: it came with it (no redirect stripped it), and not from the login API."""
        origins, asked = self._refresher.settings.origins, response.request
        paths = origins.paths_of(self._request.url) + origins.paths_of(asked.url)
        if any(path.startswith(_wire.IAM_PREFIX) for path in paths):
            return False
        return bool(asked.headers.get("Authorization") == held.value)

    async def _after_401(self, held: Held, response: Any) -> Held | None:
        family = family_of_request(self._request)
        unanswered, is_wanted = Unanswered(response, family, limit=_LONGEST_401), is_replayable(self._request, family)
        renewed = await self._refresher.after_rejection(held, unanswered if is_wanted else None, self._route())
        if renewed is None or not is_wanted:
            unanswered.pass_on()
            return None
        await unanswered.make_readable()
        return renewed

    def _dress(self, held: Held) -> None:
        # Raw, without "Bearer": https://dev.wix.com/docs/api-reference/articles/authentication/rest-api-authentication
        self._request.headers["Authorization"] = held.value
        self._held = held
        consistent = self._refresher.ledger.consistent
        if consistent or self._replays:  # a replay may be another visitor's
            bind(self._request.headers, _wire.CONSISTENT_HEADER, consistent)

    def _note(self, response: Any, held: Held) -> None:
        """Keeps ``X-Wix-Consistent`` for this visitor's next requests, as @wix/sdk does; the last value wins."""
        if not any(name.lower() == _CONSISTENT for name, _ in response.headers.raw):  # a tenth of what ``get`` takes
            return
        value = response.headers[_wire.CONSISTENT_HEADER].strip()
        # aiohttp's parser lets control characters through, and no request could be sent with them.
        fits = 0 < len(value) <= _LONGEST_CONSISTENT and value.isascii() and value.isprintable()
        if fits and self._refresher.settings.origins.allow(response.url):
            self._refresher.ledger.note_consistent(held, value)

    def _note_time(self, response: Any) -> None:
        """Learns what time it is by Wix's clock, from the first answer and from errors.

        An ended token gets another error from each API (400, 403, 428), not always a 401. The next request then has
        another token, if the machine's clock is why this one was thought to work.
        """
        settings = self._refresher.settings
        is_telling = response.status_code >= httpx.codes.BAD_REQUEST or settings.server_clock.is_unset
        if is_telling and settings.origins.allow(response.url):
            settings.server_clock.note_api_answer(_wire.server_time(response.headers))

    async def athrow(self, *error: Any) -> Any:
        """Ends the flow: nothing has to be cleaned up."""
        raise error[0]

    async def aclose(self) -> None:
        """Ends the flow."""


def auth_for(refresher: Refresher, *, httpx2: bool) -> VisitorAuth:
    """Returns the auth; with ``httpx2`` one that clients of both libraries take."""
    return (_both_families() or VisitorAuth)(refresher) if httpx2 else VisitorAuth(refresher)


@functools.cache
def _both_families() -> type[VisitorAuth] | None:
    try:
        from httpx2 import Auth  # noqa: PLC0415 - an extra, and nobody else should pay for its import
    except ImportError:
        return None

    class VisitorAuthOfBoth(VisitorAuth, Auth):  # type: ignore[misc] # see VisitorAuth
        """One class with both ``Auth`` bases: each library asks for its own."""

    VisitorAuthOfBoth.__name__ = VisitorAuthOfBoth.__qualname__ = "VisitorAuth"
    return VisitorAuthOfBoth


def _tells(response: Any) -> bool:
    """Whether an answer that is no 401 means that the token was accepted: not that of a server in trouble."""
    return bool(response.status_code < 500 and response.status_code != httpx.codes.TOO_MANY_REQUESTS)
