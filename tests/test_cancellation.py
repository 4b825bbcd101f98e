"""Whoever is cancelled hurts nobody else: the renewal belongs to no caller."""

from __future__ import annotations

import asyncio
import gc
import sys
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
import trio

from tests.constants import CART, LIFETIME, SessionMaker, Until
from wixvisitor import TokenRequestError, Tokens, VisitorPool, VisitorSession
from wixvisitor.storage import ANY_VERSION, AnyVersion, MemoryStorage
from wixvisitor.testing import FakeWix

anyio_only = pytest.mark.anyio


class SlowStore(MemoryStorage):
    """A store whose saves wait for `gate` once there is one."""

    gate: anyio.Event | None = None
    saving: anyio.Event | None = None

    async def save(self, key: str, value: str, *, expected: str | AnyVersion | None = ANY_VERSION) -> str:
        if self.gate is not None:
            assert self.saving is not None
            self.saving.set()
            await self.gate.wait()
        return await super().save(key, value, expected=expected)


async def stored(session_of: SessionMaker, storage: Any) -> Tokens:
    async with session_of(storage=storage) as other:
        tokens: Tokens = other.get_tokens()
        return tokens


@anyio_only
@pytest.mark.parametrize("cold", [True, False], ids=["mint", "renewal"])
async def test_the_starter_cancelled_by_a_scope(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, *, cold: bool
) -> None:
    """The caller who started the renewal is cancelled: it leaves at once, and the others share that one call."""
    session = session_of(tokens=None if cold else visitor)
    still.advance(LIFETIME + 1)
    gate = still.hold()
    served: list[Any] = []
    gone = anyio.Event()
    scope = anyio.CancelScope()

    async def starter() -> None:
        with scope:
            await session.auth_headers()
            served.append("the starter")
        gone.set()

    async def other() -> None:
        served.append((await session.auth_headers())["Authorization"])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(starter)
        await gate.wait_for(1)
        for _ in range(20):
            tasks.start_soon(other)
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
        with anyio.fail_after(1):
            await gone.wait()
        gate.release()
    assert served == [session.get_tokens().access_token.value] * 20
    assert [call.grant_type for call in still.token_calls()] == ["anonymous" if cold else "refresh_token"]


def test_the_starter_cancelled_by_task_cancel(still: FakeWix, session_of: SessionMaker, visitor: Tokens) -> None:
    """`task.cancel()` of the starter, even twice, costs no call and hurts nobody."""

    async def main() -> None:
        session = session_of(tokens=visitor)
        still.advance(LIFETIME + 1)
        gate = still.hold()
        starter = asyncio.create_task(session.auth_headers())
        await gate.wait_for(1)
        others = [asyncio.create_task(session.auth_headers()) for _ in range(20)]
        await asyncio.sleep(0)
        starter.cancel()
        await asyncio.sleep(0)
        starter.cancel()
        await asyncio.wait([starter], timeout=1)
        assert starter.cancelled()
        gate.release()
        assert len({headers["Authorization"] for headers in await asyncio.gather(*others)}) == 1

    asyncio.run(main())
    assert len(still.token_calls()) == 1


def test_the_starter_cancelled_by_a_native_timeout(still: FakeWix, session_of: SessionMaker, visitor: Tokens) -> None:
    """`asyncio.timeout` and `asyncio.wait_for` around the starter end in time, and cost no call."""

    async def main() -> None:
        session = session_of(tokens=visitor)
        still.advance(LIFETIME + 1)
        gate = still.hold()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await session.auth_headers()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(session.auth_headers(), 0.01)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await session.get(CART)
        gate.release()
        async with asyncio.timeout(1):
            await session.auth_headers()

    asyncio.run(main())
    assert len(still.token_calls()) == 1


def test_the_starter_cancelled_before_the_renewal_began(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """A starter that is cancelled in the very step in which it started leaves a renewal that serves the others."""

    async def main() -> None:
        session = session_of(tokens=visitor)
        still.advance(LIFETIME + 1)
        starter = asyncio.create_task(session.auth_headers())
        other = asyncio.create_task(session.auth_headers())
        await asyncio.sleep(0)
        starter.cancel()
        async with asyncio.timeout(1):
            await other
        with pytest.raises(asyncio.CancelledError):
            await starter

    asyncio.run(main())
    assert len(still.token_calls()) == 1


@anyio_only
async def test_callers_with_timeouts_shorter_than_the_endpoint_are_served(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """6 rounds of 5 callers, each more impatient than the endpoint: one call in all, and later rounds are served."""
    session = session_of(tokens=visitor)
    still.advance(LIFETIME + 1)
    gate = still.hold()
    served: list[int] = []

    async def caller(number: int) -> None:
        with anyio.move_on_after(0.01):
            await session.auth_headers()
            served.append(number)

    for number in range(6):
        if number == 3:
            gate.release()
            await anyio.sleep(0.02)  # the endpoint's answer comes between two rounds
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(caller, number)
    assert served == [3] * 5 + [4] * 5 + [5] * 5
    assert len(still.token_calls()) == 1


@anyio_only
async def test_when_all_waiters_are_gone_a_later_caller_gets_the_result(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, until: Until
) -> None:
    """The renewal goes on without anybody waiting, and its result is there for the next caller."""
    session = session_of(tokens=visitor)
    still.advance(LIFETIME + 1)
    gate = still.hold()
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(session.auth_headers)
        await gate.wait_for(1)
        tasks.cancel_scope.cancel()
    gc.collect()
    gate.release()
    await until(lambda: session.get_tokens() != visitor)
    await session.auth_headers()
    assert len(still.token_calls()) == 1


@anyio_only
async def test_a_first_visitor_minted_for_nobody_is_kept(
    still: FakeWix, session_of: SessionMaker, until: Until
) -> None:
    """The one caller of a first mint goes away: the visitor is saved and used, not made twice."""
    storage = MemoryStorage()
    session = session_of(storage=storage)
    gate = still.hold(committed=True)
    with anyio.move_on_after(0.01):
        await session.get(CART)
    gate.release()
    await until(lambda: session.get_tokens().access_token.value)
    assert await stored(session_of, storage) == session.get_tokens()
    await session.auth_headers()
    assert len(still.visitors) == 1


@anyio_only
async def test_a_cancelled_failure_is_nobodys(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, until: Until
) -> None:
    """A renewal that fails after its callers went away warns of nothing, and the next caller is told the cause."""
    session = session_of(tokens=visitor)
    still.advance(LIFETIME + 1)
    gate = still.hold()
    fault = still.fail(503, headers={"Retry-After": "30"}, times=None)
    with anyio.move_on_after(0.01):
        await session.auth_headers()
    gate.release()
    await session.aclose()
    fault.remove()
    gc.collect()
    with pytest.raises(TokenRequestError) as caught:
        await session.auth_headers()
    assert caught.value.retry_after == 30


@anyio_only
async def test_set_tokens_cancelled_in_the_middle_of_saving_counts(
    session_of: SessionMaker, visitor: Tokens, member: Tokens, until: Until
) -> None:
    """set_tokens that is cancelled while it saves takes effect all the same, in memory and in the store."""
    storage = SlowStore()
    session = session_of(storage=storage, tokens=visitor)
    await session.auth_headers()
    storage.gate, storage.saving = anyio.Event(), anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(session.set_tokens, member)
        await storage.saving.wait()
        tasks.cancel_scope.cancel()
    storage.gate.set()
    await until(lambda: session.get_tokens() == member)
    assert await stored(session_of, storage) == member


def test_set_tokens_under_a_native_timeout_counts(session_of: SessionMaker, member: Tokens) -> None:
    """`asyncio.timeout` around set_tokens does not lose the login."""

    async def main() -> None:
        storage = SlowStore()
        session = session_of(storage=storage)
        storage.gate, storage.saving = anyio.Event(), anyio.Event()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await session.set_tokens(member)
        storage.gate.set()
        await session.aclose()
        assert session.get_tokens() == member
        assert await stored(session_of, storage) == member

    asyncio.run(main())


@anyio_only
async def test_set_tokens_cancelled_before_it_could_begin(session_of: SessionMaker, member: Tokens) -> None:
    """A cancelled scope around set_tokens: either it did nothing, or it did all of it."""
    storage = MemoryStorage()
    session = session_of(storage=storage)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await session.set_tokens(member)
    await session.aclose()
    assert await stored(session_of, storage) == session.get_tokens()


@anyio_only
async def test_leaving_during_a_renewal_ends_within_seconds(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """aclose() during a renewal that hangs ends within 4 s, and leaves the visitor as it was."""
    session = session_of(tokens=visitor, renew_timeout=60)
    await session.auth_headers()
    still.advance(LIFETIME - 300)
    still.hang(times=None)
    await session.auth_headers()
    with anyio.fail_after(4):
        await session.aclose()
    assert session.get_tokens() == visitor


@anyio_only
async def test_leaving_during_a_renewal_gives_the_lease_back(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, client_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A renewal that aclose() cuts off gives its lease back, so that no other process waits until it runs out."""
    monkeypatch.setattr("wixvisitor._renewal.lane.GRACE", 0.01)

    class Remote(MemoryStorage):
        async def release_lease(self, key: str, holder: str) -> None:
            await anyio.lowlevel.checkpoint()
            await super().release_lease(key, holder)

    storage = Remote()
    session, key = session_of(tokens=visitor, storage=storage), f"{client_id}:default"
    still.advance(LIFETIME - 300)
    gate = still.hold(times=None)
    await session.auth_headers()
    await gate.wait_for(1)
    assert await storage.acquire_lease(key, "another", 1.0) > 0
    with anyio.fail_after(3):
        await session.aclose()
    assert await storage.acquire_lease(key, "another", 1.0) == 0.0


@anyio_only
@pytest.mark.parametrize("kind", ["session", "pool"])
async def test_leaving_through_a_cancelled_scope_closes(
    still: FakeWix, client_id: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`async with` that a cancelled scope ends closes the client that was made here, and ends the renewal."""
    monkeypatch.setattr("wixvisitor._renewal.lane.GRACE", 0.01)
    made: list[httpx.AsyncClient] = []

    def client() -> httpx.AsyncClient:
        made.append(still.client())
        return made[-1]

    gate = still.hold(times=None)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:

            async def leave() -> None:
                await gate.wait_for(1)
                scope.cancel()

            tasks.start_soon(leave)
            if kind == "session":
                async with VisitorSession(client_id, client=client) as session:
                    await session.get(CART)
            else:
                async with VisitorPool(client_id, client=client) as pool:
                    session = await pool.session("k")
                    await session.get(CART)
    assert scope.cancelled_caught
    assert [one.is_closed for one in made] == [True]
    assert not session._refresher._lane.here()


@anyio_only
async def test_leaving_lets_a_renewal_finish_that_is_nearly_done(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """aclose() waits for a renewal whose answer is on its way, so that a rotated token is not lost."""
    still.one_time_refresh_tokens = True
    storage = MemoryStorage()
    session = session_of(tokens=visitor, storage=storage)
    await session.auth_headers()
    still.advance(LIFETIME - 300)
    gate = still.hold(committed=True)
    await session.auth_headers()
    await gate.wait_for(1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(session.aclose)
        await anyio.wait_all_tasks_blocked()
        gate.release()
    assert session.get_tokens().refresh_token != visitor.refresh_token
    assert await stored(session_of, storage) == session.get_tokens()


@anyio_only
async def test_waiters_of_a_closed_session_are_told(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers who wait for a renewal that aclose() ends are told so; none of them starts another."""
    monkeypatch.setattr("wixvisitor._renewal.lane.GRACE", 0.01)
    session = session_of(tokens=visitor)
    still.advance(LIFETIME + 1)
    gate = still.hold(times=None)
    served: list[Any] = []

    async def ask() -> None:
        try:
            served.append(await session.auth_headers())
        except Exception as error:
            served.append(error)

    with anyio.fail_after(3):
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(ask)
            await gate.wait_for(1)
            await session.aclose()
    assert len(served) == 5
    assert {type(error) for error in served} == {TokenRequestError}
    assert all("closed" in str(error) for error in served)
    gate.release()
    await session.auth_headers()
    assert len(still.visitors) == 1
    assert len(still.token_calls()) == 2


@anyio_only
async def test_who_waits_for_the_store_of_a_closed_session_asks_nobody(
    still: FakeWix, session_of: SessionMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller whose store answers while the session is closed is told as well, and its renewal ends with aclose()."""
    monkeypatch.setattr("wixvisitor._renewal.lane.GRACE", 0.5)
    reading, answer = anyio.Event(), anyio.Event()

    class Slow(MemoryStorage):
        async def load(self, key: str) -> Any:
            reading.set()
            await answer.wait()
            return await super().load(key)

    session, told = session_of(storage=Slow()), list[type[BaseException]]()
    still.hold(times=None)

    async def ask() -> None:
        try:
            await session.auth_headers()
        except Exception as error:
            told.append(type(error))

    with anyio.fail_after(3):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await reading.wait()
            tasks.start_soon(session.aclose)
            await anyio.wait_all_tasks_blocked()
            answer.set()
    assert told == [TokenRequestError]
    assert not session._refresher._lane.here()
    assert not still.visitors


@pytest.mark.parametrize("run", [asyncio.run, trio.run], ids=["asyncio", "trio"])
@pytest.mark.parametrize("cold", [True, False], ids=["mint", "renewal"])
def test_a_loop_that_ends_in_the_middle_of_a_renewal(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, run: Any, *, cold: bool
) -> None:
    """The event loop ends while a renewal is under way: the same object works in the next loop."""
    session = session_of(tokens=None if cold else visitor)
    still.advance(LIFETIME + 1)
    gate = still.hold()

    async def first() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.auth_headers)
            await gate.wait_for(1)
            tasks.cancel_scope.cancel()

    async def second() -> None:
        with anyio.fail_after(2):
            await session.auth_headers()
            await session.aclose()

    run(first) if run is trio.run else run(first())
    gate.release()
    run(second) if run is trio.run else run(second())
    assert {call.grant_type for call in still.token_calls()} == {"anonymous" if cold else "refresh_token"}
    assert len(still.token_calls()) == 2
    assert cold or session.get_tokens().refresh_token == visitor.refresh_token


@pytest.mark.parametrize("second", ["asyncio", "trio"])
@pytest.mark.parametrize("first", ["asyncio", "trio"])
def test_a_renewal_in_the_background_may_be_cut_off_by_its_loop(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, until: Until, first: str, second: str
) -> None:
    """A background renewal that dies with its loop is started again in the next, whatever kind that is."""
    storage = MemoryStorage()
    session = session_of(tokens=visitor, storage=storage)
    still.advance(LIFETIME - 300)
    gate = still.hold()

    async def one() -> None:
        await session.auth_headers()
        await gate.wait_for(1)

    async def two() -> None:
        with anyio.fail_after(2):
            await session.auth_headers()
            await until(lambda: session.get_tokens().access_token != visitor.access_token)
            await session.aclose()

    anyio.run(one, backend=first)
    gate.release()
    anyio.run(two, backend=second)
    assert session.get_tokens().refresh_token == visitor.refresh_token


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_eager_tasks_change_nothing(still: FakeWix, session_of: SessionMaker, visitor: Tokens) -> None:
    """With asyncio's eager task factory 1,000 callers still share one renewal, and the starter may be cancelled."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
        session = session_of(tokens=visitor)
        still.advance(LIFETIME + 1)
        gate = still.hold()
        starter = asyncio.create_task(session.auth_headers())
        others = [asyncio.create_task(session.auth_headers()) for _ in range(1000)]
        await gate.wait_for(1)
        starter.cancel()
        gate.release()
        assert len({headers["Authorization"] for headers in await asyncio.gather(*others)}) == 1
        still.advance(LIFETIME - 300)
        gate = still.hold()
        await session.auth_headers()  # in the background, started eagerly
        await gate.wait_for(1)
        await session.set_tokens(visitor)
        gate.release()
        await session.aclose()

    asyncio.run(main())
    assert len(still.token_calls()) == 2
    assert len(still.visitors) == 1


@anyio_only
@pytest.mark.parametrize("stream", [False, True])
async def test_a_cancelled_request_gives_its_connection_back(
    still: FakeWix, session_of: SessionMaker, family: Any, *, stream: bool
) -> None:
    """Requests cancelled while Wix thinks, streamed ones too, do not use up a pool of one connection."""
    async with still.serve() as url:
        async with family.AsyncClient(limits=family.Limits(max_connections=1), timeout=5) as client:
            session = session_of(client=client, base_url=url)
            await session.auth_headers()
            gate = still.hold(path=CART)
            for _ in range(5):
                with anyio.move_on_after(0.01):
                    if stream:
                        async with session.stream("GET", CART) as response:
                            await response.aread()
                    else:
                        await session.get(CART)
            gate.release()
            with anyio.fail_after(2):
                assert (await session.get(CART)).status_code in (200, 404)


@anyio_only
async def test_a_caller_cancelled_while_its_401_is_renewed(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens
) -> None:
    """A caller that leaves while its 401 leads to a renewal leaves that renewal to the others."""
    session = session_of(tokens=visitor)
    await session.auth_headers()
    still.revoke_access_token(visitor.access_token.value)
    gate = still.hold()
    with anyio.move_on_after(0.02) as scope:
        await session.get(CART)
    assert scope.cancelled_caught
    gate.release()
    assert (await session.get(CART)).status_code in (200, 404)
    assert len(still.token_calls()) == 1
