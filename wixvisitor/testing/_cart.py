"""The rules of a cart. They are pure, and the same for both versions of the API.

The error codes come from the typings of ``@wix/auto_sdk_ecom_current-cart-v-2`` 1.0.202. Wix documents no status for
them, except 404 for a missing cart. The fake answers 404 if the code ends in NOT_FOUND_IN_CART, else 400.
"""

from decimal import Decimal
from typing import Any

from attrs import define, field

from wixvisitor.testing._catalog import Product
from wixvisitor.testing._refusals import application_error, validation_error

MAX_LINE_ITEMS = 300
MAX_QUANTITY = 100_000


@define(kw_only=True, eq=False)
class Line:
    """One product in a cart."""

    id: str
    product: Product
    reference: dict[str, Any]
    quantity: int

    @property
    def confirmed(self) -> int:
        """How many of the requested quantity are in stock."""
        return self.quantity if self.product.stock is None else min(self.quantity, self.product.stock)

    @property
    def total(self) -> Decimal:
        """The price of what is in stock."""
        return self.product.price * self.confirmed


@define(kw_only=True, eq=False)
class Coupon:
    """A coupon applied to a cart."""

    id: str
    code: str
    percent: int


@define(kw_only=True, eq=False)
class Cart:
    """A visitor's cart. Times are in seconds since the epoch."""

    id: str
    created_at: float
    updated_at: float
    lines: list[Line] = field(factory=list)
    coupons: list[Coupon] = field(factory=list)
    note: str = ""
    revision: int = 1

    @property
    def subtotal(self) -> Decimal:
        """The price before coupons."""
        return sum((line.total for line in self.lines), Decimal(0))

    @property
    def discount(self) -> Decimal:
        """The discount of the coupons, at most the subtotal."""
        percent = min(sum(coupon.percent for coupon in self.coupons), 100)
        return (self.subtotal * percent / 100).quantize(Decimal("0.01"))

    @property
    def total(self) -> Decimal:
        """The price after the coupons."""
        return self.subtotal - self.discount

    def touch(self, now: float) -> None:
        """Notes a change: increases the revision and sets the time of the update."""
        self.revision += 1
        self.updated_at = now

    def add(self, line: Line) -> None:
        """Adds a line. If a line has the same product and options, adds the quantity to that line.

        Raises:
            Refused: The cart is full.

        """
        for held in self.lines:
            if held.reference == line.reference:
                held.quantity += line.quantity
                return
        if len(self.lines) >= MAX_LINE_ITEMS:
            raise application_error(400, "MAX_LINE_ITEMS_EXCEEDED", f"A cart holds {MAX_LINE_ITEMS} line items")
        self.lines.append(line)

    def remove(self, line_ids: list[str]) -> None:
        """Removes these lines; if one of them is not in the cart, removes none.

        Raises:
            Refused: A line is not in the cart.

        """
        removed = [self.line(line_id) for line_id in line_ids]
        self.lines = [line for line in self.lines if line not in removed]

    def line(self, line_id: str) -> Line:
        """The line with this ID.

        Raises:
            Refused: It is not in the cart.

        """
        for line in self.lines:
            if line.id == line_id:
                return line
        raise application_error(404, "LINE_ITEM_NOT_FOUND_IN_CART", "Line item not found", {"lineItemId": line_id})

    def apply_coupon(self, coupon: Coupon) -> None:
        """Applies a coupon.

        Raises:
            Refused: The coupon is applied already.

        """
        if any(held.code == coupon.code for held in self.coupons):
            raise application_error(400, "COUPON_ALREADY_EXISTS", f"The coupon {coupon.code} is already applied")
        self.coupons.append(coupon)

    def remove_coupon(self, coupon_id: str) -> None:
        """Removes a coupon.

        Raises:
            Refused: The coupon is not applied.

        """
        left = [coupon for coupon in self.coupons if coupon.id != coupon_id]
        if len(left) == len(self.coupons):
            raise application_error(404, "COUPON_NOT_FOUND_IN_CART", "Coupon not found")
        self.coupons = left


def quantity_of(value: object, *, name: str) -> int:
    """Returns the quantity if the API accepts it: a whole number from 1 to 100,000.

    Raises:
        Refused: It is anything else.

    """
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_QUANTITY:
        raise validation_error(name, f"must be a whole number from 1 to {MAX_QUANTITY}", rule="MIN")
    return value
