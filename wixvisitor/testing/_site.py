"""The site that the fake API serves: its visitors, its shop and its clock."""

from collections.abc import Callable
from threading import RLock
from typing import Any

from attrs import define, field, frozen

from wixvisitor.testing._calls import Call
from wixvisitor.testing._cart import Cart, Coupon, Line, quantity_of
from wixvisitor.testing._catalog import Product
from wixvisitor.testing._hosted import Hosted
from wixvisitor.testing._members import Members
from wixvisitor.testing._refusals import application_error, validation_error
from wixvisitor.testing._settings import Settings
from wixvisitor.testing._visitors import IssuedToken, Visitor, Visitors, new_id

Json = dict[str, Any]


@define(kw_only=True, eq=False)
class Site:
    """Everything on which the answers depend. Each handler runs to its end under ``lock``."""

    settings: Settings
    visitors: Visitors
    members: Members
    hosted: Hosted
    products: dict[str, Product]
    server_time: Callable[[], float]
    lock: RLock = field(repr=False)

    def new_cart(self, visitor: Visitor) -> Cart:
        """Gives the visitor a new empty cart, which replaces the old one, and returns it."""
        now = self.server_time()
        visitor.cart = Cart(id=new_id(), created_at=now, updated_at=now)
        return visitor.cart

    def new_line(self, item: object, *, name: str) -> Line:
        """A cart line for an item of a request: ``{"quantity", "catalogReference"}``.

        Raises:
            Refused: The item is malformed, or its product is not in the catalog. A product that is sold out is not an
                error: the answer is 200, and the line's confirmed quantity is 0.

        """
        if not isinstance(item, dict):
            raise validation_error(name, "must be an object")
        reference = item.get("catalogReference")
        if not isinstance(reference, dict) or not isinstance(reference.get("catalogItemId"), str):
            raise validation_error(f"{name}.catalogReference", "must not be empty", rule="REQUIRED_FIELD")
        product = self.products.get(reference["catalogItemId"])
        if product is None or reference.get("appId") != product.app_id:
            raise application_error(
                400, "ITEM_NOT_FOUND_IN_CATALOG", "Item not found in catalog", {"catalogReference": reference}
            )
        quantity = quantity_of(item.get("quantity"), name=f"{name}.quantity")
        return Line(id=new_id(), product=product, reference=reference, quantity=quantity)

    def new_coupon(self, code: object) -> Coupon:
        """The coupon with this code.

        Raises:
            Refused: There is no such coupon.

        """
        if not isinstance(code, str) or code not in self.settings.coupons:
            raise application_error(400, "INVALID_COUPON_CODE", "The coupon code is not valid")
        return Coupon(id=new_id(), code=code, percent=self.settings.coupons[code])


@frozen(kw_only=True)
class CallContext:
    """One authorised call, as its handler gets it.

    Attributes:
        base_url: Where the API was called, without a slash at the end.

    """

    site: Site
    token: IssuedToken
    body: Json
    params: dict[str, str]
    call: Call
    base_url: str = ""

    @property
    def visitor(self) -> Visitor:
        """The caller. A member has the cart of the visitor who logged in."""
        return self.token.visitor

    def items(self, name: str) -> list[Any]:
        """The list with this name in the body.

        Raises:
            Refused: The list is missing or empty, or the value is not a list.

        """
        value = self.body.get(name)
        if not isinstance(value, list) or not value:
            raise validation_error(name, "must not be empty", rule="REQUIRED_FIELD")
        return value

    def changed(self, cart: Cart) -> Cart:
        """Notes a change of the cart, and returns the cart."""
        cart.touch(self.site.server_time())
        return cart
