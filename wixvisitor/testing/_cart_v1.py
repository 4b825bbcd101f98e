"""The current cart, version 1: ``/ecom/v1/carts/current``.

It is deprecated: ``@wix/auto_sdk_ecom_current-cart`` 1.0.190 says that Wix removes it on 2027-02-01. It shows the same
cart as version 2.
"""

from typing import Any

from wixvisitor.testing._cart import Cart, quantity_of
from wixvisitor.testing._cart_format import cart_v1, totals_v1
from wixvisitor.testing._refusals import application_error, validation_error
from wixvisitor.testing._site import CallContext

Json = dict[str, Any]


def _cart(context: CallContext) -> Cart:
    if context.visitor.cart is None:
        raise application_error(404, "OWNED_CART_NOT_FOUND", "Cart not found")
    return context.visitor.cart


def _answer(context: CallContext, cart: Cart) -> Json:
    return {"cart": cart_v1(cart, context.token)}


def get(context: CallContext) -> Json:
    """The visitor's cart."""
    return _answer(context, _cart(context))


def update(context: CallContext) -> Json:
    """Changes the buyer's note or applies a coupon. Creates a cart if there is none."""
    code = context.body.get("couponCode")
    coupon = None if code is None else context.site.new_coupon(code)
    cart = context.visitor.cart or context.site.new_cart(context.visitor)
    if coupon is not None:
        cart.apply_coupon(coupon)
    info = context.body.get("cartInfo")
    if isinstance(info, dict) and isinstance(info.get("buyerNote"), str):
        cart.note = info["buyerNote"]
    return _answer(context, context.changed(cart))


def delete(context: CallContext) -> Json:
    """Deletes the cart."""
    _cart(context)
    context.visitor.cart = None
    return {}


def add_to_cart(context: CallContext) -> Json:
    """Adds products. Creates a cart if there is none."""
    lines = [context.site.new_line(item, name="lineItems") for item in context.items("lineItems")]
    cart = context.visitor.cart or context.site.new_cart(context.visitor)
    for line in lines:
        cart.add(line)
    return _answer(context, context.changed(cart))


def update_line_items_quantity(context: CallContext) -> Json:
    """Sets quantities."""
    cart = _cart(context)
    changes = []
    for item in context.items("lineItems"):
        if not isinstance(item, dict):
            raise validation_error("lineItems", "must be an object")
        quantity = quantity_of(item.get("quantity"), name="lineItems.quantity")
        changes.append((cart.line(str(item.get("id"))), quantity))
    for line, quantity in changes:
        line.quantity = quantity
    return _answer(context, context.changed(cart))


def remove_line_items(context: CallContext) -> Json:
    """Removes lines by id."""
    cart = _cart(context)
    cart.remove(context.items("lineItemIds"))
    return _answer(context, context.changed(cart))


def remove_coupon(context: CallContext) -> Json:
    """Removes every coupon."""
    cart = _cart(context)
    cart.coupons.clear()
    return _answer(context, context.changed(cart))


def estimate_totals(context: CallContext) -> Json:
    """The prices of the cart."""
    return totals_v1(_cart(context), context.token)


def create_checkout(context: CallContext) -> Json:
    """A checkout for this cart. The checkout has the cart's ID."""
    cart = _cart(context)
    if not cart.lines:
        raise application_error(400, "EMPTY_CART", "Cannot create a checkout of an empty cart")
    return {"checkoutId": cart.id}
