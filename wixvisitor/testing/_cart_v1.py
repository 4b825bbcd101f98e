"""The current cart, version 1: ``/ecom/v1/carts/current``.

Deprecated, to be removed on 2027-02-01 says ``@wix/auto_sdk_ecom_current-cart`` 1.0.190. It shows the same cart as
version 2.
"""

from typing import Any

from wixvisitor.testing._cart import Cart, quantity_of
from wixvisitor.testing._cart_format import cart_v1, totals_v1
from wixvisitor.testing._refusals import application_error, validation_error
from wixvisitor.testing._site import Ask

Json = dict[str, Any]


def _cart(ask: Ask) -> Cart:
    if ask.visitor.cart is None:
        raise application_error(404, "OWNED_CART_NOT_FOUND", "Cart not found")
    return ask.visitor.cart


def _answer(ask: Ask, cart: Cart) -> Json:
    return {"cart": cart_v1(cart, ask.token)}


def get(ask: Ask) -> Json:
    """The visitor's cart."""
    return _answer(ask, _cart(ask))


def update(ask: Ask) -> Json:
    """Changes the buyer's note or applies a coupon, in a new cart if there is none."""
    code = ask.body.get("couponCode")
    coupon = None if code is None else ask.site.new_coupon(code)
    cart = ask.visitor.cart or ask.site.new_cart(ask.visitor)
    if coupon is not None:
        cart.apply_coupon(coupon)
    info = ask.body.get("cartInfo")
    if isinstance(info, dict) and isinstance(info.get("buyerNote"), str):
        cart.note = info["buyerNote"]
    return _answer(ask, ask.changed(cart))


def delete(ask: Ask) -> Json:
    """Forgets the cart."""
    _cart(ask)
    ask.visitor.cart = None
    return {}


def add_to_cart(ask: Ask) -> Json:
    """Adds products, in a new cart if there is none."""
    lines = [ask.site.new_line(item, name="lineItems") for item in ask.items("lineItems")]
    cart = ask.visitor.cart or ask.site.new_cart(ask.visitor)
    for line in lines:
        cart.add(line)
    return _answer(ask, ask.changed(cart))


def update_line_items_quantity(ask: Ask) -> Json:
    """Sets quantities."""
    cart = _cart(ask)
    changes = []
    for item in ask.items("lineItems"):
        if not isinstance(item, dict):
            raise validation_error("lineItems", "must be an object")
        quantity = quantity_of(item.get("quantity"), name="lineItems.quantity")
        changes.append((cart.line(str(item.get("id"))), quantity))
    for line, quantity in changes:
        line.quantity = quantity
    return _answer(ask, ask.changed(cart))


def remove_line_items(ask: Ask) -> Json:
    """Removes lines by id."""
    cart = _cart(ask)
    cart.remove(ask.items("lineItemIds"))
    return _answer(ask, ask.changed(cart))


def remove_coupon(ask: Ask) -> Json:
    """Takes every coupon away."""
    cart = _cart(ask)
    cart.coupons.clear()
    return _answer(ask, ask.changed(cart))


def estimate_totals(ask: Ask) -> Json:
    """Prices of the cart."""
    return totals_v1(_cart(ask), ask.token)


def create_checkout(ask: Ask) -> Json:
    """The checkout of this cart, which has the cart's id."""
    cart = _cart(ask)
    if not cart.lines:
        raise application_error(400, "EMPTY_CART", "Cannot create a checkout of an empty cart")
    return {"checkoutId": cart.id}
