"""Attacks on the login's routes. The client is a plain httpx client with a cookie jar, which knows nothing of the shop.

After each attack the victim is who they were before, Wix has exchanged no code that it should not, and the answer is a
page or a redirect within the site.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, quote, urljoin, urlsplit

import anyio
import httpx
import pytest

from tests.constants import CLIENT_ID, OTHER_CLIENT_ID
from tests.web.conftest import KEY, OTHER_KEY
from tests.web.logins import FRAMEWORKS, PASSWORD, Browser, Town, open_town
from wixvisitor._web.login_cookies import LoginCookies
from wixvisitor._web.login_rules import Pending
from wixvisitor._wire import members as wire
from wixvisitor.cookies import IdCookie

pytestmark = pytest.mark.anyio


@pytest.fixture(params=FRAMEWORKS)
async def town(request: pytest.FixtureRequest) -> AsyncIterator[Town]:
    async with open_town(request.param) as opened:
        yield opened


@pytest.fixture
async def victim(town: Town) -> AsyncIterator[Browser]:
    """A visitor with a cart."""
    async with town.browser() as browser:
        assert await browser.who() == "visitor1"
        yield browser


def refused(answer: httpx.Response, status: int = 400) -> None:
    """The answer is a page that says so, and no other site may show or store it."""
    assert answer.status_code == status, answer.text
    assert "text/html" in answer.headers["content-type"]
    assert "no-store" in answer.headers["cache-control"]
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def jar(browser: Browser) -> dict[str, str]:
    return {cookie.name: cookie.value or "" for cookie in browser.client.cookies.jar}


def put(browser: Browser, cookies: dict[str, str]) -> None:
    """Makes the browser send these cookies and no others."""
    browser.client.cookies.clear()
    browser.client.headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())


# Another browser, another login


async def test_login_csrf(town, victim):
    """An attacker's own callback, opened in the victim's browser, does not make the victim the attacker's member."""
    async with town.browser() as attacker:
        await attacker.who()
        address = town.wix.approve(await attacker.begins())
        refused(await victim.get(address, Sec_Fetch_Site="cross-site"))
    assert await victim.who() == "visitor1"
    assert town.wix.exchanges == 0


async def test_login_csrf_against_a_member(town, victim):
    """A member who opens an attacker's callback just goes on, as the member from before."""
    await victim.logs_in()
    async with town.browser() as attacker:
        answer = await victim.get(town.wix.approve(await attacker.begins()))
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert await victim.who() == "member1"


async def test_login_csrf_while_the_victim_logs_in(town, victim):
    """An attacker's callback in between does not end the victim's own login."""
    page = await victim.begins()
    async with town.browser() as attacker:
        refused(await victim.get(town.wix.approve(await attacker.begins())))
    await victim.get(town.wix.approve(page))
    assert await victim.who() == "member1"


async def test_a_stolen_callback(town, victim):
    """A callback's address is of no use in another browser, and is still good in the victim's."""
    address = town.wix.approve(await victim.begins())
    async with town.browser() as thief:
        refused(await thief.get(address))
        assert await thief.who() == "visitor2"
        refused(await thief.get(address))
        assert await thief.who() == "visitor2"
    assert town.wix.exchanges == 0
    await victim.get(address)
    assert await victim.who() == "member1"


async def test_a_stolen_callback_and_its_cookie(town, victim):
    """With the login's cookie, but as another visitor, the callback is still refused."""
    address = town.wix.approve(await victim.begins())
    (name,) = victim.logins
    async with town.browser() as thief:
        await thief.who()
        put(thief, {**jar(thief), name: jar(victim)[name]})
        refused(await thief.get(address))
        put(thief, {name: jar(victim)[name]})
        refused(await thief.get(address))
    assert town.wix.exchanges == 0
    assert await victim.who() == "visitor1"


async def test_an_id_that_the_attacker_knows(town, victim):
    """A visitor's cookie from before the login, planted or copied, is not the member."""
    known = jar(victim)
    await victim.logs_in()
    async with town.browser() as attacker:
        put(attacker, known)
        assert await attacker.who() == "visitor1"
    assert await victim.who() == "member1"


# Replays


async def test_a_replayed_callback(town, victim):
    """A callback that is opened again, by the back button for instance, leads on and asks Wix nothing."""
    address = town.wix.approve(await victim.begins())
    for location in ("/account", "/", "/"):
        answer = await victim.get(address)
        assert (answer.status_code, answer.headers["location"]) == (303, location)
    assert town.wix.exchanges == 1
    assert await victim.who() == "member1"


async def test_a_replayed_callback_after_the_logout(town, victim):
    """After a logout the same address does not log in."""
    address = town.wix.approve(await victim.begins())
    await victim.get(address)
    await victim.post("/auth/logout")
    refused(await victim.get(address))
    assert town.wix.exchanges == 1
    assert await victim.who() == "visitor2"


async def test_a_replayed_login_cookie(town, victim):
    """A copy of the login's cookie that comes back after the login changes nothing: the id is another one."""
    address = town.wix.approve(await victim.begins())
    (name,) = victim.logins
    copy = jar(victim)[name]
    await victim.get(address)
    member = jar(victim)
    put(victim, {**member, name: copy})
    assert (await victim.get(address)).headers["location"] == "/account"
    assert town.wix.exchanges == 1
    put(victim, member)
    assert await victim.who() == "member1"


async def test_a_replay_of_all_cookies(town, victim):
    """All cookies from before the callback, and its address: Wix refuses the code, and the copy stays a visitor."""
    address = town.wix.approve(await victim.begins())
    copy = jar(victim)
    await victim.get(address)
    async with town.browser() as thief:
        put(thief, copy)
        refused(await thief.get(address))
        assert await thief.who() == "visitor1"
    assert await victim.who() == "member1"


async def test_two_callbacks_at_the_same_time(town, victim):
    """A callback that is sent twice at once exchanges its code once; the browser is the visitor or the member."""
    address = town.wix.approve(await victim.begins())
    answers: list[httpx.Response] = []
    cookies = jar(victim)

    async def once() -> None:
        async with town.browser() as tab:
            put(tab, cookies)
            answers.append(await tab.get(address))

    async with anyio.create_task_group() as group:
        group.start_soon(once)
        group.start_soon(once)
    assert sorted(answer.status_code for answer in answers) == [303, 400]
    assert await victim.who() == "visitor1"  # its own jar saw no answer


# What is in the address


@pytest.mark.parametrize(
    "change",
    ["state=", "state=other", "code=", "-state", "-code", "+state=x", "+code=x", "+state", "x" * 5_000],
)
async def test_a_changed_callback(town, victim, change):
    """A wrong, missing or doubled state or code is no login."""
    page = await victim.begins()
    address = town.wix.approve(page)
    query = urlsplit(address).query
    fields = {name: values[0] for name, values in parse_qs(query).items()}
    if change.startswith("-"):
        query = "&".join(f"{name}={value}" for name, value in fields.items() if name != change[1:])
    elif change == "+state":
        query += f"&state={fields['state']}"
    elif change.startswith("+"):
        query += f"&{change[1:]}"
    elif "=" in change:
        name, _, value = change.partition("=")
        query = "&".join(f"{key}={value if key == name else old}" for key, old in fields.items())
    else:
        query = query.replace(fields["state"], change)
    refused(await victim.get(f"/auth/callback?{query}"))
    assert town.wix.exchanges == 0
    assert await victim.who() == "visitor1"


async def test_a_query_of_many_fields(town, victim):
    """A flood of parameters is no login, and no error."""
    refused(await victim.get("/auth/callback?" + "&".join(f"a{number}=1" for number in range(900))))
    refused(await victim.get("/auth/callback?" + "%00%ff&=&&;%" * 20))
    assert await victim.who() == "visitor1"


async def test_an_error_from_wix(town, victim):
    """A shopper who refused on Wix's page is the visitor from before. The page shows no text of the address."""
    page = await victim.begins()
    evil = "<script>alert(1)</script>\r\nSet-Cookie: a=b"
    answer = await victim.get(town.wix.approve(page, error="access_denied", error_description=evil))
    refused(answer)
    assert "alert" not in answer.text
    assert "/auth/login?next=%2Faccount" in answer.text
    assert victim.logins == []
    assert town.wix.exchanges == 0
    assert await victim.who() == "visitor1"


async def test_a_forged_error(town, victim):
    """An error with a made-up state does not end the victim's login."""
    page = await victim.begins()
    refused(await victim.get("/auth/callback?error=access_denied&state=made-up"))
    await victim.get(town.wix.approve(page))
    assert await victim.who() == "member1"


async def test_a_silent_login(town, victim):
    """Without a page, Wix's refusal is no error: the browser goes on as the visitor. Its success is a login."""
    page = await victim.begins("/auth/login?prompt=none&next=/thanks")
    answer = await victim.get(town.wix.approve(page, error="login_required"))
    assert (answer.status_code, answer.headers["location"]) == (303, "/thanks")
    assert await victim.who() == "visitor1"
    assert town.wix.bodies("/_api/redirects-api/v1/redirect-session")[-1]["auth"]["prompt"] == "none"
    await victim.logs_in("/auth/login?prompt=none&next=/thanks")
    assert await victim.who() == "member1"


async def test_a_silent_login_during_an_outage(town, victim):
    """If Wix cannot be asked at its beginning or its end, or it took too long, the browser goes on as the visitor."""
    silent = "/auth/login?prompt=none&next=/thanks"
    town.wix.answers[wire.REDIRECT_PATH] = lambda _: httpx.Response(503)
    answers = [await victim.get(silent)]
    town.wix.answers.clear()
    address = town.wix.approve(await victim.begins(silent))
    town.wix.answers["/oauth2/token"] = lambda _: httpx.Response(503)
    answers.append(await victim.get(address))
    town.wix.answers.clear()
    address = town.wix.approve(await victim.begins(silent))
    town.now += 1_801
    answers.append(await victim.get(address))
    assert [(answer.status_code, answer.headers.get("location")) for answer in answers] == [(303, "/thanks")] * 3
    assert await victim.who() == "visitor1"
    assert victim.logins == []


async def test_a_login_that_took_too_long(town, victim):
    """A callback after more than 30 minutes is refused, and a member just goes on."""
    address = town.wix.approve(await victim.begins())
    town.now += 1_801
    refused(await victim.get(address))
    assert town.wix.exchanges == 0
    assert await victim.who() == "visitor1"
    assert victim.logins == []


# The login's cookie


async def test_the_cookie_of_a_login(town, victim):
    """It is bound to the host, out of scripts' reach, Lax, for 30 minutes, at most 1 KiB, and shows no secret."""
    answer = await victim.get(f"/auth/login?next=/{'a' * 399}")
    (header,) = [one for one in answer.headers.get_list("set-cookie") if "wixvisitor-login" in one]
    pair, _, attributes = header.partition("; ")
    is_https = town.origin.startswith("https")
    assert pair.startswith("__Host-") == is_https
    assert attributes == f"Path=/; {'Secure; ' if is_https else ''}HttpOnly; SameSite=Lax; Max-Age=1800"
    assert 800 < len(pair) <= 1_024
    (state,) = parse_qs(urlsplit(answer.headers["location"]).query)["state"]
    assert state not in header
    assert state[:12] not in header


async def test_at_most_three_logins(town, victim):
    """A fourth login ends the oldest. So a page that begins logins in the background fills no jar."""
    pages = []
    for _ in range(5):
        pages.append(await victim.begins())
        town.now += 1
        assert len(victim.logins) <= 3
    refused(await victim.get(town.wix.approve(pages[0])))
    refused(await victim.get(town.wix.approve(pages[1])))
    assert len(victim.logins) == 3
    await victim.get(town.wix.approve(pages[3]))
    assert await victim.who() == "member1"


async def test_a_changed_login_cookie(town, victim):
    """A changed, cut off or foreign cookie is none, and makes no error page."""
    address = town.wix.approve(await victim.begins())
    (name,) = victim.logins
    good = jar(victim)
    value = good[name]
    for wrong in ("", "1", value[:-1], value[:-1] + ("A" if value[-1] != "A" else "B"), "x" * 6_000, "1.2.3", "%00"):
        put(victim, {**good, name: wrong})
        refused(await victim.get(address))
    assert town.wix.exchanges == 0
    put(victim, good)
    await victim.get(address)
    assert town.wix.exchanges == 1


async def test_swapped_login_cookies(town, victim):
    """Each login's cookie opens under its own name only."""
    first = town.wix.approve(await victim.begins())
    second = town.wix.approve(await victim.begins("/auth/login?next=/other"))
    one, other = victim.logins
    cookies = jar(victim)
    put(victim, {**cookies, one: cookies[other], other: cookies[one]})
    for address in (first, second):
        refused(await victim.get(address))
    assert town.wix.exchanges == 0


async def test_one_kind_of_cookie_in_the_place_of_another(town, victim):
    """A visitor's cookie is no login's, and a login's cookie is no visitor, though the keys are the same."""
    address = town.wix.approve(await victim.begins())
    (login,) = victim.logins
    cookies = jar(victim)
    (visitor,) = set(cookies) - {login}
    put(victim, {visitor: cookies[visitor], login: cookies[visitor]})
    refused(await victim.get(address))
    put(victim, {visitor: cookies[login], login: cookies[login]})
    refused(await victim.get(address))
    assert await victim.who() == "visitor2"
    assert town.wix.exchanges == 0


async def test_a_flood_of_login_cookies(town, victim):
    """Junk under our cookies' names is removed, a few at a time, and a login works all the same."""
    await victim.begins()
    prefix = victim.logins[0][:-12]
    junk = {f"{prefix}{number:012x}": "1.junk" for number in range(40)}
    headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in (jar(victim) | junk).items())}
    answer = await victim.client.get("/auth/login", headers=headers)
    assert answer.status_code == 303
    assert sum(len(header) for header in answer.headers.get_list("set-cookie")) < 3_000


# Where a login leads

TRICKS = [
    *("https://evil.example", "//evil.example", "///evil.example", "////evil.example", "/\\evil.example"),
    *("\\\\evil.example", "/\\/evil.example", "\\/evil.example", "/\t/evil.example", "/\n/evil.example"),
    *("\t//evil.example", "/\r/evil.example", "http:evil.example", "https:/evil.example", "javascript:alert(1)"),
    *("data:text/html,x", "evil.example", "@evil.example", "", " //evil.example", "/%2F/evil.example"),
    *("/%2f%2fevil.example", "/%5Cevil.example", "/%5c%5cevil.example", "/%252Fevil.example/", "/%255cevil.example"),
    *("/.//evil.example", "/..//evil.example", "/x/..//evil.example", "/./%2e/", "/%2e%2e//evil.example"),
    *("/%09/evil.example", "/%0d%0aLocation:%20https://evil.example", "/a\r\nSet-Cookie: a=b", "/\x00/evil.example"),
    *("/\u2028/evil.example", "/\x85/evil.example", "//evil.example/%2f..", "/auth/login", "/auth/callback?code=1"),
    *("/auth/logout", "/auth/login/", "/a//evil.example", "/" + "a" * 5_000, "https:evil.example", "//[::1]/", "/%"),
    *("/\uff0fevil.example", "/\u3000/evil.example", "/%E2%80%AE", "/;@evil.example", "/@evil.example", "?x=//evil"),
]


@pytest.mark.parametrize("trick", TRICKS)
async def test_open_redirects(trick):
    """Whatever ``next`` is, the browser stays on this site, and is not sent to the login's routes."""
    async with open_town(forms=True, login_page="/sign-in") as town, town.browser() as browser:
        given = quote(trick, safe="", errors="surrogatepass")
        back = await browser.logs_in(f"/auth/login?next={given}")
        asked = await browser.get(f"/auth/login?required=1&next={given}")
        sought = parse_qs(urlsplit(asked.headers["location"]).query)["next"][0]
        out = await browser.post(f"/auth/logout?next={given}")
        wixs = parse_qs(urlsplit(out.headers["location"]).query)["to"][0]
        again = await browser.post(f"/auth/logout?next={given}")
    for answer in (back, asked, again):
        assert answer.status_code == 303
        assert {"a", "Location:"} & set(answer.headers) == set()
    for location in (back.headers["location"], sought, wixs, again.headers["location"]):
        lands = urlsplit(urljoin("https://shop.example/auth/callback", location.replace("\\", "/")))
        assert (lands.scheme, lands.netloc) == ("https", "shop.example")
        assert lands.path.rstrip("/") not in ("/auth/login", "/auth/callback", "/auth/logout")
        assert location.isascii()
        assert location.isprintable()


@pytest.mark.parametrize("good", ["/", "/account", "/search?q=a%20b&u=https://x//y", "/käse", "/a#b", "/p/1;v=2"])
async def test_good_targets(good):
    """An ordinary path with its query is where the login leads."""
    async with open_town() as town, town.browser() as browser:
        back = await browser.logs_in(f"/auth/login?next={quote(good, safe='')}")
        assert back.headers["location"] == quote(good, safe="/?=&%:#;")


async def test_a_host_header_that_lies(town, victim):
    """No header changes the address to which Wix sends the browser, or the pages that may post."""
    lies = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X_Forwarded_Proto": "http"}
    await victim.get("/auth/login?redirect_uri=https://evil.example/", **lies)
    (asked,) = town.wix.bodies("/_api/redirects-api/v1/redirect-session")
    assert asked["auth"]["authRequest"]["redirectUri"] == town.redirect_uri
    await victim.logs_in()
    refused(await victim.post("/auth/logout", Origin="https://evil.example", **lies), 403)
    assert await victim.who() == "member1"


# Requests that no shopper has made


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Purpose": "prefetch"},
        {"Sec_Purpose": "prefetch;prerender"},
        {"Purpose": "prefetch"},
        {"X_Moz": "prefetch"},
    ],
)
async def test_a_prefetch(town, victim, headers):
    """A page that is loaded ahead begins no login, makes no visitor, and uses up no callback."""
    address = town.wix.approve(await victim.begins())
    async with town.browser() as other:
        answer = await other.get("/auth/login", **headers)
        assert answer.status_code == 503
        assert "noindex" in answer.headers["x-robots-tag"]
        assert not other.logins
    assert (await victim.get(address, **headers)).status_code == 503
    assert town.wix.visitors == 1
    await victim.get(address)
    assert await victim.who() == "member1"


@pytest.mark.parametrize("destination", ["image", "iframe", "script", "empty"])
async def test_a_login_in_the_background_of_another_site(town, victim, destination):
    """Another site's page cannot begin logins as images, scripts or frames."""
    headers = {"Sec_Fetch_Dest": destination, "Sec_Fetch_Site": "cross-site"}
    refused(await victim.get("/auth/login", **headers), 403)
    async with town.browser() as other:
        refused(await other.get("/auth/login", **headers), 403)
    assert town.wix.visitors == 1
    assert victim.logins == []


@pytest.mark.parametrize("method", ["HEAD", "PUT", "OPTIONS", "POST"])
async def test_another_method(town, victim, method):
    """Only a GET begins a login, and only a GET ends one; the answer says so."""
    calls = len(town.wix.calls)
    for path in ("/auth/login", "/auth/callback?code=1&state=2"):
        answer = await victim.client.request(method, path, headers={"Origin": town.origin})
        assert answer.status_code == 405
        assert {"GET"} <= set(answer.headers["allow"].replace(" ", "").split(",")) <= {"GET", "HEAD"}
    assert len(town.wix.calls) == calls


ELSEWHERE: list[dict[str, Any]] = [
    {"Origin": "https://evil.example", "Sec_Fetch_Site": "cross-site"},
    {"Origin": "https://evil.example", "Sec_Fetch_Site": ""},
    {"Origin": "https://evil.example", "Sec_Fetch_Site": "same-origin"},
    {"Origin": "https://cdn.shop.example", "Sec_Fetch_Site": "same-site"},
    {"Origin": "https://shop.example.evil.example", "Sec_Fetch_Site": ""},
    {"Origin": "https://shop.example:8443", "Sec_Fetch_Site": ""},
    {"Origin": "http://shop.example", "Sec_Fetch_Site": ""},
    {"Origin": "null", "Sec_Fetch_Site": ""},
    {"Origin": "null", "Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site"},
    {"Origin": "", "Sec_Fetch_Site": "same-site"},
    {"Origin": "", "Sec_Fetch_Site": "none"},
    {"Origin": "", "Sec_Fetch_Site": ""},
]


@pytest.mark.parametrize("headers", ELSEWHERE)
async def test_a_logout_from_elsewhere(town, victim, headers):
    """Another site's page, a subdomain's page, and what is no browser cannot log a member out."""
    await victim.logs_in()
    refused(await victim.post("/auth/logout", **headers), 403)
    assert await victim.who() == "member1"


async def test_a_logout_by_a_link(town, victim):
    """A GET does not log out."""
    await victim.logs_in()
    assert (await victim.get("/auth/logout")).status_code == 405
    assert await victim.who() == "member1"


async def test_a_page_without_referrer(town, victim):
    """A page of the site with ``Referrer-Policy: no-referrer`` sends ``Origin: null``, and may log out."""
    await victim.logs_in()
    assert (await victim.post("/auth/logout", Origin="null")).status_code == 303
    assert await victim.who() == "visitor2"


async def test_a_flood_of_logins():
    """Logins of browsers without a cookie make no more visitors than ``new_visitors_per_minute`` allows."""
    async with open_town(new_visitors_per_minute=2) as town:
        statuses = []
        for _ in range(5):
            async with town.browser() as browser:
                answer = await browser.get("/auth/login")
                statuses.append(answer.status_code)
        assert statuses == [303, 303, 503, 503, 503]
        assert int(answer.headers["retry-after"]) > 0
        assert town.wix.visitors == 2


# Cookies of elsewhere, and secrets


@pytest.mark.parametrize(
    ("key", "site", "path"),
    [
        (OTHER_KEY, CLIENT_ID, "/auth/callback"),
        (KEY, OTHER_CLIENT_ID, "/auth/callback"),
        (KEY, CLIENT_ID, "/other/callback"),
        (KEY, CLIENT_ID, "/auth/callback"),
    ],
)
async def test_a_login_that_another_site_sealed(key, site, path):
    """A login's cookie of other keys, another site or another callback does not open; nor one of another visitor."""
    async with open_town() as town, town.browser() as victim:
        page = await victim.begins()
        (state,) = parse_qs(urlsplit(page).query)["state"]
        (name,) = victim.logins
        pending = Pending(int(town.now), "o" * 32, state, "v" * 43, "/")
        cookies = LoginCookies(IdCookie([key]), None, site, town.origin + path)
        forged = cookies.begin("", pending, town.now)[0].partition(";")[0].partition("=")[2]
        put(victim, {**jar(victim), name: forged})
        answer = await victim.get(town.wix.approve(page))
        refused(answer)
        is_open = (key, site, path) == (KEY, CLIENT_ID, "/auth/callback")
        assert ("out of date" if is_open else "did not begin in this browser") in answer.text
        assert town.wix.exchanges == 0


async def test_secrets_of_a_login(caplog):
    """Code, state, verifier and tokens are in no log line, page or cookie."""
    caplog.set_level(logging.DEBUG)
    async with open_town() as town, town.browser() as browser:
        answer = await browser.get("/auth/login?next=/account")
        cookies = answer.headers.get_list("set-cookie")
        address = town.wix.approve(answer.headers["location"])
        town.wix.answers["/oauth2/token"] = lambda request: httpx.Response(400, text=request.content.decode())
        answer = await browser.get(address)
        refused(answer)
        (exchange,) = [body for body in town.wix.bodies("/oauth2/token") if body["grantType"] == "authorization_code"]
    (state,) = parse_qs(urlsplit(address).query)["state"]
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("wixvisitor"))
    for secret in (exchange["code"], exchange["codeVerifier"], state, "JWS.visitor1"):
        assert secret not in answer.text
        assert secret not in ours
        assert secret not in "".join(cookies)


async def test_where_a_login_leads_shows_no_secret(town, victim, caplog):
    """No address, page, cookie or log line of a whole login, a checkout's silent login and a logout holds a secret."""
    caplog.set_level(logging.DEBUG)
    answers = [await victim.get("/auth/login?next=/account")]
    address = town.wix.approve(answers[0].headers["location"])
    answers.append(await victim.get(address))
    answers.append(await victim.get("/auth/login?prompt=none&next=/thanks"))
    silent = town.wix.approve(answers[-1].headers["location"])
    answers += [await victim.get(silent), await victim.post("/auth/logout", {})]
    assert [answer.status_code // 100 for answer in answers] == [3] * 5
    exchanges = [body for body in town.wix.bodies("/oauth2/token") if body["grantType"] == "authorization_code"]
    assert len(exchanges) == 2
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("wixvisitor"))
    shown = ours + "".join(f"{answer.text} {answer.headers.multi_items()}" for answer in answers)
    for exchange in exchanges:
        assert exchange["code"] not in shown
        assert exchange["codeVerifier"] not in shown
    assert "JWS." not in shown


@pytest.mark.parametrize("framework", ["fastapi", "asgi"])
async def test_no_frame_holds_a_password_or_a_code(framework):
    """An unexpected error leaves no password, code or verifier in a frame or in the error's text."""

    def broken(_: httpx.Request) -> httpx.Response:
        raise ZeroDivisionError

    async with open_town(framework, forms=True, login_page="/sign-in") as town, town.browser() as browser:
        await browser.who()
        address = town.wix.approve(await browser.begins())
        town.transport.raise_app_exceptions = True
        town.wix.answers |= {wire.LOGIN_PATH: broken, wire.REDIRECT_PATH: broken}
        form = {"email": "anna@example.com", "password": PASSWORD}
        shown = []
        for act in (lambda: browser.post("/auth/login", form), lambda: browser.get("/auth/login")):
            with pytest.raises(ZeroDivisionError) as caught:
                await act()
            shown.append(_frames(caught.value))
        town.wix.answers.clear()
        town.fails = True
        with pytest.raises(ZeroDivisionError) as caught:
            await browser.get(address)
        shown.append(_frames(caught.value))
        (exchange,) = [body for body in town.wix.bodies("/oauth2/token") if body["grantType"] == "authorization_code"]
    for text in shown:
        for secret in (PASSWORD, exchange["code"], exchange["codeVerifier"], "JWS.visitor1"):
            assert secret not in text


def _frames(error: BaseException) -> str:
    """What an error reporter shows of our own frames, and of the error."""
    texts, trace = [repr(error)], error.__traceback__
    while trace is not None:
        if "/wixvisitor/" in trace.tb_frame.f_code.co_filename:
            texts += [f"{name}={value!r}" for name, value in trace.tb_frame.f_locals.items()]
        trace = trace.tb_next
    return "\n".join(texts)
