"""The least that aiohttp needs: ``python -m examples.aiohttp_cart``. Each browser is one Wix visitor with its own cart.

Without ``--client-id`` FakeWix plays Wix.
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from html import escape
from typing import Any

from aiohttp import web

from wixvisitor import VisitorPool, VisitorSession, WixAPIError, raise_for_error
from wixvisitor.aiohttp import get_catalog_visitor, get_visitor, setup
from wixvisitor.cookies import IdCookie, generate_key
from wixvisitor.testing import FakeWix

CART = "/ecom/v2/carts/current"
STORES = "215238eb-22a5-4c36-9e7b-e7c08025e04e"  # the app ID of Wix Stores
FAKE_CLIENT_ID = "c1a70000-5e0b-4c1a-8c1a-000000000000"

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>A cart</title><h1>A cart</h1><h2>Products</h2><form method="post" action="/add"><ul>{products}</ul></form>
<h2>Your cart</h2><ul>{lines}</ul>"""


def make_app(pool: VisitorPool) -> web.Application:
    """Returns the app. ``secure=False`` is for http on this machine; leave it out behind https."""
    app = web.Application()
    setup(app, pool, cookie=IdCookie([generate_key()], secure=False))  # keep the key, to know visitors after a restart
    app.add_routes([web.get("/", show), web.post("/add", add)])
    return app


async def show(request: web.Request) -> web.Response:
    """The products, and what this visitor has of them."""
    catalog, visitor = await get_catalog_visitor(request), await get_visitor(request)
    found = raise_for_error(await catalog.post("/stores-reader/v1/products/query", json={"query": {}})).json()
    products = "".join(
        f'<li>{escape(item["name"])} <button name="id" value="{escape(item["id"])}">Add</button>'
        for item in found["products"]
    )
    lines = "".join(
        f"<li>{line['quantityInfo']['requestedQuantity']} x {escape(line['name']['original'])}"
        for line in await lines_of(visitor)
    )
    return web.Response(text=PAGE.format(products=products, lines=lines or "<li>empty"), content_type="text/html")


async def lines_of(visitor: VisitorSession) -> list[dict[str, Any]]:
    """Returns the lines of the cart; empty before something was put in."""
    try:
        cart = raise_for_error(await visitor.get(CART)).json()["cart"]
    except WixAPIError as error:
        if error.status_code == 404:
            return []
        raise
    return list(cart["lineItems"])


async def add(request: web.Request) -> web.Response:
    """Puts one into the cart. The cookie is ``SameSite=Lax``: another site's form comes without it."""
    reference = {"appId": STORES, "catalogItemId": (await request.post())["id"]}
    item = {"quantity": 1, "catalogReference": reference}
    visitor = await get_visitor(request)
    raise_for_error(await visitor.post(f"{CART}/add-line-items", json={"catalogItems": [item]}))
    raise web.HTTPSeeOther("/")


async def main(client_id: str | None) -> web.Application:
    """Returns the app for this site, or for a FakeWix that ends with it."""
    if client_id:
        return make_app(VisitorPool(client_id))
    stack = AsyncExitStack()
    app = make_app(VisitorPool(FAKE_CLIENT_ID, base_url=await stack.enter_async_context(FakeWix().serve())))

    async def closing(_: web.Application) -> AsyncIterator[None]:
        async with stack:
            yield

    app.cleanup_ctx.append(closing)
    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.aiohttp_cart", description=__doc__)
    parser.add_argument("--client-id", metavar="ID")
    parser.add_argument("--port", type=int, default=8001)
    arguments = parser.parse_args()
    web.run_app(main(arguments.client_id), host="127.0.0.1", port=arguments.port)
