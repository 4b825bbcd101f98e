"""The requirements for a store with leases."""

from __future__ import annotations

from typing import Final

import anyio
import pytest

from wixvisitor.storage import LeasingStorage, TokenStorage
from wixvisitor.testing._contract._hooks import KEY, OTHER, Hooks, leasing_of, value_of

LONG: Final = 60.0  # seconds; a lease that does not expire within a test
SHORT: Final = 0.03  # seconds; a lease that expires within a test
PATIENCE = 1.0  # seconds that a test waits for a short lease


class LeaseTests(Hooks):
    """A lease has one holder at a time, and expires."""

    async def test_lease_has_one_holder(self, leasing: LeasingStorage) -> None:
        """A second holder does not get the lease, and learns at once how long it may last."""
        assert await leasing.acquire_lease(KEY, "a", LONG) == 0.0
        assert 0 < await leasing.acquire_lease(KEY, "b", LONG) <= LONG

    async def test_lease_again(self, leasing: LeasingStorage) -> None:
        """The holder can acquire the lease again, and it is still one lease."""
        assert await leasing.acquire_lease(KEY, "a", LONG) == 0.0
        assert await leasing.acquire_lease(KEY, "a", LONG) == 0.0
        await leasing.release_lease(KEY, "a")
        assert await leasing.acquire_lease(KEY, "b", LONG) == 0.0

    async def test_lease_released(self, leasing: LeasingStorage) -> None:
        """A released lease is free."""
        await leasing.acquire_lease(KEY, "a", LONG)
        await leasing.release_lease(KEY, "a")
        assert await leasing.acquire_lease(KEY, "b", LONG) == 0.0
        assert await leasing.acquire_lease(KEY, "a", LONG) > 0

    async def test_lease_of_somebody_else(self, leasing: LeasingStorage) -> None:
        """Only its holder can release a lease."""
        await leasing.acquire_lease(KEY, "a", LONG)
        await leasing.release_lease(KEY, "b")
        assert await leasing.acquire_lease(KEY, "b", LONG) > 0

    async def test_release_of_nothing(self, leasing: LeasingStorage) -> None:
        """Releasing a lease that is free is not an error."""
        await leasing.release_lease(KEY, "a")
        await leasing.release_lease(KEY, "a")
        assert await leasing.acquire_lease(KEY, "b", LONG) == 0.0

    async def test_one_leaseholder(self, leasing: LeasingStorage) -> None:
        """If ten holders ask at once, one of them gets the lease."""
        answers: list[float] = []

        async def acquire(holder: str) -> None:
            answers.append(await leasing.acquire_lease(KEY, holder, LONG))

        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(acquire, f"holder {number}")
        assert sorted(remaining > 0 for remaining in answers) == [False] + [True] * 9

    @pytest.mark.usefixtures("_many")
    async def test_leases_are_independent(self, leasing: LeasingStorage) -> None:
        """The lease of one visitor does not affect the lease of another."""
        assert await leasing.acquire_lease(KEY, "a", LONG) == 0.0
        assert await leasing.acquire_lease(OTHER, "b", LONG) == 0.0
        await leasing.release_lease(KEY, "a")
        assert await leasing.acquire_lease(OTHER, "c", LONG) > 0

    async def test_lease_guards_no_record(self, leasing: LeasingStorage) -> None:
        """During a lease others can load, save and delete, and the lease itself is not a record."""
        await leasing.acquire_lease(KEY, "a", LONG)
        assert await leasing.load(KEY) is None
        await leasing.save(KEY, "value")
        assert await value_of(leasing, KEY) == "value"
        await leasing.delete(KEY)
        assert await leasing.load(KEY) is None

    async def test_lease_outlives_no_release(self, leasing: LeasingStorage) -> None:
        """A lease can be acquired and released any number of times."""
        for holder in "abcabc":
            assert await leasing.acquire_lease(KEY, holder, LONG) == 0.0
            await leasing.release_lease(KEY, holder)

    async def test_lease_ends_by_itself(self, leasing: LeasingStorage) -> None:
        """An expired lease is free, and its late holder cannot release the lease of the next holder."""
        await leasing.acquire_lease(KEY, "a", SHORT)
        await wait_for_lease(leasing, "b")
        await leasing.release_lease(KEY, "a")
        assert await leasing.acquire_lease(KEY, "c", LONG) > 0

    async def test_lease_seen_by_another_opening(self, leasing: LeasingStorage, again: TokenStorage) -> None:
        """A lease holds for every storage that has the same store open."""
        other = leasing_of(again)
        assert await leasing.acquire_lease(KEY, "a", LONG) == 0.0
        assert await other.acquire_lease(KEY, "b", LONG) > 0
        await other.release_lease(KEY, "b")
        assert await other.acquire_lease(KEY, "b", LONG) > 0
        await leasing.release_lease(KEY, "a")
        assert await other.acquire_lease(KEY, "b", LONG) == 0.0
        await other.release_lease(KEY, "b")

    async def test_lease_ends_for_another_opening(self, leasing: LeasingStorage, again: TokenStorage) -> None:
        """A lease expires for every storage, and its late holder cannot release the lease of the next holder."""
        other = leasing_of(again)
        await leasing.acquire_lease(KEY, "a", SHORT)
        await wait_for_lease(other, "b")
        await leasing.release_lease(KEY, "a")
        assert await leasing.acquire_lease(KEY, "c", LONG) > 0
        await other.release_lease(KEY, "b")
        assert await leasing.acquire_lease(KEY, "c", LONG) == 0.0
        await leasing.release_lease(KEY, "c")

    async def test_lost_reply_of_a_lease(self, leasing: LeasingStorage) -> None:
        """If the reply is lost, acquiring or releasing a lease is sent again with the same result."""
        if not await self.lose_next_reply(leasing):
            pytest.skip("lose_next_reply() is not overridden, so no reply can be lost")
        assert await leasing.acquire_lease(KEY, "a", LONG) == 0.0
        assert await leasing.acquire_lease(KEY, "b", LONG) > 0
        assert await self.lose_next_reply(leasing)
        await leasing.release_lease(KEY, "a")
        assert await leasing.acquire_lease(KEY, "b", LONG) == 0.0


async def wait_for_lease(leasing: LeasingStorage, holder: str) -> None:
    """Returns as soon as the holder has the lease. Skips the test if the store's shortest lease is too long."""
    with anyio.fail_after(2 * PATIENCE):
        while (remaining := await leasing.acquire_lease(KEY, holder, LONG)) > 0:
            if remaining > PATIENCE:
                pytest.skip(f"this store's shortest lease lasts {remaining:g} s, too long for this test")
            await anyio.sleep(min(remaining, 0.01))
