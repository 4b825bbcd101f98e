"""Stores that are made from a path or a URL go to another process by pickle; the others say why they do not."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from key_value.aio.stores.memory import MemoryStore
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import create_async_engine

from tests.constants import IN_CI
from tests.web.conftest import KEY as SEALING_KEY
from wixvisitor.storage import FileStorage, MemoryStorage
from wixvisitor.storage.keyvalue import KeyValueStorage
from wixvisitor.storage.moving import MovingStorage
from wixvisitor.storage.redis import RedisStorage
from wixvisitor.storage.sealed import SealedStorage
from wixvisitor.storage.sqlalchemy import SQLAlchemyStorage
from wixvisitor.storage.sqlite import SQLiteStorage

KEY = "client:default"
KINDS = ("directory", "file", "redis", "sqlite", "sqlalchemy")


def load_elsewhere(storage: Any, place: str) -> str:
    """What another process reads, which has another working directory."""
    os.chdir(place)

    async def load() -> str:
        async with storage:
            return str((await storage.load(KEY)).value)

    return asyncio.run(load())


def of_kind(kind: str, request: pytest.FixtureRequest, place: Path) -> Any:
    match kind:
        case "directory":
            return FileStorage("visitors/", expire_after=90.0)
        case "file":
            return FileStorage("visitor.json", accept_group=True)
        case "sqlite":
            return SQLiteStorage("visitors.db", expire_after=None)
        case "redis":
            prefix = request.getfixturevalue("redis_prefix")
            return RedisStorage(request.getfixturevalue("redis_url"), prefix=prefix, timeout=10.0)
        case _:
            return SQLAlchemyStorage(
                f"sqlite+aiosqlite:///{place}/shop.db", prefix="a", expire_after=90.0, timeout=10.0
            )


@pytest.mark.machine
@pytest.mark.parametrize("kind", KINDS if IN_CI else KINDS[-1:])
def test_spawned_processes(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spawned process gets a store over the same place, with the same options, though this one is open."""
    monkeypatch.chdir(tmp_path)
    storage = of_kind(kind, request, tmp_path)

    async def save() -> None:
        async with storage:
            if kind == "sqlalchemy":
                await storage.create_table()
            await storage.save(KEY, "value")
            again = pickle.loads(pickle.dumps(storage))
            assert repr(again) == repr(storage)
            assert again._pickled() == storage._pickled()

    asyncio.run(save())
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(load_elsewhere, (storage, str(tmp_path.parent))) == "value"


@pytest.mark.parametrize(
    ("storage", "cure"),
    [
        (MemoryStorage(), "give each process a FileStorage"),
        (KeyValueStorage(MemoryStore()), "make both in the process that uses them"),
        (RedisStorage(Redis()), "give it a URL"),
        (SQLAlchemyStorage(create_async_engine("sqlite+aiosqlite:///shop.db")), "give it a URL"),
        (SealedStorage(MemoryStorage(), [SEALING_KEY]), "send the inner store"),
        (MovingStorage(MemoryStorage(), MemoryStorage()), "send them"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_pickled(storage: Any, cure: str) -> None:
    """A store over an object of the caller's is a TypeError that says what to do."""
    with pytest.raises(TypeError, match=f"cannot pickle a {type(storage).__name__}: .*{cure}"):
        pickle.dumps(storage)
