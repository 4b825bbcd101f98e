"""``visitor.members`` of a handler: a login and a logout change the browser's id, as ``set_tokens`` does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest

from tests.constants import CLIENT_ID
from tests.web.browsers import Browser, PlainRequest
from tests.web.conftest import COOKIES
from tests.web.logins import Wix
from wixvisitor import EMPTY_TOKENS, ConfigurationError, TokenRole, VisitorPool
from wixvisitor._web.visit import Visit
from wixvisitor._web.visits import Visits
from wixvisitor._wire import members as wire
from wixvisitor.members import LoginOutcome
from wixvisitor.storage import MemoryStorage, Record

pytestmark = pytest.mark.anyio
CALLBACK = "https://shop.example/auth/callback"
CROSS = {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}


class WaitingStorage(MemoryStorage):
    """Keeps visitors in memory, and takes a moment for it, like a database."""

    _never_waits = False

    async def load(self, key: str) -> Record | None:
        await anyio.lowlevel.checkpoint()
        return await super().load(key)


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return getattr(request, "param", "asyncio")


@pytest.fixture
def wix() -> Wix:
    return Wix()


@pytest.fixture
async def processes(wix: Wix) -> AsyncIterator[Callable[..., Visits]]:
    """Makes what a server knows of its visitors; all of them share one store."""
    clients, storage = [], WaitingStorage()

    def make(kind: str = "id") -> Visits:
        clients.append(httpx.AsyncClient(transport=httpx.MockTransport(wix)))
        stored = {"storage": storage} if kind == "id" else {}
        pool = VisitorPool(CLIENT_ID, client=clients[-1], clock=lambda: 1_800_000_000.0, **stored)
        return Visits(pool, cookie=COOKIES[kind](), consent=None, close=True)

    yield make
    for client in clients:
        await client.aclose()


def posted_page(wix: Wix) -> Callable[[httpx.Request], httpx.Response]:
    """Wix's page for a login without a browser."""

    def answer(_: httpx.Request) -> httpx.Response:
        (state,) = [one for one in wix._logins if one == list(wix._logins)[-1]]
        wix._codes["posted"] = wix._logins[state]
        return httpx.Response(200, text=f"postMessage({{'code': 'posted', 'state': '{state}'}})")

    return answer


async def finishes(visitor: Any, wix: Wix) -> None:
    login = await visitor.members.start_login(CALLBACK)
    await visitor.members.finish_login(login, wix.approve(login.url))


async def completes(visitor: Any, wix: Wix) -> None:
    wix.answers["/login"] = posted_page(wix)
    await visitor.members.complete(LoginOutcome(state="success", session_token="s"))


async def external(visitor: Any, wix: Wix) -> None:
    grant = {"access_token": "OauthNG.JWS.member1", "refresh_token": "JWS.member1", "expires_in": 14_400}
    await visitor.auth_headers()
    wix.answers["/oauth2/token"] = lambda _: httpx.Response(200, json=grant)
    await visitor.members.login_external("m", api_key="IST.key")
    wix.answers.clear()


WAYS = [finishes, completes, external]


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"], indirect=True)
@pytest.mark.parametrize("kind", ["id", "sealed", "wixSession"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_login_and_a_logout_change_the_id(processes, wix, kind, way):
    """However a member logs in, the cookie from before is the visitor, and the one from after is the member."""
    visits = processes(kind)
    browser = Browser(visits)
    before, _ = await browser.calls()
    old = dict(browser.jar)
    visit = browser.visit()
    visitor = await visit.visitor()
    await way(visitor, wix)
    assert visitor.logged_in()
    assert browser.answer(visit)
    member, _ = await browser.calls()
    assert member.refresh_token.role is TokenRole.MEMBER
    copy, _ = await Browser(visits, old).calls()
    assert copy == before
    there = dict(browser.jar)
    visit = browser.visit()
    await (await visit.visitor()).members.logout("https://shop.example/")
    assert browser.answer(visit)
    assert wix.bodies(wire.REDIRECT_PATH)[-1]["logout"] == {"clientId": CLIENT_ID}
    now, _ = await browser.calls()
    assert now.refresh_token.role is TokenRole.VISITOR
    assert now != before
    if kind == "id":
        copy, _ = await Browser(visits, there).calls()
        assert copy.refresh_token.role is TokenRole.VISITOR


async def test_a_first_login_without_a_refresh_token(processes, wix):
    """The id changes at a login even if Wix grants no refresh token, and the visitor had none."""
    browser = Browser(processes())
    visit = browser.visit(is_document=True)
    browser.answer(visit)
    old = dict(browser.jar)
    visit = browser.visit()
    visitor = await visit.visitor()
    grant = {"access_token": "OauthNG.JWS.member1", "expires_in": 14_400}
    wix.answers["/oauth2/token"] = lambda _: httpx.Response(200, json=grant)
    await visitor._log_in(wire.code_request(CLIENT_ID, "code", "v", None))
    browser.answer(visit)
    assert browser.jar != old
    assert (await browser.calls())[0].access_token.value == "OauthNG.JWS.member1"


async def test_a_logout_whose_call_fails(processes, wix):
    """If Wix cannot be asked, the member is logged out here all the same, and the error is raised."""
    browser = Browser(processes())
    visit = browser.visit()
    await finishes(await visit.visitor(), wix)
    browser.answer(visit)
    there = dict(browser.jar)
    wix.answers[wire.REDIRECT_PATH] = lambda _: httpx.Response(500)
    visit = browser.visit()
    with pytest.raises(Exception, match="500"):
        await (await visit.visitor()).members.logout("https://shop.example/")
    assert browser.answer(visit)
    for jar in (browser.jar, there):
        assert (await Browser(browser.visits, dict(jar)).calls())[0].refresh_token.role is TokenRole.VISITOR


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"], indirect=True)
async def test_a_logout_that_is_cancelled(processes, wix):
    """A logout whose request is cancelled amid Wix's call removes the member all the same."""
    browser = Browser(processes())
    visit = browser.visit()
    await finishes(await visit.visitor(), wix)
    browser.answer(visit)
    reached = anyio.Event()
    usual, hanging = wix.__call__, anyio.Event()

    async def hang(request: httpx.Request) -> httpx.Response:
        if request.url.path == wire.REDIRECT_PATH:
            reached.set()
            await hanging.wait()
        return usual(request)

    visits = browser.visits
    client = visits._own._connections.current().client
    client._transport = httpx.MockTransport(hang)
    visit = browser.visit()
    visitor = await visit.visitor()
    async with anyio.create_task_group() as group:
        group.start_soon(visitor.members.logout, "https://shop.example/")
        await reached.wait()
        group.cancel_scope.cancel()
    assert not visitor.logged_in()
    hanging.set()
    assert (await browser.calls())[0].refresh_token.role is TokenRole.VISITOR  # even with the old cookie


async def test_a_login_that_cannot_be_kept(processes, wix):
    """After the response has started, or for another site's page, a login fails before its code is used."""
    browser = Browser(processes())
    await browser.calls()
    visit = browser.visit()
    visitor = await visit.visitor()
    login = await visitor.members.start_login(CALLBACK)
    browser.answer(visit)
    with pytest.raises(ConfigurationError, match="has started"):
        await visitor.members.finish_login(login, wix.approve(login.url))
    foreign = Visit(browser.visits, PlainRequest(CROSS, method="POST"))
    visitor = await foreign.visitor()
    with pytest.raises(ConfigurationError, match="Another site's page"):
        await visitor.members.finish_login(login, wix.approve(login.url))
    assert wix.exchanges == 0


async def test_a_refused_login_leaves_no_trace(processes, wix):
    """Codes that Wix refuses change neither the cookie nor the store, however often."""
    browser = Browser(processes())
    visit = browser.visit()
    await finishes(await visit.visitor(), wix)
    browser.answer(visit)
    stored = repr(browser.visits._own._settings.storage)
    for _ in range(40):
        visit = browser.visit()
        visitor = await visit.visitor()
        login = await visitor.members.start_login(CALLBACK)
        with pytest.raises(Exception, match="refused the login"):
            await visitor.members.finish_login(login, {"code": "wrong", "state": login.state})
        assert browser.answer(visit) == []
    assert repr(browser.visits._own._settings.storage) == stored
    assert (await browser.calls())[0].refresh_token.value == "JWS.member1"


async def test_a_logout_during_a_login(processes, wix):
    """A logout that comes while a login's code is exchanged is the later one: the browser stays logged out."""
    browser = Browser(processes())
    await browser.calls()
    reached, go_on = anyio.Event(), anyio.Event()
    usual = wix.__call__

    async def slow(request: httpx.Request) -> httpx.Response:
        if b"authorization_code" in request.content:
            reached.set()
            await go_on.wait()
        return usual(request)

    browser.visits._own._connections.current().client._transport = httpx.MockTransport(slow)
    visit, other = browser.visit(), browser.visit()
    visitor = await visit.visitor()
    async with anyio.create_task_group() as group:
        group.start_soon(finishes, visitor, wix)
        await reached.wait()
        group.start_soon((await other.visitor()).set_tokens, EMPTY_TOKENS)
        await anyio.wait_all_tasks_blocked()
        go_on.set()
    assert browser.answer(other)
    assert browser.answer(visit) == []
    assert (await browser.calls())[0].refresh_token.role is TokenRole.VISITOR


async def test_checkout_and_redirects(processes, wix):
    """A handler's visitor gets the addresses of Wix's pages for its own cart."""
    browser = Browser(processes())
    visit = browser.visit()
    visitor = await visit.visitor()
    wix.answers[wire.REDIRECT_PATH] = lambda _: httpx.Response(
        200, json={"redirectSession": {"fullUrl": "https://wix.example/checkout"}}
    )
    assert await visitor.checkout.url(return_to="https://shop.example/") == "https://wix.example/checkout"
    assert await visitor.redirects.create({"eventsCheckout": {}}) == "https://wix.example/checkout"
    assert wix.bodies(wire.REDIRECT_PATH)[0]["ecomCheckout"] == {"checkoutId": "OauthNG.JWS.visitor1"}
    assert wix.visitors == 1
    assert browser.answer(visit)
