"""One request of a browser: who its visitor is, and what its answer has to say about that.

Rule 1, LAZY: whoever is not looked at is not loaded; who makes no call to Wix is not made and not stored.
Rule 2, OURS: an id is one that we issued. Login and logout change it: whoever knew the old one is not the member.
Rule 3, IN TIME: a cookie travels in the headers. Whoever cannot be kept any more is not made.
Rule 4, PRIVATE: an answer that knows a visitor says ``Vary: Cookie``; one with a cookie is in no shared cache.
Rule 5, CONSENT: without it, there is neither a cookie nor a record.
"""

from __future__ import annotations

import functools
import logging
import weakref
from collections.abc import Callable
from typing import Any, Final

import attrs

from wixvisitor import _given
from wixvisitor._auth import VisitorAuth
from wixvisitor._cookie_card import Card
from wixvisitor._decision import role_of
from wixvisitor._session import VisitorSession
from wixvisitor._tokens import EMPTY_TOKENS, RefreshToken, TokenRole, Tokens
from wixvisitor._web._catalog_reader import CatalogReader
from wixvisitor._web._headers import NOTHING, Additions, additions, is_shared
from wixvisitor._web._site_cookie import Reading
from wixvisitor._web._visits import Request, Visits, is_newer, new_card
from wixvisitor.errors import ConfigurationError

logger = logging.getLogger("wixvisitor")

_LATE: Final = (
    "The response has started, so that its cookie cannot keep a new visitor any more, and the next request would make "
    "another one. Ask for the visitor, and make its first call, before the response (or the websocket) starts."
)


class RequestVisitor(VisitorSession):
    """A visitor within one request. Its session is the pool's; login and logout change which one.

    Concurrency: share it between the request's tasks.
    Cancellation: never hurts the visitor.
    """

    __slots__ = ("_visit",)
    _visit: Visit

    @classmethod
    def within(cls, visit: Visit, pooled: VisitorSession) -> RequestVisitor:
        """Returns the session as this request's."""
        visitor = cls._of_pool(pooled._refresher, pooled._connections)
        visitor._visit = visit
        return visitor

    def become(self, pooled: VisitorSession) -> None:
        """Goes on as this session."""
        self._refresher, self._auth = pooled._refresher, None

    async def generate_visitor_tokens(self, tokens: Tokens | None = None) -> Tokens:
        """As ``VisitorSession.generate_visitor_tokens``, in time for the cookie."""
        self._visit.check_can_keep()
        return await super().generate_visitor_tokens(tokens)

    async def set_tokens(self, tokens: Tokens) -> None:
        """Adopts tokens. Somebody else's, a member's after login or none after logout, get a new id and cookie.

        ``EMPTY_TOKENS`` forgets whoever it was, and a member is forgotten at logout, in the store as well.

        Raises:
            ConfigurationError: the response has started, so that no cookie can be changed; nothing was.
            StorageError: they could not be saved, and the visitor is as before; or, after a logout, the old record
                could not be removed.
        """
        await self._visit.adopt(self, _given.checked_tokens(tokens))

    async def renew_token(self, refresh_token: RefreshToken | None = None) -> Tokens:
        """As ``VisitorSession.renew_token``; a member's refresh token for nobody's session is a login."""
        self._visit.check_can_keep()
        if refresh_token is None or self.get_tokens().refresh_token.value:
            return await super().renew_token(refresh_token)
        return await self._visit.renew_into(self, refresh_token)

    async def auth_headers(self) -> dict[str, str]:
        """As ``VisitorSession.auth_headers``, in time for the cookie."""
        self._visit.check_can_keep()
        return await super().auth_headers()

    @property
    def auth(self) -> VisitorAuth:
        """As ``VisitorSession.auth``; ask for it again after ``set_tokens``."""
        self._visit.check_can_keep()
        return super().auth

    async def _send(self, method: str, url: str, arguments: dict[str, Any], *, stream: bool) -> Any:
        self._visit.check_can_keep()
        return await super()._send(method, url, arguments, stream=stream)


@attrs.define(eq=False, repr=False)
class Visit:
    """One request or websocket.

    Attributes:
        started: whether the answer's headers are gone.

    Concurrency: for the tasks of one request.
    Cancellation: leaves the visitor whole; one that was new, and whose answer never started, is nobody's.
    """

    visits: Visits
    request: Request
    started: bool = False
    _session: VisitorSession | None = None  # the pool's, held until the request is over
    _visitor: Callable[[], RequestVisitor | None] = lambda: None  # a weak reference: no cycle keeps it alive
    _began: Tokens = EMPTY_TOKENS  # what that held when the request first looked
    _moved: Card | None = None  # whom login or logout made of it
    _is_set: bool = False  # the application has set tokens, so the cookie changes whatever the clock says
    _reads_catalog: bool = False  # what it shows is the same for everybody, unless the visitor is looked at, too
    _is_kept: bool = False  # the answer has started, and the browser has the key
    _sent: Tokens = EMPTY_TOKENS  # what the browser's cookie holds once the answer is there

    @functools.cached_property
    def allowed(self) -> bool:
        """Whether the browser may be remembered (rule 5, CONSENT)."""
        return self.visits.allows(self.request)

    @functools.cached_property
    def _reading(self) -> Reading:
        return self.visits.read(self.request)

    @functools.cached_property
    def _given(self) -> Card | None:
        return self._reading.card if self.allowed else None

    @functools.cached_property
    def _reserved(self) -> Card:
        return new_card()

    @property
    def _card(self) -> Card:
        return self._moved or self._given or self._reserved

    async def visitor(self) -> VisitorSession:
        """Returns the visitor of this request, always the same object; makes no call to Wix.

        Raises:
            ConfigurationError: the answer has started, and no cookie can keep a new visitor any more (rule 3, IN TIME).
            StorageError: the store cannot be read.
        """
        if self._session is None:
            if self.started and self.allowed and not self._is_kept:
                raise ConfigurationError(_LATE)
            session = await self.visits.session(self._card, allowed=self.allowed)
            if self._session is None:
                self._session, self._began = session, session.get_tokens()
        visitor = self._visitor() or RequestVisitor.within(self, self._session)
        self._visitor = weakref.ref(visitor)
        return visitor

    def catalog(self) -> CatalogReader:
        """Returns what reads the catalogue, as the visitor whom all browsers share. This browser needs none for it."""
        self._reads_catalog = True
        return self.visits.catalog

    def check_can_keep(self) -> None:
        """Raises unless whoever is made now can be kept, or nobody has to be made (rule 3, IN TIME)."""
        if not self.started or not self.allowed or (self._is_kept and not self.visits.cookie.holds_tokens):
            return
        if _given.is_empty(self._tokens()):
            raise ConfigurationError(_LATE)

    # Login and logout: rule 2, OURS

    async def adopt(self, visitor: RequestVisitor, tokens: Tokens) -> None:
        """See ``RequestVisitor.set_tokens``."""
        before = visitor.get_tokens()
        if self.allowed:
            self.visits.kept.check(self._reading, tokens)
        if not _is_another(before, tokens):
            await VisitorSession.set_tokens(visitor, tokens)
            self._is_set = True
            return
        self._check_not_started()
        card, left = new_card(), self._card
        session = await self.visits.session(card, allowed=self.allowed)
        if not _given.is_empty(tokens):
            await session.set_tokens(tokens)
        self._move(visitor, card, session)
        if _given.is_empty(tokens) or role_of(before) is TokenRole.MEMBER:
            await self.visits.pool(allowed=self.allowed).forget(left.key)

    async def renew_into(self, visitor: RequestVisitor, refresh_token: RefreshToken) -> Tokens:
        """Renews somebody's refresh token and goes on as them."""
        self._check_not_started()
        if self.allowed:
            self.visits.kept.check_refresh(self._reading, Tokens(EMPTY_TOKENS.access_token, refresh_token))
        card = new_card()
        session = await self.visits.session(card, allowed=self.allowed)
        tokens = await session.renew_token(refresh_token)
        self._move(visitor, card, session)
        return tokens

    def _move(self, visitor: RequestVisitor, card: Card, session: VisitorSession) -> None:
        self._session, self._moved, self._is_set = session, card, True
        visitor.become(session)

    def _check_not_started(self) -> None:
        if self.started and self.allowed:
            raise ConfigurationError(
                "The response has started, so that the visitor's cookie cannot be changed any more: set tokens before. "
                "Nothing was changed."
            )

    # The answer

    def start(self, *, vary: str, cache_control: str) -> Additions:
        """Returns what the answer's headers get. Called once, when they are about to be sent.

        Args:
            vary: the answer's own ``Vary``.
            cache_control: the answer's own ``Cache-Control``.
        """
        self.started = True
        cookies = self._cookies()
        if cookies and is_shared(cache_control):
            level = logging.DEBUG if self._session is None else logging.ERROR
            logger.log(
                level,
                "wixvisitor: no cookie for an answer that caches share (Cache-Control: %s); a visitor that is new, or "
                "logged in, is lost with it",
                cache_control,
            )
            cookies = []
        self._is_kept = bool(cookies) or (self._given is not None and self._moved is None)
        self._note()
        if self._session is None and not cookies:
            return NOTHING
        if self.allowed and not is_shared(cache_control):
            cookies = [*cookies, *self.visits.kept.remove_copies(self._reading, self.request.path)]
        return additions(cookies, vary=vary, cache_control=cache_control)

    def _cookies(self) -> list[str]:
        if not self.allowed or (self._session is None and (self._reads_catalog or not self.request.is_document)):
            return []
        if self.visits.cookie.holds_tokens:
            return self._token_cookies()
        if self._is_anew or (self._session is not None and self._card.is_due):
            return self._written(EMPTY_TOKENS)
        return []

    def _token_cookies(self) -> list[str]:
        given, now = self._given, self._tokens()
        self._sent = EMPTY_TOKENS if given is None else given.tokens
        if given is not None and given.is_derived and self._moved is None:
            self._sent = now  # as far as it can be kept at all: the cookies that it was derived from stay
            return []
        if _given.is_empty(now):
            return self._emptied(given)
        if self._is_set or (self._has_later(now) and not self.visits.kept.keeps(self._reading, now)):
            self._sent = now
        elif given is None or not given.is_due:
            return []
        return self._written(self._sent)

    def _emptied(self, given: Card | None) -> list[str]:
        kept = self.visits.kept
        if self._is_set and self.visits.cookie.reservation is not None:
            return kept.forget(self._reading)
        if not self._is_set and given is not None:
            return []
        return kept.reserve(self._reading, Card(self._card.key), anew=self._is_anew)

    def _has_later(self, now: Tokens) -> bool:
        """Whether these are later than the cookie's: they came within this request, or are newer.

        When they end would not do: servers' clocks differ, and a new token may live shorter than the one before.
        """
        return now != self._sent and (now != self._began or is_newer(now, than=self._sent))

    @property
    def _is_anew(self) -> bool:
        return self._moved is not None or self._given is None

    def _written(self, tokens: Tokens) -> list[str]:
        return self.visits.kept.write(self._reading, Card(self._card.key, tokens), anew=self._is_anew)

    def finish(self) -> None:
        """Looks whether everything was kept, when the request is over."""
        self._note()
        tokens = self._tokens()
        if not self.allowed or _given.is_empty(tokens):
            return
        if not self.started and (self._given is None or self._moved is not None):
            logger.info("wixvisitor: a new visitor's request ended without an answer, so that nobody has its cookie")
        elif self.started and self.visits.cookie.holds_tokens and _is_another(self._sent, tokens):
            logger.error(
                "wixvisitor: the visitor changed after the response had started, so that its cookie %s could not; "
                "use IdCookie where responses are streamed",
                self.visits.cookie.name,
            )

    def _note(self) -> None:
        if self._session is not None and self.allowed:
            self.visits.note(self._card.key, self._session)

    def _tokens(self) -> Tokens:
        return EMPTY_TOKENS if self._session is None else self._session.get_tokens()

    def __repr__(self) -> str:
        looked = "not looked at" if self._session is None else "looked at"
        return f"<Visit with {self.visits.cookie!r}, {looked}, {'started' if self.started else 'not started'}>"


def _is_another(old: Tokens, new: Tokens) -> bool:
    return old.refresh_token.value != new.refresh_token.value
