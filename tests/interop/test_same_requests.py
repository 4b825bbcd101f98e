"""What we send is what the SDK sends: method, path, body to the byte, and Authorization."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from wixvisitor import Tokens, VisitorSession
from wixvisitor.testing import FakeWix

from .real_sdk import RealSdk
from .shopping import CART, EXPIRED, mugs, tokens_of

pytestmark = [pytest.mark.interop, pytest.mark.anyio]

QUERY = "query($n: Int) { products(limit: $n) { name } }"
Sent = list[tuple[Any, ...]]


@pytest.fixture
async def tokens(fake: FakeWix, client_id: str) -> Tokens:
    """A visitor that both sides are."""
    return tokens_of(fake.mint_visitor(client_id), fake)


def sent(fake: FakeWix) -> Sent:
    """The calls since the last time."""
    calls = fake.calls
    fake.reset_calls()
    names = ("authorization", "content-type")
    return [(call.method, call.path, call.body, *map(call.headers.get, names)) for call in calls]


async def both(sdk: RealSdk, session: VisitorSession, fake: FakeWix, theirs: Any, ours: Any) -> tuple[Sent, Sent]:
    """What each of two calls sent."""
    fake.reset_calls()
    await sdk.call(*theirs)
    first = sent(fake)
    await ours(session)
    return first, sent(fake)


async def test_mint(sdk: RealSdk, fake: FakeWix, base_url: str, client_id: str) -> None:
    """A first visitor is asked for in the SDK's very bytes."""
    async with VisitorSession(client_id, base_url=base_url) as session:
        theirs, ours = await both(
            sdk, session, fake, ["auth.generateVisitorTokens"], VisitorSession.generate_visitor_tokens
        )
    assert ours == theirs
    assert [call[:2] for call in ours] == [("POST", "/oauth2/token")]


async def test_renewal(sdk: RealSdk, fake: FakeWix, base_url: str, client_id: str, tokens: Tokens) -> None:
    """An expired access token is renewed in the SDK's very bytes."""
    fake.advance(EXPIRED)
    await sdk.set_time(fake.now())
    await sdk.create(client_id, tokens.to_json())
    async with VisitorSession(client_id, tokens=tokens, base_url=base_url, clock=fake.now) as session:
        call = ["auth.generateVisitorTokens", tokens.to_dict()]
        theirs, ours = await both(sdk, session, fake, call, VisitorSession.generate_visitor_tokens)
    assert ours == theirs
    assert tokens.refresh_token.value.encode() in ours[0][2]


async def test_forced_renewal(sdk: RealSdk, fake: FakeWix, base_url: str, client_id: str, tokens: Tokens) -> None:
    """`renew_token` sends what `renewToken` sends, however fresh the access token is."""
    async with VisitorSession(client_id, tokens=tokens, base_url=base_url) as session:
        call = ["auth.renewToken", tokens.to_dict()["refreshToken"]]
        theirs, ours = await both(sdk, session, fake, call, VisitorSession.renew_token)
    assert ours == theirs
    assert len(ours) == 1


def cart_calls(fake: FakeWix, line: str) -> dict[str, tuple[list[Any], Callable[[VisitorSession], Awaitable[Any]]]]:
    """Each call as a user of the SDK writes it, and as ours does."""
    return {
        "get": (["getCurrentCart"], lambda session: session.get(CART)),
        "add": (["addToCurrentCart", mugs(fake)], lambda session: session.post(f"{CART}/add-to-cart", json=mugs(fake))),
        "count": (
            ["updateCurrentCartLineItemQuantity", [{"_id": line, "quantity": 2}]],
            lambda session: session.post(
                f"{CART}/update-line-items-quantity", json={"lineItems": [{"quantity": 2, "id": line}]}
            ),
        ),
        "coupon": (
            ["updateCurrentCart", {"couponCode": "SAVE10"}],
            lambda session: session.patch(CART, json={"couponCode": "SAVE10"}),
        ),
        "estimate": (
            ["estimateCurrentCartTotals", {}],
            lambda session: session.post(f"{CART}/estimate-totals", json={}),
        ),
        "remove": (
            ["removeLineItemsFromCurrentCart", [line]],
            lambda session: session.post(f"{CART}/remove-line-items", json={"lineItemIds": [line]}),
        ),
        "delete": (["deleteCurrentCart"], lambda session: session.delete(CART)),
    }


@pytest.mark.parametrize("name", ["get", "add", "count", "coupon", "estimate", "remove", "delete"])
async def test_cart(sdk: RealSdk, fake: FakeWix, base_url: str, client_id: str, tokens: Tokens, name: str) -> None:
    """A call of the current cart goes out as @wix/ecom sends it."""
    await sdk.create(client_id, tokens.to_json())
    added = await sdk.call("currentCart.addToCurrentCart", mugs(fake))
    (method, *arguments), ours = cart_calls(fake, added["cart"]["lineItems"][0]["_id"])[name]
    async with VisitorSession(client_id, tokens=tokens, base_url=base_url) as session:
        theirs_sent, ours_sent = await both(sdk, session, fake, [f"currentCart.{method}", *arguments], ours)
    assert ours_sent == theirs_sent
    assert len(ours_sent) == 1
    assert ours_sent[0][3] == tokens.access_token.value


@pytest.mark.parametrize("arguments", [(QUERY, {"n": 1}), ("{ products { name } }",)], ids=["variables", "none"])
async def test_graphql(
    sdk: RealSdk, fake: FakeWix, base_url: str, client_id: str, tokens: Tokens, arguments: tuple[Any, ...]
) -> None:
    """A GraphQL query goes out, and its answer comes back, as in the SDK."""
    await sdk.create(client_id, tokens.to_json())
    async with VisitorSession(client_id, tokens=tokens, base_url=base_url) as session:
        call = ["graphql", *arguments]
        theirs, ours = await both(sdk, session, fake, call, lambda session: session.graphql(*arguments))
        assert (await sdk.call(*call))["data"] == (await session.graphql(*arguments)).data
    assert ours == theirs
    assert ours[0][3] == tokens.access_token.value
