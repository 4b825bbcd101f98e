"""The token endpoint and the tokens."""

import base64
import hashlib
import hmac
import json
from typing import Any

import httpx
import pytest

from tests.constants import CART
from wixvisitor.testing import FakeWix
from wixvisitor.testing._token_text import SIGNING_KEY

pytestmark = pytest.mark.anyio

CLIENT = "0a1b2c3d-0000-4000-8000-000000000001"
OTHER_CLIENT = "0a1b2c3d-0000-4000-8000-000000000002"


async def mint(wix: httpx.AsyncClient) -> dict[str, Any]:
    response = await wix.post("/oauth2/token", json={"clientId": CLIENT, "grantType": "anonymous"})
    assert response.status_code == 200
    tokens: dict[str, Any] = response.json()
    return tokens


async def renew(wix: httpx.AsyncClient, refresh_token: str, client_id: str | None = CLIENT) -> httpx.Response:
    body = {"clientId": client_id, "refreshToken": refresh_token, "grantType": "refresh_token"}
    return await wix.post("/oauth2/token", json={name: value for name, value in body.items() if value is not None})


async def status(wix: httpx.AsyncClient, access_token: str) -> int:
    return (await wix.get(CART, headers={"Authorization": access_token})).status_code


def decode(part: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


async def test_the_token_response(fake: FakeWix, wix: httpx.AsyncClient) -> None:
    """A token response has the four fields that Wix documents."""
    tokens = await mint(wix)
    assert list(tokens) == ["access_token", "token_type", "expires_in", "refresh_token"]
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 14_400)


async def test_the_shape_of_a_visitors_tokens(fake: FakeWix, wix: httpx.AsyncClient) -> None:
    """The tokens are signed, dated and name the visitor as Wix's do."""
    tokens = await mint(wix)
    mark, kind, header, payload, signature = tokens["access_token"].split(".")
    assert (mark, kind, decode(header)["alg"]) == ("OauthNG", "JWS", "HS256")
    claims = decode(payload)
    assert set(claims) == {"data", "iat", "exp"}
    assert claims["exp"] - claims["iat"] == 14_400
    instance = json.loads(claims["data"])["instance"]
    assert (instance["aid"], instance["appDefId"]) == (next(iter(fake.visitors)), CLIENT)
    assert "uid" not in instance
    expected = hmac.new(SIGNING_KEY, f"{header}.{payload}".encode(), hashlib.sha256).digest()
    assert base64.urlsafe_b64decode(signature + "=") == expected

    kind, _, payload, _ = tokens["refresh_token"].split(".")
    claims = decode(payload)
    assert kind == "JWS"
    assert claims["exp"] - claims["iat"] == 31_536_000
    assert isinstance(json.loads(claims["data"]), str)


async def test_the_shape_of_a_members_token(fake: FakeWix) -> None:
    """A member's token says everything a visitor's does, and who the member is."""
    tokens = fake.mint_member(CLIENT, "a-member")
    instance = json.loads(decode(tokens["access_token"].split(".")[3])["data"])["instance"]
    assert instance["uid"] == instance["siteMemberId"] == "a-member"
    assert instance["aid"] in fake.visitors
    assert {"sid", "sct", "hasUserRole", "aor"} <= set(instance)


@pytest.mark.parametrize("encoding", ["json", "data"])
@pytest.mark.parametrize("names", [("clientId", "grantType"), ("client_id", "grant_type")])
async def test_spellings(fake: FakeWix, wix: httpx.AsyncClient, encoding: str, names: tuple[str, str]) -> None:
    """JSON and form, camelCase and snake_case are the same, and unknown query parameters are ignored."""
    body: Any = {encoding: dict(zip(names, (CLIENT, "anonymous"), strict=True))}
    assert (await wix.post("/oauth2/token?fresh=1", **body)).status_code == 200
    assert fake.calls[0].grant_type == "anonymous"


@pytest.mark.parametrize("client_id", [None, "", "not-a-guid", 7])
async def test_a_client_id_that_is_no_guid(wix: httpx.AsyncClient, client_id: object) -> None:
    """A malformed client id is a 400 with the one text that is known of Wix."""
    response = await wix.post("/oauth2/token", json={"clientId": client_id, "grantType": "anonymous"})
    assert response.status_code == 400
    assert response.json()["message"] == "appRuntimeKeys [at index 0] is invalid: appId is not a valid GUID"


async def test_an_unknown_client_id() -> None:
    """With a list of clients, any other is `invalid_client`."""
    async with FakeWix(client_ids=[CLIENT]).client() as wix:
        await mint(wix)
        response = await wix.post("/oauth2/token", json={"clientId": OTHER_CLIENT, "grantType": "anonymous"})
    assert (response.status_code, response.json()["error"]) == (400, "invalid_client")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"{", "invalid_request"),
        (b"[]", "invalid_request"),
        (b"", "invalid_request"),
        (b'{"grantType": "password"}', "unsupported_grant_type"),
        (b'{"clientId": "x"}', "unsupported_grant_type"),
        (b'{"grantType": "refresh_token"}', "invalid_request"),
    ],
)
async def test_a_malformed_request(wix: httpx.AsyncClient, content: bytes, error: str) -> None:
    """What the endpoint does not understand is a 400 in the words of RFC 6749."""
    response = await wix.post("/oauth2/token", content=content)
    assert (response.status_code, response.json()["error"]) == (400, error)


@pytest.mark.parametrize("client_id", [CLIENT, None])
async def test_a_refresh_keeps_the_visitor(fake: FakeWix, wix: httpx.AsyncClient, client_id: str | None) -> None:
    """A refresh gives the same visitor a new access token and the same refresh token, with or without a client id."""
    tokens = await mint(wix)
    renewed = (await renew(wix, tokens["refresh_token"], client_id)).json()
    assert renewed["refresh_token"] == tokens["refresh_token"]
    assert renewed["access_token"] != tokens["access_token"]
    assert len(fake.visitors) == 1
    assert {call.visitor_id for call in fake.token_calls()} == set(fake.visitors)
    assert await status(wix, renewed["access_token"]) == await status(wix, tokens["access_token"]) == 404


async def test_a_refresh_keeps_the_member(fake: FakeWix, wix: httpx.AsyncClient) -> None:
    """A member's refresh token brings a member's access token."""
    renewed = (await renew(wix, fake.mint_member(CLIENT, "a-member")["refresh_token"])).json()
    info = (await wix.post("/oauth2/token-info", json={"token": renewed["access_token"]})).json()
    assert (info["subjectType"], info["subjectId"]) == ("MEMBER", "a-member")


async def test_rotation(fake: FakeWix, wix: httpx.AsyncClient) -> None:
    """With rotation each refresh brings a new refresh token, and the old ones keep working."""
    tokens = await mint(wix)
    fake.rotate_refresh_tokens = True
    renewed = (await renew(wix, tokens["refresh_token"])).json()
    assert renewed["refresh_token"] != tokens["refresh_token"]
    for refresh_token in (tokens["refresh_token"], renewed["refresh_token"]):
        assert (await renew(wix, refresh_token)).status_code == 200


async def test_one_time_refresh_tokens(fake: FakeWix, wix: httpx.AsyncClient) -> None:
    """A one-time refresh token is refused the second time, its successor is not."""
    tokens = await mint(wix)
    fake.one_time_refresh_tokens = True
    renewed = (await renew(wix, tokens["refresh_token"])).json()
    assert (await renew(wix, tokens["refresh_token"])).status_code == 400
    assert (await renew(wix, renewed["refresh_token"])).status_code == 200


async def test_lifetimes(fake: FakeWix, wix: httpx.AsyncClient) -> None:
    """Tokens live as long as their lifetimes by the fake's clock."""
    tokens = await mint(wix)
    fake.advance(14_390)
    assert await status(wix, tokens["access_token"]) == 404
    fake.advance(20)
    assert await status(wix, tokens["access_token"]) == 401
    assert (await renew(wix, tokens["refresh_token"])).status_code == 200
    fake.advance(31_536_000)
    assert (await renew(wix, tokens["refresh_token"])).json()["error"] == "invalid_grant"


async def test_an_injected_clock() -> None:
    """The fake reads the clock it is given, and `advance` adds to it."""
    fake = FakeWix(clock=lambda: 1_000_000.0, access_token_lifetime=60)
    fake.advance(5)
    fake.clock_skew = 100
    claims = decode(fake.mint_visitor(CLIENT)["access_token"].split(".")[3])
    assert fake.now() == 1_000_005
    assert (claims["iat"], claims["exp"]) == (1_000_105, 1_000_165)


async def test_revoked_access_tokens(fake: FakeWix, wix: httpx.AsyncClient) -> None:
    """A revoked access token is a 401 in Wix's format, and a renewed one works."""
    tokens = await mint(wix)
    fake.revoke_access_token(tokens["access_token"])
    response = await wix.get(CART, headers={"Authorization": tokens["access_token"]})
    assert response.status_code == 401
    assert response.json()["details"]["applicationError"]["code"] == "UNAUTHENTICATED"
    renewed = (await renew(wix, tokens["refresh_token"])).json()["access_token"]
    assert await status(wix, renewed) == 404
    fake.revoke_access_tokens(next(iter(fake.visitors)))
    assert await status(wix, renewed) == 401


@pytest.mark.parametrize("authorization", ["", "nonsense", "Bearer nonsense"])
async def test_no_valid_access_token(wix: httpx.AsyncClient, authorization: str) -> None:
    """The API answers 401 to calls without a token that the fake issued."""
    assert await status(wix, authorization) == 401


async def test_a_bearer_prefix(wix: httpx.AsyncClient) -> None:
    """The raw token and the token behind `Bearer` are both accepted."""
    assert await status(wix, f"Bearer {(await mint(wix))['access_token']}") == 404


async def test_refused_refresh_tokens(fake: FakeWix, wix: httpx.AsyncClient) -> None:
    """Unknown, foreign and refused refresh tokens are an `invalid_grant` unless the test wants it otherwise."""
    tokens = await mint(wix)
    for answer in (await renew(wix, "unknown"), await renew(wix, tokens["refresh_token"], OTHER_CLIENT)):
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    fake.refuse_refresh_token(tokens["refresh_token"], shape="wix", status=403)
    answer = await renew(wix, tokens["refresh_token"])
    assert (answer.status_code, "details" in answer.json()) == (403, True)
    fake.refusal_shape, fake.refusal_status = "legacy", 401
    fake.refuse_refresh_tokens(next(iter(fake.visitors)))
    answer = await renew(wix, tokens["refresh_token"])
    assert (answer.status_code, "errorCode" in answer.json()) == (401, True)
    assert len(fake.visitors) == 1


async def test_token_info(fake: FakeWix, wix: httpx.AsyncClient) -> None:
    """Token info tells whose a token is, with its dates as strings, and whether it still works."""
    tokens = await mint(wix)
    info = (await wix.post("/oauth2/token-info", json={"token": tokens["access_token"]})).json()
    assert info["active"] is True
    assert (info["subjectType"], info["subjectId"]) == ("VISITOR", next(iter(fake.visitors)))
    assert int(info["exp"]) - int(info["iat"]) == 14_400
    assert isinstance(info["exp"], str)
    fake.refuse_refresh_token(tokens["refresh_token"])
    for token in (tokens["refresh_token"], "unknown"):
        assert (await wix.post("/oauth2/token-info", json={"token": token})).json()["active"] is False
    assert (await wix.post("/oauth2/token-info", json={})).status_code == 400
