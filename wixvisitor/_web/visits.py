"""What an app shares between requests: the pool, the kind of cookie, and what is remembered of recent visitors."""

from __future__ import annotations

import inspect
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from wixvisitor._checks import is_empty
from wixvisitor._pool import VisitorPool
from wixvisitor._renewal.loading import Known, read
from wixvisitor._renewal.records import Records
from wixvisitor._renewal.settings import plain_function
from wixvisitor._session import VisitorSession
from wixvisitor._tasks.log import logger
from wixvisitor._tokens import Tokens
from wixvisitor._web.catalog_reader import CatalogReader
from wixvisitor._web.cross_site import checked_origins, is_cross_site, is_listed, is_unsafe
from wixvisitor._web.logins import Logins
from wixvisitor._web.order import Order
from wixvisitor._web.request import Request, asked
from wixvisitor._web.site_cookie import Reading, SiteCookie
from wixvisitor._web.ttl_cache import MAX_VISITORS, TTLCache, TTLStorage
from wixvisitor._wire.catalog import CATALOG_PATHS
from wixvisitor._wire.claims import read_claims
from wixvisitor._wire.redaction import redact
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

COOKIES: Final = (IdCookie, SealedCookie, SharedCookie)


def is_newer(tokens: Tokens, than: Tokens) -> bool:
    """Whether these tokens of a visitor are newer: issued later by Wix's clock, or if that is unknown, ending later."""
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
        cookie: where the visitors live; None: an ``IdCookie`` whose key is lost with the process.
        consent: called with the framework's own request object; None: every visitor is kept.
        native: makes that object from ``Request.native``; None: ``Request.native`` is that object.
        close: whether ``aclose`` closes the pool and its storage.
        catalog_paths: what the catalogue's visitor may read.
        trusted_origins: for an embedded cookie: the origins whose pages may send requests that change something.
        monotonic: returns seconds since any fixed point, for what is remembered.

    Attributes:
        kept: reads and writes the site's cookies.
        catalog: reads the catalogue with the visitor that all browsers share.
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
            raise ConfigurationError("pool: expected a VisitorPool")
        settings = pool._settings
        if cookie is None:
            cookie = _temporary_cookie(settings.storage)
        if not isinstance(cookie, COOKIES):
            raise ConfigurationError("cookie: expected an IdCookie, SealedCookie or SharedCookie of wixvisitor.cookies")
        if cookie.holds_tokens and type(settings.storage) is not MemoryStorage:
            raise ConfigurationError(
                f"cookie: {cookie!r} holds the tokens itself, so the pool's storage would never be read: make the pool "
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
        self._temporary = pool._kept_in(self._recent)
        self._consistent = TTLCache[str]()
        self._has_noted = False  # whether any value was ever put into _consistent
        self._known = TTLCache[Known](most=MAX_VISITORS, clock=monotonic)
        self.order = Order()
        self.logins = Logins(settings)

    def allows(self, request: Request) -> bool:
        """Whether this browser may be remembered.

        Raises:
            ConfigurationError: ``consent`` returned an awaitable instead of True or False.
        """
        if self._consent is None:
            return True
        answer = asked(request, self._consent, self._native)
        if inspect.isawaitable(answer):
            getattr(answer, "close", lambda: None)()  # a coroutine that is never awaited would warn
            raise ConfigurationError("consent: expected True or False, not an awaitable")
        return bool(answer)

    def is_suspect(self, request: Request) -> bool:
        """Whether this request may change something and comes from another site's page that is not trusted."""
        embedded = self.cookie.is_embedded
        is_unsafe_here = is_unsafe(request.method) or (embedded and request.is_websocket)  # RFC 6455, section 10.2
        if not is_unsafe_here or not is_cross_site(request):
            return False
        return not (embedded and is_listed(request, self._trusted))

    def pool(self, *, allowed: bool) -> VisitorPool:
        """Returns the pool of this browser's session: over the storage, or over the memory of the last minutes."""
        return self._own if allowed and not self.cookie.holds_tokens else self._temporary

    def read(self, request: Request) -> Reading:
        """Returns what the browser's cookies say."""
        reading = self.kept.read(request.get("cookie") or "")
        if reading.content is not None and reading.content.is_derived and self.cookie.holds_tokens:
            self._recent.keep(f"{self.client_id}:{reading.content.key}")  # its tokens are in no cookie
        return reading

    async def session(self, content: CookieContent, *, allowed: bool) -> VisitorSession:
        """Returns the visitor of a cookie, with the store's tokens, or the newer of the cookie's and this process's.

        Raises:
            StorageError: the store cannot be read.
        """
        pool = self.pool(allowed=allowed)
        if content.tokens.access_token.value or content.tokens.refresh_token.value:
            await self._offer(pool, content)
        session = pool._sessions.get(content.key) or pool._new(content.key)
        await session._refresher.load(self._known)
        if self._has_noted:
            state = session._refresher.state
            state.consistent = state.consistent or self._consistent.get(content.key) or ""
        return session

    async def has_ended(self, content: CookieContent, session: VisitorSession, *, is_new: bool) -> bool:
        """Whether another process has ended this id by a login or logout. If the store fails, an old id has ended.

        Args:
            content: the visitor whose cookie the answer will carry.
            session: its visitor.
            is_new: whether this request made the id.
        """
        try:
            if await self.logins.is_outdated(content.key, is_new=is_new):
                return True
            if is_new or is_empty(session.get_tokens()):
                return False
            stored = await Records(self._own._settings, content.key).load()
        except StorageError as error:
            logger.info("wixvisitor: no cookie, since the store cannot tell if a logout ended its id: %s", error)
            return not is_new
        return stored is None or is_empty(stored.tokens)

    async def forget(self, keys: Iterable[str], *, allowed: bool) -> None:
        """Forgets these ids. If one cannot be forgotten, the others are forgotten all the same.

        Raises:
            StorageError: one of them could not be forgotten.
        """
        failure: StorageError | None = None
        for key in keys:
            self._known.drop(key)
            try:
                await self.pool(allowed=allowed).forget(key)
            except StorageError as error:
                failure = error
        if failure is not None:
            raise failure

    async def _offer(self, pool: VisitorPool, content: CookieContent) -> None:
        """Saves the cookie's tokens where the session loads them, unless newer ones are known."""
        records = Records(pool._settings, content.key)
        found, live = await read(records, self._known), pool._sessions.get(content.key)
        others = [] if found.record is None else [found.snapshot.tokens]
        others += [live.get_tokens()] if live else []
        if any(not is_newer(content.tokens, than=tokens) for tokens in others):
            return
        records.note(found.record)
        try:
            await records.save(content.tokens, found.snapshot.version, records.new_identity())
        except VersionConflict:
            logger.debug("wixvisitor: another request of this browser has saved its tokens first")

    def is_transport_error(self, error: BaseException) -> bool:
        """Whether the HTTP client raised this because Wix could not be reached."""
        return isinstance(error, self._own._connections.current().family.TransportError)

    def has_news(self, session: VisitorSession) -> bool:
        """Whether ``note`` may have work to do: this session, or any before it, has got an ``X-Wix-Consistent``."""
        return self._has_noted or bool(session._refresher.state.consistent)

    def note(self, key: str, session: VisitorSession) -> None:
        """Remembers ``X-Wix-Consistent`` for the visitor's next request, which may have another session object."""
        key, value = self.cookie.key_of(session.get_tokens()) or key, session._refresher.state.consistent
        if value:
            self._has_noted = True
            self._consistent.put(key, value)
        else:  # the visitor of the old value may have been replaced
            self._consistent.drop(key)

    def open(self) -> None:
        """Opens the pool again if ``aclose`` has closed it: an app may start several times, for instance in tests."""
        if self._close:
            self._own._connections.open()

    async def aclose(self) -> None:
        """Closes the pool and its storage if ``close`` was True. A failure is only logged, since the app is ending."""
        if not self._close:
            return
        try:
            await self._own.aclose()
            aclose = getattr(self._own._settings.storage, "aclose", None)
            if aclose is not None:
                await aclose()
        except Exception as error:
            text = redact(str(error))
            logger.warning("wixvisitor: the pool or storage could not be closed: %s: %s", type(error).__name__, text)


def _temporary_cookie(storage: TokenStorage) -> IdCookie:
    """Returns a cookie for visitors that are lost with the process, like its key."""
    if type(storage) is not MemoryStorage:
        raise ConfigurationError(
            "cookie: the storage outlives this process, so the cookie's key must outlive it as well: "
            "cookie=IdCookie([key]), with a key that wixvisitor.cookies.generate_key() made once"
        )
    return IdCookie([generate_key()])


def new_key() -> str:
    """Returns an id that cannot be guessed: 256 random bits."""
    return secrets.token_urlsafe(32)


def new_content() -> CookieContent:
    """Returns what the cookie of a new visitor says."""
    return CookieContent(new_key())
