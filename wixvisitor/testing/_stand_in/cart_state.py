"""A cart as JSON, and back. Pure."""

from decimal import Decimal
from typing import Any

from wixvisitor.testing._cart import Cart, Coupon, Line
from wixvisitor.testing._catalog import STORES_APP_ID, Product
from wixvisitor.testing._stand_in.damage import checked, number_of, text_of

Json = dict[str, Any]


def dump_cart(cart: Cart) -> Json:
    """The cart as JSON."""
    return {
        "id": cart.id,
        "createdAt": cart.created_at,
        "updatedAt": cart.updated_at,
        "revision": cart.revision,
        "note": cart.note,
        "coupons": [{"id": coupon.id, "code": coupon.code, "percent": coupon.percent} for coupon in cart.coupons],
        "lines": [_dump_line(line) for line in cart.lines],
    }


def _dump_line(line: Line) -> Json:
    product = line.product
    return {
        "id": line.id,
        "quantity": line.quantity,
        "reference": line.reference,
        "product": {
            "id": product.id,
            "name": product.name,
            "price": str(product.price),
            "slug": product.slug,
            "stock": product.stock,
            "appId": product.app_id,
        },
    }


def load_cart(item: Json) -> Cart:
    """The cart of this JSON. The caller reports the damages."""
    return Cart(
        id=text_of(item, "id"),
        created_at=number_of(item, "createdAt"),
        updated_at=number_of(item, "updatedAt"),
        revision=int(number_of(item, "revision")),
        note=text_of(item, "note"),
        coupons=[
            Coupon(id=text_of(coupon, "id"), code=text_of(coupon, "code"), percent=int(number_of(coupon, "percent")))
            for coupon in item["coupons"]
        ],
        lines=[_load_line(line) for line in item["lines"]],
    )


def _load_line(item: Json) -> Line:
    product = item["product"]
    return Line(
        id=text_of(item, "id"),
        quantity=int(number_of(item, "quantity")),
        reference=checked(item["reference"], dict, "reference"),
        product=Product(
            text_of(product, "id"),
            name=text_of(product, "name"),
            price=Decimal(text_of(product, "price")),
            slug=text_of(product, "slug"),
            stock=None if product["stock"] is None else int(number_of(product, "stock")),
            app_id=text_of({"appId": STORES_APP_ID, **product}, "appId"),  # an earlier release wrote none
        ),
    )
