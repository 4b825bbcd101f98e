"""Machines whose clocks are wrong: tokens end by Wix's clock, and a wrong clock leads to no storm of renewals."""

from __future__ import annotations

import gc
import itertools
import json
from email.utils import formatdate
from pathlib import Path
from types import ModuleType

import anyio
import httpx
import pytest

from tests.constants import CART, EPOCH, LIFETIME, SessionMaker
from tests.stores import PlainStorage
from wixvisitor import (
    EMPTY_TOKENS,
    AccessToken,
    RefreshToken,
    TokenRequestError,
    TokenRole,
    Tokens,
    VisitorPool,
    VisitorSession,
)
from wixvisitor._renewal.server_clock import ServerClock
from wixvisitor.storage import FileStorage, MemoryStorage, TokenStorage
from wixvisitor.storage.sqlite import SQLiteStorage
from wixvisitor.testing import FakeWix

anyio_test = pytest.mark.anyio

HOUR = 3_600.0
PRODUCTS = "/stores/v3/products/query"
WRONG = [-50 * 365 * 24 * HOUR, -20 * HOUR, -5 * HOUR, -2 * HOUR, -30.0, 30.0, 2 * HOUR, 5 * HOUR, 20 * HOUR]


# What an answer tells


@pytest.fixture
def machine() -> list[float]:
    """What the machine's clock shows."""
    return [EPOCH]


@pytest.fixture
def clock(machine: list[float]) -> ServerClock:
    return ServerClock(lambda: machine[0])


@pytest.mark.parametrize(("difference", "offset"), [(0, 0), (60, 0), (-60, 0), (62, 62), (-62, -61), (7200, 7200)])
def test_differences(clock: ServerClock, difference: float, offset: float) -> None:
    """A difference of more than a minute counts; a Date has whole seconds, the last of which may be over."""
    clock.note_token_answer(EPOCH + difference, EPOCH)
    assert clock.offset == offset


def test_no_date(clock: ServerClock) -> None:
    """An answer without a date changes nothing."""
    clock.note_token_answer(EPOCH + 7_200, EPOCH)
    assert clock.note_token_answer(None, EPOCH) == EPOCH + 7_200
    clock.note_api_answer(None)
    assert clock.offset == 7_200


@pytest.mark.parametrize("took", [0.0, 15.0, 7_200.0])
def test_a_slow_answer(clock: ServerClock, machine: list[float], took: float) -> None:
    """Wix may have answered at any time between call and answer, as where the machine slept in between."""
    for answered in (0.0, took / 2, took):
        machine[0] = EPOCH + took
        assert EPOCH - 1 <= clock.note_token_answer(float(int(EPOCH + answered)), EPOCH) <= EPOCH
        assert clock.offset == 0.0


@pytest.mark.parametrize("set_by", [-7_200.0, 7_200.0])
def test_set_while_wix_answers(clock: ServerClock, machine: list[float], set_by: float) -> None:
    """A clock that is set between call and answer makes no token's life longer."""
    machine[0] = EPOCH + set_by
    assert clock.note_token_answer(EPOCH, EPOCH) <= EPOCH
    assert clock.now() >= EPOCH


def test_a_clock_that_is_put_right(clock: ServerClock, machine: list[float]) -> None:
    """What was learnt of a wrong clock goes when it is right."""
    machine[0] += 7_200
    clock.note_token_answer(EPOCH, machine[0])
    assert clock.now() == EPOCH + 1
    machine[0] = EPOCH + 10
    clock.note_token_answer(EPOCH + 10, EPOCH + 10)
    assert clock.offset == 0.0


def test_api_answers(clock: ServerClock, machine: list[float]) -> None:
    """An API's answer counts only if Wix's clock is later than was thought: caches keep old ones."""
    clock.note_api_answer(EPOCH - 7_200)
    assert clock.offset == 0.0
    clock.note_api_answer(EPOCH + 7_200)
    assert clock.offset == 7_200
    clock.note_api_answer(EPOCH)
    assert clock.offset == 7_200


def test_an_api_with_a_clock_of_its_own(clock: ServerClock) -> None:
    """Once a token answer contradicts an API's date, no API's counts any more."""
    clock.note_api_answer(EPOCH + 7_200)
    clock.note_token_answer(EPOCH, EPOCH)
    clock.note_api_answer(EPOCH + 7_200)
    assert clock.offset == 0.0


# Two machines, one store


def stores(directory: Path) -> dict[str, TokenStorage]:
    return {
        "memory": MemoryStorage(),
        "plain": PlainStorage(),
        "file": FileStorage(directory / "visitor.json"),
        "sqlite": SQLiteStorage(directory / "visitors.db"),
    }


async def closed(storage: TokenStorage) -> None:
    if isinstance(storage, SQLiteStorage):
        await storage.aclose()


@anyio_test
@pytest.mark.parametrize("store", ["memory", "plain", "file", "sqlite"])
@pytest.mark.parametrize("wrong", WRONG)
async def test_saved_by_a_machine_whose_clock_is_wrong(
    still: FakeWix, session_of: SessionMaker, tmp_path: Path, wrong: float, store: str
) -> None:
    """What it saves ends when the token ends, so that the machine whose clock is right renews in time."""
    storage = stores(tmp_path)[store]
    async with session_of(storage=storage, clock=lambda: still.now() + wrong) as other:
        tokens = await other.generate_visitor_tokens()
    assert abs(tokens.access_token.expires_at - EPOCH - LIFETIME) <= 60
    still.advance(LIFETIME + 90)
    async with session_of(storage=storage) as right:
        assert (await right.get(CART)).status_code == 404
        assert right.get_tokens().access_token.expires_at == still.now() + LIFETIME
    assert len(still.api_calls()) == len(still.token_calls("refresh_token")) == 1
    await closed(storage)


@anyio_test
@pytest.mark.parametrize("kind", ["visitor", "member"])
async def test_a_record_that_ends_too_late(
    still: FakeWix, session_of: SessionMaker, request: pytest.FixtureRequest, kind: str
) -> None:
    """A record of an older version, or an application's tokens, with an end hours too late count until their own."""
    tokens: Tokens = request.getfixturevalue(kind)
    late = Tokens(AccessToken(tokens.access_token.value, int(EPOCH) + 9 * LIFETIME), tokens.refresh_token)
    storage = MemoryStorage()
    async with session_of(storage=storage) as session:
        record = {"format": 1, "clientId": session._settings.client_id, **late.to_dict()}
    await storage.save(f"{record['clientId']}:default", json.dumps(record))
    for arguments in ({"storage": storage}, {"tokens": late}):
        async with session_of(**arguments) as session:
            assert session.get_tokens().access_token.expires_at == EPOCH + LIFETIME
    async with session_of() as session:
        await session.set_tokens(late)
        still.advance(LIFETIME + 1)
        assert (await session.get(CART)).status_code == 404
    assert [call.status for call in still.api_calls()] == [404]


@anyio_test
@pytest.mark.parametrize("behind", [2 * HOUR, 20 * HOUR])
async def test_a_machine_whose_clock_is_behind(
    still: FakeWix, session_of: SessionMaker, family: ModuleType, behind: float
) -> None:
    """It learns the time from the first answer of an API, so that no request has an ended token."""
    storage = MemoryStorage()
    async with session_of(storage=storage) as right:
        await right.generate_visitor_tokens()
    async with session_of(family, storage=storage, clock=lambda: still.now() - behind) as other:
        assert (await other.post(PRODUCTS, json={})).status_code == 200
        still.advance(LIFETIME + 1)
        assert (await other.get(CART)).status_code == 404
    assert [call.status for call in still.api_calls()] == [200, 404]
    assert len(still.token_calls("refresh_token")) == 1


@anyio_test
@pytest.mark.parametrize("status", [400, 403, 428])
async def test_an_ended_token_that_is_no_401(still: FakeWix, session_of: SessionMaker, status: int) -> None:
    """A clock that is set back makes an ended token look fresh; the first error says what time it is."""
    wrong = [0.0]
    async with session_of(clock=lambda: still.now() + wrong[0]) as session:
        await session.get(CART)
        wrong[0] = -2 * HOUR
        still.advance(LIFETIME + 1)
        still.fail(status, body={"message": "WDE0117: MetaSite not found"}, path="/ecom/*", times=1)
        assert [(await session.get(CART)).status_code for _ in range(2)] == [status, 404]
    assert len(still.token_calls("refresh_token")) == 1


@anyio_test
async def test_an_error_elsewhere(client_id: str) -> None:
    """What time it is where a redirect leads does not matter: only answers from where the token goes count."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "elsewhere.example":
            return httpx.Response(404, headers={"date": formatdate(EPOCH + 9 * HOUR, usegmt=True)})
        if request.url.path == "/oauth2/token":
            return httpx.Response(200, json={"access_token": "opaque", "expires_in": LIFETIME, "refresh_token": "too"})
        return httpx.Response(302, headers={"location": "https://elsewhere.example/"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        session = VisitorSession(client_id, client=client, clock=lambda: EPOCH)
        assert (await session.get("/", follow_redirects=True)).status_code == 404
        assert session._settings.server_clock.offset == 0.0
        await session.aclose()


# No storms


async def a_day(still: FakeWix, pool: VisitorPool, *, step: float = HOUR / 4) -> int:
    """A request each quarter of an hour, each of a session that was just loaded: how many renewals that costs."""
    before = len(still.token_calls("refresh_token"))
    for _ in range(int(24 * HOUR / step)):
        session = await pool.session("anna")
        assert (await session.get(CART)).status_code == 404
        del session
        gc.collect(1)
        still.advance(step)
    return len(still.token_calls("refresh_token")) - before


def pool_of(still: FakeWix, client_id: str, wrong: float, storage: TokenStorage) -> VisitorPool:
    return VisitorPool(client_id, client=still.client(), storage=storage, clock=lambda: still.now() + wrong)


@anyio_test
@pytest.mark.parametrize("store", ["memory", "plain"])
@pytest.mark.parametrize("wrong", WRONG)
async def test_no_storm(still: FakeWix, client_id: str, tmp_path: Path, wrong: float, store: str) -> None:
    """However wrong a clock is, a day costs the renewals that a right one costs, and at most one more; no 401."""
    storage = stores(tmp_path)[store]
    async with pool_of(still, client_id, 0.0, storage) as right:
        await (await right.session("anna")).generate_visitor_tokens()
    async with pool_of(still, client_id, wrong, storage) as pool:
        assert 5 <= await a_day(still, pool) <= 8
    if abs(wrong) > 60:
        assert {call.status for call in still.api_calls()} == {404}
    assert len(still.visitors) == 1


@anyio_test
@pytest.mark.parametrize("store", ["memory", "plain"])
@pytest.mark.parametrize("wrong", [-20 * HOUR, -2 * HOUR, 2 * HOUR, 5 * HOUR, 20 * HOUR])
async def test_no_storm_without_dates(still: FakeWix, client_id: str, tmp_path: Path, wrong: float, store: str) -> None:
    """Where a proxy takes the dates away, a wrong clock costs renewals, but by far not one for each request."""
    still.add_header("date", "", path="*")
    async with pool_of(still, client_id, wrong, stores(tmp_path)[store]) as pool:
        assert await a_day(still, pool) <= 16
    assert len(still.visitors) == 1


@anyio_test
@pytest.mark.parametrize("dated", [True, False])
async def test_no_storm_if_exp_is_nonsense(still: FakeWix, client_id: str, *, dated: bool) -> None:
    """Tokens that work though they say that they ended long ago are renewed once a minute, not for each request."""
    still.clock_skew = -1_000 * HOUR
    still.add_header("date", formatdate(EPOCH, usegmt=True) if dated else "", path="*")
    async with pool_of(still, client_id, 0.0, MemoryStorage()) as pool:
        for _ in range(100):
            assert (await (await pool.session("anna")).get(CART)).status_code == 404
            gc.collect(1)
    assert len(still.token_calls()) == 1
    assert len(still.api_calls()) == 100


@anyio_test
async def test_no_storm_if_an_api_has_another_clock(still: FakeWix, client_id: str) -> None:
    """An API whose clock is ahead costs one renewal, not one for each of its errors."""
    async with pool_of(still, client_id, 0.0, MemoryStorage()) as pool:
        await (await pool.session("anna")).generate_visitor_tokens()
        still.add_header("date", formatdate(EPOCH + 9 * HOUR, usegmt=True), path="/ecom/*")
        for _ in range(100):
            assert (await (await pool.session("anna")).get(CART)).status_code == 404
    assert len(still.token_calls("refresh_token")) == 1


@anyio_test
async def test_one_visitor_teaches_all(still: FakeWix, client_id: str) -> None:
    """On a machine that is five hours ahead a hundred visitors who come back cost one renewal together."""
    storage = MemoryStorage()
    keys = [f"visitor {number}" for number in range(100)]
    async with pool_of(still, client_id, 0.0, storage) as right:
        for key in keys:
            await (await right.session(key)).generate_visitor_tokens()
    async with pool_of(still, client_id, 5 * HOUR, storage) as pool:
        for key in keys:
            assert (await (await pool.session(key)).get(CART)).status_code == 404
    assert len(still.token_calls("refresh_token")) == 1


@anyio_test
async def test_set_back_and_forth(still: FakeWix, session_of: SessionMaker) -> None:
    """A clock that is set in the middle of a session costs a renewal each time, at most, and no ended token is sent."""
    wrong = itertools.cycle([0.0, 2 * HOUR, -5 * HOUR, 0.0, 9 * HOUR, -1 * HOUR])
    now = [0.0]
    async with session_of(clock=lambda: still.now() + now[0]) as session:
        for number in range(96):
            if number % 7 == 0:
                now[0] = next(wrong)
            assert (await session.get(CART)).status_code == 404
            still.advance(HOUR / 4)
    assert len(still.token_calls("refresh_token")) <= 6 + 96 // 7 + 1


# The other ways to a token


@anyio_test
async def test_turned_down_on_a_machine_that_is_ahead(still: FakeWix, session_of: SessionMaker) -> None:
    """Ten requests that meet a 401 share one renewal, and what it brought is not thought to have ended."""
    async with session_of(clock=lambda: still.now() + 5 * HOUR) as session:
        tokens = await session.generate_visitor_tokens()
        still.revoke_access_token(tokens.access_token.value)
        gate = still.hold(path="/ecom/*")
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(session.get, CART)
            await anyio.wait_all_tasks_blocked()
            gate.release()
    assert len(still.token_calls("refresh_token")) == 1


@anyio_test
async def test_renewals_fail_on_a_machine_that_is_ahead(
    still: FakeWix, session_of: SessionMaker, no_backoff: None
) -> None:
    """A token that works by Wix's clock is used while it cannot be renewed, whatever the machine's own shows."""
    async with session_of(clock=lambda: still.now() + 5 * HOUR) as session:
        tokens = await session.generate_visitor_tokens()
        still.revoke_access_token(tokens.access_token.value)
        still.fail(503, times=None)
        for _ in range(5):
            assert (await session.get(CART)).status_code == 401
            still.advance(90)


@anyio_test
async def test_a_refresh_token_that_has_run_out(still: FakeWix, session_of: SessionMaker) -> None:
    """Whether a refused refresh token has run out is judged by Wix's clock, also where the refusal has no date."""
    still.refresh_token_lifetime = 20 * HOUR
    async with session_of(clock=lambda: still.now() - 30 * HOUR) as session:
        before = await session.generate_visitor_tokens()
        still.advance(21 * HOUR)
        still.add_header("date", "", path="*")
        still.fail(403, body={"message": "Forbidden"}, grant_type="refresh_token", times=None)
        assert (await session.generate_visitor_tokens()).refresh_token != before.refresh_token


@anyio_test
async def test_a_jump_confirms_no_doubt(still: FakeWix, session_of: SessionMaker, no_backoff: None) -> None:
    """How long an answer has been doubtful is told by Wix's clock: a jump of the machine's costs no visitor."""
    ahead = [0.0]
    async with session_of(clock=lambda: still.now() + ahead[0]) as session:
        before = await session.generate_visitor_tokens()
        still.advance(LIFETIME + 1)
        gateway = still.fail(403, body={"message": "Forbidden"}, grant_type="refresh_token", times=None)
        for jump in (0.0, HOUR, 24 * HOUR):
            ahead[0] += jump
            with pytest.raises(TokenRequestError):
                await session.generate_visitor_tokens()
            still.advance(5)  # the pause is over
        gateway.remove()
        assert (await session.generate_visitor_tokens()).refresh_token == before.refresh_token


# Tokens that do not say when they end


@anyio_test
@pytest.mark.parametrize("wrong", [-2 * HOUR, 2 * HOUR])
async def test_tokens_that_tell_nothing(client_id: str, wrong: float) -> None:
    """Of tokens that are no JWT the end is by Wix's clock as well, if its answers tell the time."""

    def answer(request: httpx.Request) -> httpx.Response:
        del request
        content = {"access_token": "opaque", "expires_in": LIFETIME, "refresh_token": "too"}
        return httpx.Response(200, json=content, headers={"date": formatdate(EPOCH, usegmt=True)})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        session = VisitorSession(client_id, client=client, clock=lambda: EPOCH + wrong)
        tokens = await session.generate_visitor_tokens()
        assert abs(tokens.access_token.expires_at - EPOCH - LIFETIME) <= 1
        assert await session.generate_visitor_tokens() == tokens
        await session.aclose()


def test_nothing_to_limit(clock: ServerClock) -> None:
    """Tokens that do not say when they end, or later than was said, stay as they are."""
    tokens = Tokens(AccessToken("opaque", int(EPOCH) + 9 * LIFETIME), RefreshToken("too", TokenRole.VISITOR))
    assert clock.limited(tokens) is tokens
    assert clock.limited(EMPTY_TOKENS) is EMPTY_TOKENS
