"""Where requests go out: a client of the caller's, or one that a function makes for each event loop."""

from __future__ import annotations

import asyncio
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from tests.constants import CART
from wixvisitor import ConfigurationError, TokenRequestError, Tokens, VisitorPool, VisitorSession
from wixvisitor.testing import FakeWix


@pytest.mark.parametrize("kind", [VisitorSession, VisitorPool])
def test_a_client_for_each_loop(
    still: FakeWix, client_id: str, family: ModuleType, kind: type[VisitorSession | VisitorPool]
) -> None:
    """A session or pool that is given a function makes a client in each loop, and closes it."""
    made: list[Any] = []

    def make() -> Any:
        made.append(family.AsyncClient())
        return made[-1]

    async def visit() -> str:
        async with still.serve() as url:
            one = kind(client_id, client=make, base_url=url, clock=still.now)
            for _ in range(2):
                async with one:
                    session = await one.session("anna") if isinstance(one, VisitorPool) else one
                    await asyncio.gather(*(session.get(CART) for _ in range(5)))
            return session.get_tokens().refresh_token.value

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        visitors = {asyncio.run(visit()) for _ in range(2)}
    assert len(visitors) == 2
    assert len(made) == 4
    assert all(client.is_closed for client in made)


@pytest.mark.anyio
async def test_a_client_of_the_users_stays_open(still: FakeWix, client_id: str, family: ModuleType) -> None:
    """A client that is handed over as one is never closed here."""
    async with still.client(family) as client:
        async with VisitorSession(client_id, client=client, clock=still.now) as session:
            await session.get(CART)
        assert not client.is_closed


@pytest.mark.anyio
async def test_a_function_that_makes_something_else(client_id: str) -> None:
    """It is a ConfigurationError, when the client is needed."""
    session = VisitorSession(client_id, client=lambda: "no client")  # type: ignore[arg-type, return-value]
    with pytest.raises(ConfigurationError, match=r"client: expected an httpx\.AsyncClient"):
        await session.get("/")


@pytest.mark.anyio
async def test_certificates_that_cannot_be_read(
    client_id: str, visitor: Tokens, still: FakeWix, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without its certificates no client can be made: a request fails as httpx's do, and so does a token request."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    async with VisitorSession(client_id) as session:
        with pytest.raises(TokenRequestError, match="HTTP client could not be created"):
            await session.auth_headers()
    async with VisitorSession(client_id, tokens=visitor, clock=still.now) as session:
        with pytest.raises(httpx.ConnectError, match="HTTP client could not be created"):
            await session.get("/a")
