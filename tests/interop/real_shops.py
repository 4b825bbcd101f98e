"""Shops with the login's routes on real servers, over TLS, so that cookies are ``__Host-``: uvicorn, and aiohttp's."""

from __future__ import annotations

import base64
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import trustme
import uvicorn
from attrs import define, field

from tests.constants import CLIENT_ID
from tests.web.conftest import KEY
from tests.web.logins import APPS, OPENS, Town, Wix
from wixvisitor import VisitorPool
from wixvisitor.cookies import IdCookie, SealedCookie
from wixvisitor.testing._serve import _listener

from .curl import Curl, Reply, in_node, replies_of

WORDS = [option for name, value in OPENS.items() for option in ("-H", f"{name}: {value}")]  # of a page that is opened


@define
class Shop:
    """A shop that is open, and who visits it.

    Attributes:
        anna: a visitor with a cart.
        ben: a member.
    """

    town: Town
    directory: Path
    log: list[Reply] = field(factory=list)
    _browsers: int = 0

    @property
    def port(self) -> int:
        return int(self.town.origin.rpartition(":")[2])

    @property
    def ca(self) -> Path:
        return self.directory / "ca.pem"

    def browser(self) -> Curl:
        """A new browser."""
        self._browsers += 1
        jar = self.directory / f"jar{self._browsers}"
        jar.touch()
        return Curl(self.town.origin, self.ca, jar, self.log)

    async def who(self, browser: Curl) -> str:
        """Who a browser is."""
        return (await browser.send("/cart")).body.decode()

    async def begins(self, browser: Curl, target: str = "/auth/login?next=/account", *options: str) -> str:
        """Begins a login: the address of Wix's page."""
        reply = await browser.send(target, *WORDS, *options)
        assert reply.status == 303, reply
        return reply.get("location")

    async def approved(self, browser: Curl, target: str = "/auth/login?next=/account") -> str:
        """A login up to the address of the callback."""
        return self.town.wix.approve(await self.begins(browser, target))

    async def raw(self, connections: Sequence[Sequence[tuple[str, int]]], *, silence: int = 700) -> list[list[Reply]]:
        """The answers on several connections at once.

        Args:
            connections: the pieces that are written to each, and the pause before each piece in milliseconds.
            silence: after so many milliseconds without a byte a connection is closed.
        """
        came = await in_node("send", self.port, str(self.ca), connections, silence)
        replies = [replies_of(base64.b64decode(text)) for text in came]
        self.log.extend(reply for found in replies for reply in found)
        return replies


@asynccontextmanager
async def open_shop(framework: str, directory: Path, **options: Any) -> AsyncIterator[Shop]:
    """Opens a shop on a free port."""
    listener = _listener("127.0.0.1", 0)
    town = Town(Wix(), f"https://shop.example:{listener.getsockname()[1]}")
    town.options = {"forms": True, "login_page": "/sign-in", **options}
    client = httpx.AsyncClient(transport=httpx.MockTransport(town.wix))
    town.pool = VisitorPool(CLIENT_ID, client=client, clock=lambda: town.now)
    town.cookie = SealedCookie([KEY]) if framework == "asgi" else IdCookie([KEY])  # each kind somewhere
    app = APPS[framework](town, {})
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    certificate = authority.issue_cert("shop.example")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(directory / "cert.pem"))
    serving = _aiohttp if framework == "aiohttp" else _uvicorn
    async with serving(app, listener, directory / "cert.pem"):
        yield Shop(town, directory)
    await town.pool.aclose()
    await client.aclose()


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Any:  # the tests' own process keeps its signals
        yield


@asynccontextmanager
async def _uvicorn(app: Any, listener: Any, certificate: Path) -> AsyncIterator[None]:
    """The server uvicorn with its own defaults, which believe a proxy on this machine."""
    server = _Server(uvicorn.Config(app, ssl_certfile=certificate, log_config=None, lifespan="off"))
    with closing(listener):
        async with anyio.create_task_group() as group:
            group.start_soon(server.serve, [listener])
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await anyio.sleep(0.005)
            try:
                yield
            finally:
                server.should_exit = server.force_exit = True


@asynccontextmanager
async def _aiohttp(app: Any, listener: Any, certificate: Path) -> AsyncIterator[None]:
    from aiohttp import web

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.SockSite(runner, listener, ssl_context=context).start()
    try:
        yield
    finally:
        await runner.cleanup()
