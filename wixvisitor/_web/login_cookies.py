"""The cookies of logins that have begun: one for each, sealed, for 30 minutes, and at most three in a browser.

A copy of such a cookie is of no use: Wix takes a code once, and another visitor than the one who began is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

from wixvisitor._web.headers import cookies_of
from wixvisitor._web.login_rules import LARGEST, LIFE, MOST, Pending, cookie_part
from wixvisitor._wire.redaction import drops_frames
from wixvisitor.cookies import VisitorCookie
from wixvisitor.cookies._content import LARGEST as LARGEST_COOKIE
from wixvisitor.cookies._content import site_name, size_of
from wixvisitor.errors import ConfigurationError, MemberLoginError
from wixvisitor.storage._sealing import NotOpened, Sealer

PURPOSE: Final = "wixvisitor cookie: login"
_MAX_REMOVED: Final = 8
_VERIFICATION: Final = "verification"  # the end of a name; a login's has twelve hexadecimal digits there


class LoginCookies:
    """Reads and writes the cookies of one site's logins.

    Args:
        cookie: the visitor's, which says whether cookies need https, and whose keys are used.
        keys: other keys; None: the visitor's cookie's.
        client_id: the site's.
        redirect_uri: the callback's address; a login for another one does not open.

    Raises:
        ConfigurationError: there are no keys.
    """

    def __init__(
        self, cookie: VisitorCookie, keys: Sequence[str | bytes] | None, client_id: str, redirect_uri: str
    ) -> None:
        sealer = cookie.sealer_for(PURPOSE) if keys is None else Sealer(keys, PURPOSE)
        if sealer is None:
            raise ConfigurationError(
                "login_router: a SharedCookie has no keys, so give some: keys=[KEY], with a KEY that "
                "wixvisitor.cookies.generate_key() made once"
            )
        self._sealer = sealer
        self._context = (client_id, redirect_uri)
        name = "__Host-wixvisitor-login" if cookie.is_secure else "wixvisitor-login"
        self._prefix = site_name(name, f"{client_id} {redirect_uri}")  # another callback's logins are left alone
        self._attributes = f"Path=/; {'Secure; ' if cookie.is_secure else ''}HttpOnly; SameSite=Lax"

    # Logins

    @drops_frames
    def begin(self, header: str, pending: Pending, now: float) -> list[str]:
        """Returns the ``Set-Cookie`` headers of a login that begins.

        Args:
            header: the browser's ``Cookie`` header. If it has three logins already, the oldest one goes.
            pending: what to keep.
            now: seconds since the epoch.
        """
        name = self._name(cookie_part(pending.state))
        value = self._sealed(name, pending)
        assert size_of(name, value) <= LARGEST  # ``MAX_NEXT`` sees to that
        live, dead = self._sorted(header, now)
        gone = [*live[: max(0, len(live) - MOST + 1)], *dead]
        return [self._header(name, value), *(self._clear(other) for other in gone[:_MAX_REMOVED])]

    @drops_frames
    def find(self, header: str, state: str) -> tuple[Pending | None, list[str]]:
        """Returns the login with this state, None if this browser has none; and the headers that remove its cookie."""
        name = self._name(cookie_part(state))
        values = cookies_of(header, name).get(name, [])
        return next(self._opened(name, values), None), [self._clear(name)] if values else []

    # A registration that waits for the code in an email

    @drops_frames
    def keep_verification(self, pending: Pending) -> list[str]:
        """Returns the ``Set-Cookie`` header that keeps it.

        Raises:
            MemberLoginError: Wix's state token is too long for a cookie.
        """
        name = self._name(_VERIFICATION)
        value = self._sealed(name, pending)
        if size_of(name, value) > LARGEST_COOKIE:
            raise MemberLoginError("Wix's state token is too long for a cookie")
        return [self._header(name, value)]

    @drops_frames
    def find_verification(self, header: str) -> tuple[Pending | None, list[str]]:
        """Returns what ``keep_verification`` kept, and the headers that remove its cookie."""
        name = self._name(_VERIFICATION)
        values = cookies_of(header, name).get(name, [])
        return next(self._opened(name, values), None), [self._clear(name)] if values else []

    def _sorted(self, header: str, now: float) -> tuple[list[str], list[str]]:
        """Returns the names of the cookies of live logins, the oldest first, and those of all others."""
        live: list[tuple[int, str]] = []
        dead = []
        for name, values in cookies_of(header, f"{self._prefix}-").items():
            if name == self._name(_VERIFICATION):
                continue
            pending = next(self._opened(name, values), None)
            if pending is None or pending.is_over(now):
                dead.append(name)
            else:
                live.append((pending.since, name))
        return [name for _, name in sorted(live)], dead

    def _opened(self, name: str, values: Sequence[str]) -> Iterator[Pending]:
        for value in values:
            with suppress(NotOpened, ValueError):
                yield Pending.from_json(self._sealer.open(value[:LARGEST_COOKIE], (*self._context, name)))

    def _sealed(self, name: str, pending: Pending) -> str:
        return self._sealer.seal(pending.to_json(), (*self._context, name))

    def _name(self, end: str) -> str:
        return f"{self._prefix}-{end}"

    def _header(self, name: str, value: str) -> str:
        return f"{name}={value}; {self._attributes}; Max-Age={LIFE}"

    def _clear(self, name: str) -> str:
        return f"{name}=; {self._attributes}; Max-Age=0"

    def __repr__(self) -> str:
        return f"<LoginCookies {self._prefix!r}>"
