"""What users hold: the methods of a session, its life, and what it says of wrong arguments."""

from __future__ import annotations

import asyncio
import gc
import logging
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any

import anyio
import httpx
import httpx2
import pytest
import trio

from tests.constants import CART, LIFETIME, SessionMaker
from wixvisitor import (
    EMPTY_TOKENS,
    AccessToken,
    ConfigurationError,
    GraphQLResult,
    RefreshToken,
    SessionExpired,
    TokenRequestError,
    TokenRole,
    Tokens,
    TokensChanged,
    VisitorPool,
    VisitorSession,
    WixAPIError,
    raise_for_error,
)
from wixvisitor.storage import MemoryStorage
from wixvisitor.testing import FakeWix

TokensFrom = Callable[..., Tokens]
anyio_test = pytest.mark.anyio
pytestmark = pytest.mark.usefixtures("no_backoff")


# Requests


@anyio_test
@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
async def test_each_method_sends_its_name(
    still: FakeWix, session_of: SessionMaker, family: ModuleType, method: str
) -> None:
    """get, post, put, patch and delete are request with that method, and give the client's own response."""
    session = session_of(family)
    response = await getattr(session, method)(CART)
    assert isinstance(response, family.Response)
    assert still.api_calls()[-1].method == method.upper()
    again = await session.request(method, CART)
    assert again.status_code == response.status_code
    assert still.api_calls()[-1].method == method.upper()


@anyio_test
async def test_arguments_are_the_clients(still: FakeWix, session_of: SessionMaker, family: ModuleType) -> None:
    """json, params, headers, content and timeout mean what they mean to the client."""
    session = session_of(family)
    await session.post(CART, json={"a": 1}, params={"b": "2"}, headers={"X-C": "3"}, timeout=5)
    call = still.api_calls()[-1]
    assert (call.json, call.query, call.headers["x-c"]) == ({"a": 1}, {"b": "2"}, "3")
    await session.put("x", content=b"raw", extensions={"timeout": {"read": 1}})
    assert still.api_calls()[-1].body == b"raw"
    await session.post("/x", data={"a": "b"})
    assert still.api_calls()[-1].body == b"a=b"


@anyio_test
@pytest.mark.parametrize("call", ["request", "get", "post", "stream"])
async def test_another_auth_is_refused(still: FakeWix, session_of: SessionMaker, call: str) -> None:
    """`auth=` is a ConfigurationError, and nothing is sent."""
    session = session_of()
    arguments = ("GET", CART) if call in ("request", "stream") else (CART,)
    asked = getattr(session, call)(*arguments, auth=("user", "password"))
    with pytest.raises(ConfigurationError, match="auth"):
        await (asked.__aenter__() if call == "stream" else asked)
    assert not still.calls


@anyio_test
async def test_a_stream_is_read_as_it_comes_and_closed(
    still: FakeWix, session_of: SessionMaker, family: ModuleType
) -> None:
    """stream() hands out the response before its body was read, and closes it, also after an exception."""
    still.fail(200, path="/big", body=b"x" * 300_000, times=None)
    async with still.serve() as url, family.AsyncClient(limits=family.Limits(max_connections=1)) as client:
        session = session_of(client=client, base_url=url)
        async with session.stream("GET", "/big") as response:
            assert not response.is_closed
            assert sum([len(chunk) async for chunk in response.aiter_bytes()]) == 300_000
        assert response.is_closed
        with pytest.raises(LookupError):
            async with session.stream("GET", "/big") as response:
                raise LookupError
        assert response.is_closed
        assert (await session.get("/big")).status_code == 200


@anyio_test
@pytest.mark.parametrize("status", [200, 204, 302, 400, 404, 428, 429, 500, 503])
async def test_responses_are_not_raised_on(
    still: FakeWix, session_of: SessionMaker, family: ModuleType, status: int
) -> None:
    """Whatever an API answers is the caller's response; raise_for_error raises on what is no success."""
    session = session_of(family)
    error = {"message": "no", "details": {"applicationError": {"code": "NO", "description": "no"}}}
    still.fail(status, path="/x", body=error, headers={"x-wix-request-id": "r1"})
    response = await session.get("/x")
    assert response.status_code == status
    if status in (200, 204):
        assert raise_for_error(response) is response
    else:
        with pytest.raises(WixAPIError) as caught:
            raise_for_error(response)
        assert (caught.value.status_code, caught.value.code, caught.value.request_id) == (status, "NO", "r1")


@anyio_test
@pytest.mark.parametrize("body", [None, "<html>denied</html>", "plain", b"\xff\xfe", b"[1]", b'{"message": 7}', b"{"])
async def test_raise_for_error_copes_with_any_body(
    still: FakeWix, session_of: SessionMaker, family: ModuleType, body: Any
) -> None:
    """HTML, nothing, junk and half of a JSON are errors like others, also in a stream that was not read."""
    session = session_of(family)
    still.fail(403, path="/x", body=body, times=2)
    with pytest.raises(WixAPIError) as caught:
        raise_for_error(await session.get("/x"))
    assert caught.value.status_code == 403
    assert caught.value.details == {}
    async with session.stream("GET", "/x") as response:
        with pytest.raises(WixAPIError):
            raise_for_error(response)


@anyio_test
async def test_validation_errors_carry_their_fields(still: FakeWix, session_of: SessionMaker) -> None:
    """A validation error's field violations are Wix's own."""
    session = session_of()
    with pytest.raises(WixAPIError) as caught:
        raise_for_error(await session.post(f"{CART}/add-line-items", json={"catalogItems": "no list"}))
    assert caught.value.status_code == 400
    assert caught.value.field_violations
    assert {"field", "description"} <= set(caught.value.field_violations[0])


@anyio_test
async def test_a_request_to_no_url_is_a_configuration_error(still: FakeWix, session_of: SessionMaker) -> None:
    """What is no URL is a ConfigurationError, and mints nobody."""
    session = session_of()
    for url in ("https://[::1", "https://x:abc/", "\x00"):
        with pytest.raises(ConfigurationError):
            await session.get(url)
    assert not still.calls


@anyio_test
@pytest.mark.parametrize(
    ("base", "url", "expected"),
    [
        ("https://www.wixapis.com", "ecom/v1", "/ecom/v1"),
        ("https://www.wixapis.com/", "/ecom/v1", "/ecom/v1"),
        ("https://www.wixapis.com/proxy", "/ecom/v1", "/proxy/ecom/v1"),
        ("https://www.wixapis.com/proxy/", "ecom/v1?a=b%20c", "/proxy/ecom/v1"),
        ("https://www.wixapis.com", "", "/"),
        ("https://www.wixapis.com", "/a:b/c", "/a:b/c"),
    ],
)
async def test_relative_urls_go_below_the_base_url(
    still: FakeWix, session_of: SessionMaker, base: str, url: str, expected: str
) -> None:
    """Paths are joined to the base URL as httpx joins them."""
    session = session_of(tokens=Tokens(AccessToken("A" * 9, 2**33), EMPTY_TOKENS.refresh_token), base_url=base)
    await session.get(url)
    assert still.calls[-1].path == expected


# GraphQL


@anyio_test
async def test_graphql_data_and_errors(still: FakeWix, session_of: SessionMaker, family: ModuleType) -> None:
    """graphql() gives data and errors; errors with status 200 are not raised."""
    session = session_of(family)
    result = await session.graphql("query ($n: Int) { products(limit: $n) { name } }", {"n": 1})
    assert isinstance(result, GraphQLResult)
    assert len(result.data["products"]) == 1
    assert result.errors == []
    call = still.api_calls()[-1]
    assert (call.method, call.path) == ("POST", "/graphql/alpha")
    assert set(call.json) == {"query", "variables"}
    wrong = await session.graphql("{ nonsense }")
    assert wrong.data == {}
    assert wrong.errors[0]["message"]
    assert "variables" not in still.api_calls()[-1].json


@anyio_test
@pytest.mark.parametrize(
    ("status", "body"),
    [(200, "<html>"), (200, None), (200, b"[]"), (500, {"message": "no"}), (403, "<html>"), (302, None)],
)
async def test_what_is_no_graphql_answer_raises(
    still: FakeWix, session_of: SessionMaker, status: int, body: Any
) -> None:
    """Anything but a GraphQL answer is a WixAPIError."""
    session = session_of()
    still.fail(status, path="/graphql/alpha", body=body)
    with pytest.raises(WixAPIError) as caught:
        await session.graphql("{ currentCart { id } }")
    assert caught.value.status_code == status


@anyio_test
@pytest.mark.parametrize(
    "body", [b"{}", b'{"data": null}', b'{"data": [], "errors": "x"}', b'{"errors": [1, {"a": 2}]}']
)
async def test_odd_graphql_answers_are_read_kindly(still: FakeWix, session_of: SessionMaker, body: bytes) -> None:
    """Missing or odd data and errors are empty ones."""
    session = session_of()
    still.fail(200, path="/graphql/alpha", body=body)
    result = await session.graphql("{ x }")
    assert result.data == {}
    assert all(isinstance(error, dict) for error in result.errors)


# Tokens, as in the JavaScript SDK


@anyio_test
async def test_generate_visitor_tokens_in_its_order(still: FakeWix, session_of: SessionMaker, client_id: str) -> None:
    """Valid tokens as they are, expired ones renewed, refused ones replaced, none minted."""
    session = session_of()
    minted = await session.generate_visitor_tokens()
    assert minted.refresh_token.role is TokenRole.VISITOR
    assert minted == session.get_tokens()
    assert await session.generate_visitor_tokens() == minted
    assert len(still.token_calls()) == 1
    still.advance(LIFETIME + 1)
    renewed = await session.generate_visitor_tokens()
    assert renewed.refresh_token == minted.refresh_token
    assert renewed.access_token != minted.access_token
    still.refuse_refresh_token(minted.refresh_token.value)
    still.advance(LIFETIME + 1)
    replaced = await session.generate_visitor_tokens()
    assert replaced.refresh_token != minted.refresh_token
    assert len(still.visitors) == 2


@anyio_test
async def test_generate_visitor_tokens_with_tokens(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, member: Tokens
) -> None:
    """Given tokens are judged and adopted: valid ones cost no call, expired ones one renewal, and all are saved."""
    storage = MemoryStorage()
    session = session_of(storage=storage)
    assert await session.generate_visitor_tokens(visitor) == visitor
    assert await session.generate_visitor_tokens(EMPTY_TOKENS) == visitor
    assert await session.generate_visitor_tokens(member) == member
    assert session.logged_in()
    assert not still.calls
    still.advance(LIFETIME + 1)
    renewed = await session.generate_visitor_tokens(visitor)
    assert renewed.refresh_token == visitor.refresh_token
    assert not session.logged_in()
    assert len(still.token_calls()) == 1
    assert await session_of(storage=storage).generate_visitor_tokens() == renewed


@anyio_test
async def test_generate_visitor_tokens_takes_an_access_token_alone(
    session_of: SessionMaker, visitor: Tokens, still: FakeWix
) -> None:
    """Tokens with only an access token that works are used as they are."""
    alone = Tokens(visitor.access_token, EMPTY_TOKENS.refresh_token)
    assert await session_of().generate_visitor_tokens(alone) == alone
    assert not still.calls


@anyio_test
async def test_renew_token_always_asks(still: FakeWix, session_of: SessionMaker, visitor: Tokens) -> None:
    """renew_token() and renew_token(the own one) ask Wix however fresh the token is; the result is used."""
    session = session_of(tokens=visitor)
    first = await session.renew_token()
    second = await session.renew_token(visitor.refresh_token)
    assert len(still.token_calls("refresh_token")) == 2
    assert len({visitor.access_token, first.access_token, second.access_token}) == 3
    assert session.get_tokens() == second
    assert second.refresh_token == visitor.refresh_token


@anyio_test
async def test_renew_token_of_another_leaves_the_own_visitor(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, member: Tokens
) -> None:
    """Another refresh token's new tokens are returned, and the session keeps its visitor."""
    session = session_of(tokens=visitor)
    tokens = await session.renew_token(member.refresh_token)
    assert tokens.refresh_token == member.refresh_token
    assert tokens.access_token.value not in ("", member.access_token.value)
    assert session.get_tokens() == visitor
    still.refuse_refresh_token(member.refresh_token.value)
    with pytest.raises(SessionExpired) as caught:
        await session.renew_token(member.refresh_token)
    assert caught.value.role is TokenRole.MEMBER
    still.fail(503, times=3)
    with pytest.raises(TokenRequestError):
        await session.renew_token(member.refresh_token)
    assert session.get_tokens() == visitor
    assert (await session.auth_headers())["Authorization"] == visitor.access_token.value


@anyio_test
async def test_renew_token_without_a_visitor_adopts(still: FakeWix, session_of: SessionMaker, visitor: Tokens) -> None:
    """A session without a visitor keeps the one whose refresh token it renewed; with none at all it mints nobody."""
    session = session_of()
    with pytest.raises(ConfigurationError):
        await session.renew_token()
    tokens = await session.renew_token(visitor.refresh_token)
    assert session.get_tokens() == tokens
    assert not still.token_calls("anonymous")


@anyio_test
async def test_renew_token_fails_as_itself(still: FakeWix, session_of: SessionMaker, visitor: Tokens) -> None:
    """renew_token raises although the token still works, and the token goes on working."""
    session = session_of(tokens=visitor)
    await session.auth_headers()
    still.fail(503, times=3)
    with pytest.raises(TokenRequestError):
        await session.renew_token()
    assert (await session.get(CART)).status_code in (200, 404)
    assert session.get_tokens() == visitor


@anyio_test
async def test_concurrent_renew_tokens_share_a_call(still: FakeWix, session_of: SessionMaker, visitor: Tokens) -> None:
    """20 renew_token() at once cost one call."""
    session = session_of(tokens=visitor)
    await session.auth_headers()
    results: list[Tokens] = []

    async def renew() -> None:
        results.append(await session.renew_token())

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(renew)
    assert len(set(results)) == len(still.token_calls()) == 1


@anyio_test
async def test_logged_in_and_auth_headers(session_of: SessionMaker, visitor: Tokens, member: Tokens) -> None:
    """logged_in() is the held role; auth_headers() is the token, raw."""
    session = session_of()
    assert not session.logged_in()
    await session.set_tokens(visitor)
    assert not session.logged_in()
    assert await session.auth_headers() == {"Authorization": visitor.access_token.value}
    await session.set_tokens(member)
    assert session.logged_in()
    assert await session.auth_headers() == {"Authorization": member.access_token.value}
    await session.set_tokens(EMPTY_TOKENS)
    assert not session.logged_in()


@anyio_test
async def test_auth_headers_are_the_callers_to_change(session_of: SessionMaker, visitor: Tokens) -> None:
    """Changing the dict that auth_headers() gave changes nobody else's."""
    session = session_of(tokens=visitor)
    (await session.auth_headers()).clear()
    assert await session.auth_headers() == {"Authorization": visitor.access_token.value}


@anyio_test
async def test_get_tokens_asks_nobody(still: FakeWix, session_of: SessionMaker, visitor: Tokens) -> None:
    """get_tokens() is what is held, however old."""
    session = session_of()
    assert session.get_tokens() == EMPTY_TOKENS
    await session.set_tokens(visitor)
    still.advance(10 * LIFETIME)
    assert session.get_tokens() == visitor
    assert not still.calls


@anyio_test
async def test_a_stamp_later_than_the_tokens_own_expiry_is_not_believed(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """Resumed tokens whose expiry was stamped too late are renewed when they really end."""
    stamped = Tokens(
        AccessToken(visitor.access_token.value, visitor.access_token.expires_at + 9999), visitor.refresh_token
    )
    session = session_of(tokens=stamped)
    still.advance(LIFETIME + 1)
    assert (await session.get(CART)).status_code in (200, 404)
    assert len(still.api_calls()) == 1
    assert len(still.token_calls()) == 1


# Life


@anyio_test
async def test_with_and_without_async_with(still: FakeWix, session_of: SessionMaker, visitor: Tokens) -> None:
    """Entering reads the store and mints nobody; without entering the first use does; closing twice is fine."""
    storage = MemoryStorage()
    await session_of(storage=storage).set_tokens(visitor)
    async with session_of(storage=storage) as session:
        assert session.get_tokens() == visitor
    await session.aclose()
    await session.aclose()
    bare = session_of(storage=storage)
    assert bare.get_tokens() == EMPTY_TOKENS
    assert await bare.auth_headers() == {"Authorization": visitor.access_token.value}
    await bare.aclose()
    async with session_of() as cold:
        assert cold.get_tokens() == EMPTY_TOKENS
    assert not still.calls


@anyio_test
async def test_reuse_after_close(still: FakeWix, client_id: str) -> None:
    """A closed session with a client of its own works again, as the same visitor."""
    async with still.serve() as url:
        session = VisitorSession(client_id, base_url=url, clock=still.now)
        for _ in range(3):
            assert (await session.get(CART)).status_code in (200, 404)
            still.advance(LIFETIME + 1)
            await session.aclose()
        async with session, session:
            await session.get(CART)
        await session.aclose()
    gc.collect()
    assert len(still.visitors) == 1


@anyio_test
async def test_leaving_by_an_exception_closes_too(still: FakeWix, client_id: str) -> None:
    """`async with` closes the own client when its body raises, and lets the exception through."""
    async with still.serve() as url:
        session = VisitorSession(client_id, base_url=url, clock=still.now)

        async def shop() -> None:
            async with session:
                await session.get(CART)
                raise LookupError

        with pytest.raises(LookupError):
            await shop()
    gc.collect()


@pytest.mark.parametrize("entered", [True, False], ids=["async with", "without"])
@pytest.mark.parametrize("loops", [("asyncio", "asyncio"), ("trio", "trio"), ("asyncio", "trio"), ("trio", "asyncio")])
def test_one_object_in_two_event_loops(
    still: FakeWix, client_id: str, loops: tuple[str, str], *, entered: bool
) -> None:
    """The same session, with a client of its own, works in one event loop after another, also of another kind."""
    session = VisitorSession(client_id, clock=still.now)

    async def once() -> None:
        async with still.serve() as url:
            if entered:
                async with session:
                    assert (await session.get(f"{url}{CART}")).status_code == 401  # another origin: without the token
            else:
                assert (await session.get(f"{url}{CART}")).status_code == 401
                await session.aclose()

    for loop in loops:
        asyncio.run(once()) if loop == "asyncio" else trio.run(once)
    gc.collect()


@pytest.mark.parametrize("closing", [True, False], ids=["closed", "left open"])
@pytest.mark.parametrize("loops", [("asyncio", "asyncio"), ("trio", "trio"), ("asyncio", "trio"), ("trio", "asyncio")])
def test_one_visitor_in_two_event_loops(
    still: FakeWix, session_of: SessionMaker, loops: tuple[str, str], *, closing: bool
) -> None:
    """In the second loop it is still the same visitor, renewed there when needed."""
    session = session_of()

    async def once() -> None:
        for _ in range(2):
            assert (await session.get(CART)).status_code in (200, 404)
            still.advance(LIFETIME + 1)
        if closing:
            await session.aclose()

    for loop in loops:
        asyncio.run(once()) if loop == "asyncio" else trio.run(once)
    gc.collect()
    assert len(still.visitors) == 1
    assert [call.grant_type for call in still.token_calls()] == ["anonymous"] + ["refresh_token"] * 3


@anyio_test
async def test_dropping_a_session_leaves_nothing(still: FakeWix, session_of: SessionMaker) -> None:
    """A session that is dropped without closing, with a caller's client, warns of nothing."""
    session = session_of()
    await session.get(CART)
    del session
    gc.collect()


# on_change


@anyio_test
async def test_on_change_holds_no_secret_and_sees_what_counts(
    still: FakeWix, session_of: SessionMaker, member: Tokens
) -> None:
    """Events say why, which record and whose; when they arrive, get_tokens() is already the new state."""
    seen: list[tuple[TokensChanged, Tokens]] = []
    session: VisitorSession
    session = session_of(on_change=lambda event: seen.append((event, session.get_tokens())), key="k")
    await session.auth_headers()
    await session.set_tokens(member)
    await session.set_tokens(EMPTY_TOKENS)
    assert [(str(event.reason), event.key, event.old_role.value, event.new_role.value) for event, _ in seen] == [
        ("minted", "k", "none", "visitor"),
        ("set", "k", "visitor", "member"),
        ("set", "k", "member", "none"),
    ]
    assert seen[0][1].refresh_token.role is TokenRole.VISITOR
    assert seen[1][1] == member
    assert "JWS" not in repr(seen[1][0])


@anyio_test
async def test_an_on_change_that_raises_is_only_logged(
    still: FakeWix, session_of: SessionMaker, caplog: pytest.LogCaptureFixture
) -> None:
    """What on_change raises reaches the log and nobody else."""

    def bad(event: TokensChanged) -> None:
        raise LookupError("my mistake")

    session = session_of(on_change=bad)
    with caplog.at_level(logging.ERROR, "wixvisitor"):
        assert (await session.get(CART)).status_code in (200, 404)
    assert "my mistake" in caplog.text
    assert len(still.visitors) == 1


@anyio_test
async def test_on_change_may_start_work_with_the_session(still: FakeWix, session_of: SessionMaker) -> None:
    """A task that on_change starts may use the session."""
    results: list[int] = []

    async def work() -> None:
        results.append((await session.get(CART)).status_code)

    async with anyio.create_task_group() as tasks:
        session = session_of(on_change=lambda event: tasks.start_soon(work))
        with anyio.fail_after(2):
            await session.auth_headers()
    assert len(results) == 1


# Wrong arguments


@pytest.mark.parametrize(
    "arguments",
    [
        {"tokens": {"accessToken": {}}},
        {"tokens": "JWS.abc"},
        {"tokens": Tokens(AccessToken("a\nb", 1), RefreshToken("r", TokenRole.VISITOR))},
        {"tokens": Tokens(AccessToken("a", 1), RefreshToken("ö", TokenRole.VISITOR))},
        {"storage": object()},
        {"storage": "tokens.json"},
        {"storage": {}},
        {"key": ""},
        {"key": None},
        {"key": 7},
        {"client": object()},
        {"client": httpx.Client()},
        {"client": "https://x"},
        {"allowed_origins": "https://edge.wixapis.com"},
        {"allowed_origins": ("edge.wixapis.com",)},
        {"renew_before": -1},
        {"renew_before": "900"},
        {"renew_before": None},
        {"renew_before": True},
        {"renew_before": float("nan")},
        {"renew_before": float("inf")},
        {"renew_timeout": 0},
        {"renew_timeout": -1},
        {"renew_timeout": "15"},
        {"on_refused": "replace"},
        {"on_refused": None},
        {"on_refused": []},
        {"on_change": "print"},
        {"on_change": asyncio.sleep},
        {"is_refusal": "yes"},
        {"clock": 7},
        {"base_url": ""},
        {"base_url": 7},
    ],
    ids=lambda arguments: next(iter(arguments)),
)
def test_wrong_arguments_are_configuration_errors(client_id: str, arguments: dict[str, Any]) -> None:
    """A wrong argument is a ConfigurationError at construction, whose text names it and holds no token."""
    with pytest.raises(ConfigurationError) as caught:
        VisitorSession(client_id, **arguments)
    name = next(iter(arguments))
    assert name in str(caught.value) or name == "tokens"
    assert "JWS.abc" not in str(caught.value)


@pytest.mark.parametrize("client_id", ["", None, 7, "a b", "ä", "a:b", b"x"])
@pytest.mark.parametrize("kind", [VisitorSession, VisitorPool])
def test_a_wrong_client_id_is_a_configuration_error(kind: Any, client_id: Any) -> None:
    """What cannot be a client ID is refused at construction."""
    with pytest.raises(ConfigurationError, match="client_id"):
        kind(client_id)


def test_a_blocking_client_is_a_configuration_error(client_id: str, family: ModuleType) -> None:
    """A synchronous client is refused at construction."""
    with family.Client() as client, pytest.raises(ConfigurationError, match="client"):
        VisitorSession(client_id, client=client)


@anyio_test
async def test_a_client_id_that_wix_calls_wrong(still: FakeWix, session_of: SessionMaker) -> None:
    """A client ID that the token endpoint does not know is a ConfigurationError; nobody is asked again and again."""
    still.client_ids = frozenset()
    session = session_of()
    for _ in range(5):
        with pytest.raises(ConfigurationError):
            await session.get(CART)
    assert len(still.token_calls()) == 1


@anyio_test
@pytest.mark.parametrize("tokens", [None, {}, "JWS.abc", 7])
async def test_set_tokens_takes_tokens_only(session_of: SessionMaker, visitor: Tokens, tokens: Any) -> None:
    """set_tokens of anything but Tokens is a ConfigurationError and changes nothing."""
    session = session_of(tokens=visitor)
    with pytest.raises(ConfigurationError):
        await session.set_tokens(tokens)
    if tokens is not None:
        with pytest.raises(ConfigurationError):
            await session.generate_visitor_tokens(tokens)
    assert session.get_tokens() == visitor


@anyio_test
@pytest.mark.parametrize("token", [{}, "JWS.abc", 7, RefreshToken("a b", TokenRole.VISITOR)], ids=str)
@pytest.mark.parametrize("has_visitor", [True, False])
async def test_renew_token_takes_refresh_tokens_only(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, token: Any, *, has_visitor: bool
) -> None:
    """renew_token of anything but a RefreshToken is a ConfigurationError, and asks nobody."""
    session = session_of(tokens=visitor if has_visitor else None)
    with pytest.raises(ConfigurationError):
        await session.renew_token(token)
    assert not still.calls


@anyio_test
async def test_renew_token_of_an_empty_token_asks_nobody(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """An empty refresh token (`EMPTY_TOKENS.refresh_token`) is nobody's: no request with it leaves."""
    session = session_of(tokens=visitor)
    with pytest.raises((ConfigurationError, SessionExpired)):
        await session.renew_token(EMPTY_TOKENS.refresh_token)
    assert not still.calls


def test_a_session_says_who_it_is_without_secrets(session_of: SessionMaker, visitor: Tokens, client_id: str) -> None:
    """A repr and a str name the client ID and the role, never a token."""
    text = f"{session_of(tokens=visitor)!r} {session_of(tokens=visitor)}"
    assert client_id in text
    assert "visitor" in text
    assert "JWS" not in text


@anyio_test
async def test_another_loop_may_not_be_confused_by_a_closed_one(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """A session first used in a thread's loop, which has ended, works here."""
    session = session_of(tokens=visitor)
    still.advance(LIFETIME + 1)

    def elsewhere() -> None:
        asyncio.run(session.auth_headers())  # type: ignore[arg-type]

    await anyio.to_thread.run_sync(elsewhere)
    still.advance(LIFETIME + 1)
    await session.auth_headers()
    assert len(still.token_calls()) == 2
    assert len(still.visitors) == 1


# Headers of one request


@anyio_test
@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION"])
@pytest.mark.parametrize(
    "given",
    [dict, list, iter, httpx.Headers, httpx2.Headers, lambda pairs: {key.encode(): b"x" for key, _ in pairs}],
    ids=["dict", "pairs", "iterator", "httpx", "httpx2", "bytes"],
)
async def test_another_authorization_is_refused(
    still: FakeWix, session_of: SessionMaker, family: ModuleType, name: str, given: Any
) -> None:
    """An `Authorization` header with one request is a mistake, like `auth=`: nothing is sent, no frame shows it."""
    session = session_of(family)
    for call in (session.get, session.post):
        with pytest.raises(ConfigurationError, match="Authorization") as caught:
            await call(CART, headers=given([("X-Other", "1"), (name, "API-KEY")]))
        frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack
        ours = [frame.locals for frame in frames if "/wixvisitor/" in frame.filename]
        assert ours
        assert "API-KEY" not in str(ours)
    with pytest.raises(ConfigurationError, match="Authorization"):
        async with session.stream("GET", CART, headers=given([(name, "API-KEY")])):
            pass
    assert still.calls == []


@anyio_test
@pytest.mark.parametrize("given", [dict, list, iter, httpx.Headers, httpx2.Headers])
async def test_other_headers_go_out(still: FakeWix, session_of: SessionMaker, family: ModuleType, given: Any) -> None:
    """Other headers of a request are sent, in whatever form they are given."""
    await session_of(family).get(CART, headers=given([("X-Other", "1"), ("Proxy-Authorization", "2")]))
    [call] = still.api_calls()
    assert (call.headers["x-other"], call.headers["proxy-authorization"]) == ("1", "2")


@anyio_test
async def test_a_clients_default_authorization_is_replaced(
    still: FakeWix, session_of: SessionMaker, family: ModuleType
) -> None:
    """A default `Authorization` of the client is replaced by the visitor's token, without a word."""
    async with still.client(family, headers={"Authorization": "API-KEY"}) as client:
        session = session_of(client=client)
        await session.get(CART)
    assert still.api_calls()[-1].headers["authorization"] == session.get_tokens().access_token.value


@anyio_test
async def test_a_body_that_cannot_be_sent(session_of: SessionMaker) -> None:
    """Half a surrogate pair is a ConfigurationError, whose text and attributes do not quote the body."""
    async with session_of() as session:
        with pytest.raises(ConfigurationError, match="cannot be sent") as caught:
            await session.post("/x", json={"password": "pass" + "word\ud800"})
        with pytest.raises(ConfigurationError, match="cannot be sent"):
            await session.members.login("anna@example.com", "pass" + "word\ud800")
    assert "password" not in repr(vars(caught.value)) + repr(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None
