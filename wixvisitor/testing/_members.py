"""The members of the fake site: registrations, logins and mail. Pure, but for random numbers.

The codes of the errors are those of ``@wix/sdk`` 1.21.16 (``auth/oauth2/constants.js``), with the statuses that Wix's
own helpers expect: 401 for a wrong password, 409 for an email that exists, 404 for one that does not. Wix documents no
status for the others, no texts, no lifetime but the session token's 5 minutes, and not what the code for an email looks
like; those are the fake's own choice.
"""

import json
import re
import secrets
from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import define, field

from wixvisitor.testing._member import Mail, Member, Outcome, Reset
from wixvisitor.testing._member_settings import MemberSettings
from wixvisitor.testing._passwords import checked_password, hash_of, matches
from wixvisitor.testing._refusals import Refused, application_error, validation_error
from wixvisitor.testing._tickets import Tickets
from wixvisitor.testing._visitors import new_id

Json = dict[str, Any]

SESSION_TOKEN_LIFETIME = 300.0
"""Seconds: five minutes, as in Wix's helper for members."""
_VERIFICATION_LIFETIME = 900.0  # seconds
_RESET_LIFETIME = 3_600.0  # seconds
_MOST_TRIES = 5  # of one verification code
_KEPT_MAIL = 1_000
_EMAIL = re.compile(r"[^\s@<>\"\ud800-\udfff]{1,64}@[^\s@<>\"\ud800-\udfff]{1,255}")


@define(eq=False)
class _Verification:
    member: Member
    code: str = field(repr=False)
    tries: int = 0


@define(kw_only=True, eq=False)
class Members:
    """The members, by ID. The caller must hold the fake's lock."""

    settings: MemberSettings
    server_time: Callable[[], float]
    by_id: dict[str, Member] = field(factory=dict)
    outbox: deque[Mail] = field(factory=lambda: deque(maxlen=_KEPT_MAIL))
    session_tokens: Tickets[Member] = field(init=False, repr=False)
    _verifications: Tickets[_Verification] = field(init=False, repr=False)
    _resets: Tickets[Reset] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.session_tokens = Tickets(lifetime=lambda: SESSION_TOKEN_LIFETIME, now=self.server_time)
        self._verifications = Tickets(lifetime=lambda: _VERIFICATION_LIFETIME, now=self.server_time)
        self._resets = Tickets(lifetime=lambda: _RESET_LIFETIME, now=self.server_time)

    def find(self, email: str) -> Member | None:
        """The member with this email; upper and lower case are the same."""
        wanted = email.casefold()
        return next((member for member in self.by_id.values() if member.email.casefold() == wanted), None)

    def add(self, email: object, *, profile: object = None, **given: Any) -> Member:
        """A new member.

        Raises:
            Refused: The email or the profile is malformed: 400. A member has the email: 409.

        """
        if not isinstance(email, str) or _EMAIL.fullmatch(email) is None:
            raise _wrong_email()
        if not isinstance(profile, dict | None) or not _is_text(profile):
            raise validation_error("profile", "must be an object, and its texts Unicode")
        if self.find(email) is not None:
            raise application_error(409, "-19995", "A member with this email exists already")
        given = {"id": new_id(), "created_at": self.server_time(), **given}
        member = Member(email=email, profile=profile or {}, **given)
        self.by_id[member.id] = member
        return member

    def register(self, email: object, password: object, profile: object) -> Outcome:
        """A new member, and whether the login goes on.

        Raises:
            Refused: As for ``add``, or the password is missing: 400.

        """
        member = self.add(
            email,
            profile=profile,
            password=hash_of(checked_password(password)),
            is_verified=not self.settings.verify_emails,
            is_approved=not self.settings.approve_members,
        )
        return self._next(member)

    def login(self, email: object, password: object) -> Outcome:
        """Whether the password is the member's, and whether the login goes on.

        Raises:
            Refused: There is no such member: 404, ``-19999``. A new password is needed: 400, ``-19973``. The password
                is wrong: 401, ``-19976``.

        """
        member = self.known(email)
        if member.must_reset:
            raise application_error(400, "-19973", "The member has to set a new password")
        if not matches(checked_password(password), member.password):
            raise application_error(401, "-19976", "The email and the password do not match")
        return self._next(member)

    def verify(self, code: object, state_token: object) -> Outcome:
        """Whether this is the code of the mail. After five wrong ones it is worth nothing.

        Raises:
            Refused: It is not, or is too old: 400. The code ``VERIFICATION_FAILED`` is from the typings of
                ``@wix/auto_sdk_identity_verification``.

        """
        asked = self._verifications.find(state_token)
        if asked is None:
            raise _verification_failed("The verification is unknown or too old")
        asked.tries += 1
        if asked.tries > _MOST_TRIES or not isinstance(code, str) or code.strip() != asked.code:
            raise _verification_failed("The verification code is wrong")
        self._verifications.take(state_token)
        asked.member.is_verified = True
        return self._next(asked.member)

    def signed_on(self, email: object, profile: object) -> tuple[Member, str]:
        """The member with this email, who is made if there is none, and a session token.

        Raises:
            Refused: The email or the profile is malformed: 400.

        """
        member = self.find(email) if isinstance(email, str) else None
        if member is None:
            member = self.add(email, profile=profile)
        return member, self.session_tokens.issue(member)

    def known(self, email: object) -> Member:
        """The member with this email.

        Raises:
            Refused: There is none: 404, ``-19999``.

        """
        if not isinstance(email, str) or _EMAIL.fullmatch(email) is None:
            raise _wrong_email()
        member = self.find(email)
        if member is None:
            raise application_error(404, "-19999", "No member has this email")
        return member

    def ask_reset(self, email: object, url: str, page: Callable[[str], str]) -> None:
        """Sends the mail with the link to set a new password.

        Args:
            email: The member's.
            url: Where the browser goes after that.
            page: Returns the address of the page for a new password, given its secret.

        Raises:
            Refused: No member has this email: 404.

        """
        member = self.known(email)
        secret = self._resets.issue(Reset(member, url))
        self._send(member, "Set a new password", url=page(secret))

    def find_reset(self, secret: object) -> Reset | None:
        """The request for a new password with this secret, which works once and for an hour."""
        return self._resets.find(secret)

    def reset(self, secret: object, password: object) -> Reset | None:
        """Sets a new password. None if the secret is unknown, used or too old.

        Raises:
            Refused: The password is missing: 400.

        """
        hashed = hash_of(checked_password(password))
        asked = self._resets.take(secret)
        if asked is not None:
            asked.member.password = hashed
            asked.member.must_reset = False
            asked.member.is_verified = True  # the link came by mail
        return asked

    def _next(self, member: Member) -> Outcome:
        if not member.is_verified:
            asked = _Verification(member, f"{secrets.randbelow(10**6):06}")
            self._send(member, "Your verification code", code=asked.code)
            token = self._verifications.issue(asked)
            return Outcome(state="REQUIRE_EMAIL_VERIFICATION", member=member, state_token=token)
        if not member.is_approved:
            return Outcome(state="REQUIRE_OWNER_APPROVAL", member=member)
        return Outcome(state="SUCCESS", member=member, session_token=self.session_tokens.issue(member))

    def _send(self, member: Member, subject: str, **content: str) -> None:
        self.outbox.append(Mail(to=member.email, subject=subject, sent_at=self.server_time(), **content))


def _is_text(profile: Json | None) -> bool:
    """Whether the texts can be sent: JSON can hold half surrogate pairs, which UTF-8 cannot."""
    try:
        json.dumps(profile, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        return False
    return True


def _wrong_email() -> Refused:
    """A 400 whose ``data.type`` tells the SDK that the email is malformed."""
    refused = validation_error("loginId.email", "must be a valid email", rule="FORMAT")
    refused.body["details"]["validationError"]["fieldViolations"][0]["data"] = {"type": "EMAIL"}
    return refused


def _verification_failed(description: str) -> Refused:
    return application_error(400, "VERIFICATION_FAILED", description)
