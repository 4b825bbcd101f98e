"""Many visitors in one process: which object, how long it lives, what it costs, and whose it is."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from types import ModuleType
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from tests.constants import CART, FINE, LIFETIME, PoolMaker, Until
from tests.stores import TroubledStorage
from wixvisitor import (
    ConfigurationError,
    SessionExpired,
    StorageError,
    TokenRequestError,
    Tokens,
    TokensChanged,
    VisitorPool,
    VisitorSession,
)
from wixvisitor.storage import FileStorage, MemoryStorage
from wixvisitor.testing import FakeWix

pytestmark = [pytest.mark.usefixtures("no_backoff")]
anyio_test = pytest.mark.anyio


@pytest.fixture
def pool_of(still: FakeWix, client_id: str) -> PoolMaker:
    """Makes a pool over the fake in process, with its clock."""

    def make(**arguments: Any) -> VisitorPool:
        return VisitorPool(client_id, **{"client": still.client(), "clock": still.now, **arguments})

    return make


@anyio_test
async def test_one_key_is_one_live_object(still: FakeWix, pool_of: PoolMaker) -> None:
    """The same key gives the same live session, another key another; nobody is minted by asking."""
    pool = pool_of()
    one, again, two = await pool.session("1"), await pool.session("1"), await pool.session("2")
    assert one is again
    assert one is not two
    assert isinstance(one, VisitorSession)
    assert not still.calls


@anyio_test
async def test_concurrent_requests_for_a_key_share_one_object(still: FakeWix, pool_of: PoolMaker) -> None:
    """50 tasks that ask for a new key at once over a slow store get one session, with one load."""
    gate = anyio.Event()

    storage = TroubledStorage(load=lambda _key: gate.wait())
    pool, sessions = pool_of(storage=storage), []

    async def ask() -> None:
        sessions.append(await pool.session("k"))

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        gate.set()
    assert len({id(session) for session in sessions}) == 1
    assert storage.called("load") == 1


@anyio_test
async def test_two_keys_are_two_visitors(still: FakeWix, pool_of: PoolMaker) -> None:
    """Each key has a visitor of its own, with a cart of its own, made at its first request."""
    pool = pool_of()
    sessions = [await pool.session(f"k{number}") for number in range(3)]
    product = still.products[0]
    for session in sessions[:2]:
        line = {"quantity": 1, "catalogReference": {"appId": "215238eb-22a5-4c36-9e7b-e7c08025e04e"}}
        line["catalogReference"]["catalogItemId"] = product.id  # type: ignore[index]
        response = await session.post(f"{CART}/add-line-items", json={"catalogItems": [line]})
        assert response.status_code in (200, 400, 404), response.text
        await session.get(CART)
    assert len(still.visitors) == 2
    assert len({call.visitor_id for call in still.api_calls()}) == 2
    assert len({session.get_tokens().refresh_token.value for session in sessions}) == 3  # one is still nobody


@anyio_test
async def test_connections_are_shared(still: FakeWix, client_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool without a client of the caller's opens one HTTP client for all, and closes it."""
    import httpx

    made: list[Any] = []

    class Counted(httpx.AsyncClient):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            if kwargs.get("transport") is None:  # the client of token requests has no connections of its own
                made.append(self)

    monkeypatch.setattr(httpx, "AsyncClient", Counted)
    async with still.serve() as url:
        async with VisitorPool(client_id, base_url=url, clock=still.now) as pool:
            for number in range(5):
                assert (await (await pool.session(str(number))).get(CART)).status_code in FINE
            assert len(made) == 1
        assert made[0].is_closed
        async with pool:
            session = await pool.session("0")
            assert (await session.get(CART)).status_code in FINE
        assert len(made) == 2
        assert made[1].is_closed
    assert len(still.visitors) == 5


@anyio_test
@pytest.mark.parametrize("is_fresh", [True, False], ids=["fresh", "expired"])
async def test_a_closed_pool_says_so(still: FakeWix, pool_of: PoolMaker, family: ModuleType, *, is_fresh: bool) -> None:
    """It loads nobody and sends nothing any more, and neither do its sessions. What they hold can be read."""
    pool = pool_of(client=still.client(family))
    session = await pool.session("k")
    held = await session.generate_visitor_tokens()
    await pool.aclose()
    await pool.aclose()
    if not is_fresh:
        still.advance(LIFETIME + 1)
    calls = len(still.calls)
    uses = [lambda: pool.session("k"), lambda: pool.session("new"), lambda: pool.forget("k"), session.renew_token]
    uses += [
        lambda: session.get(CART),
        lambda: session.graphql("{a}"),
        lambda: session.stream("GET", CART).__aenter__(),
    ]
    for use in uses if is_fresh else [*uses, session.auth_headers, session.generate_visitor_tokens]:
        with pytest.raises(ConfigurationError, match="VisitorPool is closed"):
            await use()
    assert session.get_tokens() == held
    assert "1 live" in repr(pool)
    await session.set_tokens(held)
    assert len(still.calls) == calls


@anyio_test
async def test_a_closed_pool_can_be_entered_again(still: FakeWix, pool_of: PoolMaker) -> None:
    """It goes on with the visitors that it had, at once: what a closed pool refused is no failure of Wix."""
    async with pool_of() as pool:
        sessions = [await pool.session(f"visitor {number}") for number in range(4)]
        for session in sessions:
            await session.get(CART)
    still.advance(LIFETIME + 1)
    for session in sessions:
        with pytest.raises(ConfigurationError):
            await session.generate_visitor_tokens()
    async with pool:
        assert await pool.session("visitor 0") is sessions[0]
        for session in sessions:
            assert (await session.get(CART)).status_code in FINE
    assert len(still.visitors) == 4


def test_a_pool_needs_a_number_of_token_requests(pool_of: PoolMaker) -> None:
    """None is not "no limit" for a pool: its sessions would then close what they share."""
    with pytest.raises(ConfigurationError, match="max_token_requests"):
        pool_of(max_token_requests=None)


@anyio_test
async def test_closing_one_session_leaves_the_pool_working(still: FakeWix, pool_of: PoolMaker) -> None:
    """`async with` and aclose() on a pool's session close nothing that others use."""
    pool = pool_of()
    async with await pool.session("1") as one:
        await one.get(CART)
    await one.aclose()
    two = await pool.session("2")
    assert (await two.get(CART)).status_code in FINE
    assert (await one.get(CART)).status_code in FINE
    assert len(still.visitors) == 2


@anyio_test
async def test_a_session_nobody_holds_is_dropped(still: FakeWix, pool_of: PoolMaker) -> None:
    """A session is gone when nobody holds it, and its visitor comes back from the store."""
    pool = pool_of()
    session = await pool.session("k")
    await session.get(CART)
    tokens, gone = session.get_tokens(), weakref.ref(session)
    del session
    await anyio.lowlevel.checkpoint()  # from Python 3.12 on, what a task raised is kept for a turn
    gc.collect()
    assert gone() is None
    session = await pool.session("k")
    assert session.get_tokens() == tokens
    await session.get(CART)
    assert len(still.visitors) == 1


@anyio_test
async def test_a_session_is_dropped_after_failures_too(still: FakeWix, pool_of: PoolMaker) -> None:
    """Errors, pauses and cancelled callers keep no session alive."""
    pool = pool_of()
    session = await pool.session("k")
    still.fail(503, times=None)
    with pytest.raises(Exception, match="503"):
        await session.get(CART)
    gone = weakref.ref(session)
    del session
    gc.collect()
    assert gone() is None


@anyio_test
async def test_a_session_is_kept_while_its_renewal_runs(still: FakeWix, pool_of: PoolMaker, until: Until) -> None:
    """A background renewal keeps its session: whoever asks meanwhile gets that one, and it costs one call."""
    still.one_time_refresh_tokens = True
    pool = pool_of()
    session = await pool.session("k")
    await session.get(CART)
    old = session.get_tokens()
    still.advance(LIFETIME - 300)
    gate = still.hold()
    await session.get(CART)
    await gate.wait_for(1)
    kept = weakref.ref(session)
    del session
    gc.collect()
    assert kept() is not None
    assert await pool.session("k") is kept()
    refresher = kept()._refresher
    gate.release()
    await until(lambda: not refresher._lane)
    gc.collect()
    assert kept() is None
    session = await pool.session("k")
    assert session.get_tokens() != old
    await session.get(CART)
    assert len(still.token_calls("refresh_token")) == 1
    assert len(still.visitors) == 1


@anyio_test
async def test_a_visitor_survives_its_pool(still: FakeWix, pool_of: PoolMaker, tmp_path: Any) -> None:
    """Over a lasting store another pool has the same visitors, also with keys that are no file names."""
    keys = ["a", "b/../c", "ü" * 300, "x:y", "A"]
    tokens = {}
    pool = pool_of(storage=FileStorage(f"{tmp_path}/visitors/"))
    for key in keys:
        tokens[key] = await (await pool.session(key)).generate_visitor_tokens()
    await pool.aclose()
    again = pool_of(storage=FileStorage(f"{tmp_path}/visitors/"))
    for key in keys:
        assert (await again.session(key)).get_tokens() == tokens[key]
    assert len(still.visitors) == len(keys)


@anyio_test
async def test_one_file_holds_one_visitor(still: FakeWix, pool_of: PoolMaker, tmp_path: Any) -> None:
    """A second key in a single visitor's file is a StorageError, and the first visitor stays."""
    pool = pool_of(storage=FileStorage(tmp_path / "visitor.json"))
    first = await pool.session("1")
    await first.get(CART)
    with pytest.raises(StorageError):
        await pool.session("2")
    assert (await first.get(CART)).status_code in FINE
    assert (
        await pool_of(storage=FileStorage(tmp_path / "visitor.json")).session("1")
    ).get_tokens() == first.get_tokens()


@anyio_test
@pytest.mark.parametrize("key", ["", None, 7, b"k"])
async def test_a_key_is_a_text(pool_of: PoolMaker, key: Any) -> None:
    """Anything else is a ConfigurationError."""
    for call in (pool_of().session, pool_of().forget):
        with pytest.raises(ConfigurationError, match="key"):
            await call(key)


@anyio_test
async def test_a_store_that_fails_fails_the_asking(still: FakeWix, pool_of: PoolMaker) -> None:
    """A load that fails is the asker's StorageError, and the next asking tries again."""
    storage = TroubledStorage(load=OSError("away"))
    pool = pool_of(storage=storage)
    with pytest.raises(StorageError):
        await pool.session("k")
    storage.before.clear()
    assert (await (await pool.session("k")).get(CART)).status_code in FINE
    assert len(still.visitors) == 1


# forget


@anyio_test
@pytest.mark.parametrize("held", [True, False])
async def test_forget_removes_the_visitor(still: FakeWix, pool_of: PoolMaker, *, held: bool) -> None:
    """After forget the key is a new visitor's, in memory and in the store, also for a session that is held."""
    storage = MemoryStorage()
    pool = pool_of(storage=storage)
    session = await pool.session("k")
    await session.get(CART)
    old = session.get_tokens()
    if not held:
        del session
        gc.collect()
    await pool.forget("k")
    session = await pool.session("k")
    assert not session.get_tokens().refresh_token.value
    await session.get(CART)
    assert session.get_tokens().refresh_token != old.refresh_token
    await pool.forget("nobody")
    assert len(still.visitors) == 2


@anyio_test
async def test_forget_leaves_no_state_behind(still: FakeWix, pool_of: PoolMaker) -> None:
    """A forgotten visitor's X-Wix-Consistent does not go with the next visitor's requests."""
    pool = pool_of()
    session = await pool.session("k")
    still.add_header("X-Wix-Consistent", "of the old one", times=1)
    await session.get(CART)
    await pool.forget("k")
    await session.get(CART)
    assert len(still.visitors) == 2
    assert "x-wix-consistent" not in still.api_calls()[-1].headers


@anyio_test
@pytest.mark.parametrize("is_member", [True, False], ids=["a member", "a visitor"])
async def test_who_asks_while_the_store_forgets(
    still: FakeWix, pool_of: PoolMaker, member: Tokens, visitor: Tokens, *, is_member: bool
) -> None:
    """A request amid forget() waits for it, and does not go on as whoever is being forgotten."""
    deleting, gate = anyio.Event(), anyio.Event()

    async def forgetting(_key: str, value: str) -> None:
        if not Tokens.from_json(value).access_token.value:
            deleting.set()
            await gate.wait()

    storage, forgotten = TroubledStorage(save=forgetting), member if is_member else visitor
    pool = pool_of(storage=storage)
    session = await pool.session("k")
    await session.set_tokens(forgotten)
    still.reset_calls()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pool.forget, "k")
        await deleting.wait()
        tasks.start_soon(session.get, CART)
        await anyio.wait_all_tasks_blocked()
        assert not still.api_calls()
        gate.set()
    [call] = still.api_calls()
    assert call.headers["authorization"] != forgotten.access_token.value
    assert not session.logged_in()
    assert (await pool_of(storage=storage).session("k")).get_tokens() == session.get_tokens()


@anyio_test
async def test_forget_waits_for_a_save_that_cannot_be_stopped(still: FakeWix, pool_of: PoolMaker) -> None:
    """A first mint that a store's thread is saving is forgotten as well, however long the thread takes."""
    saving, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        saving.set()
        go_on.wait(20)

    storage = TroubledStorage(save=lambda *_: anyio.to_thread.run_sync(wait))
    pool = pool_of(storage=storage)
    session = await pool.session("k")
    async with anyio.create_task_group() as caller:
        caller.start_soon(session.generate_visitor_tokens)
        await anyio.to_thread.run_sync(saving.wait, 20)
        caller.cancel_scope.cancel()  # else it would go on to make the next visitor
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, _after_a_while, go_on)
        await pool.forget("k")
    assert not (await pool_of(storage=storage).session("k")).get_tokens().refresh_token.value
    assert not session.get_tokens().refresh_token.value


def _after_a_while(event: threading.Event) -> None:
    time.sleep(1.2)  # longer than a flight that is ended is waited for
    event.set()


@anyio_test
async def test_forget_ends_the_pause_of_whom_it_forgot(still: FakeWix, pool_of: PoolMaker, member: Tokens) -> None:
    """A member whose session expired is forgotten: the key starts with a new visitor at once."""
    pool = pool_of()
    session = await pool.session("k")
    await session.set_tokens(member)
    still.refuse_refresh_token(member.refresh_token.value)
    still.advance(LIFETIME + 1)
    with pytest.raises(SessionExpired):
        await session.get(CART)
    await pool.forget("k")
    assert (await session.get(CART)).status_code in FINE
    assert not session.logged_in()


@anyio_test
@pytest.mark.parametrize("cold", [True, False], ids=["mint", "renewal"])
async def test_forget_during_a_renewal_forgets(
    still: FakeWix, pool_of: PoolMaker, visitor: Tokens, *, cold: bool
) -> None:
    """A renewal or mint that ends after forget() brings nobody back, neither in memory nor in the store."""
    storage = MemoryStorage()
    pool = pool_of(storage=storage)
    session = await pool.session("k")
    if not cold:
        await session.set_tokens(visitor)
        still.advance(LIFETIME - 300)
    gate = still.hold(times=1, committed=True)
    with anyio.move_on_after(0.02):
        await session.get(CART)
    await gate.wait_for(1)
    forgotten = set(still.visitors)
    await pool.forget("k")
    gate.release()
    await pool.aclose()
    assert not (await pool_of(storage=storage).session("k")).get_tokens().refresh_token.value
    async with pool:
        await session.get(CART)
    assert still.api_calls()[-1].visitor_id not in forgotten


@anyio_test
@pytest.mark.parametrize("cold", [True, False], ids=["mint", "renewal"])
async def test_forget_while_a_renewal_saves_forgets(
    still: FakeWix, pool_of: PoolMaker, visitor: Tokens, *, cold: bool
) -> None:
    """Also a renewal that is already writing to a slow store does not outlive forget()."""
    entered, gate = anyio.Event(), anyio.Event()

    async def saving(*_: str) -> None:
        entered.set()
        await gate.wait()

    storage = TroubledStorage()
    pool = pool_of(storage=storage)
    session = await pool.session("k")
    if not cold:
        await session.set_tokens(visitor)
        still.advance(LIFETIME - 300)
    storage.before["save"] = saving
    with anyio.move_on_after(0.02):
        await session.get(CART)
    await entered.wait()
    forgotten = set(still.visitors)
    storage.before.clear()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pool.forget, "k")  # waits for the save, which nothing cuts off
        await anyio.wait_all_tasks_blocked()
        gate.set()
    await pool.aclose()
    assert not (await pool_of(storage=storage).session("k")).get_tokens().refresh_token.value
    async with pool:
        await session.get(CART)
    assert still.api_calls()[-1].visitor_id not in forgotten


@anyio_test
async def test_forget_wins_over_set_tokens_before_it(pool_of: PoolMaker, visitor: Tokens) -> None:
    """forget() after a set_tokens that still saves leaves nothing of it."""
    entered, gate = anyio.Event(), anyio.Event()

    async def saving(*_: str) -> None:
        entered.set()
        await gate.wait()

    storage = TroubledStorage(save=saving)
    pool = pool_of(storage=storage)
    session = await pool.session("k")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(session.set_tokens, visitor)
        await entered.wait()
        tasks.start_soon(pool.forget, "k")
        await anyio.wait_all_tasks_blocked()
        gate.set()
    assert not session.get_tokens().refresh_token.value
    assert not (await pool_of(storage=storage).session("k")).get_tokens().refresh_token.value


# Life and cost


@anyio_test
async def test_events_name_their_record(still: FakeWix, pool_of: PoolMaker) -> None:
    """on_change of a pool says which key it is about."""
    events: list[TokensChanged] = []
    pool = pool_of(on_change=events.append)
    for key in ("a", "b"):
        await (await pool.session(key)).auth_headers()
    assert [event.key for event in events] == ["a", "b"]


@pytest.mark.parametrize("order", [("asyncio", "trio"), ("trio", "asyncio"), ("asyncio", "asyncio")])
def test_a_pool_in_two_event_loops(still: FakeWix, pool_of: PoolMaker, order: tuple[str, str]) -> None:
    """A pool, and a session held from the first loop, work in the next."""
    pool = pool_of()
    held: list[VisitorSession] = []

    async def once() -> None:
        held.append(await pool.session("k"))
        still.advance(LIFETIME + 1)
        assert (await held[0].get(CART)).status_code in FINE
        await pool.aclose()

    for loop in order:
        anyio.run(once, backend=loop)
    assert held[0] is held[1]
    assert len(still.visitors) == 1


@anyio_test
async def test_closing_a_pool_ends_renewals_within_seconds(
    still: FakeWix, pool_of: PoolMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aclose() "ends the renewals under way within 3 seconds", however many visitors are being renewed."""
    monkeypatch.setattr("wixvisitor._renewal.lane.GRACE", 0.1)
    pool = pool_of()
    sessions = [await pool.session(str(number)) for number in range(20)]
    still.hang(times=None)
    async with anyio.create_task_group() as tasks:
        for session in sessions:
            tasks.start_soon(session.auth_headers)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    with anyio.move_on_after(3) as scope:
        await pool.aclose()
    assert not scope.cancelled_caught
    assert scope.deadline - anyio.current_time() > 3 - 0.5, "they are ended one after another"


@anyio_test
async def test_a_pool_over_both_libraries(still: FakeWix, pool_of: PoolMaker, family: ModuleType) -> None:
    """A pool takes httpx's and httpx2's clients."""
    pool = pool_of(client=still.client(family))
    response = await (await pool.session("k")).get(CART)
    assert isinstance(response, family.Response)
    await pool.aclose()


@anyio_test
async def test_token_requests_at_once_are_bounded(still: FakeWix, pool_of: PoolMaker) -> None:
    """A hundred visitors that need a token together are served a few at a time, each with one call."""
    pool = pool_of(max_token_requests=3)
    still.delay(0.002, times=None)
    sessions = [await pool.session(str(number)) for number in range(100)]
    async with anyio.create_task_group() as tasks:
        for session in sessions:
            tasks.start_soon(session.get, CART)
    assert still.max_concurrency() == 3
    assert len(still.visitors) == 100
    assert len(still.token_calls("anonymous")) == 100


@anyio_test
async def test_whose_turn_does_not_come_is_told(still: FakeWix, pool_of: PoolMaker) -> None:
    """A visitor that waits in vain keeps what it has, and is served when there is a turn."""
    pool = pool_of(max_token_requests=1, renew_timeout=0.05)
    session = await pool.session("1")
    async with pool._settings.limiter.permit("another", is_new=False, seconds=1.0):
        with pytest.raises(TokenRequestError, match="max_token_requests"):
            await session.get(CART)
    assert not still.calls
    still.advance(61.0)
    assert (await session.get(CART)).status_code in FINE
    assert len(still.visitors) == 1


@anyio_test
async def test_waiting_for_another_process_takes_no_turn(still: FakeWix, pool_of: PoolMaker, client_id: str) -> None:
    """While one visitor's lease is somebody else's, others have the pool's only turn."""
    storage = MemoryStorage()
    pool = pool_of(max_token_requests=1, storage=storage, renew_timeout=5.0)
    await storage.acquire_lease(f"{client_id}:1", "somebody else", 60.0)
    held_up, free = await pool.session("1"), await pool.session("2")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(held_up.get, CART)
        await anyio.sleep(0.01)
        with anyio.fail_after(2.0):
            await free.get(CART)
        assert len(still.visitors) == 1
        await storage.release_lease(f"{client_id}:1", "somebody else")
    assert len(still.visitors) == 2


@pytest.mark.parametrize("number", [0, -1, 1.5, True, "4"])
def test_a_wrong_number_of_token_requests(client_id: str, number: Any) -> None:
    """The bound is a whole number from 1 on."""
    with pytest.raises(ConfigurationError, match="max_token_requests"):
        VisitorPool(client_id, max_token_requests=number)


@anyio_test
async def test_on_change_is_told_of_a_forget(pool_of: PoolMaker, member: Tokens) -> None:
    """Forgetting a member is a change; forgetting nobody is none."""
    events: list[tuple[str, str, str, str]] = []

    def note(event: TokensChanged) -> None:
        events.append((event.reason, event.key, event.old_role, event.new_role))

    pool = pool_of(on_change=note)
    session = await pool.session("k")
    await session.set_tokens(member)
    await pool.forget("k")
    await pool.forget("nobody")
    assert events[1:] == [("forgotten", "k", "member", "none")]
