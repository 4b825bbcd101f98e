"""The judgement after a fault, in virtual time: who was served in time, and who was not."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.faults.recovery import Answer, Verdict, recovered
from tests.faults.shoppers import ROOM, Shoppers
from wixvisitor import EMPTY_TOKENS

FAILURE = Answer("TokenRequestError")
SERVICE = Answer("404")
Ask = Callable[[str], Awaitable[Answer]]


def judged(ask: Ask) -> Verdict:
    """Returns what is found out about one visitor."""
    verdict: Verdict = trio.run(recovered, ["visitor"], ask, clock=MockClock(autojump_threshold=0))
    return verdict


def after(seconds: float, before: Answer = FAILURE) -> Ask:
    """Serves from so many seconds on, and says something else before."""

    async def ask(_: str) -> Answer:
        await trio.lowlevel.checkpoint()
        return SERVICE if trio.current_time() >= seconds else before

    return ask


@pytest.mark.parametrize("seconds", [0.0, 4.5])
def test_served_in_time(seconds: float) -> None:
    """Who is served within 5 s after the fault is served in time."""
    verdict = judged(after(seconds))
    assert verdict.wrong == []
    assert seconds <= verdict.served["visitor"] == verdict.late < seconds + 0.3


def test_served_too_late() -> None:
    """Who is not served within 5 s is told of, with what it was told."""
    [text] = judged(after(5.5)).wrong
    assert "5.0 s after the fault: TokenRequestError" in text


def test_no_answer() -> None:
    """A request that never ends is no service."""

    async def hang(_: str) -> Answer:
        await trio.sleep_forever()
        return SERVICE

    assert len(judged(hang).wrong) == 1


def paused_until(end: float) -> Callable[[str], Awaitable[Answer]]:
    """Names a pause that ends then, and serves 3 s after its end."""

    async def ask(_: str) -> Answer:
        await trio.lowlevel.checkpoint()
        now = trio.current_time()
        return SERVICE if now >= end + 3.0 else Answer("TokenRequestError", max(0.0, end - now))

    return ask


def test_served_after_a_pause() -> None:
    """Who was told of a pause has 5 s after its end."""
    verdict = judged(paused_until(20.0))
    assert verdict.wrong == []
    assert 3.0 <= verdict.late < 3.3


def test_pauses_without_an_end() -> None:
    """No pause may last longer than a minute, however often another one is named."""
    [text] = judged(after(1e6, Answer("TokenRequestError", 30.0))).wrong
    assert "65.0 s after the fault" in text


@pytest.mark.parametrize(("restart_helps", "seconds"), [(True, "5.0"), (False, "40.0")])
def test_late_ones_are_compared_with_a_restart(*, restart_helps: bool, seconds: str) -> None:
    """Who would be served after a restart is late at once; who would not be has half a minute more."""

    async def control(_: str) -> bool:
        await trio.lowlevel.checkpoint()
        return restart_helps

    verdict = trio.run(recovered, ["visitor"], after(1e6), control, clock=MockClock(autojump_threshold=0))
    assert f"{seconds} s after the fault" in verdict.wrong[0]


@pytest.mark.parametrize(("restarted_serves", "wrong"), [(True, 1), (False, 0)])
def test_a_restart_is_another_pool(*, restarted_serves: bool, wrong: int) -> None:
    """A visitor that the pool serves after 8 s is late only if another pool would have served it before."""

    def pool(seconds: float) -> Any:
        async def get(*_: object, **__: object) -> Any:
            await trio.lowlevel.checkpoint()
            return SimpleNamespace(status_code=404 if trio.current_time() >= seconds else 503)

        async def session(_: str) -> Any:
            return SimpleNamespace(get_tokens=lambda: EMPTY_TOKENS, get=get)

        return SimpleNamespace(session=session)

    @asynccontextmanager
    async def restarted() -> AsyncGenerator[Any]:
        yield pool(0.0 if restarted_serves else 8.0)

    async def judge() -> Verdict:
        shoppers = Shoppers(pool(8.0), {"visitor": 0.0}, random.Random(1), 0.0, print, 0, "trio", restarted)
        return await shoppers.judge(())

    assert len(trio.run(judge, clock=MockClock(autojump_threshold=0)).wrong) == wrong


@pytest.fixture
def files() -> Iterator[Callable[[int], None]]:
    """Opens so many files."""
    opened: list[int] = []

    def open_(number: int) -> None:
        opened.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(number))

    yield open_
    for one in opened:
        os.close(one)


@pytest.mark.parametrize(("number", "wrong"), [(ROOM // 2, 0), (ROOM + 10, 1)])
def test_descriptors_that_are_left(files: Callable[[int], None], number: int, wrong: int) -> None:
    """A heap of descriptors that is there long after a storm is told of."""
    pool: Any = None

    async def judge() -> Verdict:
        shoppers = Shoppers(pool, {}, random.Random(1), 0.0, print, 0, "trio")
        files(number)
        return await shoppers.judge(())

    assert len(trio.run(judge, clock=MockClock(autojump_threshold=0)).wrong) == wrong
