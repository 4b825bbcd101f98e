"""What the hosted pages know: links to them, codes, browsers that are logged in, and orders."""

from collections import deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final

from attrs import define, field, frozen

from wixvisitor.testing._authorization import AuthorizationRequest, Code
from wixvisitor.testing._calls import HOSTED
from wixvisitor.testing._member import Member
from wixvisitor.testing._member_settings import MemberSettings
from wixvisitor.testing._tickets import Tickets
from wixvisitor.testing._visitors import Visitor

BROWSER_LIFETIME: Final = 2_592_000
"""Seconds for which a browser stays logged in at the hosted pages: 30 days, the fake's own choice."""
_LINK_LIFETIME: Final = 3_600.0  # seconds, the fake's own choice
_KEPT_ORDERS: Final = 1_000


@define(kw_only=True, eq=False)
class Redirect:
    """A redirect session: a link to a hosted page, and where the page leads to.

    Attributes:
        flow: ``"auth"``, ``"logout"``, ``"ecomCheckout"``, or another key of the API, whose page the fake lacks.
        member_id: The member of the token with which the link was made, or None.
        brings_login: Whether the link logs its first browser in as that member. Wix calls it ``maintainIdentity``.
        request: Of the flow ``"auth"``.
        checkout_id: Of the flow ``"ecomCheckout"``: the ID of the cart.
        post_flow_url: Where a flow leads to that was completed or left, or ``""``.
        thank_you_url: Where an order leads to, or ``""``.
        is_used: Whether the link of a login has led to a code or an error.
        order: The order that was placed.

    """

    flow: str
    visitor: Visitor
    member_id: str | None
    brings_login: bool = False
    request: AuthorizationRequest | None = None
    checkout_id: str = ""
    post_flow_url: str = ""
    thank_you_url: str = ""
    is_used: bool = False
    order: "Order | None" = None


@frozen(kw_only=True)
class OrderLine:
    """One product of an order."""

    product_id: str
    name: str
    quantity: int
    total: Decimal


@frozen(kw_only=True)
class Order:
    """An order that was placed on the checkout page.

    Attributes:
        id: The order's ID, which the thank-you page gets as ``orderId``.
        number: 1 for the first one.
        cart_id: The cart that was ordered, which exists no more.
        visitor_id: The visitor whose cart it was.
        member_id: The member who ordered; None for a guest.
        lines: What was ordered: each with ``product_id``, ``name``, ``quantity`` and ``total``.
        total: After the coupons, in US dollars.
        placed_at: Seconds since the epoch by the fake's clock.

    """

    id: str
    number: int
    cart_id: str
    visitor_id: str
    member_id: str | None
    lines: tuple[OrderLine, ...]
    total: Decimal
    placed_at: float


@define(kw_only=True, eq=False)
class Hosted:
    """The state behind the hosted pages. The caller must hold the fake's lock."""

    settings: MemberSettings
    server_time: Callable[[], float]
    redirects: Tickets[Redirect] = field(init=False, repr=False)
    codes: Tickets[Code] = field(init=False, repr=False)
    browsers: Tickets[Member] = field(init=False, repr=False)
    orders: deque[Order] = field(factory=lambda: deque(maxlen=_KEPT_ORDERS))
    placed: int = 0
    unknown_logins: set[tuple[str, str]] = field(factory=set)
    """Visitor and member of logins that the hosted pages do not know: those by ``member_id`` and API key alone."""

    def __attrs_post_init__(self) -> None:
        self.redirects = Tickets(lifetime=lambda: _LINK_LIFETIME, now=self.server_time)
        self.codes = Tickets(lifetime=lambda: self.settings.code_lifetime, now=self.server_time)
        self.browsers = Tickets(lifetime=lambda: BROWSER_LIFETIME, now=self.server_time)

    def code_for(self, redirect: Redirect, request: AuthorizationRequest, member: Member) -> dict[str, str]:
        """What the shop gets for a login that has succeeded: a new code, and the state."""
        code = Code(request=request, visitor=redirect.visitor, member_id=member.id)
        return {"code": self.codes.issue(code), "state": request.state}

    def link(self, base_url: str, page: str, parameters: Mapping[str, str]) -> str:
        """The address of a hosted page. ``base_url`` is where the API was called."""
        base = (self.settings.hosted_url or base_url).rstrip("/")
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        return f"{base}{HOSTED}{page}?{query}"
