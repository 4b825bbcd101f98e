"""What the shop sells when Wix is played by FakeWix."""

from __future__ import annotations

import re
from typing import Final

from wixvisitor.testing import Product

# For FakeWix, which knows every client ID that is a GUID.
CLIENT_ID: Final = "c1a70000-5e0b-4c1a-8c1a-000000000000"


def _product(number: int, name: str, price: str, stock: int | None = None) -> Product:
    return Product(f"c1a70000-5e0b-4c1a-8c1a-{number:012}", name=name, slug=slug(name), price=price, stock=stock)


def slug(name: str) -> str:
    """Returns a product's name as it stands in addresses, and in ``static/pictures.svg``."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


PRODUCTS: Final = (
    _product(1, "Harbour mug", "24"),
    _product(2, "Two-cup teapot", "68"),
    _product(3, "Breakfast bowl", "28.50"),
    _product(4, "Supper plate", "32"),
    _product(5, "Stem vase", "45", stock=3),
    _product(6, "Milk jug", "26"),
    _product(7, "Beeswax candle", "18.90"),
    _product(8, "Tea caddy", "38", stock=0),
    _product(9, "Stovetop kettle", "89"),
)
"""Eight for the shelves of the front page, and the one that it shows large."""

PICTURES: Final = frozenset(product.slug for product in PRODUCTS)
