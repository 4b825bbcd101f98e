"""What a request costs that nobody looked at, and one of a browser that was here a moment ago."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.web.browsers import Browser
from tests.web.conftest import COOKIES, KEY
from tests.web.shops import FORMS
from wixvisitor import EMPTY_TOKENS, Tokens, VisitorPool
from wixvisitor._web.ttl_cache import TTLCache
from wixvisitor.asgi import VisitorMiddleware, get_visitor
from wixvisitor.cookies import IdCookie
from wixvisitor.storage import FileStorage, MemoryStorage
from wixvisitor.storage.sqlite import SQLiteStorage
from wixvisitor.testing import FakeWix

pytestmark = pytest.mark.anyio
STORES = {
    "memory": lambda _: MemoryStorage(),
    "sqlite": lambda place: SQLiteStorage(place / "visitors.db"),
    "file": lambda place: FileStorage(f"{place}/visitors/"),
}


class Counted:
    """Counts the calls of a function."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, place: Any, name: str) -> None:
        self.calls = 0
        original = getattr(place, name)

        def counting(*arguments: Any, **named: Any) -> Any:
            self.calls += 1
            return original(*arguments, **named)

        monkeypatch.setattr(place, name, counting)


async def started(app: Any, headers: list[tuple[bytes, bytes]], method: str = "GET") -> dict[str, Any]:
    """Returns the message that starts the answer."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": "/", "raw_path": b"/", "root_path": "", "headers": headers}
    await app(scope, receive, send)
    return sent[0]


def cookie_of(message: dict[str, Any]) -> bytes:
    [value] = [value for name, value in message["headers"] if name == b"set-cookie"]
    pair: bytes = value.partition(b";")[0]
    return pair


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("method", "dest"), [("GET", b"image"), ("GET", b"empty"), ("HEAD", b"script"), ("POST", b"document")]
)
async def test_an_answer_that_nobody_looked_at(still, client_id, monkeypatch, form, method, dest):
    """It is passed on as it is: no cookie is opened, nobody is asked for consent, its headers are the app's own."""
    own = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"image/png")]}
    asked: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(own)
        await send({"type": "http.response.body", "body": b""})

    cookie = COOKIES[form]()
    opened = Counted(monkeypatch, cookie, "open")
    shop = VisitorMiddleware(app, VisitorPool(client_id, client=still.client()), cookie=cookie, consent=asked.append)
    name = cookie.names(client_id).first.encode()
    headers = [(b"sec-fetch-dest", dest), (b"cookie", name + b"=junk"), (b"accept", b"text/html")]
    assert await started(shop, headers, method) is own
    assert (opened.calls, asked) == (0, [])


@pytest.mark.parametrize("name", [b"cookie", b"Cookie", b"COOKIE"])
@pytest.mark.parametrize("is_split", [False, True])
async def test_headers_as_servers_hand_them_over(still, client_id, name, is_split):
    """A visitor is found however a server spells the header's name, and also in one of several Cookie headers."""
    keys: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["headers"].clear()  # what an app does to its own list changes nothing
        visitor = await get_visitor(scope)
        await visitor.generate_visitor_tokens()
        keys.append(visitor.key)
        await send({"type": "http.response.start", "status": 200, "headers": iter([(b"Vary", b"Accept")])})

    shop = VisitorMiddleware(app, VisitorPool(client_id, client=still.client()), cookie=IdCookie([KEY]))
    ours = cookie_of(await started(shop, []))
    pairs = [b"a=1", ours, b"b=2"]
    headers = [(name, pair) for pair in pairs] if is_split else [(name, b"; ".join(pairs))]
    message = await started(shop, headers)
    assert message["headers"] == [(b"vary", b"Accept, Cookie")]
    assert keys[0] == keys[1]


@pytest.mark.parametrize("form", FORMS)
async def test_a_browser_that_was_here_a_moment_ago(visits_of, monkeypatch, form):
    """Its cookie is not opened again, its tokens are not parsed again, and no task is started."""
    cookie = COOKIES[form]()
    browser = Browser(visits_of(cookie))
    first, _ = await browser.calls()
    await browser.calls()
    opened, parsed = Counted(monkeypatch, cookie, "open"), Counted(monkeypatch, Tokens, "from_dict")
    tasks = Counted(monkeypatch, asyncio.get_running_loop(), "create_task")
    tokens, cookies = await browser.calls()
    assert (tokens, cookies) == (first, [])
    assert (opened.calls, parsed.calls, tasks.calls) == (0, 0, 0)


@pytest.mark.parametrize("store", STORES)
async def test_what_another_process_did_is_seen_at_the_next_request(visits_of, tmp_path: Path, store):
    """Tokens that another process has renewed, set or forgotten are those of the next request here."""
    storage = STORES[store](tmp_path)
    here, there = (Browser(visits_of(COOKIES["id"](), storage=storage)) for _ in range(2))
    first, _ = await here.calls()
    there.jar = here.jar
    assert (await here.calls())[0] == (await there.calls())[0] == first
    visit = there.visit()
    renewed = await (await visit.visitor()).renew_token()
    assert renewed != first
    assert (await here.calls())[0] == renewed
    await there.sets(first)
    assert (await here.calls())[0] == first
    await there.sets(EMPTY_TOKENS)
    visit = here.visit()
    assert (await visit.visitor()).get_tokens() == EMPTY_TOKENS


async def test_a_cookie_grows_old_though_it_was_opened_before(visits_of, still):
    """What a cookie says is kept for a moment, but not how old it is: it is written anew, and ends, at its time."""
    browser = Browser(visits_of(IdCookie([KEY], max_age=100)))
    tokens, _ = await browser.calls()
    still.advance(9)
    assert await browser.calls() == (tokens, [])
    still.advance(3)
    again, cookies = await browser.calls()
    assert (again, len(cookies)) == (tokens, 1)
    still.advance(101)
    other, _ = await browser.calls()
    assert other.refresh_token != tokens.refresh_token


async def test_a_further_cookie_counts_at_once(visits_of):
    """A second cookie beside one that was opened before is seen: two visitors are none of both."""
    visits = visits_of(COOKIES["id"]())
    one, other = Browser(visits), Browser(visits)
    (first, _), (second, _) = await one.calls(), await other.calls()
    await one.calls()
    [name] = one.jar
    one.copies[name, "/cart"] = other.jar[name]
    tokens, _ = await one.calls("/cart")
    assert tokens.refresh_token not in (first.refresh_token, second.refresh_token)


def test_a_cache_holds_no_more_than_it_may():
    """The oldest goes first, and what is put again is the newest."""
    gone: list[str] = []
    cache = TTLCache[int](gone.append, most=2)
    for number, key in enumerate("abac"):
        cache.put(key, number)
    assert gone == ["b"]
    assert (len(cache), cache.get("a"), cache.get("b"), cache.get("c")) == (2, 2, None, 3)


@pytest.mark.parametrize("framework", ["fastapi", "starlette", "aiohttp", "litestar"])
@pytest.mark.parametrize("form", FORMS)
async def test_one_visitor_in_many_requests(open_shop, framework, form):
    """A browser that comes again and again, also at the same time, is one visitor and costs one token call."""
    async with open_shop(framework, cookie=form) as town, town.browsers() as browser:
        assert (await browser.get("/cart")).status_code == 200
        answers: list[httpx.Response] = []
        for _ in range(3):
            answers += await asyncio.gather(*(browser.get("/cart") for _ in range(4)))
        assert {answer.status_code for answer in answers} == {200}
        assert [answer for answer in answers if "set-cookie" in answer.headers] == []
        assert (town.visitors, len(town.fake.token_calls())) == (1, 1)


async def test_a_visitor_is_forgotten_while_it_is_read(still: FakeWix, client_id: str):
    """A record that was read before the visitor was forgotten, and arrives after that, brings nobody back."""
    reading, go_on = asyncio.Event(), asyncio.Event()

    class Slow(MemoryStorage):
        _loads_end_at_once = True

        async def load(self, key: str) -> Any:
            record = await super().load(key)
            if not reading.is_set():
                reading.set()
                await go_on.wait()
            return record

    storage = Slow()
    reading.set()
    async with VisitorPool(client_id, client=still.client(), storage=storage) as pool:
        await (await pool.session("anna")).generate_visitor_tokens()
        reading.clear()
        loading = asyncio.ensure_future(pool.session("anna"))
        await reading.wait()
        await pool.forget("anna")
        go_on.set()
        assert (await loading).get_tokens() == EMPTY_TOKENS
