"""`python -m wixvisitor copy`: stores by path and URL, numbers, and no password."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Written
from wixvisitor.cli._places import opened
from wixvisitor.storage import FileStorage
from wixvisitor.storage.redis import RedisStorage
from wixvisitor.storage.sqlalchemy import SQLAlchemyStorage
from wixvisitor.storage.sqlite import SQLiteStorage

Run = Callable[..., Written]


def fill(storage: Any, number: int = 3) -> None:
    """Saves visitors."""

    async def save() -> None:
        async with storage:
            for one in range(number):
                await storage.save(f"client:{one}", f"value {one}")

    asyncio.run(save())


def content(storage: Any) -> dict[str, str]:
    """All records."""

    async def load() -> dict[str, str]:
        async with storage:
            return {key: (await storage.load(key)).value async for key in storage.keys()}  # noqa: SIM118

    return asyncio.run(load())


@pytest.fixture
def visitors(tmp_path: Path) -> str:
    """A directory with three visitors."""
    place = f"{tmp_path / 'visitors'}/"
    fill(FileStorage(place))
    return place


@pytest.mark.parametrize("kind", ["db", "directory", "sqlalchemy"])
def test_copies_what_is_missing(run: Run, visitors: str, tmp_path: Path, kind: str) -> None:
    """The visitors are in the new store, and the numbers are told; the second time all were there already."""
    place = {"db": f"{tmp_path}/v.db", "directory": f"{tmp_path}/new/", "sqlalchemy": f"sqlite:///{tmp_path}/shop.db"}[
        kind
    ]
    options = ["--create-table"] if kind == "sqlalchemy" else []
    first, second = run("copy", visitors, place, *options), run("copy", visitors, place, "--json")
    assert (first.code, first.out) == (0, "3 visitors: 3 copied, 0 were there already\n")
    assert "copying from <FileStorage" in first.err
    assert json.loads(second.out) == {"copied": 0, "present": 3, "gone": 0}
    assert content(opened(place, prefix=None, must_exist=True)) == content(FileStorage(visitors))


@pytest.mark.machine
def test_copies_to_redis(
    run: Run, visitors: str, redis_url: str, redis_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis is named by its URL, which may be in the environment."""
    monkeypatch.setenv("NEW_STORE", redis_url)
    assert run("copy", visitors, "env:NEW_STORE", "--to-prefix", redis_prefix).code == 0
    assert content(RedisStorage(redis_url, prefix=redis_prefix)) == content(FileStorage(visitors))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("visitors/", FileStorage),
        ("visitor.json", FileStorage),
        ("file:visitors.db", FileStorage),
        ("visitors.db", SQLiteStorage),
        ("visitors.sqlite3", SQLiteStorage),
        ("sqlite:visitors", SQLiteStorage),
        ("redis://localhost/1", RedisStorage),
        ("rediss://localhost", RedisStorage),
        *([("unix:///run/redis.sock", RedisStorage)] if hasattr(socket, "AF_UNIX") else []),
        ("postgres://localhost/shop", SQLAlchemyStorage),
        ("postgresql+asyncpg://localhost/shop", SQLAlchemyStorage),
        *([("mariadb://localhost/shop", SQLAlchemyStorage)] if sys.platform != "win32" else []),  # without asyncmy
        ("sqlite:///shop.db", SQLAlchemyStorage),
    ],
)
def test_which_store(text: str, kind: type) -> None:
    """A path or a URL says which store it is."""
    assert type(opened(text, prefix=None, must_exist=False)) is kind


def test_a_database_without_a_suffix(tmp_path: Path) -> None:
    """An existing file is looked at."""
    fill(SQLiteStorage(tmp_path / "visitors"))
    assert type(opened(f"{tmp_path}/visitors", prefix=None, must_exist=True)) is SQLiteStorage


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["{}/nothing/", "{}/new/"], 1, "does not exist"),
        (["{}/nothing.db", "{}/new/"], 1, "does not exist"),
        (["{}/visitors/", "{}/visitors/"], 2, "the same store"),
        (["{}/visitors/", "ftp://u:p%40ss@host"], 2, "ftp:// is no store's URL"),
        (["{}/visitors/", "postgresql+nope://u:p%40ss@host/shop"], 2, "url: "),
        (["{}/visitors/", "redis://u:p%40ss@127.0.0.1:1"], 1, "Redis cannot save: the server cannot be reached"),
        (["{}/visitors/", "postgresql+psycopg://u:p%40ss@127.0.0.1:1/s"], 1, "the server cannot be reached"),
        (["{}/visitors/", "env:NOT_SET"], 2, "this environment variable is not set"),
        (["{}/visitors/", "{}/new/", "--create-table"], 2, "TO is no database"),
        (["{}/visitors/", "{}/new/", "--to-prefix", "a"], 2, "files have none"),
        (["{}/visitors/", "{}/new/", "redis://u:p%40ss@host"], 2, "redis://u:[password]@host"),
        (["{}/visitors/", ""], 2, "expected a path or a URL"),
    ],
)
def test_what_goes_wrong(run: Run, visitors: str, tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    """It is told in a line, with the exit code of its kind and without the password."""
    done = run("copy", *(one.format(tmp_path) for one in arguments))
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert "p%40ss" not in done.err
    assert "p@ss" not in done.err


def test_without_the_extra(run: Run, visitors: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing extra is named."""
    import sys

    monkeypatch.delitem(sys.modules, "wixvisitor.storage.sqlalchemy", raising=False)
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    done = run("copy", visitors, "postgresql+psycopg://host/shop")
    assert done.code == 2
    assert "pip install 'wixvisitor[sqlalchemy]'" in done.err
