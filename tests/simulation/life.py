"""One process of the simulated world: the real pool or sessions, over a client that leads to the simulated Wix."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import httpx
import trio

from wixvisitor import SessionExpired, VisitorPool, VisitorSession
from wixvisitor._wire import TOKEN_PATH

from .shopper import Shopper
from .store import STORAGES
from .watch import RENEW_TIMEOUT, wall_clock
from .wix import CLIENT_ID

if TYPE_CHECKING:
    from .scheduler import Process
    from .world import World

KEY_HEADER = "X-Simulated-Key"
RECOVERY = 60.0 + 20.0 + 15.0  # seconds: a pause after failures, a Retry-After, and a renewal


class Life:
    """What one process has and does.

    Attributes:
        skew: seconds that its clock is ahead of the world's.
    """

    def __init__(self, world: World, skew: float) -> None:
        self.world = world
        self.process: Process
        self.skew = skew
        self._sessions: dict[str, VisitorSession] = {}
        self._pool: VisitorPool | None = None
        self._client: httpx.AsyncClient

    async def main(self) -> None:
        """Shops until the faults are over, then looks whether everything has recovered, and closes."""
        tasks, scenario = _tasks(), self.world.scenario
        self._client = httpx.AsyncClient(transport=_Wire(self))
        async with self._client:
            await self._open()
            self.world.shopping.add(self.process.name)
            async with anyio.create_task_group() as group:
                for _ in range(scenario.shoppers):
                    group.start_soon(Shopper(self).run)
            self.world.shopping.discard(self.process.name)
            while self.world.shopping or self.process.scheduler.now < scenario.faults_end:  # noqa: ASYNC110 - others have no events
                await anyio.sleep(5.0)
            await anyio.sleep(RECOVERY)
            for key in scenario.keys:
                await self._has_recovered(key)
            await anyio.sleep(1.1 * scenario.lifetime)
            for key in scenario.keys:
                await self._has_recovered(key)
                self._is_who_was_saved(key)
            await self._close()
        await anyio.lowlevel.checkpoint()
        if _tasks() != tasks:
            self.world.watch.fail(9, f"{self.process.name} leaves {_tasks() - tasks} tasks behind")

    async def session(self, key: str) -> VisitorSession:
        """The visitor of this key."""
        if self._pool is not None:
            session = await self._pool.session(key)
        else:
            session = self._sessions[key]
        self.world.watch.sessions[self.process, key] = session
        return session

    async def forget(self, key: str) -> None:
        """Removes the visitor; only a pool can."""
        assert self._pool is not None
        await self._pool.forget(key)

    def let_go(self, key: str) -> None:
        """Drops the session: whoever asks next gets it from the store."""
        self.world.watch.sessions.pop((self.process, key), None)

    async def call(self, key: str, session: VisitorSession) -> httpx.Response:
        """Asks an API as this visitor."""
        return await session.get("/ecom/v2/carts/current", headers={KEY_HEADER: key})

    async def add(self, key: str, session: VisitorSession, thing: int) -> httpx.Response:
        """Puts a thing into this visitor's cart."""
        path, headers = "/ecom/v2/carts/current/add-line-items", {KEY_HEADER: key}
        return await session.post(path, json={"thing": thing}, headers=headers)

    async def _open(self) -> None:
        scenario, process = self.world.scenario, self.process
        arguments: dict[str, Any] = {
            "storage": STORAGES[scenario.storage](self.world.store, process, self.world.watch),
            "client": self._client,
            "clock": lambda: wall_clock(process, self.skew),
            "on_rejected": scenario.policy,
            "renew_timeout": RENEW_TIMEOUT,
        }
        if scenario.is_pool:
            self._pool = VisitorPool(CLIENT_ID, max_token_requests=scenario.max_token_requests, **arguments)
            return
        self._sessions = {key: VisitorSession(CLIENT_ID, key=key, **arguments) for key in scenario.keys}

    async def _has_recovered(self, key: str) -> None:
        """Rule 7."""
        watch, name = self.world.watch, self.process.name
        began = self.process.scheduler.now
        session = await self.session(key)
        try:
            response = await self.call(key, session)
            if response.status_code == httpx.codes.UNAUTHORIZED and self.world.stored(key) == "":
                response = await self.call(key, session)  # logged out elsewhere: no 401 makes a visitor, a call does
        except SessionExpired:
            if not self.world.is_lost(key, session):
                watch.fail(7, f"{name} says that {key} has expired, whom Wix has not refused")
        except Exception as error:
            watch.fail(7, f"{key} has not recovered in {name}: {type(error).__name__}: {error}")
        else:
            if response.status_code != httpx.codes.OK:
                watch.fail(7, f"{key} has not recovered in {name}: {response.status_code}")
        watch.ended(self.process, f"the last call for {key}", self.process.scheduler.now - began, None)

    def _is_who_was_saved(self, key: str) -> None:
        """Rule 2, in the end: all of them are one."""
        session, wix = self.world.watch.sessions[self.process, key], self.world.wix
        held = session.get_tokens().access_token.value
        if not self.world.is_lost(key, session) and wix.identity(held) != wix.identity(self.world.stored(key)):
            self.world.watch.fail(2, f"{self.process.name} has another visitor for {key} than the store")

    async def _close(self) -> None:
        """Rule 9."""
        watch = self.world.watch
        sessions = [session for (owner, _), session in watch.sessions.items() if owner is self.process]
        for owner in [self._pool] if self._pool is not None else self._sessions.values():
            await owner.aclose()
        for session in sessions:
            if session._refresher.ledger.lock.locked() or session._refresher._flights:
                watch.fail(9, f"{self.process.name} leaves a lock or a renewal of {session.key} behind")
            if session._settings.turns.under_way:
                watch.fail(9, f"{self.process.name} leaves {session._settings.turns.under_way} turns taken")


class _Wire(httpx.AsyncBaseTransport):
    """The way from one process to Wix."""

    def __init__(self, life: Life) -> None:
        self._life = life

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        life, process = self._life, self._life.process
        if request.url.path != TOKEN_PATH:
            return await self._call_api(request)
        watch = life.world.watch
        key, status = watch.token_call_starts(process), None
        try:
            response = await self._exchange(request, is_token_call=True)
            status = response.status_code
            return response
        finally:
            watch.token_call_ends(process, key, status)

    async def _call_api(self, request: httpx.Request) -> httpx.Response:
        watch, process, value = self._life.world.watch, self._life.process, request.headers["Authorization"]
        if not process.killed:
            watch.sends(process, request.headers[KEY_HEADER], value)
        response = await self._exchange(request, is_token_call=False)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            watch.turned_away(process, request.headers[KEY_HEADER], value, response.content)
        return response

    async def _exchange(self, request: httpx.Request, *, is_token_call: bool) -> httpx.Response:
        wix, process = self._life.world.wix, self._life.process
        way = wix.way(is_token_call=is_token_call)
        authorization = request.headers.get("Authorization")

        def serve() -> Any:
            return way.instead or wix.serve(request.url.path, request.content, authorization)

        answer = await process.carry(serve, there=way.there, back=way.back, arrives=way.arrives)
        if process.killed or not way.returns or not answer:
            raise httpx.ReadError("the connection broke", request=request)
        return httpx.Response(answer[0].status, headers=answer[0].headers, content=answer[0].body)


def _tasks() -> int:
    """How many tasks the running event loop has."""
    if anyio.get_current_task().name and _is_trio():
        return trio.lowlevel.current_statistics().tasks_living
    return len(asyncio.all_tasks())


def _is_trio() -> bool:
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        return False
    return True
