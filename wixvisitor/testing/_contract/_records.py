"""The requirements for every store: load, save, delete, and the expiry of records."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import anyio
import pytest

from wixvisitor.errors import StorageError
from wixvisitor.storage import Record, TokenStorage, VersionConflict
from wixvisitor.testing._contract._hooks import KEY, OTHER, Hooks, conditional_of, value_of

_ODD_KEYS: Final = {
    "empty": "",
    "blanks": "  a  ",
    "slashes": "a/../../b\\c",
    "dots": "..",
    "separators": "site:{visitor}:*?[0-9]%s%00",
    "quotes": 'it\'s a "key"; DROP TABLE visitors --',
    "newline": "a\nb\tc",
    "unicode": "посетитель-訪問者-🛒",
    "long": "k" * 1_000,
}
_VALUES: Final = {
    "empty": "",
    "json": '{"accessToken":{"value":"OauthNG.JWS.a.b.c","expiresAt":1795399894}}',
    "unicode": "Zoë 訪問者 🛒 \u2028",
    "whitespace": " \r\n\ttext\r\n ",
    "64 kB": "x" * 65_536,
    "64 kB of unicode": "é" * 32_768,
}
# A store that ignores case, blanks or Unicode forms would give one visitor the tokens of another.
_LOOKALIKES: Final = ("visitor", "Visitor", "visitor ", "visitor/", "visitor:", "caf\u00e9", "cafe\u0301")


class RecordTests(Hooks):
    """Saving, loading and deleting records."""

    async def test_is_a_token_storage(self, storage: TokenStorage) -> None:
        """The adapter has the three methods that every session needs."""
        assert isinstance(storage, TokenStorage)

    async def test_missing_key_is_none(self, storage: TokenStorage) -> None:
        """Loading a key that was never saved returns None."""
        assert await storage.load(KEY) is None

    @pytest.mark.parametrize("value", [pytest.param(text, id=name) for name, text in _VALUES.items()])
    async def test_round_trip(self, storage: TokenStorage, value: str) -> None:
        """A load returns exactly the value that was saved."""
        await storage.save(KEY, value)
        assert await value_of(storage, KEY) == value

    @pytest.mark.parametrize("key", [pytest.param(text, id=name) for name, text in _ODD_KEYS.items()])
    async def test_odd_key(self, storage: TokenStorage, key: str) -> None:
        """A key may be any text, and has no other effect than to name a record."""
        await storage.save(key, "value")
        assert await value_of(storage, key) == "value"
        await storage.delete(key)
        assert await storage.load(key) is None

    async def test_overwrite(self, storage: TokenStorage) -> None:
        """A later save replaces the value, also with a shorter one."""
        await storage.save(KEY, "a long first value")
        await storage.save(KEY, "second")
        assert await value_of(storage, KEY) == "second"

    async def test_loading_changes_nothing(self, storage: TokenStorage) -> None:
        """Loading a record twice returns the same."""
        await storage.save(KEY, "value")
        assert await storage.load(KEY) == await storage.load(KEY) != None  # noqa: E711 - all three at once

    async def test_delete(self, storage: TokenStorage) -> None:
        """A deleted record is gone, and can be saved again."""
        await storage.save(KEY, "value")
        await storage.delete(KEY)
        assert await storage.load(KEY) is None
        await storage.save(KEY, "again")
        assert await value_of(storage, KEY) == "again"

    async def test_delete_of_nothing(self, storage: TokenStorage) -> None:
        """Deleting a record that does not exist is not an error."""
        await storage.delete(KEY)
        await storage.delete(KEY)
        assert await storage.load(KEY) is None

    @pytest.mark.usefixtures("_many")
    async def test_keys_are_independent(self, storage: TokenStorage) -> None:
        """Saving or deleting one visitor's record does not change another's."""
        await storage.save(KEY, "mine")
        await storage.save(OTHER, "theirs")
        assert await value_of(storage, KEY) == "mine"
        await storage.delete(KEY)
        assert await value_of(storage, OTHER) == "theirs"

    @pytest.mark.usefixtures("_many")
    async def test_keys_that_look_alike(self, storage: TokenStorage) -> None:
        """Keys are compared exactly: by case, blanks and code points."""
        for key in _LOOKALIKES:
            await storage.save(key, ascii(key))
        assert [await value_of(storage, key) for key in _LOOKALIKES] == [ascii(key) for key in _LOOKALIKES]

    async def test_readers_never_see_half_a_record(self, storage: TokenStorage) -> None:
        """While several tasks save and load, every load returns one complete value."""
        values = [letter * 20_000 for letter in "abcd"]
        await storage.save(KEY, values[0])
        seen: list[str | None] = []

        async def read() -> None:
            seen.extend([await value_of(storage, KEY) for _ in range(5)])

        async with anyio.create_task_group() as tasks:
            for value in values:
                tasks.start_soon(storage.save, KEY, value)
                tasks.start_soon(read)
        assert len(seen) == 20
        assert set(seen) <= set(values)

    async def test_no_secret_in_a_repr(self, storage: TokenStorage) -> None:
        """The reprs of the store and of a record do not show the value."""
        await storage.save(KEY, "JWS.header.classified.signature")
        record = await storage.load(KEY)
        shown = repr(storage) + (repr(record) if isinstance(record, Record) else "")
        assert "classified" not in shown

    async def test_reopened(self, storage: TokenStorage, again: TokenStorage) -> None:
        """Two storages that have the same store open see each other's records."""
        await storage.save(KEY, "value")
        assert await again.load(KEY) == await storage.load(KEY)
        assert await value_of(again, KEY) == "value"
        await again.save(KEY, "newer")
        assert await value_of(storage, KEY) == "newer"
        await again.delete(KEY)
        assert await storage.load(KEY) is None

    async def test_closed_twice(self, storage: TokenStorage) -> None:
        """Closing a store a second time is not an error."""
        await storage.save(KEY, "value")
        await self.close(storage)
        await self.close(storage)

    async def test_used_after_closing(self, storage: TokenStorage) -> None:
        """A closed store opens again or raises a StorageError; it never says that there is no record."""
        await storage.save(KEY, "value")
        await self.close(storage)
        with suppress(StorageError):
            assert await value_of(storage, KEY) == "value"


class ExpiryTests(Hooks):
    """Unused records expire, and are then as if they had never been saved."""

    async def test_unused_record_ends(self, expiring: TokenStorage) -> None:
        """A record that was not used for ``life`` seconds is gone."""
        await expiring.save(KEY, "value")
        await self.pass_time(expiring, self.life * 0.5)
        assert await value_of(expiring, KEY) == "value"
        await self.pass_time(expiring, self.life * 1.1)
        assert await expiring.load(KEY) is None

    async def test_saving_keeps_a_record(self, expiring: TokenStorage) -> None:
        """A record that is saved before it expires remains."""
        for number in range(4):
            await expiring.save(KEY, f"value {number}")
            await self.pass_time(expiring, self.life * 0.6)
        assert await value_of(expiring, KEY) == "value 3"

    async def test_ended_record_can_be_made_again(self, expiring: TokenStorage) -> None:
        """For compare-and-set, an expired record does not exist."""
        storage = conditional_of(expiring)
        old = await storage.save(KEY, "first", expected=None)
        await self.pass_time(storage, self.life * 1.1)
        with pytest.raises(VersionConflict):
            await storage.save(KEY, "second", expected=old)
        version = await storage.save(KEY, "third", expected=None)
        assert await storage.load(KEY) == Record("third", version)
