"""Everything that the soak is made of: Wix, Valkey, a proxy for each worker, the workers; each a process of its own."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

import attrs
from anyio.from_thread import BlockingPortal

from tests.faults.wix_process import Opening, serve
from tests.faults.worker import Finished, Life, live
from tests.storage.conftest import Proxy, Server, program_of

CLIENT_ID: Final = "5e9c1d0a-7c1e-4a52-9d5e-1f2a3b4c5d6e"
KEPT: Final = ("--appendonly", "yes", "--appendfsync", "always", "--enable-debug-command", "local")
PATIENCE: Final = 120.0  # seconds for a worker to finish


def cradle() -> Any:
    """Returns what starts processes in milliseconds: they are forked from one that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.worker", "tests.faults.wix_process", "anyio._backends._asyncio"])
    return context


class Worker:
    """A process of shoppers; it can be killed and started again.

    Attributes:
        number: 0 is never killed.
        since: when it was started, by ``time.monotonic``.
        tally: how many calls have ended how, in all of its lives.
        wrong: what should not have happened.
        lock: whoever hurts it has this.
    """

    def __init__(self, context: Any, number: int, life: Life) -> None:
        self.number, self.since = number, 0.0
        self.tally: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.lock = asyncio.Lock()
        self._context, self._life = context, life
        self._ready, self._finished = threading.Event(), threading.Event()
        self._said: Finished | None = None
        self._process: BaseProcess
        self._line: Connection

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def start(self) -> None:
        """Starts it, or starts it again."""
        self._line, theirs = multiprocessing.Pipe()
        self._life = attrs.evolve(self._life, seed=self._life.seed + 1000)
        self._process = self._context.Process(target=live, args=(self._life, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self.since = time.monotonic()
        self._ready.clear()
        threading.Thread(target=self._listen, args=(self._line,), daemon=True).start()
        assert self._ready.wait(30), "the worker does not start"

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.join()
        self._line.close()

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        os.kill(self.pid, number)

    def order(self, name: str, seconds: float) -> None:
        """Has it ``block`` its event loop, or do without something of ``SCARCE``."""
        self._line.send((name, seconds))

    def finish(self, keys: tuple[str, ...]) -> Finished:
        """Has it serve every key once more, close everything, and end."""
        self._line.send(("finish", keys))
        assert self._finished.wait(PATIENCE), f"worker {self.number} does not finish"
        self._process.join(10)
        if self._process.exitcode != 0:
            self.wrong.append(f"worker {self.number} ended with {self._process.exitcode}")
        assert self._said is not None
        return self._said

    def _listen(self, line: Connection) -> None:
        with suppress(EOFError, OSError):
            while True:
                kind, what = line.recv()
                if kind == "ready":
                    self._ready.set()
                elif kind == "tally":
                    self.tally.update(what)
                elif kind == "wrong":
                    self.wrong.append(f"worker {self.number}: {what}")
                else:
                    self._said = what
                    self._finished.set()


class WixProcess:
    """The stand-in; asked from one thread at a time."""

    def __init__(self, context: Any, opening: Opening) -> None:
        self._line, theirs = multiprocessing.Pipe()
        self.process = context.Process(target=serve, args=(opening, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.url: str = self._line.recv()
        self._lock = threading.Lock()

    def ask(self, name: str, /, **arguments: Any) -> Any:
        """Returns what it answers; see ``Wix``."""
        with self._lock:
            self._line.send((name, arguments))
            return self._line.recv()

    def end(self) -> None:
        """Ends it."""
        self._line.close()
        self.process.join(5)
        self.process.kill()


@attrs.define
class Town:
    """All of them.

    Attributes:
        births: for each key, from when on somebody shops under it.
        store: whoever restarts or stops the Valkey server has this.
    """

    wix: WixProcess
    valkey: Server
    proxies: list[Proxy]
    workers: list[Worker]
    births: Mapping[str, float]
    store: asyncio.Lock = attrs.field(factory=asyncio.Lock)

    @classmethod
    def found(
        cls, place: Path, portal: BlockingPortal, births: Mapping[str, float], *, workers: int, seed: int
    ) -> Town:
        """Starts everything; access tokens live 8 s."""
        os.environ.setdefault("WIXVISITOR_REQUIRE_SERVERS", "1")  # no server: an error that says so
        context = cradle()
        valkey = Server(program_of("valkey"), place, KEPT)
        valkey.start()
        wix = WixProcess(context, Opening(lifetime=8.0, births=births, patience=12.0))
        proxies = [Proxy(portal, valkey.port) for _ in range(workers)]
        town = cls(wix, valkey, proxies, [], births)
        for number, proxy in enumerate(proxies):
            store = ("redis", {"url_or_client": proxy.url, "timeout": 1.0})
            life = Life(client_id=CLIENT_ID, url=wix.url, store=store, births=births, seed=seed * 10 + number)
            town.workers.append(Worker(context, number, life))
            town.workers[-1].start()
        return town

    def close(self) -> None:
        """Ends everything that is still there."""
        for worker in self.workers:
            worker.kill()
        for proxy in self.proxies:
            proxy.refuse()
        self.wix.end()
        self.valkey.stop()
