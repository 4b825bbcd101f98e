"""What a store gives back: records of other versions, of other programs, cut off, or of other types."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Final

import anyio
import redis.asyncio
from redis import exceptions

from tests.constants import CLIENT_ID
from wixvisitor._renewal.records import parse, render
from wixvisitor.errors import StorageError
from wixvisitor.storage import Record
from wixvisitor.storage._file_record import read
from wixvisitor.storage.keyvalue import KeyValueStorage
from wixvisitor.storage.redis import RedisStorage
from wixvisitor.storage.sealed import SealedStorage
from wixvisitor.storage.sqlite import SQLiteStorage

from .ends import check_sendable, ending

KEY: Final = f"{CLIENT_ID}:default"
_SEALING: Final = b"0123456789abcdef0123456789abcdef"
_OURS: Final = b"wixv"  # a database's application ID, at offset 68 of its header


def record(data: bytes) -> None:
    """A record's text, whatever store it comes from: tokens, or a ``StorageError`` that says what it is instead."""
    text = data.decode("utf-8", "surrogateescape")
    names = "^the store's record (is|has format|belongs)"
    end = ending(lambda: parse(text, CLIENT_ID), StorageError, names=names, given=text)
    if end.error is None:
        check_sendable(end.value)
        assert parse(render(end.value, CLIENT_ID), CLIENT_ID) == end.value


def file(data: bytes) -> None:
    """A visitor's file: a record, or a ``StorageError`` that names the file, which is left as it is."""
    place = _directory() / "visitor.json"
    place.touch(0o600)
    place.write_bytes(data)
    given = data.decode("utf-8", "replace")
    end = ending(lambda: read(place, KEY), StorageError, names="visitor.json", given=given)
    assert place.read_bytes() == data
    _check_record(end.value, given)


def sqlite_row(data: bytes) -> None:
    """A row with columns of any type: three letters (text, blob, integer, real), version, time and value."""
    kinds, version, time, value = [*data.split(b"\n", 3), b"", b"", b""][:4]
    storage, connection = _database()
    columns = [_column(kind, raw) for kind, raw in zip((kinds + b"ttr")[:3], (value, version, time), strict=True)]
    expressions = [f"CAST(? AS {name})" if name else "?" for name, _ in columns]
    connection.execute("DELETE FROM visitors")
    statement = f"INSERT INTO visitors (key, value, version, expires_at) VALUES (?, {', '.join(expressions)})"
    connection.execute(statement, (KEY, *(content for _, content in columns)))
    before = connection.execute("SELECT hex(value), hex(version) FROM visitors").fetchall()
    given = value.decode("latin-1")
    end = ending(lambda: anyio.run(storage.load, KEY), StorageError, names=r"visitors\.db", given=given)
    assert connection.execute("SELECT hex(value), hex(version) FROM visitors").fetchall() == before
    _check_record(end.value, given)


def sqlite_file(data: bytes) -> None:
    """A whole database file: a record, nothing, or a ``StorageError``; another program's is left as it is."""
    place = _directory() / "file.db"
    for path in (place, Path(f"{place}-wal"), Path(f"{place}-shm")):
        path.unlink(missing_ok=True)
    place.touch(0o600)
    place.write_bytes(data)

    async def load() -> Record | None:
        storage = SQLiteStorage(place)
        try:
            return await storage.load(KEY)
        finally:
            await storage.aclose()

    given = data.decode("latin-1")
    end = ending(lambda: anyio.run(load), StorageError, names=r"file\.db", given=given)
    if end.error is not None and data[68:72] != _OURS:
        assert place.read_bytes() == data
    _check_record(end.value, given)


def redis_reply(data: bytes) -> None:
    """A reply of the server: letters for what it is (list, text, integer, error, nothing), version and value."""
    kinds, version, value = [*data.split(b"\n", 2), b"", b""][:3]
    client = _answering(_reply(kinds.decode("latin-1"), version, value))
    given = value.decode("latin-1")
    end = ending(
        lambda: anyio.run(RedisStorage(client).load, KEY), StorageError, names="^Redis cannot load: ", given=given
    )
    _check_record(end.value, given)


def sealed_record(data: bytes) -> None:
    """A sealed record; what stands behind ``seal:`` is sealed first, as if another version had written it."""
    text = data.decode("latin-1")
    storage = SealedStorage(_Holding(""), keys=[_SEALING])
    if data.startswith(b"seal:"):
        text = "wixvisitor-sealed." + storage._sealer.seal(data[5:], (KEY,))
    storage = SealedStorage(_Holding(text), keys=[_SEALING])
    given = data.decode("utf-8", "replace")
    end = ending(lambda: anyio.run(storage.load, KEY), StorageError, names="^the store's record ", given=given)
    _check_record(None if end.value is None else Record(end.value), given)


def key_value_entry(data: bytes) -> None:
    """An entry of py-key-value-aio: JSON of any shape."""
    try:
        entry = json.loads(data)
    except (ValueError, RecursionError):
        entry = {"key": data.decode("latin-1"), "value": data}
    given = data.decode("utf-8", "replace")
    storage = KeyValueStorage(_Entries(entry))
    storage._is_proven = True
    end = ending(lambda: anyio.run(storage.load, KEY), StorageError, names="^the store's record ", given=given)
    _check_record(end.value, given)


class _Holding:
    """A store with one text in it."""

    def __init__(self, text: str) -> None:
        self._text = text

    async def load(self, key: str) -> str | None:
        return self._text

    async def save(self, key: str, value: str) -> None: ...

    async def delete(self, key: str) -> None: ...


class _Entries:
    """A store of py-key-value-aio with one entry in it, which is nobody's unless it says so."""

    def __init__(self, entry: Any) -> None:
        self._entry = entry

    async def get(self, key: str, *, collection: str) -> Any:
        if isinstance(self._entry, dict) and self._entry.get("key") == "ours":
            return {**self._entry, "key": key}
        return self._entry

    async def put(self, key: str, value: Any, *, collection: str, ttl: float | None = None) -> None: ...

    async def delete(self, key: str, *, collection: str) -> None: ...


def _check_record(found: Record | None, given: str) -> None:
    """Reads on what a store took for a record, as a session does."""
    if found is None:
        return
    assert isinstance(found, Record)
    assert isinstance(found.value, str)
    assert found.version is None or isinstance(found.version, str)
    end = ending(lambda: parse(found.value, CLIENT_ID), StorageError, names="^the store's record ", given=given)
    if end.error is None:
        check_sendable(end.value)


def _column(kind: int, raw: bytes) -> tuple[str, Any]:
    """What a column is cast to, and from what."""
    match chr(kind):
        case "b":
            return "", raw
        case "i":
            return "INTEGER", raw
        case "r":
            return "REAL", raw or b"9e99"
        case _:
            return "TEXT", raw


def _reply(kinds: str, version: bytes, value: bytes) -> Any:
    parts: dict[str, Any] = {"t": value, "v": version, "i": len(value), "n": None}
    if kinds.startswith("e"):
        return exceptions.ResponseError(value.decode("latin-1"))
    if kinds.startswith("l"):
        return [parts.get(kind) for kind in kinds[1:]]
    return parts.get(kinds[:1])


def _answering(reply: Any) -> redis.asyncio.Redis:
    class Answering(redis.asyncio.Redis):
        async def execute_command(self, *arguments: Any, **options: Any) -> Any:
            if isinstance(reply, Exception):
                raise reply
            return reply

    return Answering()


@cache
def _place() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="wixvisitor-fuzz-")


def _directory() -> Path:
    return Path(_place().name)


@cache
def _database() -> tuple[SQLiteStorage, sqlite3.Connection]:
    place = _directory() / "visitors.db"
    storage = SQLiteStorage(place, expire_after=None)
    anyio.run(storage.load, KEY)
    connection = sqlite3.connect(place, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    return storage, connection
