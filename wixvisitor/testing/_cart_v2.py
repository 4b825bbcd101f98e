"""The current cart, version 2: ``/ecom/v2/carts/current``."""

from typing import Any

from wixvisitor.testing._cart import Cart, quantity_of
from wixvisitor.testing._cart_format import cart_v2, totals_v2
from wixvisitor.testing._refusals import application_error, validation_error
from wixvisitor.testing._site import CallContext

Json = dict[str, Any]


def _cart(context: CallContext) -> Cart:
    if context.visitor.cart is None:
        raise application_error(404, "CURRENT_CART_NOT_FOUND", "Cart not found")
    return context.visitor.cart


def _answer(context: CallContext, cart: Cart) -> Json:
    return {"cart": cart_v2(cart, context.token)}


def get(context: CallContext) -> Json:
    """The visitor's cart."""
    return _answer(context, _cart(context))


def create(context: CallContext) -> Json:
    """Creates a new cart, which replaces the old one."""
    items = context.body.get("catalogItems") or []
    lines = [context.site.new_line(item, name="catalogItems") for item in items]
    coupons = [context.site.new_coupon(coupon.get("code")) for coupon in context.body.get("coupons") or []]
    cart = context.site.new_cart(context.visitor)
    cart.note = _note(context) or ""
    for line in lines:
        cart.add(line)
    for coupon in coupons:
        cart.apply_coupon(coupon)
    return _answer(context, cart)


def update(context: CallContext) -> Json:
    """Changes the buyer's note, the only field of the cart itself that can be changed."""
    cart = _cart(context)
    note = _note(context)
    if note is not None:
        cart.note = note
    return _answer(context, context.changed(cart))


def delete(context: CallContext) -> Json:
    """Deletes the cart."""
    _cart(context)
    context.visitor.cart = None
    return {}


def add_line_items(context: CallContext) -> Json:
    """Adds products. Creates a cart if there is none."""
    lines = [context.site.new_line(item, name="catalogItems") for item in context.items("catalogItems")]
    cart = context.visitor.cart or context.site.new_cart(context.visitor)
    for line in lines:
        cart.add(line)
    return _answer(context, context.changed(cart))


def update_line_items(context: CallContext) -> Json:
    """Sets quantities. The flat ``{"id", "quantity"}`` of version 1 is an error here."""
    cart = _cart(context)
    changes = [(cart.line(_line_id(item)), _new_quantity(item)) for item in context.items("lineItems")]
    for line, quantity in changes:
        line.quantity = quantity
    return _answer(context, context.changed(cart))


def remove_line_items(context: CallContext) -> Json:
    """Removes lines by id."""
    cart = _cart(context)
    cart.remove(context.items("lineItemIds"))
    return _answer(context, context.changed(cart))


def estimate(context: CallContext) -> Json:
    """The prices of the cart. An empty cart is an error."""
    cart = _cart(context)
    if not cart.lines:
        raise application_error(404, "CURRENT_CART_NOT_FOUND", "Cart is empty")
    return totals_v2(cart, context.token)


def calculate(context: CallContext) -> Json:
    """The prices of the cart, which may be empty."""
    return totals_v2(_cart(context), context.token)


def add_coupon(context: CallContext) -> Json:
    """Applies a coupon by its code."""
    cart = _cart(context)
    coupon = context.body.get("coupon")
    if not isinstance(coupon, dict):
        raise validation_error("coupon", "must not be empty", rule="REQUIRED_FIELD")
    cart.apply_coupon(context.site.new_coupon(coupon.get("code")))
    return _answer(context, context.changed(cart))


def remove_coupon(context: CallContext) -> Json:
    """Removes a coupon by its ID."""
    cart = _cart(context)
    cart.remove_coupon(str(context.body.get("couponId")))
    return _answer(context, context.changed(cart))


def _line_id(item: object) -> str:
    if not isinstance(item, dict) or not isinstance(item.get("lineItemId"), str):
        raise validation_error("lineItems.lineItemId", "must not be empty", rule="REQUIRED_FIELD")
    return str(item["lineItemId"])


def _new_quantity(item: Json) -> int:
    quantity = item.get("quantity")
    if not isinstance(quantity, dict):
        raise validation_error("lineItems.quantity", "must be an object", rule="FORMAT")
    return quantity_of(quantity.get("newQuantity"), name="lineItems.quantity.newQuantity")


def _note(context: CallContext) -> str | None:
    cart = context.body.get("cart") or {}
    return str(cart["note"]) if isinstance(cart, dict) and cart.get("note") is not None else None
