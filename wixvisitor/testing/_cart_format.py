"""A cart in the JSON of each API version.

Field names are those of the typings of ``@wix/auto_sdk_ecom_current-cart`` 1.0.190 and
``@wix/auto_sdk_ecom_current-cart-v-2`` 1.0.202. Money is a string in both; only V1 formats it for display.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from wixvisitor.testing._cart import Cart, Coupon, Line
from wixvisitor.testing._catalog import CURRENCY
from wixvisitor.testing._visitors import IssuedToken

Json = dict[str, Any]


def buyer(token: IssuedToken) -> Json:
    """The buyer in JSON: the ID of either the visitor or the member, never both."""
    if token.member_id is not None:
        return {"memberId": token.member_id}
    return {"visitorId": token.visitor.id}


def cart_v1(cart: Cart, token: IssuedToken) -> Json:
    """The cart as ``/ecom/v1/carts/current`` shows it. The checkout's ID is the ID of the V2 cart."""
    return {
        "id": cart.id,
        "checkoutId": cart.id,
        "managedByV2": True,
        "revision": str(cart.revision),
        "lineItems": [_line_v1(line) for line in cart.lines],
        "buyerInfo": buyer(token),
        "buyerNote": cart.note,
        "currency": CURRENCY,
        "conversionCurrency": CURRENCY,
        "paymentCurrency": CURRENCY,
        "subtotal": money_v1(cart.subtotal),
        "appliedDiscounts": [{"coupon": _coupon_v1(coupon, cart)} for coupon in cart.coupons],
        "taxIncludedInPrices": False,
        **_dates(cart),
    }


def cart_v2(cart: Cart, token: IssuedToken) -> Json:
    """The cart as ``/ecom/v2/carts/current`` shows it."""
    return {
        "id": cart.id,
        "revision": str(cart.revision),
        "lineItems": [_line_v2(line) for line in cart.lines],
        "subtotal": money_v2(cart.subtotal),
        "note": cart.note,
        "coupons": [{"id": coupon.id, "code": coupon.code} for coupon in cart.coupons],
        "customerInfo": {**buyer(token), "openAccess": False, "currencyCode": CURRENCY},
        "businessInfo": {"languageCode": "en", "currencyCode": CURRENCY},
        "currentCart": True,
        "orderPlaced": False,
        "demo": False,
        **_dates(cart),
    }


def totals_v1(cart: Cart, token: IssuedToken) -> Json:
    """The answer to ``estimate-totals``."""
    zero = money_v1(Decimal(0))
    summary = {
        "subtotal": money_v1(cart.subtotal),
        "shipping": zero,
        "tax": zero,
        "discount": money_v1(cart.discount),
        "total": money_v1(cart.total),
    }
    return {
        "cart": cart_v1(cart, token),
        "calculatedLineItems": [_calculated_v1(line) for line in cart.lines],
        "priceSummary": summary,
        "currency": CURRENCY,
    }


def totals_v2(cart: Cart, token: IssuedToken) -> Json:
    """The answer to ``estimate`` and ``calculate``."""
    zero = money_v2(Decimal(0))
    prices = {
        "subtotal": money_v2(cart.subtotal),
        "discount": money_v2(cart.discount),
        "delivery": zero,
        "additionalFees": zero,
        "tax": zero,
        "total": money_v2(cart.total),
    }
    summary = {"cartId": cart.id, "cartRevision": str(cart.revision), "priceSummary": prices}
    return {"cart": cart_v2(cart, token), "summary": summary}


def money_v1(amount: Decimal) -> Json:
    """An amount in JSON, with its display text."""
    text = f"{amount:.2f}"
    return {
        "amount": text,
        "convertedAmount": text,
        "formattedAmount": f"${text}",
        "formattedConvertedAmount": f"${text}",
    }


def money_v2(amount: Decimal) -> Json:
    """An amount as a text without trailing zeros: "270", "12.5"."""
    text = f"{amount.normalize():f}"
    return {"amount": text, "convertedAmount": text}


def _line_v1(line: Line) -> Json:
    price = money_v1(line.product.price)
    return {
        "id": line.id,
        "quantity": line.quantity,
        "catalogReference": line.reference,
        "productName": {"original": line.product.name, "translated": line.product.name},
        "price": price,
        "fullPrice": price,
        "lineItemPrice": money_v1(line.total),
        "availability": {"status": _status(line, "AVAILABLE", "PARTIALLY_AVAILABLE", "NOT_AVAILABLE")},
    }


def _line_v2(line: Line) -> Json:
    return {
        "id": line.id,
        "name": {"original": line.product.name, "translated": line.product.name},
        "quantityInfo": {
            "requestedQuantity": line.quantity,
            "confirmedQuantity": line.confirmed,
            "fixedQuantity": False,
        },
        "pricing": {"unitPrice": money_v2(line.product.price), "priceUndetermined": False},
        "source": {"catalogReference": line.reference},
        "status": _status(line, "IN_STOCK", "PARTIALLY_IN_STOCK", "OUT_OF_STOCK"),
        "customLineItem": False,
    }


def _status(line: Line, full: str, partial: str, none: str) -> str:
    if line.confirmed == line.quantity:
        return full
    return partial if line.confirmed else none


def _calculated_v1(line: Line) -> Json:
    breakdown = {"price": money_v1(line.product.price), "totalPrice": {"amount": f"{line.total:.2f}"}}
    return {"lineItemId": line.id, "pricesBreakdown": breakdown}


def _coupon_v1(coupon: Coupon, cart: Cart) -> Json:
    return {"id": coupon.id, "code": coupon.code, "name": coupon.code, "amount": money_v1(cart.discount)}


def _dates(cart: Cart) -> Json:
    return {"createdDate": _iso(cart.created_at), "updatedDate": _iso(cart.updated_at)}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
