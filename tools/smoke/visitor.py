"""A visitor's first call, which needs no extra. Wix is an ``httpx.MockTransport``."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from wixvisitor import VisitorSession
from wixvisitor.blocking import BlockingVisitorSession
from wixvisitor.storage import FileStorage, MemoryStorage
from wixvisitor.storage.sqlite import SQLiteStorage

CLIENT_ID: Final = "5e9c1d0a-7c1e-4a52-9d5e-1f2a3b4c5d6e"
CART: Final = "/ecom/v1/carts/current"
MINTED: Final = {
    "access_token": "OauthNG.JWS.smoke-access",
    "refresh_token": "JWS.smoke-refresh",
    "expires_in": 14_400,
    "token_type": "Bearer",
}


def answer(request: Any, response: type[Any] = httpx.Response) -> Any:
    """Returns what Wix would say: new tokens, or the token that the request came with."""
    if request.url.path == "/oauth2/token":
        return response(200, json=MINTED)
    return response(200, json={"came_with": request.headers.get("authorization")})


def wix() -> httpx.AsyncClient:
    """Returns a client whose requests never leave this process."""
    return httpx.AsyncClient(transport=httpx.MockTransport(answer))


async def calls(session: VisitorSession) -> None:
    """A visitor's first call is answered, and came with the visitor's token."""
    response = await session.get(CART)
    assert response.json() == {"came_with": MINTED["access_token"]}, response.text


async def keeps_a_visitor(storage: Any) -> None:
    """A second session finds the visitor of the first one in the storage."""
    async with VisitorSession(CLIENT_ID, storage=storage, client=wix()) as session:
        await calls(session)
        first = session.get_tokens()
    async with VisitorSession(CLIENT_ID, storage=storage, client=wix()) as session:
        await session.generate_visitor_tokens()
        assert session.get_tokens() == first


def without_extras() -> None:
    """A visitor lives in memory, a file and SQLite, and for code that is not async."""
    with tempfile.TemporaryDirectory() as place:
        for storage in (MemoryStorage(), FileStorage(Path(place) / "v.json"), SQLiteStorage(Path(place) / "v.db")):
            asyncio.run(keeps_a_visitor(storage))
    with BlockingVisitorSession(CLIENT_ID, client=wix()) as session:
        assert session.get(CART).status_code == 200


@contextmanager
def raises(kind: type[Exception], text: str) -> Iterator[None]:
    """Raises an AssertionError unless the block raises such an error with this text in its message."""
    try:
        yield
    except kind as error:
        if text not in str(error):
            raise AssertionError(f"expected {text!r} in: {error}") from error
    else:
        raise AssertionError(f"expected {kind.__name__}: {text}")
