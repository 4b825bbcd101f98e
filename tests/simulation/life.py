"""One process of the simulated world: the real pool or sessions, over a client that leads to the simulated Wix."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import httpx
import trio

from wixvisitor import SessionExpired, TokenRequestError, VisitorPool, VisitorSession
from wixvisitor._wire.token_endpoint import TOKEN_PATH

from .crowd import Crowd
from .logins import Finishing
from .member import Member
from .shopper import Shopper
from .site import Call, Site
from .store import STORAGES
from .watch import wall_clock
from .wix import CLIENT_ID, DOUBTFUL, Way

if TYPE_CHECKING:
    from .scheduler import Process
    from .world import World

KEY_HEADER = "X-Simulated-Key"
_key: ContextVar[str] = ContextVar("simulated_key")  # of a request that takes no header
_REFUSALS = (400, 401, 403)  # of a login: they say nothing about the visitor or the site
MOST_TO_CLOSE = 3.0  # seconds
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
        self.site: Site | None = None
        self.number = world.next_life()

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
                for _ in range(scenario.members):
                    group.start_soon(Member(self).run)
                for _ in range(scenario.crowds):
                    group.start_soon(Crowd(self).run)
            self.world.shopping.discard(self.process.name)
            while self.world.shopping or self.process.scheduler.now < scenario.faults_end:  # noqa: ASYNC110 - others have no events
                await anyio.sleep(5.0)
            await anyio.sleep(RECOVERY)
            for key in (*scenario.keys, *scenario.crowd):
                await self._has_recovered(key)
            await anyio.sleep(1.1 * scenario.lifetime)
            for key in (*scenario.keys, *scenario.crowd):
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
        self.world.watch.meets(self.process, key, session)
        return session

    async def stranger(self, key: str) -> VisitorSession:
        """The visitor of a key that nobody looks at: a crawler's."""
        assert self._pool is not None
        return await self._pool.session(key)

    @contextmanager
    def as_key(self, key: str) -> Iterator[None]:
        """What is asked here, in this task, is asked for this key."""
        token = _key.set(key)
        try:
            yield
        finally:
            _key.reset(token)

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
            "on_refused": scenario.policy,
            "renew_timeout": scenario.renew_timeout,
        }
        if scenario.is_pool:
            limiter, cap = scenario.max_token_requests, scenario.cap
            self._pool = VisitorPool(CLIENT_ID, max_token_requests=limiter, new_visitors_per_minute=cap, **arguments)
            self.site = self.world.watch.sites[process] = Site(
                process,
                self.world.watch.fail,
                is_idle=partial(self.world.watch.is_idle, process),
                renew_timeout=scenario.renew_timeout,
                limiter=limiter,
                cap=cap,
                has_wild_clock=scenario.wild_clocks,
            )
            return
        self._sessions = {key: VisitorSession(CLIENT_ID, key=key, **arguments) for key in scenario.keys}

    async def reopen(self) -> None:
        """Closes everything, which takes no longer than promised whatever the store does, and begins anew."""
        self.world.watch.note(self.process, "closes")
        self.world.watch.logins.is_closing(self.process)
        await self._aclose()
        self.world.watch.pool_is_gone(self.process)
        await self._open()

    async def _aclose(self) -> None:
        process = self.process
        if self.site is not None:
            self.site.closes()
        for owner in [self._pool] if self._pool is not None else self._sessions.values():
            since, stopped = process.scheduler.now, process.stopped_for
            await owner.aclose()
            seconds = process.scheduler.now - since - (process.stopped_for - stopped)
            if seconds > MOST_TO_CLOSE + 0.01:
                self.world.watch.fail(4, f"{process.name} took {seconds:.2f} s to close")

    async def _has_recovered(self, key: str) -> None:
        """Rule 7."""
        watch, name = self.world.watch, self.process.name
        began = self.process.scheduler.now
        session = await self.session(key)
        if self._is_poisoned(key, session):
            return
        try:
            response = await self._call_below_the_cap(key, session)
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
        if self.world.scenario.cap is None:
            watch.ended(self.process, f"the last call for {key}", self.process.scheduler.now - began, None)

    async def _call_below_the_cap(self, key: str, session: VisitorSession) -> httpx.Response:
        """Calls, and again whenever the cap for new visitors says when."""
        for _ in self.world.scenario.crowd:
            try:
                return await self.call(key, session)
            except TokenRequestError as error:
                if "new_visitors_per_minute" not in str(error):
                    raise
                await anyio.sleep(error.retry_after or 0.0)
        return await self.call(key, session)

    def _is_who_was_saved(self, key: str) -> None:
        """Rule 2, in the end: all of them are one."""
        session, wix = self.world.watch.sessions[self.process, key], self.world.wix
        held = session.get_tokens().access_token.value
        if self._is_poisoned(key, session):
            return
        if not self.world.is_lost(key, session) and wix.identity(held) != wix.identity(self.world.stored(key)):
            self.world.watch.fail(2, f"{self.process.name} has another visitor for {key} than the store")

    def _is_poisoned(self, key: str, session: VisitorSession) -> bool:
        """Whether this visitor cannot be served any more, whatever the code does."""
        wix = self.world.wix
        return wix.is_poisoned(self.world.stored(key)) or wix.is_poisoned(session.get_tokens().access_token.value)

    async def _close(self) -> None:
        """Rule 9."""
        watch = self.world.watch
        watch.logins.is_closing(self.process)
        sessions = [session for (owner, _), session in watch.sessions.items() if owner is self.process]
        await self._aclose()
        for session in sessions:
            if session._refresher.state.lock.locked() or session._refresher._lane:
                watch.fail(9, f"{self.process.name} leaves a lock or a renewal of {session.key} behind")
            if session._settings.limiter.under_way:
                watch.fail(9, f"{self.process.name} leaves {session._settings.limiter.under_way} turns taken")


class _Wire(httpx.AsyncBaseTransport):
    """The way from one process to Wix."""

    def __init__(self, life: Life) -> None:
        self._life = life

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        life, process = self._life, self._life.process
        if request.url.path != TOKEN_PATH:
            return await self._call_api(request)
        watch, login = life.world.watch, None
        fields = json.loads(request.content)
        if fields["grantType"] == "authorization_code":
            login = watch.logins.asks(process, fields["code"])
        key, status = watch.token_call_starts(process, login and login.place[1]), None
        name = f"call-{watch.requests}"
        is_mint = fields["grantType"] == "anonymous"
        if is_mint:
            watch.logouts.mints(process, key)
        call = watch.call_of_site(process, key, name, is_mint=is_mint)
        way = life.world.wix.way(is_token_call=True, body=request.content)
        try:
            response = await self._exchange(request, way, name, login)
            status = response.status_code
            counts = self._tell_watch(key, way, request, status)
            if login is not None:
                counts = status in _REFUSALS
                watch.logins.arrives(login)
            self._tell_site(call, way, response, is_refusal=counts)
            return response
        except httpx.ReadError:
            self._tell_site(call, way, None)
            raise
        except BaseException:
            if login is not None:
                watch.logins.broken_off(login)
            if call is not None and life.site is not None and not process.killed:
                life.site.broke_off(call)
            raise
        finally:
            watch.token_call_ends(process, key, status, is_granted=status == 200 and way.instead is None)

    def _tell_watch(self, key: str, way: Way, request: httpx.Request, status: int) -> bool:
        """Tells what is known of refusals. Returns whether a doubtful answer is one by now."""
        watch, process, token = (
            self._life.world.watch,
            self._life.process,
            json.loads(request.content).get("refreshToken"),
        )
        if way.instead in DOUBTFUL and token:
            return watch.doubtful(process, key, token, way.instead)
        if way.instead is None and status == httpx.codes.OK:
            watch.granted(process, key, is_renewal=bool(token))
            if token:
                watch.logouts.renewed(process, key, self._life.world.wix.whose(token))
            if self._life.site is not None:  # else each session learns for itself
                watch.told_time(process)
        return False

    def _tell_site(
        self, call: Call | None, way: Way, response: httpx.Response | None, *, is_refusal: bool = False
    ) -> None:
        site = self._life.site
        if call is None or site is None or self._life.process.killed:
            return
        if response is None:
            site.failed(call, None, None)
        elif way.instead is not None and not is_refusal:
            named = response.headers.get("retry-after")
            site.failed(call, response.status_code, float(named) if named else None)
        elif response.status_code == httpx.codes.OK:
            site.granted(call, way.seen_at)
        else:
            site.refused(call)

    async def _call_api(self, request: httpx.Request) -> httpx.Response:
        watch, process, value = self._life.world.watch, self._life.process, request.headers["Authorization"]
        key = request.headers.get(KEY_HEADER) or _key.get()
        if not process.killed:
            watch.sends(process, key, value)
        response = await self._exchange(request, self._life.world.wix.way(is_token_call=False))
        if response.status_code == httpx.codes.UNAUTHORIZED:
            watch.turned_away(process, key, value, response.content)
        return response

    async def _exchange(
        self, request: httpx.Request, way: Way, name: str = "", login: Finishing | None = None
    ) -> httpx.Response:
        wix, process, watch = self._life.world.wix, self._life.process, self._life.world.watch
        authorization = request.headers.get("Authorization")

        def serve() -> Any:
            way.seen_at = process.scheduler.now
            answer = way.instead or wix.serve(request.url.path, request.content, authorization)
            if login is not None and way.instead is None and answer.status == httpx.codes.OK:
                watch.logins.granted(login, json.loads(answer.body))
            return answer

        answer = await process.carry(serve, there=way.there, back=way.back, arrives=way.arrives)
        if process.killed or not way.returns or not answer:
            raise httpx.ReadError(f"the connection broke {name}", request=request)
        headers = {**answer[0].headers, "x-wix-request-id": name} if name else answer[0].headers
        return httpx.Response(answer[0].status, headers=headers, content=answer[0].body)


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
