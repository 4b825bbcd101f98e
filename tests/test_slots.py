"""A pool's turns at the token endpoint."""

from __future__ import annotations

import asyncio

import anyio
import anyio.lowlevel
import pytest

from wixvisitor import TokenRequestError
from wixvisitor._slots import Slots

pytestmark = pytest.mark.anyio


async def test_no_more_than_the_number() -> None:
    """Of ten that want a turn at most three have one at a time, and all get theirs."""
    slots, under_way, most, done = Slots(3), 0, 0, 0

    async def work() -> None:
        nonlocal under_way, most, done
        async with slots.turn(60.0):
            under_way += 1
            most = max(most, under_way)
            await anyio.lowlevel.checkpoint()
            under_way -= 1
            done += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(work)
    assert (most, done) == (3, 10)


async def test_no_turn_in_time() -> None:
    """Who gets no turn is told which setting it is about, and takes none away."""
    slots = Slots(1)
    async with slots.turn(60.0):
        with pytest.raises(TokenRequestError, match=r"max_token_requests.*try later"):
            async with slots.turn(0.0):
                pass
    async with slots.turn(0.5):
        pass


async def test_cancelled_waiter() -> None:
    """A waiter that is cancelled leaves its place to the next one."""
    slots = Slots(1)
    served: list[str] = []

    async def wait(name: str, scope: anyio.CancelScope) -> None:
        with scope:
            async with slots.turn(60.0):
                served.append(name)

    async with anyio.create_task_group() as tasks:
        leaving = anyio.CancelScope()
        async with slots.turn(60.0):
            tasks.start_soon(wait, "leaves", leaving)
            tasks.start_soon(wait, "stays", anyio.CancelScope())
            await anyio.wait_all_tasks_blocked()
            leaving.cancel()
    assert served == ["stays"]


async def test_a_failure_gives_the_turn_back() -> None:
    """A turn ends with its block, however that ends."""
    slots = Slots(1)
    for _ in range(3):
        with pytest.raises(KeyError):
            async with slots.turn(0.5):
                raise KeyError


async def test_without_a_number() -> None:
    """A session on its own waits for nobody, and leaves nothing in the event loop."""
    slots = Slots()
    async with slots.turn(0.5), anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(_turn, slots)
    assert slots._limiter.get(None) is None


async def _turn(slots: Slots) -> None:
    async with slots.turn(0.5):
        pass


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_each_event_loop_counts_for_itself() -> None:
    """A turn that is held in one event loop holds nobody up in another."""
    slots = Slots(1)
    async with slots.turn(60.0):
        await anyio.to_thread.run_sync(asyncio.run, _turn(slots))
