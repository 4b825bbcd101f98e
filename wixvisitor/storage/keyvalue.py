"""A bridge to the stores of py-key-value-aio (Postgres, DynamoDB, MongoDB, …). Needs the extra ``kv``."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio
import anyio.lowlevel
import attrs

try:
    from key_value.aio.protocols import AsyncKeyValue
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "key_value":
        raise
    raise ImportError(
        "KeyValueStorage needs py-key-value-aio: pip install 'wixvisitor[kv]'", name=error.name
    ) from error

from wixvisitor._wire.redaction import drops_frames_async, redact, safe_cause
from wixvisitor.errors import ConfigurationError, StorageError
from wixvisitor.storage._arguments import YEAR, seconds
from wixvisitor.storage._pickling import Pickling
from wixvisitor.storage._protocol import Record

_GRACE: Final = 1.0  # seconds in which a probe that was cancelled removes what it wrote
_LIKE_A_RECORD: Final = "." * 4_096  # characters; a record has up to 2,000, so this detects a store with a size limit


@attrs.define(eq=False)
class _Probe:
    """A probe under way in one event loop, and the error if it failed."""

    loop: object
    ended: anyio.Event = attrs.field(factory=anyio.Event)
    error: StorageError | None = None


class KeyValueStorage(Pickling):
    """Keeps visitors in any store of py-key-value-aio. It is safe for one process only.

    Args:
        store: used as it is and never closed; only its ``get``, ``put`` and ``delete`` are called.
        collection: the collection in the store; the keys in it are SHA-256 digests, which every store accepts.
        expire_after: seconds that a record is kept after it was saved, by default a year, like the known refresh tokens
            of Wix; None: for ever. Sessions in use save every few hours. Loading does not extend this: the record would
            have to be written again, and that could overwrite what another process has just saved.

    **Not atomic**: these stores cannot compare and set, and have no lock. One process keeps one visitor, even over
    restarts. Several processes that mint or renew the same visitor at the same moment ask Wix several times and
    overwrite each other. Then two processes may hold two visitors, until the process whose save was overwritten loads
    again. If that matters, use ``RedisStorage``, ``SQLiteStorage`` or ``FileStorage``.

    At its first use the store is probed: a record is written, read and deleted. A store that does not return it is
    turned down (a ``RedisStore`` over a client without ``decode_responses=True``, a ``NullStore``, a limit on sizes),
    since each load from it would create a new visitor. The probe cannot detect a store that reports damaged records as
    missing, that evicts records, or that reads from a replica which does not have them yet (DynamoDB).

    The contract passes on the ``MemoryStore``, ``SimpleStore``, ``FileTreeStore``, ``DuckDBStore`` and ``RedisStore``
    of py-key-value-aio 0.5; the first two work on trio. Its Fernet wrapper accepts unencrypted values and
    swapped rows: use ``SealedStorage(KeyValueStorage(…))``.

    Raises:
        ConfigurationError: an argument is wrong.
        StorageError: by every method: the store failed, did not pass the probe, or holds something else, which is left
            as it is.

    Concurrency: as safe between tasks, threads and event loops as the store is. The first calls share one probe.
    Cancellation: a cancelled ``save`` took effect completely or not at all if the store's ``put`` is atomic. If a probe
    is cancelled, one of the calls that wait for it starts another.
    """

    def __init__(
        self, store: AsyncKeyValue, *, collection: str = "wixvisitor", expire_after: float | None = YEAR
    ) -> None:
        if isinstance(store, type) or not all(
            callable(getattr(store, name, None)) for name in ("get", "put", "delete")
        ):
            raise ConfigurationError("store: expected a store of py-key-value-aio, with async get, put and delete")
        if not isinstance(collection, str) or not collection:
            raise ConfigurationError("collection: expected a name")
        self._store = store
        self._collection = collection
        self._life = None if expire_after is None else seconds(expire_after, "expire_after")
        self._is_proven = False
        self._probe: _Probe | None = None

    @drops_frames_async
    async def load(self, key: str) -> Record | None:
        """Returns the visitor's record, None if the store has none."""
        await self._prove()
        name = _name(key)
        found = await self._call("load", self._store.get, name)
        return None if found is None else Record(_value(found, name))

    @drops_frames_async
    async def save(self, key: str, value: str) -> None:
        """Keeps the record for ``expire_after``, whatever the store holds."""
        await self._prove()
        name = _name(key)
        await self._call("save", self._store.put, name, _entry(name, value), ttl=self._life)

    async def delete(self, key: str) -> None:
        """Forgets the record."""
        await self._prove()
        await self._call("delete", self._store.delete, _name(key))

    def __repr__(self) -> str:
        return f"<KeyValueStorage over a {type(self._store).__name__}, collection {self._collection!r}>"

    def _pickled(self) -> str:
        return "its store is yours; make both in the process that uses them"

    async def _call(self, verb: str, call: Callable[..., Awaitable[Any]], *arguments: object, **options: object) -> Any:
        try:
            return await call(*arguments, collection=self._collection, **options)
        except Exception as error:
            reason = f"{type(error).__name__}: {redact(str(error))[:300]}"
            raise StorageError(f"the {type(self._store).__name__} cannot {verb}: {reason}") from safe_cause(error)

    async def _prove(self) -> None:
        """Returns once it is known that the store returns what it was given. The first caller makes the probe."""
        while not self._is_proven:
            loop, probe = anyio.lowlevel.current_token().native_token, self._probe
            if probe is None or probe.loop is not loop:  # a probe of a closed event loop never ends
                self._probe = _Probe(loop)
                await self._lead(self._probe)
                continue
            await probe.ended.wait()
            if probe.error is not None:
                raise probe.error._again() from probe.error.__cause__

    async def _lead(self, probe: _Probe) -> None:
        try:
            await self._write_read_delete()
            self._is_proven = True
        except StorageError as error:
            probe.error = error
            raise
        finally:
            self._probe = None
            probe.ended.set()

    async def _write_read_delete(self) -> None:
        name = _name(f"probe:{uuid.uuid4().hex}")
        entry = _entry(name, uuid.uuid4().hex + _LIKE_A_RECORD)
        trouble: StorageError | None = None
        try:
            await self._call("save", self._store.put, name, entry, ttl=self._life)
            found = await self._call("load", self._store.get, name)
        finally:
            with anyio.move_on_after(_GRACE, shield=True):
                trouble = await self._trouble_in_deleting(name)
        if found != entry:
            raise StorageError(_refusal(type(self._store).__name__, "nothing" if found is None else "something else"))
        if trouble is not None:
            raise trouble

    async def _trouble_in_deleting(self, name: str) -> StorageError | None:
        try:
            await self._call("delete", self._store.delete, name)
        except StorageError as error:
            return error
        return None


def _refusal(store: str, returned: str) -> str:
    return (
        f"the {store} does not give back what it is given (it returned {returned} right after a save), so visitors "
        "would be lost. A RedisStore's client needs decode_responses=True, or use RedisStorage instead. Other stores "
        "must accept values of 5 kB and a time to live, and read what was just written; check their wrappers, too"
    )


def _name(key: str) -> str:
    """Returns the key in the store. Keys are any text, stores limit length and characters, and some fold case."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _entry(name: str, value: str) -> dict[str, Any]:
    return {"key": name, "value": value}


def _value(found: object, name: str) -> str:
    match found:
        case {"key": str(key), "value": str(value), **rest} if not rest:
            if key == name:
                return value
            raise StorageError("the store's record belongs to another key; it was left as it is")
        case _:
            raise StorageError("the store's record is not one of KeyValueStorage's; it was left as it is")
