"""The current cart, version 2: ``/ecom/v2/carts/current``."""

from typing import Any

from wixvisitor.testing._cart import Cart, quantity_of
from wixvisitor.testing._cart_format import cart_v2, totals_v2
from wixvisitor.testing._refusals import application_error, validation_error
from wixvisitor.testing._site import Ask

Json = dict[str, Any]


def _cart(ask: Ask) -> Cart:
    if ask.visitor.cart is None:
        raise application_error(404, "CURRENT_CART_NOT_FOUND", "Cart not found")
    return ask.visitor.cart


def _answer(ask: Ask, cart: Cart) -> Json:
    return {"cart": cart_v2(cart, ask.token)}


def get(ask: Ask) -> Json:
    """The visitor's cart."""
    return _answer(ask, _cart(ask))


def create(ask: Ask) -> Json:
    """A new cart in place of the old one."""
    items = ask.body.get("catalogItems") or []
    lines = [ask.site.new_line(item, name="catalogItems") for item in items]
    coupons = [ask.site.new_coupon(coupon.get("code")) for coupon in ask.body.get("coupons") or []]
    cart = ask.site.new_cart(ask.visitor)
    cart.note = _note(ask) or ""
    for line in lines:
        cart.add(line)
    for coupon in coupons:
        cart.apply_coupon(coupon)
    return _answer(ask, cart)


def update(ask: Ask) -> Json:
    """Changes what can be changed of the cart itself: its note."""
    cart = _cart(ask)
    note = _note(ask)
    if note is not None:
        cart.note = note
    return _answer(ask, ask.changed(cart))


def delete(ask: Ask) -> Json:
    """Forgets the cart."""
    _cart(ask)
    ask.visitor.cart = None
    return {}


def add_line_items(ask: Ask) -> Json:
    """Adds products, in a new cart if there is none."""
    lines = [ask.site.new_line(item, name="catalogItems") for item in ask.items("catalogItems")]
    cart = ask.visitor.cart or ask.site.new_cart(ask.visitor)
    for line in lines:
        cart.add(line)
    return _answer(ask, ask.changed(cart))


def update_line_items(ask: Ask) -> Json:
    """Sets quantities. The flat ``{"id", "quantity"}`` of version 1 is refused."""
    cart = _cart(ask)
    changes = [(cart.line(_line_id(item)), _new_quantity(item)) for item in ask.items("lineItems")]
    for line, quantity in changes:
        line.quantity = quantity
    return _answer(ask, ask.changed(cart))


def remove_line_items(ask: Ask) -> Json:
    """Removes lines by id."""
    cart = _cart(ask)
    cart.remove(ask.items("lineItemIds"))
    return _answer(ask, ask.changed(cart))


def estimate(ask: Ask) -> Json:
    """Prices of a cart that has something in it."""
    cart = _cart(ask)
    if not cart.lines:
        raise application_error(404, "CURRENT_CART_NOT_FOUND", "Cart is empty")
    return totals_v2(cart, ask.token)


def calculate(ask: Ask) -> Json:
    """Prices of the cart."""
    return totals_v2(_cart(ask), ask.token)


def add_coupon(ask: Ask) -> Json:
    """Applies a coupon by its code."""
    cart = _cart(ask)
    coupon = ask.body.get("coupon")
    if not isinstance(coupon, dict):
        raise validation_error("coupon", "must not be empty", rule="REQUIRED_FIELD")
    cart.apply_coupon(ask.site.new_coupon(coupon.get("code")))
    return _answer(ask, ask.changed(cart))


def remove_coupon(ask: Ask) -> Json:
    """Takes a coupon away by its id."""
    cart = _cart(ask)
    cart.remove_coupon(str(ask.body.get("couponId")))
    return _answer(ask, ask.changed(cart))


def checkout_url(ask: Ask) -> Json:
    """Where the visitor pays for this cart; the cart's id is the checkout's."""
    cart = _cart(ask)
    if ask.params["cart_id"] not in (cart.id, "current"):
        raise application_error(404, "CART_NOT_FOUND", "Cart not found")
    return {"checkoutUrl": f"https://fake.wixsite.example/checkout?checkoutId={cart.id}"}


def _line_id(item: object) -> str:
    if not isinstance(item, dict) or not isinstance(item.get("lineItemId"), str):
        raise validation_error("lineItems.lineItemId", "must not be empty", rule="REQUIRED_FIELD")
    return str(item["lineItemId"])


def _new_quantity(item: Json) -> int:
    quantity = item.get("quantity")
    if not isinstance(quantity, dict):
        raise validation_error("lineItems.quantity", "must be an object", rule="FORMAT")
    return quantity_of(quantity.get("newQuantity"), name="lineItems.quantity.newQuantity")


def _note(ask: Ask) -> str | None:
    cart = ask.body.get("cart") or {}
    return str(cart["note"]) if isinstance(cart, dict) and cart.get("note") is not None else None
