"""What a request costs, counted and not timed: a change that makes the hot path longer shows here."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import aiohttp
import httpx
import pytest

from tests.constants import CART, CLIENT_ID, SessionMaker
from wixvisitor import AccessToken, RefreshToken, TokenRole, Tokens, VisitorPool, VisitorSession
from wixvisitor._renewal.records import render
from wixvisitor.aiohttp import client_middleware
from wixvisitor.testing import FakeWix


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


pytestmark = pytest.mark.anyio


def answering(family: ModuleType) -> Any:
    """A transport that answers at once."""
    return family.MockTransport(lambda _: family.Response(200, json={"cart": {}}))


@pytest.fixture
async def warm(family: ModuleType, session_of: SessionMaker, visitor: Tokens) -> VisitorSession:
    """A session whose token is fresh and which has asked for the cart before."""
    session = session_of(client=family.AsyncClient(transport=answering(family)), tokens=visitor)
    await session.get(CART)
    return session


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch, place: Any, name: str) -> Iterator[list[Any]]:
    """Hands out a list that gets an entry for each call of the function."""
    original, calls = getattr(place, name), list[Any]()

    def counting(*arguments: Any, **named: Any) -> Any:
        calls.append(arguments)
        return original(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(place, name, counting)
        yield calls


def steps_of(coroutine: Any) -> int:
    """How often a coroutine that is driven by hand suspends before it ends."""
    steps = 0
    while True:
        try:
            coroutine.send(None)
        except StopIteration:
            return steps
        steps += 1


async def calls_of(get: Callable[[], Any]) -> int:
    """How many functions, of Python and of C, one await calls."""
    count = 0

    def profile(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    coroutine = get()
    sys.setprofile(profile)
    try:
        await coroutine
    finally:
        sys.setprofile(None)
    return count


async def fewest_calls_of(get: Callable[[], Any]) -> int:
    """The same over sockets, where an answer sometimes comes in two pieces."""
    return min([await calls_of(get) for _ in range(8)])


async def test_one_request_is_built(warm: VisitorSession, family: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GET builds one request and one response, and merges the client's headers not again."""
    with (
        counted(monkeypatch, family.Request, "__init__") as requests,
        counted(monkeypatch, family.Headers, "update") as merges,
    ):
        await warm.get(CART)
    assert len(requests) == 1
    assert merges == []


async def test_a_known_path_is_not_parsed(
    warm: VisitorSession, family: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No URL is parsed for a path that was asked for before; for a new one two are: to join it, and the library's."""
    with (
        counted(monkeypatch, family._urls, "urlparse") as parses,
        counted(monkeypatch, httpx._urls, "urlparse") as joins,
    ):
        await warm.get(CART)
        assert parses == joins == []
        await warm.get("/new")
        assert len({id(call) for call in (*parses, *joins)}) <= 4
        assert parses


async def test_nothing_waits(warm: VisitorSession) -> None:
    """With a fresh token a request suspends where its transport does, and nowhere else; the headers alone never do."""
    assert steps_of(warm.get(CART)) == 0
    assert steps_of(warm.auth_headers()) == 0


async def test_no_task_no_lock_no_log(
    warm: VisitorSession, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With a fresh token there is no other task, nobody takes the lock, and we log nothing."""

    class NoLock:
        def __enter__(self) -> None:
            raise AssertionError("the lock was taken")

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(warm._refresher.state, "lock", NoLock())
    caplog.set_level(logging.DEBUG)
    threads = threading.active_count()
    with counted(monkeypatch, asyncio.get_running_loop(), "create_task") as tasks:
        await warm.get(CART)
    assert tasks == []
    assert threading.active_count() == threads
    assert [record for record in caplog.records if record.name.startswith("wixvisitor")] == []


async def test_fewer_calls_than_the_bare_client(warm: VisitorSession, family: ModuleType, visitor: Tokens) -> None:
    """A session's GET calls fewer functions than the same client's own with a header that never changes."""
    headers = {"Authorization": visitor.access_token.value, "Accept": "application/json"}
    async with family.AsyncClient(transport=answering(family), headers=headers) as client:
        url = f"https://www.wixapis.com{CART}"
        await client.get(url)
        ours, theirs = await calls_of(lambda: warm.get(CART)), await calls_of(lambda: client.get(url))
    assert ours < theirs


async def test_calls_of_the_middleware(still: FakeWix, session_of: SessionMaker, visitor: Tokens) -> None:
    """A visitor with a fresh token costs a request of aiohttp's client less than 75 calls of functions."""
    async with still.serve() as url, session_of(tokens=visitor, base_url=url) as session:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
            middleware = client_middleware(session)
            still.fail(200, path=CART)
            async with http.get(url + CART, middlewares=(middleware,)) as answer:
                await answer.read()

            async def answering(_: aiohttp.ClientRequest, __: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
                return answer

            async def get(*middlewares: aiohttp.ClientMiddlewareType) -> None:
                await http.get(url + CART, middlewares=(*middlewares, answering))

            await get(middleware)
            without, with_visitor = await calls_of(get), await calls_of(lambda: get(middleware))
    assert without < with_visitor < without + 75, (without, with_visitor)


async def test_calls_of_the_default_client(still: FakeWix, visitor: Tokens) -> None:
    """With a session's own client a GET over sockets calls fewer functions than plain httpx's, whatever is idle."""
    counts = list[int]()
    async with still.serve() as url, httpx.AsyncClient() as plain:
        async with VisitorSession(CLIENT_ID, base_url=url, tokens=visitor, clock=still.now) as session:
            for idle in (1, 1, 50):
                await asyncio.gather(*(session.get(CART) for _ in range(idle)))
                counts.append(await fewest_calls_of(lambda: session.get(CART)))
        await plain.get(url + CART)
        await asyncio.gather(*(plain.get(url + CART) for _ in range(50)))
        theirs = await fewest_calls_of(lambda: plain.get(url + CART))
    _, alone, beside_others = counts
    assert abs(beside_others - alone) < 0.05 * alone, counts
    assert beside_others * 4 < theirs * 3, (counts, theirs)


async def test_a_request_allocates_no_more_than_the_bare_clients(
    warm: VisitorSession, family: ModuleType, visitor: Tokens
) -> None:
    """A hundred requests and responses that are kept take no more blocks of memory than the bare client's."""

    async def blocks_of(get: Callable[[], Any]) -> int:
        kept = [await get()]
        gc.collect()
        before = sys.getallocatedblocks()
        kept += [await get() for _ in range(100)]
        return sys.getallocatedblocks() - before

    headers = {"Authorization": visitor.access_token.value, "Accept": "application/json"}
    async with family.AsyncClient(transport=answering(family), headers=headers) as client:
        ours = await blocks_of(lambda: warm.get(CART))
        theirs = await blocks_of(lambda: client.get(f"https://www.wixapis.com{CART}"))
    assert ours <= theirs


async def test_requests_leave_nothing_behind(warm: VisitorSession) -> None:
    """After a thousand requests as many blocks of memory are in use as before."""

    async def ask(times: int) -> None:
        for _ in range(times):
            await warm.get(CART)

    await ask(100)
    gc.collect()
    before = sys.getallocatedblocks()
    await ask(1_000)
    gc.collect()
    assert sys.getallocatedblocks() - before < 100


class Stored:
    """A store that makes the record that is asked for, and keeps nothing itself."""

    length = 600  # characters of a token

    async def load(self, key: str) -> str:
        text = f"{key.rpartition(':')[2]:0>{self.length}}"
        return render(Tokens(AccessToken(text, 1 << 40), RefreshToken(f"1{text[1:]}", TokenRole.VISITOR)), CLIENT_ID)

    async def save(self, key: str, value: str) -> None: ...

    async def delete(self, key: str) -> None: ...


async def test_an_idle_visitor_is_small() -> None:
    """A pool's visitor that nobody uses takes less than 1 KiB beside the text of its tokens."""
    pool = VisitorPool(CLIENT_ID, storage=Stored())
    held = [await pool.session("warm")]
    tracemalloc.start()
    try:
        held += [await pool.session(str(number)) for number in range(2_000)]
        gc.collect()
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size / 2_000 - 2 * Stored.length < 1_024
    assert len(held) == 2_001
    await pool.aclose()


@pytest.mark.parametrize("state", ["cold", "expired"])
async def test_one_token_call_for_everybody(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, state: str
) -> None:
    """However many callers need a token at once, there is one token call and one task."""
    session = session_of(tokens=visitor if state == "expired" else None)
    await session.__aenter__()
    still.advance(20_000)
    async with asyncio.TaskGroup() as group:
        callers = [group.create_task(session.auth_headers()) for _ in range(2_000)]
    assert len({caller.result()["Authorization"] for caller in callers}) == 1
    assert len(still.token_calls()) == 1
