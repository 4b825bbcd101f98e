"""The products of the fake shop."""

from collections.abc import Iterable
from decimal import Decimal

from attrs import field, frozen

STORES_APP_ID = "215238eb-22a5-4c36-9e7b-e7c08025e04e"
"""The app ID of Wix Stores. Each ``catalogReference`` to one of its products contains it."""

CURRENCY = "USD"


@frozen
class Product:
    """A product that can be added to a cart.

    Args:
        id: The ``catalogItemId``.
        name: What the shopper reads.
        price: In US dollars.
        slug: The product's part of an address, by which it can be found.
        stock: How many there are; None is unlimited.
        app_id: The app whose catalog has it, such as Wix Bookings, where the ``id`` is that of a booking. The lists of
            Wix Stores have only its own.

    """

    id: str
    name: str = field(kw_only=True)
    price: Decimal = field(kw_only=True, converter=Decimal)
    slug: str = field(kw_only=True, default="")
    stock: int | None = field(kw_only=True, default=None)
    app_id: str = field(kw_only=True, default=STORES_APP_ID)


BUILT_IN = (
    Product("11111111-1111-4111-8111-111111111111", name="Mug", price="12.50", slug="mug"),
    Product("22222222-2222-4222-8222-222222222222", name="Tea", price="270", slug="tea"),
    Product("33333333-3333-4333-8333-333333333333", name="Kettle", price="49.90", slug="kettle", stock=3),
    Product("44444444-4444-4444-8444-444444444444", name="Sold out", price="5", slug="sold-out", stock=0),
)


def catalog(products: Iterable[Product] | None) -> dict[str, Product]:
    """The products by ID. For None, the built-in products."""
    return {product.id: product for product in (BUILT_IN if products is None else products)}


def of_stores(products: dict[str, Product]) -> list[Product]:
    """The products of Wix Stores."""
    return [product for product in products.values() if product.app_id == STORES_APP_ID]
