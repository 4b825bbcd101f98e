"""How many bytes does a visitor take in each store? ``python -m benchmarks.sizes`` counts them, in a few minutes.

It is no question of ``nox -s bench``, since nothing is timed: the figures do not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from rich.console import Console
from rich.table import Table
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.stores import CLIENT_ID, rate, record_of
from tests.storage.conftest import Server, program_of
from tests.storage.databases import Database, MariaDB, Postgres
from wixvisitor.storage import FileStorage
from wixvisitor.storage.redis import RedisStorage
from wixvisitor.storage.sqlalchemy import SQLAlchemyStorage
from wixvisitor.storage.sqlite import SQLiteStorage

POSTGRES = "SELECT pg_total_relation_size('wixvisitor_visitors')"
MARIADB = "SELECT data_length + index_length FROM information_schema.tables WHERE table_name = 'wixvisitor_visitors'"


async def fill(storage: Any, records: int) -> None:
    """Gives the store so many new visitors."""
    texts = [record_of(number) for number in range(100)]
    await rate(lambda number: storage.save(f"{CLIENT_ID}:{number:043}", texts[number % 100]), range(records), 32)


async def in_files(place: Path, records: int) -> AsyncIterator[tuple[str, float]]:
    """Yields what FileStorage and SQLite take on the disk."""
    async with FileStorage(f"{place}/visitors/") as files:
        await fill(files, min(records, 500))
    used = sum(file.stat().st_blocks * 512 for file in (place / "visitors").iterdir())
    yield "FileStorage", used / min(records, 500)
    async with SQLiteStorage(place / "visitors.db") as database:
        await fill(database, records)
    yield "SQLite", (place / "visitors.db").stat().st_size / records


async def in_a_server(kind: str, place: Path, records: int) -> float:
    """Returns what Valkey or Redis takes in memory."""
    server = Server(program_of(kind), place)
    server.start()
    try:
        async with redis.asyncio.Redis.from_url(server.url) as client, RedisStorage(server.url) as storage:
            before = int((await client.info("memory"))["used_memory"])
            await fill(storage, records)
            return (int((await client.info("memory"))["used_memory"]) - before) / records
    finally:
        server.stop()


async def in_a_database(server: Database, scheme: str, query: str, records: int) -> float:
    """Returns what a table takes on the disk, with its indexes."""
    server.start()
    engine = create_async_engine(server.url(scheme))
    try:
        storage = SQLAlchemyStorage(engine)
        await storage.create_table()
        await fill(storage, records)
        async with engine.connect() as connection:
            if "mysql" in scheme or "mariadb" in scheme:
                await connection.execute(text("ANALYZE TABLE wixvisitor_visitors"))
            return int((await connection.execute(text(query))).scalar_one()) / records
    finally:
        await engine.dispose()
        server.remove()


async def main(records: int) -> None:
    """Prints a table; what is not installed is left out."""
    table = Table("store", "bytes for a visitor", title=f"{records:,} records of {len(record_of(0)):,} bytes")
    place = Path(tempfile.mkdtemp(prefix="wixvisitor-"))
    try:
        async for name, size in in_files(place, records):
            table.add_row(name, f"{size:,.0f}")
        for name, count in {
            "Valkey": lambda: in_a_server("valkey", place, records),
            "Redis": lambda: in_a_server("redis", place, records),
            "PostgreSQL": lambda: in_a_database(Postgres(), "postgresql+psycopg", POSTGRES, records),
            "MariaDB": lambda: in_a_database(MariaDB(), "mariadb+asyncmy", MARIADB, records),
        }.items():
            with suppress(pytest.skip.Exception):
                table.add_row(name, f"{await count():,.0f}")
    finally:
        shutil.rmtree(place)
    Console().print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sizes")
    parser.add_argument("--records", type=int, default=20_000)
    asyncio.run(main(parser.parse_args().records))
