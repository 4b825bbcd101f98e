"""Processes that do as they are told, on every store. Processes, signals, sockets, files and servers are real here."""

from __future__ import annotations

import multiprocessing
from collections.abc import Awaitable, Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import attrs
import pytest

from tests.faults.recovery import MAX_COOLDOWN
from tests.faults.scarcity import CannotError
from tests.faults.told import Start, obey
from tests.faults.town import cradle
from tests.storage.conftest import mariadb, postgres, proxy, redis_prefix, redis_url, server_kind, start_server  # noqa: F401 - fixtures


@pytest.fixture
def anyio_backend() -> str:
    """The loop of the parent; a process has the one that it is told."""
    return "asyncio"


@pytest.fixture(scope="session")
def processes() -> Any:
    """Starts processes in milliseconds."""
    return cradle()


@attrs.define
class Told:
    """One of the processes; see ``tests.faults.told``."""

    process: BaseProcess
    line: Connection

    def tell(self, name: str, **arguments: Any) -> None:
        """Has it do something, without waiting."""
        self.line.send((name, arguments))

    async def hear(self) -> Any:
        """What came of it."""
        with anyio.fail_after(90):
            return await anyio.to_thread.run_sync(self.line.recv, abandon_on_cancel=True)

    async def do(self, name: str, **arguments: Any) -> Any:
        """Has it do something, and waits."""
        self.tell(name, **arguments)
        return await self.hear()

    async def recovers(self, now: float) -> None:
        """Fails if 50 callers are not served within 5 s after the end of the pause that they are told of."""
        wrong, pause = await self.do("recover", now=now)
        assert wrong == []
        assert pause <= MAX_COOLDOWN

    def end(self) -> None:
        """Kills it."""
        self.process.kill()
        self.process.join()
        self.line.close()


Open = Callable[..., Awaitable[Told]]


@pytest.fixture
def told(processes: Any, client_id: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Open]:
    """Starts processes, and ends them; takes what ``Start`` takes."""
    all_of_them: list[Told] = []

    async def open_(url: str, store: str, **options: Any) -> Told:
        if store == "redis" and "redis" not in options:
            names = {"url_or_client": "redis_url", "prefix": "redis_prefix"}
            options["redis"] = {name: request.getfixturevalue(fixture) for name, fixture in names.items()}
        start = Start(**{"client_id": client_id, "url": url, "place": tmp_path, "store": store, **options})
        ours, theirs = multiprocessing.Pipe()
        process = processes.Process(target=obey, args=(start, theirs), daemon=True)
        process.start()
        theirs.close()
        all_of_them.append(Told(process, ours))
        answer = await all_of_them[-1].hear()
        if isinstance(answer, CannotError):
            pytest.skip(str(answer))
        return all_of_them[-1]

    yield open_
    for one in all_of_them:
        one.end()
