"""The requirements for a store that can list its keys."""

from __future__ import annotations

import pytest

from wixvisitor.storage import ListingStorage
from wixvisitor.testing._contract._hooks import KEY, OTHER, Hooks
from wixvisitor.testing._contract._records import _ODD_KEYS


class ListingTests(Hooks):
    """``keys`` yields the key of each record."""

    async def test_keys_of_nothing(self, listing: ListingStorage) -> None:
        """A new store has no keys."""
        assert await keys_of(listing) == set()

    async def test_keys_after_changes(self, listing: ListingStorage) -> None:
        """A saved key is listed as long as it is there; a lease is none."""
        await listing.save(KEY, "value")
        assert await keys_of(listing) == {KEY}
        await listing.save(KEY, "newer")
        assert await keys_of(listing) == {KEY}
        await listing.delete(KEY)
        if (acquire := getattr(listing, "acquire_lease", None)) is not None:
            await acquire(OTHER, "a", 60.0)
        assert await keys_of(listing) == set()

    @pytest.mark.usefixtures("_many")
    async def test_odd_keys_are_listed(self, listing: ListingStorage) -> None:
        """Keys are listed exactly as they were given."""
        for key in _ODD_KEYS.values():
            await listing.save(key, "value")
        assert await keys_of(listing) == set(_ODD_KEYS.values())

    @pytest.mark.usefixtures("_many")
    async def test_keys_while_others_come_and_go(self, listing: ListingStorage) -> None:
        """A key that is there all the time is listed, whatever is saved and deleted meanwhile."""
        lasting, listed = {f"lasting {number}" for number in range(20)}, set[str]()
        for key in lasting:
            await listing.save(key, "value")
            await listing.save(f"{key} for now", "value")
        async for key in listing.keys():
            listed.add(key)
            if len(listed) < 20:
                await listing.save(f"new {len(listed)}", "value")
                await listing.delete(f"lasting {len(listed)} for now")
        assert lasting <= listed


async def keys_of(listing: ListingStorage) -> set[str]:
    """Returns all keys."""
    return {key async for key in listing.keys()}  # noqa: SIM118 - it is no dict
