"""The calls to Wix: the products, as everybody, and the current cart, as the visitor.

Amounts of money are texts on the wire. A visitor without a cart gets a 404, which is an empty cart here. Adding what
is sold out still answers 200: how much of it there is stands in the line.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Final

import attrs
from fastapi import Depends, Request

from examples.shop.catalogue import PICTURES, slug
from examples.shop.history import History
from wixvisitor import VisitorSession, WixAPIError
from wixvisitor.apis.ecom import current_cart
from wixvisitor.apis.stores import products
from wixvisitor.fastapi import CatalogReader, CatalogVisitor, CurrentVisitor

Json = Mapping[str, Any]

STORES: Final = "215238eb-22a5-4c36-9e7b-e7c08025e04e"  # the app ID of Wix Stores


@attrs.frozen
class Product:
    """What a card on a shelf shows; ``price`` is ready to be read."""

    id: str
    name: str
    price: str
    picture: str
    in_stock: bool


@attrs.frozen
class Line:
    """A line of the cart; ``available`` is how many of ``quantity`` there are."""

    id: str
    product_id: str
    name: str
    picture: str
    quantity: int
    available: int
    price: str
    total: str

    @property
    def notice(self) -> str:
        """What the shopper should know about it."""
        if self.available >= self.quantity:
            return ""
        return f"Only {self.available} of these left." if self.available else "Sold out."


@attrs.frozen
class Cart:
    """What the visitor wants to buy."""

    lines: tuple[Line, ...] = ()
    subtotal: str = ""

    @property
    def count(self) -> int:
        """How many things are in it."""
        return sum(line.quantity for line in self.lines)

    def of(self, product_id: str) -> Line | None:
        """Returns the line of this product."""
        return next((line for line in self.lines if line.product_id == product_id), None)

    def to_dict(self) -> dict[str, Any]:
        """Returns it for the page's JavaScript."""
        lines = [{**attrs.asdict(line), "notice": line.notice} for line in self.lines]
        return {"lines": lines, "count": self.count, "subtotal": self.subtotal}


class Shelves:
    """What the shop sells, the same for everybody: a crawler that keeps no cookies is no new visitor to Wix.

    All of it raises what ``CatalogReader.request`` does, and ``WixAPIError``; ``trouble.py`` turns that into pages.
    """

    def __init__(self, catalog: CatalogReader) -> None:
        self._catalog = catalog

    async def products(self, *, offset: int = 0, limit: int = 100) -> list[Product]:
        """Returns this part of what the shop sells."""
        found = await products.query_products(self._catalog, query={"paging": {"offset": offset, "limit": limit}})
        return [_product(product) for product in found.get("products", []) if product.get("visible", True)]


def get_shelves(catalog: CatalogVisitor) -> Shelves:
    """Returns what the shop sells: a dependency."""
    return Shelves(catalog)


CurrentShelves = Annotated[Shelves, Depends(get_shelves)]
"""The type of a handler's argument that is what the shop sells."""


class Shop:
    """The visitor's cart.

    All of it raises what ``VisitorSession.request`` does, and ``WixAPIError``; ``trouble.py`` turns that into pages.
    """

    def __init__(self, visitor: VisitorSession, history: History) -> None:
        self._visitor = visitor
        self._history = history

    async def cart(self) -> Cart:
        """Returns the visitor's cart."""
        try:
            return await self._counted(current_cart.get_current_cart(self._visitor))
        except WixAPIError as error:
            if error.status_code == 404:
                return Cart()
            raise

    async def add(self, product_id: str, quantity: int) -> Cart:
        """Puts a product into the cart, which is made if there is none. Adding twice is adding twice."""
        return await self._counted(
            current_cart.add_line_items_to_current_cart(
                self._visitor,
                catalog_items=[
                    {"quantity": quantity, "catalogReference": {"appId": STORES, "catalogItemId": product_id}}
                ],
            )
        )

    async def change(self, line_id: str, quantity: int) -> Cart:
        """Sets how many there are of a line."""
        return await self._counted(
            current_cart.update_line_items_in_current_cart(
                self._visitor, line_items=[{"lineItemId": line_id, "quantity": {"newQuantity": quantity}}]
            )
        )

    async def remove(self, line_id: str) -> Cart:
        """Takes a line out."""
        return await self._counted(
            current_cart.remove_line_items_from_current_cart(self._visitor, line_item_ids=[line_id])
        )

    async def _counted(self, call: Awaitable[Any]) -> Cart:
        try:
            answer = await call
        except WixAPIError:
            self._history.count_call(self._visitor)
            raise
        self._history.count_call(self._visitor)
        return _cart(answer)


def get_shop(request: Request, visitor: CurrentVisitor) -> Shop:
    """Returns the shop for the browser that asks: a dependency."""
    return Shop(visitor, request.app.state.history)


CurrentShop = Annotated[Shop, Depends(get_shop)]
"""The type of a handler's argument that is the shop, for the browser's visitor."""


def money(amount: Decimal, currency: str) -> str:
    """Returns an amount as people read it."""
    return f"${amount:,.2f}" if currency in {"USD", ""} else f"{amount:,.2f} {currency}"


def _product(found: Json) -> Product:
    price = found.get("priceData") or found.get("price") or {}
    name = str(found.get("name", ""))
    return Product(
        id=found["id"],
        name=name,
        price=money(_amount(price.get("price")), str(price.get("currency", ""))),
        picture=_picture(name),
        in_stock=bool((found.get("stock") or {}).get("inStock", True)),
    )


def _cart(answer: Json) -> Cart:
    cart = answer.get("cart") or {}
    currency = str((cart.get("customerInfo") or {}).get("currencyCode", ""))
    lines = tuple(_line(line, currency) for line in cart.get("lineItems") or ())
    return Cart(lines, money(_amount((cart.get("subtotal") or {}).get("amount")), currency))


def _line(found: Json, currency: str) -> Line:
    quantities, name = found.get("quantityInfo") or {}, found.get("name")
    name = str(name.get("translated") or name.get("original") if isinstance(name, dict) else name)
    quantity = int(quantities.get("requestedQuantity", 0))
    available = int(quantities.get("confirmedQuantity", quantity))
    price = _amount(((found.get("pricing") or {}).get("unitPrice") or {}).get("amount"))
    return Line(
        id=found["id"],
        product_id=((found.get("source") or {}).get("catalogReference") or {}).get("catalogItemId", ""),
        name=name,
        picture=_picture(name),
        quantity=quantity,
        available=0 if found.get("status") == "OUT_OF_STOCK" else available,
        price=money(price, currency),
        total=money(price * available, currency),
    )


def _amount(value: object) -> Decimal:
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return Decimal(0)


def _picture(name: str) -> str:
    return slug(name) if slug(name) in PICTURES else "parcel"
