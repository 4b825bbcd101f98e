"""RedisStorage on real servers: the contract, lost replies, outages, event loops, and whose connections it touches."""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import random
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import anyio
import pytest
import redis.asyncio
import redis.exceptions
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

import wixvisitor
from tests.constants import CART, LIFETIME
from tests.storage.conftest import KINDS, lacking
from wixvisitor import ConfigurationError, StorageError, VisitorPool, VisitorSession
from wixvisitor.storage import ConditionalStorage, LeasingStorage, Record, TokenStorage, VersionConflict, _asyncio_calls
from wixvisitor.storage import _redis_scripts as scripts
from wixvisitor.storage._redis_scripts import Script
from wixvisitor.storage.redis import RedisStorage
from wixvisitor.testing import FakeWix, StorageContract

no_unix = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no Unix sockets")
pytestmark = [pytest.mark.anyio, pytest.mark.machine]

KEY = "client:default"
SOON = 3.0  # seconds; generous: a call takes at most 1
PASSWORD = "pass/word:@%"
ESCAPED = "pass%2Fword%3A%40%25"


@pytest.fixture
def anyio_backend() -> str:
    """redis-py is for asyncio only."""
    return "asyncio"


@pytest.fixture
def gate(proxy: Callable[..., Any], redis_url: str) -> Any:
    """A proxy before the server that all tests share."""
    place = urlsplit(redis_url)
    return proxy(place.port or 6379, place.hostname)


@pytest.fixture
def gate_url(gate: Any, redis_url: str) -> str:
    """The shared server's URL, through the proxy."""
    place = urlsplit(redis_url)
    user = place.netloc.rpartition("@")[0]
    return urlunsplit(place._replace(netloc=f"{user}@127.0.0.1:{gate.port}" if user else f"127.0.0.1:{gate.port}"))


patient = functools.partial(RedisStorage, timeout=10.0)
"""A store for tests whose subject is not the time: machines that test are busy."""


@pytest.fixture
async def storage(gate_url: str, redis_prefix: str) -> AsyncIterator[RedisStorage]:
    """A patient store behind the proxy, connected, with every script in the server's cache."""
    storage = patient(gate_url, prefix=redis_prefix)
    await warm_up(storage)
    yield storage
    await storage.aclose()


@pytest.fixture
async def hurried(gate_url: str, redis_prefix: str) -> AsyncIterator[RedisStorage]:
    """The same with the default patience: half a second for an attempt, one for a call."""
    storage = RedisStorage(gate_url, prefix=redis_prefix)
    for _ in range(5):
        with suppress(StorageError):
            await warm_up(storage)
            break
    yield storage
    await storage.aclose()


async def warm_up(storage: RedisStorage) -> None:
    await storage.save("warm", "up")
    await storage.load("warm")
    await storage.acquire_lease("warm", "a", 1)
    await storage.release_lease("warm", "a")
    await storage.delete("warm")


@pytest.fixture
async def raw(redis_url: str) -> AsyncIterator[Redis]:
    """A client beside the store, to look at what it did."""
    client = Redis.from_url(redis_url)
    yield client
    await client.aclose()


@contextmanager
def within(seconds: float = SOON) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


async def refuses(storage: RedisStorage, reason: str, *calls: str) -> None:
    """Each call, or those named, is a StorageError for this reason, soon and without the password."""
    todo: dict[str, Callable[[], Awaitable[object]]] = {
        "load": lambda: storage.load(KEY),
        "save": lambda: storage.save(KEY, "classified"),
        "delete": lambda: storage.delete(KEY),
        "lease": lambda: storage.acquire_lease(KEY, "a", 1),
        "end a lease": lambda: storage.release_lease(KEY, "a"),
    }

    async def is_refused(name: str) -> None:
        with within(), pytest.raises(StorageError, match=f"cannot {name}: .*{reason}") as caught:
            await todo[name]()
        assert not isinstance(caught.value, VersionConflict)
        shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
        assert "classified" not in str(caught.value)
        assert caught.value.__context__ is None
        assert not any(secret in shown for secret in (PASSWORD, ESCAPED))

    await asyncio.gather(*(is_refused(name) for name in calls or todo))


# The contract


class TestOwnClient(StorageContract):
    life = 1_000.0

    @pytest.fixture(autouse=True)
    def _place(self, gate: Any, gate_url: str, redis_prefix: str) -> None:
        self.gate, self.url, self.prefix = gate, gate_url, redis_prefix

    async def make_storage(self) -> RedisStorage:
        return patient(self.url, prefix=self.prefix)

    async def make_expiring(self, seconds: float) -> RedisStorage:
        return patient(self.url, prefix=self.prefix, expire_after=seconds)

    async def reopen(self, storage: TokenStorage) -> RedisStorage:
        return patient(self.url, prefix=self.prefix)

    async def pass_time(self, storage: TokenStorage, seconds: float) -> None:
        async with Redis.from_url(self.url) as client:
            async for key in client.scan_iter(f"{self.prefix}:*"):
                await client.pexpire(key, await client.pttl(key) - int(seconds * 1000))

    async def lose_next_reply(self, storage: TokenStorage) -> bool:
        await storage.save("warm", "up")
        self.gate.lose_replies(to=b"EVAL")
        return True


class TestGivenClient(StorageContract):
    @pytest.fixture(autouse=True, params=[False, True], ids=["bytes", "decoded"])
    async def _client(self, request: pytest.FixtureRequest, redis_url: str, redis_prefix: str) -> AsyncIterator[None]:
        self.prefix = redis_prefix
        self.client = Redis.from_url(redis_url, decode_responses=request.param)
        yield
        assert await self.client.ping()
        await self.client.aclose()

    async def make_storage(self) -> RedisStorage:
        return patient(self.client, prefix=self.prefix)

    async def reopen(self, storage: TokenStorage) -> RedisStorage:
        return patient(self.client, prefix=self.prefix)


class TestClusterClient(StorageContract):
    @pytest.fixture(autouse=True)
    async def _client(self, redis_cluster_url: str, redis_prefix: str) -> AsyncIterator[None]:
        self.prefix = redis_prefix
        self.client = RedisCluster.from_url(redis_cluster_url)
        yield
        await self.client.aclose()

    async def make_storage(self) -> RedisStorage:
        return patient(self.client, prefix=self.prefix)

    async def reopen(self, storage: TokenStorage) -> RedisStorage:
        return patient(self.client, prefix=self.prefix)


async def test_offers_everything(redis_url):
    """It can compare and set, and it has leases."""
    storage = RedisStorage(redis_url)
    assert isinstance(storage, ConditionalStorage)
    assert isinstance(storage, LeasingStorage)


# Sent twice


async def twice(storage: RedisStorage, script: Script, key: bytes, *arguments: Any) -> list[Any]:
    return [await storage._run("test", script, key, *arguments) for _ in range(2)]


@pytest.mark.parametrize(("condition", "expected"), [("any", ""), ("none", ""), ("same", "old")])
async def test_save_script_twice(storage, condition, expected):
    """A write that comes twice was done, under whichever condition."""
    key = storage._record_key(KEY)
    if condition == "same":
        assert await twice(storage, scripts.SAVE, key, "first", "old", "none", "", 60_000) == [1, 1]
    assert await twice(storage, scripts.SAVE, key, "data", "new", condition, expected, 60_000) == [1, 1]
    assert await storage.load(KEY) == Record("data", "new")


@pytest.mark.parametrize(("condition", "expected"), [("any", ""), ("none", ""), ("same", "old")])
async def test_save_script_again_after_another_write(storage, condition, expected):
    """A write that comes again after somebody else's was done, and does not undo theirs."""
    key = storage._record_key(KEY)
    if condition == "same":
        await storage._run("test", scripts.SAVE, key, "first", "old", "none", "", 60_000)
    arguments = ("data", "new", condition, expected, 60_000)
    assert await storage._run("test", scripts.SAVE, key, *arguments) == 1
    theirs = await storage.save(KEY, "theirs")
    assert await storage._run("test", scripts.SAVE, key, *arguments) == 1
    assert await storage.load(KEY) == Record("theirs", theirs)


async def test_late_conditional_write(storage):
    """A conditional write that comes a second time much later changes nothing."""
    old = await storage.save(KEY, "old")
    arguments = ("data", "new", "same", old, 60_000)
    assert await storage._run("test", scripts.SAVE, storage._record_key(KEY), *arguments) == 1
    await storage.save(KEY, "theirs")
    newest = await storage.save(KEY, "theirs again")
    assert await storage._run("test", scripts.SAVE, storage._record_key(KEY), *arguments) == 0
    assert await storage.load(KEY) == Record("theirs again", newest)


async def test_lease_scripts_twice(storage):
    """Taking and giving back a lease may come twice; the second holder's lease survives the first one's repetition."""
    key = storage._lease_key(KEY)
    assert await twice(storage, scripts.ACQUIRE, key, "a", 60_000) == [0, 0]
    assert 0 < (await twice(storage, scripts.ACQUIRE, key, "b", 60_000))[1] <= 60_000
    assert await twice(storage, scripts.RELEASE, key, "a") == [1, 0]
    assert await storage.acquire_lease(KEY, "b", 60) == 0.0
    assert await twice(storage, scripts.RELEASE, key, "a") == [0, 0]
    assert await storage.acquire_lease(KEY, "a", 60) > 0


async def test_delete_and_load_scripts_twice(storage):
    """Deleting and loading may come twice."""
    version = await storage.save(KEY, "value")
    key = storage._record_key(KEY)
    assert await twice(storage, scripts.LOAD, key, 60_000) == [["value", version]] * 2
    assert await twice(storage, scripts.DELETE, key) == [1, 0]
    assert await twice(storage, scripts.LOAD, key, 60_000) == [None, None]


async def test_lease_is_prolonged(storage, raw):
    """Whoever has the lease and asks again has it for the new time."""
    await storage.acquire_lease(KEY, "a", 5)
    await storage.acquire_lease(KEY, "a", 60)
    assert 5_000 < await raw.pttl(storage._lease_key(KEY)) <= 60_000


# Lost replies


async def test_lost_replies(storage, gate):
    """When the reply to any call is lost, it is sent again and has the result it would have had."""

    async def unheard(call: Awaitable[Any]) -> Any:
        gate.lose_replies(to=b"EVAL")
        return await call

    version = await unheard(storage.save(KEY, "value", expected=None))
    assert await unheard(storage.load(KEY)) == Record("value", version)
    assert await unheard(storage.acquire_lease(KEY, "a", 60)) == 0.0
    await unheard(storage.release_lease(KEY, "a"))
    await unheard(storage.delete(KEY))
    assert gate.lost == 5
    assert await storage.load(KEY) is None
    assert await storage.acquire_lease(KEY, "b", 60) == 0.0


async def test_lost_reply_of_a_conflict(storage, gate):
    """A conflict whose reply was lost is a conflict."""
    await storage.save(KEY, "theirs")
    gate.lose_replies(to=b"EVAL")
    with pytest.raises(VersionConflict):
        await storage.save(KEY, "ours", expected="older")
    assert gate.lost == 1


async def test_replies_lost_again_and_again(storage, gate):
    """When the repetition's reply is lost as well it is a StorageError, and the next call works."""
    gate.lose_replies(2, to=b"EVAL")
    await refuses(storage, "cannot be reached", "save")
    assert gate.lost == 2
    assert (await storage.load(KEY)).value == "classified"


async def test_cut_connections(storage, gate):
    """Connections that ended while they were idle are replaced without an error."""
    await storage.save(KEY, "value")
    gate.cut()
    assert (await storage.load(KEY)).value == "value"


# How long records live


async def test_life_is_prolonged_by_tenths(storage, raw, redis_url, redis_prefix):
    """Loading prolongs a record's life only after a tenth of it has gone."""
    storage = patient(redis_url, prefix=redis_prefix, expire_after=1_000)
    await storage.save(KEY, "value")
    key = storage._record_key(KEY)
    assert 999_000 < await raw.pttl(key) <= 1_000_000
    for left, then in ((950_000, 950_000), (890_000, 1_000_000), (2_000_000, 1_000_000)):
        await raw.pexpire(key, left)
        await storage.load(KEY)
        assert then - 2_000 < await raw.pttl(key) <= then
    await storage.aclose()


async def test_records_for_ever(raw, redis_url, redis_prefix):
    """With ``expire_after=None`` a record that is saved or loaded has no end, whatever it had before."""
    ending, endless = (patient(redis_url, prefix=redis_prefix, expire_after=life) for life in (1_000, None))
    key = endless._record_key(KEY)
    await endless.save(KEY, "value")
    assert await raw.pttl(key) == -1
    await ending.load(KEY)
    assert await raw.pttl(key) > 0
    await endless.load(KEY)
    assert await raw.pttl(key) == -1
    await ending.save(KEY, "value")
    await endless.save(KEY, "value")
    assert await raw.pttl(key) == -1
    await ending.aclose()
    await endless.aclose()


async def test_kept_briefly(storage: RedisStorage, raw: Redis) -> None:
    """What is left of a forgotten visitor lives as long as was said, also if it is read; a visitor lives on."""
    key = storage._record_key(KEY)
    await storage.save(KEY, "nobody", keep_for=1_000.0)
    await raw.pexpire(key, 5_000)
    assert await storage.load(KEY) is not None
    assert 0 < await raw.pttl(key) <= 5_000
    version = await storage.save(KEY, "nobody", keep_for=1_000.0)
    assert 990_000 < await raw.pttl(key) <= 1_000_000
    await storage.save(KEY, "a visitor", expected=version)
    assert await raw.pttl(key) > 1_000_000


async def test_record_ends_by_itself(redis_url, redis_prefix):
    """A record that was not used for its life is gone, by the server's own clock."""
    storage = patient(redis_url, prefix=redis_prefix, expire_after=0.05)
    await storage.save(KEY, "value")
    await anyio.sleep(0.1)
    assert await storage.load(KEY) is None
    await storage.aclose()


async def test_default_life(storage, raw):
    """By default a record lives as long as a Wix refresh token: a year."""
    await storage.save(KEY, "value")
    assert 365 * 86_400 - 5 <= await raw.ttl(storage._record_key(KEY)) <= 365 * 86_400


# What is in Redis


async def test_keys(storage, raw, redis_prefix):
    """A visitor has one key for the record and one for the lease, with the visitor's key in braces."""
    await storage.save(KEY, "value")
    await storage.acquire_lease(KEY, "a", 60)
    keys = {key async for key in raw.scan_iter(f"{redis_prefix}*")}
    expected = f"{redis_prefix}:{{{KEY}}}".encode()
    assert keys == {expected, expected + b":lease"}
    await storage.delete(KEY)
    await storage.release_lease(KEY, "a")
    assert not [key async for key in raw.scan_iter(f"{redis_prefix}*")]


async def test_prefixes_are_separate(storage, redis_url, redis_prefix):
    """Two prefixes are two stores."""
    other = patient(redis_url, prefix=f"{redis_prefix}-other")
    await storage.save(KEY, "value")
    assert await other.load(KEY) is None
    await other.aclose()


FOREIGN: dict[str, Callable[[Redis, bytes], Awaitable[object]]] = {
    "a string": lambda raw, key: raw.set(key, "theirs"),
    "a list": lambda raw, key: raw.rpush(key, "theirs"),
    "another hash": lambda raw, key: raw.hset(key, "field", "theirs"),
    "not UTF-8": lambda raw, key: raw.hset(key, mapping={"data": b"\xff\xfe", "version": b"\xff"}),
    "without data": lambda raw, key: raw.hset(key, "version", "theirs"),
    "without a version": lambda raw, key: raw.hset(key, "data", "theirs"),
}


@pytest.mark.parametrize("kind", FOREIGN)
async def test_foreign_record_is_left_in_place(storage, raw, kind):
    """What is no record of ours is a StorageError for every call about it, and stays byte for byte as it was."""
    key = storage._record_key(KEY)
    await FOREIGN[kind](raw, key)
    before = await raw.dump(key)
    if kind == "not UTF-8":
        await refuses(storage, "no record of wixvisitor", "load")
        return
    await refuses(storage, "no record of wixvisitor", "load", "save", "delete")
    for expected in (None, "theirs"):
        with pytest.raises(StorageError, match="no record of wixvisitor"):
            await storage.save(KEY, "value", expected=expected)
    assert await raw.dump(key) == before
    assert await raw.pttl(key) == -1


async def test_foreign_lease(storage, raw):
    """A lease that is none of ours is a StorageError: a text without an end, or another type."""
    await raw.set(storage._lease_key(KEY), "theirs")
    await refuses(storage, "no record of wixvisitor", "lease")
    await raw.delete(storage._lease_key(KEY))
    await raw.hset(storage._lease_key(KEY), "a", "b")
    await refuses(storage, "no record of wixvisitor", "lease", "end a lease")


# Scripts and servers that come and go


async def test_script_flush(storage, raw):
    """Scripts that the server has forgotten are sent again."""
    for number in range(3):
        await raw.script_flush()
        version = await storage.save(KEY, f"value {number}")
        await raw.script_flush()
        assert await storage.load(KEY) == Record(f"value {number}", version)


@pytest.mark.parametrize("given", [False, True], ids=["url", "client"])
async def test_server_restart(start_server, given):
    """A server that was restarted between two calls is used again, and one that is down is a StorageError."""
    server = start_server()
    client = Redis.from_url(server.url) if given else None
    storage = patient(client or server.url)
    await storage.save(KEY, "value")
    server.stop()
    await refuses(storage, "cannot be reached|no answer", "load")
    server.start()
    assert await storage.load(KEY) is None
    await storage.save(KEY, "again")
    server.stop()
    server.start()
    assert await storage.load(KEY) is None
    await storage.aclose()
    if client is not None:
        await client.aclose()


# Many at once


async def test_many_loads_on_a_small_pool(gate_url, gate, redis_prefix):
    """300 concurrent loads share 5 connections, and none of them fails."""
    storage = patient(f"{gate_url}?max_connections=5", prefix=redis_prefix)
    versions = {f"{number}": await storage.save(f"{number}", f"value {number}") for number in range(300)}
    found: dict[str, Record | None] = {}

    async def load(key: str) -> None:
        found[key] = await storage.load(key)

    async with anyio.create_task_group() as tasks:
        for key in versions:
            tasks.start_soon(load, key)
    assert found == {key: Record(f"value {key}", version) for key, version in versions.items()}
    assert gate.accepted <= 5
    await storage.aclose()


async def test_a_full_pool_of_a_given_client(gate, gate_url, redis_prefix):
    """A client whose pool raises when it is full is a StorageError that says what to do."""
    client = Redis.from_url(gate_url, max_connections=1)
    storage = patient(client, prefix=redis_prefix)
    await storage.load(KEY)
    gate.delay = 0.1
    results = await asyncio.gather(*(storage.load(KEY) for _ in range(10)), return_exceptions=True)
    failed = [result for result in results if result is not None]
    assert failed
    assert all(isinstance(one, StorageError) and "BlockingConnectionPool" in str(one) for one in failed)
    await client.aclose()


# Cancellation


async def interrupt(task: asyncio.Task[Any], chance: random.Random) -> None:
    for _ in range(chance.randrange(12)):
        await asyncio.sleep(0)
    task.cancel()


async def test_cancelled_at_random(storage, gate_url, redis_prefix, until):
    """Under load, with every second call cancelled at some point or out of time, every reply is that of its own key."""
    chance = random.Random(7)  # the same points in every run
    small = patient(f"{gate_url}?max_connections=4", prefix=redis_prefix)
    hasty = RedisStorage(f"{gate_url}?max_connections=4", prefix=redis_prefix, timeout=0.004)
    for number in range(50):
        await small.save(f"{number}", f"value {number}")
    loaded = 0

    async def visit(number: int) -> None:
        nonlocal loaded
        key, store = f"{number % 50}", chance.choice((small, small, hasty))
        if chance.random() < 0.3:
            calls: tuple[Callable[[], Any], ...] = (
                lambda: store.acquire_lease(key, f"holder {number}", 0.001),
                lambda: store.save(key, f"value {key}"),
            )
            await chance.choice(calls)()
            return
        with suppress(StorageError), anyio.move_on_after(chance.choice((0.0005, 0.002, 5))):
            assert (await store.load(key)).value == f"value {key}"
            loaded += 1

    for _ in range(10):
        tasks = [asyncio.create_task(visit(number)) for number in range(100)]
        await asyncio.gather(*(interrupt(task, chance) for task in chance.sample(tasks, 40)))
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [
            one for one in results if one is not None and not isinstance(one, StorageError | asyncio.CancelledError)
        ]
    assert loaded > 100
    for store in (small, hasty):
        [own] = store._clients._clients._own.values()
        await until(lambda own=own: not own.calls)
        assert not own.client.connection_pool._in_use_connections
    assert [(await small.load(f"{number}")).value for number in range(50)] == [f"value {n}" for n in range(50)]
    await small.aclose()
    await hasty.aclose()


async def test_slow_replies_are_never_mixed_up(storage, gate, gate_url, redis_prefix):
    """After calls that ran out of time, replies belong to their keys again."""
    hasty = patient(f"{gate_url}?max_connections=3", prefix=redis_prefix)
    for number in range(20):
        await hasty.save(f"{number}", f"value {number}")
    gate.delay, hasty._timeout = 0.4, 0.05
    results = await asyncio.gather(*(hasty.load(f"{number}") for number in range(20)), return_exceptions=True)
    assert all(isinstance(one, StorageError) for one in results)
    gate.delay, hasty._timeout = 0.0, 10.0
    assert [(await hasty.load(f"{number}")).value for number in range(20)] == [f"value {n}" for n in range(20)]
    await hasty.aclose()


@pytest.mark.parametrize("way", ["asyncio", "anyio"])
async def test_cancelled_call_is_finished(storage, gate, way):
    """A save that is cancelled while its reply is on the way has happened when the cancellation takes effect."""
    gate.delay = 0.3
    if way == "asyncio":
        task = asyncio.create_task(storage.save(KEY, "value"))
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        with anyio.move_on_after(0.02) as scope:
            await storage.save(KEY, "value")
            await anyio.lowlevel.checkpoint()
        assert scope.cancelled_caught
    gate.delay = 0.0
    connections = gate.accepted
    assert (await storage.load(KEY)).value == "value"
    assert gate.accepted == connections


async def test_cancelled_before_it_began(storage):
    """A call in a scope that is cancelled already is not sent."""
    with anyio.CancelScope() as scope:
        scope.cancel()
        await storage.save(KEY, "value")
    assert await storage.load(KEY) is None


async def test_cancelled_while_the_server_hangs(hurried, gate):
    """A call that is cancelled while the server hangs ends at its deadline, as cancelled."""
    gate.hang()
    with within(), pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await hurried.load(KEY)
    gate.come_back()
    assert await hurried.load(KEY) is None


async def test_a_call_that_will_not_end():
    """A call that clings to its connection beyond its time is left to itself, and its failure is nobody's."""
    cleaned = asyncio.Event()

    async def cling() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(_asyncio_calls._GRACE * 1.2)
            cleaned.set()
            raise redis.exceptions.ConnectionError("too late")

    with within(), pytest.raises(TimeoutError):
        await _asyncio_calls.finish(cling, 0.01)
    assert _asyncio_calls._leaving
    await cleaned.wait()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not _asyncio_calls._leaving


# Outages


async def test_hanging_server(hurried, gate):
    """A server that accepts and says nothing is a StorageError in time, on old connections and new; then it is back."""
    await hurried.save(KEY, "value")
    gate.hang()
    await refuses(hurried, "no answer in time")
    gate.come_back()
    assert (await hurried.load(KEY)).value == "value"


async def test_one_slow_reply_is_asked_again(hurried, gate):
    """A connection that went dead costs half the time: the repetition goes over a new one."""
    await hurried.save(KEY, "value")
    gate.hang()
    task = asyncio.create_task(hurried.load(KEY))
    await asyncio.sleep(0.1)
    gate.come_back()
    with within():
        assert (await task).value == "value"


async def test_refusing_server(hurried, gate):
    """A server that is down is a StorageError at once; when it is up again the same object works."""
    await hurried.save(KEY, "value")
    gate.refuse()
    await refuses(hurried, "cannot be reached .*connect")
    gate.come_back()
    assert (await hurried.load(KEY)).value == "value"


async def test_black_holed_server(black_hole):
    """A server whose packets vanish is a StorageError in time."""
    storage = RedisStorage(f"redis://:{ESCAPED}@127.0.0.1:{black_hole}")
    await refuses(storage, "no answer in time", "load", "save")
    await storage.aclose()


async def test_unknown_host():
    """A name that does not resolve is a StorageError that shows it."""
    storage = RedisStorage(f"redis://:{ESCAPED}@no-such-host.invalid")
    await refuses(storage, "no-such-host.invalid|no answer", "load")
    await storage.aclose()


async def test_outage_under_load(hurried, gate, gate_url, redis_prefix):
    """While the server hangs 100 concurrent calls all end in time, and afterwards 100 all work."""
    small = RedisStorage(f"{gate_url}?max_connections=5", prefix=redis_prefix)
    await small.save(KEY, "value")
    gate.hang()
    with within():
        results = await asyncio.gather(*(small.load(KEY) for _ in range(100)), return_exceptions=True)
    assert all(isinstance(one, StorageError) for one in results)
    gate.come_back()
    assert {(one.value) for one in await asyncio.gather(*(small.load(KEY) for _ in range(100)))} == {"value"}
    await small.aclose()


async def test_wrong_password(start_server):
    """A password that the server refuses, or lacks, or that is missing, is told as such and never shown."""
    server = start_server("--requirepass", "right")
    place = f"127.0.0.1:{server.port}"
    for url in (f"redis://:{ESCAPED}@{place}", f"redis://somebody:{ESCAPED}@{place}", f"redis://{place}"):
        storage = patient(url)
        await refuses(storage, "user name or the password")
        assert PASSWORD not in repr(storage)
        assert ESCAPED not in repr(storage)
        await storage.aclose()
    storage = patient(f"redis://:right@{place}/3")
    await storage.save(KEY, "value")
    assert (await storage.load(KEY)).value == "value"
    assert repr(storage) == f"<RedisStorage {place}/3, prefix 'wixvisitor'>"
    await storage.aclose()


async def test_missing_permission(start_server):
    """A user who may not run scripts is told what is missing."""
    server = start_server("--user", "shop", "on", f">{PASSWORD}", "~*", "+get", "+hello", "+ping")
    storage = patient(f"redis://shop:{ESCAPED}@127.0.0.1:{server.port}")
    await refuses(storage, "lacks a permission; it needs EVALSHA")
    await storage.aclose()


async def test_least_permissions(start_server):
    """The permissions that the message names are enough."""
    commands = "evalsha eval exists hmget hexists hset get set del pttl pexpire persist"
    rules = [f"+{command}" for command in commands.split()]
    server = start_server("--user", "shop", "on", f">{PASSWORD}", "~wixvisitor:*", *rules)
    storage = patient(f"redis://shop:{ESCAPED}@127.0.0.1:{server.port}?protocol=2")
    version = await storage.save(KEY, "value")
    assert await storage.load(KEY) == Record("value", version)
    assert await storage.acquire_lease(KEY, "a", 60) == 0.0
    await storage.release_lease(KEY, "a")
    await storage.delete(KEY)
    await storage.aclose()


async def full(server: Any) -> None:
    await ask(server, "CONFIG", "SET", "maxmemory", "1")


async def demoted(server: Any) -> None:
    await ask(server, "REPLICAOF", "127.0.0.1", "1")


async def without_disk(server: Any) -> None:
    await ask(server, "CONFIG", "SET", "dbfilename", "dump.rdb")
    await ask(server, "CONFIG", "SET", "save", "3600 1000000")
    directory = server.place / "gone"
    directory.mkdir()
    await ask(server, "CONFIG", "SET", "dir", str(directory))
    directory.rmdir()
    await ask(server, "BGSAVE")
    while b"rdb_last_bgsave_status:err" not in await ask(server, "INFO", "persistence"):  # noqa: ASYNC110
        await anyio.sleep(0.01)


async def without_replicas(server: Any) -> None:
    await ask(server, "CONFIG", "SET", "min-replicas-to-write", "2")


async def ask(server: Any, *command: str) -> Any:
    client = Redis.from_url(server.url, protocol=2)
    client.response_callbacks.clear()
    reply = await client.execute_command(*command)
    await client.aclose()
    return reply


REFUSALS = {
    "no memory left": full,
    "read-only replica": demoted,
    "cannot write to its disk": without_disk,
    "fewer replicas": without_replicas,
}


@pytest.mark.parametrize("reason", REFUSALS)
async def test_server_that_refuses_writes(start_server, reason):
    """A server that refuses writes for now says so when it is asked to write, and can be read all the same."""
    server = start_server("--enable-debug-command", "yes", "--enable-protected-configs", "yes")
    storage = patient(server.url, expire_after=1_000)
    version = await storage.save(KEY, "value")
    await ask(server, "PEXPIRE", storage._record_key(KEY).decode(), "100000")
    await REFUSALS[reason](server)
    await refuses(storage, reason, "save", "lease")
    assert await storage.load(KEY) == Record("value", version)
    await storage.aclose()


ANSWERS = {
    b"-LOADING Redis is loading the dataset in memory\r\n": "still loading",
    b"-MISCONF Redis is configured to save RDB snapshots\r\n": "cannot write to its disk",
    b"-CLUSTERDOWN The cluster is down\r\n": "cluster is not complete",
    b"-MASTERDOWN Link with MASTER is down\r\n": "cluster is not complete",
    b"-ERR max number of clients reached\r\n": "max number of clients",
    b"-ERR unknown command 'HELLO', with args beginning with: 'pass/word:@%'\r\n": "does not run Lua scripts",
    b"-ERR unknown command 'EVALSHA', with args beginning with: 'classified'\r\n": "does not run Lua scripts",
    b"-ERR something about pass/word:@% and JWS.abc.defghi.jkl\r\n": r"something about \[token\] and \[token\]",
    b"+HTTP is not spoken here\r\n": "",
    b"HTTP/1.1 400 Bad Request\r\n\r\n": "is no Redis server",
    b"-ERR Error running script (call to f_1): @user_script:1: -OOM command not allowed\r\n": "no memory left",
    b"-ERR Error running script (call to f_1): @user_script:1: -READONLY You can't\r\n": "read-only replica",
}


@pytest.mark.parametrize("answer", ANSWERS, ids=[answer[:24].decode().strip() for answer in ANSWERS])
async def test_answer_of_a_server(gate, answer):
    """Whatever a server, or something that is none, answers: a StorageError with the reason and without secrets."""
    storage = RedisStorage(f"redis://:{ESCAPED}@127.0.0.1:{gate.port}")
    gate.say(answer)
    await refuses(storage, ANSWERS[answer], "save")
    await storage.aclose()


async def test_tls_to_a_server_without(gate):
    """``rediss://`` speaks TLS, which a server without TLS does not understand."""
    storage = RedisStorage(f"rediss://:{ESCAPED}@127.0.0.1:{gate.port}")
    gate.say(b"-ERR what?\r\n")
    await refuses(storage, "SSL", "load")
    await storage.aclose()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    """The paths of a certificate for 127.0.0.1 that nobody else has signed, and of its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    day, now = timedelta(days=1), datetime.now(UTC)
    builder = builder.not_valid_before(now - day).not_valid_after(now + day).add_extension(address, critical=True)
    signed = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    private = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for file, content in (("certificate", signed), ("key", key.private_bytes(*private))):
        (tmp_path / file).write_bytes(content)
    return str(tmp_path / "certificate"), str(tmp_path / "key")


@pytest.fixture
def tls_port(start_server: Any, server_kind: str, certificate: tuple[str, str]) -> int:
    """Where a server speaks TLS with that certificate. One kind may be built without TLS, but not all of them."""
    options = ("--tls-cert-file", certificate[0], "--tls-key-file", certificate[1], "--tls-auth-clients", "no")
    for kind in sorted(KINDS, key=lambda kind: kind != server_kind):
        port = unused_port()
        try:
            start_server("--tls-port", str(port), *options, kind=kind)
        except AssertionError as error:
            if "TLS" not in str(error):
                raise
            continue
        if kind != server_kind:
            pytest.skip(f"this server was built without TLS, {kind} with it")
        return port
    return lacking("no server was built with TLS")


async def test_tls(tls_port, certificate):
    """``rediss://`` takes redis-py's options for certificates, and refuses a server that it cannot trust."""
    port, public = tls_port, certificate[0]
    trusting = patient(f"rediss://127.0.0.1:{port}?ssl_ca_certs={public}")
    version = await trusting.save(KEY, "value")
    assert await trusting.load(KEY) == Record("value", version)
    await trusting.aclose()
    careful = patient(f"rediss://127.0.0.1:{port}")
    await refuses(careful, "certificate verify failed", "load", "save")
    await careful.aclose()


def unused_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


# Sessions


@pytest.fixture
def pool_of(still: FakeWix, client_id: str) -> Callable[[RedisStorage], VisitorPool]:
    return lambda storage: VisitorPool(client_id, storage=storage, client=still.client(), clock=still.now)


async def served(session: VisitorSession, seconds: float = 10) -> None:
    """Asks until the session works again: after a failure it pauses for up to a second."""
    with anyio.fail_after(seconds):
        while True:
            with suppress(StorageError):
                assert (await session.get(CART)).status_code in {200, 404}
                return
            await anyio.sleep(0.02)


async def test_outage_costs_no_visitor(hurried, gate, still, pool_of, no_backoff):
    """With Redis away unexpired tokens serve, expired ones are a StorageError, nobody is minted, and all comes back."""
    async with pool_of(hurried) as pool:
        session = await pool.session("shopper")
        await session.get(CART)
        visitor = session.get_tokens().refresh_token
        gate.refuse()
        for _ in range(3):
            assert (await session.get(CART)).status_code in {200, 404}
        with pytest.raises(StorageError):
            await pool.session("another shopper")
        still.advance(LIFETIME + 60)
        for _ in range(3):
            with within(), pytest.raises(StorageError, match="Redis cannot load"):
                await session.get(CART)
        assert len(still.visitors) == 1
        assert [call.grant_type for call in still.token_calls()] == ["anonymous"]
        gate.come_back()
        await served(session)
        assert session.get_tokens().refresh_token == visitor
        assert len(still.visitors) == 1
        assert [call.grant_type for call in still.token_calls()] == ["anonymous", "refresh_token"]


async def test_outage_of_a_first_visit(hurried, gate, still, pool_of, no_backoff):
    """With Redis hanging a new visitor is not minted; when it is back, one is."""
    async with pool_of(hurried) as pool:
        session = await pool.session("shopper")
        gate.hang()
        with within(2 * SOON), pytest.raises(StorageError, match="no answer in time"):
            await session.get(CART)  # three calls: the lease, the record, the lease back
        assert not still.visitors
        gate.come_back()
        await served(session)
        assert len(still.visitors) == 1


async def test_two_pools_are_one_visitor(storage, redis_url, redis_prefix, still, pool_of):
    """Two processes' pools that meet a new key at once make one visitor of it."""
    other = patient(redis_url, prefix=redis_prefix)
    async with pool_of(storage) as one, pool_of(other) as two:
        sessions = [await one.session("shopper"), await two.session("shopper")]
        await asyncio.gather(*(session.get(CART) for session in sessions for _ in range(5)))
        assert len(still.visitors) == 1
        assert sessions[0].get_tokens().refresh_token == sessions[1].get_tokens().refresh_token
    await other.aclose()


# Event loops


def names_of_connections(url: str, name: str) -> int:
    with redis.Redis.from_url(url) as client:
        return sum(one["name"] == name for one in client.client_list())


@pytest.fixture
def named(redis_url: str) -> tuple[str, Callable[[], int]]:
    """The server's URL with a name for the connections made with it, and how many there are."""
    name = f"test-{random.randrange(1 << 60)}"
    return f"{redis_url}?client_name={name}", lambda: names_of_connections(redis_url, name)


def drops_to(number: int, count: Callable[[], int]) -> bool:
    until = time.monotonic() + SOON
    while count() > number and time.monotonic() < until:
        time.sleep(0.01)
    return count() == number


@pytest.mark.parametrize("run", [asyncio.run, anyio.run], ids=["asyncio", "anyio"])
def test_one_event_loop_after_another(named, redis_prefix, run):
    """One object works in one event loop after another; a loop that ends closes its connections, without a warning."""
    url, connections = named
    storage = patient(url, prefix=redis_prefix)

    async def visit(value: str) -> Record | None:
        before = await storage.load(KEY)
        await storage.save(KEY, value)
        assert connections() == 1
        return before

    def main(value: str) -> Any:
        return run(visit, value) if run is anyio.run else run(visit(value))

    assert main("first") is None
    assert drops_to(0, connections)
    assert main("second").value == "first"
    assert main("third").value == "second"
    assert drops_to(0, connections)
    gc.collect()


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_loop_that_is_closed_by_hand(named, redis_prefix):
    """An event loop that is closed without shutting down its generators leaves no connection behind."""
    url, connections = named
    storage = patient(url, prefix=redis_prefix)
    for _ in range(2):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(storage.save(KEY, "value"))
        assert connections() >= 1
        loop.close()
        gc.collect()
    assert asyncio.run(storage.load(KEY)).value == "value"
    gc.collect()
    del storage
    gc.collect()
    assert drops_to(0, connections)


@pytest.mark.parametrize("is_in_a_cycle", [False, True])
async def test_forgotten_store(named, redis_prefix, is_in_a_cycle):
    """A store that is dropped without being closed closes its connections, without a warning."""
    url, connections = named
    storage = patient(url, prefix=redis_prefix)
    await storage.save(KEY, "value")
    assert connections() == 1
    holder: list[Any] = [storage]
    if is_in_a_cycle:
        holder.append(holder)
    del storage, holder
    gc.collect()
    await anyio.sleep(0.01)
    assert drops_to(0, connections)


async def test_closing(named, redis_prefix):
    """Closing ends the connections; afterwards the store connects again."""
    url, connections = named
    storage = patient(url, prefix=redis_prefix)
    await storage.aclose()
    await storage.save(KEY, "value")
    assert connections() == 1
    await storage.aclose()
    await storage.aclose()
    assert drops_to(0, connections)
    assert (await storage.load(KEY)).value == "value"
    await storage.aclose()
    assert drops_to(0, connections)


async def test_closing_waits_for_calls(storage, gate):
    """A call that is under way when the store is closed is answered."""
    gate.delay = 0.3
    task = asyncio.create_task(storage.save(KEY, "value"))
    await asyncio.sleep(0.02)
    await storage.aclose()
    assert isinstance(await task, str)
    gate.delay = 0.0
    assert (await storage.load(KEY)).value == "value"


async def test_closing_while_the_server_hangs(hurried, gate):
    """Closing takes no longer than the calls under way do."""
    gate.hang()
    task = asyncio.create_task(hurried.load(KEY))
    await asyncio.sleep(0.01)
    with within():
        await hurried.aclose()
    with pytest.raises(StorageError):
        await task


# Clients that were given


@pytest.mark.parametrize("decode", [False, True], ids=["bytes", "decoded"])
async def test_given_client_is_left_alone(redis_url, redis_prefix, decode):
    """A given client is neither closed nor configured."""
    client = Redis.from_url(redis_url, decode_responses=decode, retry=Retry(NoBackoff(), 0), max_connections=7)
    settings, pool = dict(client.get_connection_kwargs()), client.connection_pool
    me = await client.client_id()
    storage = patient(client, prefix=redis_prefix)
    await storage.save(KEY, "Zoë 🛒")
    assert (await storage.load(KEY)).value == "Zoë 🛒"
    await storage.aclose()
    assert await client.client_id() == me
    assert client.connection_pool is pool
    assert client.get_connection_kwargs() == settings
    assert pool.max_connections == 7
    assert (await storage.load(KEY)).value == "Zoë 🛒"
    assert "Redis client given" in repr(storage)
    await client.aclose()


async def test_client_with_another_encoding(redis_url, redis_prefix):
    """A client that decodes as something else than UTF-8 changes no value and no key."""
    client = Redis.from_url(redis_url, decode_responses=True, encoding="latin-1")
    odd, plain = patient(client, prefix=redis_prefix), patient(redis_url, prefix=redis_prefix)
    await odd.save("Zoë", "訪問者 é")
    assert (await odd.load("Zoë")).value == (await plain.load("Zoë")).value == "訪問者 é"
    await client.aclose()
    await plain.aclose()


async def test_given_client_is_bounded(gate, gate_url, redis_prefix):
    """With a client whose own patience is a minute, a hanging server is a StorageError in time all the same."""
    client = Redis.from_url(gate_url, socket_timeout=60, retry=Retry(NoBackoff(), 3))
    storage = RedisStorage(client, prefix=redis_prefix)
    await storage.save(KEY, "value")
    gate.hang()
    await refuses(storage, "no answer in time", "load")
    gate.come_back()
    assert (await storage.load(KEY)).value == "value"
    await client.aclose()


def test_given_client_in_another_event_loop(redis_url, redis_prefix):
    """A client that was used in one event loop and given to another is told to be a URL instead."""
    client = Redis.from_url(redis_url)
    storage = patient(client, prefix=redis_prefix)
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    first.run_until_complete(storage.save(KEY, "value"))
    with pytest.raises(StorageError, match="another event loop; give RedisStorage a URL"):
        second.run_until_complete(storage.load(KEY))
    first.run_until_complete(client.aclose())
    first.close()
    second.close()


async def test_password_of_a_given_client(start_server):
    """The password of a given client is not shown either."""
    server = start_server("--requirepass", "right")
    client = Redis.from_url(f"redis://:{ESCAPED}@127.0.0.1:{server.port}")
    storage = patient(client)
    await refuses(storage, "user name or the password", "load")
    assert PASSWORD not in repr(storage)
    await client.aclose()


# A cluster


async def test_record_and_lease_share_a_slot(redis_cluster_url, redis_prefix):
    """A visitor's two keys are in one slot, and different visitors are spread over the cluster."""
    client = RedisCluster.from_url(redis_cluster_url, decode_responses=True)
    storage = patient(client, prefix=redis_prefix)
    await storage.save(KEY, "value")
    slots = set()
    for key in (KEY, "client:other", "site:{visitor}", "{a}", "a}b{c"):
        record, lease = storage._record_key(key), storage._lease_key(key)
        assert client.keyslot(record) == client.keyslot(lease)
        slots.add(client.keyslot(record))
    assert len(slots) == 5
    await client.aclose()


async def test_cluster_client_is_not_closed(redis_cluster_url, redis_prefix):
    """A given cluster client keeps its connections when the store is closed, and scripts come back by themselves."""
    client = RedisCluster.from_url(redis_cluster_url, decode_responses=True)
    storage = patient(client, prefix=redis_prefix)
    await storage.save(KEY, "value")
    me = await client.client_id(target_nodes=RedisCluster.RANDOM)
    await client.execute_command("SCRIPT FLUSH", target_nodes=RedisCluster.PRIMARIES)
    assert (await storage.load(KEY)).value == "value"
    await storage.aclose()
    assert await client.client_id(target_nodes=RedisCluster.RANDOM) == me
    await client.aclose()


async def test_cluster_that_is_down(proxy, redis_prefix):
    """A cluster that cannot be reached is a StorageError in time."""
    gate = proxy(1)
    gate.refuse()
    client = RedisCluster.from_url(f"redis://:{ESCAPED}@127.0.0.1:{gate.port}")
    storage = RedisStorage(client, prefix=redis_prefix)
    await refuses(storage, "", "load", "save")
    await client.aclose()


# Arguments, trio, imports

BAD_URLS = (
    "localhost:6379",
    "",
    "http://localhost",
    f"valkey://:{ESCAPED}@localhost",
    f"redis://:{PASSWORD}@localhost:6379",
    f"redis://:{ESCAPED}@localhost:port",
    f"redis://:{ESCAPED}@localhost:99999",
    f"redis://:{ESCAPED}@localhost?max_connections=many",
    f"redis://:{ESCAPED}@localhost?max_connections=-1",
    f"redis://:{ESCAPED}@localhost?no_such_option=1",
    f"redis://:{ESCAPED}@localhost?protocol=9",
)


@pytest.mark.parametrize("url", BAD_URLS)
def test_bad_url(url):
    """A URL that redis-py cannot use is a ConfigurationError at once, which repeats nothing of it."""
    with pytest.raises(ConfigurationError, match="url: expected redis://") as caught:
        RedisStorage(url)
    assert not any(secret in str(caught.value) for secret in ("pass/", "word:", "pass%", "6379"))
    assert caught.value.__context__ is None


@pytest.mark.parametrize("name", ["timeout", "expire_after"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), True, "1", 1e10])
def test_bad_seconds(name, value):
    """A time that is no number of seconds is a ConfigurationError."""
    with pytest.raises(ConfigurationError, match=f"{name}: expected seconds"):
        RedisStorage("redis://localhost", **{name: value})


@pytest.mark.parametrize("client", [redis.Redis(), None, b"redis://localhost", object(), Redis])
def test_bad_client(client):
    """What is neither a URL nor an asyncio client of redis-py is a ConfigurationError."""
    with pytest.raises(ConfigurationError, match="Redis or RedisCluster of redis"):
        RedisStorage(client)


def test_repr():
    """The repr shows the place and the prefix, and no password."""
    assert repr(RedisStorage(f"redis://me:{ESCAPED}@host")) == "<RedisStorage host:6379/0, prefix 'wixvisitor'>"


@no_unix
def test_repr_of_a_socket():
    """The repr shows the socket's path, and no password."""
    shown = repr(RedisStorage(f"unix:///run/redis.sock?db=2&password={ESCAPED}", prefix="shop"))
    assert shown == "<RedisStorage unix:///run/redis.sock, prefix 'shop'>"


@no_unix
async def test_unix_socket(start_server, tmp_path):
    """A server can be reached over its socket."""
    path = Path("/tmp") / f"wixvisitor-{os.getpid()}-{random.randrange(1 << 30)}.sock"  # a socket's path must be short
    start_server("--unixsocket", str(path), "--requirepass", PASSWORD)
    storage = patient(f"unix://{path}?password={ESCAPED}")
    await storage.save(KEY, "value")
    assert (await storage.load(KEY)).value == "value"
    await storage.aclose()
    path.unlink(missing_ok=True)


def test_trio(redis_url, redis_prefix):
    """On trio every call is a StorageError that names the stores that work there; closing is none."""
    storage = RedisStorage(redis_url, prefix=redis_prefix)
    run = functools.partial(anyio.run, backend="trio")
    for call, *arguments in (
        (storage.load, KEY),
        (storage.save, KEY, "value"),
        (storage.delete, KEY),
        (storage.acquire_lease, KEY, "a", 1.0),
        (storage.release_lease, KEY, "a"),
    ):
        with pytest.raises(StorageError, match=r"asyncio only.*SQLiteStorage or FileStorage"):
            run(call, *arguments)
    run(storage.aclose)
    assert asyncio.run(storage.load(KEY)) is None


def python(program: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(wixvisitor.__file__).parents[1])}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, encoding="utf-8", env=environment
    )


def test_import_without_the_extra():
    """Without redis-py the import fails with the command that installs it, and the rest of the package works."""
    result = python(
        "import sys\nsys.modules['redis'] = None\nimport wixvisitor.storage\n"
        "try:\n    import wixvisitor.storage.redis\nexcept ImportError as error:\n    print(error.name, error)"
    )
    assert result.stdout == "redis RedisStorage needs redis-py: pip install 'wixvisitor[redis]'\n", result.stderr


def test_program_that_never_closes(redis_url, redis_prefix):
    """A program that ends without closing the store ends without a word, with every warning an error."""
    result = python(
        "import asyncio\nfrom wixvisitor.storage.redis import RedisStorage\n"
        f"storage = RedisStorage({redis_url!r}, prefix={redis_prefix!r})\n"
        "asyncio.run(storage.save('key', 'value'))\nprint(asyncio.run(storage.load('key')).value)"
    )
    assert (result.stdout, result.stderr, result.returncode) == ("value\n", "", 0)
