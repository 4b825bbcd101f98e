"""What a test may switch while the fake is running."""

from typing import Literal

from attrs import define, field, frozen

RefusalShape = Literal["oauth", "wix", "legacy", "unknown"]


@frozen
class RefusalStyle:
    """How the token endpoint words the refusal of a refresh token.

    Wix's real wording is recorded nowhere in public, so a client has to cope with each of the three shapes that Wix
    uses elsewhere: RFC 6749 section 5.2, Wix's ``message`` and ``details``, and the older ``errorCode``.
    ``"unknown"`` is one that does not name the token, so that a client can only guess.
    """

    shape: RefusalShape
    status: int


@define(kw_only=True, eq=False, slots=False)
class Settings:
    """The knobs of a ``FakeWix``; each may be changed at any time."""

    client_ids: frozenset[str] | None = None
    """The client ids that exist; None accepts every GUID."""
    access_token_lifetime: float = 14_400
    """Seconds that an access token lives: four hours, as Wix documents."""
    refresh_token_lifetime: float = 31_536_000
    """Seconds that a refresh token lives: 365 days, as the token in Wix's own documentation does."""
    rotate_refresh_tokens: bool = False
    """Whether a refresh answers with a new refresh token; the old one keeps working."""
    one_time_refresh_tokens: bool = False
    """Whether a refresh token works once only; each refresh then answers with a new one."""
    clock_skew: float = 0.0
    """Seconds that the server's clock is ahead of the test's: seen in ``iat``, ``exp`` and the Date header."""
    refusal_shape: RefusalShape = "oauth"
    """The body of a refused refresh."""
    refusal_status: int = 400
    """The status of a refused refresh."""
    coupons: dict[str, int] = field(factory=lambda: {"SAVE10": 10})
    """The coupon codes that exist, and the percentage each takes off."""

    @property
    def refusal(self) -> RefusalStyle:
        """How refresh tokens are refused unless a test asked otherwise for one of them."""
        return RefusalStyle(shape=self.refusal_shape, status=self.refusal_status)
