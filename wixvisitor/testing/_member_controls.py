"""The methods of ``FakeWix`` for members: who they are, what was mailed to them, and what was ordered."""

from threading import RLock
from typing import Any
from urllib.parse import parse_qs, urlsplit

from wixvisitor.testing._hosted import Hosted, Order
from wixvisitor.testing._member import Mail, Member
from wixvisitor.testing._members import Members
from wixvisitor.testing._passwords import checked_password, hash_of
from wixvisitor.testing._redirect_uris import is_redirect_uri
from wixvisitor.testing._refusals import Refused


class MemberControls:
    """Adds members without a registration, and shows what a member would see.

    Concurrency: all methods may be called from any thread while the fake is serving.
    """

    _lock: RLock
    _members: Members
    _hosted: Hosted

    @property
    def members(self) -> dict[str, Member]:
        """Every member so far, by email."""
        with self._lock:
            return {member.email: member for member in self._members.by_id.values()}

    @property
    def outbox(self) -> list[Mail]:
        """The mails that the fake would have sent: verification codes and links for a new password. The last 1,000."""
        with self._lock:
            return list(self._members.outbox)

    @property
    def orders(self) -> list[Order]:
        """The orders that were placed on the checkout page. The last 1,000."""
        with self._lock:
            return list(self._hosted.orders)

    def add_member(self, email: str, password: str | None = None, *, profile: dict[str, Any] | None = None) -> Member:
        """Adds a member who needs neither a verification code nor approval.

        Args:
            email: The member's.
            password: None: the member cannot log in with one.
            profile: In REST's keys, like ``{"firstName": "Anna"}``.

        Raises:
            ValueError: The email or the password is malformed, or a member has this email.

        """
        with self._lock:
            try:
                hashed = "" if password is None else hash_of(checked_password(password))
                return self._members.add(email, profile=profile, password=hashed)
            except Refused as refused:
                raise ValueError(refused.body["message"]) from None

    def log_in(self, url: str, email: str) -> str:
        """Does what a browser does on the login page, for tests without one.

        Args:
            url: The address of the login page, to which the app sends the browser.
            email: The member who logs in.

        Returns:
            The address to which the page sends the browser back, with the code.

        Raises:
            ValueError: This is not the address of a login that can go on, or its redirect URI is not allowed.
            KeyError: There is no such member.

        """
        with self._lock:
            member = self._known(email)
            redirect = self._hosted.redirects.find(parse_qs(urlsplit(url).query).get("session", [""])[0])
            request = redirect.request if redirect is not None else None
            if redirect is None or request is None or redirect.is_used:
                raise ValueError("this is not the address of a login that can go on")
            if not is_redirect_uri(request.redirect_uri, self._hosted.settings.allowed_redirect_uris):
                raise ValueError(f"the redirect URI {request.redirect_uri!r} is not allowed")
            redirect.is_used = True
            return request.callback(self._hosted.code_for(redirect, request, member))

    def approve_member(self, email: str) -> None:
        """Lets the site's owner approve a member.

        Raises:
            KeyError: There is no such member.

        """
        with self._lock:
            self._known(email).is_approved = True

    def require_password_reset(self, email: str) -> None:
        """Makes each login of this member fail until a new password is set by the link of a mail.

        Raises:
            KeyError: There is no such member.

        """
        with self._lock:
            self._known(email).must_reset = True

    def _known(self, email: str) -> Member:
        member = self._members.find(email)
        if member is None:
            raise KeyError(email)
        return member
