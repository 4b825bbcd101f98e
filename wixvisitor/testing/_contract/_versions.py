"""The requirements for a store with compare-and-set."""

from __future__ import annotations

from collections import Counter

import anyio
import pytest

from wixvisitor.storage import ANY_VERSION, ConditionalStorage, Record, TokenStorage, VersionConflict
from wixvisitor.testing._contract._hooks import KEY, OTHER, Hooks, conditional_of, value_of


class VersionTests(Hooks):
    """Of several saves that expect the same version, one is done."""

    async def test_save_returns_the_version(self, conditional: ConditionalStorage) -> None:
        """``load`` returns the version that ``save`` returned."""
        version = await conditional.save(KEY, "value")
        assert isinstance(version, str)
        assert await conditional.load(KEY) == Record("value", version)

    async def test_every_save_has_its_own_version(self, conditional: ConditionalStorage) -> None:
        """Every save has a version of its own, also with the same value and after a delete."""
        versions = [await conditional.save(KEY, "value") for _ in range(3)]
        await conditional.delete(KEY)
        versions += [await conditional.save(KEY, "value") for _ in range(3)]
        assert len(set(versions)) == 6

    async def test_expected_version(self, conditional: ConditionalStorage) -> None:
        """A save that expects the store's version is done, several times in a row."""
        version = await conditional.save(KEY, "first", expected=None)
        version = await conditional.save(KEY, "second", expected=version)
        version = await conditional.save(KEY, "third", expected=version)
        assert await conditional.load(KEY) == Record("third", version)

    async def test_conflict_leaves_the_record(self, conditional: ConditionalStorage) -> None:
        """A save that expects an older version raises VersionConflict, and does not change the record."""
        old = await conditional.save(KEY, "first")
        new = await conditional.save(KEY, "second")
        with pytest.raises(VersionConflict) as caught:
            await conditional.save(KEY, "classified", expected=old)
        assert await conditional.load(KEY) == Record("second", new)
        assert "classified" not in str(caught.value)

    async def test_must_not_exist_yet(self, conditional: ConditionalStorage) -> None:
        """A save with ``expected=None`` creates a record, and never replaces one."""
        version = await conditional.save(KEY, "first", expected=None)
        with pytest.raises(VersionConflict):
            await conditional.save(KEY, "second", expected=None)
        assert await conditional.load(KEY) == Record("first", version)

    async def test_a_version_of_nothing(self, conditional: ConditionalStorage) -> None:
        """A save that expects a version conflicts if there is no record, and creates none."""
        with pytest.raises(VersionConflict):
            await conditional.save(KEY, "value", expected="1")
        assert await conditional.load(KEY) is None

    async def test_deleted_meanwhile(self, conditional: ConditionalStorage) -> None:
        """After a delete no old version is valid: only a save with ``expected=None`` is done."""
        version = await conditional.save(KEY, "first")
        await conditional.delete(KEY)
        with pytest.raises(VersionConflict):
            await conditional.save(KEY, "second", expected=version)
        assert await conditional.load(KEY) is None
        await conditional.save(KEY, "third", expected=None)
        assert await value_of(conditional, KEY) == "third"

    async def test_any_version(self, conditional: ConditionalStorage) -> None:
        """A save with ``ANY_VERSION`` replaces any record, and creates one if there is none."""
        await conditional.save(KEY, "first", expected=ANY_VERSION)
        version = await conditional.save(KEY, "second", expected=ANY_VERSION)
        assert await conditional.load(KEY) == Record("second", version)

    @pytest.mark.usefixtures("_many")
    async def test_versions_of_another_key(self, conditional: ConditionalStorage) -> None:
        """A save of another key does not change a record's version."""
        version = await conditional.save(KEY, "mine")
        await conditional.save(OTHER, "theirs")
        assert await conditional.save(KEY, "mine again", expected=version) != version

    @pytest.mark.parametrize("exists", [False, True], ids=["first save", "later save"])
    async def test_one_winner(self, conditional: ConditionalStorage, exists: bool) -> None:  # noqa: FBT001
        """If ten saves expect the same version, one is done and the others conflict."""
        expected = await conditional.save(KEY, "before") if exists else None
        results = Counter[str]()
        versions = dict[str, str]()

        async def save(value: str) -> None:
            try:
                versions[value] = await conditional.save(KEY, value, expected=expected)
                results["won"] += 1
            except VersionConflict:
                results["lost"] += 1

        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(save, f"value {number}")
        assert results == {"won": 1, "lost": 9}
        [(value, version)] = versions.items()
        assert await conditional.load(KEY) == Record(value, version)

    async def test_conflict_with_another_opening(self, conditional: ConditionalStorage, again: TokenStorage) -> None:
        """Compare-and-set works between two storages that have the same store open."""
        other = conditional_of(again)
        version = await conditional.save(KEY, "first", expected=None)
        newer = await other.save(KEY, "second", expected=version)
        with pytest.raises(VersionConflict):
            await conditional.save(KEY, "third", expected=version)
        assert await conditional.load(KEY) == await other.load(KEY) == Record("second", newer)

    @pytest.mark.parametrize("exists", [False, True], ids=["first save", "later save"])
    async def test_lost_reply_of_a_save(self, conditional: ConditionalStorage, exists: bool) -> None:  # noqa: FBT001
        """A save whose reply is lost is sent again, and does not conflict with itself."""
        expected = await conditional.save(KEY, "before") if exists else None
        if not await self.lose_next_reply(conditional):
            pytest.skip("lose_next_reply() is not overridden, so no reply can be lost")
        version = await conditional.save(KEY, "value", expected=expected)
        assert await conditional.load(KEY) == Record("value", version)
