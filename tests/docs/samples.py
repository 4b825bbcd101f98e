"""What goes over the wire between a session and ``FakeWix``, and what an app's answers carry: the pages show these."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx

from tests.constants import CART, CLIENT_ID, EPOCH
from wixvisitor import VisitorPool, VisitorSession
from wixvisitor.asgi import VisitorMiddleware, get_visitor
from wixvisitor.cookies import IdCookie, SealedCookie, SharedCookie, generate_key
from wixvisitor.members import LoginOutcome
from wixvisitor.testing import Call, FakeWix

EMAIL, PASSWORD = "ada@example.com", "correct horse"
CALLBACK = "https://shop.example/auth/callback"
SHOP = "https://shop.example/"
WHO = "query { site { name } }"


async def wire_samples() -> dict[str, Any]:
    """Returns requests and answers by the titles that docs/reference/wire.md gives them."""
    fake = FakeWix(clock=lambda: EPOCH)
    fake.add_member(EMAIL, PASSWORD, profile={"nickname": "Ada"})
    found: dict[str, Any] = {}
    async with fake.client() as client, VisitorSession(CLIENT_ID, client=client, clock=fake.now) as session:

        async def ask(path: str, body: Any, token: str = "") -> Any:
            headers = {"Authorization": token} if token else {}
            return (await client.post(path, json=body, headers=headers)).json()

        tokens = await session.generate_visitor_tokens()
        found["A new visitor"] = fake.calls[-1].json
        found["The answer with tokens"] = await ask("/oauth2/token", found["A new visitor"])
        await session.renew_token()
        found["A renewal"] = fake.calls[-1].json
        found["A client ID that is no GUID"] = await ask("/oauth2/token", {"clientId": "x", "grantType": "anonymous"})
        for shape, title in (("oauth", "As RFC 6749"), ("wix", "As Wix's APIs"), ("legacy", "As Wix's older services")):
            fake.refusal_shape = shape  # type: ignore[assignment]
            refused = {"clientId": CLIENT_ID, "refreshToken": "JWS.unknown", "grantType": "refresh_token"}
            found[title] = await ask("/oauth2/token", refused)
        found["What an access token holds"] = claims(tokens.access_token.value)
        found["Who a token belongs to"] = await ask("/oauth2/token-info", {"token": tokens.access_token.value})
        found["No cart yet"] = (await session.get(CART)).json()
        await session.graphql(WHO)
        found["A GraphQL query"] = fake.calls[-1].json
        await login_samples(fake, session, found)
    return found


async def login_samples(fake: FakeWix, session: VisitorSession, found: dict[str, Any]) -> None:
    """Adds those of a login with a password, one on Wix's page, a checkout and a logout."""
    outcome: LoginOutcome = await session.members.login(EMAIL, PASSWORD)
    found["A login with a password"] = last(fake, "/authentication/v2/login").json
    answer = await session.post("/_api/iam/authentication/v2/login", json=found["A login with a password"])
    found["The answer to a login"] = answer.json()
    assert outcome.state == "success"
    login = await session.members.start_login(CALLBACK)
    call = last(fake, "/redirect-session")
    found["A redirect session for a login"] = call.json
    found["The answer with an address"] = (await session.post(call.path, json=call.json)).json()
    await session.members.finish_login(login, fake.log_in(login.url, EMAIL))
    found["The exchange of a code"] = last(fake, "/oauth2/token").json
    item = {"catalogReference": {"appId": fake.products[0].app_id, "catalogItemId": fake.products[0].id}, "quantity": 1}
    await session.post(f"{CART}/add-line-items", json={"catalogItems": [item]})
    await session.checkout.url(return_to=SHOP)
    found["A redirect session for the checkout"] = last(fake, "/redirect-session").json
    await session.members.logout(SHOP)
    found["A redirect session for a logout"] = last(fake, "/redirect-session").json


def last(fake: FakeWix, end: str) -> Call:
    return next(call for call in reversed(fake.calls) if call.path.endswith(end))


def claims(access_token: str) -> Any:
    payload = access_token.split(".")[3]
    content = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return {**content, "data": json.loads(content["data"])}


async def cookie_samples() -> dict[str, list[str]]:
    """Returns the headers of an app's answers, by the titles that docs/reference/cookies.md gives them.

    The value of a cookie is a long secret, so it is ``…``.
    """
    key, found = generate_key(), dict[str, list[str]]()
    for title, cookie in (
        ("IdCookie", IdCookie([key])),
        ("SealedCookie", SealedCookie([key])),
        ("SharedCookie", SharedCookie("wixSession")),
        ("IdCookie, same_site none", IdCookie([key], same_site="none")),
        ("IdCookie, secure False", IdCookie([key], secure=False)),
    ):
        fake = FakeWix(clock=lambda: EPOCH)
        pool = VisitorPool(CLIENT_ID, client=fake.client(), clock=fake.now)
        app = VisitorMiddleware(cart_of, pool, cookie=cookie)
        async with pool, httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=SHOP) as browser:
            answer = await browser.get("/")
            found[title] = [
                shown(name, value) for name, value in answer.headers.multi_items() if name != "content-length"
            ]
    return found


def shown(name: str, value: str) -> str:
    if name == "set-cookie":
        cookie, _, attributes = value.partition(";")
        value = f"{cookie.partition('=')[0]}=…;{attributes}"
    return f"{name.title()}: {value}"


async def cart_of(scope: Any, receive: Any, send: Any) -> None:
    """An app that asks for the visitor's cart."""
    del receive
    visitor = await get_visitor(scope)
    await visitor.get(CART)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})
