"""The shoppers of one process: ordinary ones, storms of them, and those that judge whether a fault is over."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import anyio
import attrs
import httpx
import httpx2

from tests.faults.recovery import SOON, Answer, Verdict, recovered
from tests.faults.scarcity import descriptors
from tests.faults.truth import SHOPPER
from tests.storms import churn, churn_natively, impatient
from wixvisitor import TokenRequestError, VisitorPool, VisitorSession, WixVisitorError

CART: Final = "/ecom/v2/carts/current"
BOUND: Final = 40.0  # seconds in which every call has ended, a stop of the process included
DEADLINE: Final = 2.5  # seconds that a shopper waits for an answer
STORM_DEADLINE: Final = 0.8  # seconds; shorter than most outages
JUDGED: Final = 10  # visitors that each process asks for after a fault
ROOM: Final = 40  # descriptors beyond those of the start: connections to Wix and to the store, of a calm shop
TRANSPORT_ERRORS: Final = (httpx.TransportError, httpx2.TransportError)


@attrs.define(eq=False)
class Shoppers:
    """They share a pool.

    Attributes:
        births: for each key, from when on somebody shops under it (epoch seconds).
        pause: seconds between two requests of one shopper, on average.
        report: is told what should not have happened.
        callers: how many callers make a storm.
        backend: the event loop.
        restarted: opens another pool over another connection to the store, as a restart of the process does; its
            owner closes both. None: nothing is shared with another process.
        clock: epoch seconds.
        patience: seconds in which the connections of a storm are closed; idle ones are kept for 5.
        tally: how many calls have ended how.
        unwell: keys whose last call was not answered.
        is_over: whether the shop closes.
    """

    pool: VisitorPool
    births: Mapping[str, float]
    chance: random.Random
    pause: float
    report: Callable[[str], None]
    callers: int
    backend: str
    restarted: Callable[[], AbstractAsyncContextManager[VisitorPool]] | None = None
    clock: Callable[[], float] = time.time
    patience: float = 12.0
    tally: Counter[str] = attrs.field(factory=Counter)
    unwell: dict[str, None] = attrs.field(factory=dict)
    is_over: bool = False
    _at_start: int = attrs.field(factory=descriptors)

    async def shop(self) -> None:
        """Is one shopper after another: a few requests each, then the session is dropped."""
        while not self.is_over:
            key = self._some_key()
            for _ in range(self.chance.randint(1, 4)):
                await self._call(key)
                await anyio.sleep(self.chance.uniform(0, 2 * self.pause))

    async def storm(self, kind: str, seconds: float) -> None:
        """More callers than connections: ``impatient`` ones, or some that ``leave`` at any moment of their request."""
        if kind == "impatient":
            await impatient(self._stormy, callers=self.callers, deadline=STORM_DEADLINE, seconds=seconds)
            return
        end = anyio.current_time() + seconds
        while anyio.current_time() < end:
            await churn(self._stormy, callers=self.callers, rounds=5)
            if self.backend == "asyncio":
                await churn_natively(self._stormy, callers=self.callers, rounds=15)

    async def judge(self, keys: tuple[str, ...]) -> Verdict:
        """Says whether all are served in time, those first whose last call was not answered, and sockets are closed.

        Args:
            keys: those that the fault was about.
        """
        known = self._known_keys()
        first = [key for key in (*keys, *self.unwell) if key in known]
        chosen = dict.fromkeys([*first, *self.chance.sample(known, min(JUDGED, len(known)))])
        verdict = await recovered(
            list(chosen)[:JUDGED], self.ask, self._is_served_after_restart if self.restarted else None
        )
        with anyio.move_on_after(self.patience):
            while descriptors() > self._at_start + ROOM:
                await anyio.sleep(0.2)
                if chosen:  # idle connections are closed when a request ends
                    await self.ask(next(iter(chosen)))
        if (more := descriptors() - self._at_start) > ROOM:
            verdict.wrong.append(f"{more} descriptors are left {self.patience:g} s after the fault")
        return verdict

    async def _is_served_after_restart(self, key: str) -> bool:
        assert self.restarted is not None
        with anyio.move_on_after(SOON / 2):
            async with self.restarted() as pool:
                return (await attrs.evolve(self, pool=pool).ask(key)).is_service
        return False

    async def ask(self, key: str, sessions: dict[str, VisitorSession] | None = None) -> Answer:
        """Asks for a visitor's cart.

        Args:
            key: the visitor.
            sessions: keeps the sessions alive.
        """
        works = False
        try:
            session = await self.pool.session(key)
            if sessions is not None:
                sessions[key] = session
            works = session.get_tokens().access_token.expires_at > self.clock() + 1
            status = (await session.get(CART, params={SHOPPER: key})).status_code
            return Answer(str(status), self._pause_of(key) if status == 401 else 0.0)
        except TokenRequestError as error:
            return Answer(repr(error), 0.0 if works else error.retry_after or 0.0)
        except Exception as error:
            return Answer(repr(error))

    def _pause_of(self, key: str) -> float:
        """How long no token call is made for this visitor: a 401 that is passed on meanwhile does not say so."""
        limiter, now = self.pool._settings.limiter, self.clock()
        seconds = [pause.until - now for pause in (limiter.pool_cooldown(), limiter.cooldown(key)) if pause is not None]
        if limiter._breaker.cooldown is not None:
            seconds.append(limiter._breaker.seconds_to_wait(key, now))
        return max(seconds, default=0.0)

    def _known_keys(self) -> list[str]:
        return [key for key, birth in self.births.items() if birth <= self.clock()]

    def _some_key(self) -> str:
        return self.chance.choice(self._known_keys())

    async def _call(self, key: str) -> None:
        """Makes one request. One in ten is cancelled early, two in ten have a short deadline."""
        began, kind = time.monotonic(), self.chance.random()
        patience = self.chance.uniform(0.0, 0.03) if kind < 0.1 else DEADLINE
        if 0.1 <= kind < 0.3:
            patience = self.chance.uniform(0.1, 1.0)
        with anyio.move_on_after(patience) as scope:
            await self._counted(key, self._get)
        if scope.cancelled_caught:
            self._count(key, "left at its deadline" if patience >= 0.1 else "cancelled")
        if time.monotonic() - began > BOUND:
            self.report(f"a call for {key} took {time.monotonic() - began:.1f} s")

    async def _stormy(self) -> None:
        way = self.chance.choice((self._get, self._get, self._upload, self._stream))
        await self._counted(self._some_key(), way)

    async def _counted(self, key: str, way: Callable[[VisitorSession, str], Any]) -> None:
        try:
            self._count(key, f"answered {await way(await self.pool.session(key), key)}")
        except WixVisitorError as error:
            self._count(key, type(error).__name__)
        except TRANSPORT_ERRORS:
            self._count(key, "the API's connection broke")
        except Exception as error:
            self._count(key, "wrong")
            self.report(f"{type(error).__name__} for {key}: {error}")

    def _count(self, key: str, ended: str) -> None:
        self.tally[ended] += 1
        if ended.startswith("answered"):
            self.unwell.pop(key, None)
        else:
            self.unwell[key] = None

    async def _get(self, session: VisitorSession, key: str) -> object:
        return (await session.get(CART, params={SHOPPER: key})).status_code

    async def _upload(self, session: VisitorSession, key: str) -> object:
        """A body that comes in pieces; Wix cannot read it, and says so."""
        return (await session.post(CART, content=_Pieces(), params={SHOPPER: key})).status_code

    async def _stream(self, session: VisitorSession, key: str) -> object:
        """A response that is left before its end."""
        async with session.stream("GET", CART, params={SHOPPER: key}) as response:
            await anyio.sleep(0.002)
        return response.status_code


class _Pieces:
    """A body of three pieces; no generator, so that nothing is left to be closed when the request is cancelled."""

    def __init__(self) -> None:
        self._left = 3

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        self._left -= 1
        await anyio.sleep(0.003)
        return b"x" * 1_000
