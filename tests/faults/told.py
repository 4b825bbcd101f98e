"""A process with one visitor, which asks when it is told to, and does without what it is told to do without."""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import attrs
import httpx

from tests.constants import CART
from tests.faults.recovery import Answer, recovered
from tests.faults.scarcity import SCARCE, CannotError, filled, mount_small, obey_permissions, read_only
from tests.storage.visitor_process import open_store
from wixvisitor import TokenRequestError, VisitorSession, WixVisitorError
from wixvisitor.storage import MemoryStorage


@attrs.frozen(kw_only=True)
class Start:
    """What a process is told at its start.

    Attributes:
        place: a directory; the files of the store are in it.
        store: the adapter's name: ``file``, ``sqlite``, ``redis`` or ``memory``.
        redis: the arguments of ``RedisStorage``.
        disk: ``small``: the directory is a file system of 256 kB; ``bound``: its permissions bind the process.
    """

    client_id: str
    url: str
    place: Path
    store: str
    redis: dict[str, Any] = attrs.field(factory=dict)
    renew_timeout: float = 15.0
    backend: str = "asyncio"
    disk: str = ""


def obey(start: Start, line: Connection) -> None:
    """The process."""
    try:
        {"small": mount_small, "bound": obey_permissions, "": lambda _: None}[start.disk](start.place)
    except CannotError as error:
        line.send(error)
        return
    line.send("ready")
    with suppress(EOFError, KeyboardInterrupt):
        anyio.run(_obey, start, line, backend=start.backend)


async def _obey(start: Start, line: Connection) -> None:
    told = _Told(start)
    while True:
        name, arguments = await anyio.to_thread.run_sync(line.recv)
        line.send(await getattr(told, name)(**arguments))


class _Told:
    def __init__(self, start: Start) -> None:
        self._start = start
        self._now = 0.0
        self._without = ExitStack()
        self._session = self._new()

    def _new(self) -> VisitorSession:
        place = {"file": f"{self._start.place}/visitors/", "sqlite": f"{self._start.place}/visitors.db"}
        arguments = {"path": place.get(self._start.store)} if self._start.store in place else self._start.redis
        storage = MemoryStorage() if self._start.store == "memory" else open_store(self._start.store, arguments)
        return VisitorSession(
            self._start.client_id,
            base_url=self._start.url,
            storage=storage,
            clock=lambda: self._now,
            renew_timeout=self._start.renew_timeout,
        )

    async def open(self) -> None:
        """Does what a process does once: makes the store's files, and the client with its certificates."""
        await self._session._refresher.load()
        self._session._connections.current()

    async def ask(self, now: float, callers: int = 1, block: float = 0.0) -> Counter[str]:
        """Has callers ask for the cart, and returns how that ended; blocks the event loop while they wait."""
        ended: Counter[str] = Counter()

        async def call() -> None:
            try:
                ended[str((await self._session.get(CART)).status_code)] += 1
            except (WixVisitorError, httpx.TransportError) as error:
                ended[type(error).__name__] += 1

        self._now = now
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                for _ in range(callers):
                    tasks.start_soon(call)
                if block:
                    await anyio.sleep(0.1)
                    time.sleep(block)  # noqa: ASYNC251 - that is the fault
        return ended

    async def recover(self, now: float, callers: int = 50) -> tuple[list[str], float]:
        """Has callers ask after a fault, until they are served.

        The clock goes on to the end of the pause that they are told of.

        Returns:
            What is wrong, and for how many seconds of that clock they were paused.
        """
        self._now = now

        async def ask(_: str) -> Answer:
            asked = self._now
            try:
                return Answer(str((await self._session.get(CART)).status_code))
            except TokenRequestError as error:
                self._now = max(self._now, asked + (error.retry_after or 0.0))
                return Answer(repr(error))
            except (WixVisitorError, httpx.TransportError) as error:
                return Answer(repr(error))

        verdict = await recovered(map(str, range(callers)), ask)
        return verdict.wrong, self._now - now

    async def whose(self) -> str:
        """Whose refresh token is held."""
        return self._session.get_tokens().refresh_token.value

    async def restart(self) -> None:
        """Forgets everything that is in memory, as the next start of the program would."""
        await self._session.aclose()
        self._session = self._new()

    async def hang_up(self) -> None:
        """Closes its connections to Wix, so that the next request needs a descriptor."""
        await self._session._connections.aclose()
        self._session._connections.current()

    async def do_without(self, what: str) -> int:
        """Begins a scarcity, and returns the user id that it is suffered under."""
        here = {"room": filled, "rights": read_only}
        place = self._start.place
        self._without.enter_context(here[what](place) if what in here else SCARCE[what]())
        return os.geteuid()

    async def have_again(self) -> None:
        """Ends it."""
        self._without.close()
