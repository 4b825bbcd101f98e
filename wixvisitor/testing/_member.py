"""A member of the fake site, a mail to one, and what a login says. Pure."""

from typing import Any, Literal

from attrs import define, field, frozen

from wixvisitor.testing._visitors import Visitor

Json = dict[str, Any]
State = Literal["SUCCESS", "REQUIRE_EMAIL_VERIFICATION", "REQUIRE_OWNER_APPROVAL"]


@define(kw_only=True, eq=False)
class Member:
    """A member of the site. The repr shows no password.

    Attributes:
        id: The member's ID.
        email: The member's email, which no other member has.
        profile: In REST's keys, as they came with the registration.
        password: A salted hash, or ``""`` for a member who was signed on and has no password.
        is_verified: Whether the email is known to be the member's.
        is_approved: Whether the site's owner has approved the member.
        must_reset: Whether a login asks for a new password.
        created_at: Seconds since the epoch by the fake's clock.
        home: The visitor of the first login.

    Concurrency: read it from any thread; the fake changes it.
    Cancellation: nothing in it waits.

    """

    id: str
    email: str
    profile: Json = field(factory=dict)
    password: str = field(default="", repr=False)
    is_verified: bool = True
    is_approved: bool = True
    must_reset: bool = False
    created_at: float = 0.0
    home: Visitor | None = field(default=None, repr=False)


@frozen(kw_only=True)
class Mail:
    """A mail that the fake would have sent. The repr shows neither the code nor the link.

    Attributes:
        to: The member's email.
        subject: What the mail is about.
        code: The verification code, or ``""``.
        url: The link to the page for a new password, or ``""``.
        sent_at: Seconds since the epoch by the fake's clock.

    """

    to: str
    subject: str
    code: str = field(default="", repr=False)
    url: str = field(default="", repr=False)
    sent_at: float


@frozen(kw_only=True)
class Outcome:
    """What a login, a registration or a verification leads to."""

    state: State
    member: Member
    session_token: str = field(default="", repr=False)
    state_token: str = field(default="", repr=False)


@frozen
class Reset:
    """A request for a new password, and where the browser goes after it."""

    member: Member
    url: str
