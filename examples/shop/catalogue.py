"""What the shop sells when Wix is played by FakeWix: ``products.json``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

from wixvisitor.testing import Product

# For FakeWix, which knows every client ID that is a GUID.
CLIENT_ID: Final = "c1a70000-5e0b-4c1a-8c1a-000000000000"


def slug(name: str) -> str:
    """Returns a product's name as it stands in addresses, and in ``static/pictures.svg``."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


PRODUCTS: Final = tuple(
    Product(**fields, slug=slug(fields["name"]))
    for fields in json.loads(Path(__file__).with_name("products.json").read_text("utf-8"))
)
"""Eight for the shelves of the front page, and the one that it shows large."""

PICTURES: Final = frozenset(product.slug for product in PRODUCTS)
