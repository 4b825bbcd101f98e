"""The settings for members and hosted pages that a test may change while the fake is running."""

from typing import Literal

from attrs import define

CartAtLogin = Literal["visitor", "member"]


@define(kw_only=True, eq=False, slots=False)
class MemberSettings:
    """The settings for members. Each may be changed at any time. Wix documents none of the defaults."""

    allowed_redirect_uris: frozenset[str] | None = None
    """The addresses to which a login may lead, compared to the letter (RFC 9700 section 2.1).

    Other flows may return to their origins. None allows every ``https`` address, and ``http`` ones of this machine.
    """
    hosted_url: str | None = None
    """Where a browser reaches the hosted pages; None is the address under which the API was called."""
    verify_emails: bool = False
    """Whether a new member has to type in a code, which is in ``outbox``."""
    approve_members: bool = False
    """Whether the site's owner has to approve a new member, see ``approve_member``."""
    captcha_tokens: frozenset[str] | None = None
    """The solved captchas, one of which a login or registration has to bring; None asks for none."""
    api_keys: frozenset[str] | None = None
    """The API keys that exist; None accepts every key."""
    cart_at_login: CartAtLogin = "visitor"
    """Whose cart a member has after a login. What Wix does is not known.

    ``"visitor"``: that of the visitor who logs in, with the same ``aid``. ``"member"``: that of the member's first
    login, with its ``aid``; the visitor's cart stays with the visitor's tokens.
    """
    code_lifetime: float = 300
    """Seconds from the issue of a login's code to its end."""
    revoke_on_code_reuse: bool = False
    """Whether a code's second use revokes the tokens of its first, as RFC 6749 section 4.1.2 recommends."""
