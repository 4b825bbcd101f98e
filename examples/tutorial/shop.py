"""A small shop. Each browser is a visitor of a Wix site."""

from html import escape
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from wixvisitor import TokenRequestError, VisitorPool, WixAPIError
from wixvisitor.apis import each
from wixvisitor.apis.ecom import current_cart
from wixvisitor.apis.members import members
from wixvisitor.apis.stores import products_v3
from wixvisitor.cookies import IdCookie, generate_key
from wixvisitor.fastapi import CatalogVisitor, CurrentMember, CurrentVisitor, login_router, setup
from wixvisitor.storage.sqlite import SQLiteStorage

CLIENT_ID = "5e9c1d0a-7c1e-4a52-9d5e-1f2a3b4c5d6e"
WIX = "http://127.0.0.1:8900"  # the stand-in
SHOP = "http://127.0.0.1:8000"
STORES = "215238eb-22a5-4c36-9e7b-e7c08025e04e"  # the app Wix Stores

STYLE = "body { font: 1.1rem system-ui; margin: 2rem }"

router = APIRouter(default_response_class=HTMLResponse)


def make_app(pool: VisitorPool, key: str) -> FastAPI:
    """Returns the shop, for this pool of visitors; the key seals the cookies."""
    app = FastAPI()
    setup(app, pool, cookie=IdCookie([key], secure=False))  # False: http, on this machine
    app.include_router(router)
    app.include_router(login_router(f"{SHOP}/auth/callback"))
    app.add_exception_handler(TokenRequestError, not_now)  # no new token now
    app.add_exception_handler(WixAPIError, not_now)  # an old token, or Wix itself fails
    return app


def serve() -> FastAPI:
    """Returns what uvicorn serves."""
    key = Path("shop.key")
    if not key.exists():
        key.touch(0o600)  # a secret: only you may read it
        key.write_text(generate_key())
    pool = VisitorPool(CLIENT_ID, base_url=WIX, storage=SQLiteStorage("visitors.db"))
    return make_app(pool, key.read_text())


def page(title: str, body: str) -> str:
    """Returns a page with the links of the shop."""
    links = '<a href="/">Shop</a> <a href="/cart">Cart</a> <a href="/account">Account</a>'
    head = f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
    return f"<!doctype html><title>{title}</title>{head}<p>{links}</p><h1>{title}</h1>{body}"


@router.get("/")
async def products(catalog: CatalogVisitor) -> str:
    """What the shop sells."""
    rows = [
        f'<form method="post" action="/cart/{product["id"]}"><p>{escape(product["name"])},'
        f" {product['actualPriceRange']['minValue']['amount']} USD <button>Buy</button></p></form>"
        async for product in each(products_v3.query_products, catalog, query={})
    ]
    return page("Products", "".join(rows))


@router.post("/cart/{product_id}")
async def buy(product_id: str, visitor: CurrentVisitor) -> RedirectResponse:
    """Puts one into the browser's cart."""
    await current_cart.add_line_items_to_current_cart(
        visitor,
        catalog_items=[
            {
                "quantity": 1,
                "catalogReference": {"appId": STORES, "catalogItemId": product_id},
            }
        ],
    )
    return RedirectResponse("/cart", 303)


@router.get("/cart")
async def cart(visitor: CurrentVisitor) -> str:
    """The browser's cart."""
    try:
        answer = await current_cart.get_current_cart(visitor)
    except WixAPIError as error:
        if error.status_code != 404:  # 404: the visitor has no cart yet
            raise
        return page("Your cart", "<p>It is empty.</p>")
    rows = [
        f"<p>{line['quantityInfo']['confirmedQuantity']} x {escape(line['name']['original'])}</p>"
        for line in answer["cart"]["lineItems"]
    ]
    form = '<form method="post" action="/checkout"><button>Check out</button></form>'
    return page("Your cart", "".join(rows) + form)


async def not_now(_request: Request, error: Exception) -> HTMLResponse:
    """Says that Wix cannot be asked now. An error of the shop itself stays an error."""
    if isinstance(error, WixAPIError) and error.status_code not in {401, 429, 500, 502, 503, 504}:
        raise error
    body = "<p>Your cart is safe. Please try again soon.</p>"
    return HTMLResponse(page("One moment, please", body), 503)


@router.get("/account")
async def account(member: CurrentMember) -> str:
    """Who is logged in."""
    answer = await members.get_current_member(member, fieldsets=["FULL"])
    form = '<form method="post" action="/auth/logout"><button>Log out</button></form>'
    return page("Your account", f"<p>{escape(answer['member']['loginEmail'])}</p>{form}")


@router.post("/checkout")
async def checkout(visitor: CurrentVisitor) -> RedirectResponse:
    """Sends the browser to Wix's checkout."""
    return RedirectResponse(await visitor.checkout.url(return_to=f"{SHOP}/"), 303)
