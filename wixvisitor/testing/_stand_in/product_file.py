"""The file of ``--products``: the shop's products as JSON."""

import json
import uuid
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

from wixvisitor.testing._catalog import Product

_FIELDS: Final = frozenset({"id", "name", "price", "slug", "stock"})
_IDS: Final = uuid.UUID("4c9a4f0e-6d9a-4b0e-9f5e-7d1b6c2a8e10")


def read_products(path: Path) -> list[Product]:
    """Returns the products of a file: a list of ``{"name", "price"}``, each also with ``id``, ``slug`` and ``stock``.

    ``price`` is a number or a text, in US dollars. Without ``id``, a product gets one that depends on its name only.

    Raises:
        OSError: The file cannot be read.
        ValueError: It holds something else. The message says what, and where.

    """
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    if not isinstance(content, list):
        raise ValueError('it is no list of products, like [{"name": "Mug", "price": "12.50"}]')
    products = [_product(item, f"product {number}") for number, item in enumerate(content, start=1)]
    if len({product.id for product in products}) < len(products):
        raise ValueError("two products have the same id, or the same name and no id")
    return products


def _product(item: Any, where: str) -> Product:
    if not isinstance(item, dict):
        raise ValueError(f"{where} is no object")
    unknown = sorted(set(item) - _FIELDS)
    if unknown:
        raise ValueError(f"{where} has the unknown field {unknown[0]}; known are {', '.join(sorted(_FIELDS))}")
    name = _text(item, "name", where)
    if not name:
        raise ValueError(f"{where} has no name")
    return Product(
        _text(item, "id", where) or str(uuid.uuid5(_IDS, name)),
        name=name,
        price=_price(item.get("price"), where),
        slug=_text(item, "slug", where) or "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split()),
        stock=_stock(item.get("stock"), where),
    )


def _text(item: dict[str, Any], name: str, where: str) -> str:
    value = item.get(name, "")
    if not isinstance(value, str):
        raise ValueError(f"{name} of {where} is no text")
    return value.strip()


def _price(value: Any, where: str) -> Decimal:
    try:
        price = Decimal(str(value)) if isinstance(value, str | int | float) else Decimal("NaN")
    except InvalidOperation:
        price = Decimal("NaN")
    if isinstance(value, bool) or not price.is_finite() or not 0 <= price < 10**12:
        raise ValueError(f"price of {where} is no price, like 12.50")
    return price


def _stock(value: Any, where: str) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise ValueError(f"stock of {where} is no whole number; without stock there is no limit")
    return value
