"""The many visitors of one pool: they come together, go on trying, obey what they are told, and crawl."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import httpx

from wixvisitor import TokenRequestError, VisitorSession, WixVisitorError

from .shopper import Shopper
from .watch import wall_clock

if TYPE_CHECKING:
    from .life import Life

_TRIES = 60
_AGAIN = 0.02  # seconds after what one was told, at which one tries again
_PROMPT = 5.0  # seconds after the end of its pause, in which everybody is served
_OTHERS = 60.0  # seconds that a visitor whose own call has failed waits for the others


class Crowd(Shopper):
    """All visitors of one process who do not shop: some act at once, others one by one."""

    def __init__(self, life: Life) -> None:
        super().__init__(life)
        self._bots = 0

    async def run(self) -> None:
        """Comes and goes until the faults are over, and a last time when they are."""
        scenario, actions = self._world.scenario, (self._rush, self._insist, self._crawl, self._sleep)
        await self._rush()
        while self._process.scheduler.now < scenario.faults_end:
            await anyio.sleep(self._chance.expovariate(1 / 5.0))
            await self._chance.choice(actions)()
        await self._rush()

    async def _sleep(self) -> None:
        """Long enough for all tokens to expire."""
        await anyio.sleep(self._world.scenario.lifetime * self._chance.choice((0.8, 1.1)))

    async def _rush(self) -> None:
        """Many come at once, and obey."""
        keys = self._world.scenario.crowd
        async with anyio.create_task_group() as group:
            for key in self._chance.sample(keys, self._chance.randint(len(keys) // 2, len(keys))):
                group.start_soon(self._obey, key)

    async def _insist(self) -> None:
        """They come one after the other, whatever they are told."""
        scenario = self._world.scenario
        pause = self._chance.choice((0.1, 0.5, 2.0))
        async with anyio.create_task_group() as group:
            for _ in range(self._chance.randint(5, 25)):
                group.start_soon(self._visit, self._chance.choice(scenario.crowd))
                await anyio.sleep(self._chance.expovariate(1 / pause))

    async def _crawl(self) -> None:
        """A crawler that keeps no cookies, while the others' tokens have expired."""
        await anyio.sleep(1.1 * self._world.scenario.lifetime)
        keys = self._world.scenario.crowd
        async with anyio.create_task_group() as group:
            for _ in range(self._chance.choice((10, 30))):
                self._bots += 1
                group.start_soon(self._crawl_once, f"{self._process.name} bot {self._life.number}-{self._bots}")
            await anyio.sleep(self._chance.uniform(0.1, 1.0))
            for key in self._chance.sample(keys, min(5, len(keys))):
                group.start_soon(self._visit, key)

    async def _crawl_once(self, key: str) -> None:
        try:
            await self._life.call(key, await self._life.stranger(key))
        except (WixVisitorError, httpx.HTTPError):
            return

    async def _obey(self, key: str) -> None:
        """Tries again when one was told to, until one is served."""
        for _ in range(_TRIES):
            error, since = await self._visit(key), self._process.scheduler.now
            if not isinstance(error, TokenRequestError):
                return
            if self._world.is_poisoned(key) or since > self._world.scenario.faults_end + 90.0:
                return
            await anyio.sleep(min(error.retry_after or 1.0, 300.0) + _AGAIN)

    async def _visit(self, key: str) -> BaseException | None:
        """One call. Returns what was told instead of an answer."""
        site, process, world = self._life.site, self._process, self._world
        assert site is not None
        try:
            session = await self._life.session(key)
        except WixVisitorError as error:
            return error
        since, stopped = process.scheduler.now, process.stopped_for
        works, is_idle, is_own = self._works(session), self._watch.is_idle(process, key), site.is_its_own(key)
        if not works and is_idle and session.get_tokens().refresh_token.value:
            site.waits(key)
        told: BaseException | None = None
        try:
            await self._life.call(key, session)
        except (WixVisitorError, httpx.HTTPError) as error:
            told = error
        site.has_waited(key)
        seconds = self._seconds(since, stopped)
        self._watch.ended(process, f"a visit of {key}", seconds, told)
        stopped = process.stopped_for - stopped
        if isinstance(told, TokenRequestError):
            site.told(key, told, since, is_idle=is_idle, stopped=stopped)
            if works and not stopped:
                self._watch.fail(10, f"{process.name} does not serve {key}, whose token works: {told}")
        if world.is_calm_since < since and not stopped and not world.is_poisoned(key):
            self._is_prompt(key, seconds, told, is_own=is_own)
        return told

    def _is_prompt(self, key: str, seconds: float, told: BaseException | None, *, is_own: bool) -> None:
        """Rule 7: once all is well, whoever comes after its pause is served soon, apart from those who queue."""
        scenario, site = self._world.scenario, self._life.site
        assert site is not None
        queue = 1.5 * (len(scenario.crowd) + 30) / scenario.max_token_requests
        most = _PROMPT + queue + (_OTHERS if is_own else 0.0)
        if told is None and seconds > most:
            self._watch.fail(7, f"{self._process.name} serves {key} after {seconds:.1f} s, though all is well")

    def _works(self, session: VisitorSession) -> bool:
        """Whether this visitor holds a token that works, as far as it can know."""
        now, tokens = wall_clock(self._process, self._life.skew), session.get_tokens()
        value = tokens.access_token.value
        return bool(value) and tokens.access_token.expires_at > now and not self._watch.is_doubted(self._process, value)
