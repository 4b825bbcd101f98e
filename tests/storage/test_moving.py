"""MovingStorage and copy: visitors move from one store to another, and none is lost, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.constants import CART, LIFETIME
from tests.stores import PlainStorage
from wixvisitor import EMPTY_TOKENS, ConfigurationError, StorageError, TokenRole, Tokens, VisitorPool, VisitorSession
from wixvisitor.storage import (
    ConditionalStorage,
    LeasingStorage,
    ListingStorage,
    MemoryStorage,
    Record,
    TokenStorage,
    VersionConflict,
)
from wixvisitor.storage.moving import Copied, MovingStorage, copy
from wixvisitor.testing import FakeWix, StorageContract

pytestmark = pytest.mark.anyio

KEY = "client:anna"


class Moving(StorageContract):
    def old(self) -> TokenStorage:
        return MemoryStorage()

    async def make_storage(self) -> MovingStorage:
        return MovingStorage(self.old(), MemoryStorage())

    async def reopen(self, storage: TokenStorage) -> MovingStorage:
        assert isinstance(storage, MovingStorage)
        return MovingStorage(storage._old, storage._new)


class TestMovingStorage(Moving): ...


class TestMovingFromAPlainStorage(Moving):
    def old(self) -> TokenStorage:
        return PlainStorage()


@pytest.fixture(params=[MemoryStorage, PlainStorage], ids=["versions", "no versions"])
async def old(request: pytest.FixtureRequest) -> Any:
    """A store with one visitor."""
    storage = request.param()
    await storage.save(KEY, "from old")
    return storage


async def test_reads_new_else_old(old: Any) -> None:
    """What only the old store has is found; what the new one has counts, and the old one is never written."""
    new = MemoryStorage()
    storage = MovingStorage(old, new)
    record = await storage.load(KEY)
    assert record is not None
    assert record.value == "from old"
    assert record == await storage.load(KEY)
    version = await storage.save(KEY, "from new", expected=record.version)
    assert await storage.load(KEY) == await new.load(KEY) == Record("from new", version)
    left = await old.load(KEY)
    assert (left.value if isinstance(left, Record) else left) == "from old"


async def test_of_two_that_loaded_from_old_one_saves(old: Any) -> None:
    """Compare-and-set is right for a version of the old store, too."""
    storage = MovingStorage(old, MemoryStorage())
    record = await storage.load(KEY)
    assert record is not None
    version = await storage.save(KEY, "first", expected=record.version)
    with pytest.raises(VersionConflict):
        await storage.save(KEY, "second", expected=record.version)
    assert await storage.load(KEY) == Record("first", version)


async def test_a_copy_amid_a_renewal_is_no_conflict(old: Any) -> None:
    """If the very record that was loaded is copied before the save, the save replaces the copy."""
    new = MemoryStorage()
    storage = MovingStorage(old, new)
    record = await storage.load(KEY)
    assert record is not None
    await new.save(KEY, "from old", expected=None)
    version = await storage.save(KEY, "renewed", expected=record.version)
    assert await new.load(KEY) == Record("renewed", version)


async def test_deleted_in_both(old: Any) -> None:
    """A record that was deleted does not come back from the old store."""
    storage = MovingStorage(old, MemoryStorage())
    await storage.delete(KEY)
    assert await storage.load(KEY) is None


async def test_closes_both() -> None:
    """Closing it closes both stores."""
    closed = []

    class Closable(MemoryStorage):
        async def aclose(self) -> None:
            closed.append(self)

    old, new = Closable(), Closable()
    async with MovingStorage(old, new):
        pass
    assert closed == [old, new]


def test_what_it_can_do() -> None:
    """It leases if the new store does, and lists its keys if both do."""
    both, one = MovingStorage(MemoryStorage(), MemoryStorage()), MovingStorage(PlainStorage(), MemoryStorage())
    assert isinstance(both, LeasingStorage)
    assert isinstance(both, ConditionalStorage)
    assert isinstance(both, ListingStorage)
    assert not isinstance(one, ListingStorage)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (MemoryStorage(), PlainStorage(), "new: expected a storage that can compare"),
        ("visitors/", MemoryStorage(), "old: expected a storage"),
        (MemoryStorage(), MemoryStorage, "new: expected a storage"),
    ],
)
def test_wrong_stores(old: Any, new: Any, reason: str) -> None:
    """What is no store, or cannot compare and set, is refused when it is made."""
    with pytest.raises(ConfigurationError, match=reason):
        MovingStorage(old, new)


# copy


async def test_copy_writes_what_new_lacks() -> None:
    """It copies what is missing, leaves what is there, says how much that was, and may be called again."""
    old, new, told = MemoryStorage(), MemoryStorage(), list[Copied]()
    for number in range(50):
        await old.save(f"client:{number}", f"old {number}")
    await new.save("client:7", "newer")
    assert await copy(old, new, on_progress=told.append) == told[-1] == Copied(copied=49, present=1)
    assert [(await new.load(f"client:{number}")).value for number in (0, 7, 49)] == ["old 0", "newer", "old 49"]  # type: ignore[union-attr]
    assert await copy(old, new) == Copied(present=50)


async def test_copy_of_what_is_gone() -> None:
    """A record that is removed while the keys are listed is no error."""

    class Fleeting(MemoryStorage):
        async def load(self, key: str) -> None:
            return None

    old = Fleeting()
    await old.save(KEY, "value")
    assert await copy(old, MemoryStorage()) == Copied(gone=1)


@pytest.mark.parametrize("trouble", ["load", "save", "keys"])
async def test_copy_that_fails(trouble: str) -> None:
    """The store's own error comes out, soon, and what was copied stays."""

    class Broken(MemoryStorage):
        fails = False

        async def load(self, key: str) -> Record | None:
            if self.fails and trouble == "load" and key.endswith("9"):
                raise StorageError("broken")
            return await super().load(key)

        async def save(self, key: str, value: str, **arguments: Any) -> str:
            if self.fails and trouble == "save" and key.endswith("9"):
                raise StorageError("broken")
            return await super().save(key, value, **arguments)

        async def keys(self) -> Any:
            async with aclosing(super().keys()) as keys:
                async for key in keys:
                    yield key
                    if self.fails and trouble == "keys" and key.endswith("9"):
                        raise StorageError("broken")

    old, new = Broken(), Broken()
    for number in range(100):
        await old.save(f"client:{number}", "value")
    old.fails = new.fails = True
    with pytest.raises(StorageError, match="broken"):
        await copy(old, new, in_flight=2)
    new.fails = old.fails = False
    assert 5 < (await copy(old, new)).present < 20


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (PlainStorage(), MemoryStorage(), "PlainStorage cannot list its keys"),
        (MemoryStorage(), PlainStorage(), "PlainStorage cannot compare and set"),
    ],
)
async def test_copy_of_wrong_stores(old: Any, new: Any, reason: str) -> None:
    """A store that cannot list, or cannot compare and set, is refused by its name."""
    with pytest.raises(ConfigurationError, match=reason):
        await copy(old, new)


# Sessions, while it moves


@pytest.fixture
def old_store() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def new_store() -> MemoryStorage:
    return MemoryStorage()


async def used(still: FakeWix, client_id: str, storage: Any, key: str = "anna") -> VisitorSession:
    """The shopper's session in a process of its own, after a call."""
    pool = VisitorPool(client_id, storage=storage, client=still.client(), clock=still.now)
    session = await pool.session(key)
    await session.get(CART)
    return session


@pytest.mark.parametrize("when", ["before", "amid", "after"])
async def test_a_renewal_and_the_copy(
    still: FakeWix, client_id: str, old_store: MemoryStorage, new_store: MemoryStorage, when: str
) -> None:
    """A visitor who is renewed while the record is copied keeps its rotated refresh token."""
    still.one_time_refresh_tokens = True
    before = await used(still, client_id, old_store)
    still.advance(LIFETIME + 1)
    moving = MovingStorage(old_store, new_store)
    if when == "before":
        await copy(old_store, new_store)
    if when == "amid":
        gate = still.hold()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(used, still, client_id, moving)
            await gate.wait_for(1)
            await copy(old_store, new_store)
            gate.release()
    session = await used(still, client_id, moving)
    await copy(old_store, new_store)
    assert len(still.visitors) == 1
    assert session.get_tokens().refresh_token != before.get_tokens().refresh_token
    still.advance(LIFETIME + 1)
    await used(still, client_id, new_store)  # the old store is not needed any more
    assert len(still.visitors) == 1


async def test_a_logout_and_the_copy(
    still: FakeWix, client_id: str, old_store: MemoryStorage, new_store: MemoryStorage, member: Tokens
) -> None:
    """Who logs out while it moves stays logged out, whatever the old store says."""
    session = VisitorSession(client_id, client=still.client(), storage=old_store, key="anna", clock=still.now)
    await session.set_tokens(member)
    moving = MovingStorage(old_store, new_store)
    leaving = VisitorSession(client_id, client=still.client(), storage=moving, key="anna", clock=still.now)
    await leaving.set_tokens(EMPTY_TOKENS)
    assert (await copy(old_store, new_store)).present == 1
    for storage in (moving, new_store):
        later = VisitorSession(client_id, client=still.client(), storage=storage, key="anna", clock=still.now)
        await later.get(CART)
        assert later.get_tokens().refresh_token.role is TokenRole.VISITOR


async def test_a_logout_before_it_moves(
    still: FakeWix, client_id: str, old_store: MemoryStorage, new_store: MemoryStorage, member: Tokens
) -> None:
    """The record without tokens of an earlier logout is copied like others, and kept as briefly."""
    session = VisitorSession(client_id, client=still.client(), storage=old_store, key="anna", clock=still.now)
    await session.set_tokens(member)
    await session.set_tokens(EMPTY_TOKENS)
    assert await copy(old_store, new_store) == Copied(copied=1)
    record = await new_store.load(f"{client_id}:anna")
    assert record is not None
    assert '"value":""' in record.value


async def test_many_move_while_they_are_renewed(until: Callable[..., Any]) -> None:
    """While all records are renewed again and again, none is lost or goes back; the copy ends."""
    old, new = MemoryStorage(), MemoryStorage()
    for number in range(200):
        await old.save(f"client:{number}", "0")
    moving, latest = MovingStorage(old, new), dict.fromkeys(range(200), 0)

    async def renew(number: int) -> None:
        for _ in range(5):
            record = await moving.load(f"client:{number}")
            assert record is not None
            assert int(record.value) == latest[number]
            await anyio.lowlevel.checkpoint()
            await moving.save(f"client:{number}", str(latest[number] + 1), expected=record.version)
            latest[number] += 1

    async with anyio.create_task_group() as tasks:
        for number in range(0, 200, 2):
            tasks.start_soon(renew, number)
        tasks.start_soon(copy, old, new)
    found = {number: int((await new.load(f"client:{number}")).value) for number in range(200)}  # type: ignore[union-attr]
    assert found == latest
