"""One visitor in many processes, over every store that promises it: one call each time, whoever dies or stalls."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import attrs
import pytest

from tests.constants import IN_CI, LIFETIME
from tests.storage.visitor_process import STEPS, Life, Work, live, open_store
from wixvisitor import TokenRole, Tokens, VisitorSession
from wixvisitor._renewal.records import parse, render
from wixvisitor.storage import Record
from wixvisitor.storage.sqlalchemy import SQLAlchemyStorage
from wixvisitor.testing import FakeWix

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.machine,
    pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals"),
]

VISITORS = int(os.environ.get("WIXVISITOR_MANY", "1000" if IN_CI else "100"))  # that expire at once
PROCESSES, CALLERS = (8, 100) if IN_CI else (4, 20)


@pytest.fixture
def anyio_backend() -> str:
    """The loop of the parent; that of the processes is asyncio's all the same."""
    return "asyncio"


@pytest.fixture(scope="module")
def cradle() -> Any:
    """Starts processes in milliseconds: they are forked from one that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.storage.visitor_process", "anyio._backends._asyncio"])
    return context


@attrs.define
class Shop:
    """One of the processes."""

    process: BaseProcess
    line: Connection

    async def hear(self) -> Any:
        """What it says next; None if it died."""
        with anyio.fail_after(600):
            try:
                return await anyio.to_thread.run_sync(self.line.recv, abandon_on_cancel=True)
            except EOFError:
                return None

    async def do(self, work: Work) -> Any:
        """Has it do something and waits."""
        self.line.send(work)
        return await self.hear()

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.line.close()


Open = Callable[..., Awaitable[Shop]]


@pytest.fixture
async def url(still: FakeWix) -> AsyncIterator[str]:
    """The stand-in on loopback."""
    async with still.serve() as url:
        yield url


@pytest.fixture(params=["file", "sqlite", "redis", "postgresql", "mariadb"] if IN_CI else ["sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, Any]]:
    """Each store that promises one visitor across processes, by name and arguments."""
    if request.param == "redis":
        url, prefix = request.getfixturevalue("redis_url"), request.getfixturevalue("redis_prefix")
        return "redis", {"url_or_client": url, "prefix": prefix, "timeout": 10.0}
    if request.param in {"postgresql", "mariadb"}:
        server = request.getfixturevalue("postgres" if request.param == "postgresql" else "mariadb")
        url = server.url(request.param)
        arguments = {"engine_or_url": url, "prefix": f"t_{uuid.uuid4().hex}", "timeout": 10.0}
        async with SQLAlchemyStorage(**arguments) as storage:
            await storage.create_table()
        return "sqlalchemy", arguments
    return request.param, {"path": f"{tmp_path}/visitors" + ("/" if request.param == "file" else ".db")}


@pytest.fixture
def shop(cradle: Any, client_id: str, url: str, store: tuple[str, dict[str, Any]]) -> Iterator[Open]:
    """Starts processes, and ends them."""
    shops: list[Shop] = []

    async def open_(**options: Any) -> Shop:
        ours, theirs = multiprocessing.Pipe()
        life = Life(client_id=client_id, url=url, store=store, **options)
        process = cradle.Process(target=live, args=(life, theirs), daemon=True)
        process.start()
        theirs.close()
        shops.append(Shop(process, ours))
        assert await shops[-1].hear() == "ready"
        return shops[-1]

    yield open_
    for one in shops:
        one.end()


async def all_of(shops: list[Shop], work: Work) -> list[Any]:
    """Has all of them do the same at once."""
    for one in shops:
        one.line.send(work)
    return [await one.hear() for one in shops]


def visitors_of(answers: list[Any]) -> set[str]:
    """Whose refresh token each had."""
    assert all(isinstance(answer, dict) for answer in answers), answers
    return {visitor for answer in answers for visitor, _ in answer.values()}


async def saved(store: tuple[str, dict[str, Any]], client_id: str) -> str:
    """Whose refresh token the store holds."""
    storage = open_store(*store)
    record = await storage.load(f"{client_id}:default")
    if hasattr(storage, "aclose"):
        await storage.aclose()
    return parse(record.value, client_id).refresh_token.value if isinstance(record, Record) else ""


@pytest.mark.parametrize("one_time", [False, True], ids=["lasting", "one-time"])
async def test_processes_with_many_callers(still: FakeWix, shop: Open, *, one_time: bool) -> None:
    """Processes with many coroutines each: cold they make one visitor with one call, and renew it with one."""
    still.one_time_refresh_tokens = one_time
    shops = [await shop(renew_timeout=60.0) for _ in range(PROCESSES)]
    for number in range(3):
        answers = await all_of(shops, Work(now=still.now(), callers=CALLERS))
        assert len(visitors_of(answers)) == 1
        assert len({answer["default"] for answer in answers}) == 1
        assert len(still.token_calls()) == number + 1
        still.advance(LIFETIME + 1)
    assert len(still.visitors) == 1
    assert len({call.visitor_id for call in still.api_calls()}) == 1


async def test_ageing(still: FakeWix, shop: Open) -> None:
    """Within the window all processes are served with the token that they have, and renew it once in the background."""
    shops = [await shop() for _ in range(3)]
    work = Work(now=still.now())
    await all_of(shops, work)
    still.advance(LIFETIME - 100)
    work = Work(now=still.now())
    gate = still.hold()
    assert len(visitors_of(await all_of(shops, work))) == 1
    await gate.wait_for(1)
    gate.release()
    with anyio.fail_after(10):
        while len({answer["default"] for answer in await all_of(shops, work)}) > 1:
            pass
    assert len(still.token_calls()) == 2
    assert len(still.visitors) == 1


async def test_a_login_while_another_process_is_stopped(
    still: FakeWix, shop: Open, store: tuple[str, dict[str, Any]], client_id: str, tokens_from: Callable[..., Tokens]
) -> None:
    """A process that is stopped in its renewal, while another one logs in, adopts the login when it goes on."""
    await (await shop()).do(Work(now=still.now()))
    still.advance(LIFETIME + 1)
    stopped = await shop(step="after the answer", signal=signal.SIGSTOP, lease=0.2)
    assert await stopped.do(Work(now=still.now())) == "stopping"
    member, storage = tokens_from(still.mint_member(client_id), TokenRole.MEMBER), open_store(*store)
    session = VisitorSession(client_id, client=still.client(), storage=storage, clock=still.now)
    await session.set_tokens(member)
    if hasattr(storage, "aclose"):
        await storage.aclose()
    os.kill(stopped.process.pid or 0, signal.SIGCONT)
    assert visitors_of([await stopped.hear()]) == {member.refresh_token.value}
    assert await saved(store, client_id) == member.refresh_token.value
    assert len(still.token_calls("anonymous")) == 1


def each_step(*, starts_cold: bool) -> pytest.MarkDecorator:
    """Each step at a mint and at a renewal in CI; else they take turns."""
    every = [(step, cold) for step in STEPS for cold in (starts_cold, not starts_cold)]
    taken = every if IN_CI else [pair for number, pair in enumerate(every) if number % 4 in {0, 3}]
    names = [f"{step}-{'mint' if cold else 'renewal'}" for step, cold in taken]
    return pytest.mark.parametrize(("step", "cold"), taken, ids=names)


@each_step(starts_cold=True)
async def test_killed(
    still: FakeWix, shop: Open, store: tuple[str, dict[str, Any]], client_id: str, step: str, *, cold: bool
) -> None:
    """SIGKILL at each step: the next process has whoever was saved, and asks at most once more."""
    if not cold:
        await (await shop()).do(Work(now=still.now()))
        still.advance(LIFETIME + 1)
        still.reset_calls()
    dying, other = await shop(step=step, lease=0.2), await shop()
    work = Work(now=still.now())
    assert await dying.do(work) is None
    before = await saved(store, client_id)
    assert bool(before) == (not cold or step in ("after saving", "after the release"))
    answer = await other.do(work)
    assert visitors_of([answer]) == {await saved(store, client_id)}
    assert not before or visitors_of([answer]) == {before}
    assert len(still.token_calls()) <= 2
    assert len({call.visitor_id for call in still.api_calls()}) == 1
    assert cold or len(still.visitors) == 1


@each_step(starts_cold=False)
async def test_stopped(still: FakeWix, shop: Open, step: str, *, cold: bool) -> None:
    """SIGSTOP at each step costs at most one more call; when it goes on it is the same visitor as everybody."""
    if not cold:
        await (await shop()).do(Work(now=still.now()))
        still.advance(LIFETIME + 1)
        still.reset_calls()
    stopping, other = await shop(step=step, signal=signal.SIGSTOP, lease=0.2), await shop()
    work = Work(now=still.now())
    assert await stopping.do(work) == "stopping"
    meanwhile = await other.do(work)
    os.kill(stopping.process.pid or 0, signal.SIGCONT)
    late = await stopping.hear()
    assert len(visitors_of([meanwhile, late])) == 1
    assert len(visitors_of(await all_of([stopping, other], work))) == 1
    assert len(still.token_calls()) <= 2
    assert len({call.visitor_id for call in still.api_calls()}) == 1
    assert cold or len(still.visitors) == 1


async def test_thousands_expire_in_the_same_second(
    still: FakeWix, shop: Open, store: tuple[str, dict[str, Any]], client_id: str, tokens_from: Callable[..., Tokens]
) -> None:
    """Thousands of visitors, each in two of four processes: one renewal each, and never more than 4 a process."""
    storage = open_store(*store)
    minted = [tokens_from(still.mint_visitor(client_id)) for _ in range(VISITORS)]
    async with anyio.create_task_group() as tasks:
        limit = anyio.CapacityLimiter(50)
        for number, tokens in enumerate(minted):
            tasks.start_soon(_save, limit, storage, f"{client_id}:{number}", render(tokens, client_id))
    if hasattr(storage, "aclose"):
        await storage.aclose()
    shops = [await shop(renew_timeout=300.0) for _ in range(4)]
    still.advance(LIFETIME + 1)
    for index, one in enumerate(shops):
        keys = tuple(str(number) for number in range(VISITORS) if number % 4 in (index, (index + 1) % 4))
        one.line.send(Work(now=still.now(), keys=keys, calls_api=False))
    answers = [await one.hear() for one in shops]
    assert visitors_of(answers) == {tokens.refresh_token.value for tokens in minted}
    both: dict[str, set[str]] = {}
    for answer in answers:
        for key, (_, access_token) in answer.items():
            both.setdefault(key, set()).add(access_token)
    assert {len(tokens) for tokens in both.values()} == {1}
    assert len(still.token_calls("refresh_token")) == len(still.token_calls()) == VISITORS
    assert still.max_concurrency() <= 4 * 4


async def _save(limit: anyio.CapacityLimiter, storage: Any, key: str, text: str) -> None:
    async with limit:
        await storage.save(key, text)
