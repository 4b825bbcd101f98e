"""The same for the page's JavaScript, as JSON."""

from __future__ import annotations

from typing import Annotated, Any

import attrs
from fastapi import APIRouter, Body, Query, Request, Response

from examples.shop.pages import MOST
from examples.shop.views import FOR_ALL
from examples.shop.wix import Cart, CurrentShelves, CurrentShop
from wixvisitor.fastapi import CurrentVisitor

router = APIRouter(prefix="/api")

Json = dict[str, Any]
Quantity = Annotated[int, Body(ge=1, le=MOST)]


@router.get("/products")
async def products(
    shelves: CurrentShelves,
    response: Response,
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 100,
) -> Json:
    """A part of what the shop sells."""
    found = await shelves.products(offset=offset, limit=limit)
    response.headers.update(FOR_ALL)
    return {"products": [attrs.asdict(product) for product in found]}


@router.get("/cart")
async def cart(shop: CurrentShop) -> Json:
    """The visitor's cart."""
    return (await shop.cart()).to_dict()


@router.post("/cart/lines")
async def add(shop: CurrentShop, product_id: Annotated[str, Body()], quantity: Quantity = 1) -> Json:
    """Puts a product into the cart; ``message`` says how that went."""
    cart = await shop.add(product_id, quantity)
    return {**cart.to_dict(), "message": _added(cart, product_id)}


@router.patch("/cart/lines/{line_id}")
async def change(shop: CurrentShop, line_id: str, quantity: Annotated[int, Body(ge=1, le=MOST, embed=True)]) -> Json:
    """Sets a quantity."""
    return {**(await shop.change(line_id, quantity)).to_dict(), "message": "Your cart is up to date."}


@router.delete("/cart/lines/{line_id}")
async def remove(shop: CurrentShop, line_id: str) -> Json:
    """Takes a line out."""
    return {**(await shop.remove(line_id)).to_dict(), "message": "Removed from your cart."}


@router.get("/visitor")
async def visitor_state(request: Request, visitor: CurrentVisitor) -> Json:
    """Who the browser is to Wix. Makes no call to Wix, and holds no secret."""
    state: Json = request.app.state.history.describe(visitor)
    return {**state, "kept_in": request.app.state.kept_in}


def _added(cart: Cart, product_id: str) -> str:
    line = cart.of(product_id)
    return f"{line.name}: {line.notice}" if line and line.notice else "Added to your cart."
