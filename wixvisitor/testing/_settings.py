"""The settings that a test may change while the fake is running."""

from typing import Any, Literal

from attrs import define, field, frozen

from wixvisitor.testing._member_settings import MemberSettings

RefusalShape = Literal["oauth", "wix", "legacy", "unknown"]


@frozen
class RefusalStyle:
    """The shape and the status of the answer that refuses a refresh token.

    Wix's real answer is not public. So a client must understand each of the three shapes that Wix uses elsewhere:
    RFC 6749 section 5.2, Wix's ``message`` and ``details``, and the older ``errorCode``. The shape ``"unknown"`` does
    not name the token, so that a client cannot be certain of a refusal.
    """

    shape: RefusalShape
    status: int


@define(kw_only=True, eq=False, slots=False)
class Settings(MemberSettings):
    """The settings of a ``FakeWix``. Each may be changed at any time."""

    client_ids: frozenset[str] | None = None
    """The client IDs that exist; None accepts every GUID."""
    access_token_lifetime: float = 14_400
    """Seconds from the issue of an access token to its expiry: four hours, as Wix documents."""
    refresh_token_lifetime: float = 31_536_000
    """Seconds from the issue of a refresh token to its expiry: 365 days, as for the token in Wix's documentation."""
    rotate_refresh_tokens: bool = False
    """Whether the answer to a renewal has a new refresh token. The old one still works."""
    one_time_refresh_tokens: bool = False
    """Whether a refresh token works only once. Then the answer to each renewal has a new one."""
    clock_skew: float = 0.0
    """Seconds by which the server's clock is ahead of the test's, in ``iat``, ``exp`` and the Date header."""
    refusal_shape: RefusalShape = "oauth"
    """The shape of the body that refuses a refresh token."""
    refusal_status: int = 400
    """The status of the answer that refuses a refresh token."""
    coupons: dict[str, int] = field(factory=lambda: {"SAVE10": 10})
    """The coupon codes that exist, with their discounts in percent."""
    collections: dict[str, list[dict[str, Any]]] = field(factory=dict)
    """The CMS's collections by their IDs: each a list of items, ``{"title": "Tea"}``."""

    @property
    def refusal(self) -> RefusalStyle:
        """The answer that refuses a refresh token, unless a test has set another one for that token."""
        return RefusalStyle(shape=self.refusal_shape, status=self.refusal_status)
