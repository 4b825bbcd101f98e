"""Everything that the soak is made of: Wix, Valkey, a proxy for each worker, the workers; each a process of its own.

All workers but the last share their visitors over Valkey; the last one runs on trio, over SQLite.
"""

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

from tests.constants import CLIENT_ID
from tests.faults.clients import kind_after, kinds_on
from tests.faults.recovery import Verdict
from tests.faults.wix_process import Opening, serve
from tests.faults.worker import Finished, Life, live
from tests.storage.conftest import Proxy, Server, program_of

# What was acknowledged survives SIGKILL: it is written before the reply. No fsync: a busy disk would be a fault.
KEPT: Final = ("--appendonly", "yes", "--appendfsync", "no", "--enable-debug-command", "local")
PATIENCE: Final = 120.0  # seconds for a worker to finish, or to judge


def cradle() -> Any:
    """Returns what starts processes in milliseconds: they are forked from one that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    ours = [f"tests.faults.{name}" for name in ("worker", "wix_process", "login_process")]
    context.set_forkserver_preload([*ours, "anyio._backends._asyncio"])
    return context


class Worker:
    """A process of shoppers; it can be killed and started again, each time with the next kind of client.

    Args:
        context: what starts processes.
        number: 0 is never killed.
        life: what it is told; its ``client`` is the first one.

    Attributes:
        number: see above.
        client: the name of its client.
        since: when it was started, by ``time.monotonic``.
        tally: how many calls have ended how, in all of its lives.
        wrong: what should not have happened.
        lock: whoever hurts it has this.
    """

    def __init__(self, context: Any, number: int, life: Life) -> None:
        self.number, self.since = number, 0.0
        self.client = life.client
        self.tally: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.lock = asyncio.Lock()
        self._context, self._life = context, life
        self._ready, self._answered = threading.Event(), threading.Event()
        self._said: Any = None
        self._process: BaseProcess
        self._line: Connection

    @property
    def name(self) -> str:
        """Its client and its event loop."""
        return f"{self.client}, {self._life.backend}"

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def start(self) -> None:
        """Starts it, or starts it again."""
        self._line, theirs = multiprocessing.Pipe()
        self._process = self._context.Process(target=live, args=(self._life, theirs), daemon=True)
        self.client = self._life.client
        following = kind_after(self.client, self._life.backend)
        self._life = attrs.evolve(self._life, seed=self._life.seed + 1000, client=following)
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
        """Has it ``block`` its event loop, be hit by a storm, or do without something of ``SCARCE``."""
        self._line.send((name, seconds))

    def judge(self, keys: tuple[str, ...] = ()) -> Verdict:
        """Has it say whether its visitors, these above all, are served in time after a fault."""
        verdict: Verdict = self._ask("judge", keys)
        return verdict

    def finish(self, keys: tuple[str, ...] | None = None) -> Finished:
        """Has it serve every key once more, or these, close everything, and end."""
        said: Finished = self._ask("finish", tuple(self._life.births) if keys is None else keys)
        self._process.join(10)
        if self._process.exitcode != 0:
            self.wrong.append(f"worker {self.number} ended with {self._process.exitcode}")
        return said

    def _ask(self, name: str, what: Any) -> Any:
        self._answered.clear()
        self._line.send((name, what))
        assert self._answered.wait(PATIENCE), f"worker {self.number} does not {name}"
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
                    self._answered.set()


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
        on_trio: the store of the worker that runs on trio, which redis-py does not.
        store: whoever restarts or stops the Valkey server has this.
    """

    wix: WixProcess
    valkey: Server
    proxies: list[Proxy]
    workers: list[Worker]
    births: Mapping[str, float]
    on_trio: tuple[str, dict[str, Any]]
    store: asyncio.Lock = attrs.field(factory=asyncio.Lock)

    @classmethod
    def found(cls, place: Path, portal: BlockingPortal, births: Mapping[str, float], *, seed: int) -> Town:
        """Starts everything; access tokens live 8 s."""
        os.environ.setdefault("WIXVISITOR_REQUIRE_SERVERS", "1")  # no server: an error that says so
        context = cradle()
        valkey = Server(program_of("valkey"), place, KEPT)
        valkey.start()
        wix = WixProcess(context, Opening(lifetime=8.0, births=births, patience=12.0))
        kinds = kinds_on("asyncio")
        proxies = [Proxy(portal, valkey.port) for _ in kinds]
        town = cls(wix, valkey, proxies, [], births, ("sqlite", {"path": f"{place}/visitors.db"}))
        shared, own = (
            {key: at for key, at in births.items() if is_on_trio(key) is on_trio} for on_trio in (False, True)
        )
        life = Life(client_id=CLIENT_ID, url=wix.url, store=town.on_trio, births=own, seed=seed * 10, backend="trio")
        lives = [
            attrs.evolve(life, store=_through(proxy), births=shared, backend="asyncio", client=kind)
            for proxy, kind in zip(proxies, kinds, strict=True)
        ]
        for number, one in enumerate([*lives, life]):
            town.workers.append(Worker(context, number, attrs.evolve(one, seed=seed * 10 + number)))
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


def is_on_trio(key: str) -> bool:
    """Whether this key's shoppers are those of the worker that runs on trio."""
    return key.startswith("trio")


def _through(proxy: Proxy) -> tuple[str, dict[str, Any]]:
    return "redis", {"url_or_client": proxy.url, "timeout": 1.0}
