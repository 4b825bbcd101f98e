"""Bad input never costs a visitor: what is stored stays, what is held stays, and good input brings it all back."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote, unquote

import pytest

from tests.constants import LIFETIME
from tests.storage.conftest import redis_prefix, redis_url, server_kind  # noqa: F401 - fixtures
from tests.web.conftest import open_shop  # noqa: F401 - a fixture
from wixvisitor import StorageError, Tokens, VisitorSession
from wixvisitor.errors import ConfigurationError, TokenRequestError
from wixvisitor.storage import MemoryStorage, TokenStorage
from wixvisitor.testing import FakeWix

from . import kept
from .ends import ending
from .kept import Kept
from .mutations import each_field, mutated

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_backoff", "no_collection")]
SHARED = ("session", "wixSession", "wix-session")
Making = Callable[..., VisitorSession]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # redis-py runs there only; the code under test has no event loop of its own


@pytest.fixture(params=["file", "sealed", "sqlite", "key_value", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path, client_id: str) -> Kept:
    key = f"{client_id}:default"
    if request.param == "redis":
        return kept.of_redis(request.getfixturevalue("redis_url"), request.getfixturevalue("redis_prefix"), key)
    making: Kept = getattr(kept, request.param)(tmp_path, key)
    return making


async def close(storage: TokenStorage) -> None:
    aclose = getattr(storage, "aclose", None)
    if aclose is not None:
        await aclose()


async def failure_of(session: VisitorSession, *kinds: type[Exception]) -> Exception | None:
    """How asking for a token fails, None if it does not; checked for what it shows."""
    error: Exception | None = None
    try:
        await session.auth_headers()
    except kinds as caught:
        error = caught
    if error is not None:
        ending(lambda: _raise(error), *kinds, names=".", given="")
    return error


def _raise(error: Exception) -> None:
    raise error


async def test_a_bad_record_is_left_as_it_is(store: Kept, session_of: Making, still: FakeWix, visitor: Tokens) -> None:
    """Whatever a record has become: a ``StorageError``, no new visitor, and with the record back it is the old one."""
    storage = store.open()
    await session_of(storage=storage, tokens=visitor).auth_headers()
    await close(storage)
    good = await store.read()
    for name, damage in store.damages.items():
        await store.write(damage(good))
        bad = await store.read()
        assert bad != good, name
        storage = store.open()
        session = session_of(storage=storage)
        assert await failure_of(session, StorageError) is not None, name
        assert await store.read() == bad, name
        await store.write(good)
        assert await session.auth_headers() == {"Authorization": visitor.access_token.value}, name
        await close(storage)
    assert not still.token_calls()


async def test_whoever_is_held_goes_on(store: Kept, session_of: Making, still: FakeWix, visitor: Tokens) -> None:
    """A running session uses its token beside a bad record, and renews the same visitor when that is good again."""
    storage = store.open()
    session = session_of(storage=storage, tokens=visitor)
    await session.auth_headers()
    good = await store.read()
    for name, damage in store.damages.items():
        if name in store.seen_at_opening:
            continue
        await store.write(damage(good))
        assert await failure_of(session) is None, name
        still.advance(LIFETIME + 1)
        before = session.get_tokens()
        assert await failure_of(session, StorageError) is not None, name
        assert session.get_tokens() == before, name
        await store.write(good)
        await session.auth_headers()
        assert session.get_tokens().refresh_token == visitor.refresh_token, name
        good = await store.read()
    await close(storage)
    assert len(still.visitors) == 1


def bad_answers() -> list[Any]:
    """Answers to a renewal that are bent grants, as bytes."""
    grant = {"access_token": "OauthNG.JWS.a.b.c", "refresh_token": "JWS.r", "expires_in": 14400}
    data, random = json.dumps(grant).encode(), Random(1)
    return [*each_field(data), *(mutated(random, data) for _ in range(100))]


async def test_a_bad_answer_costs_nobody(session_of: Making, still: FakeWix, visitor: Tokens) -> None:
    """A 200 that is no token response changes nothing, held or stored; the next good answer renews the same visitor."""
    storage = MemoryStorage()
    session = session_of(storage=storage, tokens=visitor)
    await session.auth_headers()
    refused = 0
    for body in bad_answers():
        still.advance(LIFETIME + 400)  # past any pause
        before, stored = session.get_tokens(), await storage.load(f"{session._settings.client_id}:default")
        fault = still.fail(200, body=body, times=None, grant_type="refresh_token")
        if await failure_of(session, TokenRequestError) is None:  # it was good enough
            await session.set_tokens(visitor)
        else:
            refused += 1
            assert session.get_tokens() == before, body
            assert await storage.load(f"{session._settings.client_id}:default") == stored, body
        fault.remove()
        still.advance(LIFETIME + 400)
        await session.auth_headers()
        assert session.get_tokens().refresh_token == visitor.refresh_token, body
    assert refused > 100
    assert len(still.visitors) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 429, 500, 503])
async def test_a_bad_body_is_no_refusal(session_of: Making, still: FakeWix, visitor: Tokens, status: int) -> None:
    """A body that is no JSON object is no refusal, whatever the status, and no header makes it one."""
    session = session_of(tokens=visitor)
    headers = {"Retry-After": "9" * 400, "Date": "Fri, 31 Dec 9999 23:59:60 +9999", "Age": "1e308"}
    for body in (
        b"",
        b"[]",
        b"null",
        b'"refused"',
        b"{",
        b"[" * 60_000,
        b"\xff",
        b"<html>",
        b'{"a":' * 1_000,
        b" " * 70_000,
    ):
        still.advance(LIFETIME + 400)
        fault = still.fail(status, body=body, headers=headers, times=None, grant_type="refresh_token")
        assert await failure_of(session, TokenRequestError, ConfigurationError) is not None, body
        fault.remove()
        still.advance(400)
        await session.auth_headers()
        assert session.get_tokens().refresh_token == visitor.refresh_token, body
    assert len(still.visitors) == 1


@pytest.mark.parametrize("name", SHARED)
async def test_a_bent_cookie(open_shop: Any, name: str) -> None:  # noqa: F811 - pytest's fixtures
    """Each field of a shared cookie may be anything: never a 500, and whoever has the good cookie stays who it was."""
    async with open_shop("starlette", cookie=name) as town, town.browsers() as victim:
        known = json.loads((await victim.get("/cart")).text)
        good = unquote(victim.cookies[name]).encode()
        random = Random(1)
        inputs = random.sample(list(each_field(good)), 60) + [mutated(random, good) for _ in range(40)]
        for data in inputs:
            value = quote(data[:2_000], safe="")
            async with town.browsers(headers={"Cookie": f"{name}={value}"}) as browser:
                assert (await browser.get("/looked")).status_code == 200, data
        assert json.loads((await victim.get("/cart")).text) == known


@pytest.mark.parametrize("name", SHARED)
async def test_a_cookie_beyond_floats(open_shop: Any, name: str) -> None:  # noqa: F811 - pytest's fixtures
    """A cookie whose token says that it ends in 10**400 seconds is not a 500."""
    payload = base64.urlsafe_b64encode(b'{"iat":1,"exp":1' + b"0" * 400 + b"}").decode().rstrip("=")
    access = {"value": f"OauthNG.JWS.e30.{payload}.c2ln", "expiresAt": 1_800_014_400}
    tokens = {"accessToken": access, "refreshToken": {"value": "JWS.r", "role": "visitor"}}
    async with open_shop("starlette", cookie=name) as town:
        header = {"Cookie": f"{name}={quote(json.dumps(tokens), safe='')}"}
        async with town.browsers(headers=header) as browser:
            assert (await browser.get("/cart")).status_code == 200
