"""Time and order: when Wix's time starts, how long a store may take, and which of several writes counts."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread
import pytest

from tests.constants import CART, FINE, LIFETIME, SessionMaker, Until
from tests.stores import FailingStorage
from wixvisitor import (
    AccessToken,
    RefreshToken,
    StorageError,
    TokenRequestError,
    TokenRole,
    Tokens,
    VisitorPool,
    VisitorSession,
)
from wixvisitor._wire.claims import read_claims
from wixvisitor.storage import ANY_VERSION, AnyVersion, MemoryStorage, Record
from wixvisitor.testing import FakeWix

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_backoff")]


def _tokens(name: str) -> Tokens:
    return Tokens(AccessToken(f"access-{name}", 9_999_999_999), RefreshToken(f"refresh-{name}", "visitor"))


class Stalling(MemoryStorage):
    """A store whose saves stand still at a gate, in a thread that cannot be cancelled, as on a disk that hangs."""

    def __init__(self) -> None:
        super().__init__()
        self.stalls = False
        self.gate = threading.Event()
        self.entered = 0

    async def save(self, key: str, value: str, *, expected: str | AnyVersion | None = ANY_VERSION) -> str:
        if self.stalls:
            self.entered += 1
            await anyio.to_thread.run_sync(self.gate.wait)
        return await super().save(key, value, expected=expected)

    def held(self) -> str:
        return next(iter(self._records.values())).value


class Plain:
    """A store with no more than load, save and delete over a stalling one."""

    def __init__(self, inner: Stalling) -> None:
        self._inner = inner

    async def load(self, key: str) -> str | None:
        record = await self._inner.load(key)
        return None if record is None else record.value

    async def save(self, key: str, value: str) -> None:
        await self._inner.save(key, value)

    async def delete(self, key: str) -> None:
        await self._inner.delete(key)


# Wix's time starts when Wix is asked


class SlowToLoad(MemoryStorage):
    """A store whose loads take a while."""

    seconds = 0.0

    async def load(self, key: str) -> Record | None:
        await anyio.sleep(self.seconds)
        return await super().load(key)


async def test_a_slow_store_takes_nothing_of_wixs_time(still: FakeWix, session_of: SessionMaker) -> None:
    """A store that takes longer to load than ``renew_timeout`` does not make the renewal fail."""
    storage = SlowToLoad()
    session = session_of(storage=storage, renew_timeout=0.3)
    await session.generate_visitor_tokens()
    still.one_time_refresh_tokens = True
    still.advance(LIFETIME + 1)
    storage.seconds = 0.4
    assert (await session.get(CART)).status_code in FINE
    assert len(still.token_calls("refresh_token")) == 1
    assert len(still.visitors) == 1


async def test_a_slow_lease_takes_nothing_of_wixs_time(still: FakeWix, session_of: SessionMaker) -> None:
    """A store that takes long to give its lease leaves Wix its whole time."""

    class SlowToLease(MemoryStorage):
        async def acquire_lease(self, key: str, holder: str, seconds: float) -> float:
            await anyio.sleep(0.4)
            return await super().acquire_lease(key, holder, seconds)

    session = session_of(storage=SlowToLease(), renew_timeout=0.5)
    still.delay(0.3)
    assert (await session.get(CART)).status_code in FINE
    assert len(still.token_calls()) == 1


async def test_no_call_is_made_that_could_not_be_waited_for(still: FakeWix, session_of: SessionMaker) -> None:
    """When too little time is left for an answer, a failed call is not repeated."""
    session = session_of(renew_timeout=2.0)
    still.delay(1.85)
    still.fail(503)
    with pytest.raises(TokenRequestError) as raised:
        await session.get(CART)
    assert raised.value.status_code == 503
    assert len(still.token_calls()) == 1


async def test_a_renewal_that_lost_is_not_repeated(
    still: FakeWix, session_of: SessionMaker, tokens_from: Callable[..., Tokens], client_id: str
) -> None:
    """A login while a renewal's call fails: the call is not made again, since its answer would be thrown away."""
    session = session_of()
    await session.generate_visitor_tokens()
    still.advance(LIFETIME + 1)
    still.reset_calls()
    gate = still.hold()
    still.fail(503)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(session.get, CART)
        await gate.wait_for(1)
        await session.set_tokens(tokens_from(still.mint_member(client_id), TokenRole.MEMBER))
        gate.release()
    assert len(still.token_calls("refresh_token")) == 1


# How long a store may take


async def test_a_store_that_works_in_a_thread_has_its_limit(
    still: FakeWix, session_of: SessionMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load that hangs in a thread is given up after the limit, and the error names the store and not Wix."""
    monkeypatch.setattr("wixvisitor._renewal.records._TIMEOUT", 0.05)
    gate = threading.Event()

    class Hanging(MemoryStorage):
        async def load(self, key: str) -> Record | None:
            await anyio.to_thread.run_sync(gate.wait)
            return await super().load(key)

    session = session_of(storage=Hanging())
    with anyio.fail_after(5):
        with pytest.raises(StorageError, match=r"the store did not load within 0.05 s"):
            await session.get(CART)
    gate.set()
    assert not still.calls


async def test_closing_waits_for_no_hanging_store(
    session_of: SessionMaker, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``aclose`` keeps its time though a save hangs in a thread; who waited for it is told."""
    monkeypatch.setattr("wixvisitor._renewal.lane.GRACE", 0.2)
    storage = Stalling()
    session = session_of(storage=storage)
    storage.stalls = True
    async with anyio.create_task_group() as tasks:

        async def mint() -> None:
            with pytest.raises(TokenRequestError, match="closed"):
                await session.generate_visitor_tokens()

        tasks.start_soon(mint)
        await until(lambda: storage.entered)
        since = anyio.current_time()
        await session.aclose()
        took = anyio.current_time() - since
        storage.gate.set()
    assert took < 2.0, took


async def test_closing_does_not_wait_for_the_last_steps_of_a_slow_store(
    still: FakeWix, session_of: SessionMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``aclose`` keeps its time though a renewal that it has cut off is still giving back its lease."""
    monkeypatch.setattr("wixvisitor._renewal.lane.GRACE", 0.1)
    monkeypatch.setattr("wixvisitor._renewal.lane.LAST_STEPS", 0.1)

    class SlowToRelease(MemoryStorage):
        async def acquire_lease(self, key: str, holder: str, seconds: float) -> float:
            return 0.0

        async def release_lease(self, key: str, holder: str) -> None:
            await anyio.sleep(1.0)

    session = session_of(storage=SlowToRelease())
    gate = still.hold()
    async with anyio.create_task_group() as tasks:

        async def mint() -> None:
            with pytest.raises(TokenRequestError, match="closed"):
                await session.generate_visitor_tokens()

        tasks.start_soon(mint)
        await gate.wait_for(1)
        since = anyio.current_time()
        await session.aclose()
        assert anyio.current_time() - since < 0.7
        gate.release()


async def test_a_pool_closes_all_hanging_stores_together(
    still: FakeWix, client_id: str, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``VisitorPool.aclose`` ends within three seconds though the saves of many visitors hang in threads."""
    monkeypatch.setattr("wixvisitor._renewal.lane.GRACE", 0.1)
    storage = Stalling()
    pool = VisitorPool(client_id, storage=storage, client=still.client(), clock=still.now, max_token_requests=10)
    storage.stalls = True
    async with anyio.create_task_group() as tasks:

        async def mint(key: str) -> None:
            with pytest.raises(TokenRequestError, match="closed"):
                await (await pool.session(key)).generate_visitor_tokens()

        for number in range(10):
            tasks.start_soon(mint, str(number))
        await until(lambda: storage.entered == 10)
        since = anyio.current_time()
        await pool.aclose()
        assert anyio.current_time() - since < 1.1
        storage.gate.set()


# Set, forget, save and close have one order


@pytest.mark.parametrize("kind", ["conditional", "plain"])
async def test_what_is_set_after_closing_wins(
    still: FakeWix, session_of: SessionMaker, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """What was set before ``aclose`` never overwrites what is set after it, in memory and in the store."""
    monkeypatch.setattr("wixvisitor._renewal.lane.GRACE", 0.05)
    storage = Stalling()
    session = session_of(storage=storage if kind == "conditional" else Plain(storage))
    await session.generate_visitor_tokens()
    storage.stalls = True
    told: list[str] = []

    async def set_early(name: str) -> None:
        with pytest.raises(StorageError, match="closed"):
            await session.set_tokens(_tokens(name))
        told.append(name)

    async with anyio.create_task_group() as tasks:
        for name in "ABC":
            tasks.start_soon(set_early, name)
            await anyio.wait_all_tasks_blocked()
        await session.aclose()
        await anyio.wait_all_tasks_blocked()
        assert sorted(told) == ["A", "B", "C"]
        storage.stalls = False
        async with anyio.create_task_group() as setting:
            setting.start_soon(session.set_tokens, _tokens("D"))
            await anyio.sleep(0.05)
            storage.gate.set()
    assert session.get_tokens() == _tokens("D")
    assert "refresh-D" in storage.held()
    assert storage.entered == 1  # B and C never reached the store


async def test_what_a_hung_thread_writes_late_does_not_win(
    still: FakeWix, session_of: SessionMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A save is given up; tokens are set since; then the thread wakes and writes: compare-and-set refuses it."""
    monkeypatch.setattr("wixvisitor._renewal.records._TIMEOUT", 0.05)
    storage = Stalling()
    session = session_of(storage=storage)
    await session.generate_visitor_tokens()
    storage.stalls = True
    with anyio.fail_after(5):
        with pytest.raises(StorageError, match="did not save"):
            await session.set_tokens(_tokens("late"))
        storage.stalls = False
        await session.set_tokens(_tokens("new"))
    storage.gate.set()
    await anyio.sleep(0.05)
    assert "refresh-new" in storage.held()
    assert session.get_tokens() == _tokens("new")


async def test_what_is_set_wins_over_whatever_is_saved_at_that_moment(session_of: SessionMaker) -> None:
    """Another process saves between a ``set_tokens``'s look at the store and its save: what is set wins."""

    class Busy(MemoryStorage):
        races = 0

        async def save(self, key: str, value: str, *, expected: str | AnyVersion | None = ANY_VERSION) -> str:
            if self.races and expected is not ANY_VERSION:
                self.races -= 1
                await super().save(key, value.replace("refresh-", "refresh-of-another-"))
            return await super().save(key, value, expected=expected)

    storage = Busy()
    session = session_of(storage=storage)
    await session.generate_visitor_tokens()
    storage.races = 3
    await session.set_tokens(_tokens("set"))
    assert session.get_tokens() == _tokens("set")
    async with session_of(storage=storage) as restarted:
        assert restarted.get_tokens() == _tokens("set")
    storage.races = 10**6
    with pytest.raises(StorageError, match="changes faster than it can be set"):
        await session.set_tokens(_tokens("too-late"))


async def test_what_could_not_be_set_does_not_overwrite_what_came_since(session_of: SessionMaker) -> None:
    """A ``set_tokens`` that the store refused is saved by the next use, but not over what was saved meanwhile."""
    storage = FailingStorage()
    behind, ahead = session_of(storage=storage), session_of(storage=storage)
    await behind.generate_visitor_tokens()
    storage.fails = True
    with pytest.raises(StorageError):
        await behind.set_tokens(_tokens("old"))
    storage.fails = False
    await ahead.set_tokens(_tokens("new"))
    assert (await behind.auth_headers())["Authorization"] == "access-new"
    async with session_of(storage=storage) as restarted:
        assert restarted.get_tokens() == _tokens("new")


async def test_forget_comes_after_what_a_thread_is_saving(still: FakeWix, client_id: str, until: Until) -> None:
    """A visitor is forgotten while a thread saves it: the record is gone in the end."""
    storage = Stalling()
    pool = VisitorPool(client_id, storage=storage, client=still.client(), clock=still.now)
    session = await pool.session("k")
    storage.stalls = True
    async with anyio.create_task_group() as tasks:

        async def mint() -> None:
            await session.generate_visitor_tokens()

        tasks.start_soon(mint)
        await until(lambda: storage.entered)
        storage.stalls = False
        tasks.start_soon(pool.forget, "k")
        await anyio.sleep(0.05)
        storage.gate.set()
    stored = Tokens.from_dict(json.loads(storage.held()))
    assert session.get_tokens() == stored
    claims = read_claims(stored.access_token.value)
    if claims is not None:  # the caller woke after the visitor was forgotten, and made the next one
        assert claims.visitor_id != next(iter(still.visitors))
    else:
        assert not stored.refresh_token.value


# The same access token again


@pytest.mark.parametrize("clients", [1, 40])
async def test_a_renewal_that_brings_the_same_token(client_id: str, clients: int) -> None:
    """After a 401 a static mock brings the same token: one renewal, one replay each, then 401s are passed on."""
    import httpx

    grant = {"access_token": "OauthNG.JWS.a.b.c", "refresh_token": "JWS.r.r", "expires_in": LIFETIME}
    token_calls, api_calls = 0, 0

    async def serve(request: httpx.Request) -> httpx.Response:
        nonlocal token_calls, api_calls
        if request.url.path == "/oauth2/token":
            token_calls += 1
            return httpx.Response(200, json=grant)
        api_calls += 1
        return httpx.Response(401)

    async with VisitorSession(client_id, client=httpx.AsyncClient(transport=httpx.MockTransport(serve))) as session:
        await session.generate_visitor_tokens()
        token_calls = 0
        async with anyio.create_task_group() as tasks:
            for _ in range(clients):
                tasks.start_soon(session.get, "/x")
        assert token_calls == 1
        assert clients + 1 <= api_calls <= 2 * clients
        api_calls = 0
        assert (await session.get("/x")).status_code == 401
        assert (token_calls, api_calls) == (1, 1)


async def test_a_replay_with_the_same_token_may_succeed(client_id: str) -> None:
    """A hiccup of an API behind a static mock: the replay is served."""
    import httpx

    grant: dict[str, Any] = {"access_token": "OauthNG.JWS.a.b.c", "refresh_token": "JWS.r.r", "expires_in": LIFETIME}
    answers = iter([401, 200])

    async def serve(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=grant) if request.url.path == "/oauth2/token" else httpx.Response(next(answers))

    async with VisitorSession(client_id, client=httpx.AsyncClient(transport=httpx.MockTransport(serve))) as session:
        assert (await session.get("/x")).status_code == 200


class Remote:
    """A plain store in the network: a write that was sent takes effect later, though its caller was cancelled."""

    def __init__(self) -> None:
        self.records: dict[str, str] = {}
        self.sent, self.arrived = anyio.Event(), anyio.Event()
        self.late: tuple[str, str] | None = None

    async def load(self, key: str) -> str | None:
        return self.records.get(key)

    async def save(self, key: str, value: str) -> None:
        if not self.sent.is_set():
            self.late = key, value
            self.sent.set()
            await self.arrived.wait()
        else:
            self.records[key] = value

    async def delete(self, key: str) -> None:
        self.records.pop(key, None)

    def arrive(self) -> None:
        assert self.late is not None
        self.records[self.late[0]] = self.late[1]
        self.arrived.set()


@pytest.mark.parametrize("verb", ["set_tokens", "forget"])
async def test_a_save_under_way_is_not_cancelled(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, member: Tokens, verb: str
) -> None:
    """What is set or forgotten while a renewal is being saved is written after it, in a store without conditions."""
    storage = Remote()
    storage.sent.set()
    session = session_of(tokens=visitor, storage=storage)
    await session.auth_headers()
    still.advance(LIFETIME + 1)
    storage.sent = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(session.auth_headers)
        await storage.sent.wait()
        if verb == "set_tokens":
            tasks.start_soon(session.set_tokens, member)
        else:
            tasks.start_soon(session._refresher.forget)
        await anyio.sleep(1.2)  # longer than a cancelled job may take
        storage.arrive()
    if verb == "set_tokens":
        assert all(member.refresh_token.value in record for record in storage.records.values())
        assert session.get_tokens().refresh_token == member.refresh_token
    else:
        assert not any(visitor.refresh_token.value in record for record in storage.records.values())


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_tasks_that_are_cancelled_before_they_begin(session_of: SessionMaker) -> None:
    """A program that cancels all its tasks, also those that have not begun, can go on with the session."""
    session = session_of()
    caller = asyncio.create_task(session.auth_headers())
    await asyncio.sleep(0)
    jobs = [task for task in asyncio.all_tasks() if task.get_name().startswith("wixvisitor: ")]
    assert jobs
    for task in [caller, *jobs]:
        task.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    with anyio.fail_after(10):
        assert (await session.auth_headers())["Authorization"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.filterwarnings("ignore:coroutine 'SharedTask._run' was never awaited:RuntimeWarning")
async def test_a_task_that_cannot_start(session_of: SessionMaker) -> None:
    """Where the event loop refuses to make a task, the caller is told, and the next one is served."""
    session, loop = session_of(), asyncio.get_running_loop()

    def refuse(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no tasks today")

    loop.set_task_factory(refuse)
    try:
        with pytest.raises(RuntimeError, match="no tasks today"):
            await session.auth_headers()
    finally:
        loop.set_task_factory(None)
    with anyio.fail_after(10):
        assert (await session.auth_headers())["Authorization"]
