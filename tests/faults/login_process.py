"""A process that logs its shopper in and out, and kills itself at the step that it is told."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import attrs
import httpx2

from tests.constants import CART, CLIENT_ID
from tests.storage.visitor_process import SteppingStore, SteppingTransport, open_store
from wixvisitor import VisitorPool, WixVisitorError
from wixvisitor.members import MemberLogin
from wixvisitor.testing._catalog import BUILT_IN, STORES_APP_ID

CALLBACK = "https://shop.example/callback"
HOME = "https://shop.example/"
MUGS = {
    "catalogItems": [{"quantity": 2, "catalogReference": {"appId": STORES_APP_ID, "catalogItemId": BUILT_IN[0].id}}]
}


@attrs.frozen(kw_only=True)
class Shop:
    """What a process is told at its start: where Wix is, and the adapter's name and its arguments."""

    url: str
    store: tuple[str, dict[str, Any]]


def live(shop: Shop, line: Connection) -> None:
    """The process."""
    with suppress(EOFError, KeyboardInterrupt):
        asyncio.run(_live(shop, line))


async def _live(shop: Shop, line: Connection) -> None:
    deadly: list[str] = []

    def reach(step: str) -> None:
        if step in deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    async with httpx2.AsyncClient(transport=SteppingTransport(reach), timeout=60) as client:
        store = SteppingStore(open_store(*shop.store), reach, 60.0)
        pool = VisitorPool(CLIENT_ID, storage=store, client=client, base_url=shop.url)
        clerk = Clerk(pool)
        line.send("ready")
        while True:
            name, arguments, step = await asyncio.to_thread(line.recv)
            deadly[:] = [step]
            try:
                line.send(await getattr(clerk, name)(*arguments))
            except WixVisitorError as error:
                line.send(type(error).__name__)


@attrs.frozen
class Clerk:
    """What the process can be told to do for its one shopper."""

    pool: VisitorPool

    async def fill(self) -> int:
        """Puts two mugs into the cart."""
        session = await self.pool.session("shopper")
        return (await session.post(f"{CART}/add-line-items", json=MUGS)).status_code

    async def begin(self) -> tuple[str, str]:
        """Begins a login, and returns the address of Wix's page and what a web app keeps."""
        login = await (await self.pool.session("shopper")).members.start_login(CALLBACK)
        return login.url, login.to_json()

    async def finish(self, kept: str, url: str) -> str:
        """Finishes it."""
        session = await self.pool.session("shopper")
        await session.members.finish_login(MemberLogin.from_json(kept), url)
        return "member"

    async def log_out(self) -> str:
        """Logs out."""
        return await (await self.pool.session("shopper")).members.logout(HOME)

    async def look(self) -> tuple[str, int, int]:
        """The shopper's role, and what the cart's path answers, and with how many lines."""
        session = await self.pool.session("shopper")
        role = session.get_tokens().refresh_token.role.value
        answer = await session.get(CART)
        lines = answer.json()["cart"]["lineItems"] if answer.is_success else []
        return role, answer.status_code, len(lines)
