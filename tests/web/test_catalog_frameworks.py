"""Answers that show the catalogue, tried with the frameworks: no cookie, no ``Vary``, one visitor for all."""

from __future__ import annotations

import anyio
import pytest

from tests.web.shops import DOCUMENT, body_of

pytestmark = pytest.mark.anyio

SCRIPT = {"Sec-Fetch-Dest": "empty"}
PUBLIC = "public, max-age=60"


async def test_a_crawler_makes_no_visitor(open_shop, framework, form):
    """Twenty pages for somebody who keeps no cookies: the catalogue's visitor only, and answers for caches."""
    async with open_shop(framework, cookie=form) as town:
        for _ in range(20):
            async with town.browsers() as crawler:
                response = await crawler.get("/products", headers=DOCUMENT)
                assert body_of(response) == {"products": 4}
                assert "Set-Cookie" not in response.headers
                assert "Cookie" not in response.headers.get("Vary", "")
                assert response.headers["Cache-Control"] == PUBLIC
        assert town.visitors == len(town.fake.token_calls()) == 1


async def test_a_page_reserves_nothing(open_shop, framework, form):
    """Also without a ``Cache-Control`` of its own: the answer carries neither a cookie nor ``Vary``, and gets none."""
    async with open_shop(framework, cookie=form) as town, town.browsers() as browser:
        response = await browser.get("/shelf", headers=DOCUMENT)
        assert body_of(response) == {"products": 4}
        assert not {"set-cookie", "cache-control"} & set(response.headers)
        assert "Cookie" not in response.headers.get("Vary", "")


async def test_a_known_browser_gets_the_same_answer(open_shop, framework, form):
    """Who has a cookie keeps it, and the page says nothing about it."""
    async with open_shop(framework, cookie=form) as town, town.browsers() as browser:
        who = body_of(await browser.get("/cart"))["who"]
        response = await browser.get("/products", headers=DOCUMENT)
        assert "Set-Cookie" not in response.headers
        assert "Cookie" not in response.headers.get("Vary", "")
        assert body_of(await browser.get("/cart"))["who"] == who
        assert town.visitors == 2


async def test_both_visitors_in_one_request(open_shop, framework, form):
    """Where the browser's own visitor is looked at as well, the answer is that visitor's: a cookie, and ``Vary``."""
    async with open_shop(framework, cookie=form) as town, town.browsers() as browser:
        response = await browser.get("/both", headers=DOCUMENT)
        assert town.cookie_name in response.headers["Set-Cookie"]
        assert "Cookie" in response.headers["Vary"]
        assert response.headers["Cache-Control"] == "private, no-store"
        assert len({call.visitor_id for call in town.fake.api_calls()}) == town.visitors == 2


async def test_the_script_of_a_cached_page(open_shop, framework, form):
    """Six calls at once after one that went alone are one visitor, though the page came from a cache."""
    async with open_shop(framework, cookie=form) as town, town.browsers() as browser:
        first = body_of(await browser.get("/cart", headers=SCRIPT))["who"]
        found: list[str] = []

        async def call() -> None:
            found.append(body_of(await browser.get("/cart", headers=SCRIPT))["who"])

        async with anyio.create_task_group() as group:
            for _ in range(6):
                group.start_soon(call)
        assert found == [first] * 6
        assert town.visitors == len(town.fake.token_calls()) == 1


async def test_a_list_of_ones_own(open_shop, framework):
    """``catalog_paths`` stands where the framework's other arguments do, and is what may be read."""
    async with open_shop(framework, catalog_paths=("/blog/",)) as town, town.browsers() as browser:
        assert (await browser.get("/products")).status_code == 500
        assert town.fake.calls == []
