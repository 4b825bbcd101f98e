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
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext, suppress
from multiprocessing.connection import Connection
from typing import Any

import anyio
import attrs
import trio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from tests.faults.clients import CLIENTS
from tests.faults.recovery import Answer
from tests.faults.scarcity import SCARCE, collecting, descriptors
from tests.faults.shoppers import Shoppers
from tests.storage.visitor_process import open_store
from wixvisitor import VisitorPool, VisitorSession

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
        backend: the event loop.
        client: a name in ``CLIENTS``.
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
    backend: str = "asyncio"
    client: str = "default"


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


Orders = MemoryObjectReceiveStream[tuple[str, Any]]


def live(life: Life, line: Connection) -> None:
    """The process."""
    warnings.simplefilter("error", ResourceWarning)  # something that was not closed; seen by the hook below
    # httpx's generator around an upload is left to the garbage collector when the request is cancelled.
    warnings.filterwarnings("ignore", r"Async generator 'httpx2?\._content", ResourceWarning)
    with suppress(KeyboardInterrupt):
        anyio.run(_Town(life, line).live, backend=life.backend)


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
        self._is_over = False

    async def live(self) -> None:
        """Shops, and does what the line says, until it says that it is over."""
        if self._life.backend == "asyncio":
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: self._wrong(f"asyncio: {context['message']}"))
            call: Any = loop.call_soon_threadsafe
        else:
            call = trio.lowlevel.current_trio_token().run_sync_soon
        logging.basicConfig(handlers=[_Log(self._wrong)], level=logging.INFO)
        sys.unraisablehook = lambda what: self._wrong(f"unraisable: {what.exc_value!r} in {what.object!r}")
        orders, taken = anyio.create_memory_object_stream[tuple[str, Any]](1_000)
        threading.Thread(target=self._listen, args=(call, orders), daemon=True).start()
        with orders, taken, collecting() if self._life.collects else nullcontext():
            finished = await self._shop(taken)
        self._line.send(("finished", finished))

    async def _shop(self, orders: Orders) -> Finished:
        """Opens, shops, obeys, serves everybody once more, closes."""
        tasks_before = {task.id for task in anyio.get_running_tasks()}
        before = descriptors()
        async with self._opened() as pool:
            shoppers = self._shoppers(pool)
            self._line.send(("ready", None))
            keys = await self._obey(shoppers, orders)
            answers, seconds = await _served(shoppers, keys)
        gc.collect()
        await anyio.sleep(0.1)  # trio closes what belongs to threads a moment later
        left = [task.name or "" for task in anyio.get_running_tasks() if task.id not in tasks_before]
        return Finished(answers, seconds, left, descriptors() - before)

    @asynccontextmanager
    async def _opened(self) -> AsyncGenerator[VisitorPool]:
        """Opens the store and a pool over it."""
        life, storage = self._life, open_store(*self._life.store)
        make = CLIENTS[life.client].make
        try:
            async with VisitorPool(
                life.client_id, storage=storage, client=make, base_url=life.url, renew_timeout=life.renew_timeout
            ) as pool:
                yield pool
        finally:
            if hasattr(storage, "aclose"):
                with anyio.CancelScope(shield=True):
                    await storage.aclose()

    def _shoppers(self, pool: VisitorPool) -> Shoppers:
        life, callers = self._life, CLIENTS[self._life.client].callers
        chance = random.Random(life.seed)
        return Shoppers(pool, life.births, chance, life.pause, self._wrong, callers, life.backend, self._opened)

    async def _obey(self, shoppers: Shoppers, orders: Orders) -> tuple[str, ...]:
        """Shops, until the line says that it is enough; returns the keys that it then asks for."""
        async with anyio.create_task_group() as tasks:
            for _ in range(self._life.shoppers):
                tasks.start_soon(shoppers.shop)
            tasks.start_soon(self._tell, shoppers)
            async for order, argument in orders:
                match order:
                    case "finish":
                        self._is_over = shoppers.is_over = True
                        keys: tuple[str, ...] = argument
                        return keys
                    case "block":
                        time.sleep(argument)  # noqa: ASYNC251 - that is the order
                    case "impatient" | "leave":
                        await shoppers.storm(order, argument)
                    case "judge":
                        self._line.send(("judged", await shoppers.judge(argument)))
                    case _:
                        with SCARCE[order]():
                            await anyio.sleep(argument)
        raise AssertionError("the line says when it is over")

    def _listen(self, call: Callable[..., object], orders: MemoryObjectSendStream[tuple[str, Any]]) -> None:
        with suppress(EOFError, OSError, RuntimeError):
            while True:
                call(orders.send_nowait, self._line.recv())
        os._exit(1) if not self._is_over else None  # whoever started this process is gone

    def _wrong(self, text: str) -> None:
        self._line.send(("wrong", text))

    async def _tell(self, shoppers: Shoppers) -> None:
        """Says once a second how many calls have ended, and how."""
        while not self._is_over:
            await anyio.sleep(1.0)
            self._line.send(("tally", dict(shoppers.tally)))
            shoppers.tally.clear()


async def _served(shoppers: Shoppers, keys: tuple[str, ...]) -> tuple[dict[str, str], float]:
    """Asks for every key until it is served: sessions that were in trouble recover by themselves."""
    began, answers = time.monotonic(), dict.fromkeys(keys, Answer(""))
    sessions: dict[str, VisitorSession] = {}
    while time.monotonic() - began < RECOVERY and (left := [key for key in keys if not answers[key].is_service]):
        for key in left:
            answers[key] = await shoppers.ask(key, sessions)
        await anyio.sleep(0.2)
    return {key: answer.said for key, answer in answers.items()}, time.monotonic() - began
