"""A pool's turns at the token endpoint: who is next, who is sent away, and how many new visitors there may be."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.constants import Clock
from wixvisitor import TokenRequestError
from wixvisitor._renewal.limiter import Limiter, Permit

pytestmark = pytest.mark.anyio

LIMIT = TokenRequestError("slow down", status_code=429, request_id="r-1", retry_after=30.0)
OUTAGE = TokenRequestError("out of order", status_code=503)


TurnsMaker = Callable[..., Limiter]


@pytest.fixture
def turns_of(clock: Clock) -> TurnsMaker:
    def make(number: float = 1, **arguments: Any) -> Limiter:
        return Limiter(number, clock=clock, jitter=lambda: 1.0, **arguments)

    return make


async def _take(limiter: Limiter, visitor: str, order: list[str], *, is_new: bool = False) -> None:
    async with limiter.permit(visitor, is_new=is_new, seconds=60.0):
        order.append(visitor)
        await anyio.lowlevel.checkpoint()


async def test_no_more_than_the_number(turns_of: TurnsMaker) -> None:
    """Of ten that want a turn at most three have one at a time, and all get theirs."""
    limiter, most, order = turns_of(3), 0, list[str]()

    async def work(visitor: str) -> None:
        nonlocal most
        async with limiter.permit(visitor, is_new=False, seconds=60.0):
            most = max(most, limiter.under_way)
            await anyio.lowlevel.checkpoint()
            order.append(visitor)

    async with anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(work, str(number))
    assert (most, len(order), limiter.under_way) == (3, 10, 0)


async def test_no_turn_in_time(turns_of: TurnsMaker) -> None:
    """A visitor that gets no turn is told which setting it is about, and takes none away."""
    limiter = turns_of()
    async with limiter.permit("a", is_new=False, seconds=60.0):
        with pytest.raises(TokenRequestError, match=r"max_token_requests.*try later"):
            async with limiter.permit("b", is_new=False, seconds=0.0):
                pass
    async with limiter.permit("b", is_new=False, seconds=0.5):
        pass


@pytest.mark.parametrize("waits", [True, False], ids=["while it waits", "given its turn"])
async def test_cancelled_waiter(turns_of: TurnsMaker, *, waits: bool) -> None:
    """A waiter that is cancelled, also in the moment in which it is given its turn, leaves its place to the next."""
    limiter, order = turns_of(), list[str]()
    async with anyio.create_task_group() as tasks, anyio.create_task_group() as leaving:
        async with limiter.permit("first", is_new=False, seconds=60.0):
            leaving.start_soon(_take, limiter, "leaves", order)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(_take, limiter, "stays", order)
            await anyio.wait_all_tasks_blocked()
            if waits:
                leaving.cancel_scope.cancel()
                await anyio.wait_all_tasks_blocked()
        leaving.cancel_scope.cancel()
    assert order[-1] == "stays"
    assert not waits or order == ["stays"]
    assert limiter.under_way == 0


async def test_a_failure_gives_the_turn_back(turns_of: TurnsMaker) -> None:
    """A turn ends with its block, however that ends."""
    limiter = turns_of()
    for _ in range(3):
        with pytest.raises(KeyError):
            async with limiter.permit("a", is_new=False, seconds=0.5):
                raise KeyError


async def test_without_a_number(clock: Clock) -> None:
    """A session by itself waits for no other visitor, heeds no pause, and leaves nothing behind."""
    limiter, order = Limiter(clock=clock, jitter=lambda: 1.0), list[str]()
    async with limiter.permit("a", is_new=True, seconds=0.5) as turn, anyio.create_task_group() as tasks:
        turn.failed(LIMIT)
        for number in range(100):
            tasks.start_soon(_take, limiter, str(number), order)
    assert len(order) == 100
    assert limiter.pool_cooldown() is None
    assert not limiter._queues


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_each_event_loop_counts_for_itself(turns_of: TurnsMaker) -> None:
    """A turn that is held in one event loop holds no visitor up in another; loops that ended are forgotten."""
    limiter = turns_of()
    async with limiter.permit("a", is_new=False, seconds=60.0):
        for _ in range(3):
            await anyio.to_thread.run_sync(asyncio.run, _take(limiter, "b", []))
        assert len(limiter._queues) == 2


# Who goes first


async def test_who_has_a_visitor_goes_first(turns_of: TurnsMaker) -> None:
    """Renewals go before new visitors that came earlier; while both wait, every fourth turn is a new visitor's."""
    limiter, order = turns_of(), list[str]()
    async with anyio.create_task_group() as tasks:
        async with limiter.permit("first", is_new=True, seconds=60.0):
            for number in range(4):
                tasks.start_soon(lambda name: _take(limiter, name, order, is_new=True), f"new {number}")
                await anyio.wait_all_tasks_blocked()
            for number in range(7):
                tasks.start_soon(_take, limiter, f"old {number}", order)
                await anyio.wait_all_tasks_blocked()
    assert order == [
        *("old 0", "old 1", "old 2", "new 0"),
        *("old 3", "old 4", "old 5", "new 1"),
        *("old 6", "new 2", "new 3"),
    ]


async def test_who_has_a_visitor_asks_first_after_a_pause(turns_of: TurnsMaker, clock: Clock) -> None:
    """After a probe has succeeded the renewals that waited for it go before the new visitors."""
    limiter, order = turns_of(), list[str]()
    await _fail(limiter, "a", LIMIT)
    clock.now += 31
    async with anyio.create_task_group() as tasks:
        async with limiter.permit("probe", is_new=False, seconds=60.0) as probe:
            tasks.start_soon(lambda: _take(limiter, "new", order, is_new=True))
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(_take, limiter, "old", order)
            await anyio.wait_all_tasks_blocked()
            probe.succeeded()
    assert order == ["old", "new"]


# The pause


async def _fail(limiter: Limiter, visitor: str, error: TokenRequestError) -> None:
    async with limiter.permit(visitor, is_new=False, seconds=60.0) as turn:
        turn.failed(error)


async def test_a_pause_sends_all_away(turns_of: TurnsMaker, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Who waits for a turn when a pause begins, and who comes later, gets its cause at once; one line is logged."""
    limiter, errors = turns_of(), list[TokenRequestError]()

    async def wait(visitor: str) -> None:
        with pytest.raises(TokenRequestError) as raised:
            await _take(limiter, visitor, [])
        errors.append(raised.value)

    with caplog.at_level(logging.INFO, "wixvisitor"):
        async with anyio.create_task_group() as tasks:
            async with limiter.permit("a", is_new=False, seconds=60.0) as turn:
                for number in range(50):
                    tasks.start_soon(wait, str(number))
                await anyio.wait_all_tasks_blocked()
                turn.failed(LIMIT)
                assert turn.is_stopped
        clock.now += 10
        await wait("later")
    assert len(errors) == 51
    assert {(error.status_code, error.request_id) for error in errors} == {(429, "r-1")}
    assert [error.retry_after for error in errors] == [30.0] * 50 + [20.0]
    assert len(set(map(id, errors))) == 51
    assert {str(error.__cause__) for error in errors} == {str(LIMIT)}
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_one_asks_for_all(turns_of: TurnsMaker, clock: Clock) -> None:
    """When the pause is over one visitor asks, with turns to spare; the others go on after its success."""
    limiter, order = turns_of(4), list[str]()
    await _fail(limiter, "a", LIMIT)
    clock.now += 31
    async with anyio.create_task_group() as tasks:
        async with limiter.permit("probe", is_new=False, seconds=60.0) as probe:
            for number in range(3):
                tasks.start_soon(_take, limiter, str(number), order)
            await anyio.wait_all_tasks_blocked()
            assert not order
            probe.succeeded()
            await anyio.wait_all_tasks_blocked()
            assert sorted(order) == ["0", "1", "2"]


async def test_if_the_probe_fails_all_get_its_error(turns_of: TurnsMaker, clock: Clock) -> None:
    """Who waits for the probe gets the probe's failure, and the pause doubles."""
    limiter, errors = turns_of(4), list[TokenRequestError]()
    for visitor in "abc":
        await _fail(limiter, visitor, OUTAGE)
    clock.now += 1

    async def wait(visitor: str) -> None:
        with pytest.raises(TokenRequestError) as raised:
            await _take(limiter, visitor, [])
        errors.append(raised.value)

    async with anyio.create_task_group() as tasks:
        async with limiter.permit("probe", is_new=False, seconds=60.0) as probe:
            for number in range(3):
                tasks.start_soon(wait, str(number))
            await anyio.wait_all_tasks_blocked()
            probe.failed(TokenRequestError("worse", status_code=500))
            await anyio.wait_all_tasks_blocked()
            assert [(error.status_code, error.retry_after) for error in errors] == [(500, 2.0)] * 3


async def test_a_probe_that_leaves_is_followed(turns_of: TurnsMaker, clock: Clock) -> None:
    """A probe that ends without an answer, by a cancellation for instance, is followed by the next visitor."""
    limiter, order = turns_of(4), list[str]()
    await _fail(limiter, "a", LIMIT)
    clock.now += 31
    async with anyio.create_task_group() as tasks:
        async with limiter.permit("probe", is_new=False, seconds=60.0):
            tasks.start_soon(_take, limiter, "b", order)
            tasks.start_soon(_take, limiter, "c", order)
            await anyio.wait_all_tasks_blocked()
            assert not order
    assert sorted(order) == ["b", "c"]


async def test_waiting_for_the_probe_ends(turns_of: TurnsMaker, clock: Clock) -> None:
    """Who waits for a probe longer than it may gets the last pause's cause."""
    limiter = turns_of(4)
    await _fail(limiter, "a", LIMIT)
    clock.now += 31
    async with limiter.permit("probe", is_new=False, seconds=60.0):
        with pytest.raises(TokenRequestError, match="slow down"):
            async with limiter.permit("b", is_new=False, seconds=0.01):
                pass


async def test_a_pause_that_began_since(turns_of: TurnsMaker, clock: Clock) -> None:
    """Who has a turn, and is busy with the store while a pause begins, does not ask; after it, the probe goes first."""
    limiter = turns_of(4)
    async with limiter.permit("slow", is_new=False, seconds=60.0) as slow:
        await slow.confirm(60.0)  # no pause: nothing is waited for
        await _fail(limiter, "other", LIMIT)
        with pytest.raises(TokenRequestError) as raised:
            await slow.confirm(60.0)
        assert (raised.value.status_code, raised.value.retry_after) == (429, 30.0)
    assert not limiter.under_way


async def test_a_turn_from_before_the_pause(turns_of: TurnsMaker, clock: Clock) -> None:
    """Who has a turn from before the pause waits for the probe, or is the probe if there is none."""
    limiter = turns_of(4)
    confirmed = list[str]()

    async def confirm(turn: Permit) -> None:
        await turn.confirm(60.0)
        confirmed.append(turn.visitor)

    async with (
        limiter.permit("one", is_new=False, seconds=60.0) as one,
        limiter.permit("two", is_new=False, seconds=60.0) as two,
        anyio.create_task_group() as tasks,
    ):
        await _fail(limiter, "other", LIMIT)
        clock.now += 30.0
        await one.confirm(60.0)
        await one.confirm(60.0)  # it is the probe still
        tasks.start_soon(confirm, two)
        await anyio.wait_all_tasks_blocked()
        assert confirmed == []
        one.succeeded()
        await anyio.wait_all_tasks_blocked()
        assert confirmed == ["two"]
    assert not limiter.under_way


def _slow_down() -> None:
    raise TokenRequestError("slow down", status_code=429, retry_after=30.0)


async def test_the_pauses_cause_has_no_frames(turns_of: TurnsMaker) -> None:
    """What other visitors are told has no frames of the call that failed: there is a refresh token in them."""
    limiter = turns_of(2)
    async with limiter.permit("first", is_new=False, seconds=60.0) as first:
        with pytest.raises(TokenRequestError) as caught:
            _slow_down()
        first.failed(caught.value)
        with pytest.raises(TokenRequestError) as raised:
            await _take(limiter, "second", [])
    cause = raised.value.__cause__
    assert isinstance(cause, TokenRequestError)
    assert cause.__traceback__ is None


async def test_who_failed_waits_for_another(turns_of: TurnsMaker, clock: Clock) -> None:
    """After the pause a visitor whose last call failed goes when another one has asked, though it came earlier."""
    limiter, order = turns_of(4), list[str]()
    limiter.live = {"a": 1, "b": 2}
    await _fail(limiter, "a", LIMIT)
    clock.now += 31
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_take, limiter, "a", order)
        await anyio.wait_all_tasks_blocked()
        assert not order
        async with limiter.permit("b", is_new=False, seconds=60.0) as probe:
            order.append("b")
            probe.succeeded()
    assert order == ["b", "a"]


async def test_who_failed_waits_for_60_s(turns_of: TurnsMaker, clock: Clock) -> None:
    """Sixty seconds after its failure a visitor waits for no other one any more."""
    limiter, order = turns_of(4), list[str]()
    limiter.live = {"a": 1, "b": 2}
    await _fail(limiter, "a", LIMIT)
    clock.now += 59.9
    with pytest.raises(TokenRequestError) as raised:
        async with limiter.permit("a", is_new=False, seconds=0.06):
            pass
    assert raised.value.retry_after == pytest.approx(0.1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_take, limiter, "a", order)
        await anyio.wait_all_tasks_blocked()
        clock.now += 0.1
    assert order == ["a"]


async def test_who_failed_alone_asks(turns_of: TurnsMaker, clock: Clock) -> None:
    """A pool's only visitor asks as soon as the pause is over."""
    limiter, order = turns_of(4), list[str]()
    limiter.live = {"a": 1}
    await _fail(limiter, "a", LIMIT)
    clock.now += 31
    with anyio.fail_after(5.0):
        await _take(limiter, "a", order)
    assert order == ["a"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_probe_in_another_event_loop(turns_of: TurnsMaker, clock: Clock) -> None:
    """A success in one event loop wakes those who wait in another."""
    limiter, order, waits = turns_of(4), list[str](), threading.Event()
    await _fail(limiter, "a", LIMIT)
    clock.now += 31

    async def wait() -> None:
        task = asyncio.create_task(_take(limiter, "b", order))
        await asyncio.sleep(0)
        waits.set()
        await task

    async with anyio.create_task_group() as tasks:
        async with limiter.permit("probe", is_new=False, seconds=60.0) as probe:
            tasks.start_soon(anyio.to_thread.run_sync, asyncio.run, wait())
            await anyio.to_thread.run_sync(waits.wait)
            assert not order
            probe.succeeded()
    assert order == ["b"]


# Cooldowns


async def test_a_cooldown_outlives_its_session(turns_of: TurnsMaker, clock: Clock) -> None:
    """A pool remembers a visitor's own pause until it is over or forgotten, and no more than a thousand."""
    from wixvisitor._renewal.decision import Cooldown

    limiter, pause = turns_of(), Cooldown(clock.now, clock.now + 10, 1, OUTAGE)
    limiter.note_cooldown("a", pause)
    assert limiter.cooldown("a") is pause
    clock.now += 10
    assert limiter.cooldown("a") is None
    clock.now -= 5
    limiter.note_cooldown("a", None)
    assert limiter.cooldown("a") is None
    for number in range(1_001):
        limiter.note_cooldown(str(number), pause)
    assert limiter.cooldown("0") is None
    assert limiter.cooldown("1000") is pause


# The cap


async def _mint(limiter: Limiter, visitor: str, *, succeeds: bool = True) -> None:
    async with limiter.permit(visitor, is_new=True, seconds=60.0) as turn:
        turn.has_minted = succeeds


async def test_the_cap_for_new_visitors(turns_of: TurnsMaker, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """In any minute there are as many new visitors as may be; the next one is told when to try again."""
    limiter = turns_of(4, new_per_minute=3)
    for _ in range(3):
        await _mint(limiter, "new")
        clock.now += 10
    for later in range(2):
        with pytest.raises(TokenRequestError, match="new_visitors_per_minute") as raised:
            await _mint(limiter, "one more")
        assert raised.value.retry_after == 30.0 - later
        assert raised.value.status_code is None
        clock.now += 1
    assert len(caplog.records) == 1
    async with limiter.permit("old", is_new=False, seconds=1.0):
        pass
    clock.now += 28
    await _mint(limiter, "new")
    with pytest.raises(TokenRequestError):
        await _mint(limiter, "one more")
    assert limiter.pool_cooldown() is None


async def test_the_cap_counts_visitors(turns_of: TurnsMaker) -> None:
    """A mint that failed, or was not needed, counts for nothing."""
    limiter = turns_of(4, new_per_minute=1)
    for _ in range(5):
        await _mint(limiter, "new", succeeds=False)
    await _mint(limiter, "new")
    with pytest.raises(TokenRequestError):
        await _mint(limiter, "new")


async def test_the_cap_counts_when_they_are_made(turns_of: TurnsMaker, clock: Clock) -> None:
    """A new visitor that has queued for long counts for a minute from Wix's answer on, not from when it came."""
    limiter = turns_of(1, new_per_minute=1)
    async with limiter.permit("first", is_new=True, seconds=60.0) as first:
        clock.now += 50.0
        with pytest.raises(TokenRequestError) as raised:
            await _mint(limiter, "second")
        assert raised.value.retry_after == 60.0
        first.has_minted = True
    clock.now += 15.0
    with pytest.raises(TokenRequestError) as raised:
        await _mint(limiter, "third")
    assert raised.value.retry_after == 45.0
    clock.now += 45.0
    await _mint(limiter, "fourth")


async def test_the_cap_is_said_once_a_minute(
    turns_of: TurnsMaker, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A thousand visitors beyond the cap are one line in the log, and one more a minute later."""
    limiter = turns_of(4, new_per_minute=1)
    for _ in range(2):
        await _mint(limiter, "new")
        for _ in range(1_000):
            with pytest.raises(TokenRequestError):
                await _mint(limiter, "one more")
        clock.now += 60
    assert len(caplog.records) == 2
