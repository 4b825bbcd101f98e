"""What goes wrong in the soak, and when: a schedule that a seed makes, and the hands that carry it out."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any, Final

import attrs

from tests.faults.town import Town
from tests.storage.conftest import Proxy
from wixvisitor.testing._calls import TOKEN_PATH

GAP: Final = 0.6  # seconds between two faults of a gust, on average
MOST: Final = 4  # faults in a gust
HTML: Final = "<html>Bad gateway</html>"
WIX: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "Wix: 429": ("fail", {"status": 429, "headers": {"Retry-After": "1"}}),
    "Wix: 503": ("fail", {"status": 503}),
    "Wix: 502 and HTML": ("fail", {"status": 502, "body": HTML}),
    "Wix: 200 and HTML": ("fail", {"status": 200, "body": HTML}),
    "Wix: connection dropped": ("drop", {}),
    "Wix: done, answer dropped": ("drop", {"committed": True}),
    "Wix: done, answer cut off": ("truncate", {"after_bytes": 100}),
    "Wix: hangs": ("hang", {}),
    "Wix: late": ("delay", {"seconds": 0.7}),
    "Wix: done, answer late": ("delay", {"seconds": 3.0, "committed": True}),
    "API: 503": ("fail", {"status": 503, "path": None}),
    "API: connection dropped": ("drop", {"path": None}),
    "API: hangs": ("hang", {"path": None}),
}
STORMS: Final[dict[str, tuple[str, str | None]]] = {  # what callers do, and the fault that goes with it
    "storm: API hangs, deadlines are short": ("impatient", "API: hangs"),
    "storm: Wix hangs, deadlines are short": ("impatient", "Wix: hangs"),
    "storm: requests, uploads, streams are left": ("leave", None),
}


@attrs.frozen
class Trouble:
    """One fault.

    Attributes:
        after: seconds since the one before it in its gust began.
        kind: a name in ``KINDS``.
        seconds: how long it lasts.
        worker: which worker it is about.
        key: which visitor it is about.
    """

    after: float
    kind: str
    seconds: float
    worker: int
    key: str


def gusts(seed: int, *, workers: int, keys: tuple[str, ...]) -> Iterator[tuple[Trouble, ...]]:
    """Yields faults that go together, without an end: each kind as often as any other, in any order."""
    chance, kinds = random.Random(seed), list[str]()
    while True:
        gust = []
        for _ in range(chance.randint(1, MOST)):
            kinds = kinds or chance.sample(tuple(KINDS), len(KINDS))
            kind = kinds.pop()
            worker = chance.randrange(1 if kind == "SIGKILL" else 0, workers)  # worker 0 lives through everything
            after = chance.expovariate(1 / GAP) if gust else 0.0
            gust.append(Trouble(after, kind, chance.uniform(0.3, 3.0), worker, chance.choice(keys)))
        yield tuple(gust)


async def befall(town: Town, number: int, trouble: Trouble) -> None:
    """Lets it happen, and sees that it ends."""
    await KINDS[trouble.kind](town, number, trouble)


async def _kill(town: Town, _: int, trouble: Trouble) -> None:
    worker = town.workers[trouble.worker]
    async with worker.lock:
        await asyncio.to_thread(worker.kill)
        await asyncio.sleep(trouble.seconds / 5)
        await asyncio.to_thread(worker.start)


async def _stop(town: Town, _: int, trouble: Trouble) -> None:
    worker = town.workers[trouble.worker]
    async with worker.lock:
        worker.signal(signal.SIGSTOP)
        await asyncio.sleep(trouble.seconds)
        worker.signal(signal.SIGCONT)


async def _block(town: Town, _: int, trouble: Trouble) -> None:
    worker = town.workers[trouble.worker]
    async with worker.lock:
        worker.order("block", trouble.seconds)
        await asyncio.sleep(trouble.seconds)


async def _storm(town: Town, number: int, trouble: Trouble) -> None:
    """More callers than connections; a fault that goes with them lasts as long as they do."""
    worker, (what, fault) = town.workers[trouble.worker], STORMS[trouble.kind]
    async with worker.lock:
        worker.order(what, trouble.seconds)
        if fault is None:
            await asyncio.sleep(trouble.seconds)
        else:
            await _wix(town, number, attrs.evolve(trouble, kind=fault))


async def _wix(town: Town, number: int, trouble: Trouble) -> None:
    name, arguments = WIX[trouble.kind]
    arguments = {"path": TOKEN_PATH, **arguments}
    await asyncio.to_thread(town.wix.ask, "fault", number=number, name=name, arguments=arguments)
    await asyncio.sleep(trouble.seconds)
    await asyncio.to_thread(town.wix.ask, "end", number=number)


async def _rotate(town: Town, _: int, trouble: Trouble) -> None:
    await asyncio.to_thread(town.wix.ask, "rotate", on=True)
    await asyncio.sleep(trouble.seconds)
    await asyncio.to_thread(town.wix.ask, "rotate", on=False)


async def _revoke(town: Town, _: int, trouble: Trouble) -> None:
    await asyncio.to_thread(town.wix.ask, "revoke", key=trouble.key)


async def _refuse(town: Town, _: int, trouble: Trouble) -> None:
    await asyncio.to_thread(town.wix.ask, "refuse", key=trouble.key)


async def _restart_valkey(town: Town, _: int, trouble: Trouble) -> None:
    async with town.store:
        await asyncio.to_thread(town.valkey.stop)
        await asyncio.sleep(trouble.seconds / 2)
        await asyncio.to_thread(town.valkey.start)


async def _stall_valkey(town: Town, _: int, trouble: Trouble) -> None:
    async with town.store:
        assert town.valkey.process is not None
        town.valkey.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(trouble.seconds / 2)
        town.valkey.process.send_signal(signal.SIGCONT)


async def _cut_off(proxy: Proxy, how: str, seconds: float) -> None:
    """Does without the store for a while; of two that overlap, the first to end ends both."""
    if how == "slow":
        proxy.delay = seconds / 15  # up to a third of a second for each reply
    elif how == "lose":
        proxy.lose_replies(3)
    else:
        await asyncio.to_thread(getattr(proxy, how))
    await asyncio.sleep(seconds)
    await asyncio.to_thread(proxy.come_back)


PROXY: Final = {
    "store: connections cut": partial(_cut_off, how="cut"),
    "store: cut off": partial(_cut_off, how="refuse"),
    "store: hangs": partial(_cut_off, how="hang"),
    "store: slow": partial(_cut_off, how="slow"),
    "store: replies lost": partial(_cut_off, how="lose"),
}


async def _proxy(town: Town, _: int, trouble: Trouble) -> None:
    await PROXY[trouble.kind](town.proxies[trouble.worker % len(town.proxies)], seconds=trouble.seconds)


KINDS: Final[dict[str, Callable[[Town, int, Trouble], Awaitable[None]]]] = {
    "SIGKILL": _kill,
    "SIGSTOP, SIGCONT": _stop,
    "event loop blocked": _block,
    **dict.fromkeys(WIX, _wix),
    **dict.fromkeys(STORMS, _storm),
    "Wix: new refresh tokens": _rotate,
    "Wix: access tokens revoked": _revoke,
    "Wix: visitor refused": _refuse,
    "Valkey killed, restarted": _restart_valkey,
    "Valkey stopped, goes on": _stall_valkey,
    **dict.fromkeys(PROXY, _proxy),
}
