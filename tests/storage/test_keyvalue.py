"""KeyValueStorage: the contract over stores of py-key-value-aio, the probe, and stores that are broken on purpose."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from key_value.aio._utils import managed_entry, time_to_live
from key_value.aio.errors import ReadOnlyError
from key_value.aio.stores.null import NullStore
from key_value.aio.stores.simple import SimpleStore
from key_value.aio.wrappers.limit_size import LimitSizeWrapper
from key_value.aio.wrappers.prefix_keys import PrefixKeysWrapper
from key_value.aio.wrappers.read_only import ReadOnlyWrapper

import wixvisitor
from wixvisitor import ConfigurationError, StorageError, VisitorSession
from wixvisitor.storage import LeasingStorage, Record, TokenStorage
from wixvisitor.storage.keyvalue import KeyValueStorage, _Probe
from wixvisitor.storage.sealed import SealedStorage
from wixvisitor.testing import FakeWix, StorageContract
from wixvisitor.testing._contract._interruptions import interruptions

pytestmark = pytest.mark.anyio

KEY = "client:default"
YEAR = 365 * 24 * 60 * 60


def simple_store() -> SimpleStore:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that it may change
        return SimpleStore()


class Store:
    """What the bridge uses of a store, in a dict; it waits at every call, and counts them."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str | None, str], Any] = {}
        self.calls = Counter[str]()
        self.lives: list[float | None] = []

    async def get(self, key: str, *, collection: str | None = None) -> Any:
        self.calls["get"] += 1
        await anyio.lowlevel.checkpoint()
        return self.entries.get((collection, key))

    async def put(self, key: str, value: Any, *, collection: str | None = None, ttl: float | None = None) -> None:
        self.calls["put"] += 1
        await anyio.lowlevel.checkpoint()
        self.entries[collection, key] = value
        self.lives.append(ttl)

    async def delete(self, key: str, *, collection: str | None = None) -> bool:
        self.calls["delete"] += 1
        await anyio.lowlevel.checkpoint()
        return self.entries.pop((collection, key), None) is not None


def over(store: Any, **options: Any) -> KeyValueStorage:
    return KeyValueStorage(store, **options)


def name_of(key: str = KEY) -> str:
    """The name that a key has in a store."""
    return hashlib.sha256(key.encode()).hexdigest()


# The contract


class OverAnyStore(StorageContract):
    async def reopen(self, storage: TokenStorage) -> KeyValueStorage:
        assert isinstance(storage, KeyValueStorage)
        return over(storage._store)


class TestOverSimpleStore(OverAnyStore):
    @pytest.fixture(autouse=True)
    def _clock(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed = timedelta()
        now = time_to_live.now
        for module in (time_to_live, managed_entry):
            monkeypatch.setattr(module, "now", lambda: now() + self.passed)

    async def make_storage(self) -> KeyValueStorage:
        return over(simple_store())

    async def make_expiring(self, seconds: float) -> KeyValueStorage:
        return over(simple_store(), expire_after=seconds)

    async def pass_time(self, storage: TokenStorage, seconds: float) -> None:
        self.passed += timedelta(seconds=seconds)


class TestOverMemoryStore(OverAnyStore):
    async def make_storage(self) -> KeyValueStorage:
        pytest.importorskip("cachetools", reason="MemoryStore needs cachetools: py-key-value-aio[memory]")
        from key_value.aio.stores.memory import MemoryStore

        return over(MemoryStore())


class TestOverFileTreeStore(OverAnyStore):
    # They pass, but a cancelled aiofile leaves its file open, and the warning comes during somebody else's test.
    test_interrupted_load = test_interrupted_save = test_interrupted_delete = None  # type: ignore[assignment]

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.place = tmp_path

    async def make_storage(self) -> KeyValueStorage:
        pytest.importorskip("aiofile", reason="FileTreeStore needs aiofile: py-key-value-aio[filetree]")
        from key_value.aio.stores.filetree import FileTreeStore

        return over(FileTreeStore(data_directory=self.place))


class TestOverRedisStore(OverAnyStore):
    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture(autouse=True)
    async def _client(self, redis_url: str, redis_prefix: str) -> AsyncIterator[None]:
        from redis.asyncio import Redis

        self.prefix = redis_prefix
        async with Redis.from_url(redis_url, decode_responses=True) as self.client:
            yield

    async def make_storage(self) -> KeyValueStorage:
        from key_value.aio.stores.redis import RedisStore

        return over(PrefixKeysWrapper(RedisStore(client=self.client), prefix=self.prefix))


# The probe


async def test_probed_once():
    """The first call writes, reads and deletes a record of the probe's own; no later one does."""
    store = Store()
    storage = over(store)
    assert await storage.load(KEY) is None
    assert store.calls == {"put": 1, "get": 2, "delete": 1}
    assert store.entries == {}
    await storage.save(KEY, "value")
    await storage.load(KEY)
    await storage.delete(KEY)
    assert store.calls == {"put": 2, "get": 3, "delete": 2}


@pytest.mark.parametrize("verb", ["load", "save", "delete"])
async def test_probed_whatever_comes_first(verb):
    """A store that forgets is refused at the first call, whichever it is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        storage = over(NullStore())
    with pytest.raises(StorageError, match="NullStore does not give back what it is given"):
        await getattr(storage, verb)(*[KEY, "value"][: 2 if verb == "save" else 1])


async def test_each_probe_has_its_own_key():
    """Processes that probe at the same moment do not meet, and no visitor's record is touched."""

    class Keeping(Store):
        async def delete(self, key: str, *, collection: str | None = None) -> bool:
            return True

    store = Keeping()
    for _ in range(3):
        await over(store).load(KEY)
    assert len(store.entries) == 3
    assert await over(store).load(KEY) is None


async def test_first_callers_share_one_probe():
    """A hundred first callers wait for one probe."""
    store = Store()
    storage = over(store)
    async with anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(storage.load, str(number))
    assert store.calls == {"put": 1, "get": 101, "delete": 1}


async def test_first_callers_share_one_failure():
    """A hundred first callers hear of one failed probe, each through an exception of its own."""

    class Forgets(Store):
        async def get(self, key: str, *, collection: str | None = None) -> Any:
            self.calls["get"] += 1
            await anyio.lowlevel.checkpoint()

    store, errors = Forgets(), list[StorageError]()
    storage = over(store)

    async def load(key: str) -> None:
        with pytest.raises(StorageError) as caught:
            await storage.load(key)
        errors.append(caught.value)

    async with anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(load, str(number))
    assert store.calls == {"put": 1, "get": 1, "delete": 1}
    assert len({id(error) for error in errors}) == 100
    assert len({str(error) for error in errors}) == 1
    assert store.entries == {}


async def test_probed_again_after_a_failure():
    """A store that could not be reached is probed at the next call, and used once it answers."""

    class Down(Store):
        is_down = True

        async def put(self, *arguments: Any, **options: Any) -> None:
            if self.is_down:
                raise ConnectionError("refused")
            await super().put(*arguments, **options)

    store = Down()
    storage = over(store)
    for _ in range(2):
        with pytest.raises(StorageError, match="the Down cannot save: ConnectionError: refused") as caught:
            await storage.save(KEY, "value")
        assert isinstance(caught.value.__cause__, ConnectionError)
    store.is_down = False
    await storage.save(KEY, "value")
    assert await storage.load(KEY) == Record("value")


@pytest.mark.parametrize("verb", ["get", "delete"])
async def test_a_store_that_cannot_read_or_delete(verb):
    """A probe that could write, but not read or delete, fails with the store's own words."""

    async def broken(*arguments: Any, **options: Any) -> Any:
        raise PermissionError("denied")

    store = Store()
    setattr(store, verb, broken)
    expected = {"get": "load", "delete": "delete"}[verb]
    with pytest.raises(StorageError, match=f"the Store cannot {expected}: PermissionError: denied"):
        await over(store).load(KEY)
    assert len(store.entries) == (verb == "delete")


@pytest.mark.parametrize("verb", ["load", "save", "delete"])
async def test_cancelled_during_the_probe(verb):
    """A first call that is cancelled at any await leaves no record of the probe behind, and the next one works."""
    store = Store()
    arguments = {"load": (KEY,), "save": (KEY, "first"), "delete": (KEY,)}[verb]
    async for _ in interruptions(lambda: getattr(over(store), verb)(*arguments)):
        assert set(store.entries) <= {("wixvisitor", name_of())}
        await over(store).save(KEY, "second")
        assert await over(store).load(KEY) == Record("second")
        await over(store).delete(KEY)


async def test_who_waited_goes_on_when_the_probe_is_cancelled():
    """If whoever probes is cancelled, one of those who wait probes instead, and all are served."""

    class HangsOnce(Store):
        async def get(self, key: str, *, collection: str | None = None) -> Any:
            if not self.calls["get"]:
                self.calls["get"] += 1
                await anyio.sleep_forever()
            return await super().get(key, collection=collection)

    store, found = HangsOnce(), list[Record | None]()
    storage = over(store)

    async def load(scope: anyio.CancelScope) -> None:
        with scope:
            found.append(await storage.load(KEY))

    leading = anyio.CancelScope()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(load, leading)
        await anyio.wait_all_tasks_blocked()
        for _ in range(10):
            tasks.start_soon(load, anyio.CancelScope())
        await anyio.wait_all_tasks_blocked()
        assert store.calls == {"put": 1, "get": 1}
        leading.cancel()
    assert found == [None] * 10
    assert store.calls == {"put": 2, "get": 12, "delete": 2}
    assert store.entries == {}


async def test_a_probe_of_a_loop_that_is_over():
    """Nobody waits for a probe that an event loop left behind when it ended."""
    store = Store()
    storage = over(store)
    storage._probe = _Probe(object())
    with anyio.fail_after(5):
        await storage.save(KEY, "value")
    assert await storage.load(KEY) == Record("value")


async def test_two_event_loops_at_once():
    """A probe in one thread's event loop waits for none in another's, and both loops are served."""

    class Meanwhile(Store):
        async def put(self, *arguments: Any, **options: Any) -> None:
            if not self.calls:
                self.calls["put"] += 1
                await anyio.to_thread.run_sync(anyio.run, storage.save, KEY, "value")
            await super().put(*arguments, **options)

    store = Meanwhile()
    storage = over(store)
    assert await storage.load(KEY) == Record("value")
    assert list(store.entries) == [("wixvisitor", name_of())]


def test_one_event_loop_after_another():
    """A storage is used in asyncio, then in trio, then in asyncio, and is probed once."""
    store = Store()
    storage = over(store)
    anyio.run(storage.save, KEY, "value", backend="asyncio")
    assert anyio.run(storage.load, KEY, backend="trio") == Record("value")
    assert anyio.run(storage.load, KEY, backend="asyncio") == Record("value")
    assert store.calls == {"put": 2, "get": 3, "delete": 1}


# Stores that do not give back what they are given


class Answers(Store):
    """It answers what it was told to, right after a save."""

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        super().__init__()
        self.answer = answer

    async def get(self, key: str, *, collection: str | None = None) -> Any:
        return self.answer(await super().get(key, collection=collection))


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: {},
        lambda _: {"default": "value"},
        lambda entry: entry | {"value": entry["value"][:1000]},
        lambda entry: entry | {"value": entry["value"].encode()},
        lambda entry: entry | {"key": "another"},
        lambda entry: entry | {"more": 1},
        lambda entry: entry["value"],
        lambda _: True,
    ],
)
async def test_something_else_comes_back(answer):
    """A store that changes, cuts or replaces records is refused."""
    store = Answers(answer)
    with pytest.raises(StorageError, match=r"something else right after a save\), so visitors would be lost"):
        await over(store).load(KEY)
    assert store.entries == {}


async def test_a_silent_limit():
    """A limit that swallows what is too large is found out before a visitor is lost to it; a generous one is none."""
    tight = LimitSizeWrapper(simple_store(), max_size=2_000, raise_on_too_large=False)
    with pytest.raises(StorageError, match=r"LimitSizeWrapper .*\(it returned nothing .*values of 5 kB"):
        await over(tight).load(KEY)
    wide = LimitSizeWrapper(simple_store(), max_size=5_000, raise_on_too_large=False)
    assert await over(wide).load(KEY) is None


async def test_a_store_for_reading_only():
    """A store that refuses to write is refused with its own words."""
    with pytest.raises(StorageError, match="the ReadOnlyWrapper cannot save: ReadOnlyError") as caught:
        await over(ReadOnlyWrapper(simple_store())).load(KEY)
    assert isinstance(caught.value.__cause__, ReadOnlyError)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_redis_that_answers_in_bytes(
    still: FakeWix, session_of: Callable[..., VisitorSession], redis_url: str, redis_prefix: str, anyio_backend: str
):
    """Over a client without ``decode_responses`` nobody becomes a new visitor; the error says what is missing."""
    from key_value.aio.stores.redis import RedisStore
    from redis.asyncio import Redis

    async with Redis.from_url(redis_url) as client:
        store = RedisStore(client=client)
        session = session_of(storage=over(store, collection=redis_prefix))
        for _ in range(2):
            with pytest.raises(StorageError, match="client needs decode_responses=True, or use RedisStorage"):
                await session.auth_headers()
        assert await client.keys(f"{redis_prefix}*") == []
    assert still.calls == []


# What it does with a store


@pytest.mark.parametrize(
    "key", ["", " ", "H_reserved", "S_reserved", "a::b", "a/../b", "k" * 10_000, "\ud800", "Zoë 🛒", "\x00"]
)
async def test_names_in_the_store(key):
    """Whatever the key, its name in the store is 64 hexadecimal digits, always the same ones, in one collection."""
    store = Store()
    await over(store).save(key, "value")
    [(collection, name)] = store.entries
    assert collection == "wixvisitor"
    assert re.fullmatch("[0-9a-f]{64}", name)
    assert store.entries[collection, name] == {"key": name, "value": "value"}
    assert await over(store).load(key) == Record("value")
    await over(store).delete(key)
    assert store.entries == {}


async def test_collections_are_apart():
    """Two collections of one store share nothing."""
    store = Store()
    one, two = over(store, collection="one"), over(store, collection="two")
    await one.save(KEY, "value")
    assert await two.load(KEY) is None
    await two.delete(KEY)
    assert await one.load(KEY) == Record("value")
    assert {collection for collection, _ in store.entries} == {"one"}


@pytest.mark.parametrize("life", [YEAR, 0.5, 60, None])
async def test_time_to_live(life):
    """Every save, the probe's included, hands the store the time to live; a load writes nothing."""
    store = Store()
    storage = over(store) if life == YEAR else over(store, expire_after=life)
    await storage.save(KEY, "value")
    await storage.load(KEY)
    await storage.save(KEY, "value")
    assert store.lives == [life] * 3
    assert store.calls["put"] == 3


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"value": "JWS.header.classified"},
        {"key": name_of(), "value": None},
        {"key": name_of(), "value": b"JWS.header.classified"},
        {"key": name_of(), "value": "JWS.header.classified", "more": 1},
        {"key": 1, "value": "JWS.header.classified"},
        "JWS.header.classified",
        ["JWS.header.classified"],
        b"",
        0,
    ],
)
async def test_a_record_of_another_shape(found):
    """What is no record of ours is an error that shows nothing of it, never a missing record; it stays."""
    store = Store()
    storage = over(store)
    await storage.load(KEY)
    store.entries["wixvisitor", name_of()] = found
    with pytest.raises(StorageError, match="not one of KeyValueStorage's; it was left as it is") as caught:
        await storage.load(KEY)
    assert "classified" not in str(caught.value)
    assert store.entries == {("wixvisitor", name_of()): found}


async def test_a_record_of_another_visitor():
    """A store that hands out another key's record, because it cuts keys or was tampered with, is caught."""
    store = Store()
    storage = over(store)
    await storage.save(KEY, "value")
    store.entries["wixvisitor", name_of("client:other")] = store.entries["wixvisitor", name_of()]
    with pytest.raises(StorageError, match="belongs to another key; it was left as it is"):
        await storage.load("client:other")


@pytest.mark.parametrize("verb", ["get", "put", "delete"])
async def test_what_a_store_raises(verb):
    """A failure says which store could not do what, and shows no token that the store quotes."""

    async def broken(*arguments: Any, **options: Any) -> Any:
        raise LookupError("out of order: JWS.header.classified.signature")

    store = Store()
    storage = over(store)
    await storage.load(KEY)
    setattr(store, verb, broken)
    calls = {"get": storage.load(KEY), "put": storage.save(KEY, "value"), "delete": storage.delete(KEY)}
    for name, call in calls.items():
        if name != verb:
            call.close()
    ours = {"get": "load", "put": "save", "delete": "delete"}[verb]
    with pytest.raises(
        StorageError, match=rf"^the Store cannot {ours}: LookupError: out of order: \[token\]$"
    ) as caught:
        await calls[verb]
    assert caught.value.__cause__ is None


async def test_the_store_belongs_to_its_owner():
    """The store is never closed, emptied or listed, and the storage has nothing to close."""

    class Guarded(Store):
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"{name} was asked for")

    storage = over(Guarded())
    await storage.save(KEY, "value")
    assert not hasattr(storage, "aclose")
    assert repr(storage) == "<KeyValueStorage over a Guarded, collection 'wixvisitor'>"


def test_promises_no_more_than_it_can(client_id: str):
    """A session sees that it cannot compare and set, and has no leases."""
    storage = over(Store())
    settings = VisitorSession(client_id, storage=storage)._settings
    assert isinstance(storage, TokenStorage)
    assert not isinstance(storage, LeasingStorage)
    assert not settings.conditional
    assert settings.leases is None


@pytest.mark.parametrize("store", [None, {}, "redis://localhost", Store, object()])
def test_no_store(store):
    """Whatever has no get, put and delete, or is a class, is refused."""
    with pytest.raises(ConfigurationError, match="store: expected a store of py-key-value-aio"):
        over(store)


@pytest.mark.parametrize("seconds", [0, -1, True, "60", float("nan"), float("inf"), 2e9])
def test_no_time(seconds):
    """The life of a record is a number of seconds above 0, or None."""
    with pytest.raises(ConfigurationError, match="expire_after: expected seconds, a number above 0"):
        over(Store(), expire_after=seconds)


@pytest.mark.parametrize("collection", ["", None, 7])
def test_no_collection(collection):
    """A collection has a name; without one records would go where the store keeps anything."""
    with pytest.raises(ConfigurationError, match="collection: expected a name"):
        over(Store(), collection=collection)


# A visitor's life


async def test_a_visitor_in_a_sealed_store(still: FakeWix, session_of: Callable[..., VisitorSession]):
    """A visitor is minted, resumed and renewed through both adapters, and the store holds no readable token."""
    store, key = simple_store(), SealedStorage.generate_key()

    def opened() -> SealedStorage:
        return SealedStorage(over(store), keys=[key])

    first = await session_of(storage=opened()).generate_visitor_tokens()
    assert await session_of(storage=opened()).generate_visitor_tokens() == first
    still.advance(14_401)
    renewed = await session_of(storage=opened()).generate_visitor_tokens()
    assert renewed.refresh_token == first.refresh_token
    assert len(still.visitors) == 1
    assert len(still.token_calls()) == 2
    assert len(store._data) == 1
    assert first.refresh_token.value not in str(store._data)
    assert "wixvisitor-sealed.1." in str(store._data)


# Without the extra


@pytest.mark.parametrize("missing", ["key_value", "key_value.aio", "beartype"])
def test_without_the_extra(missing):
    """Whoever has no py-key-value-aio is told which extra to install; a broken one shows its own error."""
    program = (
        f"import sys\nsys.modules[{missing!r}] = None\n"
        "try:\n    import wixvisitor.storage.keyvalue\n"
        "except ImportError as error:\n    print(type(error).__name__, error)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(wixvisitor.__file__).parents[1])}
    environment = {name: value for name, value in environment.items() if not name.startswith(("COV_", "COVERAGE_"))}
    command = [sys.executable, "-c", program]
    said = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, env=environment).stdout
    if missing == "beartype":
        assert said.startswith("ModuleNotFoundError import of beartype halted")
    else:
        assert said == "ImportError KeyValueStorage needs py-key-value-aio: pip install 'wixvisitor[kv]'\n"
