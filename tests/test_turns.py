"""A pool's turns at the token endpoint: who is next, who is sent away, and how many new visitors there may be."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import attrs
import pytest

from wixvisitor import TokenRequestError
from wixvisitor._renewal.limiter import Turn, Turns

pytestmark = pytest.mark.anyio

LIMIT = TokenRequestError("slow down", status_code=429, request_id="r-1", retry_after=30.0)
OUTAGE = TokenRequestError("out of order", status_code=503)


@attrs.define
class Clock:
    """Epoch seconds that stand still."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


TurnsMaker = Callable[..., Turns]


@pytest.fixture
def turns_of(clock: Clock) -> TurnsMaker:
    def make(number: float = 1, **arguments: Any) -> Turns:
        return Turns(number, clock=clock, jitter=lambda: 1.0, **arguments)

    return make


async def _take(turns: Turns, visitor: str, order: list[str], *, is_new: bool = False) -> None:
    async with turns.turn(visitor, is_new=is_new, seconds=60.0):
        order.append(visitor)
        await anyio.lowlevel.checkpoint()


async def test_no_more_than_the_number(turns_of: TurnsMaker) -> None:
    """Of ten that want a turn at most three have one at a time, and all get theirs."""
    turns, most, order = turns_of(3), 0, list[str]()

    async def work(visitor: str) -> None:
        nonlocal most
        async with turns.turn(visitor, is_new=False, seconds=60.0):
            most = max(most, turns.under_way)
            await anyio.lowlevel.checkpoint()
            order.append(visitor)

    async with anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(work, str(number))
    assert (most, len(order), turns.under_way) == (3, 10, 0)


async def test_no_turn_in_time(turns_of: TurnsMaker) -> None:
    """A visitor that gets no turn is told which setting it is about, and takes none away."""
    turns = turns_of()
    async with turns.turn("a", is_new=False, seconds=60.0):
        with pytest.raises(TokenRequestError, match=r"max_token_requests.*try later"):
            async with turns.turn("b", is_new=False, seconds=0.0):
                pass
    async with turns.turn("b", is_new=False, seconds=0.5):
        pass


async def test_cancelled_waiter(turns_of: TurnsMaker) -> None:
    """A waiter that is cancelled leaves its place to the next one."""
    turns, order = turns_of(), list[str]()
    async with anyio.create_task_group() as tasks, anyio.create_task_group() as leaving:
        async with turns.turn("first", is_new=False, seconds=60.0):
            leaving.start_soon(_take, turns, "leaves", order)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(_take, turns, "stays", order)
            await anyio.wait_all_tasks_blocked()
            leaving.cancel_scope.cancel()
            await anyio.wait_all_tasks_blocked()
    assert order == ["stays"]
    assert turns.under_way == 0


async def test_a_turn_given_to_a_cancelled_waiter_is_the_next_ones(turns_of: TurnsMaker) -> None:
    """A waiter that is given its turn and cancelled in the same moment frees it."""
    turns, order = turns_of(), list[str]()
    async with anyio.create_task_group() as tasks, anyio.create_task_group() as leaving:
        async with turns.turn("first", is_new=False, seconds=60.0):
            leaving.start_soon(_take, turns, "leaves", order)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(_take, turns, "stays", order)
            await anyio.wait_all_tasks_blocked()
        leaving.cancel_scope.cancel()
    assert order[-1] == "stays"
    assert turns.under_way == 0


async def test_a_failure_gives_the_turn_back(turns_of: TurnsMaker) -> None:
    """A turn ends with its block, however that ends."""
    turns = turns_of()
    for _ in range(3):
        with pytest.raises(KeyError):
            async with turns.turn("a", is_new=False, seconds=0.5):
                raise KeyError


async def test_without_a_number(clock: Clock) -> None:
    """A session by itself waits for no other visitor, heeds no pause, and leaves nothing behind."""
    turns, order = Turns(clock=clock, jitter=lambda: 1.0), list[str]()
    async with turns.turn("a", is_new=True, seconds=0.5) as turn, anyio.create_task_group() as tasks:
        turn.failed(LIMIT)
        for number in range(100):
            tasks.start_soon(_take, turns, str(number), order)
    assert len(order) == 100
    assert turns.pause() is None
    assert not turns._queues


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_each_event_loop_counts_for_itself(turns_of: TurnsMaker) -> None:
    """A turn that is held in one event loop holds no visitor up in another; loops that ended are forgotten."""
    turns = turns_of()
    async with turns.turn("a", is_new=False, seconds=60.0):
        for _ in range(3):
            await anyio.to_thread.run_sync(asyncio.run, _take(turns, "b", []))
        assert len(turns._queues) == 2


# Who goes first


async def test_who_has_a_visitor_goes_first(turns_of: TurnsMaker) -> None:
    """Renewals go before new visitors that came earlier; while both wait, every fourth turn is a new visitor's."""
    turns, order = turns_of(), list[str]()
    async with anyio.create_task_group() as tasks:
        async with turns.turn("first", is_new=True, seconds=60.0):
            for number in range(4):
                tasks.start_soon(lambda name: _take(turns, name, order, is_new=True), f"new {number}")
                await anyio.wait_all_tasks_blocked()
            for number in range(7):
                tasks.start_soon(_take, turns, f"old {number}", order)
                await anyio.wait_all_tasks_blocked()
    assert order == [
        *("old 0", "old 1", "old 2", "new 0"),
        *("old 3", "old 4", "old 5", "new 1"),
        *("old 6", "new 2", "new 3"),
    ]


async def test_who_has_a_visitor_asks_first_after_a_pause(turns_of: TurnsMaker, clock: Clock) -> None:
    """After a probe has succeeded the renewals that waited for it go before the new visitors."""
    turns, order = turns_of(), list[str]()
    await _fail(turns, "a", LIMIT)
    clock.now += 31
    async with anyio.create_task_group() as tasks:
        async with turns.turn("probe", is_new=False, seconds=60.0) as probe:
            tasks.start_soon(lambda: _take(turns, "new", order, is_new=True))
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(_take, turns, "old", order)
            await anyio.wait_all_tasks_blocked()
            probe.succeeded()
    assert order == ["old", "new"]


# The pause


async def _fail(turns: Turns, visitor: str, error: TokenRequestError) -> None:
    async with turns.turn(visitor, is_new=False, seconds=60.0) as turn:
        turn.failed(error)


async def test_a_pause_sends_all_away(turns_of: TurnsMaker, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Who waits for a turn when a pause begins, and who comes later, gets its cause at once; one line is logged."""
    turns, errors = turns_of(), list[TokenRequestError]()

    async def wait(visitor: str) -> None:
        with pytest.raises(TokenRequestError) as raised:
            await _take(turns, visitor, [])
        errors.append(raised.value)

    with caplog.at_level(logging.INFO, "wixvisitor"):
        async with anyio.create_task_group() as tasks:
            async with turns.turn("a", is_new=False, seconds=60.0) as turn:
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
    turns, order = turns_of(4), list[str]()
    await _fail(turns, "a", LIMIT)
    clock.now += 31
    async with anyio.create_task_group() as tasks:
        async with turns.turn("probe", is_new=False, seconds=60.0) as probe:
            for number in range(3):
                tasks.start_soon(_take, turns, str(number), order)
            await anyio.wait_all_tasks_blocked()
            assert not order
            probe.succeeded()
            await anyio.wait_all_tasks_blocked()
            assert sorted(order) == ["0", "1", "2"]


async def test_if_the_probe_fails_all_get_its_error(turns_of: TurnsMaker, clock: Clock) -> None:
    """Who waits for the probe gets the probe's failure, and the pause doubles."""
    turns, errors = turns_of(4), list[TokenRequestError]()
    for visitor in "abc":
        await _fail(turns, visitor, OUTAGE)
    clock.now += 1

    async def wait(visitor: str) -> None:
        with pytest.raises(TokenRequestError) as raised:
            await _take(turns, visitor, [])
        errors.append(raised.value)

    async with anyio.create_task_group() as tasks:
        async with turns.turn("probe", is_new=False, seconds=60.0) as probe:
            for number in range(3):
                tasks.start_soon(wait, str(number))
            await anyio.wait_all_tasks_blocked()
            probe.failed(TokenRequestError("worse", status_code=500))
            await anyio.wait_all_tasks_blocked()
            assert [(error.status_code, error.retry_after) for error in errors] == [(500, 2.0)] * 3


async def test_a_probe_that_leaves_is_followed(turns_of: TurnsMaker, clock: Clock) -> None:
    """A probe that ends without an answer, by a cancellation for instance, is followed by the next visitor."""
    turns, order = turns_of(4), list[str]()
    await _fail(turns, "a", LIMIT)
    clock.now += 31
    async with anyio.create_task_group() as tasks:
        async with turns.turn("probe", is_new=False, seconds=60.0):
            tasks.start_soon(_take, turns, "b", order)
            tasks.start_soon(_take, turns, "c", order)
            await anyio.wait_all_tasks_blocked()
            assert not order
    assert sorted(order) == ["b", "c"]


async def test_waiting_for_the_probe_ends(turns_of: TurnsMaker, clock: Clock) -> None:
    """Who waits for a probe longer than it may gets the last pause's cause."""
    turns = turns_of(4)
    await _fail(turns, "a", LIMIT)
    clock.now += 31
    async with turns.turn("probe", is_new=False, seconds=60.0):
        with pytest.raises(TokenRequestError, match="slow down"):
            async with turns.turn("b", is_new=False, seconds=0.01):
                pass


async def test_a_pause_that_began_since(turns_of: TurnsMaker, clock: Clock) -> None:
    """Who has a turn, and is busy with the store while a pause begins, does not ask; after it, the probe goes first."""
    turns = turns_of(4)
    async with turns.turn("slow", is_new=False, seconds=60.0) as slow:
        await slow.confirm(60.0)  # no pause: nothing is waited for
        await _fail(turns, "other", LIMIT)
        with pytest.raises(TokenRequestError) as raised:
            await slow.confirm(60.0)
        assert (raised.value.status_code, raised.value.retry_after) == (429, 30.0)
    assert not turns.under_way


async def test_a_turn_from_before_the_pause(turns_of: TurnsMaker, clock: Clock) -> None:
    """Who has a turn from before the pause waits for the probe, or is the probe if there is none."""
    turns = turns_of(4)
    confirmed = list[str]()

    async def confirm(turn: Turn) -> None:
        await turn.confirm(60.0)
        confirmed.append(turn.visitor)

    async with (
        turns.turn("one", is_new=False, seconds=60.0) as one,
        turns.turn("two", is_new=False, seconds=60.0) as two,
        anyio.create_task_group() as tasks,
    ):
        await _fail(turns, "other", LIMIT)
        clock.now += 30.0
        await one.confirm(60.0)
        await one.confirm(60.0)  # it is the probe still
        tasks.start_soon(confirm, two)
        await anyio.wait_all_tasks_blocked()
        assert confirmed == []
        one.succeeded()
        await anyio.wait_all_tasks_blocked()
        assert confirmed == ["two"]
    assert not turns.under_way


def _slow_down() -> None:
    raise TokenRequestError("slow down", status_code=429, retry_after=30.0)


async def test_the_pauses_cause_has_no_frames(turns_of: TurnsMaker) -> None:
    """What other visitors are told has no frames of the call that failed: there is a refresh token in them."""
    turns = turns_of(2)
    async with turns.turn("first", is_new=False, seconds=60.0) as first:
        with pytest.raises(TokenRequestError) as caught:
            _slow_down()
        first.failed(caught.value)
        with pytest.raises(TokenRequestError) as raised:
            await _take(turns, "second", [])
    cause = raised.value.__cause__
    assert isinstance(cause, TokenRequestError)
    assert cause.__traceback__ is None


async def test_who_failed_waits_for_another(turns_of: TurnsMaker, clock: Clock) -> None:
    """After the pause a visitor whose last call failed goes when another one has asked, though it came earlier."""
    turns, order = turns_of(4), list[str]()
    turns.live = {"a": 1, "b": 2}
    await _fail(turns, "a", LIMIT)
    clock.now += 31
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_take, turns, "a", order)
        await anyio.wait_all_tasks_blocked()
        assert not order
        async with turns.turn("b", is_new=False, seconds=60.0) as probe:
            order.append("b")
            probe.succeeded()
    assert order == ["b", "a"]


async def test_who_failed_waits_for_60_s(turns_of: TurnsMaker, clock: Clock) -> None:
    """Sixty seconds after its failure a visitor waits for no other one any more."""
    turns, order = turns_of(4), list[str]()
    turns.live = {"a": 1, "b": 2}
    await _fail(turns, "a", LIMIT)
    clock.now += 59.9
    with pytest.raises(TokenRequestError) as raised:
        async with turns.turn("a", is_new=False, seconds=0.06):
            pass
    assert raised.value.retry_after == pytest.approx(0.1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_take, turns, "a", order)
        await anyio.wait_all_tasks_blocked()
        clock.now += 0.1
    assert order == ["a"]


async def test_who_failed_alone_asks(turns_of: TurnsMaker, clock: Clock) -> None:
    """A pool's only visitor asks as soon as the pause is over."""
    turns, order = turns_of(4), list[str]()
    turns.live = {"a": 1}
    await _fail(turns, "a", LIMIT)
    clock.now += 31
    with anyio.fail_after(5.0):
        await _take(turns, "a", order)
    assert order == ["a"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_probe_in_another_event_loop(turns_of: TurnsMaker, clock: Clock) -> None:
    """A success in one event loop wakes those who wait in another."""
    turns, order, waits = turns_of(4), list[str](), threading.Event()
    await _fail(turns, "a", LIMIT)
    clock.now += 31

    async def wait() -> None:
        task = asyncio.create_task(_take(turns, "b", order))
        await asyncio.sleep(0)
        waits.set()
        await task

    async with anyio.create_task_group() as tasks:
        async with turns.turn("probe", is_new=False, seconds=60.0) as probe:
            tasks.start_soon(anyio.to_thread.run_sync, asyncio.run, wait())
            await anyio.to_thread.run_sync(waits.wait)
            assert not order
            probe.succeeded()
    assert order == ["b"]


# Cooldowns


async def test_a_cooldown_outlives_its_session(turns_of: TurnsMaker, clock: Clock) -> None:
    """A pool remembers a visitor's own pause until it is over or forgotten, and no more than a thousand."""
    from wixvisitor._renewal.decision import Pause

    turns, pause = turns_of(), Pause(clock.now, clock.now + 10, 1, OUTAGE)
    turns.note_cooldown("a", pause)
    assert turns.cooldown("a") is pause
    clock.now += 10
    assert turns.cooldown("a") is None
    clock.now -= 5
    turns.note_cooldown("a", None)
    assert turns.cooldown("a") is None
    for number in range(1_001):
        turns.note_cooldown(str(number), pause)
    assert turns.cooldown("0") is None
    assert turns.cooldown("1000") is pause


# The cap


async def _mint(turns: Turns, visitor: str, *, succeeds: bool = True) -> None:
    async with turns.turn(visitor, is_new=True, seconds=60.0) as turn:
        turn.has_minted = succeeds


async def test_the_cap_for_new_visitors(turns_of: TurnsMaker, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """In any minute there are as many new visitors as may be; the next one is told when to try again."""
    turns = turns_of(4, new_per_minute=3)
    for _ in range(3):
        await _mint(turns, "new")
        clock.now += 10
    for later in range(2):
        with pytest.raises(TokenRequestError, match="new_visitors_per_minute") as raised:
            await _mint(turns, "one more")
        assert raised.value.retry_after == 30.0 - later
        assert raised.value.status_code is None
        clock.now += 1
    assert len(caplog.records) == 1
    async with turns.turn("old", is_new=False, seconds=1.0):
        pass
    clock.now += 28
    await _mint(turns, "new")
    with pytest.raises(TokenRequestError):
        await _mint(turns, "one more")
    assert turns.pause() is None


async def test_the_cap_counts_visitors(turns_of: TurnsMaker) -> None:
    """A mint that failed, or was not needed, counts for nothing."""
    turns = turns_of(4, new_per_minute=1)
    for _ in range(5):
        await _mint(turns, "new", succeeds=False)
    await _mint(turns, "new")
    with pytest.raises(TokenRequestError):
        await _mint(turns, "new")


async def test_the_cap_counts_when_they_are_made(turns_of: TurnsMaker, clock: Clock) -> None:
    """A new visitor that has queued for long counts for a minute from Wix's answer on, not from when it came."""
    turns = turns_of(1, new_per_minute=1)
    async with turns.turn("first", is_new=True, seconds=60.0) as first:
        clock.now += 50.0
        with pytest.raises(TokenRequestError) as raised:
            await _mint(turns, "second")
        assert raised.value.retry_after == 60.0
        first.has_minted = True
    clock.now += 15.0
    with pytest.raises(TokenRequestError) as raised:
        await _mint(turns, "third")
    assert raised.value.retry_after == 45.0
    clock.now += 45.0
    await _mint(turns, "fourth")


async def test_the_cap_is_said_once_a_minute(
    turns_of: TurnsMaker, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A thousand visitors beyond the cap are one line in the log, and one more a minute later."""
    turns = turns_of(4, new_per_minute=1)
    for _ in range(2):
        await _mint(turns, "new")
        for _ in range(1_000):
            with pytest.raises(TokenRequestError):
                await _mint(turns, "one more")
        clock.now += 60
    assert len(caplog.records) == 2
