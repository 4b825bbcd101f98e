"""Several sites on one host, older versions, and several visitors in one request: whose cookie is read and written."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import attrs
import httpx
import pytest

from tests.web.browsers import Browser
from tests.web.conftest import COOKIES, KEY, OTHER_KEY
from tests.web.shops import FORMS
from wixvisitor import EMPTY_TOKENS, VisitorPool
from wixvisitor._web.headers import longer_paths
from wixvisitor._web.site_cookie import SiteCookie
from wixvisitor._web.ttl_cache import SECONDS
from wixvisitor._web.visits import Visits
from wixvisitor.cookies import CookieContent, IdCookie, SealedCookie, SharedCookie, VisitorCookie
from wixvisitor.storage import MemoryStorage

pytestmark = pytest.mark.anyio

OTHER_SITE = "11111111-7c1e-4a52-9d5e-1f2a3b4c5d6e"
HOUR = 3600
SEALED = (IdCookie, SealedCookie)

# Two sites on one host: both forms of the cookie, with whose name
NEIGHBOURS: dict[str, tuple[VisitorCookie, VisitorCookie]] = {
    "one id cookie": (IdCookie([KEY]),) * 2,
    "one sealed cookie": (SealedCookie([KEY]),) * 2,
    "over http": (IdCookie([KEY], secure=False),) * 2,
    "two keys": (IdCookie([KEY]), IdCookie([OTHER_KEY])),
    "two forms": (IdCookie([KEY]), SealedCookie([KEY])),
    "one name": (IdCookie([KEY], name="shop"),) * 2,
    "one name, sealed": (SealedCookie([KEY], name="shop"),) * 2,
    "one name, two keys": (IdCookie([KEY], name="shop"), IdCookie([OTHER_KEY], name="shop")),
    "one name, two forms": (SealedCookie([KEY], name="shop"), IdCookie([KEY], name="shop")),
    "the older name": (IdCookie([KEY], name="wixvisitor"), IdCookie([KEY])),
    "shared": (SharedCookie("wixSession"), SharedCookie("wixSession")),
    "shared, two names": (SharedCookie("session"), SharedCookie("wix-session")),
}


def called(cookies: list[str]) -> list[str]:
    return [cookie.partition("=")[0] for cookie in cookies]


# Rule 1, OTHERS


@pytest.mark.parametrize("kind", NEIGHBOURS)
async def test_two_sites_on_one_host(visits_of, still, client_id, kind):
    """A browser that goes from one site to the other and back keeps both visitors, also after they were renewed."""
    first, second = NEIGHBOURS[kind]
    here = Browser(visits_of(first))
    there = Browser(visits_of(second, OTHER_SITE))
    there.jar = here.jar
    known = [(await browser.calls())[0].refresh_token for browser in (here, there)]
    for _ in range(2):
        still.advance(5 * HOUR)
        for number, browser in enumerate((here, there)):
            browser.visits = visits_of((first, second)[number], (client_id, OTHER_SITE)[number], **_stores(browser))
            assert (await browser.calls())[0].refresh_token == known[number]
    assert len(still.visitors) == 2


def _stores(browser: Browser) -> dict[str, Any]:
    """A server that was started again knows what its storage knows."""
    return {} if browser.visits.cookie.holds_tokens else {"storage": browser.visits._own._settings.storage}


@pytest.mark.parametrize("kind", NEIGHBOURS)
async def test_login_and_logout_beside_another_site(visits_of, member, kind):
    """A login or logout at one site leaves the other one's visitor alone."""
    first, second = NEIGHBOURS[kind]
    here = Browser(visits_of(first))
    there = Browser(visits_of(second, OTHER_SITE))
    there.jar = here.jar
    known, _ = await here.calls()
    await there.calls()
    for tokens in (member, EMPTY_TOKENS):
        await there.sets(tokens)
        assert (await here.calls())[0] == known
        visitor = await there.visit().visitor()
        assert visitor.logged_in() == (tokens is member)


@pytest.mark.parametrize("kind", [kind for kind in NEIGHBOURS if kind.startswith("one name") or kind == "shared"])
async def test_the_same_name_twice_is_said_once(visits_of, caplog, kind):
    """A name that two sites use is one warning with the cure, and nothing of the cookies is in it."""
    first, second = NEIGHBOURS[kind]
    here = Browser(visits_of(first))
    there = Browser(visits_of(second, OTHER_SITE))
    there.jar = here.jar
    await here.calls()
    taken = dict(here.jar)
    for _ in range(3):
        await there.calls()
    assert taken.items() <= there.jar.items()
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    (said,) = [text for text in warnings if "another site" in text]
    assert "name= of its own" in said
    assert not any(value in said for value in taken.values())


@pytest.mark.parametrize("cookie", [IdCookie([KEY], name="shop"), SharedCookie("wixSession")], ids=["id", "shared"])
async def test_a_name_that_is_free_again(visits_of, cookie):
    """Once the other site's cookie is gone, ours has its usual name again, and is the same visitor."""
    here = Browser(visits_of(cookie))
    there = Browser(visits_of(cookie, OTHER_SITE))
    there.jar = here.jar
    await here.calls()
    known, cookies = await there.calls()
    assert called(cookies) != [cookie.name]
    del there.jar[cookie.name]
    assert (await there.calls())[0] == known
    assert list(there.jar) == [cookie.name]
    assert (await there.calls()) == (known, [])


async def test_another_sites_cookie_beside_ours(visits_of, still, member, client_id):
    """Beside a good cookie of ours another site's of the same name changes nothing: a login has that name, too."""
    cookie = IdCookie([KEY], name="shop")
    browser = Browser(visits_of(cookie))
    await browser.calls()
    foreign = cookie.write(CookieContent("i" * 43), OTHER_SITE, still.now()).partition(";")[0].partition("=")[2]
    browser.copies = {(cookie.name, "/shop"): foreign}
    assert called(await browser.sets(member, "/shop")) == list(browser.jar) == [cookie.name]
    assert (await browser.calls("/shop"))[0] == member


async def test_a_second_name_is_hidden_from_scripts(visits_of):
    """The second name of a shared cookie is read by no front end, so scripts need not see it."""
    here = Browser(visits_of(SharedCookie()))
    there = Browser(visits_of(SharedCookie(), OTHER_SITE))
    await here.calls()
    there.jar = here.jar
    (cookie,) = (await there.calls())[1]
    assert "HttpOnly" in cookie


@pytest.mark.parametrize("make", SEALED)
async def test_a_lost_key(visits_of, make):
    """A cookie with the site's own name whose key is gone is overwritten: no other site can have written it."""
    old = Browser(visits_of(make([OTHER_KEY])))
    await old.calls()
    now = Browser(visits_of(make([KEY])), old.jar)
    known, cookies = await now.calls()
    assert called(cookies) == list(now.jar)
    assert (await now.calls()) == (known, [])


@pytest.mark.parametrize("name", [None, "shop"])
async def test_another_form_of_ones_own(visits_of, name):
    """A site that changes from one form of the cookie to the other overwrites its own cookie."""
    browser = Browser(visits_of(IdCookie([KEY], name=name)))
    await browser.calls()
    browser.visits = visits_of(SealedCookie([KEY], name=name))
    names = list(browser.jar)
    known, _ = await browser.calls()
    assert list(browser.jar) == names
    assert (await browser.calls())[0] == known


async def test_two_apps_on_one_host(still, client_id):
    """Two mounted apps with the default cookie are two visitors, however often the browser goes to and fro."""
    from fastapi import FastAPI

    from tests.web.shops import Shop, fastapi_app

    outer = FastAPI()
    for path, site in (("/a", client_id), ("/b", OTHER_SITE)):
        shop = Shop(VisitorPool(site, client=still.client(), clock=still.now), IdCookie([KEY]))
        outer.mount(path, fastapi_app(shop))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(outer), base_url="https://shops.example") as browser:
        seen = {(path, (await browser.get(f"{path}/cart")).json()["who"]) for path in ("/a", "/b") * 3}
    assert len(seen) == len(still.visitors) == 2


# Rule 2, OLDER VERSIONS


def of_before(cookie: VisitorCookie, content: CookieContent, site: str, now: float) -> dict[str, str]:
    """What a version wrote that knew no site's own name."""
    name, _, value = cookie.write(content, site, now, name=cookie.name).partition(";")[0].partition("=")
    return {name: value}


@pytest.mark.parametrize("secure", [True, False])
@pytest.mark.parametrize("make", SEALED)
async def test_a_cookie_of_an_older_version(visits_of, still, client_id, visitor, make, secure):
    """It is taken, and stays the only one while it is renewed, so that servers of both versions know the visitor."""
    cookie = make([OTHER_KEY], secure=secure)
    storage = MemoryStorage()
    stores = {} if cookie.holds_tokens else {"storage": storage}
    if not cookie.holds_tokens:
        await visits_of(cookie, storage=storage)._own.session("i" * 43)
    browser = Browser(visits_of(cookie, **stores))
    browser.jar = of_before(cookie, CookieContent("i" * 43, visitor), client_id, still.now())
    known, _ = await browser.calls()
    assert list(browser.jar) == [cookie.name]
    assert known == visitor or not cookie.holds_tokens
    still.advance(60 * 24 * HOUR)  # the cookie is due
    browser.visits = visits_of(make([KEY, OTHER_KEY], secure=secure), **stores)
    tokens, cookies = await browser.calls()
    assert tokens.refresh_token == known.refresh_token
    assert called(cookies) == list(browser.jar) == [cookie.name]
    assert cookie.__class__([KEY], secure=secure).read(
        browser.jar[cookie.name], client_id, still.now(), name=cookie.name
    )


@pytest.mark.parametrize("make", SEALED)
async def test_login_ends_the_older_name(visits_of, still, client_id, member, visitor, make):
    """A login, or a logout, has the site's own name, and removes the older one: what that said is nobody's here."""
    for tokens in (member, EMPTY_TOKENS):
        browser = Browser(visits_of(make([KEY])))
        browser.jar = of_before(browser.visits.cookie, CookieContent("i" * 43, visitor), client_id, still.now())
        await browser.calls()
        await browser.sets(tokens)
        assert list(browser.jar) == [browser.visits.cookie.names(client_id).first]


@pytest.mark.parametrize("make", SEALED)
async def test_the_sites_own_name_comes_first(visits_of, still, client_id, visitor, make):
    """Beside a cookie with the site's own name one with the older name changes nothing, and is left as it is."""
    browser = Browser(visits_of(make([KEY])))
    known, _ = await browser.calls()
    older = of_before(browser.visits.cookie, CookieContent("i" * 43, visitor), client_id, still.now())
    browser.jar = {**older, **browser.jar}
    assert (await browser.calls()) == (known, [])
    assert older.items() <= browser.jar.items()


@pytest.mark.parametrize("make", SEALED)
async def test_an_older_name_of_another_site(visits_of, still, visitor, make):
    """An older cookie that another site has written is left alone, also at a login."""
    browser = Browser(visits_of(make([KEY])))
    older = of_before(browser.visits.cookie, CookieContent("i" * 43, visitor), OTHER_SITE, still.now())
    browser.jar = dict(older)
    await browser.calls()
    await browser.sets(visitor)
    assert older.items() <= browser.jar.items()
    assert len(browser.jar) == 2


# Rule 3, PLANTED


async def two_visitors(visits: Callable[..., Any], form: str) -> tuple[Browser, list[str]]:
    """A browser with one visitor for all paths and another one for ``/shop``, and who they are."""
    anna, mallory = Browser(visits), Browser(visits)
    who = [(await browser.calls())[0].refresh_token.value for browser in (anna, mallory)]
    ((name, value),) = mallory.jar.items()
    anna.copies = {(name, "/shop"): value}
    return anna, who


@pytest.mark.parametrize("form", FORMS)
async def test_two_visitors_are_a_third_one(visits_of, still, form, caplog):
    """Two visitors in one request are neither, and the same third one each time, in whichever order they come."""
    browser, who = await two_visitors(visits_of(COOKIES[form]()), form)
    header = browser.header("/shop")
    turned = "; ".join(reversed(header.split("; ")))
    third = set()
    for each in (header, header, turned):
        visit = browser.visit("/shop")
        visit.request.headers["cookie"] = each
        third.add((await (await visit.visitor()).generate_visitor_tokens()).refresh_token.value)
        visit.finish()
    assert len(third) == 1
    assert not third & set(who)
    assert len(still.visitors) == 3
    assert sum("two different cookies" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize("path", ["/shop", "/shop/", "/shop/cart", "/shop/cart/items"])
@pytest.mark.parametrize("form", FORMS)
async def test_the_copy_is_removed(visits_of, form, path):
    """The answer removes the copy at the longer path and leaves the one at ``/``, who is the visitor from then on."""
    browser, (anna, _) = await two_visitors(visits_of(COOKIES[form]()), form)
    jar = dict(browser.jar)
    tokens, cookies = await browser.calls(path)
    assert tokens.refresh_token.value != anna
    assert all("Max-Age=0" in cookie and "Path=/;" not in cookie for cookie in cookies)
    assert browser.jar == jar
    assert browser.copies == {}
    assert (await browser.calls(path))[0].refresh_token.value == anna


@pytest.mark.parametrize("framework", ["starlette", "fastapi", "quart", "django", "litestar", "aiohttp"])
async def test_the_copy_is_removed_in_each_framework(open_shop, framework):
    """Each framework's path is the browser's, so that the copy is removed."""
    secure = framework != "aiohttp"
    cookie = IdCookie([KEY], name="shop", secure=secure)
    async with open_shop(framework, cookie=cookie) as town, town.browsers() as anna, town.browsers() as mallory:
        known = json.loads((await anna.get("/cart")).text)["who"]
        await mallory.get("/cart")
        name = town.cookie_name
        pair = f"{name}={mallory.cookies[name]}; {name}={anna.cookies[name]}"
        async with town.browsers(headers={"Cookie": pair}) as victim:
            answer = await victim.get("/cart")
        assert json.loads(answer.text)["who"] != known
        (removal,) = answer.headers.get_list("set-cookie")
        assert removal.startswith(f"{name}=; Path=/cart; Max-Age=0")


@pytest.mark.parametrize("form", ["sealed", "wixSession"])
async def test_a_pair_that_stays(still, client_id, form):
    """A pair that cannot be removed stays one visitor as long as the browser comes again within two minutes."""
    now = [0.0]
    pool = VisitorPool(client_id, client=still.client(), clock=still.now)
    visits = Visits(pool, cookie=COOKIES[form](), consent=None, close=True, monotonic=lambda: now[0])
    browser, _ = await two_visitors(visits, form)
    copies = dict(browser.copies)
    seen = set()
    for _ in range(4):
        seen.add((await browser.calls("/shop"))[0].refresh_token.value)
        browser.copies = dict(copies)
        now[0] += SECONDS - 1
    assert len(seen) == 1


@pytest.mark.parametrize("form", FORMS)
async def test_login_with_a_pair(visits_of, member, form):
    """A login is kept: it takes the place at ``/``, and the copy is removed."""
    browser, _ = await two_visitors(visits_of(COOKIES[form]()), form)
    await browser.sets(member, "/shop")
    assert browser.copies == {}
    assert (await browser.calls("/shop"))[0] == member


@pytest.mark.parametrize("form", FORMS)
async def test_broken_and_foreign_copies_are_skipped(visits_of, still, client_id, form):
    """A broken copy, or another site's, changes nothing, and is left alone."""
    cookie = COOKIES[form]()
    browser = Browser(visits_of(cookie))
    known, _ = await browser.calls()
    ((name, value),) = browser.jar.items()
    foreign = (
        cookie.write(CookieContent("i" * 43, known), OTHER_SITE, still.now(), name=name)
        .partition(";")[0]
        .partition("=")[2]
    )
    for copy in ("junk", value[:-5], foreign, ""):
        browser.copies = {(name, "/shop"): copy}
        assert (await browser.calls("/shop")) == (known, [])


@pytest.mark.parametrize("make", SEALED)
def test_processes_agree_on_a_pair(make):
    """Two servers with the same keys, also in another order, derive the same visitor from the same two."""
    keys = {"a" * 43, "b" * 43}
    derived = make([KEY, OTHER_KEY]).derive(keys)
    assert derived == make([OTHER_KEY, KEY]).derive(sorted(keys, reverse=True))
    assert derived not in {make([KEY]).derive({"a" * 43, "c" * 43}), make(["B" * 43]).derive(keys)}


@pytest.mark.parametrize(
    ("path", "paths"),
    [
        ("/", []),
        ("/shop", ["/shop"]),
        ("/shop/", ["/shop", "/shop/"]),
        ("/a/b/c", ["/a", "/a/b", "/a/b/c", "/a/", "/a/b/"]),
        ("/a;b/c", []),
        ("/caf%C3%A9/x", ["/caf%C3%A9", "/caf%C3%A9/x", "/caf%C3%A9/"]),
        ("", []),
        ("//x", ["//x", "//"]),
    ],
)
def test_longer_paths(path, paths):
    """They are those whose cookies a browser sends with the request, as far as a header can name them."""
    assert longer_paths(path) == paths


def test_a_path_without_end(client_id):
    """A hostile path makes no more than a few short headers."""
    site = SiteCookie(SealedCookie([KEY], name="n" * 64), client_id, lambda: 0.0)
    reading = attrs.evolve(site.read(""), doubled=("n" * 64,))
    for path in ("/a" * 4_000, "/" + "b" * 150 + "/c" * 20, "/" * 8_000):
        removals = site.remove_copies(reading, path)
        assert removals
        assert sum(map(len, removals)) <= 2_000
