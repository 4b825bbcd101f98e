"""Tokens that are too large for one cookie: several cookies, then the refresh token alone, and never an error page."""

from __future__ import annotations

import json
import logging
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from tests.constants import CLIENT_ID
from tests.web.browsers import Browser
from tests.web.conftest import COOKIES, KEY
from wixvisitor import (
    EMPTY_TOKENS,
    AccessToken,
    ConfigurationError,
    RefreshToken,
    TokenRole,
    Tokens,
    VisitorPool,
)
from wixvisitor._web.headers import cookies_of
from wixvisitor._web.site_cookie import SiteCookie
from wixvisitor._web.visits import Visits
from wixvisitor.cookies import SealedCookie, SharedCookie
from wixvisitor.cookies._content import CookieContent
from wixvisitor.testing import FakeWix

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000
HOUR = 3600
ID = "i" * 43
MEMBER = RefreshToken("JWS." + "r" * 200, TokenRole.MEMBER)
HUGE = 40_000


def tokens_of(size: int, refresh_token: RefreshToken = MEMBER, end: float = NOW + 14_400) -> Tokens:
    return Tokens(AccessToken("x" * size, int(end)), refresh_token)


def pairs_of(headers: list[str]) -> dict[str, str]:
    return dict(header.partition(";")[0].split("=", 1) for header in headers)  # type: ignore[misc]


def read(cookie: SealedCookie, pairs: dict[str, str]) -> CookieContent:
    name = cookie.names(CLIENT_ID).first
    return cookie.read(pairs[name], CLIENT_ID, NOW, others={other: [value] for other, value in pairs.items()})


class Padding(httpx.AsyncBaseTransport):
    """A Wix whose access tokens have so many characters more."""

    def __init__(self, fake: FakeWix) -> None:
        self.characters = 0
        self._wix = fake.client()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._wix.send(request)
        if answer.status_code == 200:
            content = json.loads(await answer.aread())
            content["access_token"] += "x" * self.characters
            return httpx.Response(200, json=content)
        return answer


@pytest.fixture
def wix(still: FakeWix) -> Padding:
    return Padding(still)


@pytest.fixture
def visits_there(still, client_id, wix) -> Any:
    """Makes another process of a server whose Wix has large tokens."""

    def make(cookie: Any) -> Visits:
        client = httpx.AsyncClient(transport=wix)
        return Visits(VisitorPool(client_id, client=client, clock=still.now), cookie=cookie, consent=None, close=True)

    return make


# The cookies


@pytest.mark.parametrize("secure", [True, False])
@pytest.mark.parametrize("name", [None, "n" * 64])
def test_every_size(name, secure):
    """Up to some size the tokens come back whole, from cookies that browsers keep; from there on all are refused."""
    cookie = SealedCookie([KEY], name=name, secure=secure)
    counts, last = [], 0
    for size in range(1_000, 5_000, 7):
        try:
            headers = cookie.write_all(CookieContent(ID, tokens_of(size)), CLIENT_ID, NOW)
        except ConfigurationError:
            break
        pairs = pairs_of(headers)
        sizes = [len(f"{name}={value}") for name, value in pairs.items()]
        assert max(sizes) <= 4_096
        assert sum(sizes) <= 6_000
        assert read(cookie, pairs).tokens == tokens_of(size)
        counts.append(len(pairs))
        last = size
    assert counts == sorted(counts)
    assert set(counts) == {1, 2, 3}
    assert last > 3_700
    for size in range(last + 7, 5_000, 7):
        with pytest.raises(ConfigurationError, match=r"6000 in all.*IdCookie"):
            cookie.write_all(CookieContent(ID, tokens_of(size)), CLIENT_ID, NOW)


def test_parts_are_sealed_with_their_write():
    """Parts of another write, missing, changed or in another order are no access token, and the visitor stays."""
    cookie = SealedCookie([KEY])
    one, two = (pairs_of(cookie.write_all(CookieContent(ID, tokens_of(3_500)), CLIENT_ID, NOW)) for _ in range(2))
    name = cookie.names(CLIENT_ID).first
    assert list(one) == [name, f"{name}.1", f"{name}.2"]
    first, second = one[f"{name}.1"], one[f"{name}.2"]
    for wrong in (
        {f"{name}.1": two[f"{name}.1"]},
        {f"{name}.2": two[f"{name}.2"]},
        {f"{name}.1": two[f"{name}.1"], f"{name}.2": two[f"{name}.2"]},
        {f"{name}.1": second, f"{name}.2": first},
        {f"{name}.1": first[:-1] + "A"},
        {f"{name}.2": ""},
    ):
        content = read(cookie, one | wrong)
        assert content.key == ID
        assert content.tokens == Tokens(EMPTY_TOKENS.access_token, MEMBER)
    without = {other: value for other, value in one.items() if not other.endswith(".2")}
    assert read(cookie, without).tokens == Tokens(EMPTY_TOKENS.access_token, MEMBER)
    assert read(cookie, one).tokens == tokens_of(3_500)


def test_two_parts_of_one_name():
    """A further cookie with a part's name does not hide the right one."""
    cookie = SealedCookie([KEY])
    pairs = pairs_of(cookie.write_all(CookieContent(ID, tokens_of(3_500)), CLIENT_ID, NOW))
    name = cookie.names(CLIENT_ID).first
    others = {other: ["junk", value] for other, value in pairs.items()}
    assert cookie.read(pairs[name], CLIENT_ID, NOW, others=others).tokens == tokens_of(3_500)


def test_the_first_part_is_read_by_older_versions():
    """Alone it is what they read as well: the same visitor, to be renewed."""
    cookie = SealedCookie([KEY])
    pairs = pairs_of(cookie.write_all(CookieContent(ID, tokens_of(3_500)), CLIENT_ID, NOW))
    name = cookie.names(CLIENT_ID).first
    content = json.loads(cookie._sealer.open(pairs[name], (CLIENT_ID, name)))
    assert Tokens.from_dict(content["tokens"]) == Tokens(EMPTY_TOKENS.access_token, MEMBER)
    assert (content["id"], content["at"]) == (ID, NOW)


# Requests


async def test_a_login_with_large_tokens(visits_of, still, caplog):
    """They are split, come back whole in another process, and one warning names nginx's setting and the cure."""
    browser = Browser(visits_of(SealedCookie([KEY])))
    await browser.calls()
    large = tokens_of(3_500, end=still.now() + 4 * HOUR)
    await browser.sets(large)
    assert len(browser.jar) == 3
    for _ in range(2):
        assert (await browser.calls()) == (large, [])
        browser.visits = visits_of(SealedCookie([KEY]))
    await browser.sets(large)
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert [("proxy_buffer_size" in text, "IdCookie" in text) for text in said] == [(True, True)] * 2  # two processes


@pytest.mark.parametrize("after", ["smaller", "logout", "another login"])
async def test_a_write_removes_higher_parts(visits_of, still, visitor, member, after):
    """Parts that are not needed any more are removed with the answer that writes fewer."""
    browser = Browser(visits_of(SealedCookie([KEY])))
    await browser.sets(tokens_of(3_500, end=still.now() + 4 * HOUR))
    then = {"smaller": tokens_of(700, end=still.now() + 5 * HOUR), "logout": EMPTY_TOKENS, "another login": member}[
        after
    ]
    await browser.sets(then)
    assert len(browser.jar) == 1
    assert (await browser.visit().visitor()).get_tokens() == then


@pytest.mark.parametrize("form", ["sealed", "session", "wixSession"])
@pytest.mark.parametrize("is_ones_own", [True, False])
async def test_a_login_that_does_not_fit(visits_of, form, is_ones_own):
    """``set_tokens`` says so, names the cure, and nothing has changed."""
    browser = Browser(visits_of(COOKIES[form]()))
    known, _ = await browser.calls()
    jar = dict(browser.jar)
    huge = tokens_of(HUGE, known.refresh_token if is_ones_own else MEMBER)
    visit = browser.visit()
    visitor = await visit.visitor()
    for way in (visitor.set_tokens, visitor.generate_visitor_tokens):
        with pytest.raises(ConfigurationError, match=r"IdCookie.*Nothing was changed"):
            await way(huge)
    assert visitor.get_tokens() == known
    assert browser.answer(visit) == []
    assert browser.jar == jar
    assert (await browser.calls()) == (known, [])


async def test_a_refresh_token_that_does_not_fit(visits_of, still):
    """A login with a refresh token that no cookie keeps is refused before Wix is asked."""
    browser = Browser(visits_of(SealedCookie([KEY])))
    visitor = await browser.visit().visitor()
    with pytest.raises(ConfigurationError, match="Nothing was changed"):
        await visitor.renew_token(RefreshToken("r" * 4_000, TokenRole.MEMBER))
    assert still.calls == []


@pytest.mark.parametrize("form", ["sealed", "session", "wixSession"])
@pytest.mark.parametrize("is_new", [True, False], ids=["mint", "renewal"])
async def test_what_no_longer_fits(visits_there, wix, still, caplog, form, is_new):
    """A visitor whose new access token does not fit is kept by the refresh token alone, with one warning."""
    cookie = COOKIES[form]()
    browser = Browser(visits_there(cookie))
    wix.characters = HUGE if is_new else 0
    first, _ = await browser.calls()
    wix.characters = HUGE
    still.advance(5 * HOUR)
    for _ in range(3):
        tokens, cookies = await browser.calls()
        assert tokens.refresh_token == first.refresh_token
        assert len(tokens.access_token.value) > HUGE
        assert len(browser.jar) == 1
    assert cookies == []
    assert len(still.token_calls("refresh_token")) == 1
    browser.visits = visits_there(cookie)  # another process
    assert (await browser.calls())[0].refresh_token == first.refresh_token
    assert len(still.token_calls("refresh_token")) == 2
    assert len(still.visitors) == 1
    said = [record.getMessage() for record in caplog.records if "too large" in record.getMessage()]
    assert ["IdCookie" in text for text in said] == [True]
    wix.characters = 0
    still.advance(5 * HOUR)
    await browser.calls()
    assert browser.visits.read(browser.visit().request).content.tokens.access_token.value  # fits again


async def test_split_then_too_large(visits_there, wix, still):
    """A renewal that does not fit at all takes the parts away, and one that does brings them back."""
    browser = Browser(visits_there(SealedCookie([KEY])))
    counts = []
    for wix.characters in (2_800, HUGE, 2_800, 0):
        await browser.calls()
        counts.append(len(browser.jar))
        still.advance(5 * HOUR)
    assert counts == [3, 1, 3, 1]
    assert len(still.visitors) == 1


@pytest.mark.parametrize("damage", ["missing", "older", "junk"])
async def test_lost_parts_cost_a_renewal(visits_there, wix, still, damage):
    """A browser that lost a part, or kept one of an older write, is whole again after one renewal."""
    cookie = SealedCookie([KEY])
    wix.characters = 2_800
    browser = Browser(visits_there(cookie))
    first, _ = await browser.calls()
    old = dict(browser.jar)
    still.advance(5 * HOUR)
    await browser.calls()
    part = max(browser.jar)
    browser.jar[part] = {"missing": "", "older": old[part], "junk": "junk"}[damage]
    browser.visits = visits_there(cookie)
    tokens, cookies = await browser.calls()
    assert tokens.refresh_token == first.refresh_token
    assert len(cookies) == 3
    browser.visits = visits_there(cookie)
    assert (await browser.calls()) == (tokens, [])
    assert len(still.token_calls("refresh_token")) == 2
    assert len(still.visitors) == 1


@pytest.mark.parametrize("framework", ["starlette", "fastapi", "litestar", "quart", "django", "aiohttp"])
@pytest.mark.parametrize("form", ["sealed", "wixSession"])
async def test_no_500(open_shop, still, framework, form):
    """In each framework large tokens are accepted whole, or refused in the handler; the next request works."""
    async with open_shop(framework, cookie=form) as town, town.browsers() as browser:
        town.shop.member = tokens_of(2_000 if form == "wixSession" else 3_500, end=still.now() + 4 * HOUR)
        still.fail(404, path="/ecom/*", times=None)
        assert json.loads((await browser.get("/login")).text)["member"]
        assert len(browser.cookies) == (1 if form == "wixSession" else 3)
        assert json.loads((await browser.get("/cart")).text)["member"]
        town.shop.member = tokens_of(HUGE)
        assert (await browser.get("/login")).status_code == 500  # the handler's own: it did not catch the error
        assert json.loads((await browser.get("/looked")).text) == {"role": "member"}


def test_where_not_even_the_refresh_token_fits(client_id, caplog):
    """The answer goes out without a cookie, and the log has an error that names the cure."""
    site = SiteCookie(SharedCookie("session"), client_id, lambda: float(NOW))
    assert (
        site.write(
            site.read(""), CookieContent(ID, tokens_of(10, RefreshToken("r" * 5_000, TokenRole.VISITOR))), anew=True
        )
        == []
    )
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.ERROR]
    assert all("IdCookie" in record.getMessage() for record in caplog.records)


def test_the_refresh_token_alone_for_a_front_end(client_id):
    """A front end gets the end of the token that is missing as now: what ended long ago it takes for a lost visitor."""
    site = SiteCookie(SharedCookie("session"), client_id, lambda: float(NOW))
    (cookie,) = site.write(site.read(""), CookieContent(ID, tokens_of(HUGE)), anew=True)
    content = json.loads(unquote(cookie.partition(";")[0].partition("=")[2]))
    assert content["accessToken"] == {"value": "", "expiresAt": NOW}
    assert content["refreshToken"] == {"value": MEMBER.value, "role": "member"}


def test_what_a_browser_sends():
    """Each name's values are found once, in their order; what is no pair is skipped."""
    assert cookies_of('a=1; b="2"; a=3; a=1; c; =x; d=', "") == {"a": ["1", "3"], "b": ["2"], "": ["x"], "d": [""]}
    assert cookies_of('a="; b=""; ab =1;b=3', "a") == {"a": ['"'], "ab": ["1"]}
