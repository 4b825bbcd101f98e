"""What an app knows of its visitors: the pool, the cookie's form, and what is remembered between requests."""

from __future__ import annotations

import inspect
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from wixvisitor._checks import is_empty
from wixvisitor._pool import VisitorPool
from wixvisitor._renewal.records import Records
from wixvisitor._renewal.settings import plain_function
from wixvisitor._session import VisitorSession
from wixvisitor._tokens import Tokens
from wixvisitor._web.catalog_reader import CatalogReader
from wixvisitor._web.cross_site import checked_origins, is_cross_site, is_listed, is_unsafe
from wixvisitor._web.headers import is_frame
from wixvisitor._web.logins import Logins
from wixvisitor._web.order import Order
from wixvisitor._web.site_cookie import Reading, SiteCookie
from wixvisitor._web.ttl_cache import TTLCache, TTLStorage
from wixvisitor._wire.catalog import CATALOG_PATHS
from wixvisitor._wire.claims import read_claims
from wixvisitor._wire.redaction import drops_frames, redact
from wixvisitor.cookies import (
    IdCookie,
    SealedCookie,
    SharedCookie,
    VisitorCookie,
    generate_key,
)
from wixvisitor.cookies._content import CookieContent
from wixvisitor.errors import ConfigurationError, StorageError
from wixvisitor.storage import MemoryStorage, TokenStorage, VersionConflict

logger = logging.getLogger("wixvisitor")

COOKIES: Final = (IdCookie, SealedCookie, SharedCookie)


def is_newer(tokens: Tokens, than: Tokens) -> bool:
    """Whether these tokens of a visitor came later: by Wix's clock if they tell, else because they end later."""
    if tokens == than:
        return False
    ours, theirs = read_claims(tokens.access_token.value), read_claims(than.access_token.value)
    if ours and theirs and ours.issued_at != theirs.issued_at:
        return ours.issued_at > theirs.issued_at
    return tokens.access_token.expires_at > than.access_token.expires_at


class Visits:
    """The checked arguments of a web integration, and what it remembers.

    Args:
        pool: makes the visitors.
        cookie: where they live; None: an ``IdCookie`` of a key that is lost with the process.
        consent: called with what the framework calls a request; without it every visitor is kept.
        native: makes that of ``Request.native``; None: it is that.
        close: whether ``aclose`` closes the pool and its storage.
        catalog_paths: what the catalogue's visitor may read.
        trusted_origins: whose pages may send requests that change something, where the cookie is embedded.
        monotonic: seconds, from any point on, for what is remembered.

    Attributes:
        kept: reads and writes the site's cookies.
        catalog: reads the catalogue as the visitor whom all browsers share.
        order: which of a browser's ids is newer, in this process.
        logins: which ids came from one id by logins, for all processes.

    Raises:
        ConfigurationError: an argument is wrong.

    Concurrency: for one event loop at a time, like the app that it belongs to.
    """

    def __init__(
        self,
        pool: VisitorPool,
        *,
        cookie: VisitorCookie | None,
        consent: Callable[[Any], bool] | None,
        native: Callable[[Any], Any] | None = None,
        close: bool,
        catalog_paths: Sequence[str] = CATALOG_PATHS,
        trusted_origins: Sequence[str] = (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if not isinstance(pool, VisitorPool):
            raise ConfigurationError('pool: expected a VisitorPool("<CLIENT-ID>", …)')
        settings = pool._settings
        if cookie is None:
            cookie = _fleeting_cookie(settings.storage)
        if not isinstance(cookie, COOKIES):
            raise ConfigurationError("cookie: expected an IdCookie, SealedCookie or SharedCookie of wixvisitor.cookies")
        if cookie.holds_tokens and type(settings.storage) is not MemoryStorage:
            raise ConfigurationError(
                f"The tokens live in the cookie ({cookie!r}), so the pool's storage would never be read: make the pool "
                f"without storage=, or use IdCookie."
            )
        self._trusted = checked_origins(trusted_origins)
        if self._trusted and not cookie.is_embedded:
            raise ConfigurationError('trusted_origins: they need a cookie with same_site="none"; this one is Lax')
        self.cookie = cookie
        self.client_id = settings.client_id
        self.clock = settings.clock
        self.kept = SiteCookie(cookie, settings.client_id, settings.clock)
        self._own, self._close, self._consent = pool, close, plain_function(consent, "consent")
        self._native = native
        self.catalog = CatalogReader(pool, catalog_paths)
        self._recent = TTLStorage(clock=monotonic)
        self._fleeting = pool._kept_in(self._recent)
        self._consistent = TTLCache[str]()
        self.order = Order()
        self.logins = Logins(settings)

    def allows(self, request: Request) -> bool:
        """Whether this browser may be remembered.

        Raises:
            ConfigurationError: ``consent`` returned what has to be awaited, which is neither yes nor no.
        """
        answer = self._consent is None or request.asked(self._consent, self._native)
        if inspect.isawaitable(answer):
            getattr(answer, "close", lambda: None)()  # a coroutine that nobody will await
            raise ConfigurationError("consent: expected True or False, not what has to be awaited")
        return bool(answer)

    def is_suspect(self, request: Request) -> bool:
        """Whether a page of another site, none that the application trusts, sent this and may want a change."""
        embedded = self.cookie.is_embedded
        is_unsafe_here = is_unsafe(request.method) or (embedded and request.is_websocket)  # RFC 6455, section 10.2
        if not is_unsafe_here or not is_cross_site(request.headers):
            return False
        return not (embedded and is_listed(request.headers, self._trusted))

    def is_document(self, request: Request) -> bool:
        """Whether this is a page whose scripts' calls will follow, be it inside another site's page."""
        return request.is_document or (self.cookie.is_embedded and is_frame(request.method, request.headers))

    def pool(self, *, allowed: bool) -> VisitorPool:
        """Returns whose sessions they are: the storage's, or those of this process and these minutes."""
        return self._own if allowed and not self.cookie.holds_tokens else self._fleeting

    @drops_frames
    def read(self, request: Request) -> Reading:
        """Returns what the browser's cookies say."""
        reading = self.kept.read(request.headers.get("cookie", ""))
        if reading.card is not None and reading.card.is_derived and self.cookie.holds_tokens:
            self._recent.keep(f"{self.client_id}:{reading.card.key}")  # no cookie has its tokens
        return reading

    async def session(self, card: CookieContent, *, allowed: bool) -> VisitorSession:
        """Returns the visitor of a card: the store's, or the newer of the cookie's and this process's.

        Raises:
            StorageError: the store cannot be read.
        """
        pool = self.pool(allowed=allowed)
        if card.tokens.access_token.value or card.tokens.refresh_token.value:
            await self._offer(pool, card)
        session = await pool.session(card.key)
        state = session._refresher.state
        state.consistent = state.consistent or self._consistent.get(card.key) or ""
        return session

    async def has_ended(self, card: CookieContent, session: VisitorSession, *, is_new: bool) -> bool:
        """Whether another process has ended this id by a login or a logout. Where the store cannot tell, an old id has.

        Args:
            card: whose cookie an answer is about to carry.
            session: the card's visitor.
            is_new: whether the request itself has made the id.
        """
        try:
            if await self.logins.is_over(card.key, is_new=is_new):
                return True
            if is_new or is_empty(session.get_tokens()):
                return False
            stored = await Records(self._own._settings, card.key).load()
        except StorageError as error:
            logger.info("wixvisitor: no cookie, for the store does not say whether it is over: %s", error)
            return not is_new
        return stored is None or is_empty(stored.tokens)

    async def forget(self, keys: Iterable[str], *, allowed: bool) -> None:
        """Forgets these ids, each of them also if another one cannot be forgotten.

        Raises:
            StorageError: one could not be.
        """
        failure: StorageError | None = None
        for key in keys:
            try:
                await self.pool(allowed=allowed).forget(key)
            except StorageError as error:
                failure = error
        if failure is not None:
            raise failure

    async def _offer(self, pool: VisitorPool, card: CookieContent) -> None:
        """Puts the cookie's tokens where the session looks, unless newer ones are known."""
        records = Records(pool._settings, card.key)
        stored, live = await records.load(), pool._sessions.get(card.key)
        known = [stored.tokens] if stored else []
        known += [live.get_tokens()] if live else []
        if any(not is_newer(card.tokens, than=tokens) for tokens in known):
            return
        try:
            await records.save(card.tokens, stored.version if stored else None, records.new_identity())
        except VersionConflict:
            logger.debug("wixvisitor: another request of this browser was faster")

    def note(self, key: str, session: VisitorSession) -> None:
        """Remembers ``X-Wix-Consistent`` for the visitor's next request, which may well be another session object."""
        key, value = self.cookie.key_of(session.get_tokens()) or key, session._refresher.state.consistent
        if value:
            self._consistent.put(key, value)
        else:  # whoever it was said to may have been replaced
            self._consistent.drop(key)

    async def aclose(self) -> None:
        """Closes the pool and its storage, if that was agreed. What fails is logged: the app is going down."""
        if not self._close:
            return
        try:
            await self._own.aclose()
            aclose = getattr(self._own._settings.storage, "aclose", None)
            if aclose is not None:
                await aclose()
        except Exception as error:
            logger.warning("wixvisitor: could not be closed: %s: %s", type(error).__name__, redact(str(error)))


def _fleeting_cookie(storage: TokenStorage) -> IdCookie:
    """Returns a cookie for visitors who are lost with the process anyway."""
    if type(storage) is not MemoryStorage:
        raise ConfigurationError(
            "cookie: the storage outlives this process, so the cookie's key has to as well: "
            "cookie=IdCookie([key]), with a key that wixvisitor.cookies.generate_key() made once"
        )
    return IdCookie([generate_key()])


def new_key() -> str:
    """Returns an id that nobody can guess: 256 random bits."""
    return secrets.token_urlsafe(32)


def new_card() -> CookieContent:
    """Returns a card for somebody who is not known yet."""
    return CookieContent(new_key())


@attrs.frozen(eq=False)
class Request:
    """What is asked of a request, whatever the framework. Its repr shows no header.

    Attributes:
        headers: with lower-case names; several ``Cookie`` headers joined with ``"; "``.
        is_document: whether a browser navigates here.
        native: the framework's own object, for ``consent``.
        path: encoded, as the browser sent it.
        method: the HTTP method.
        is_websocket: whether it opens a websocket.
    """

    headers: Mapping[str, str] = attrs.field(repr=False)
    is_document: bool
    native: Any = attrs.field(repr=False)
    path: str = attrs.field(default="/", repr=False)
    method: str = "GET"
    is_websocket: bool = False

    def asked(self, consent: Callable[[Any], Any], native: Callable[[Any], Any] | None) -> Any:
        """Returns what ``consent`` says to the framework's own request."""
        return consent(self.native if native is None else native(self.native))
