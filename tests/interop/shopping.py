"""What both sides shop with."""

from collections.abc import Mapping
from typing import Any

from wixvisitor import AccessToken, RefreshToken, TokenRole, Tokens
from wixvisitor.testing import FakeWix
from wixvisitor.testing._catalog import STORES_APP_ID

CART = "/ecom/v1/carts/current"
EXPIRED = 14_500
"""Seconds after which an access token of 14,400 has expired."""


def mugs(fake: FakeWix, quantity: int = 1) -> dict[str, Any]:
    """A request to put mugs into the cart."""
    reference = {"appId": STORES_APP_ID, "catalogItemId": fake.products[0].id}
    return {"lineItems": [{"quantity": quantity, "catalogReference": reference}]}


def tokens_of(granted: Mapping[str, Any], fake: FakeWix, role: TokenRole = TokenRole.VISITOR) -> Tokens:
    """The tokens of an answer of the token endpoint."""
    access = AccessToken(granted["access_token"], int(fake.now()) + granted["expires_in"])
    return Tokens(access, RefreshToken(granted["refresh_token"], role))
