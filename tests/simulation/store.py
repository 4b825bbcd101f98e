"""A store that several processes share, as the simulation has it: it does as the Protocol says, slowly and badly."""

from __future__ import annotations

import bisect
import itertools
import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from wixvisitor._tasks.shared_task import _inside
from wixvisitor.storage import ANY_VERSION, AnyVersion, Record, VersionConflict

from .past import Asked
from .site import STORE_LIMIT

if TYPE_CHECKING:
    from .scheduler import Process
    from .watch import Watch


class Unreachable(Exception):
    """The store's driver could not, or does not know whether it could."""


@attrs.define(kw_only=True, eq=False)
class StoreMoods:
    """How likely each trouble is, 0 to 1, and how slow the store is."""

    failures: float = 0.0
    lost_replies: float = 0.0
    hangs: float = 0.0
    slowness: float = 0.01
    seconds: tuple[float, float] = (0.0, 0.0)  # that every call takes at least and at most, besides


@attrs.frozen(eq=False)
class Lease:
    """A lease that somebody has.

    Attributes:
        process: who asked for it.
        since, until: seconds since the world began.
        stopped_for: how long its process had been stopped in all when it was taken.
    """

    holder: str
    process: Process
    since: float
    until: float
    stopped_for: float


class StoreModel:
    """What the store holds: the one truth that all processes share.

    Attributes:
        works_in_threads: a call cannot be cancelled; it goes on, and its caller has to wait or leave it behind.
    """

    def __init__(self, chance: random.Random, watch: Watch) -> None:
        self.moods = StoreMoods()
        self.works_in_threads = False
        self.records: dict[str, Record] = {}
        self.leases: dict[str, Lease] = {}
        self._random = chance
        self._watch = watch
        self._versions = itertools.count(1)
        self._history: dict[str, list[tuple[float, Record | None]]] = defaultdict(lambda: [(-inf, None)])

    async def do(self, process: Process, work: Callable[[], Any]) -> Any:
        """Carries one call over to the store and its answer back."""
        chance, moods = self._random, self.moods
        fails, loses, hangs = (chance.random() < mood for mood in (moods.failures, moods.lost_replies, moods.hangs))
        there, back = (0.0005 + chance.expovariate(2 / moods.slowness) for _ in range(2))
        if moods.seconds[1]:
            there += chance.uniform(*moods.seconds)

        def act() -> Any:
            try:
                return work()
            except VersionConflict as conflict:
                return conflict

        with anyio.CancelScope(shield=self.works_in_threads):
            answer = await process.carry(act, there=there, back=back + (60.0 if hangs else 0.0), arrives=not fails)
        if loses or process.killed or not answer:
            raise Unreachable("the connection to the store was lost")
        if isinstance(answer[0], VersionConflict):
            raise answer[0]
        return answer[0]

    def load(self, key: str) -> Record | None:
        return self.records.get(key)

    def save(self, process: Process, key: str, value: str, *, expected: str | AnyVersion | None, asked: Asked) -> str:
        held = self.records.get(key)
        before = held.version if held else None
        if expected is not ANY_VERSION and expected != before:
            raise VersionConflict("the record was changed by somebody else")
        version, is_conditional = str(next(self._versions)), expected is not ANY_VERSION
        self._watch.saved(process, key, json.loads(value), version, asked, is_conditional=is_conditional)
        self._keep(process.scheduler.now, key, Record(value, version))
        return version

    def delete(self, process: Process, key: str) -> None:
        self._keep(process.scheduler.now, key, None)
        self._watch.deleted(process, key)

    def roll_back(self, now: float, to: float, keys: Iterable[str], *, with_leases: bool) -> None:
        """Makes these records what they were at another time, absent included. ``with_leases`` loses all leases."""
        for key in keys:
            history, current = self._history[key], self.records.get(key)
            _, record = history[bisect.bisect_right(history, to, key=lambda entry: entry[0]) - 1]
            if record is not current:
                self._keep(now, key, record)
                self._watch.went_back(key, record.version if record else None)
        if with_leases:
            for key in self.leases:
                self._watch.lease_was_lost(key)
            self.leases.clear()

    def _keep(self, now: float, key: str, record: Record | None) -> None:
        self._history[key].append((now, record))
        if record is None:
            self.records.pop(key, None)
        else:
            self.records[key] = record

    def acquire(self, process: Process, key: str, holder: str, seconds: float) -> float:
        now, lease = process.scheduler.now, self.leases.get(key)
        if lease is not None and lease.holder != holder and lease.until > now:
            return lease.until - now
        if lease is not None and lease.holder != holder:
            self._watch.lease_ran_out(key, lease)
        self._watch.lease_taken(process, key, holder)
        self.leases[key] = Lease(holder, process, now, now + seconds, process.stopped_for)
        return 0.0

    def release(self, key: str, holder: str) -> None:
        lease = self.leases.get(key)
        if lease is not None and lease.holder == holder:
            del self.leases[key]


class PlainStorage:
    """One process's way to the store, with no more than load, save and delete."""

    def __init__(self, store: StoreModel, process: Process, watch: Watch) -> None:
        self._store, self._process, self._watch = store, process, watch

    async def load(self, key: str) -> Any:
        self._watch.at_store(self._process, key)
        record = await self._do(key, lambda: self._store.load(key))
        self._watch.has_read(self._process, key, record.version if record else None)
        return record

    async def save(self, key: str, value: str) -> Any:
        return await self._save(key, value, ANY_VERSION)

    async def delete(self, key: str) -> None:
        await self._do(key, lambda: self._store.delete(self._process, key))

    async def _save(self, key: str, value: str, expected: str | AnyVersion | None) -> Any:
        store, process, content = self._store, self._process, json.loads(value)
        asked = self._watch.asks_to_save(process, key, content)
        work = partial(store.save, process, key, value, expected=expected, asked=asked)
        try:
            version = await self._do(key, work)
        except BaseException as error:
            self._watch.has_not_saved(process, key, content, error)
            raise
        self._watch.has_saved(process, key, content, version, asked)
        return version

    async def _do(self, key: str, work: Callable[[], Any]) -> Any:
        with self._watch.store_works(self._process, key):
            return await self._store.do(self._process, work)


class ConditionalStorage(PlainStorage):
    """… with compare-and-set."""

    async def save(self, key: str, value: str, *, expected: str | AnyVersion | None = ANY_VERSION) -> Any:
        return await self._save(key, value, expected)


class LeasingStorage(ConditionalStorage):
    """… and with leases."""

    async def acquire_lease(self, key: str, holder: str, seconds: float) -> float:
        self._watch.asks_for_lease(self._process, key, holder)
        answer, since = "failed", self._process.scheduler.now
        try:
            left = await self._do(key, lambda: self._store.acquire(self._process, key, holder, seconds))
            answer = "taken" if left else "granted"
            if self._process.scheduler.now - since > STORE_LIMIT or _is_given_up():
                answer = "failed"  # the one who asked has gone on without it, and the lease runs out
        finally:
            self._watch.lease_answered(self._process, key, answer)
        return float(left)

    async def release_lease(self, key: str, holder: str) -> None:
        self._watch.gives_lease_back(self._process, key)
        await self._do(key, lambda: self._store.release(key, holder))


STORAGES = {"plain": PlainStorage, "conditional": ConditionalStorage, "leasing": LeasingStorage}


def _is_given_up() -> bool:
    """Whether the call that runs here was cancelled: a store may finish such a call all the same."""
    call = _inside.get()
    return call is not None and call.is_ending
