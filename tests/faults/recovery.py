"""The judgement after a fault: is everybody served again in time, without a restart?

A visitor whose token works is served within 5 s. A visitor that needs a token call is served within 5 s after the end
of its pause, which is known from ``retry_after`` of the last error that it was told.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import anyio
import attrs

SOON: Final = 5.0  # seconds
MAX_COOLDOWN: Final = 60.0  # seconds that a pause lasts at most if Wix names no time
MOST_MORE: Final = 30.0  # seconds
TICK: Final = 0.05  # seconds
AGAIN: Final = 0.2  # seconds between two requests for a visitor; callers may ask before the end of a pause
SERVED: Final = ("200", "404")  # statuses of an answer about the visitor's cart


@attrs.frozen
class Answer:
    """What a caller was told.

    Attributes:
        said: the status, or the error.
        pause: seconds that the error's ``retry_after`` named; 0.0 if it named none, or if the visitor's token works.
    """

    said: str
    pause: float = 0.0

    @property
    def is_service(self) -> bool:
        """Whether the caller was served."""
        return self.said in SERVED


@attrs.define
class Verdict:
    """What was found out.

    Attributes:
        served: by visitor, after how many seconds it was served.
        late: the most seconds that any of them was served after the end of its pause, or of the fault.
        wrong: a sentence for each visitor that was not served in time.
    """

    served: dict[str, float] = attrs.field(factory=dict)
    late: float = 0.0
    wrong: list[str] = attrs.field(factory=list)


Ask = Callable[[str], Awaitable[Answer]]
Control = Callable[[str], Awaitable[bool]]


async def recovered(visitors: Iterable[str], ask: Ask, control: Control | None = None) -> Verdict:
    """Asks for all visitors at once, again and again until each is served or its time is over.

    Seconds in which this process could not run, because the machine is busy, do not count.

    Args:
        visitors: their keys.
        ask: makes one request for a visitor.
        control: whether a visitor would be served soon after a restart. Where it is not, because the store or Wix
            cannot run on a busy machine, its time is extended, by half a minute at most. None: no time is extended.
    """
    judge = _Judge(ask, control)
    async with anyio.create_task_group() as watching:
        watching.start_soon(judge.watch)
        async with anyio.create_task_group() as tasks:
            for visitor in visitors:
                tasks.start_soon(judge.judge, visitor)
        watching.cancel_scope.cancel()
    return judge.verdict


@attrs.define
class _Judge:
    ask: Ask
    control: Control | None
    verdict: Verdict = attrs.field(factory=Verdict)
    lost: float = 0.0  # seconds in which this process could not run

    async def watch(self) -> None:
        while True:
            began = anyio.current_time()
            await anyio.sleep(TICK)
            self.lost += max(0.0, anyio.current_time() - began - 2 * TICK)

    async def judge(self, visitor: str) -> None:
        began = last_due = anyio.current_time()  # ``last_due``: the end of the fault, or of the visitor's pause
        answer, more = Answer("no answer"), 0.0
        while True:
            due = min(last_due, began + MAX_COOLDOWN) + SOON + self.lost + more
            with anyio.CancelScope(deadline=due):
                answer = await self.ask(visitor)
                now = anyio.current_time()
                if answer.is_service:
                    self.verdict.served[visitor] = now - began
                    self.verdict.late = max(self.verdict.late, now - last_due - self.lost)
                    return
                if answer.pause:
                    last_due = now + answer.pause
                await anyio.sleep(AGAIN)
            if anyio.current_time() < due:
                continue
            if self.control is None or more > MOST_MORE or await self.control(visitor):
                break
            more += SOON
        paused = f", {last_due - began:.1f} s of them a pause" if last_due > began else ""
        seconds = anyio.current_time() - began
        self.verdict.wrong.append(f"{visitor} is not served {seconds:.1f} s after the fault{paused}: {answer.said}")
