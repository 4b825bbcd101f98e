"""What is remembered between a browser's requests, and what its cookie says afterwards."""

from __future__ import annotations

import gc
from functools import partial

import anyio
import pytest

from tests.stores import TroubledStorage
from tests.web.browsers import Browser
from tests.web.conftest import COOKIES, KEY, OTHER_KEY
from wixvisitor import EMPTY_TOKENS, ConfigurationError, StorageError, TokenRole, Tokens
from wixvisitor._web.ttl_cache import MAX_ITEMS, SECONDS, TTLCache, TTLStorage
from wixvisitor._web.visit import Visit
from wixvisitor.cookies import IdCookie, SealedCookie, SharedCookie
from wixvisitor.storage import MemoryStorage, VersionConflict

pytestmark = pytest.mark.anyio
HOUR = 3600


@pytest.mark.parametrize("form", ["sealed", "wixSession"])
async def test_a_late_answer_does_not_cost_the_renewal(visits_of, still, form):
    """Two calls with the same expired cookie, one after the other: the second finds what the first renewed."""
    visits = visits_of(COOKIES[form]())
    browser = Browser(visits)
    first, _ = await browser.calls()
    old = dict(browser.jar)
    still.advance(5 * HOUR)
    renewed, cookies = await browser.calls()
    assert renewed.refresh_token == first.refresh_token
    assert len(cookies) == 1
    again, cookies = await Browser(visits, old).calls()
    assert again == renewed
    assert len(cookies) == 1
    assert len(still.token_calls("refresh_token")) == 1


@pytest.mark.parametrize("form", ["sealed", "wixSession"])
async def test_another_process_renewed(visits_of, still, form):
    """A cookie that another process has renewed meanwhile is newer than what this one remembers, and is not undone."""
    here, there = Browser(visits_of(COOKIES[form]())), Browser(visits_of(COOKIES[form]()))
    await here.calls()
    still.advance(3.9 * HOUR)
    there.jar = dict(here.jar)
    visit = here.visit()  # is still at work while the other process renews
    await visit.visitor()
    still.advance(0.2 * HOUR)
    renewed, _ = await there.calls()
    here.jar = dict(there.jar)
    tokens, cookies = await here.calls()
    assert tokens == renewed
    assert cookies == []
    here.answer(visit)  # carries what the session has learnt meanwhile
    assert (await here.calls()) == (renewed, [])
    assert len(still.token_calls("refresh_token")) == 1


@pytest.mark.parametrize("form", ["sealed", "wixSession"])
@pytest.mark.parametrize("is_refused", [False, True], ids=["renewed", "replaced"])
async def test_a_token_that_ends_before_the_old_one(visits_of, still, form, is_refused):
    """New tokens are written into the cookie though they end earlier: Wix grants less time, or a clock was fast."""
    visits = visits_of(COOKIES[form]())
    browser = Browser(visits)
    old, _ = await browser.calls()
    still.access_token_lifetime = HOUR
    still.revoke_access_token(old.access_token.value)
    if is_refused:
        still.refuse_refresh_token(old.refresh_token.value)
    still.advance(60)
    visit = browser.visit()
    assert (await (await visit.visitor()).get("/ecom/v2/carts/current")).status_code in (200, 404)
    assert len(browser.answer(visit)) == 1
    new, cookies = await browser.calls()
    assert new.access_token != old.access_token
    assert (new.refresh_token != old.refresh_token) == is_refused
    assert cookies == []
    late = Browser(visits, {})
    late.jar = dict(browser.jar)
    assert await late.calls() == (new, [])
    assert len(still.visitors) == 1 + is_refused
    assert len(still.token_calls()) == 2 + is_refused


@pytest.mark.parametrize("form", ["sealed", "wixSession"])
async def test_an_older_token_does_not_undo_a_newer_cookie(visits_of, still, form):
    """A request under way that holds the older token does not write it over the cookie that another process renewed."""
    here, there = Browser(visits_of(COOKIES[form]())), Browser(visits_of(COOKIES[form]()))
    await here.calls()
    under_way = here.visit()
    await under_way.visitor()
    still.advance(HOUR)
    there.jar = dict(here.jar)
    visit = there.visit()
    renewed = await (await visit.visitor()).renew_token()
    there.answer(visit)
    here.jar = dict(there.jar)
    assert (await here.calls())[1] == []
    assert here.answer(under_way) == []
    del under_way
    assert (await here.calls())[0] == renewed


async def test_what_is_live_counts_as_known(visits_of, still):
    """An old cookie does not come before what a session of this process holds, though the process forgot its record."""
    visits = visits_of(SealedCookie([KEY]))
    browser = Browser(visits)
    await browser.calls()
    still.advance(5 * HOUR)
    under_way = browser.visit()
    visitor = await under_way.visitor()
    await visitor.generate_visitor_tokens()
    storage = visits.pool(allowed=True)._settings.storage
    await storage.delete(f"{visits.client_id}:{visitor.key}")
    await browser.visit().visitor()
    assert await storage.load(f"{visits.client_id}:{visitor.key}") is None


async def test_a_restart_with_a_sealed_cookie(visits_of, still):
    """A sealed cookie is the same visitor in a process that has never seen it."""
    browser = Browser(visits_of(SealedCookie([KEY])))
    first, _ = await browser.calls()
    still.advance(30 * 24 * HOUR)
    after = Browser(visits_of(SealedCookie([KEY])), browser.jar)
    tokens, _ = await after.calls()
    assert tokens.refresh_token == first.refresh_token
    assert len(still.visitors) == 1


@pytest.mark.parametrize("make", [IdCookie, SealedCookie])
async def test_a_rotated_key(visits_of, make):
    """A cookie of the older key is sealed anew when its visitor is looked at, and opens without the older key then."""
    storage = MemoryStorage() if make is IdCookie else None
    browser = Browser(visits_of(make([OTHER_KEY]), storage=storage))
    first, _ = await browser.calls()
    browser.visits = visits_of(make([KEY, OTHER_KEY]), storage=storage)
    assert browser.answer(browser.visit()) == []
    tokens, cookies = await browser.calls()
    assert tokens == first
    assert len(cookies) == 1
    browser.visits = visits_of(make([KEY]), storage=storage)
    assert (await browser.calls()) == (first, [])


async def test_the_cookie_lives_as_long_as_it_is_used(visits_of, still):
    """Somebody who comes back every other month keeps the visitor for years."""
    browser = Browser(visits_of(IdCookie([KEY])))
    await browser.calls()
    written = 0
    for _ in range(12):
        still.advance(60 * 24 * HOUR)
        still.refresh_token_lifetime = 1e9
        written += len((await browser.calls())[1])
    assert written == 12


@pytest.mark.parametrize("form", ["id", "sealed", "wixSession"])
async def test_forgetting(visits_of, form):
    """``set_tokens(EMPTY_TOKENS)`` forgets the visitor; the next call makes another one."""
    browser = Browser(visits_of(COOKIES[form]()))
    first, _ = await browser.calls()
    visit = browser.visit()
    await (await visit.visitor()).set_tokens(EMPTY_TOKENS)
    browser.answer(visit)
    second, _ = await browser.calls()
    assert second.refresh_token != first.refresh_token
    assert (await browser.calls())[0] == second


@pytest.mark.parametrize("form", ["id", "sealed", "wixSession"])
async def test_another_visitors_tokens(visits_of, still, client_id, tokens_from, form):
    """Another visitor's tokens are that visitor from then on, though the old cookie is still under way."""
    browser = Browser(visits_of(COOKIES[form]()))
    other = tokens_from(still.mint_visitor(client_id))
    still.advance(HOUR)
    first, _ = await browser.calls()
    old = dict(browser.jar)
    visit = browser.visit()
    await (await visit.visitor()).set_tokens(other)
    browser.answer(visit)
    assert (await Browser(browser.visits, old).calls())[0] == first
    assert (await browser.calls())[0] == other


async def test_logging_out_of_a_shared_cookie(visits_of, member):
    """Logout removes the front end's cookie."""
    browser = Browser(visits_of(SharedCookie("session")))
    visit = browser.visit()
    await (await visit.visitor()).set_tokens(member)
    browser.answer(visit)
    assert "session" in browser.jar
    visit = browser.visit()
    assert (await visit.visitor()).logged_in()
    await (await visit.visitor()).set_tokens(EMPTY_TOKENS)
    cookies = browser.answer(visit)
    assert browser.jar == {}
    assert all("Max-Age=0" in cookie for cookie in cookies)


@pytest.mark.parametrize("form", ["id", "sealed", "wixSession"])
async def test_login_with_tokens_to_generate_from(visits_of, form, member):
    """``generate_visitor_tokens(member)`` is a login too."""
    browser = Browser(visits_of(COOKIES[form]()))
    await browser.calls()
    old = dict(browser.jar)
    visit = browser.visit()
    assert await (await visit.visitor()).generate_visitor_tokens(member) == member
    assert len(browser.answer(visit)) == 1
    assert (await browser.calls())[0] == member
    assert (await Browser(browser.visits, old).calls())[0] != member


@pytest.mark.parametrize("form", ["id", "sealed", "wixSession"])
async def test_login_with_a_refresh_token(visits_of, form, member):
    """``renew_token(member's)`` for nobody's session is a login too: an id that somebody knew is not the member's."""
    browser = Browser(visits_of(COOKIES[form]()))
    browser.answer(browser.visit(is_document=True))
    old = dict(browser.jar)
    visit = browser.visit()
    tokens = await (await visit.visitor()).renew_token(member.refresh_token)
    assert tokens.refresh_token == member.refresh_token
    assert len(browser.answer(visit)) == 1
    assert (await browser.calls())[0] == tokens
    assert (await Browser(browser.visits, old).calls())[0].refresh_token != member.refresh_token


async def test_renewing_ones_own_token(visits_of):
    """``renew_token()`` is the same visitor and the same cookie."""
    browser = Browser(visits_of(IdCookie([KEY])))
    first, _ = await browser.calls()
    visit = browser.visit()
    renewed = await (await visit.visitor()).renew_token()
    assert renewed.refresh_token == first.refresh_token
    assert browser.answer(visit) == []


async def test_a_member_renewed_elsewhere_is_no_login(visits_of, member):
    """Newer tokens of the same member keep the id."""
    browser = Browser(visits_of(IdCookie([KEY])))
    visit = browser.visit()
    visitor = await visit.visitor()
    await visitor.set_tokens(member)
    assert len(browser.answer(visit)) == 1
    visit = browser.visit()
    await (await visit.visitor()).set_tokens(member)
    assert browser.answer(visit) == []


@pytest.mark.parametrize("form", ["id", "sealed", "wixSession"])
async def test_login_too_late(visits_of, form, member):
    """A login after the response has started fails, and the visitor is as before."""
    browser = Browser(visits_of(COOKIES[form]()))
    first, _ = await browser.calls()
    visit = browser.visit()
    visitor = await visit.visitor()
    browser.answer(visit)
    with pytest.raises(ConfigurationError, match="Nothing was changed"):
        await visitor.set_tokens(member)
    assert visitor.get_tokens() == first
    assert (await browser.calls())[0] == first


async def test_login_that_cannot_be_saved(visits_of, member):
    """A login that the store does not take is an error, and the visitor with its cart is as before."""
    storage = TroubledStorage()
    browser = Browser(visits_of(IdCookie([KEY]), storage=storage))
    first, _ = await browser.calls()
    visit = browser.visit()
    visitor = await visit.visitor()
    storage.before["save"] = OSError("disk full")
    with pytest.raises(StorageError):
        await visitor.set_tokens(member)
    assert visitor.get_tokens() == first
    assert browser.answer(visit) == []
    assert (await browser.calls())[0] == first


async def test_logout_removes_the_record(visits_of, member):
    """After logout nothing of the member is in the store."""
    storage = MemoryStorage()
    browser = Browser(visits_of(IdCookie([KEY]), storage=storage))
    visit = browser.visit()
    await (await visit.visitor()).set_tokens(member)
    browser.answer(visit)
    visit = browser.visit()
    await (await visit.visitor()).set_tokens(EMPTY_TOKENS)
    browser.answer(visit)
    assert not any(member.refresh_token.value in record.value for record in storage._records.values())


async def test_the_auth_follows_the_login(visits_of, still, member):
    """After a login the visitor's own requests and ``auth`` are the member's."""
    browser = Browser(visits_of(IdCookie([KEY])))
    visit = browser.visit()
    visitor = await visit.visitor()
    await visitor.get("/ecom/v2/carts/current")
    await visitor.set_tokens(member)
    await visitor.get("/ecom/v2/carts/current")
    async with still.client(auth=visitor.auth) as client:
        await client.get("/ecom/v2/carts/current")
    sent = [call.headers["authorization"] for call in still.api_calls()]
    assert sent[0] != member.access_token.value
    assert sent[1:] == [member.access_token.value] * 2


async def test_a_visitor_that_no_answer_carries(visits_of, caplog):
    """A request that ends without an answer, after it made a visitor, says so in the log."""
    caplog.set_level("INFO", logger="wixvisitor")
    visit = Browser(visits_of(IdCookie([KEY]))).visit()
    await (await visit.visitor()).generate_visitor_tokens()
    visit.finish()
    assert "no browser has its cookie" in caplog.text


async def test_a_change_after_the_start(visits_of, still, caplog):
    """A visitor that Wix replaces while a response is streamed cannot get into a sealed cookie: an error in the log."""
    browser = Browser(visits_of(SealedCookie([KEY])))
    first, _ = await browser.calls()
    visit = browser.visit()
    visitor = await visit.visitor()
    visit.start(vary="", cache_control="")
    still.refuse_refresh_token(first.refresh_token.value)
    still.advance(5 * HOUR)
    await visitor.generate_visitor_tokens()
    visit.finish()
    assert "changed after the response had started" in caplog.text
    again, _ = await browser.calls()  # the process remembers, for a while
    assert again == visitor.get_tokens()


@pytest.mark.parametrize("form", ["sealed", "wixSession"])
async def test_ways_to_a_token_too_late(visits_of, still, form):
    """Every way that would make a visitor too late is an error before Wix is asked."""
    browser = Browser(visits_of(COOKIES[form]()))
    visit = browser.visit()
    visitor = await visit.visitor()
    browser.answer(visit)
    for way in (
        visitor.generate_visitor_tokens,
        visitor.auth_headers,
        visitor.renew_token,
        lambda: visitor.get("/ecom/v2/carts/current"),
        lambda: visitor.graphql("{ x }"),
        partial(getattr, visitor, "auth"),
    ):
        with pytest.raises(ConfigurationError, match="before the response"):
            await way()
    assert still.calls == []


async def test_simultaneous_requests_share_one_visitor(visits_of, still):
    """Two requests with the same reserved cookie, at once, in one process: one visitor, and both answers say so."""
    browser = Browser(visits_of(SealedCookie([KEY])))
    browser.answer(browser.visit(is_document=True))
    visits = [browser.visit() for _ in range(6)]
    found: list[Tokens] = []

    async def call(visit: Visit) -> None:
        found.append(await (await visit.visitor()).generate_visitor_tokens())

    async with anyio.create_task_group() as group:
        for visit in visits:
            group.start_soon(call, visit)
    assert len(set(found)) == 1
    assert [len(browser.answer(visit)) for visit in visits] == [1] * 6
    assert (await browser.calls())[0] == found[0]
    assert len(still.visitors) == 1


async def test_the_shared_reservation_ends(visits_of, still):
    """What reserves a shared cookie's visitor is gone after two minutes, or once the page has its cookie."""
    browser = Browser(visits_of(SharedCookie("session")))
    (cookie,) = browser.answer(browser.visit(is_document=True))
    assert cookie.startswith("__Host-wixvisitor-new-")
    assert "Max-Age=120" in cookie
    tokens, _ = await browser.calls()
    still.advance(121)
    assert (await browser.calls())[0] == tokens


# What a process remembers


def test_recent_things_are_forgotten():
    """A thing is remembered for two minutes after it was last put there, and ten thousand of them."""
    now, forgotten = [0.0], []
    recent = TTLCache[int](forgotten.append, clock=lambda: now[0])
    recent.put("a", 1)
    now[0] += SECONDS
    assert recent.get("a") == 1
    now[0] += 1
    assert recent.get("a") is None
    recent.put("b", 2)
    assert forgotten == ["a"]
    for number in range(MAX_ITEMS):
        recent.put(str(number), number)
    assert len(recent) == MAX_ITEMS
    assert recent.get("b") is None
    recent.drop("0")
    assert recent.get("0") is None


async def test_recent_storage():
    """It compares and sets like every storage, and what is over counts as not there."""
    now = [0.0]
    storage = TTLStorage(clock=lambda: now[0])
    version = await storage.save("a", "1", expected=None)
    with pytest.raises(VersionConflict):
        await storage.save("a", "2", expected=None)
    assert (await storage.load("a")).version == version
    now[0] += SECONDS + 1
    assert await storage.load("a") is None
    await storage.save("a", "3", expected=None)
    assert (await storage.load("a")).value == "3"
    await storage.delete("a")
    assert await storage.load("a") is None


async def test_the_key_is_what_on_change_says(visits_of):
    """A visitor's key is its record's, as ``on_change`` is told."""
    told = []
    visit = Browser(visits_of(IdCookie([KEY]), on_change=told.append)).visit()
    visitor = await visit.visitor()
    await visitor.generate_visitor_tokens()
    assert [change.key for change in told] == [visitor.key]


@pytest.mark.parametrize("form", ["id", "sealed", "wixSession"])
async def test_nobody_is_held_after_the_request(visits_of, form):
    """Once a request is over its session is gone at once, so that the next one sees what other processes did."""
    visits = visits_of(COOKIES[form]())
    gc.disable()
    try:
        browser = Browser(visits)
        await browser.calls()
        await browser.calls()
        assert list(visits.pool(allowed=True)._sessions) == []
    finally:
        gc.enable()


async def test_a_logout_in_another_process(visits_of, member):
    """Whoever keeps a copy of the cookie is nobody as soon as another process has logged the member out."""
    storage = MemoryStorage()
    here, there = (Browser(visits_of(IdCookie([KEY]), storage=storage)) for _ in range(2))
    visit = here.visit()
    await (await visit.visitor()).set_tokens(member)
    here.answer(visit)
    there.jar = dict(here.jar)
    assert (await here.calls())[0] == member
    visit = there.visit()
    await (await visit.visitor()).set_tokens(EMPTY_TOKENS)
    there.answer(visit)
    visit = here.visit()
    assert not (await visit.visitor()).logged_in()


async def test_roles(visits_of, member):
    """A visitor within a request says whose it is like any session."""
    browser = Browser(visits_of(IdCookie([KEY])))
    visitor = await browser.visit().visitor()
    assert not visitor.logged_in()
    assert visitor.get_tokens().refresh_token.role is TokenRole.NONE
    assert repr(visitor) == f"<VisitorSession {browser.visits.client_id!r}, role none>"


async def test_closing_the_pool_ends_what_the_cookies_visitors_do(visits_of, still):
    """Closing the pool ends renewals under way also of visitors who live in a cookie."""
    visits = visits_of(SealedCookie([KEY]))
    browser = Browser(visits)
    await browser.calls()
    still.advance(3.9 * HOUR)
    visitor = await browser.visit().visitor()
    gate = still.hold(grant_type="refresh_token")
    await visitor.auth_headers()
    await gate.wait_for(1)
    with anyio.fail_after(4):
        await visits.aclose()
    assert visitor._refresher._lane.here() == []
