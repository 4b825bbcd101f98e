"""One coroutine of a process: calls, cancels, times out, logs in and out, and asks for things at bad moments."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import anyio
import httpx

from wixvisitor import EMPTY_TOKENS, AccessToken, RefreshToken, TokenRole, Tokens, WixVisitorError

from .watch import wall_clock

if TYPE_CHECKING:
    from .life import Life

_MOST_AFTER_CLOSING = 6.0  # seconds, after which nobody waits any more who waited when the app was closed: closing
# takes 3, giving a lease back 2, and the store's last steps 0.5
Call = Callable[[], Awaitable[object]]
Action = Callable[[str], Awaitable[None]]


class Shopper:
    """A shopper, who acts at random."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._process = life.process
        self._world = life.world
        self._watch = life.world.watch
        self._chance = life.process.scheduler.random

    async def run(self) -> None:
        """Shops until the faults are over."""
        scenario, actions = self._world.scenario, self._actions()
        while self._process.scheduler.now < scenario.faults_end:
            await anyio.sleep(self._chance.expovariate(1 / scenario.thinking))
            action = self._chance.choices(list(actions), list(actions.values()))[0]
            await action(self._chance.choice(scenario.keys))

    def _actions(self) -> dict[Action, int]:
        """What it does, and how often."""
        scenario = self._world.scenario
        actions: dict[Action, int] = {
            self._call: 24,
            self._add: 8,
            self._herd: 12,
            self._cancelled: 12,
            self._out_of_time: 8,
            self._idle: 10,
            self._renew: 5,
            self._generate: 5,
            self._log_in: 3,
            self._log_in_amid_a_call: 5,
            self._log_out: 2,
            self._let_go: 6,
            self._forget: 1,
        }
        if scenario.closes:
            actions |= {self._reopen: 6, self._set_close_and_set: 30, self._set_twice: 30}
        if scenario.rollbacks:
            actions |= {self._forget: 4, self._log_out: 4}
        return actions

    async def _call(self, key: str) -> None:
        await self._measured(key, f"a call for {key}", lambda: self._api(key))

    async def _api(self, key: str) -> None:
        await self._life.call(key, await self._life.session(key))

    async def _add(self, key: str) -> None:
        """Puts something into the cart, which must not happen twice: a body is replayed only if it was turned away."""
        thing, answers = self._watch.new_thing(), list[httpx.Response]()

        async def add() -> None:
            answers.append(await self._life.add(key, await self._life.session(key), thing))

        await self._measured(key, f"add to the cart of {key}", add)
        self._watch.has_put(self._process, key, thing, was_told=bool(answers) and answers[0].is_success)

    async def _herd(self, key: str) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(self._chance.randint(2, 6)):
                group.start_soon(self._call, key)

    async def _cancelled(self, key: str) -> None:
        """Calls that are cancelled after a moment, from outside."""
        async with anyio.create_task_group() as group:
            for _ in range(self._chance.randint(1, 3)):
                group.start_soon(self._call, key)
            await anyio.sleep(self._chance.expovariate(2.0))
            since, stopped = self._process.scheduler.now, self._process.stopped_for
            group.cancel_scope.cancel()
        self._watch.cancelled(self._process, f"a call for {key}", self._seconds(since, stopped))

    async def _out_of_time(self, key: str) -> None:
        """A call with a deadline, anyio's or on asyncio its own."""
        seconds = self._chance.expovariate(2.0)
        since, stopped = self._process.scheduler.now, self._process.stopped_for
        if self._world.backend == "asyncio" and self._chance.random() < 0.5:
            try:
                async with asyncio.timeout(seconds):
                    await self._call(key)
            except TimeoutError:
                pass
            else:
                return
        else:
            with anyio.move_on_after(seconds) as scope:
                await self._call(key)
            if not scope.cancelled_caught:
                return
        self._watch.cancelled(self._process, f"a call for {key}", self._seconds(since, stopped) - seconds)

    async def _idle(self, _key: str) -> None:
        """Long enough that the token ages or expires."""
        await anyio.sleep(self._world.scenario.lifetime * self._chance.choice((0.7, 0.8, 1.0, 1.1)))

    async def _renew(self, key: str) -> None:
        async def renew() -> None:
            session = await self._life.session(key)
            self._watch.forced[self._process, key] += 1
            try:
                await session.renew_token()
            finally:
                self._watch.forced[self._process, key] -= 1

        await self._measured(key, f"renew_token for {key}", renew)

    async def _generate(self, key: str) -> None:
        async def generate() -> None:
            await (await self._life.session(key)).generate_visitor_tokens()

        await self._measured(key, f"generate_visitor_tokens for {key}", generate)

    async def _log_in(self, key: str) -> None:
        granted = self._world.wix.log_in()
        expires_at = int(wall_clock(self._process, self._life.skew)) + int(granted["expires_in"])
        refresh_token = RefreshToken(granted["refresh_token"], TokenRole.MEMBER)
        await self._set(key, Tokens(AccessToken(granted["access_token"], expires_at), refresh_token))

    async def _log_in_amid_a_call(self, key: str) -> None:
        """The login page comes back while an expired token is renewed."""
        await self._idle(key)
        async with anyio.create_task_group() as group:
            group.start_soon(self._call, key)
            await anyio.sleep(self._chance.expovariate(4.0))
            await self._log_in(key)

    async def _log_out(self, key: str) -> None:
        await self._set(key, EMPTY_TOKENS)

    async def _set(self, key: str, tokens: Tokens) -> None:
        async def adopt() -> None:
            session = await self._life.session(key)
            self._watch.app_sets(self._process, key, tokens)
            try:
                await session.set_tokens(tokens)
            except WixVisitorError:
                self._watch.app_has_not_set(self._process, key, tokens)
                raise
            self._watch.app_has_set(self._process, key, tokens)

        await self._measured(key, f"set_tokens for {key}", adopt)

    async def _reopen(self, _key: str) -> None:
        """The app is closed and opened, with no call under way."""
        await self._life.reopen()

    async def _set_close_and_set(self, key: str) -> None:
        """Somebody logs in, the app is closed before that is saved, and somebody else logs in."""
        await self._call(key)  # so that the store has been read
        ends: list[float] = []

        async def log_in() -> None:
            await self._log_in(key)
            ends.append(self._process.scheduler.now)

        async with anyio.create_task_group() as group:
            group.start_soon(log_in)
            await anyio.sleep(self._chance.expovariate(20.0))
            since, stopped = self._process.scheduler.now, self._process.stopped_for
            await self._life.reopen()
            await self._log_in(key)
        if ends[0] - since > _MOST_AFTER_CLOSING + self._process.stopped_for - stopped:
            self._watch.fail(9, f"set_tokens for {key} goes on for {ends[0] - since:.1f} s after it was closed")

    async def _set_twice(self, key: str) -> None:
        """Two log in, one after the other, and the second does not wait for the first."""
        await self._call(key)
        async with anyio.create_task_group() as group:
            group.start_soon(self._log_in, key)
            await anyio.sleep(self._chance.expovariate(2.0))
            group.start_soon(self._chance.choice((self._log_in, self._log_out)), key)

    async def _let_go(self, key: str) -> None:
        self._life.let_go(key)

    async def _forget(self, key: str) -> None:
        if not self._world.scenario.is_pool:
            await self._log_out(key)
            return

        async def forget() -> None:
            earlier = self._watch.app_forgets(self._process, key)
            try:
                await self._life.forget(key)
            except WixVisitorError:
                self._watch.app_has_not_forgotten(self._process, key)
                raise
            self._watch.app_has_forgotten(self._process, key, earlier)

        await self._measured(key, f"forget of {key}", forget)

    async def _measured(self, key: str, what: str, call: Call) -> None:
        """Makes a call for this key, and tells the watch how it ended."""
        since, stopped, error = self._process.scheduler.now, self._process.stopped_for, None
        try:
            await call()
        except (WixVisitorError, httpx.HTTPError) as failure:
            error = failure
        except Exception as failure:
            self._watch.fail(4, f"{what} ended with {type(failure).__name__}: {failure}")
        self._watch.ended(self._process, what, self._seconds(since, stopped), error)
        if error is not None and self._life.site is not None:
            self._life.site.told(key, error, since, is_idle=False, stopped=self._process.stopped_for - stopped)

    def _seconds(self, since: float, stopped: float) -> float:
        """How long it took, without what the process was stopped for."""
        return self._process.scheduler.now - since - (self._process.stopped_for - stopped)
