"""Storms over real sockets: callers with deadlines, callers that are cancelled, and what must be left after them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import attrs

from tests.constants import CART
from wixvisitor import VisitorSession
from wixvisitor.testing import FakeWix

Call = Callable[[], Awaitable[object]]


@attrs.define
class Left:
    """How callers left: seconds after their deadline, and how many had an answer."""

    late: list[float] = attrs.field(factory=list)
    served: int = 0


async def impatient(call: Call, *, callers: int, deadline: float, seconds: float) -> Left:
    """As many callers ask again and again, each time with a deadline."""
    left, end = Left(), anyio.current_time() + seconds

    async def caller() -> None:
        while anyio.current_time() < end:
            due = anyio.current_time() + deadline
            with anyio.move_on_after(deadline) as scope:
                await call()
                left.served += 1
            if scope.cancelled_caught:
                left.late.append(anyio.current_time() - due)

    async with anyio.create_task_group() as group:
        for _ in range(callers):
            group.start_soon(caller)
    return left


async def churn(call: Call, *, callers: int, rounds: int) -> None:
    """As many callers begin a request and leave it after a moment that is another one each time."""

    async def caller(number: int) -> None:
        for turn in range(rounds):
            with anyio.move_on_after(0.002 * ((number + turn) % 7)):
                await call()

    async with anyio.create_task_group() as group:
        for number in range(callers):
            group.start_soon(caller, number)


async def churn_natively(call: Call, *, callers: int, rounds: int) -> None:
    """The same by asyncio's own means: tasks that are cancelled twice, and ``asyncio.timeout``."""

    async def twice(number: int) -> None:
        for turn in range(rounds):
            task = asyncio.ensure_future(call())
            await asyncio.sleep(0.001 * ((number + turn) % 9))
            task.cancel()
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def timed(number: int) -> None:
        for turn in range(rounds):
            with suppress(TimeoutError):
                async with asyncio.timeout(0.001 * ((number + turn) % 9)):
                    await call()

    await asyncio.gather(*map(twice, range(callers // 2)), *map(timed, range(callers // 2)))


async def all_is_well(session: VisitorSession, *, calls: int = 20) -> None:
    """Requests one by one and together are answered, and a renewal works, all within seconds."""
    with anyio.fail_after(10):
        for _ in range(calls):
            assert (await session.get(CART)).status_code in (200, 404)
        await session.renew_token()
        async with anyio.create_task_group() as group:
            for _ in range(calls):
                group.start_soon(session.get, CART)


@asynccontextmanager
async def hanging(fake: FakeWix, path: str = CART) -> AsyncIterator[None]:
    """As long as the block, this path is never answered."""
    fault = fake.hang(path=path, times=None)
    try:
        yield
    finally:
        fault.remove()


def descriptors() -> int:
    """How many descriptors this process has open; always 0 on Windows, which does not list them."""
    return 0 if sys.platform == "win32" else len(list(Path("/dev/fd").iterdir()))
