"""One token endpoint, one pause: what a pool's visitors do when Wix limits the site, or is out of order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import anyio
import httpx
import pytest

from tests.constants import CART, FINE, LIFETIME, PoolMaker, Until
from wixvisitor import ConfigurationError, TokenRequestError, VisitorPool, VisitorSession, WixVisitorError
from wixvisitor.storage import MemoryStorage, Record
from wixvisitor.testing import FakeWix

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_backoff")]


@pytest.fixture
def pool_of(still: FakeWix, client_id: str) -> PoolMaker:
    """Makes a pool over the fake in process, with its clock."""

    def make(**arguments: Any) -> VisitorPool:
        return VisitorPool(client_id, **{"client": still.client(timeout=60.0), "clock": still.now, **arguments})

    return make


async def _visitors(still: FakeWix, pool: VisitorPool, number: int, *, age: float = 0.0) -> list[VisitorSession]:
    sessions = [await pool.session(f"v{index}") for index in range(number)]
    async with anyio.create_task_group() as tasks:
        for session in sessions:
            tasks.start_soon(session.generate_visitor_tokens)
    still.advance(age)
    still.reset_calls()
    return sessions


async def _errors(sessions: Sequence[VisitorSession]) -> list[WixVisitorError | None]:
    """Asks for all tokens at once, and returns what became of it."""
    errors: list[WixVisitorError | None] = [None] * len(sessions)

    async def ask(index: int) -> None:
        try:
            await sessions[index].generate_visitor_tokens()
        except WixVisitorError as error:
            errors[index] = error

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for index in range(len(sessions)):
                tasks.start_soon(ask, index)
    return errors


async def test_a_429_is_the_sites(still: FakeWix, pool_of: PoolMaker) -> None:
    """Of 200 expired visitors at most 4 meet the 429; all are told when to try again, and then each is renewed once."""
    pool = pool_of()
    sessions = await _visitors(still, pool, 200, age=LIFETIME + 1)
    fault = still.fail(429, times=None, headers={"Retry-After": "30", "x-wix-request-id": "the-cause"})
    errors = await _errors(sessions)
    assert len(still.token_calls()) <= 4
    told = {(type(error), error.status_code, error.retry_after) for error in errors}  # type: ignore[union-attr]
    assert told == {(TokenRequestError, 429, 30.0)}
    assert {error.request_id for error in errors} == {"the-cause"}  # type: ignore[union-attr]
    still.advance(12.0)
    calls = len(still.token_calls())
    assert {error.retry_after for error in await _errors(sessions)} == {18.0}  # type: ignore[union-attr]
    assert len(still.token_calls()) == calls
    fault.remove()
    still.reset_calls()
    still.advance(18.0)
    assert await _errors(sessions) == [None] * 200
    assert len(still.token_calls("refresh_token")) == len(still.token_calls()) == 200
    assert len(still.visitors) == 200


async def test_who_has_a_token_goes_on(still: FakeWix, pool_of: PoolMaker, caplog: pytest.LogCaptureFixture) -> None:
    """During the pause fresh and ageing tokens are used, and none of these visitors asks Wix or writes to the log."""
    pool = pool_of()
    sessions = await _visitors(still, pool, 20, age=LIFETIME - 300)
    newcomer = await pool.session("new")
    still.fail(429, times=None, headers={"Retry-After": "30"})
    with pytest.raises(TokenRequestError):
        await newcomer.get(CART)
    assert len(still.token_calls()) == 1
    caplog.clear()
    for session in sessions:
        assert (await session.get(CART)).status_code in FINE
    await anyio.wait_all_tasks_blocked()
    assert len(still.token_calls()) == 1
    assert not caplog.records


async def test_background_renewals_that_wait_are_sent_away_in_silence(
    still: FakeWix, pool_of: PoolMaker, caplog: pytest.LogCaptureFixture, until: Until
) -> None:
    """Twenty background renewals meet one 429: it is one warning of the pool's and one of each call, no more."""
    pool = pool_of(max_token_requests=2)
    sessions = await _visitors(still, pool, 20, age=LIFETIME - 300)
    gate = still.hold(path="/oauth2/token", times=None)
    still.fail(429, times=None, headers={"Retry-After": "30"})
    for session in sessions:
        assert (await session.get(CART)).status_code in FINE
    await gate.wait_for(2)
    with caplog.at_level(logging.INFO, "wixvisitor"):
        gate.release()
        await until(lambda: not any(session._refresher._lane.here() for session in sessions))
    assert len(still.token_calls()) == 2
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 3


@pytest.mark.parametrize("trouble", ["503", "404", "302", "200 {}", "HTML 403", "dropped"])
async def test_an_outage_is_the_sites(still: FakeWix, pool_of: PoolMaker, trouble: str) -> None:
    """Whatever the failure is: once three visitors have met it, no more ask until the pause is over."""
    pool = pool_of(max_token_requests=1)
    sessions = await _visitors(still, pool, 50, age=LIFETIME + 1)
    answers: dict[str, tuple[int, Any]] = {"200 {}": (200, {}), "HTML 403": (403, "<html>robot?</html>")}
    if trouble == "dropped":
        fault = still.drop(times=None)
    else:
        status, body = answers[trouble] if trouble in answers else (int(trouble), None)
        fault = still.fail(status, body=body, times=None)
    errors = await _errors(sessions)
    assert all(isinstance(error, TokenRequestError) for error in errors)
    assert 3 <= len(still.token_calls()) <= 9  # three visitors, up to three attempts each
    fault.remove()
    still.advance(1.0)
    assert await _errors(sessions) == [None] * 50
    assert len(still.visitors) == 50


async def test_one_asks_for_all(still: FakeWix, pool_of: PoolMaker) -> None:
    """After the pause one visitor asks; who comes meanwhile waits, and gets its failure; the pause has doubled."""
    pool = pool_of()
    sessions = await _visitors(still, pool, 12, age=LIFETIME + 1)
    still.fail(429, times=1, headers={"Retry-After": "2"})
    await _errors(sessions[:1])
    still.advance(2.0)
    still.reset_calls()
    gate = still.hold(path="/oauth2/token", times=None)
    still.fail(429, times=None, headers={"Retry-After": "2"})
    async with anyio.create_task_group() as tasks:
        errors: list[Any] = []

        async def ask() -> None:
            errors.extend(await _errors(sessions[1:]))

        tasks.start_soon(ask)
        await gate.wait_for(1)
        await anyio.wait_all_tasks_blocked()
        assert len(still.token_calls()) == 1
        gate.release()
    assert [error.status_code for error in errors] == [429] * 11
    assert len(still.token_calls()) == 1


class Gated(MemoryStorage):
    """A store that keeps one visitor's loads at a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.held_up = ""
        self.gate = anyio.Event()
        self.entered = 0

    async def load(self, key: str) -> Record | None:
        if self.held_up and key.endswith(self.held_up):
            self.entered += 1
            await self.gate.wait()
        return await super().load(key)


async def test_a_store_that_is_slow_while_the_pause_begins(still: FakeWix, pool_of: PoolMaker, until: Until) -> None:
    """A renewal whose store answers after another visitor has met the 429 does not ask Wix; it is told what is left."""
    storage = Gated()
    pool = pool_of(storage=storage)
    sessions = await _visitors(still, pool, 2, age=LIFETIME + 1)
    storage.held_up = "v0"
    still.fail(429, times=None, headers={"Retry-After": "30"})
    told: list[WixVisitorError | None] = []

    async def ask() -> None:
        told.extend(await _errors(sessions[:1]))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await until(lambda: storage.entered)
        await _errors(sessions[1:])
        still.advance(10.0)
        storage.gate.set()
    assert [(error.status_code, error.retry_after) for error in told] == [(429, 20.0)]  # type: ignore[union-attr]
    assert len(still.token_calls()) == 1


async def test_a_visitor_with_a_dead_token_is_no_bad_probe(still: FakeWix, pool_of: PoolMaker) -> None:
    """The one that asks for all is refused by Wix and replaced; the others are served all the same."""
    pool = pool_of()
    sessions = await _visitors(still, pool, 10, age=LIFETIME + 1)
    fault = still.fail(429, times=None, headers={"Retry-After": "2"})
    await _errors(sessions[-1:])
    fault.remove()
    still.refuse_refresh_tokens(next(iter(still.visitors)))
    still.advance(2.0)
    assert await _errors(sessions) == [None] * 10
    assert len(still.visitors) == 11


class _Poison:
    """Wix, for which one refresh token is poisoned: it gets this answer, all others are served."""

    def __init__(self, still: FakeWix, answer: httpx.Response) -> None:
        self._inner = still.client(timeout=60.0)
        self._answer = answer
        self.token = "nothing is poisoned yet"
        self.calls = 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.token.encode() in request.content:
            self.calls += 1
            return httpx.Response(self._answer.status_code, headers=self._answer.headers)
        answer = await self._inner.send(
            self._inner.build_request(request.method, request.url, content=request.content, headers=request.headers)
        )
        return httpx.Response(answer.status_code, headers={"content-type": "application/json"}, content=answer.content)


@pytest.mark.parametrize("answer", [httpx.Response(500), httpx.Response(429, headers={"Retry-After": "300"})])
async def test_one_poisoned_visitor_hurts_no_other(still: FakeWix, pool_of: PoolMaker, answer: httpx.Response) -> None:
    """A token for which Wix always answers 500 or 429, once others were served since, pauses its own visitor only."""
    poison = _Poison(still, answer)
    pool = pool_of(client=httpx.AsyncClient(transport=httpx.MockTransport(poison)))
    sessions = await _visitors(still, pool, 6, age=LIFETIME + 1)
    poisoned, others = sessions[0], sessions[1:]
    poison.token = poisoned.get_tokens().refresh_token.value
    with pytest.raises(TokenRequestError):
        await poisoned.get(CART)
    still.advance(301.0)
    assert await _errors(others) == [None] * 5
    for _ in range(10):
        still.advance(LIFETIME + 1)
        with suppress(TokenRequestError):
            await poisoned.get(CART)
        assert await _errors(others) == [None] * 5
    assert poison.calls <= 3 * 11


async def test_a_poisoned_visitor_alone_extends_nothing(still: FakeWix, pool_of: PoolMaker) -> None:
    """A visitor that meets a 429 again and again, while no other asks, keeps no pause alive for the others."""
    poison = _Poison(still, httpx.Response(429, headers={"Retry-After": "3"}))
    pool = pool_of(client=httpx.AsyncClient(transport=httpx.MockTransport(poison)))
    sessions = await _visitors(still, pool, 2, age=LIFETIME + 1)
    poison.token = sessions[0].get_tokens().refresh_token.value
    with pytest.raises(TokenRequestError):
        await sessions[0].get(CART)
    for _ in range(5):
        still.advance(61.0)
        with pytest.raises(TokenRequestError):
            await sessions[0].get(CART)
    assert await _errors(sessions[1:]) == [None]


async def test_a_cooldown_outlives_the_session(still: FakeWix, pool_of: PoolMaker) -> None:
    """A visitor that cools down does so also if its session was dropped and is made anew, as web handlers do."""
    pool = pool_of()
    await _visitors(still, pool, 1, age=LIFETIME + 1)
    still.fail(503, times=None)
    for _ in range(5):
        with pytest.raises(TokenRequestError) as raised:
            await (await pool.session("v0")).get(CART)
        assert raised.value.status_code == 503
    assert len(still.token_calls()) == 3  # one call with its repeats


async def test_one_failure_is_one_line(
    still: FakeWix, session_of: Callable[..., VisitorSession], caplog: pytest.LogCaptureFixture
) -> None:
    """Two hundred requests whose 401 could not be helped are one warning."""
    session = session_of()
    await session.get(CART)
    still.revoke_access_tokens(next(iter(still.visitors)))
    still.fail(503, times=None)
    caplog.clear()
    async with anyio.create_task_group() as tasks:
        for _ in range(200):
            tasks.start_soon(session.get, CART)
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


# A crawler is a storm, too


async def test_a_crawler_does_not_hold_up_shoppers(still: FakeWix, pool_of: PoolMaker) -> None:
    """Five shoppers whose tokens have expired come after 500 new visitors, and are served within twenty turns."""
    pool = pool_of()
    shoppers = await _visitors(still, pool, 5, age=LIFETIME + 1)
    bots = [await pool.session(f"bot{index}") for index in range(500)]
    gate = still.hold(path="/oauth2/token", times=None)
    served = list[int]()

    async def shop(session: VisitorSession) -> None:
        await session.generate_visitor_tokens()
        served.append(len(still.token_calls()))

    async with anyio.create_task_group() as tasks:
        for bot in bots:
            tasks.start_soon(bot.generate_visitor_tokens)
        await gate.wait_for(4)
        await anyio.wait_all_tasks_blocked()
        for shopper in shoppers:
            tasks.start_soon(shop, shopper)
        await anyio.wait_all_tasks_blocked()
        gate.release()
    assert max(served) <= 4 + 20
    assert len(still.visitors) == 505


async def test_the_cap_for_new_visitors(still: FakeWix, pool_of: PoolMaker, caplog: pytest.LogCaptureFixture) -> None:
    """Beyond the cap a new visitor is told when to try again, Wix is not asked, and no pause begins."""
    pool = pool_of(new_visitors_per_minute=3)
    shoppers = await _visitors(still, pool, 3, age=61.0)
    bots = [await pool.session(f"bot{index}") for index in range(10)]
    errors = await _errors(bots)
    assert sorted(error is None for error in errors) == [False] * 7 + [True] * 3
    told = [error for error in errors if error is not None]
    assert {(type(error), error.status_code, error.retry_after) for error in told} == {(TokenRequestError, None, 60.0)}  # type: ignore[attr-defined]
    assert len(still.token_calls()) == 3
    assert len(caplog.records) == 1
    still.advance(LIFETIME)
    assert await _errors(shoppers) == [None] * 3  # renewals are not capped
    assert len([error for error in await _errors(bots) if error is not None]) == 4  # three were made, three are new


async def test_a_replacement_is_not_capped(still: FakeWix, pool_of: PoolMaker) -> None:
    """A visitor that Wix refused is replaced, whatever the cap for new ones says."""
    pool = pool_of(new_visitors_per_minute=1)
    sessions = await _visitors(still, pool, 1)
    for _ in range(3):
        still.refuse_refresh_tokens(list(still.visitors)[-1])
        still.advance(LIFETIME + 1)
        assert await _errors(sessions) == [None]
    assert len(still.visitors) == 4


@pytest.mark.parametrize("number", [0, -1, 1.5, True, "4"])
def test_a_wrong_cap(client_id: str, number: Any) -> None:
    """The cap is a whole number from 1 on."""
    with pytest.raises(ConfigurationError, match="new_visitors_per_minute"):
        VisitorPool(client_id, new_visitors_per_minute=number)


async def test_pools_over_one_storage_pause_for_themselves(still: FakeWix, pool_of: PoolMaker) -> None:
    """A pause is the pool's: another process learns of the limit by itself."""
    storage = MemoryStorage()
    one, two = pool_of(storage=storage), pool_of(storage=storage)
    still.fail(429, times=2, headers={"Retry-After": "30"})
    for pool in (one, two):
        with pytest.raises(TokenRequestError):
            await (await pool.session("k")).get(CART)
    assert len(still.token_calls()) == 2


async def test_the_catalogues_visitor_is_no_new_one(still: FakeWix, client_id: str) -> None:
    """The visitor that all browsers share for the catalogue goes before new ones, and no cap counts it."""
    from wixvisitor.asgi import VisitorMiddleware, get_catalog_visitor

    pool = VisitorPool(client_id, client=still.client(timeout=60.0), clock=still.now, new_visitors_per_minute=1)
    await _visitors(still, pool, 1)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        answer = await (await get_catalog_visitor(scope)).get("/stores/v1/products")
        await send({"type": "http.response.start", "status": answer.status_code, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    transport = httpx.ASGITransport(VisitorMiddleware(app, pool))
    async with httpx.AsyncClient(transport=transport, base_url="https://shop.example") as browser:
        assert (await browser.get("/")).status_code in FINE
    assert len(still.token_calls("anonymous")) == 1
    with pytest.raises(TokenRequestError, match="new_visitors_per_minute"):
        await (await pool.session("new")).get(CART)
