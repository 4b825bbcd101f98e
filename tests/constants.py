"""What many tests name: the site, an API's path, when it is, how much is tried, and the types of fixtures."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

from wixvisitor import VisitorPool, VisitorSession

CLIENT_ID = "5e9c1d0a-7c1e-4a52-9d5e-1f2a3b4c5d6e"
OTHER_CLIENT_ID = "0d1e2f3a-4b5c-4d6e-8f70-8192a3b4c5d6"
CART = "/ecom/v2/carts/current"
FINE = (200, 404)  # what the cart's path answers: a cart, or a visitor without one
LIFETIME = 14_400  # seconds that an access token lives
EPOCH = 1_800_000_000.0  # when the still clock stands still
IN_CI = bool(os.environ.get("CI"))  # CI takes what is long, and larger numbers of all that is tried at random

SessionMaker = Callable[..., VisitorSession]
PoolMaker = Callable[..., VisitorPool]
Until = Callable[..., Awaitable[None]]


class Clock:
    """Seconds since the epoch, which a test moves."""

    now = EPOCH

    def __call__(self) -> float:
        """Returns them."""
        return self.now
