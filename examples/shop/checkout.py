"""Paying, which is done on Wix's page, and coming back from there."""

from __future__ import annotations

import re
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from examples.shop.views import show
from wixvisitor import VisitorSession, WixAPIError
from wixvisitor.fastapi import CurrentVisitor

router = APIRouter()

THANKS: Final = "/thanks"
_ORDER: Final = re.compile(r"[0-9A-Fa-f-]{8,40}")

AtWix = Annotated[str, Query(alias="wixMemberLoggedIn")]
"""What Wix's pages add to the addresses to which they send a browser back: ``true`` if they know its member."""


@router.get("/checkout")
async def checkout(request: Request, visitor: CurrentVisitor) -> Response:
    """Sends the browser to Wix's checkout of the visitor's cart. A member who is logged in here is so there, too."""
    origin: str = request.app.state.origin
    try:
        url = await visitor.checkout.url(return_to=f"{origin}/cart", thank_you=f"{origin}{THANKS}")
    except WixAPIError as error:
        if error.status_code == 404:  # there is no cart
            return RedirectResponse("/cart", 303)
        raise
    return RedirectResponse(url, 303)


@router.get(THANKS)
async def thanks(
    request: Request, visitor: CurrentVisitor, at_wix: AtWix = "", order_id: Annotated[str, Query(alias="orderId")] = ""
) -> Response:
    """Where Wix leads to after an order. The page asks Wix nothing, so it is there even if Wix does not answer."""
    order = order_id if _ORDER.fullmatch(order_id) else ""
    here = f"{THANKS}?orderId={order}" if order else THANKS
    if response := log_in_again(visitor, at_wix, here):
        return response
    return show(request, "thanks.html", order=order, is_member=visitor.logged_in())


def log_in_again(visitor: VisitorSession, at_wix: str, here: str) -> Response | None:
    """Returns the redirect that logs a shopper in here who has logged in on Wix's pages; None if there is none.

    Wix shows no page for that. Whatever comes of it, the browser comes back to ``here``, which must not say again that
    Wix knows the member: that would never end.
    """
    if at_wix != "true" or visitor.logged_in():
        return None
    return RedirectResponse(f"/auth/login?{urlencode({'prompt': 'none', 'next': here})}", 303)
