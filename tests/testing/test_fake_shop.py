"""Carts in both versions, products and GraphQL."""

import base64
import json
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest

from wixvisitor.testing import FakeWix, Product

pytestmark = pytest.mark.anyio

CLIENT = "0a1b2c3d-0000-4000-8000-000000000001"
STORES = "215238eb-22a5-4c36-9e7b-e7c08025e04e"
V1 = "/ecom/v1/carts/current"
V2 = "/ecom/v2/carts/current"
MUG, TEA, KETTLE, SOLD_OUT = (f"{digit * 8}-{digit * 4}-4{digit * 3}-8{digit * 3}-{digit * 12}" for digit in "1234")


def item(product_id: str = MUG, quantity: int = 1) -> dict[str, Any]:
    return {"quantity": quantity, "catalogReference": {"appId": STORES, "catalogItemId": product_id}}


def code(response: httpx.Response) -> str:
    return str(response.json()["details"]["applicationError"]["code"])


@pytest.fixture
async def shopper(fake: FakeWix, anyio_backend: str) -> AsyncGenerator[httpx.AsyncClient]:
    """A client that is one visitor."""
    async with fake.client(headers={"Authorization": fake.mint_visitor(CLIENT)["access_token"]}) as client:
        yield client


async def add(shopper: httpx.AsyncClient, *items: dict[str, Any]) -> dict[str, Any]:
    response = await shopper.post(f"{V2}/add-line-items", json={"catalogItems": list(items)})
    assert response.status_code == 200
    cart: dict[str, Any] = response.json()["cart"]
    return cart


async def test_no_cart_yet(shopper: httpx.AsyncClient) -> None:
    """Before the first item there is no cart, which each version says in its own way."""
    one, two = await shopper.get(V1), await shopper.get(V2)
    assert (one.status_code, code(one)) == (404, "OWNED_CART_NOT_FOUND")
    assert (two.status_code, code(two)) == (404, "CURRENT_CART_NOT_FOUND")


async def test_adding_twice_is_adding_twice(shopper: httpx.AsyncClient, fake: FakeWix) -> None:
    """The first add makes the cart, the second adds to the quantity; money is text."""
    await add(shopper, item(TEA))
    cart = await add(shopper, item(TEA), item(MUG))
    assert [line["quantityInfo"]["requestedQuantity"] for line in cart["lineItems"]] == [2, 1]
    assert cart["subtotal"]["amount"] == "552.5"
    assert cart["customerInfo"]["visitorId"] == next(iter(fake.visitors))
    assert "memberId" not in cart["customerInfo"]
    assert cart == (await shopper.get(V2)).json()["cart"]


async def test_both_versions_show_one_cart(shopper: httpx.AsyncClient, fake: FakeWix) -> None:
    """What one version adds the other shows, in its own format."""
    response = await shopper.post(f"{V1}/add-to-cart", json={"lineItems": [item(MUG, 2)]})
    one, two = response.json()["cart"], (await shopper.get(V2)).json()["cart"]
    assert one["id"] == one["checkoutId"] == two["id"]
    assert one["buyerInfo"]["visitorId"] == two["customerInfo"]["visitorId"]
    assert one["lineItems"][0]["price"] == {
        "amount": "12.50",
        "convertedAmount": "12.50",
        "formattedAmount": "$12.50",
        "formattedConvertedAmount": "$12.50",
    }
    assert one["lineItems"][0]["quantity"] == two["lineItems"][0]["quantityInfo"]["requestedQuantity"] == 2


async def test_v2_quantities_and_removal(shopper: httpx.AsyncClient) -> None:
    """Version 2 sets quantities, removes lines and refuses the flat form of version 1."""
    line = (await add(shopper, item()))["lineItems"][0]["id"]
    update, remove = f"{V2}/update-line-items", f"{V2}/remove-line-items"
    flat = await shopper.post(update, json={"lineItems": [{"id": line, "quantity": 3}]})
    assert (flat.status_code, "validationError" in flat.json()["details"]) == (400, True)
    change = {"lineItemId": line, "quantity": {"newQuantity": 3}}
    cart = (await shopper.post(update, json={"lineItems": [change]})).json()["cart"]
    assert cart["lineItems"][0]["quantityInfo"]["requestedQuantity"] == 3
    for quantity in (0, True, "3", 100_001):
        wrong = {"lineItemId": line, "quantity": {"newQuantity": quantity}}
        assert (await shopper.post(update, json={"lineItems": [wrong]})).status_code == 400
    unknown = await shopper.post(remove, json={"lineItemIds": ["unknown"]})
    assert code(unknown) == "LINE_ITEM_NOT_FOUND_IN_CART"
    assert (await shopper.post(remove, json={"lineItemIds": [line]})).json()["cart"]["lineItems"] == []
    assert (await shopper.post(remove, json={})).status_code == 400


async def test_v2_prices(shopper: httpx.AsyncClient) -> None:
    """Estimating and calculating give totals with the coupon taken off; an empty cart has no estimate."""
    cart = await add(shopper, item(TEA))
    added = await shopper.post(f"{V2}/add-coupon", json={"coupon": {"code": "SAVE10"}})
    coupon = added.json()["cart"]["coupons"][0]["id"]
    for path in ("estimate", "calculate"):
        answer = (await shopper.post(f"{V2}/{path}", json={"calculateTax": True})).json()
        assert answer["summary"]["priceSummary"]["total"]["amount"] == "243"
        assert answer["cart"]["id"] == cart["id"]
    assert code(await shopper.post(f"{V2}/add-coupon", json={"coupon": {"code": "SAVE10"}})) == "COUPON_ALREADY_EXISTS"
    assert code(await shopper.post(f"{V2}/add-coupon", json={"coupon": {"code": "NO"}})) == "INVALID_COUPON_CODE"
    assert (await shopper.post(f"{V2}/remove-coupon", json={"couponId": coupon})).json()["cart"]["coupons"] == []
    assert code(await shopper.post(f"{V2}/remove-coupon", json={"couponId": coupon})) == "COUPON_NOT_FOUND_IN_CART"
    assert (await shopper.post(f"{V2}/refresh", json={})).json()["cart"]["id"] == cart["id"]
    await shopper.post(f"{V2}/remove-line-items", json={"lineItemIds": [cart["lineItems"][0]["id"]]})
    assert (await shopper.post(f"{V2}/estimate", json={})).status_code == 404


async def test_v2_create_update_delete(shopper: httpx.AsyncClient) -> None:
    """A cart is created, noted upon and deleted."""
    body = {"cart": {"note": "hello"}, "catalogItems": [item()], "coupons": [{"code": "SAVE10"}]}
    cart = (await shopper.post(V2, json=body)).json()["cart"]
    assert (cart["note"], len(cart["lineItems"]), cart["coupons"][0]["code"]) == ("hello", 1, "SAVE10")
    changed = (await shopper.patch(V2, json={"cart": {"note": "bye"}})).json()["cart"]
    assert changed["note"] == "bye"
    assert int(changed["revision"]) > int(cart["revision"])
    assert (await shopper.delete(V2)).status_code == 200
    assert (await shopper.get(V2)).status_code == 404


async def test_v1_the_other_calls(shopper: httpx.AsyncClient) -> None:
    """Version 1 sets quantities, prices, takes coupons, checks out and deletes."""
    cart = (await shopper.post(f"{V1}/add-to-cart", json={"lineItems": [item(TEA)]})).json()["cart"]
    line = cart["lineItems"][0]["id"]
    await shopper.post(f"{V1}/update-line-items-quantity", json={"lineItems": [{"id": line, "quantity": 2}]})
    assert (await shopper.patch(V1, json={"couponCode": "SAVE10"})).status_code == 200
    totals = (await shopper.post(f"{V1}/estimate-totals", json={})).json()
    assert totals["priceSummary"]["total"]["formattedAmount"] == "$486.00"
    assert (await shopper.post(f"{V1}/remove-coupon", json={})).json()["cart"]["appliedDiscounts"] == []
    checkout = (await shopper.post(f"{V1}/create-checkout", json={"channelType": "WEB"})).json()
    assert checkout == {"checkoutId": cart["id"]}
    left = await shopper.post(f"{V1}/remove-line-items", json={"lineItemIds": [line]})
    assert left.json()["cart"]["lineItems"] == []
    assert (await shopper.delete(V1)).status_code == 200
    assert (await shopper.get(V1)).status_code == 404


async def test_what_is_not_in_stock(shopper: httpx.AsyncClient) -> None:
    """A refused add is a 200 whose line says how many are confirmed."""
    cart = await add(shopper, item(SOLD_OUT), item(KETTLE, 5))
    assert [(line["status"], line["quantityInfo"]["confirmedQuantity"]) for line in cart["lineItems"]] == [
        ("OUT_OF_STOCK", 0),
        ("PARTIALLY_IN_STOCK", 3),
    ]


@pytest.mark.parametrize("path", [f"{V1}/add-to-cart", f"{V2}/add-line-items"])
async def test_a_bad_item(shopper: httpx.AsyncClient, path: str) -> None:
    """A product that does not exist has its own code, and a malformed item is a validation error; no cart is made."""
    items = "lineItems" if "v1" in path else "catalogItems"
    assert code(await shopper.post(path, json={items: [item("unknown")]})) == "ITEM_NOT_FOUND_IN_CATALOG"
    wrongs: list[dict[str, Any]] = [{}, {items: []}, {items: ["x"]}, {items: [{}]}, {items: [item(quantity=0)]}]
    for wrong in wrongs:
        response = await shopper.post(path, json=wrong)
        assert (response.status_code, "validationError" in response.json()["details"]) == (400, True)
    assert (await shopper.post(path, content=b"{")).status_code == 400
    assert (await shopper.get(V2)).status_code == 404


async def test_visitors_do_not_share_a_cart(fake: FakeWix, shopper: httpx.AsyncClient, wix: httpx.AsyncClient) -> None:
    """Another visitor has another cart."""
    await add(shopper, item())
    other = {"Authorization": fake.mint_visitor(CLIENT)["access_token"]}
    assert (await wix.get(V2, headers=other)).status_code == 404


async def test_a_member_keeps_the_visitors_cart(fake: FakeWix, shopper: httpx.AsyncClient) -> None:
    """Who logs in carries on with the cart, which then is the member's."""
    before = await add(shopper, item())
    tokens = fake.mint_member(CLIENT, "a-member", visitor_id=next(iter(fake.visitors)))
    after = (await shopper.get(V2, headers={"Authorization": tokens["access_token"]})).json()["cart"]
    assert (after["id"], after["customerInfo"]["memberId"]) == (before["id"], "a-member")
    assert "visitorId" not in after["customerInfo"]
    assert next(iter(fake.visitors.values())).member_id == "a-member"


async def test_the_way_to_the_checkout(shopper: httpx.AsyncClient) -> None:
    """The cart's id leads to a checkout page, and nobody else's does."""
    cart = await add(shopper, item())
    url = (await shopper.post(f"/ecom/v2/carts/{cart['id']}/get-checkout-url", json={})).json()["checkoutUrl"]
    assert cart["id"] in url
    assert (await shopper.post("/ecom/v2/carts/unknown/get-checkout-url", json={})).status_code == 404
    body = {"ecomCheckout": {"checkoutId": cart["id"]}, "callbacks": {"postFlowUrl": "https://shop.example"}}
    session = (await shopper.post("/headless/v1/redirect-session", json=body)).json()["redirectSession"]
    assert cart["id"] in session["fullUrl"]


async def test_products_v1(shopper: httpx.AsyncClient) -> None:
    """The old catalog pages by offset, asked by POST or by the SDK's GET."""
    query = {"query": {"paging": {"limit": 2, "offset": 1}}}
    posted = await shopper.post("/stores-reader/v1/products/query", json=query)
    packed = base64.urlsafe_b64encode(json.dumps(query).encode()).decode().rstrip("=")
    got = await shopper.get("/stores-reader/v1/products/query", params={".r": packed})
    assert posted.json() == got.json()
    assert [product["name"] for product in got.json()["products"]] == ["Tea", "Kettle"]
    assert got.json()["totalResults"] == 4
    for wrong in ("%", "W10"):
        assert (await shopper.get("/stores-reader/v1/products/query", params={".r": wrong})).status_code == 400


async def test_products_v3(shopper: httpx.AsyncClient) -> None:
    """The new catalog pages by cursor to the end, searches, and finds one product by its slug."""
    names, paging = [], {"limit": 3}
    while paging:
        answer = await shopper.post("/stores/v3/products/query", json={"query": {"cursorPaging": paging}})
        names += [product["name"] for product in answer.json()["products"]]
        cursor = answer.json()["pagingMetadata"]["cursors"].get("next")
        paging = {"limit": 3, "cursor": cursor} if cursor else {}
    assert names == ["Mug", "Tea", "Kettle", "Sold out"]
    assert len((await shopper.post("/stores/v3/products/search", json={})).json()["products"]) == 4
    assert (await shopper.get("/stores/v3/products/slug/mug")).json()["product"]["id"] == MUG
    assert (await shopper.get("/stores/v3/products/slug/none")).status_code == 404
    bad = {"query": {"cursorPaging": {"cursor": "!"}}}
    assert (await shopper.post("/stores/v3/products/query", json=bad)).status_code == 400


async def test_own_products() -> None:
    """A test may bring its own products."""
    fake = FakeWix(products=[Product("p1", name="Hat", price="20")])
    headers = {"Authorization": fake.mint_visitor(CLIENT)["access_token"]}
    async with fake.client(headers=headers) as shopper:
        assert (await add(shopper, item("p1", 2)))["subtotal"]["amount"] == "40"
    assert [product.name for product in fake.products] == ["Hat"]


async def test_graphql(shopper: httpx.AsyncClient, fake: FakeWix) -> None:
    """GraphQL reads and changes the same cart, with variables."""
    query = "{ currentCart { id subtotal { amount } buyer { visitorId } lineItems { name quantity } } }"
    assert (await shopper.post("/graphql/alpha", json={"query": query})).json() == {"data": {"currentCart": None}}
    change = "mutation Add($id: ID!) { addToCurrentCart(catalogItemId: $id, quantity: 2) { total { amount } } }"
    added = await shopper.post("/graphql/alpha", json={"query": change, "variables": {"id": MUG}})
    assert added.json() == {"data": {"addToCurrentCart": {"total": {"amount": "25"}}}}
    cart = (await shopper.post("/graphql/v2", json={"query": query})).json()["data"]["currentCart"]
    assert cart["lineItems"] == [{"name": "Mug", "quantity": 2}]
    assert cart["buyer"]["visitorId"] == next(iter(fake.visitors))
    names = (await shopper.post("/graphql/alpha", json={"query": "{ products(limit: 1) { name } }"})).json()
    assert names == {"data": {"products": [{"name": "Mug"}]}}


async def test_graphql_errors(shopper: httpx.AsyncClient) -> None:
    """A mistake in a query is a 200 with errors, a request without a query a 400, one without a token a 401."""
    unknown = 'mutation { addToCurrentCart(catalogItemId: "no") { id } }'
    for query in ("{", "{ nothing }", unknown):
        response = await shopper.post("/graphql/alpha", json={"query": query})
        assert (response.status_code, len(response.json()["errors"])) == (200, 1)
    assert (await shopper.post("/graphql/alpha", json={})).status_code == 400
    refused = await shopper.post("/graphql/alpha", json={"query": "{"}, headers={"Authorization": ""})
    assert refused.status_code == 401
