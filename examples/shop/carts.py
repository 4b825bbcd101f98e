"""The guest's cart comes along at a login.

What Wix does with a visitor's cart at a login is not documented. If the member has the same cart afterwards, there is
nothing to do. If the member has another one, as from a visit last week, this shop puts what is missing into it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from wixvisitor import Tokens, VisitorSession, WixAPIError, WixVisitorError
from wixvisitor.apis.ecom import current_cart
from wixvisitor.members import MemberLogin

logger = logging.getLogger("examples.shop")

Json = Mapping[str, Any]


class Carts:
    """Compares the carts of before and after a login.

    Args:
        session_of: makes a session for tokens, which is not kept anywhere.
    """

    def __init__(self, session_of: Callable[[Tokens], VisitorSession]) -> None:
        self._session_of = session_of

    async def bring(self, member: VisitorSession, login: MemberLogin) -> None:
        """Brings the guest's cart: for ``login_router(on_login=carts.bring)``. A failure is no failure of the login."""
        if login.previous.refresh_token.role != "visitor":  # another member's cart is left where it is
            return
        try:
            async with self._session_of(login.previous) as guest:
                before = await _cart_of(guest)
            if before.get("lineItems"):
                await _add_missing(member, before)
        except (WixVisitorError, httpx.HTTPError) as error:
            logger.warning("a guest's cart did not come along: %s", error)


async def _add_missing(member: VisitorSession, before: Json) -> None:
    now = await _cart_of(member)
    if now.get("id") == before.get("id"):
        return
    there = [_reference(line) for line in now.get("lineItems") or ()]
    missing = [line for line in before["lineItems"] if _reference(line) not in there]
    if missing:
        await current_cart.add_line_items_to_current_cart(
            member,
            catalog_items=[{"quantity": _quantity(line), "catalogReference": _reference(line)} for line in missing],
        )


async def _cart_of(session: VisitorSession) -> Json:
    """Returns a cart as it is on the wire, ``{}`` if there is none."""
    try:
        answer: Json = await current_cart.get_current_cart(session)
    except WixAPIError as error:
        if error.status_code == 404:
            return {}
        raise
    return answer.get("cart") or {}


def _reference(line: Json) -> Any:
    return (line.get("source") or {}).get("catalogReference") or {}


def _quantity(line: Json) -> int:
    return int((line.get("quantityInfo") or {}).get("requestedQuantity") or 1)
