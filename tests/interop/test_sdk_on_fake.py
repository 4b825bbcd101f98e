"""FakeWix serves the real @wix/sdk and @wix/ecom. Ours has no part in this."""

import json

import pytest

from wixvisitor.testing import FakeWix

from .real_sdk import RealSdk, SdkError
from .shopping import EXPIRED, mugs

pytestmark = [pytest.mark.interop, pytest.mark.anyio]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_mints_a_visitor(sdk: RealSdk, fake: FakeWix) -> None:
    """The SDK's first call mints one visitor, whose tokens it keeps."""
    await sdk.call("currentCart.addToCurrentCart", mugs(fake))
    tokens = json.loads(await sdk.saved_tokens())
    assert [call.grant_type for call in fake.token_calls()] == ["anonymous"]
    assert len(fake.visitors) == 1
    assert tokens["refreshToken"]["role"] == "visitor"
    assert tokens["accessToken"]["value"] == fake.api_calls()[0].headers["authorization"]


async def test_shops(sdk: RealSdk, fake: FakeWix) -> None:
    """@wix/ecom adds, reads, counts, estimates, checks out, removes and deletes."""
    added = (await sdk.call("currentCart.addToCurrentCart", mugs(fake)))["cart"]
    line = added["lineItems"][0]["_id"]
    counted = await sdk.call("currentCart.updateCurrentCartLineItemQuantity", [{"_id": line, "quantity": 3}])
    cart = await sdk.call("currentCart.getCurrentCart")
    estimate = await sdk.call("currentCart.estimateCurrentCartTotals", {})
    checkout = await sdk.call("currentCart.createCheckoutFromCurrentCart", {"channelType": "WEB"})
    removed = await sdk.call("currentCart.removeLineItemsFromCurrentCart", [line])
    await sdk.call("currentCart.deleteCurrentCart")

    assert [item["quantity"] for item in counted["cart"]["lineItems"]] == [3]
    assert cart["_id"] == added["_id"] == checkout["checkoutId"]
    assert cart["buyerInfo"]["visitorId"] in fake.visitors
    assert cart["subtotal"]["amount"] == estimate["priceSummary"]["subtotal"]["amount"] == "37.50"
    assert removed["cart"]["lineItems"] == []
    assert fake.visitors[cart["buyerInfo"]["visitorId"]].cart is None


async def test_coupon(sdk: RealSdk, fake: FakeWix) -> None:
    """@wix/ecom applies a coupon and takes it away."""
    await sdk.call("currentCart.addToCurrentCart", mugs(fake))
    applied = await sdk.call("currentCart.updateCurrentCart", {"couponCode": "SAVE10"})
    removed = await sdk.call("currentCart.removeCouponFromCurrentCart")
    assert [discount["coupon"]["code"] for discount in applied["appliedDiscounts"]] == ["SAVE10"]
    assert removed["cart"]["appliedDiscounts"] == []


async def test_no_cart_yet(sdk: RealSdk) -> None:
    """The SDK finds the code of the fake's 404 where it looks for Wix's."""
    with pytest.raises(SdkError) as caught:
        await sdk.call("currentCart.getCurrentCart")
    assert caught.value.code == "OWNED_CART_NOT_FOUND"


async def test_reads_at_the_edge(sdk: RealSdk, fake: FakeWix) -> None:
    """Tokens come from www.wixapis.com, carts from edge.wixapis.com; nothing else is asked."""
    await sdk.call("currentCart.addToCurrentCart", mugs(fake))
    hosts = [call.headers["x-original-host"] for call in fake.calls]
    assert hosts == ["www.wixapis.com", "edge.wixapis.com"]


async def test_products(sdk: RealSdk, fake: FakeWix) -> None:
    """`fetchWithAuth` reads the products of the compatible V1 catalog."""
    url = "https://www.wixapis.com/stores-reader/v1/products/query"
    headers = {"Content-Type": "application/json"}
    init = {"method": "POST", "body": '{"query":{"paging":{"limit":2}}}', "headers": headers}
    answer = await sdk.call("fetchWithAuth", url, init)
    assert answer["status"] == 200
    assert [product["name"] for product in json.loads(answer["text"])["products"]] == ["Mug", "Tea"]


async def test_graphql(sdk: RealSdk) -> None:
    """The SDK's `graphql` takes the fake's data, and its errors with status 200."""
    found = await sdk.call("graphql", "query($n: Int) { products(limit: $n) { name } }", {"n": 1})
    wrong = await sdk.call("graphql", "{ nothing }")
    assert found["data"] == {"products": [{"name": "Mug"}]}
    assert wrong["data"] == {}
    assert "nothing" in wrong["errors"][0]["message"]


async def test_renews(sdk: RealSdk, fake: FakeWix) -> None:
    """Past the access token's expiry the SDK renews, and is the same visitor with the same cart."""
    before = (await sdk.call("currentCart.addToCurrentCart", mugs(fake)))["cart"]
    fake.advance(EXPIRED)
    await sdk.set_time(fake.now())
    after = await sdk.call("currentCart.getCurrentCart")
    assert [call.grant_type for call in fake.token_calls()] == ["anonymous", "refresh_token"]
    assert after["_id"] == before["_id"]
    assert len(fake.visitors) == 1
