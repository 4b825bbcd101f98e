"""A shop under attack, and what has to hold afterwards.

Two shoppers are who they were before, no answer is an error of the server, no answer leads to another site or shows a
secret, and Wix was asked for nothing that leads elsewhere.
"""

from __future__ import annotations

import logging
import traceback

from tests.web.conftest import KEY
from tests.web.logins import PASSWORD
from wixvisitor._wire import members as wire

from .curl import Reply, lands
from .real_shops import Shop

SITE = ["-H", "Sec-Fetch-Site: same-origin"]
WIX = "https://wix.example"


class Attacked:
    """A shop that is attacked.

    Attributes:
        anna: a visitor with a cart, who is beginning a login.
        ben: a member.
        address: the address of the callback of Anna's login.
    """

    def __init__(self, shop: Shop) -> None:
        self.shop, self.town, self.wix = shop, shop.town, shop.town.wix
        self.anna, self.ben = shop.browser(), shop.browser()
        self.address = ""
        self.exchanges = 1  # Ben's
        self.origin = self.town.origin

    @property
    def code(self) -> str:
        return self.address.partition("code=")[2].partition("&")[0]

    @property
    def state(self) -> str:
        return self.address.rpartition("state=")[2]

    async def begins(self) -> None:
        assert await self.shop.who(self.ben) == "visitor1"
        await self.ben.send(await self.shop.approved(self.ben))
        assert await self.shop.who(self.ben) == "member1"
        assert await self.shop.who(self.anna) == "visitor2"
        self.address = await self.shop.approved(self.anna)

    async def ends(self) -> None:
        replies = list(self.shop.log)
        assert await self.shop.who(self.anna) == "visitor2"
        assert await self.shop.who(self.ben) == "member1"
        assert self.wix.exchanges == self.exchanges
        await self.shop_is_within(replies)
        shows_no_secret(self, replies)
        bodies = self.wix.bodies(wire.REDIRECT_PATH)
        assert {body["auth"]["authRequest"]["redirectUri"] for body in bodies if "auth" in body} == {
            self.town.redirect_uri
        }
        backs = [body["callbacks"]["postFlowUrl"] for body in bodies if "logout" in body]
        assert set(await lands(backs, self.origin)) <= {self.origin}

    async def shop_is_within(self, replies: list[Reply]) -> None:
        assert [reply for reply in replies if reply.status >= 500 and reply.status != 503] == []
        locations = [location for reply in replies for location in reply.all("location")]
        assert set(await lands(locations, self.town.redirect_uri)) <= {self.origin, WIX}


def shows_no_secret(shop: Attacked, replies: list[Reply]) -> None:
    """No answer shows a token, a code, a verifier, a password or a key, nor a trace of Python's."""
    exchanged = [body for body in shop.wix.bodies("/oauth2/token") if "codeVerifier" in body]
    secrets = ["JWS.", "Traceback", PASSWORD, KEY, shop.code]
    secrets += [body[name] for body in exchanged for name in ("code", "codeVerifier")]
    for reply in replies:
        text = f"{reply.headers} {reply.body!r}"
        assert [secret for secret in secrets if secret in text] == [], reply


def refused(reply: Reply, *statuses: int) -> None:
    """The answer says no, by its status or on the shop's own login page."""
    if reply.status == 303 and 303 not in statuses:
        assert reply.get("location").startswith("/sign-in?error="), reply
    else:
        assert reply.status in (statuses or (400, 403, 404, 405)), reply


def with_header(*lines: str) -> list[str]:
    return [option for line in lines for option in ("-H", line)]


def is_of_routes(record: logging.LogRecord) -> bool:
    """Whether a server has logged an error that the login's routes have raised.

    aiohttp logs an "Unhandled exception" of its own when it drops the rest of a body that is broken.
    """
    if record.getMessage() == "Unhandled exception":
        return False
    trace = None if record.exc_info is None else record.exc_info[2]
    files = [frame.filename for frame in traceback.extract_tb(trace)]
    return any("/_web/login_" in file or file.endswith("/aiohttp/_login.py") for file in files)
