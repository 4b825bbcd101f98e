"""The visitors and carts of a FakeWix as JSON, and back. Pure, but for the real time in ``resumed_time``.

The JSON is ``{"wixvisitor-fake": 1, "clock": {"fake", "real"}, "site": {…}, "visitors": […]}``. Times are in seconds
since the epoch. A cart holds its products as they were, so that it does not change when the products do.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Final, get_args

from wixvisitor.testing._cart import Cart, Coupon, Line
from wixvisitor.testing._catalog import Product
from wixvisitor.testing._settings import RefusalShape, RefusalStyle
from wixvisitor.testing._visitors import IssuedToken, Visitor, Visitors

Json = dict[str, Any]

FORMAT: Final = "wixvisitor-fake"
VERSION: Final = 1


def dump_state(visitors: Visitors, *, fake_time: float, real_time: float) -> Json:
    """The state as JSON. The caller holds the fake's lock."""
    access, refresh = _by_visitor(visitors.access_tokens), _by_visitor(visitors.refresh_tokens)
    return {
        FORMAT: VERSION,
        "clock": {"fake": fake_time, "real": real_time},
        "site": visitors.site,
        "visitors": [
            {
                "id": visitor.id,
                "clientId": visitor.client_id,
                "memberId": visitor.member_id,
                "createdAt": visitor.created_at,
                "seenAt": visitor.seen_at,
                "cart": None if visitor.cart is None else _dump_cart(visitor.cart),
                "accessTokens": [_dump_token(token) for token in access[visitor.id]],
                "refreshTokens": [_dump_token(token) for token in refresh[visitor.id]],
            }
            for visitor in visitors.by_id.values()
        ],
    }


def check_format(content: object) -> Json:
    """Returns the JSON of a state, whose fields are not checked yet.

    Raises:
        ValueError: It is something else, or the state of another version.

    """
    if not isinstance(content, dict) or FORMAT not in content:
        raise ValueError("it is not the state of a stand-in")
    if content[FORMAT] != VERSION:
        raise ValueError(f"it has version {content[FORMAT]!r:.20}, and this program reads {VERSION}")
    return content


def resumed_time(content: Json, *, real_time: float) -> float:
    """The time at which the fake's clock goes on: while the stand-in was stopped, time passed at real speed.

    Raises:
        ValueError: The state is damaged.

    """
    with damages():
        clock = checked(content["clock"], dict, "clock")
        return number_in(clock, "fake") + max(0.0, real_time - number_in(clock, "real"))


def load_state(content: Json, visitors: Visitors) -> None:
    """Fills empty ``visitors``. The caller holds the fake's lock.

    Raises:
        ValueError: The state is damaged. Then ``visitors`` may be filled in part.

    """
    with damages():
        visitors.site = {name: checked(value, str, name) for name, value in content["site"].items()}
        for item in content["visitors"]:
            visitor = _load_visitor(item)
            visitors.by_id[visitor.id] = visitor
            for table, name in ((visitors.access_tokens, "accessTokens"), (visitors.refresh_tokens, "refreshTokens")):
                for token in item[name]:
                    table[text_in(token, "value")] = _load_token(token, visitor)


@contextmanager
def damages() -> Iterator[None]:
    """Turns what a wrong value causes into a ``ValueError`` that says so."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        match error:
            case _Damage():
                what = str(error)
            case KeyError():
                what = f"{error.args[0]} is missing"
            case _:
                what = "a value has the wrong type"
        raise ValueError(f"it is damaged: {what}") from None


class _Damage(ValueError):
    pass


def _load_visitor(item: Json) -> Visitor:
    return Visitor(
        id=text_in(item, "id"),
        client_id=text_in(item, "clientId"),
        member_id=None if item["memberId"] is None else text_in(item, "memberId"),
        cart=None if item["cart"] is None else _load_cart(item["cart"]),
        created_at=number_in(item, "createdAt"),
        seen_at=number_in(item, "seenAt"),
    )


def _by_visitor(tokens: dict[str, IssuedToken]) -> defaultdict[str, list[IssuedToken]]:
    found: defaultdict[str, list[IssuedToken]] = defaultdict(list)
    for token in tokens.values():
        found[token.visitor.id].append(token)
    return found


def _dump_token(token: IssuedToken) -> Json:
    refusal = token.refusal
    return {
        "value": token.value,
        "memberId": token.member_id,
        "issuedAt": token.issued_at,
        "expiresAt": token.expires_at,
        "revoked": token.revoked,
        "refusal": None if refusal is None else {"shape": refusal.shape, "status": refusal.status},
    }


def _load_token(item: Json, visitor: Visitor) -> IssuedToken:
    refusal = item["refusal"]
    if refusal is not None and refusal["shape"] not in get_args(RefusalShape):
        raise _Damage("shape is unknown")
    return IssuedToken(
        value=text_in(item, "value"),
        visitor=visitor,
        member_id=None if item["memberId"] is None else text_in(item, "memberId"),
        issued_at=int(number_in(item, "issuedAt")),
        expires_at=int(number_in(item, "expiresAt")),
        revoked=item["revoked"] is True,
        refusal=None if refusal is None else RefusalStyle(shape=refusal["shape"], status=int(refusal["status"])),
    )


def _dump_cart(cart: Cart) -> Json:
    return {
        "id": cart.id,
        "createdAt": cart.created_at,
        "updatedAt": cart.updated_at,
        "revision": cart.revision,
        "note": cart.note,
        "coupons": [{"id": coupon.id, "code": coupon.code, "percent": coupon.percent} for coupon in cart.coupons],
        "lines": [
            {
                "id": line.id,
                "quantity": line.quantity,
                "reference": line.reference,
                "product": {
                    "id": line.product.id,
                    "name": line.product.name,
                    "price": str(line.product.price),
                    "slug": line.product.slug,
                    "stock": line.product.stock,
                },
            }
            for line in cart.lines
        ],
    }


def _load_cart(item: Json) -> Cart:
    return Cart(
        id=text_in(item, "id"),
        created_at=number_in(item, "createdAt"),
        updated_at=number_in(item, "updatedAt"),
        revision=int(number_in(item, "revision")),
        note=text_in(item, "note"),
        coupons=[
            Coupon(id=text_in(coupon, "id"), code=text_in(coupon, "code"), percent=int(number_in(coupon, "percent")))
            for coupon in item["coupons"]
        ],
        lines=[_load_line(line) for line in item["lines"]],
    )


def _load_line(item: Json) -> Line:
    product = item["product"]
    return Line(
        id=text_in(item, "id"),
        quantity=int(number_in(item, "quantity")),
        reference=checked(item["reference"], dict, "reference"),
        product=Product(
            text_in(product, "id"),
            name=text_in(product, "name"),
            price=Decimal(text_in(product, "price")),
            slug=text_in(product, "slug"),
            stock=None if product["stock"] is None else int(number_in(product, "stock")),
        ),
    )


def text_in(item: Json, name: str) -> str:
    return str(checked(item[name], str, name))


def number_in(item: Json, name: str) -> float:
    value = item[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _Damage(f"{name} is no number")
    return value


def checked(value: Any, kind: type, name: str) -> Any:
    if not isinstance(value, kind):
        raise _Damage(f"{name} has the wrong type")
    return value
