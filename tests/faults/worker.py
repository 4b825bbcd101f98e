"""A process of shoppers who share their visitors with other processes, and go shopping until they are told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from multiprocessing.connection import Connection
from typing import Any

import attrs
import httpx

from tests.faults.scarcity import SCARCE, collecting, descriptors
from tests.faults.truth import SHOPPER
from tests.storage.visitor_process import open_store
from wixvisitor import VisitorPool, VisitorSession, WixVisitorError

CART = "/ecom/v2/carts/current"
BOUND = 40.0  # seconds in which every call has ended, a stop of the process included
RECOVERY = 90.0  # seconds in which every visitor is served again after the last fault; a pause lasts 60 at most


@attrs.frozen(kw_only=True)
class Life:
    """What a process is told at its start.

    Attributes:
        store: the adapter's name and its arguments.
        births: for each key, from when on somebody shops under it (epoch seconds).
        shoppers: how many coroutines shop.
        pause: seconds between two requests of one of them, on average.
        collects: whether garbage is collected all the time.
    """

    client_id: str
    url: str
    store: tuple[str, dict[str, Any]]
    births: Mapping[str, float]
    seed: int
    renew_timeout: float = 2.0
    shoppers: int = 8
    pause: float = 0.15
    collects: bool = False


@attrs.frozen
class Finished:
    """What a process says in the end.

    Attributes:
        answers: for each key, how the last request ended.
        seconds: how long it took until every key was served.
        tasks: what was still running after everything was closed.
        descriptors: how many more were open than in the beginning.
    """

    answers: dict[str, str]
    seconds: float
    tasks: list[str]
    descriptors: int


def live(life: Life, line: Connection) -> None:
    """The process."""
    warnings.simplefilter("error", ResourceWarning)  # something that was not closed; seen by the hook below
    with suppress(KeyboardInterrupt):
        asyncio.run(_Town(life, line).live())


class _Log(logging.Handler):
    """What is logged is read, and not shown: no token in it, and no error of the event loop."""

    def __init__(self, wrong: Callable[[str], None]) -> None:
        super().__init__()
        self._wrong = wrong

    def emit(self, record: logging.LogRecord) -> None:
        """Looks at one record."""
        text = self.format(record)
        if "JWS." in text:
            self._wrong(f"a token in the log of {record.name}")
        if record.levelno >= logging.ERROR:
            self._wrong(f"logged by {record.name}: {text}")


class _Town:
    def __init__(self, life: Life, line: Connection) -> None:
        self._life = life
        self._line = line
        self._random = random.Random(life.seed)
        self._tally: Counter[str] = Counter()
        self._is_over = False
        self._inbox: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    async def live(self) -> None:
        """Shops, and does what the line says, until it says that it is over."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self._wrong(f"asyncio: {context['message']}"))
        logging.basicConfig(handlers=[_Log(self._wrong)], level=logging.INFO)
        sys.unraisablehook = lambda what: self._wrong(f"unraisable: {what.exc_value!r} in {what.object!r}")
        threading.Thread(target=self._listen, args=(loop,), daemon=True).start()

        before, storage = descriptors(), open_store(*self._life.store)
        pool = VisitorPool(
            self._life.client_id, storage=storage, base_url=self._life.url, renew_timeout=self._life.renew_timeout
        )
        self._line.send(("ready", None))
        with collecting() if self._life.collects else nullcontext():
            keys = await self._obey(pool)
        finished = await self._served(pool, keys)
        await pool.aclose()
        if hasattr(storage, "aclose"):
            await storage.aclose()
        gc.collect()
        tasks_left = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        self._line.send(("finished", attrs.evolve(finished, tasks=tasks_left, descriptors=descriptors() - before)))

    async def _obey(self, pool: VisitorPool) -> tuple[str, ...]:
        """Shops, until the line says that it is enough; returns the keys that it then asks for."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._life.shoppers):
                tasks.create_task(self._shop(pool))
            tasks.create_task(self._tell())
            while True:
                order, argument = await self._inbox.get()
                if order == "finish":
                    self._is_over = True
                    return argument
                if order == "block":
                    time.sleep(argument)  # noqa: ASYNC251 - that is the order
                else:
                    with SCARCE[order]():
                        await asyncio.sleep(argument)

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(EOFError, OSError, RuntimeError):
            while True:
                loop.call_soon_threadsafe(self._inbox.put_nowait, self._line.recv())
        os._exit(1) if not self._is_over else None  # whoever started this process is gone

    def _wrong(self, text: str) -> None:
        self._line.send(("wrong", text))

    async def _tell(self) -> None:
        """Says once a second how many calls have ended, and how."""
        while not self._is_over:
            await asyncio.sleep(1.0)
            self._line.send(("tally", dict(self._tally)))
            self._tally.clear()

    async def _shop(self, pool: VisitorPool) -> None:
        """Is one shopper after another: a few requests each, then nobody holds the session any more."""
        while not self._is_over:
            known = [key for key, birth in self._life.births.items() if birth <= time.time()]
            key = self._random.choice(known)
            for _ in range(self._random.randint(1, 4)):
                await self._call(pool, key)
                await asyncio.sleep(self._random.uniform(0, 2 * self._life.pause))

    async def _call(self, pool: VisitorPool, key: str) -> None:
        """Makes one request, and cancels one in ten at some moment."""
        began, patience = time.monotonic(), None
        if self._random.random() < 0.1:
            patience = self._random.uniform(0.0, 0.03)
        try:
            async with asyncio.timeout(patience):
                response = await (await pool.session(key)).get(CART, params={SHOPPER: key})
            ended = f"answered {response.status_code}"
        except TimeoutError:
            ended = "cancelled"
            if patience is None:
                self._wrong(f"a TimeoutError for {key}, though nobody cancelled")
        except WixVisitorError as error:
            ended = type(error).__name__
        except httpx.TransportError:
            ended = "the API's connection broke"
        except Exception as error:
            ended = "wrong"
            self._wrong(f"{type(error).__name__} for {key}: {error}")
        self._tally[ended] += 1
        if time.monotonic() - began > BOUND:
            self._wrong(f"a call for {key} took {time.monotonic() - began:.1f} s")

    async def _served(self, pool: VisitorPool, keys: tuple[str, ...]) -> Finished:
        """Asks for every key until it is served: sessions that were in trouble recover by themselves."""
        began, sessions = time.monotonic(), {}
        answers = dict.fromkeys(keys, "")
        while time.monotonic() - began < RECOVERY:
            for key in [key for key, answer in answers.items() if answer not in ("200", "404")]:
                answers[key] = await self._answer(pool, key, sessions)
            if all(answer in ("200", "404") for answer in answers.values()):
                break
            await asyncio.sleep(0.2)
        return Finished(answers, time.monotonic() - began, [], 0)

    async def _answer(self, pool: VisitorPool, key: str, sessions: dict[str, VisitorSession]) -> str:
        try:
            if key not in sessions:
                sessions[key] = await pool.session(key)
            return str((await sessions[key].get(CART, params={SHOPPER: key})).status_code)
        except (WixVisitorError, httpx.TransportError) as error:
            return f"{type(error).__name__}: {error}"
