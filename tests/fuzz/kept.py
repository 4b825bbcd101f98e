"""Stores with one visitor's record in them, which a test can look at, damage, and put back as it was."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import attrs
import redis.asyncio
from key_value.aio.stores.memory import MemoryStore

from wixvisitor.storage import FileStorage, TokenStorage
from wixvisitor.storage.keyvalue import KeyValueStorage, _name
from wixvisitor.storage.redis import RedisStorage
from wixvisitor.storage.sealed import SealedStorage
from wixvisitor.storage.sqlite import SQLiteStorage

_SEALING: Final = [b"0123456789abcdef0123456789abcdef"]
Damage = Callable[[Any], Any]


@attrs.define
class Kept:
    """One store.

    Attributes:
        open: makes a storage over it, as another process would.
        read, write: what the store itself holds for the visitor.
        damages: by name, what may become of that.
        seen_at_opening: those that a storage which is open does not look at again.
    """

    open: Callable[[], TokenStorage]
    read: Callable[[], Awaitable[Any]]
    write: Callable[[Any], Awaitable[None]]
    damages: dict[str, Damage]
    seen_at_opening: tuple[str, ...] = ()


def _edited(**changes: Any) -> Damage:
    return lambda text: json.dumps({**json.loads(text), **changes})


OF_TEXTS: Final[dict[str, Damage]] = {
    "empty": lambda text: "",
    "cut off": lambda text: text[: len(text) // 2],
    "next format": _edited(format=2),
    "no format": lambda text: json.dumps({name: value for name, value in json.loads(text).items() if name != "format"}),
    "another site": _edited(clientId="11111111-7c1e-4a52-9d5e-1f2a3b4c5d6e"),
    "a list for a token": _edited(refreshToken=[]),
    "another role": _edited(refreshToken={"value": "JWS.r", "role": "admin"}),
    "a line break": _edited(accessToken={"value": "a\nb", "expiresAt": 1}),
    "a huge expiry": _edited(accessToken={"value": "a", "expiresAt": 10**400}),
    "deep": lambda text: "[" * 5_000,
}


def _in_file(damage: Damage) -> Damage:
    return lambda data: json.dumps({**json.loads(data), "value": damage(json.loads(data)["value"])}).encode()


def file(place: Path, key: str) -> Kept:
    """A file with one visitor."""
    path = place / "visitor.json"

    async def read() -> bytes:
        return path.read_bytes()

    async def write(data: bytes) -> None:
        path.write_bytes(data)

    damages: dict[str, Damage] = {f"value {name}": _in_file(damage) for name, damage in OF_TEXTS.items()}
    damages |= {
        "zeros": lambda data: bytes(len(data)),
        "half": lambda data: data[: len(data) // 2],
        "next version": lambda data: data.replace(b'"wixvisitor": 1', b'"wixvisitor": 2'),
        "UTF-32 and cut": lambda data: data.decode().encode("utf-32")[:-3],
        "another program's": lambda data: b"[]",
    }
    return Kept(lambda: FileStorage(path), read, write, damages)


def sealed(place: Path, key: str) -> Kept:
    """The same, sealed."""
    plain = file(place, key)

    damages = {
        "one character": _in_file(lambda text: text[:-8] + ("A" if text[-8] != "A" else "B") + text[-7:]),
        "cut off": _in_file(lambda text: text[:-9]),
        "next version": _in_file(lambda text: text.replace("sealed.1.", "sealed.2.")),
        "another key": _in_file(lambda text: f"wixvisitor-sealed.1.{'0' * 12}.{'A' * 60}"),
        "not sealed": _in_file(lambda text: "{}"),
    }
    return Kept(lambda: SealedStorage(plain.open(), keys=_SEALING), plain.read, plain.write, damages)


def sqlite(place: Path, key: str) -> Kept:
    """A database with one visitor; what it holds is the row and the schema's version."""
    path = place / "visitors.db"

    def connection() -> sqlite3.Connection:
        return sqlite3.connect(path, isolation_level=None)

    async def read() -> Any:
        with connection() as one:
            [row] = one.execute("SELECT CAST(value AS BLOB), typeof(value), version, expires_at FROM visitors")
            [version] = one.execute("PRAGMA user_version").fetchone()
        one.close()
        return (*row, version)

    async def write(held: Any) -> None:
        value, kind, record_version, expires_at, version = held
        with connection() as one:
            column = "CAST(? AS TEXT)" if kind == "text" else "?"
            one.execute(
                f"UPDATE visitors SET value = {column}, version = ?, expires_at = ?",
                (value, record_version, expires_at),
            )
            one.execute(f"PRAGMA user_version = {version}")
        one.close()

    def inside(damage: Damage) -> Damage:
        return lambda held: (damage(held[0].decode()).encode(), *held[1:])

    damages: dict[str, Damage] = {f"value {name}": inside(damage) for name, damage in OF_TEXTS.items()}
    damages |= {
        "no UTF-8": lambda held: (held[0][:-9] + b"\xff", *held[1:]),
        "a blob": lambda held: (held[0], "blob", *held[2:]),
        "a text for a time": lambda held: (*held[:3], "soon", held[4]),
        "a blob for a version": lambda held: (*held[:2], b"\x00", *held[3:]),
        "next schema": lambda held: (*held[:4], 2),
    }
    return Kept(lambda: SQLiteStorage(path), read, write, damages, ("next schema",))


def key_value(place: Path, key: str) -> Kept:
    """A store of py-key-value-aio with one visitor."""
    store, name = MemoryStore(), _name(key)

    async def read() -> Any:
        return await store.get(name, collection="wixvisitor")

    async def write(entry: Any) -> None:
        await store.put(name, entry, collection="wixvisitor")

    def inside(damage: Damage) -> Damage:
        return lambda entry: {**entry, "value": damage(entry["value"])}

    damages: dict[str, Damage] = {f"value {name}": inside(damage) for name, damage in OF_TEXTS.items()}
    damages |= {
        "another key": lambda entry: {**entry, "key": "k"},
        "one field more": lambda entry: {**entry, "more": 1},
        "a number": lambda entry: {**entry, "value": 7},
    }
    return Kept(lambda: KeyValueStorage(store), read, write, damages)


def of_redis(url: str, prefix: str, key: str) -> Kept:
    """A Redis with one visitor; what it holds is the hash's fields, or a text where there is no hash."""
    name = f"{prefix}:{{{key}}}"

    async def read() -> Any:
        async with redis.asyncio.from_url(url) as client:
            return await (client.hgetall(name) if await client.type(name) == b"hash" else client.get(name))

    async def write(held: Any) -> None:
        async with redis.asyncio.from_url(url) as client:
            await client.delete(name)
            await (client.hset(name, mapping=held) if isinstance(held, dict) else client.set(name, held))

    def inside(damage: Damage) -> Damage:
        return lambda held: {**held, b"data": damage(held[b"data"].decode()).encode()}

    damages: dict[str, Damage] = {f"value {name}": inside(damage) for name, damage in OF_TEXTS.items()}
    damages |= {
        "a text": lambda held: held[b"data"],
        "no version": lambda held: {b"data": held[b"data"]},
        "other fields": lambda held: {b"v2": held[b"data"], b"v": b"2"},
        "no UTF-8": lambda held: {**held, b"data": b"\xff\xfe"},
    }
    return Kept(lambda: RedisStorage(url, prefix=prefix), read, write, damages)
