"""Tokens that one side saves are the same visitor on the other."""

import json

import pytest

from wixvisitor import EMPTY_TOKENS, AccessToken, RefreshToken, TokenRole, Tokens, VisitorSession
from wixvisitor.testing import FakeWix

from .real_sdk import RealSdk
from .shopping import CART, EXPIRED, mugs, tokens_of

pytestmark = [pytest.mark.interop, pytest.mark.anyio]

ODD = ["", 'a"\\/b', "\x00\x1f\x7f\n\t", "\u2028\u2029", "é✓", "😀", "\ud800", "\udc00\ud800"]


@pytest.mark.parametrize("elapsed", [0, EXPIRED], ids=["fresh", "expired"])
async def test_ours_resumes_theirs(sdk: RealSdk, fake: FakeWix, base_url: str, client_id: str, elapsed: int) -> None:
    """A session resumes what the SDK saved: same visitor, same cart, also when the access token has expired."""
    theirs = (await sdk.call("currentCart.addToCurrentCart", mugs(fake)))["cart"]
    tokens = Tokens.from_json(await sdk.saved_tokens())
    fake.advance(elapsed)
    async with VisitorSession(client_id, tokens=tokens, base_url=base_url, clock=fake.now) as session:
        ours = (await session.get(CART)).json()["cart"]
    assert (ours["id"], ours["buyerInfo"]) == (theirs["_id"], theirs["buyerInfo"])
    assert len(fake.visitors) == 1


@pytest.mark.parametrize("elapsed", [0, EXPIRED], ids=["fresh", "expired"])
async def test_theirs_resumes_ours(sdk: RealSdk, fake: FakeWix, base_url: str, client_id: str, elapsed: int) -> None:
    """The SDK resumes what a session saved: same visitor, same cart, also when the access token has expired."""
    async with VisitorSession(client_id, base_url=base_url, clock=fake.now) as session:
        ours = (await session.post(f"{CART}/add-to-cart", json=mugs(fake))).json()["cart"]
        tokens = session.get_tokens().to_json()
    fake.advance(elapsed)
    await sdk.set_time(fake.now())
    await sdk.create(client_id, tokens)
    theirs = await sdk.call("currentCart.getCurrentCart")
    assert (theirs["_id"], theirs["buyerInfo"]) == (ours["id"], ours["buyerInfo"])
    assert len(fake.visitors) == 1


async def test_there_and_back(sdk: RealSdk, fake: FakeWix, base_url: str, client_id: str) -> None:
    """A visitor that is passed on after each renewal stays one visitor, with all that both sides put into its cart."""
    tokens = ""
    for _ in range(2):
        await sdk.create(client_id, tokens or None)
        await sdk.call("currentCart.addToCurrentCart", mugs(fake))
        given = Tokens.from_json(await sdk.saved_tokens())
        fake.advance(EXPIRED)
        async with VisitorSession(client_id, tokens=given, base_url=base_url, clock=fake.now) as session:
            cart = (await session.post(f"{CART}/add-to-cart", json=mugs(fake))).json()["cart"]
            tokens = session.get_tokens().to_json()
        fake.advance(EXPIRED)
        await sdk.set_time(fake.now())
    assert len(fake.visitors) == 1
    assert [line["quantity"] for line in cart["lineItems"]] == [4]


async def test_their_bytes(sdk: RealSdk, fake: FakeWix, client_id: str) -> None:
    """What the SDK saves is, byte for byte, what we write after reading it."""
    assert await sdk.saved_tokens() == EMPTY_TOKENS.to_json()
    await sdk.call("currentCart.addToCurrentCart", mugs(fake))
    text = await sdk.saved_tokens()
    assert Tokens.from_json(text).to_json() == text


@pytest.mark.parametrize("value", ODD, ids=ascii)
async def test_our_bytes(sdk: RealSdk, value: str) -> None:
    """What we write is, byte for byte, what JavaScript's `JSON.stringify` makes of it."""
    tokens = Tokens(AccessToken(value, 1_795_399_894), RefreshToken(value, TokenRole.VISITOR))
    text = tokens.to_json()
    assert await sdk.stringified(text) == text
    assert Tokens.from_json(text) == tokens


async def test_member(sdk: RealSdk, fake: FakeWix, base_url: str, client_id: str) -> None:
    """A member's tokens are a member's on both sides, and still after a renewal."""
    tokens = tokens_of(fake.mint_member(client_id), fake, TokenRole.MEMBER)
    fake.advance(EXPIRED)
    await sdk.set_time(fake.now())
    await sdk.create(client_id, tokens.to_json())
    await sdk.call("currentCart.addToCurrentCart", mugs(fake))
    assert await sdk.call("auth.loggedIn") is True
    assert json.loads(await sdk.saved_tokens())["refreshToken"] == tokens.to_dict()["refreshToken"]
    async with VisitorSession(client_id, tokens=tokens, base_url=base_url, clock=fake.now) as session:
        cart = (await session.get(CART)).json()["cart"]
        assert session.logged_in()
    (visitor,) = fake.visitors.values()
    assert cart["buyerInfo"]["memberId"] == visitor.member_id
