"""What may go wrong at the token endpoint without costing the visitor: everything that is no refusal."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from types import ModuleType
from typing import Any

import anyio
import attrs
import httpx
import pytest

from tests.constants import LIFETIME, SessionMaker
from tests.stores import TroubledStorage
from wixvisitor import (
    ConfigurationError,
    InvalidTokenResponse,
    StorageError,
    TokenRequestError,
    Tokens,
)
from wixvisitor.storage import MemoryStorage
from wixvisitor.testing import FakeWix

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_backoff")]

PAGE = "<html><body>Access denied</body></html>"


@attrs.frozen
class Trouble:
    """Something that is wrong for as long as it is there, and what the caller is told."""

    name: str
    fault: Callable[[FakeWix], Any]
    error: type[Exception] = TokenRequestError
    status: int | None = None


def answers(status: int, body: Any = None, **headers: str) -> Callable[[FakeWix], Any]:
    return lambda fake: fake.fail(status, body=body, headers=headers, times=None)


def _status(status: int, body: Any = None, suffix: str = "") -> Trouble:
    return Trouble(f"{status}{suffix}", answers(status, body), TokenRequestError, status)


def _ok(name: str, body: Any) -> Trouble:
    return Trouble(f"200 {name}", answers(200, body), InvalidTokenResponse, 200)


_JSON = {"message": "try again", "details": {}}
_GRANT = {"access_token": "A" * 30, "refresh_token": "R" * 30, "expires_in": 14400}

TROUBLES = [
    *(_status(status) for status in (500, 502, 503, 504, 404, 408, 425, 429, 418, 451, 409, 422, 204, 201, 304)),
    *(_status(status, _JSON, " JSON") for status in (404, 408, 425, 429, 500, 503)),
    *(_status(status, {"error": "invalid_grant"}, " invalid_grant") for status in (404, 408, 425, 429, 500, 503)),
    *(_status(status, PAGE, " HTML") for status in (400, 401, 403, 404, 429, 500, 503)),
    *(_status(status, None, " empty") for status in (400, 401, 403)),
    *(_status(status, b"[]", " list") for status in (400, 401, 403)),
    *(_status(status, b'"invalid_grant"', " text") for status in (400, 401)),
    *(_status(status, b'{"error": "invalid_gra', " cut off") for status in (400, 401)),
    Trouble("429 Retry-After seconds", answers(429, _JSON, **{"Retry-After": "30"}), status=429),
    Trouble("429 Retry-After 0", answers(429, None, **{"Retry-After": "0"}), status=429),
    Trouble("503 Retry-After date", answers(503, None, **{"Retry-After": "Fri, 15 Jan 2027 08:01:00 GMT"}), status=503),
    Trouble("503 Retry-After junk", answers(503, None, **{"Retry-After": "soon"}), status=503),
    Trouble("503 Retry-After nan", answers(503, None, **{"Retry-After": "nan"}), status=503),
    Trouble("503 Retry-After -1", answers(503, None, **{"Retry-After": "-1"}), status=503),
    *(
        Trouble(f"{status} elsewhere", answers(status, None, Location="https://elsewhere.example/"), status=status)
        for status in (301, 302, 303, 307, 308)
    ),
    Trouble("302 itself", answers(302, None, Location="/oauth2/token"), status=302),
    _ok("HTML", PAGE),
    _ok("empty", None),
    _ok("{}", {}),
    _ok("[]", b"[]"),
    _ok("null", b"null"),
    _ok("text", b'"token"'),
    _ok("cut off", json.dumps(_GRANT).encode()[:40]),
    _ok("not UTF-8", b"\xff\xfe\x00"),
    _ok("deep", b"[" * 60_000),
    _ok("refresh token only", {"refresh_token": "R" * 30}),
    _ok("empty access token", {**_GRANT, "access_token": ""}),
    _ok("access token null", {**_GRANT, "access_token": None}),
    _ok("access token a number", {**_GRANT, "access_token": 7}),
    _ok("access token with a line break", {**_GRANT, "access_token": "A\r\nX-Evil: 1"}),
    _ok("access token not ASCII", {**_GRANT, "access_token": "tökén"}),
    _ok("refresh token a list", {**_GRANT, "refresh_token": ["R"]}),
    _ok("refresh token with a blank", {**_GRANT, "refresh_token": "R R"}),
    _ok("an error", {"error": "invalid_grant", "error_description": "no"}),
    Trouble("200 truncated", lambda fake: fake.truncate(200, times=None)),
    Trouble("hangs", lambda fake: fake.hang(times=None)),
    Trouble("hangs after the commit", lambda fake: fake.hang(times=None, committed=True)),
    Trouble("dropped", lambda fake: fake.drop(times=None)),
    Trouble("dropped after the commit", lambda fake: fake.drop(times=None, committed=True)),
]


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.name.replace(" ", "_"))
async def test_trouble_costs_nobody(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, trouble: Trouble
) -> None:
    """An expired visitor meets trouble: the right error, the same refresh token, and afterwards the same visitor."""
    storage = MemoryStorage()
    session = session_of(tokens=visitor, storage=storage, renew_timeout=0.25 if "hangs" in trouble.name else 15.0)
    still.advance(LIFETIME + 1)
    fault = trouble.fault(still)
    with pytest.raises(trouble.error) as caught:
        await session.get("/ecom/v2/carts/current")
    assert type(caught.value) is trouble.error
    assert caught.value.status_code == trouble.status
    assert 1 <= len(still.token_calls()) <= 3
    assert session.get_tokens() == visitor
    assert len(still.visitors) == 1
    fault.remove()
    still.advance(301)
    assert (await session.get("/ecom/v2/carts/current")).status_code in (200, 404)
    assert session.get_tokens().refresh_token == visitor.refresh_token
    assert session.get_tokens().access_token != visitor.access_token
    assert len(still.visitors) == 1
    assert not still.token_calls("anonymous")
    async with session_of(storage=storage) as restarted:
        assert restarted.get_tokens() == session.get_tokens()


@pytest.mark.parametrize("door", ["in process", "loopback"])
@pytest.mark.parametrize("committed", [False, True])
async def test_a_dropped_reply_of_a_rotating_endpoint_costs_nobody(
    still: FakeWix,
    session_of: SessionMaker,
    visitor: Tokens,
    family: ModuleType,
    door: str,
    *,
    committed: bool,
) -> None:
    """A connection that breaks before or after the renewal was done is asked again, and it stays the same visitor."""
    still.rotate_refresh_tokens = True
    still.drop(committed=committed)
    still.advance(LIFETIME + 1)
    if door == "in process":
        await session_of(family, tokens=visitor).auth_headers()
    else:
        async with still.serve() as url, family.AsyncClient() as client:
            await session_of(client=client, tokens=visitor, base_url=url).auth_headers()
    assert [call.status for call in still.token_calls()] == [None, 200]
    assert len(still.visitors) == 1


@pytest.mark.usefixtures("no_collection")
async def test_trouble_in_the_background_disturbs_nobody(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """While the token works no trouble at the token endpoint reaches a caller."""
    for trouble in TROUBLES:
        if "hangs" in trouble.name:
            continue
        session = session_of(tokens=visitor)
        await session.auth_headers()
        still.advance(LIFETIME - 300)
        fault = trouble.fault(still)
        for _ in range(3):
            assert await session.auth_headers() == {"Authorization": visitor.access_token.value}
        await session.aclose()
        assert session.get_tokens() == visitor, trouble.name
        fault.remove()
        still.advance(300 - LIFETIME)
    assert len(still.visitors) == 1


@pytest.mark.parametrize("grant", ["anonymous", "refresh_token"])
@pytest.mark.parametrize("door", ["in process", "loopback"])
async def test_an_unreachable_endpoint_says_so(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, family: ModuleType, door: str, grant: str
) -> None:
    """A refused connection is a TokenRequestError without a status, whose text says what happened, and where."""
    tokens = visitor if grant == "refresh_token" else None
    still.advance(LIFETIME + 1)

    def broken(request: Any) -> Any:
        raise family.ConnectError("All connection attempts failed", request=request)

    transport = family.MockTransport(broken) if door == "in process" else None
    async with family.AsyncClient(transport=transport) as client:
        session = session_of(client=client, tokens=tokens, base_url="http://127.0.0.1:1")
        with pytest.raises(TokenRequestError, match=r"of http://127\.0\.0\.1:1 could not be reached") as caught:
            await session.auth_headers()
    assert caught.value.status_code is None
    assert "ConnectError" in str(caught.value)


@pytest.mark.parametrize(
    "error", [OSError("no route"), ValueError("odd"), KeyError("x"), RuntimeError("closed"), TimeoutError()]
)
async def test_a_transport_that_raises_anything_costs_nobody(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, error: Exception
) -> None:
    """Whatever a transport raises, also what no HTTP library would, is a TokenRequestError."""

    def broken(request: httpx.Request) -> httpx.Response:
        raise error

    async with httpx.AsyncClient(transport=httpx.MockTransport(broken)) as client:
        session = session_of(client=client, tokens=visitor)
        still.advance(LIFETIME + 1)
        with pytest.raises(TokenRequestError):
            await session.auth_headers()
        assert session.get_tokens() == visitor


@pytest.mark.parametrize("status", [200, 400, 401, 503])
async def test_fifty_megabytes_are_not_read(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, family: ModuleType, status: int
) -> None:
    """A body of 50 MB is left alone after the first few chunks, whatever the status, and costs nobody."""
    sent = 0

    class Endless:
        """Bytes that are counted as they leave; asked for anew by each attempt."""

        def __iter__(self) -> Iterator[bytes]:
            nonlocal sent
            for _ in range(800):
                sent += 65_536
                yield b'{"error": "invalid_grant"}'.ljust(65_536)

    still.advance(LIFETIME + 1)
    fault = still.fail(status, body=Endless(), headers={"content-type": "application/json"}, times=None)
    async with still.serve() as url, family.AsyncClient() as client:
        session = session_of(client=client, tokens=visitor, base_url=url)
        tracemalloc.start()
        try:
            with anyio.fail_after(5), pytest.raises(TokenRequestError):
                await session.auth_headers()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert sent < 3 * 15_000_000, "the endpoint could send nearly everything"
        assert peak < 8_000_000
        fault.remove()
        still.advance(301)
        await session.auth_headers()
    assert session.get_tokens().refresh_token == visitor.refresh_token
    assert len(still.visitors) == 1


async def test_a_compressed_flood_is_not_inflated(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, family: ModuleType
) -> None:
    """An answer is asked for as it is, and 50 KB that inflate to 50 MB all the same do not take 50 MB of memory."""
    bomb = gzip.compress(b" " * 50_000_000)
    still.advance(LIFETIME + 1)
    still.fail(200, body=bomb, headers={"content-encoding": "gzip", "content-type": "application/json"}, times=None)
    async with still.serve() as url, family.AsyncClient() as client:
        session = session_of(client=client, tokens=visitor, base_url=url)
        tracemalloc.start()
        try:
            with pytest.raises(TokenRequestError):
                await session.auth_headers()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 20_000_000, f"{peak / 1e6:.0f} MB at the peak"
    assert {call.headers["accept-encoding"] for call in still.token_calls()} == {"identity"}
    assert session.get_tokens() == visitor


async def test_a_transport_that_has_read_the_answer_is_fine(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, family: ModuleType
) -> None:
    """A transport of the caller's that reads each response, for a log say, works here as it does with httpx."""

    class Logging(family.AsyncHTTPTransport):  # type: ignore[misc, name-defined]
        async def handle_async_request(self, request: Any) -> Any:
            response = await super().handle_async_request(request)
            await response.aread()
            return response

    still.advance(LIFETIME + 1)
    async with still.serve() as url, family.AsyncClient(transport=Logging()) as client:
        session = session_of(client=client, tokens=visitor, base_url=url, renew_timeout=1.0)
        assert (await session.get("/ecom/v2/carts/current")).status_code in (200, 404)
        still.revoke_access_token(session.get_tokens().access_token.value)
        assert (await session.get("/ecom/v2/carts/current")).status_code in (200, 404)
    assert len(still.token_calls()) == 2


async def test_a_dripping_answer_ends_with_the_budget(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """A body that arrives a byte at a time for ever does not outlast `renew_timeout`."""

    class Drip(httpx.AsyncByteStream):
        async def __aiter__(self) -> Any:
            while True:
                await anyio.sleep(0.005)
                yield b" "

    transport = httpx.MockTransport(lambda request: httpx.Response(200, stream=Drip()))
    async with httpx.AsyncClient(transport=transport) as client:
        session = session_of(client=client, tokens=visitor, renew_timeout=0.05)
        still.advance(LIFETIME + 1)
        with anyio.fail_after(2), pytest.raises(TokenRequestError, match=r"0\.05 s"):
            await session.auth_headers()


async def test_the_callers_wait_ends_with_the_budget_also_behind_a_lease(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, client_id: str
) -> None:
    """`renew_timeout` is all that a renewal may take, waiting for another process's lease included."""
    storage = MemoryStorage()
    await storage.acquire_lease(f"{client_id}:default", "a stopped process", 3600)
    session = session_of(tokens=visitor, storage=storage, renew_timeout=0.2)
    still.advance(LIFETIME + 1)
    still.hang(times=None)
    started = anyio.current_time()
    with anyio.fail_after(5), pytest.raises(TokenRequestError):
        await session.auth_headers()
    assert anyio.current_time() - started < 0.35


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.name.replace(" ", "_"))
async def test_trouble_at_the_first_mint_stores_nobody(
    still: FakeWix, session_of: SessionMaker, trouble: Trouble
) -> None:
    """A cold session that meets the same trouble stores nothing, and makes its one visitor afterwards."""
    storage = MemoryStorage()
    session = session_of(storage=storage, renew_timeout=0.25 if "hangs" in trouble.name else 15.0)
    fault = trouble.fault(still)
    with pytest.raises((trouble.error, ConfigurationError)):
        await session.auth_headers()
    async with session_of(storage=storage) as other:
        assert not other.get_tokens().refresh_token.value
    fault.remove()
    still.advance(301)
    await session.auth_headers()
    assert await session_of(storage=storage).auth_headers() == await session.auth_headers()


async def test_a_failing_store_is_no_trouble_of_the_endpoint(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """A store that fails starts no pause: the very next use works once the store does."""
    storage = TroubledStorage()
    session = session_of(tokens=visitor, storage=storage)
    await session.auth_headers()
    still.advance(LIFETIME + 1)
    storage.before["load"] = ConnectionError("the store is away")
    with pytest.raises(StorageError):
        await session.auth_headers()
    storage.before.clear()
    await session.auth_headers()


_WAITERS = 20


async def test_waiters_outlive_a_hanging_endpoint(still: FakeWix, session_of: SessionMaker, visitor: Tokens) -> None:
    """Everybody who waits for a hanging endpoint is told within `renew_timeout`, by an error of their own."""
    session = session_of(tokens=visitor, renew_timeout=0.05)
    still.advance(LIFETIME + 1)
    still.hang(times=None)
    errors: list[Exception] = []

    async def one(call: Callable[[], Awaitable[Any]]) -> None:
        try:
            await call()
        except TokenRequestError as error:
            errors.append(error)

    with anyio.fail_after(2):
        async with anyio.create_task_group() as tasks:
            for _ in range(_WAITERS):
                tasks.start_soon(one, session.auth_headers)
    assert len({id(error) for error in errors}) == _WAITERS
    assert len(still.token_calls()) == 1
