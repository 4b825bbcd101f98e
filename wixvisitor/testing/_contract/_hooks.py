"""The methods that the author of an adapter overrides, and the fixtures that use them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, ClassVar, Final

import anyio
import pytest

from wixvisitor.storage import ConditionalStorage, LeasingStorage, ListingStorage, Record, TokenStorage
from wixvisitor.storage._protocol import takes_expected

KEY: Final = "5e9c1d0a-7c1e-4a52-9d5e-1f2a3b4c5d6e:default"
OTHER: Final = "5e9c1d0a-7c1e-4a52-9d5e-1f2a3b4c5d6e:other"


class Hooks:
    """See ``StorageContract``."""

    keeps_many: ClassVar[bool] = True
    """Whether the store holds more than one visitor. If it is False, tests with several keys are skipped."""
    life: ClassVar[float] = 0.4
    """The ``seconds`` for ``make_expiring``. It is short, because by default the tests wait in real time."""

    async def make_storage(self) -> TokenStorage:
        """Returns a new, empty store. Override it. A test may call it several times.

        Raises:
            NotImplementedError: It is not overridden.
        """
        raise NotImplementedError("override make_storage() so that it returns a new, empty store")

    async def reopen(self, storage: TokenStorage) -> TokenStorage | None:  # noqa: ARG002 - for those who override it
        """Returns a second storage for the same store, as another process would open it; None if that is impossible.

        ``storage`` remains open and in use. What it raises fails the test.
        """
        return None

    async def make_expiring(self, seconds: float) -> TokenStorage | None:  # noqa: ARG002 - for those who override it
        """Returns a new store whose records expire after ``seconds`` without use; None if they never expire.

        What it raises fails the test.
        """
        return None

    async def pass_time(self, storage: TokenStorage, seconds: float) -> None:  # noqa: ARG002 - for those who override it
        """Lets ``seconds`` pass for ``storage``, which ``make_expiring`` made. By default it waits in real time.

        What it raises fails the test.
        """
        await anyio.sleep(seconds)

    async def lose_next_reply(self, storage: TokenStorage) -> bool:  # noqa: ARG002 - for those who override it
        """Makes the next call reach the store, but lose its reply. Returns False if that is impossible.

        What it raises fails the test.
        """
        return False

    async def close(self, storage: TokenStorage) -> None:
        """Closes a storage of ``make_storage`` or ``reopen``: calls its ``aclose()`` if it has one.

        What it raises fails the test.
        """
        aclose: Any = getattr(storage, "aclose", None)
        if aclose is not None:
            await aclose()

    @pytest.fixture
    async def storage(self) -> AsyncIterator[TokenStorage]:
        """A new store."""
        storage = await self.make_storage()
        yield storage
        await self.close(storage)

    @pytest.fixture
    async def conditional(self, storage: TokenStorage) -> ConditionalStorage:
        """A new store with compare-and-set."""
        return conditional_of(storage)

    @pytest.fixture
    async def leasing(self, storage: TokenStorage) -> LeasingStorage:
        """A new store with leases."""
        return leasing_of(storage)

    @pytest.fixture
    async def listing(self, storage: TokenStorage) -> ListingStorage:
        """A new store that lists its keys."""
        if not isinstance(storage, ListingStorage):
            pytest.skip("this store has no keys()")
        return storage

    @pytest.fixture
    async def again(self, storage: TokenStorage) -> AsyncIterator[TokenStorage]:
        """The new store, opened a second time."""
        again = await self.reopen(storage)
        if again is None:
            pytest.skip("reopen() is not overridden, so the store cannot be opened a second time")
        yield again
        if again is not storage:
            await self.close(again)

    @pytest.fixture
    async def expiring(self) -> AsyncIterator[TokenStorage]:
        """A new store whose records expire after ``life`` seconds without use."""
        storage = await self.make_expiring(self.life)
        if storage is None:
            pytest.skip("make_expiring() is not overridden, so records never expire")
        yield storage
        await self.close(storage)

    @pytest.fixture
    def _many(self) -> None:
        if not self.keeps_many:
            pytest.skip("keeps_many is False: this store holds only one visitor")


def conditional_of(storage: TokenStorage) -> ConditionalStorage:
    """Returns the store; skips the test if it has no compare-and-set."""
    if not takes_expected(storage):  # a session uses the same check
        pytest.skip("save() has no argument expected: this store has no compare-and-set")
    assert isinstance(storage, ConditionalStorage)
    return storage


def leasing_of(storage: TokenStorage) -> LeasingStorage:
    """Returns the store; skips the test if it has no leases."""
    if not isinstance(storage, LeasingStorage):
        pytest.skip("this store has no acquire_lease and release_lease")
    return storage


async def value_of(storage: TokenStorage, key: str) -> str | None:
    """Returns the record's value without its version; None if there is no record."""
    found = await storage.load(key)
    return found.value if isinstance(found, Record) else found
