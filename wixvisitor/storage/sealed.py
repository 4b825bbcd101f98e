"""Encryption at rest for any other store. Needs the extra ``crypto``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

import attrs

from wixvisitor._wire.redaction import drops_frames_async
from wixvisitor.errors import ConfigurationError, StorageError
from wixvisitor.storage import _sealing
from wixvisitor.storage._closing import Closing
from wixvisitor.storage._pickling import Pickling
from wixvisitor.storage._protocol import (
    ANY_VERSION,
    AnyVersion,
    LeasingStorage,
    Record,
    TokenStorage,
    settle,
    takes_expected,
    takes_keep_for,
)
from wixvisitor.storage._sealing import NotOpened, Sealer, UnknownKey, UnknownVersion

_MARK: Final = "wixvisitor-sealed."  # marks a sealed record, for operators and for this module
_PURPOSE: Final = "wixvisitor record"


class SealedStorage(Closing, Pickling):
    """Keeps visitors in another store, encrypted: reading or changing that store gives access to no visitor.

    Args:
        inner: the store that keeps the sealed records.
        keys: the first one seals, all of them open; 32 random bytes each, as bytes or as base64 text. Keep them in
            a secret manager, not beside the records. ``SealedStorage.generate_key()`` makes one.

    A record is encrypted with AES-256-GCM, which also authenticates its key in the store: a record that was changed, or
    moved to another visitor, does not open. It cannot detect that an old record of the same visitor was put back, or
    that a record was deleted.

    To rotate, deploy ``keys=[old, new]`` everywhere, then ``[new, old]``. A record is sealed with the new key when it
    is next saved. Remove the old key when every record was saved since, or has expired.

    It can do what ``inner`` can: it has ``aclose``, ``keys``, ``purge``, leases, and the argument ``expected`` of
    ``save``, if ``inner`` has them. Closing it closes ``inner``. Versions are those of ``inner``.

    Attributes:
        aclose: closes ``inner``; only if it has ``aclose``.
        keys: yields the key of each record; only if ``inner`` has ``keys``. Keys are not encrypted.
        purge: as that of ``inner``, if it has one.

    Raises:
        ConfigurationError: ``inner`` is no storage, or a key is not valid.
        StorageError: by ``load``: the record does not open; the text says why. It is left in place and is not treated
            as missing, so that no new visitor replaces it. By every method: what ``inner`` raises.

    Concurrency: like ``inner``; sealing takes microseconds and never waits.
    Cancellation: like ``inner``.
    """

    aclose: Callable[[], Awaitable[None]]
    keys: Callable[[], AsyncIterator[str]]
    purge: Callable[[], Awaitable[int]]

    def __init__(self, inner: TokenStorage, keys: Sequence[str | bytes]) -> None:
        if isinstance(inner, type) or not isinstance(inner, TokenStorage):
            raise ConfigurationError("inner: expected an object with async load, save and delete")
        self._inner: Any = inner
        self._sealer = Sealer(keys, _PURPOSE)
        # A method that inner lacks must be missing here, too. signature() and isinstance() look at the object first.
        own = vars(self)
        if not takes_expected(inner):
            own["save"] = self._save_unconditionally
        elif not takes_keep_for(inner):
            own["save"] = self._save_conditionally
        if isinstance(inner, LeasingStorage):
            own.update(acquire_lease=inner.acquire_lease, release_lease=inner.release_lease)
        for name in ("aclose", "keys", "purge"):
            if (method := getattr(inner, name, None)) is not None:
                own[name] = method

    @staticmethod
    def generate_key() -> str:
        """Returns a new random key, as text for a secret manager or an environment variable."""
        return _sealing.generate_key()

    @drops_frames_async
    async def load(self, key: str) -> Record | str | None:
        """Returns the record, decrypted; None if there is none.

        Raises:
            StorageError: the record is not sealed, or was sealed with another key, or was changed or moved.
        """
        found = await self._inner.load(key)
        if found is None:
            return None
        if isinstance(found, Record):
            return attrs.evolve(found, value=self._opened(key, found.value))
        return self._opened(key, found)

    @drops_frames_async
    async def save(
        self, key: str, value: str, *, expected: str | AnyVersion | None = ANY_VERSION, keep_for: float | None = None
    ) -> str:
        """Seals the record with the first key and returns its version; takes the arguments of the store's ``save``.

        Raises:
            VersionConflict: the store holds another version; it is unchanged.
        """
        more = {} if keep_for is None else {"keep_for": keep_for}
        version: str = await self._inner.save(key, self._sealed(key, value), expected=expected, **more)
        return version

    async def delete(self, key: str) -> None:
        """Forgets the record, whether it can be opened or not."""
        await self._inner.delete(key)

    def __repr__(self) -> str:
        return f"<SealedStorage over {self._inner!r}, keys {', '.join(self._sealer.key_ids)}>"

    @drops_frames_async
    async def _save_conditionally(
        self, key: str, value: str, *, expected: str | AnyVersion | None = ANY_VERSION
    ) -> object:
        return await self._inner.save(key, self._sealed(key, value), expected=expected)

    @drops_frames_async
    async def _save_unconditionally(self, key: str, value: str) -> object:
        return await self._inner.save(key, self._sealed(key, value))

    def _pickled(self) -> str:
        return "its keys would be in the pickle; send the inner store, and make this one in the process that uses it"

    async def _settle(self) -> None:
        await settle(self._inner, 10.0)

    def _sealed(self, key: str, value: str) -> str:
        return _MARK + self._sealer.seal(value.encode("utf-8", "surrogatepass"), (key,))

    def _opened(self, key: str, text: object) -> str:
        if not isinstance(text, str) or not text.startswith(_MARK):
            raise StorageError(
                "the store's record is not sealed (saved without SealedStorage, or by another program?); it was left "
                "as it is: load it without SealedStorage and save it with it, or delete it to start with a new visitor"
            )
        try:
            return self._sealer.open(text.removeprefix(_MARK), (key,)).decode("utf-8", "surrogatepass")
        except NotOpened as error:
            raise StorageError(f"{self._explained(error)}; it was left as it is") from None
        except UnicodeDecodeError:  # it quotes what was sealed
            raise StorageError("the store's record is damaged: its content is no text; it was left as it is") from None

    def _explained(self, error: NotOpened) -> str:
        if isinstance(error, UnknownVersion):
            return f"the store's record has the envelope version {error}; update wixvisitor to read it"
        if isinstance(error, UnknownKey):
            held = ", ".join(self._sealer.key_ids)
            return (
                f"the store's record is sealed with key {error}, but keys has {held}; put that key at the end of keys"
            )
        return (
            "the store's record does not open: it was changed, cut off, or moved here from another visitor; restore it "
            "from a backup, or delete it to start with a new visitor"
        )
