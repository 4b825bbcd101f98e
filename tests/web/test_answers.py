"""Answers that overtake each other: an older one never undoes a login or a logout that was answered before it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import anyio
import attrs
import httpx
import pytest

from tests.stores import PlainStorage, TroubledStorage
from tests.web.browsers import PlainRequest
from tests.web.conftest import KEY
from tests.web.shops import APPS, Shop, body_of, starlette_app
from wixvisitor import VisitorPool
from wixvisitor._web.order import Order
from wixvisitor._web.visit import Visit
from wixvisitor._web.visits import Visits
from wixvisitor.cookies import IdCookie
from wixvisitor.storage import FileStorage, MemoryStorage
from wixvisitor.storage.sqlite import SQLiteStorage
from wixvisitor.testing import FakeWix

pytestmark = pytest.mark.anyio
HOUR, DAY = 3_600, 86_400
FORMS = ("id", "sealed", "wixSession", "session", "wix-session")


@asynccontextmanager
async def held_up(town: Any, browser: httpx.AsyncClient, path: str) -> AsyncGenerator[list[httpx.Response]]:
    """A request whose handler has asked Wix, and which is answered after the block: then the answer is in the list."""
    answers: list[httpx.Response] = []
    town.shop.asked = anyio.Event()

    async def ask() -> None:
        answers.append(await browser.get(path))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await town.shop.asked.wait()
        yield answers
        town.shop.gate.set()


@pytest.mark.parametrize("framework", APPS)
@pytest.mark.parametrize("form", FORMS)
async def test_a_slow_answer_after_a_login(open_shop, framework, form, member_of):
    """An answer that was begun before a login and comes after it leaves the member logged in."""
    async with open_shop(framework, cookie=form) as town, town.browsers() as browser:
        await browser.get("/cart")
        town.fake.advance(40 * DAY if form == "id" else 5 * HOUR)  # the cookie has to be written anew
        town.shop.member = member_of()
        async with held_up(town, browser, "/slow") as answers:
            assert body_of(await browser.get("/login"))["member"]
        assert "set-cookie" not in answers[0].headers
        assert body_of(await browser.get("/cart"))["member"]


@pytest.mark.parametrize("framework", APPS)
@pytest.mark.parametrize("form", FORMS)
async def test_a_slow_answer_after_a_logout(open_shop, framework, form, member_of):
    """An answer that was begun before a logout and comes after it does not bring the member back."""
    async with open_shop(framework, cookie=form) as town, town.browsers() as browser:
        town.fake.advance(1)
        town.shop.member = member_of()
        await browser.get("/login")
        town.fake.advance(40 * DAY if form == "id" else 5 * HOUR)
        async with held_up(town, browser, "/slow") as answers:
            await browser.get("/logout")
        assert "set-cookie" not in answers[0].headers
        assert not body_of(await browser.get("/cart"))["member"]


@pytest.mark.parametrize("framework", APPS)
@pytest.mark.parametrize("form", ["id", "sealed", "wixSession"])
async def test_a_slow_login_after_a_logout(open_shop, framework, form, member_of):
    """A login that is answered after a later logout does not log in again."""
    async with open_shop(framework, cookie=form) as town, town.browsers() as browser:
        await browser.get("/cart")
        town.shop.member = member_of()
        async with held_up(town, browser, "/slow_login") as answers:
            await browser.get("/logout")
        assert "set-cookie" not in answers[0].headers
        assert not body_of(await browser.get("/cart"))["member"]


@pytest.mark.parametrize("framework", APPS)
async def test_an_answer_that_takes_very_long(open_shop, framework, member_of, monkeypatch):
    """A request counts from its beginning, though its handler looks at the visitor long after the login."""
    passed = [1_000.0]
    monkeypatch.setattr("wixvisitor._web.visits.Order", partial(Order, clock=lambda: passed[0]))
    async with open_shop(framework, cookie="sealed") as town, town.browsers() as browser:
        await browser.get("/cart")
        town.fake.advance(5 * HOUR)
        town.shop.member = member_of()
        async with held_up(town, browser, "/hesitant") as answers:
            await browser.get("/login")
            passed[0] += 10_000
            await browser.get("/cart")
        assert "set-cookie" not in answers[0].headers
        assert body_of(await browser.get("/cart"))["member"]


@pytest.mark.parametrize("form", ["id", "sealed", "wixSession"])
async def test_a_slow_login_after_another_login_and_its_logout(open_shop, form, member_of):
    """What an answer knows is old also where the browser has changed its id twice meanwhile."""
    async with open_shop("starlette", cookie=form) as town, town.browsers() as browser:
        await browser.get("/cart")
        town.shop.member = member_of()
        async with held_up(town, browser, "/slow_login") as answers:
            town.shop.member = member_of()
            await browser.get("/login")
            await browser.get("/logout")
        assert "set-cookie" not in answers[0].headers
        assert not body_of(await browser.get("/cart"))["member"]


@pytest.mark.parametrize("form", ["id", "sealed", "wixSession"])
async def test_the_later_of_two_logins_wins(open_shop, form, member_of):
    """Two logins of one browser under way at once: the later one's cookie counts, though it is answered last."""
    async with open_shop("starlette", cookie=form) as town, town.browsers() as browser:
        await browser.get("/cart")
        town.shop.member = member_of()
        async with town.browsers(cookies=dict(browser.cookies)) as tab:
            await browser.get("/login")
            town.shop.member = member_of()
            async with held_up(town, tab, "/slow_login") as answers:
                pass
        assert "set-cookie" in answers[0].headers


@pytest.mark.parametrize("form", ["sealed", "wixSession"])
async def test_a_slow_answer_of_a_reserved_visitor(open_shop, form, member_of):
    """An answer to the first page's call knows the visitor by the reservation only, and is old all the same."""
    async with open_shop("starlette", cookie=form) as town, town.browsers() as browser:
        await browser.get("/page", headers={"Sec-Fetch-Dest": "document"})
        async with held_up(town, browser, "/slow") as answers:
            await browser.get("/cart")
            town.shop.member = member_of()
            await browser.get("/login")
        assert "set-cookie" not in answers[0].headers
        assert body_of(await browser.get("/cart"))["member"]


@pytest.mark.parametrize("framework", ["starlette", "aiohttp"])
async def test_a_login_without_a_cookie_changes_no_order(open_shop, framework, member_of, caplog):
    """A login whose answer caches share carries no cookie, so that the browser keeps the id from before."""
    async with open_shop(framework, cookie="sealed") as town, town.browsers() as browser:
        await browser.get("/cart")
        town.shop.member = member_of()
        await browser.get("/public_login")
        town.fake.advance(5 * HOUR)
        assert "set-cookie" in (await browser.get("/cart")).headers


async def test_other_browsers_are_not_concerned(open_shop, member_of):
    """One browser's login takes no cookie from another browser's answer."""
    async with open_shop("starlette", cookie="sealed") as town, town.browsers() as anna, town.browsers() as ben:
        await anna.get("/cart")
        await ben.get("/cart")
        town.fake.advance(5 * HOUR)
        town.shop.member = member_of()
        async with held_up(town, ben, "/slow") as answers:
            await anna.get("/login")
        assert "set-cookie" in answers[0].headers


# Several processes


@attrs.define
class Processes:
    """Makes shops over one storage, as several processes would be; each with a browser of its own.

    Attributes:
        keys: every record that somebody was saved under.
    """

    fake: FakeWix
    client_id: str
    stack: AsyncExitStack
    keys: dict[str, Any] = attrs.field(factory=dict)

    async def __call__(self, storage: Any) -> tuple[Shop, httpx.AsyncClient]:
        def note(change: Any) -> None:
            self.keys[f"{self.client_id}:{change.key}"] = storage

        fake = self.fake
        pool = VisitorPool(self.client_id, client=fake.client(), clock=fake.now, storage=storage, on_change=note)
        self.stack.push_async_callback(pool.aclose)
        shop = Shop(pool, IdCookie([KEY]), {"close": False})
        transport = httpx.ASGITransport(starlette_app(shop))
        browser = httpx.AsyncClient(transport=transport, base_url="https://shop.example")
        return shop, await self.stack.enter_async_context(browser)

    async def members(self) -> int:
        """How many members the storage knows."""
        records = [await storage.load(key) for key, storage in self.keys.items()]
        return sum('"member"' in str(getattr(record, "value", record)) for record in records)


@pytest.fixture
async def processes(still: FakeWix, client_id: str) -> AsyncGenerator[Processes]:
    async with AsyncExitStack() as stack:
        yield Processes(still, client_id, stack)


STORAGES: dict[str, Any] = {
    "memory": lambda path: MemoryStorage(),
    "file": lambda path: FileStorage(f"{path}/visitors/"),
    "sqlite": lambda path: SQLiteStorage(path / "visitors.db"),
    "plain": lambda path: PlainStorage(),
}


@pytest.fixture(params=STORAGES)
def storage(request: pytest.FixtureRequest, tmp_path: Any) -> Any:
    return STORAGES[request.param](tmp_path)


async def slow_answer(shop: Shop, browser: httpx.AsyncClient, path: str, meanwhile: Any) -> httpx.Response:
    """One request whose handler is done only after what happens meanwhile."""
    answers: list[httpx.Response] = []
    shop.asked, shop.gate = anyio.Event(), anyio.Event()

    async def ask() -> None:
        answers.append(await browser.get(path))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await shop.asked.wait()
        await meanwhile()
        shop.gate.set()
    return answers[0]


async def test_a_slow_answer_after_a_login_in_another_process(processes, storage, still, member_of):
    """The store says that the id was left behind, so that another process's older answer carries no cookie."""
    (here, browser), (there, other) = await processes(storage), await processes(storage)
    await browser.get("/cart")
    still.advance(40 * DAY)
    other.cookies.update(browser.cookies)
    there.member = member_of()
    answer = await slow_answer(here, browser, "/slow", lambda: other.get("/login"))
    assert "set-cookie" not in answer.headers
    assert body_of(await other.get("/cart"))["member"]


async def test_a_slow_answer_after_a_logout_in_another_process(processes, storage, still, member_of):
    """The id that was logged out has no tokens any more, so that another process's older answer carries no cookie."""
    (here, browser), (_, other) = await processes(storage), await processes(storage)
    here.member = member_of()
    await browser.get("/login")
    still.advance(40 * DAY)
    other.cookies.update(browser.cookies)
    answer = await slow_answer(here, browser, "/slow", lambda: other.get("/logout"))
    assert "set-cookie" not in answer.headers


async def test_a_slow_login_after_a_logout_in_another_process(processes, storage, still, member_of):
    """A login that is answered after a later logout in another process carries no cookie, and leaves no member."""
    (here, browser), (_, other) = await processes(storage), await processes(storage)
    await browser.get("/cart")
    other.cookies.update(browser.cookies)
    here.member = member_of()
    answer = await slow_answer(here, browser, "/slow_login", lambda: other.get("/logout"))
    assert "set-cookie" not in answer.headers


async def test_a_login_whose_answer_got_lost_long_ago(processes, storage, still, member_of):
    """A browser that goes on with the id from before the login has its cookie written anew after a day."""
    (_, browser), (there, other) = await processes(storage), await processes(storage)
    await browser.get("/cart")
    still.advance(40 * DAY)
    other.cookies.update(browser.cookies)
    there.member = member_of()
    await other.get("/login")
    assert "set-cookie" not in (await browser.get("/cart")).headers
    still.advance(DAY + 1)
    assert "set-cookie" in (await browser.get("/cart")).headers


async def test_a_store_that_cannot_say_whether_an_id_is_over(processes, still, member_of):
    """While the store is down no cookie is written anew, save a login's own; the next answer does it."""
    storage = TroubledStorage()
    shop, browser = await processes(storage)
    await browser.get("/cart")
    still.advance(40 * DAY)

    async def fails() -> None:
        storage.before["load"] = OSError("down")

    assert "set-cookie" not in (await slow_answer(shop, browser, "/slow", fails)).headers
    storage.before.clear()
    assert "set-cookie" in (await browser.get("/cart")).headers
    shop.member = member_of()
    assert "set-cookie" in (await slow_answer(shop, browser, "/slow_login", fails)).headers


# Logins that are sent twice, or whose answer never arrives


@pytest.mark.parametrize("lost", [1, 2, 3])
async def test_a_login_that_is_sent_again(processes, storage, member_of, lost):
    """However often a login is sent with the id from before, a logout leaves no member in the store."""
    shop, browser = await processes(storage)
    await browser.get("/cart")
    before = httpx.Cookies(browser.cookies)
    for _ in range(lost):
        shop.member = member_of()
        await browser.get("/login")
        browser.cookies = before
    assert await processes.members() == lost
    shop.member = member_of()
    assert body_of(await browser.get("/login"))["member"]
    await browser.get("/logout")
    assert await processes.members() == 0


async def test_a_login_whose_answer_never_arrived(processes, storage, member_of):
    """A logout with the id from before a login whose answer got lost leaves no member in the store."""
    shop, browser = await processes(storage)
    await browser.get("/cart")
    before = httpx.Cookies(browser.cookies)
    shop.member = member_of()
    await browser.get("/login")
    browser.cookies = before
    assert not body_of(await browser.get("/cart"))["member"]
    await browser.get("/logout")
    assert await processes.members() == 0


async def test_the_visitor_of_a_login_whose_answer_never_arrived(processes, storage, still, member_of):
    """A browser that never got a login's answer is the visitor from before, with its cart."""
    shop, browser = await processes(storage)
    known = body_of(await browser.get("/cart"))
    before = httpx.Cookies(browser.cookies)
    shop.member = member_of()
    await browser.get("/login")
    browser.cookies = before
    assert body_of(await browser.get("/cart")) == known
    assert len(still.visitors) == 2  # and the member's


async def test_two_logins_at_once(processes, storage, member_of):
    """Two logins of one id at once, in two processes: a logout of either leaves no member in the store."""
    (here, browser), (there, other) = await processes(storage), await processes(storage)
    await browser.get("/cart")
    other.cookies.update(browser.cookies)
    here.member, there.member = member_of(), member_of()
    async with anyio.create_task_group() as group:
        group.start_soon(browser.get, "/login")
        group.start_soon(other.get, "/login")
    assert await processes.members() == 2
    await browser.get("/logout")
    assert await processes.members() == 0
    assert not body_of(await other.get("/cart"))["member"]


async def test_logging_in_as_somebody_else(processes, storage, member_of):
    """Another member's login ends the first member and the logins of it that got lost, and goes on itself."""
    shop, browser = await processes(storage)
    await browser.get("/cart")
    before = httpx.Cookies(browser.cookies)
    shop.member = member_of()
    await browser.get("/login")
    browser.cookies = before
    shop.member = member_of()
    await browser.get("/login")
    shop.member = member_of()
    assert body_of(await browser.get("/login"))["member"]
    assert await processes.members() == 1
    assert body_of(await browser.get("/cart"))["member"]
    await browser.get("/logout")
    assert await processes.members() == 0


async def test_logins_after_a_logout_are_others(processes, storage, member_of):
    """A logout ends the logins before it, and not those that come after."""
    shop, browser = await processes(storage)
    await browser.get("/cart")
    for _ in range(2):
        shop.member = member_of()
        await browser.get("/login")
        assert body_of(await browser.get("/cart"))["member"]
        first = httpx.Cookies(browser.cookies)
        await browser.get("/logout")
    shop.member = member_of()
    await browser.get("/login")
    last = httpx.Cookies(browser.cookies)
    browser.cookies = first
    await browser.get("/logout")
    browser.cookies = last
    assert body_of(await browser.get("/cart"))["member"]


async def test_a_login_that_is_saved_after_the_logout(processes, still, member_of):
    """A logout elsewhere that comes while a login is being saved ends that login, too."""
    met, gate = anyio.Event(), anyio.Event()

    async def saving(_key: str, value: str) -> None:
        if '"member"' in value:
            met.set()
            await gate.wait()

    storage = TroubledStorage(save=saving)
    (here, browser), (_, other) = await processes(storage), await processes(storage)
    await browser.get("/cart")
    other.cookies.update(browser.cookies)
    here.member = member_of()
    async with anyio.create_task_group() as group:
        group.start_soon(browser.get, "/login")
        await met.wait()
        await other.get("/logout")
        gate.set()
    assert await processes.members() == 0


async def test_forty_logins_of_one_id(processes, member_of):
    """A list of logins has an end: the oldest of very many is forgotten, and a logout still ends all the others."""
    shop, browser = await processes(MemoryStorage())
    await browser.get("/cart")
    before = httpx.Cookies(browser.cookies)
    for _ in range(40):
        browser.cookies = before
        shop.member = member_of()
        await browser.get("/login")
    assert await processes.members() == 32
    await browser.get("/logout")
    assert await processes.members() == 0


async def test_a_damaged_list_of_logins(processes, client_id, member_of):
    """What is no list of logins in the store counts as none, and the next login writes it anew."""
    storage = MemoryStorage()
    shop, browser = await processes(storage)
    await browser.get("/cart")
    shop.member = member_of()
    before = httpx.Cookies(browser.cookies)
    await browser.get("/login")
    (place,) = [key for key in storage._records if key.endswith(".logins")]
    for text in ("", "[]", "{}", '{"logins":[1]}', '{"logins":[[1,"x",0]]}', '{"logins":7}'):
        await storage.save(place, text)
        browser.cookies = before
        shop.member = member_of()
        assert body_of(await browser.get("/login"))["member"]
    await browser.get("/logout")
    assert not body_of(await browser.get("/cart"))["member"]


async def test_the_id_of_a_login_is_another(processes, still, client_id, member_of):
    """The ids before and after a login begin alike, and differ in 136 bits; all of a logout's id is new."""
    shop, browser = await processes(MemoryStorage())
    ids = []
    for path in ("/cart", "/login", "/logout"):
        shop.member = member_of()
        await browser.get(path)
        cookie = shop.cookie
        ids.append(cookie.read(browser.cookies[cookie.names(client_id).first], client_id, still.now()).key)
    first, second, third = ids
    assert first[:20] == second[:20] != third[:20]
    assert first[20:] != second[20:] != third[20:]
    assert {len(key) for key in ids} == {43}


async def test_a_stream_that_goes_on_holds_nothing_back(still, client_id, monkeypatch):
    """What a request might have to know is forgotten once its answer's head is sent, however long its body takes."""
    passed = [1_000.0]
    monkeypatch.setattr("wixvisitor._web.visits.Order", partial(Order, clock=lambda: passed[0]))
    pool = VisitorPool(client_id, client=still.client(), clock=still.now)
    visits = Visits(pool, cookie=IdCookie([KEY]), consent=None, close=True)
    stream = Visit(visits, PlainRequest({}))
    assert stream.starts_unseen()
    visits.order.sent("a", "b", 1)
    passed[0] += 1_000
    visits.order.sent("c", "d", 2)
    assert len(visits.order) == 2
    stream.finish()


async def test_how_long_a_list_is_kept(processes, member_of):
    """A list of logins is kept as long as any visitor, and 30 days once a logout has ended them all."""
    storage = TroubledStorage()
    shop, browser = await processes(storage)
    for path in ("/cart", "/login", "/logout"):
        shop.member = member_of()
        await browser.get(path)
    assert [call.keep_for for call in storage.calls if call.name == "save" and call.key.endswith(".logins")] == [
        None,
        30 * DAY,
    ]
