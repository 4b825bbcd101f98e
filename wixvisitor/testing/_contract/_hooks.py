"""What an adapter's author overrides, and the fixtures made of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, ClassVar, Final

import anyio
import pytest

from wixvisitor.storage import ConditionalStorage, LeasingStorage, Record, TokenStorage
from wixvisitor.storage._protocol import takes_expected

KEY: Final = "5e9c1d0a-7c1e-4a52-9d5e-1f2a3b4c5d6e:default"
OTHER: Final = "5e9c1d0a-7c1e-4a52-9d5e-1f2a3b4c5d6e:other"


class Hooks:
    """See ``StorageContract``."""

    keeps_many: ClassVar[bool] = True
    life: ClassVar[float] = 0.4

    async def make_storage(self) -> TokenStorage:
        """Returns a store that holds nothing yet. Called once or more in every test; override it."""
        raise NotImplementedError("override make_storage() so that it returns a fresh, empty store")

    async def reopen(self, storage: TokenStorage) -> TokenStorage | None:  # noqa: ARG002 - for those who override it
        """Returns the same store opened once more, as another process would, or None if it cannot be.

        ``storage`` is still open then and stays in use.
        """
        return None

    async def make_expiring(self, seconds: float) -> TokenStorage | None:  # noqa: ARG002 - for those who override it
        """Returns a fresh store whose records end after ``seconds`` unused, or None if its records never end."""
        return None

    async def pass_time(self, storage: TokenStorage, seconds: float) -> None:  # noqa: ARG002 - for those who override it
        """Lets time pass for what ``make_expiring`` returned: really, if this is not overridden."""
        await anyio.sleep(seconds)

    async def lose_next_reply(self, storage: TokenStorage) -> bool:  # noqa: ARG002 - for those who override it
        """Arranges that the next call reaches the store and its reply is lost; False if that cannot be arranged."""
        return False

    async def close(self, storage: TokenStorage) -> None:
        """Releases what ``make_storage`` or ``reopen`` opened: awaits ``storage.aclose()`` if there is one."""
        aclose: Any = getattr(storage, "aclose", None)
        if aclose is not None:
            await aclose()

    @pytest.fixture
    async def storage(self) -> AsyncIterator[TokenStorage]:
        """A fresh store."""
        storage = await self.make_storage()
        yield storage
        await self.close(storage)

    @pytest.fixture
    async def conditional(self, storage: TokenStorage) -> ConditionalStorage:
        """A fresh store that can compare and set."""
        return conditional_of(storage)

    @pytest.fixture
    async def leasing(self, storage: TokenStorage) -> LeasingStorage:
        """A fresh store with leases."""
        return leasing_of(storage)

    @pytest.fixture
    async def again(self, storage: TokenStorage) -> AsyncIterator[TokenStorage]:
        """The fresh store, opened a second time."""
        again = await self.reopen(storage)
        if again is None:
            pytest.skip("reopen() is not overridden, so nothing outlives the object")
        yield again
        if again is not storage:
            await self.close(again)

    @pytest.fixture
    async def expiring(self) -> AsyncIterator[TokenStorage]:
        """A fresh store whose records end after ``life`` seconds unused."""
        storage = await self.make_expiring(self.life)
        if storage is None:
            pytest.skip("make_expiring() is not overridden, so records never end")
        yield storage
        await self.close(storage)

    @pytest.fixture
    def _many(self) -> None:
        if not self.keeps_many:
            pytest.skip("this store holds a single visitor")


def conditional_of(storage: TokenStorage) -> ConditionalStorage:
    """Returns the store, or skips the test if it cannot compare and set."""
    if not takes_expected(storage):  # what a session looks at as well
        pytest.skip("save() takes no expected: this store cannot compare and set")
    assert isinstance(storage, ConditionalStorage)
    return storage


def leasing_of(storage: TokenStorage) -> LeasingStorage:
    """Returns the store, or skips the test if it has no leases."""
    if not isinstance(storage, LeasingStorage):
        pytest.skip("this store has no acquire_lease and release_lease")
    return storage


async def value_of(storage: TokenStorage, key: str) -> str | None:
    """Returns what the store holds, without its version."""
    found = await storage.load(key)
    return found.value if isinstance(found, Record) else found
