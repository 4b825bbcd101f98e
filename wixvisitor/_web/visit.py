"""One request of a browser: which visitor it belongs to, and which headers its answer gets for that.

Rule 1, LAZY: a visitor is loaded only when the handler asks for it. It is created and stored at its first call to Wix.
Rule 2, OURS: only ids that we issued count. Login and logout change the id, so the old id never leads to the member.
Rule 3, IN TIME: a cookie travels in the headers. Once they are sent, no new visitor is created: it would be lost.
Rule 4, PRIVATE: an answer that depends on a visitor says ``Vary: Cookie``. No shared cache stores one with a cookie.
Rule 5, CONSENT: without it, there is neither a cookie nor a record.
Rule 6, ORDER: after the headers of a login's or logout's answer are sent, no answer carries an older cookie.
Rule 7, OTHER SITES: a request from another site's page changes no cookie, unless it is safe or that site is trusted.
"""

from __future__ import annotations

import hashlib
import logging
import weakref
from typing import Final

import attrs

from wixvisitor import _checks
from wixvisitor._renewal.decision import role_of
from wixvisitor._session import VisitorSession
from wixvisitor._tasks.log import logger
from wixvisitor._tokens import EMPTY_TOKENS, RefreshToken, TokenRole, Tokens
from wixvisitor._web.catalog_reader import CatalogReader
from wixvisitor._web.cross_site import UNTRUSTED, WITHHELD
from wixvisitor._web.headers import NOTHING, Additions, additions, is_shared
from wixvisitor._web.logins import successor
from wixvisitor._web.request import Request, opens_page
from wixvisitor._web.request_visitor import RequestVisitor
from wixvisitor._web.sender import Sender, sender_of
from wixvisitor._web.visits import Visits, is_newer, new_content, new_key
from wixvisitor._wire.token_endpoint import TokenRequest
from wixvisitor.cookies._content import CookieContent
from wixvisitor.errors import ConfigurationError

_LATE: Final = (
    "The response has started, so its headers can no longer carry a new visitor's cookie, and the next request would "
    "create another visitor. Get the visitor, and make its first call, before the response (or the websocket) starts."
)
_FOREIGN: Final = "another site's page sent the request"
_OLDER: Final = "a login or logout of this browser was answered first"


@attrs.define(eq=False, repr=False)
class Visit:
    """One request or websocket.

    Attributes:
        started: whether the answer's headers have been sent.

    Concurrency: for the tasks of one request.
    Cancellation: leaves the visitor intact. A new one whose answer never started stays unused at Wix; this is harmless.
    """

    visits: Visits
    request: Request
    started: bool = False
    _session: VisitorSession | None = None  # the pool's session; this reference keeps it until the request ends
    _visitor: weakref.ref[RequestVisitor] | None = None  # weak, so that there is no reference cycle
    _began: Tokens = EMPTY_TOKENS  # the session's tokens when the request first used it
    _moved: CookieContent | None = None  # the new id, after a login or logout
    _is_set: bool = False  # the application has set tokens, so the cookie changes even if they look older
    _reads_catalog: bool = False  # the handler has used the catalogue's visitor, which all browsers share
    _is_written: bool = False  # the answer has started, and its cookie holds the key
    _sent: Tokens = EMPTY_TOKENS  # the tokens in the browser's cookie once the answer has arrived
    _sender: Sender | None = None
    _reserved: CookieContent | None = None  # the visitor reserved for a browser that sent no visitor cookie
    _since: float = 0.0  # when the request began
    _number: int | None = None  # the number of this request's login or logout, counted in this process
    _ended: str = ""  # the id that another process has ended during this request

    def __attrs_post_init__(self) -> None:
        self._since = self.visits.order.enter(self)

    @property
    def sender(self) -> Sender:
        """The browser that sent the request. The headers are read once, at the first use."""
        if self._sender is None:
            self._sender = sender_of(self.visits, self.request)
        return self._sender

    @property
    def allowed(self) -> bool:
        """Whether the browser may be remembered (rules 5, CONSENT, and 7, OTHER SITES)."""
        return self.sender.allowed

    @property
    def _content(self) -> CookieContent:
        content = self._moved or self.sender.given or self._reserved
        if content is None:
            content = self._reserved = new_content()
        return content

    async def visitor(self) -> VisitorSession:
        """Returns the visitor of this request, always the same object. Makes no call to Wix.

        Raises:
            ConfigurationError: the answer has started, and a new visitor's cookie can no longer be sent (rule 3).
            StorageError: the store cannot be read.
        """
        if self._session is None:
            if self.started and self.allowed and not self._is_kept:
                raise ConfigurationError(_LATE)
            session = await self.visits.session(self._content, allowed=self.allowed)
            if self._session is None:
                self._session, self._began = session, session.get_tokens()
        visitor = None if self._visitor is None else self._visitor()
        if visitor is None:
            visitor = RequestVisitor.within(self, self._session)
            self._visitor = weakref.ref(visitor)
        return visitor

    def catalog(self) -> CatalogReader:
        """Returns the reader of the catalogue. All browsers share its visitor; this browser needs none of its own."""
        self._reads_catalog = True
        return self.visits.catalog

    def check_can_keep(self) -> None:
        """Raises if a new visitor would be needed and its cookie can no longer be sent (rule 3, IN TIME)."""
        if not self.started or not self.allowed or (self._is_kept and not self.visits.cookie.holds_tokens):
            return
        if _checks.is_empty(self._tokens()):
            raise ConfigurationError(_LATE)

    # Login and logout: rule 2, OURS

    async def log_in(self, visitor: RequestVisitor, request: TokenRequest) -> Tokens:
        """Exchanges a login for a member's tokens. The request continues as the member, under a new id.

        Raises: as ``Refresher.exchange`` and ``RequestVisitor.set_tokens``. The visitor is as before.
        """
        self._check_not_foreign()
        self._check_not_started()
        number = self.visits.order.number()  # a logout that comes during the exchange is later than this login
        tokens = await visitor._refresher.log_in(request, adopts=False)
        await self.adopt(visitor, tokens, is_another=True, number=number)
        return tokens

    async def log_out(self, visitor: RequestVisitor) -> None:
        """Forgets the member. The request continues without a visitor, under a new id."""
        await self.adopt(visitor, EMPTY_TOKENS, is_another=True)

    def owner(self) -> str | None:
        """Returns a text that is the same in the browser's next request, if that comes as the same visitor.

        None if the browser may not be remembered.
        """
        if not self.allowed:
            return None
        key = self.visits.cookie.key_of(self._tokens()) or self._content.key
        return hashlib.sha256(f"wixvisitor owner\0{key}".encode()).hexdigest()[:32]

    async def adopt(
        self, visitor: RequestVisitor, tokens: Tokens, *, is_another: bool = False, number: int | None = None
    ) -> None:
        """See ``RequestVisitor.set_tokens``; with ``is_another`` the id changes, whatever the tokens are."""
        self._check_not_foreign()
        before = visitor.get_tokens()
        if self.allowed:
            self.visits.kept.check(self.sender.reading, tokens)
        if not is_another and not _is_another(before, tokens):
            await VisitorSession.set_tokens(visitor, tokens)
            self._is_set = True
            return
        self._check_not_started()
        number, left = self.visits.order.number() if number is None else number, self._content
        content = await self._new_content(is_login=not _checks.is_empty(tokens))
        session = await self.visits.session(content, allowed=self.allowed)
        if not _checks.is_empty(tokens):
            await session.set_tokens(tokens)
            await self._end_if_outdated(content)
        self._move(visitor, content, session, number)
        if _checks.is_empty(tokens) or role_of(before) is TokenRole.MEMBER:
            await self._end(left, but=content)

    async def renew_into(self, visitor: RequestVisitor, refresh_token: RefreshToken) -> Tokens:
        """Renews the given refresh token; the request continues as the visitor or member that it belongs to."""
        self._check_not_foreign()
        self._check_not_started()
        if self.allowed:
            self.visits.kept.check_refresh(self.sender.reading, Tokens(EMPTY_TOKENS.access_token, refresh_token))
        number = self.visits.order.number()
        content = await self._new_content(is_login=True)
        session = await self.visits.session(content, allowed=self.allowed)
        tokens = await session.renew_token(refresh_token)
        await self._end_if_outdated(content)
        self._move(visitor, content, session, number)
        return tokens

    async def _new_content(self, *, is_login: bool) -> CookieContent:
        """Returns a new id. A login's id is noted first: the browser may repeat the login, or never get the answer."""
        left = self._content
        if not is_login or not self._is_listed:
            return new_content()
        content = CookieContent(successor(left.key, new_key()))
        await self.visits.forget(await self.visits.logins.add(left.key, content.key), allowed=True)
        return content

    async def _end(self, left: CookieContent, *, but: CookieContent) -> None:
        """Forgets an id, those that other answers may have given to this browser, and those of the same logins."""
        await self.visits.forget([left.key], allowed=self.allowed)
        if self._is_listed:
            await self.visits.forget(await self.visits.logins.end(left.key, but=but.key), allowed=True)

    async def _end_if_outdated(self, content: CookieContent) -> None:
        """Forgets a login that a logout in another process has ended while the login was being saved."""
        if self._is_listed and await self.visits.logins.is_outdated(content.key, is_new=True):
            await self.visits.forget([content.key], allowed=True)

    @property
    def _is_listed(self) -> bool:
        """Whether the store lists the ids of this browser's logins: only if other processes know the id from before."""
        return self.allowed and self.sender.given is not None and not self.visits.cookie.holds_tokens

    def _move(self, visitor: RequestVisitor, content: CookieContent, session: VisitorSession, number: int) -> None:
        self._session, self._moved, self._is_set, self._number = session, content, True, number
        visitor.become(session)

    def _check_not_foreign(self) -> None:
        if self.sender.is_failure:
            raise ConfigurationError(UNTRUSTED if self.visits.cookie.is_embedded else WITHHELD)

    def _check_not_started(self) -> None:
        if self.started and self.allowed:
            raise ConfigurationError(
                "The response has started, so the visitor's cookie can no longer be changed: set the tokens earlier. "
                "Nothing was changed."
            )

    # The answer

    async def settle(self) -> None:
        """Asks the store whether another process has ended the id that the answer will carry (rule 6, ORDER).

        Call it right before ``start``. It asks the store only if other processes know the id in the answer.

        Cancellation: leaves the visitor intact.
        """
        session, given, moved = self._session, self.sender.given, self._moved
        if session is None or given is None or self.sender.is_failure or self.visits.cookie.holds_tokens:
            return
        if given.is_due if moved is None else not _checks.is_empty(self._tokens()):
            content = self._content
            if await self.visits.has_ended(content, session, is_new=moved is not None):
                self._ended = content.key

    def _is_older(self, given: CookieContent | None) -> bool:
        """Whether a login or logout was answered first (rule 6, ORDER)."""
        if self._ended and self._ended == self._content.key:
            return True
        return given is not None and self.visits.order.is_older(given.key, self._number, self._since)

    def starts_unseen(self) -> bool:
        """Starts an answer that needs no header for a visitor and returns True; otherwise only returns False.

        Such a request did not use the visitor, and is not a page that gets an id. Its cookies are not read.
        """
        visits = self.visits
        if self._session is not None:
            return False
        if not self._reads_catalog and opens_page(self.request, is_embedded=visits.cookie.is_embedded):
            return False
        self.started = True
        visits.order.leave(self)
        return True

    def start(self, *, vary: str, cache_control: str) -> Additions:
        """Returns the changes to the answer's headers. Called once, before they are sent, unless it ``starts_unseen``.

        Args:
            vary: the answer's own ``Vary``.
            cache_control: the answer's own ``Cache-Control``.
        """
        self.started = True
        self.visits.order.leave(self)
        sender = self.sender
        cookies = self._cookies(sender)
        if cookies and is_shared(cache_control):
            level = logging.DEBUG if self._session is None else logging.ERROR
            logger.log(
                level,
                "wixvisitor: this answer may be stored by shared caches (Cache-Control: %s), so it gets no cookie; a "
                "new visitor, or a login, of this request is lost",
                cache_control,
            )
            cookies = []
        self._note()
        if cookies:
            self._is_written = True
            self._note_order()
        elif self._session is None:
            return NOTHING
        if sender.reading.doubled and sender.allowed and not sender.is_failure and not is_shared(cache_control):
            cookies = [*cookies, *self.visits.kept.remove_copies(sender.reading, self.request.path)]
        return additions(cookies, vary=vary, cache_control=cache_control)

    def _cookies(self, sender: Sender) -> list[str]:
        if not sender.allowed:
            return []
        if sender.is_failure or self._is_older(sender.given):
            logger.debug("wixvisitor: no cookie: %s", _FOREIGN if sender.is_failure else _OLDER)
            self._sent = self._tokens()  # the browser gets none of them, so finish() must not report them as lost
            return []
        if self.visits.cookie.holds_tokens:
            return self._token_cookies()
        given = sender.given if self._moved is None else None
        if given is None or (given.is_due and self._session is not None):
            return self._written(EMPTY_TOKENS)
        return []

    def _token_cookies(self) -> list[str]:
        given, now = self.sender.given, self._tokens()
        self._sent = EMPTY_TOKENS if given is None else given.tokens
        if given is not None and given.is_derived and self._moved is None:
            self._sent = now  # the cookies that this visitor was derived from stay, so there is nothing more to keep
            return []
        if _checks.is_empty(now):
            return self._emptied(given)
        if self._is_set or (self._has_later(now) and not self.visits.kept.keeps(self.sender.reading, now)):
            self._sent = now
        elif given is None or not given.is_due:
            return []
        return self._written(self._sent)

    def _emptied(self, given: CookieContent | None) -> list[str]:
        kept = self.visits.kept
        if self._is_set and self.visits.cookie.reservation is not None:
            return kept.forget(self.sender.reading)
        if not self._is_set and given is not None:
            return []
        return kept.reserve(self.sender.reading, CookieContent(self._content.key), anew=self._is_anew)

    def _has_later(self, now: Tokens) -> bool:
        """Whether these tokens are later than the cookie's: this request brought them, or they are newer.

        Comparing their expiry is not enough: servers' clocks differ, and a new token may live shorter than the old one.
        """
        return now != self._sent and (now != self._began or is_newer(now, than=self._sent))

    @property
    def _is_anew(self) -> bool:
        return self._moved is not None or self.sender.given is None

    def _written(self, tokens: Tokens) -> list[str]:
        return self.visits.kept.write(self.sender.reading, CookieContent(self._content.key, tokens), anew=self._is_anew)

    def _note_order(self) -> None:
        """Notes which id the browser uses from now on, since the cookie has been sent."""
        given, order = self.sender.given, self.visits.order
        if given is None:
            return
        if self._moved is not None and self._number is not None:
            order.sent(given.key, self.visits.cookie.key_of(self._sent) or self._moved.key, self._number)
        elif (key := self.visits.cookie.key_of(self._sent) or given.key) != given.key:
            order.same(given.key, key)

    def finish(self) -> None:
        """Checks at the end of the request whether the visitor was kept, and logs if it was not."""
        if not self.started:
            self.visits.order.leave(self)
        if self._session is None:
            return
        self._note()
        sender, tokens = self.sender, self._tokens()
        if sender.is_failure and not sender.allowed and not _checks.is_empty(tokens):
            logger.info("wixvisitor: a new visitor is not kept: %s without the visitor's cookie", _FOREIGN)
        if not sender.allowed or _checks.is_empty(tokens):
            return
        if not self.started and (sender.given is None or self._moved is not None):
            logger.info("wixvisitor: a new visitor's request ended without an answer, so no browser has its cookie")
        elif self.started and self.visits.cookie.holds_tokens and _is_another(self._sent, tokens):
            logger.error(
                "wixvisitor: the visitor's tokens changed after the response had started, so its cookie %s could not "
                "be updated; use IdCookie for streamed responses",
                self.visits.cookie.name,
            )

    @property
    def _is_kept(self) -> bool:
        """Whether the browser has the visitor's key, once the answer has started."""
        return self._is_written or (self.sender.given is not None and self._moved is None)

    def _note(self) -> None:
        session, visits = self._session, self.visits
        if session is not None and visits.has_news(session) and self.allowed:
            visits.note(self._content.key, session)

    def _tokens(self) -> Tokens:
        return EMPTY_TOKENS if self._session is None else self._session.get_tokens()

    def __repr__(self) -> str:
        looked = "not looked at" if self._session is None else "looked at"
        return f"<Visit with {self.visits.cookie!r}, {looked}, {'started' if self.started else 'not started'}>"


def _is_another(old: Tokens, new: Tokens) -> bool:
    return old.refresh_token.value != new.refresh_token.value
