"""A storefront for crawlers and shoppers: ``python -m examples.jobs.storefront``, then http://127.0.0.1:8004/.

All browsers read the products as one visitor, so crawlers make none. A shopper gets a visitor with the first item.
"""

from html import escape
from typing import Annotated

from fastapi import FastAPI, Form
from fastapi.responses import HTMLResponse, RedirectResponse

from examples.jobs.command_line import chosen_site
from wixvisitor import VisitorPool
from wixvisitor.apis import each
from wixvisitor.apis.ecom import current_cart
from wixvisitor.apis.stores import products_v3
from wixvisitor.cookies import IdCookie, VisitorCookie, generate_key
from wixvisitor.fastapi import CatalogVisitor, CurrentVisitor, setup

STORES = "215238eb-22a5-4c36-9e7b-e7c08025e04e"  # the app ID of Wix Stores


def make_app(pool: VisitorPool, cookie: VisitorCookie) -> FastAPI:
    """Returns the app."""
    app = FastAPI()
    setup(app, pool, cookie=cookie)

    @app.get("/", response_class=HTMLResponse)
    async def shop(catalog: CatalogVisitor) -> str:
        """The products, for everyone."""
        buttons = [
            f'<li>{escape(product["name"])} <button name="product" value="{escape(product["id"])}">Buy</button>'
            async for product in each(products_v3.query_products, catalog, query={"cursorPaging": {"limit": 100}})
        ]
        return f'<form method="post" action="/cart">{"".join(buttons)}</form>'

    @app.post("/cart")
    async def buy(visitor: CurrentVisitor, product: Annotated[str, Form()]) -> RedirectResponse:
        """Puts one into the shopper's cart, and sends the browser to Wix's checkout."""
        await current_cart.add_line_items_to_current_cart(
            visitor, catalog_items=[{"quantity": 1, "catalogReference": {"appId": STORES, "catalogItemId": product}}]
        )
        return RedirectResponse(await visitor.checkout.url(return_to="https://shop.example/"), 303)

    return app


if __name__ == "__main__":
    import uvicorn

    client_id, base_url = chosen_site()  # your client ID, and None
    uvicorn.run(
        make_app(VisitorPool(client_id, base_url=base_url), IdCookie([generate_key()], secure=False)), port=8004
    )
