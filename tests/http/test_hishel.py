"""hishel under a pool: which of its settings keeps visitors apart, as docs/explanation/browsers.md says."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import hishel
import hishel.httpx
import httpx
import pytest

from tests.constants import CART, CLIENT_ID
from wixvisitor import VisitorPool


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("settings", "is_apart"),
    [({}, False), ({"rfc": True}, True), ({"rfc": hishel.CacheOptions(shared=False)}, False)],
    ids=["default", "rfc", "private"],
)
async def test_one_cache_for_all(tmp_path: Path, settings: dict[str, Any], *, is_apart: bool) -> None:
    """The key is the URL alone. Only as a shared cache, with ``rfc=True``, it gives each visitor its own cart."""
    numbers = itertools.count(1)

    def wix(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/oauth2/token":
            number = next(numbers)
            tokens = {"access_token": f"OauthNG.JWS.{number}.b.c", "refresh_token": f"JWS.{number}.b.c"}
            return httpx.Response(200, json={**tokens, "expires_in": 14400}, headers={"Cache-Control": "max-age=60"})
        mine = {"cart of": request.headers["Authorization"]}
        return httpx.Response(200, json=mine, headers={"Cache-Control": "max-age=60"})

    storage = hishel.AsyncSqliteStorage(database_path=tmp_path / "cache.db")
    transport = hishel.httpx.AsyncCacheTransport(httpx.MockTransport(wix), storage=storage, **settings)
    async with httpx.AsyncClient(transport=transport) as client, VisitorPool(CLIENT_ID, client=client) as pool:
        anna, ben = [(await (await pool.session(key)).get(CART)).json() for key in ("anna", "ben")]
    assert next(numbers) == 3, "a token call was answered from the cache"
    assert (anna != ben) == is_apart
