"""The minimal example for aiohttp."""

from __future__ import annotations

import httpx
import pytest
from aiohttp.test_utils import TestServer

from examples.aiohttp_cart import main

pytestmark = pytest.mark.anyio


async def test_each_browser_has_its_own_cart():
    """Put in twice, it is there twice; for somebody else it is empty."""
    async with TestServer(await main(None)) as server:
        url = str(server.make_url("/"))
        async with (
            httpx.AsyncClient(base_url=url, follow_redirects=True) as anna,
            httpx.AsyncClient(base_url=url, follow_redirects=True) as ben,
        ):
            first = (await anna.get("/")).text
            assert "<li>empty" in first
            mug = first.split('value="')[1].split('"')[0]
            for _ in range(2):
                page = await anna.post("/add", data={"id": mug})
            assert "2 x Mug" in page.text
            assert "<li>empty" in (await ben.get("/")).text
            assert "HttpOnly; SameSite=Lax" in (await ben.get("/", headers={"Cookie": ""})).headers.get(
                "set-cookie", ""
            )
