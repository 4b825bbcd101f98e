"""A process with visitors of its own, which lives as it is told and stops or dies at the step it is told."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import attrs
import httpx2

from wixvisitor import VisitorPool, VisitorSession, WixVisitorError
from wixvisitor.storage import ANY_VERSION, AnyVersion, FileStorage, Record
from wixvisitor.storage.redis import RedisStorage
from wixvisitor.storage.sqlalchemy import SQLAlchemyStorage
from wixvisitor.storage.sqlite import SQLiteStorage

STEPS = (
    "before the lease",
    "after the lease",
    "before asking",
    "after the answer",
    "before saving",
    "after saving",
    "after the release",
)


@attrs.frozen(kw_only=True)
class Life:
    """What a process is told at its start.

    Attributes:
        store: the adapter's name and its arguments.
        step: where it ends or stops, one of ``STEPS``.
        signal: what it sends itself there.
        lease: for how many seconds at most it takes a lease.
    """

    client_id: str
    url: str
    store: tuple[str, dict[str, Any]]
    renew_timeout: float = 15.0
    step: str = ""
    signal: int = getattr(signal, "SIGKILL", 9)  # not on Windows, where these tests are left out
    lease: float = 60.0


@attrs.frozen(kw_only=True)
class Work:
    """What a process is asked to do.

    Attributes:
        now: the time.
        keys: whose requests.
        callers: how many coroutines at once for each.
        calls_api: whether they ask for the cart, or only for what they need to do so.
    """

    now: float
    keys: tuple[str, ...] = ("default",)
    callers: int = 1
    calls_api: bool = True


def open_store(name: str, arguments: dict[str, Any]) -> Any:
    """The adapter that every process of a test opens for itself."""
    return {"file": FileStorage, "sqlite": SQLiteStorage, "redis": RedisStorage, "sqlalchemy": SQLAlchemyStorage}[name](
        **arguments
    )


def live(life: Life, line: Connection) -> None:
    """The process."""
    with suppress(EOFError, KeyboardInterrupt):
        asyncio.run(_live(life, line))


async def _live(life: Life, line: Connection) -> None:
    clock = [0.0]

    def reach(step: str) -> None:
        if life.step == step:
            if life.signal == signal.SIGSTOP:
                line.send("stopping")
            os.kill(os.getpid(), life.signal)

    async with httpx2.AsyncClient(transport=SteppingTransport(reach), timeout=60) as client:
        pool = VisitorPool(
            life.client_id,
            storage=SteppingStore(open_store(life.store[0], life.store[1]), reach, life.lease),
            client=client,
            base_url=life.url,
            clock=lambda: clock[0],
            renew_timeout=life.renew_timeout,
        )
        line.send("ready")
        held: list[VisitorSession] = []
        while True:
            work = await asyncio.to_thread(line.recv)
            clock[0] = work.now
            line.send(await _do(pool, work, held))


async def _do(pool: VisitorPool, work: Work, held: list[VisitorSession]) -> dict[str, tuple[str, str]] | str:
    """Whose token and which each key had in the end; or what went wrong."""
    try:
        sessions = [await pool.session(key) for key in work.keys]
        calls = (_call(session, calls_api=work.calls_api) for session in sessions for _ in range(work.callers))
        await asyncio.gather(*calls)
    except WixVisitorError as error:
        return f"{type(error).__name__}: {error}"
    held[:] = sessions
    tokens = {key: session.get_tokens() for key, session in zip(work.keys, sessions, strict=True)}
    return {key: (one.refresh_token.value, one.access_token.value) for key, one in tokens.items()}


async def _call(session: VisitorSession, *, calls_api: bool) -> None:
    if calls_api:
        await session.get("/ecom/v2/carts/current")
    else:
        await session.auth_headers()


class SteppingTransport(httpx2.AsyncHTTPTransport):
    """A transport with steps around token calls."""

    def __init__(self, reach: Callable[[str], None]) -> None:
        super().__init__(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))  # no certificates are read
        self._reach = reach

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path != "/oauth2/token":
            return await super().handle_async_request(request)
        self._reach("before asking")
        response = await super().handle_async_request(request)
        body = await response.aread()
        self._reach("after the answer")
        return httpx2.Response(response.status_code, headers=response.headers, content=body)


class SteppingStore:
    """An adapter with steps around what it does."""

    def __init__(self, inner: Any, reach: Callable[[str], None], lease: float) -> None:
        self._inner, self._reach, self._lease = inner, reach, lease

    async def load(self, key: str) -> Record | None:
        record: Record | None = await self._inner.load(key)
        return record

    async def save(self, key: str, value: str, *, expected: str | AnyVersion | None = ANY_VERSION) -> str:
        self._reach("before saving")
        version = await self._inner.save(key, value, expected=expected)
        self._reach("after saving")
        return str(version)

    async def delete(self, key: str) -> None:
        await self._inner.delete(key)

    async def acquire_lease(self, key: str, holder: str, seconds: float) -> float:
        self._reach("before the lease")
        remaining = await self._inner.acquire_lease(key, holder, min(seconds, self._lease))
        if remaining <= 0:
            self._reach("after the lease")
        return float(remaining)

    async def release_lease(self, key: str, holder: str) -> None:
        await self._inner.release_lease(key, holder)
        self._reach("after the release")
