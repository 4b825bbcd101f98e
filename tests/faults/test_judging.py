"""The judgement after a fault, in virtual time: who was served in time, and who was not."""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.faults.recovery import Answer, Verdict, recovered
from tests.faults.shoppers import ROOM, Shoppers

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
