"""So many at once, the others in a line."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from wixvisitor._tasks.capacity import Capacity

pytestmark = pytest.mark.anyio


async def in_line(group: anyio.abc.TaskGroup, places: Capacity, number: int, got: list[int]) -> anyio.CancelScope:
    """Lets a task wait for a place; returns the scope that it waits in."""
    scope = anyio.CancelScope()

    async def wait() -> None:
        with scope:
            await places.acquire(None)
            got.append(number)

    group.start_soon(wait)
    await anyio.wait_all_tasks_blocked()
    return scope


async def test_places_are_given_in_order() -> None:
    """Who came first is first, and who comes late does not overtake those in the line."""
    places, got = Capacity(2), list[int]()
    assert places.try_acquire()
    assert places.try_acquire()
    async with anyio.create_task_group() as group:
        for number in range(3):
            await in_line(group, places, number, got)
        places.release()
        assert not places.try_acquire()
        await anyio.wait_all_tasks_blocked()
        assert got == [0]
        places.release()
        await anyio.wait_all_tasks_blocked()
        assert got == [0, 1]
        places.release()
    assert got == [0, 1, 2]
    for _ in range(2):
        places.release()
    assert (places.try_acquire(), places.try_acquire(), places.try_acquire()) == (True, True, False)


async def test_waiting_has_an_end() -> None:
    """After the seconds named there is a TimeoutError, and the line is empty again."""
    places = Capacity(1)
    await places.acquire(0.0)
    with pytest.raises(TimeoutError):
        await places.acquire(0.01)
    places.release()
    await places.acquire(0.0)


async def test_who_leaves_the_line_costs_no_place() -> None:
    """A place that was just given to a waiter that is cancelled goes to the next one."""
    places, got = Capacity(1), list[int]()
    assert places.try_acquire()
    async with anyio.create_task_group() as group:
        scopes = [await in_line(group, places, number, got) for number in range(4)]
        scopes[1].cancel()
        places.release()  # to the first, who is cancelled before it runs; it may have its place all the same
        scopes[0].cancel()
        for _ in range(3):
            await anyio.wait_all_tasks_blocked()
            if got and got[-1] != 3:
                places.release()
    assert got in ([2, 3], [0, 2, 3])
    assert not places.try_acquire()
    places.release()
    assert places.try_acquire()
    assert not places.try_acquire()


async def test_all_are_sent_away_at_once() -> None:
    """Those in the line go on together; with their places given back all is as before."""
    places, got = Capacity(1), list[int]()
    assert places.try_acquire()
    async with anyio.create_task_group() as group:
        for number in range(3):
            await in_line(group, places, number, got)
        places.release_all()
    assert sorted(got) == [0, 1, 2]
    assert not places.try_acquire()
    for _ in range(4):
        places.release()
    assert places.try_acquire()
    assert not places.try_acquire()
