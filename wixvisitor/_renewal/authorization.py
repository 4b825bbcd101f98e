"""Gives a request its visitor's token, and another one after a 401. The same for every HTTP client.

The safety rules of a request live here:

1. The token and ``X-Wix-Consistent`` go to the allowed origins only.
2. A 401 counts by its status, even if its body cannot be read. Its body is read before anything waits, since open
   responses hold the connections that the renewal may need.
3. A 401 is followed by a renewal only if the token was sent, and never on the paths of the login API.
4. The request is sent once more only if its body is in memory, and ``_MAX_REPLAYS`` times at most.

``_auth`` applies them to httpx and httpx2, ``aiohttp._client`` to aiohttp.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final

from wixvisitor._wire import token_endpoint

if TYPE_CHECKING:  # it takes long to import; it is imported before the first request
    from wixvisitor._http.compat import Unanswered
    from wixvisitor._renewal.decision import Snapshot
    from wixvisitor._renewal.refresher import Refresher

_MAX_REPLAYS: Final = 2  # one with a token that another process has renewed, and one with a token of our own renewal
_MAX_CONSISTENT: Final = 1_024  # characters of X-Wix-Consistent that are kept; its format is not documented
_UNAUTHORIZED: Final = 401
_TOO_MANY_REQUESTS: Final = 429


class Authorization(ABC):
    """The token of one request, and of its replays.

    A subclass adapts it to the requests and responses of one HTTP client.
    """

    __slots__ = ("_held", "_refresher", "_replays")

    def __init__(self, refresher: Refresher) -> None:
        self._refresher = refresher
        self._held: Snapshot | None = None  # the token that was sent; None: no token was sent
        self._replays = 0

    def _allows(self, url: Any) -> bool:
        return self._refresher.settings.origins.allow(url)

    def _learn(self, response: Any, status: int) -> bool:
        """Notes what the response tells; returns whether it is a 401 that a renewal may solve."""
        held = self._held
        if held is None:
            return False
        self._note(response, status, held)
        if status != _UNAUTHORIZED:
            if self._replays and _means_accepted(status):
                self._refresher.note_replay(self._route(), is_rejected=False)
            return False
        return self._is_about(held, response) and self._may_help(held)

    async def _renew(self, response: Any) -> bool:
        """Waits for a renewal after a 401. Returns whether to send the request, which has another token now, again.

        Raises:
            SessionExpired, StorageError: the renewal ended the session, or could not save a new visitor.
        """
        assert self._held is not None
        renewed = await self._after_401(self._held, response)
        if renewed is None:
            return False
        self._replays += 1
        self._put(renewed)
        return True

    def _note(self, response: Any, status: int, held: Snapshot) -> None:
        """Notes ``X-Wix-Consistent`` and Wix's time from an answer of an allowed origin.

        ``X-Wix-Consistent`` is for this visitor's next requests, as in @wix/sdk; the last value counts. Wix's time is
        learnt from the first answer and from errors. For an expired token each API has its own error (400, 403, 428),
        not always a 401. If the machine's clock made such a token look valid, the next request gets another token.
        """
        settings = self._refresher.settings
        consistent = self._consistent(response)
        is_telling = status >= 400 or settings.server_clock.is_unset
        if not (consistent or is_telling) or not self._allows(response.url):
            return
        # aiohttp's parser accepts control characters, and no request could be sent with them.
        if len(consistent) <= _MAX_CONSISTENT and consistent.isascii() and consistent.isprintable() and consistent:
            self._refresher.state.note_consistent(held, consistent)
        if is_telling:
            settings.server_clock.note_api_answer(token_endpoint.server_time(response.headers))

    def _is_about(self, held: Snapshot, response: Any) -> bool:
        """Whether this 401 is about our token: no redirect has removed it, and the login API was not asked."""
        origins = self._refresher.settings.origins
        url, token = self._answered(response)
        paths = origins.paths_of(self._asked()[1]) + origins.paths_of(url)
        if any(path.startswith(token_endpoint.IAM_PREFIX) for path in paths):
            return False
        return token == held.value

    def _may_help(self, held: Snapshot) -> bool:
        """Whether a renewal may help. After a replay with a fresh token, the 401 has another cause."""
        if self._replays and self._refresher.state.replay_rejected(held):
            self._refresher.note_replay(self._route(), is_rejected=True)
            return False
        return self._replays < _MAX_REPLAYS

    async def _after_401(self, held: Snapshot, response: Any) -> Snapshot | None:
        unanswered, is_wanted = self._unanswered(response), self._is_replayable()
        renewed = await self._refresher.after_rejection(held, unanswered if is_wanted else None, self._route())
        if renewed is None or not is_wanted:
            unanswered.pass_on()
            return None
        await unanswered.prepare_replay()
        return renewed

    def _route(self) -> str:
        from wixvisitor._renewal.routes import route_of  # noqa: PLC0415 - imported only after a 401

        return route_of(*self._asked())

    @abstractmethod
    def _put(self, held: Snapshot) -> None:
        """Puts the token and the visitor's other headers on the request."""

    @abstractmethod
    def _asked(self) -> tuple[str, Any]:
        """Returns the method and the URL (httpx's or httpx2's) of the request."""

    @abstractmethod
    def _answered(self, response: Any) -> tuple[Any, str | None]:
        """Returns URL and ``Authorization`` of the answered request, which may be one after a redirect."""

    @abstractmethod
    def _consistent(self, response: Any) -> str:
        """Returns the response's ``X-Wix-Consistent``, ``""`` for none."""

    @abstractmethod
    def _is_replayable(self) -> bool:
        """Whether the request's body is in memory."""

    @abstractmethod
    def _unanswered(self, response: Any) -> Unanswered:
        """Returns the response in the form that the renewal needs."""


def _means_accepted(status: int) -> bool:
    """Whether an answer that is no 401 means that the token was accepted. A failing server does not show this."""
    return status < 500 and status != _TOO_MANY_REQUESTS
