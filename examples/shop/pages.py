"""The pages, and the forms on them: all of it works without JavaScript."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from examples.shop.checkout import AtWix, log_in_again
from examples.shop.views import FOR_ALL, show
from examples.shop.wix import Cart, CurrentShelves, CurrentShop
from wixvisitor import EMPTY_TOKENS
from wixvisitor.fastapi import CurrentVisitor

router = APIRouter()

MOST: Final = 999
SHELVES: Final = range(0, 8, 2)  # where the front page's shelves begin; each is a call of its own
FEATURED: Final = 8

_DONE: Final = {
    "added": "Added to your cart.",
    "short": "There are fewer of these than you asked for.",
    "changed": "Your cart is up to date.",
    "removed": "Removed from your cart.",
}

Quantity = Annotated[int, Form(ge=1, le=MOST)]


@router.get("/")
async def front(request: Request) -> Response:
    """The front page: it gives the browser its cookie; its JavaScript fills the shelves, and asks for the cart."""
    return show(request, "front.html", shelves=SHELVES, featured=FEATURED)


@router.get("/products")
async def products(request: Request, shelves: CurrentShelves) -> Response:
    """Everything the shop sells, for caches as well: its JavaScript asks how much is in the cart."""
    return show(request, "products.html", headers=FOR_ALL, products=await shelves.products())


@router.get("/cart")
async def cart(
    request: Request, shop: CurrentShop, visitor: CurrentVisitor, done: str = "", at_wix: AtWix = ""
) -> Response:
    """The visitor's cart. Wix's checkout leads back to it, too."""
    if response := log_in_again(visitor, at_wix, "/cart"):
        return response
    found, message = await shop.cart(), _DONE.get(done, "")
    return show(request, "cart.html", cart=found, message=message, most=MOST, is_member=visitor.logged_in())


@router.post("/cart/add")
async def add(shop: CurrentShop, product_id: Annotated[str, Form()], quantity: Quantity = 1) -> Response:
    """Puts a product into the cart."""
    line = (await shop.add(product_id, quantity)).of(product_id)
    return _to_cart("short" if line and line.notice else "added")


@router.post("/cart/lines/{line_id}")
async def change(
    shop: CurrentShop, line_id: str, quantity: Quantity, step: Annotated[int, Form(ge=-1, le=1)] = 0
) -> Response:
    """Sets a quantity; the buttons beside it make it one more or one fewer."""
    await shop.change(line_id, min(max(1, quantity + step), MOST))
    return _to_cart("changed")


@router.post("/cart/lines/{line_id}/remove")
async def remove(shop: CurrentShop, line_id: str) -> Response:
    """Takes a line out."""
    await shop.remove(line_id)
    return _to_cart("removed")


@router.get("/visitor")
async def visitor_page(request: Request, visitor: CurrentVisitor) -> Response:
    """Who the browser is to Wix. Makes no call to Wix."""
    state = request.app.state.history.describe(visitor)
    cart = None if state["visitor"] else Cart()  # a visitor that does not exist yet has no cart, so Wix is not asked
    return show(request, "visitor.html", state=state, kept_in=request.app.state.kept_in, cart=cart)


@router.post("/visitor/renew")
async def renew(visitor: CurrentVisitor) -> Response:
    """Has the token renewed now, which usually happens by itself and in time."""
    await visitor.renew_token()
    return RedirectResponse("/visitor", 303)


@router.post("/visitor/forget")
async def forget(visitor: CurrentVisitor) -> Response:
    """Forgets who the browser was, its cart included; ends a login as well."""
    await visitor.set_tokens(EMPTY_TOKENS)
    return RedirectResponse("/visitor", 303)


@router.get("/health")
async def health() -> dict[str, bool]:
    """Whether the server serves. Looks at no visitor, so probes make none."""
    return {"ok": True}


def _to_cart(done: str) -> Response:
    return RedirectResponse(f"/cart?done={done}", 303)
