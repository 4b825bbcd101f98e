"""Attacks on the login's routes with curl, on real servers over TLS. ``attacked.py`` says what has to hold after each.

curl is a browser of its own kind: another HTTP client and cookie engine than those of Python. Where an answer leads,
Node says, whose parser is that of the URL standard.
"""

from __future__ import annotations

from urllib.parse import quote

import anyio
import pytest

from tests.constants import CLIENT_ID
from tests.web.conftest import OTHER_KEY
from wixvisitor._wire import members as wire

from .attacked import SITE, WIX, refused, with_header
from .real_shops import WORDS, open_shop

pytestmark = [pytest.mark.interop, pytest.mark.anyio]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# Where a login leads

RAW = [  # as they stand in the request line
    *("//evil.example", "/\\evil.example", "\\\\evil.example", "/%5cevil.example", "/%5C/evil.example"),
    *("/%09/evil.example", "%09//evil.example", "/%0a/evil.example", "/%0d%0aLocation:%20https://evil.example/"),
    *("https:evil.example", "https:/evil.example", "HTTPS://evil.example", "%68ttps://evil.example", "//evil.example@"),
    *("%2f%2fevil.example", "/%2fevil.example", "/%252fevil.example", "/%25252fevil.example", "/%25%32%66evil.example"),
    *("/%ef%bc%8fevil.example", "%ef%bc%8f%ef%bc%8fevil.example", "/%e2%88%95evil.example", "/%e2%81%84evil.example"),
    *("/%c0%afevil.example", "/%c1%9cevil.example", "/%e0%80%afevil.example", "/%ff/evil.example", "/\xff/evil"),
    *(
        "%ef%bb%bf//evil.example",
        "/%e3%80%82evil.example",
        "/%e2%80%ae//evil",
        "/%00//evil.example",
        "%00//evil.example",
    ),
    *("/.//evil.example", "/%2e//evil.example", "/..%2f/evil.example", "/;//evil.example", "/x/%2e%2e//evil.example"),
    *("/a&next=//evil.example", "//evil.example&next=/a", "/a%26next=//evil.example", "?next=//evil", "%3f//evil"),
    *("javascript:alert(1)", "%6aavascript:alert(1)", "data:text/html,x", "/%u002f/evil.example", "/+/evil.example"),
    *("+//evil.example", "%20//evil.example", "%C2%A0//evil.example", "%E3%80%80//evil.example", "/auth/logout"),
]


async def test_open_redirects(shop):
    """Whatever stands in ``next``, logins and logouts lead to this site, by the URL standard's own parser."""
    curl = shop.shop.browser()
    replies = await curl.send_all(*([f"/auth/login?next={raw}&required=1", *WORDS] for raw in RAW))
    replies += await curl.send_all(*([f"/auth/logout?next={raw}", *SITE, "-X", "POST"] for raw in RAW))
    for reply in replies:  # the fixture looks at where they lead
        assert reply.status in (303, 400), reply  # 400: the server itself refuses such a request line
    assert sum(reply.status == 303 for reply in replies) > len(RAW)
    for raw in RAW[:40:4]:
        given = quote(raw, safe="%")
        await curl.send(await shop.shop.approved(curl, f"/auth/login?next={given}"), *WORDS)
        shop.exchanges += 1
        out = await curl.send(f"/auth/logout?next={given}", *SITE, body=b"")
        assert out.get("location").startswith(f"{WIX}/logout?")


async def test_next_in_other_places(shop):
    """No field but ``next`` says where a login leads: not one in a path, fragment, header or array."""
    curl = shop.shop.browser()
    evil = "https://evil.example/"
    names = ("next[]", "NEXT", "next%00", "redirect_uri", "return_to", "original_uri", "post_login", "callbacks", "idp")
    for name in names:
        await shop.shop.begins(curl, f"/auth/login?{name}={evil}")
    lies = with_header(f"Referer: {evil}", f"X-Original-URL: {evil}", f"X-Rewrite-URL: {evil}", f"Location: {evil}")
    await shop.shop.begins(curl, "/auth/login", *lies)
    for body in shop.wix.bodies(wire.REDIRECT_PATH):
        request = body["auth"]["authRequest"]
        assert (request["redirectUri"], request.get("idp")) == (shop.town.redirect_uri, None)


# The request line and the headers of a proxy

TARGETS = [
    *(
        "https://evil.example/auth/login",
        "http://evil.example/auth/callback?code=1&state=2",
        "//evil.example/auth/login",
    ),
    *("/auth//login", "//auth/login", "/auth/./login", "/auth/x/../login", "/%61uth/login", "/auth/%6cogin"),
    *(
        "/auth%2flogin",
        "/auth/login/",
        "/auth/login;x=1",
        "/AUTH/login",
        "/auth\\login",
        "/auth/login%00",
        "/auth/login%0d%0a",
    ),
    *("*", "auth/login", "/auth/login#//evil", "/auth/callback/..;/login", "/auth/login?" + "a=1&" * 300, "/\xff\xfe"),
]


async def test_request_targets(shop):
    """Absolute, doubled, encoded and broken targets are an answer, and name no other address to Wix."""
    options = [*WORDS, "-H", "Origin: https://evil.example"]
    given = [[target, "-X", method, *options] for target in TARGETS for method in ("GET", "POST", "OPTIONS")]
    assert len(await shop.shop.browser().send_all(*given)) == len(given)


LIES = with_header(
    *("X-Forwarded-Host: evil.example", "X-Forwarded-Proto: http", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Port: 1"),
    *(
        "X-Forwarded-Prefix: //evil.example",
        "Forwarded: host=evil.example;proto=http",
        "X-Forwarded-Scheme: javascript",
    ),
    *("X-Forwarded-Server: evil.example", "X-Host: evil.example", "X-Original-Host: evil.example"),
    *(
        "X-HTTP-Method-Override: POST",
        "X-Method-Override: POST",
        "X-HTTP-Method: POST",
        "X-Script-Name: //evil.example",
    ),
)


async def test_headers_that_lie_about_the_host(shop):
    """Neither ``Host`` nor a proxy's headers change the callback, the cookie's attributes, or whose pages may post."""
    evil = "evil.example"
    for host in (evil, f"{shop.origin.removeprefix('https://')}@{evil}", "", "[::1", "a b", "\xff", f"{evil}:99999"):
        curl = shop.shop.browser()
        reply = await curl.send("/auth/login?next=/a", *WORDS, *LIES, "-H", f"Host: {host}" if host else "Host;")
        if reply.status == 303:
            assert all(
                "; Secure; HttpOnly; SameSite=Lax" in cookie for cookie in reply.all("set-cookie") if "login" in cookie
            )
        for origin in (f"https://{evil}", "null"):
            given = [*LIES, "-H", f"Host: {host}" if host else "Host;", "-H", f"Origin: {origin}"]
            refused(await shop.ben.send("/auth/logout", *given, body=b"", keeps=False))


async def test_a_method_in_a_header(shop):
    """A GET with another method in its headers or query does not log out."""
    for target in ("/auth/logout", "/auth/logout?_method=POST"):
        refused(await shop.ben.send(target, *LIES, *WORDS, keeps=False), 405)


# The callback


async def test_a_stolen_callback(shop):
    """Another browser gets nothing for the address: not alone, and not with Anna's login cookie."""
    thief = shop.shop.browser()
    assert await shop.shop.who(thief) == "visitor3"
    refused(await thief.send(shop.address, *WORDS))
    login = {name: value for name, value in shop.anna.cookies().items() if "-login-" in name}
    for header in (thief.header(**login), "; ".join(f"{name}={value}" for name, value in login.items())):
        refused(await thief.send(shop.address, *WORDS, cookies=header))
    assert await shop.shop.who(thief) == "visitor3"


async def test_a_foreign_callback(shop):
    """The attacker's own callback makes neither Anna nor Ben the attacker's member; Ben just goes on."""
    attacker = shop.shop.browser()
    foreign = await shop.shop.approved(attacker)
    refused(await shop.anna.send(foreign, *WORDS))
    assert (await shop.ben.send(foreign, *WORDS)).get("location") == "/"


async def test_tossed_cookies(shop):
    """The attacker's cookies before and after the shopper's own, as a sibling domain tosses them, log nobody in."""
    attacker = shop.shop.browser()
    foreign = await shop.shop.approved(attacker)
    login = next(f"{name}={value}" for name, value in attacker.cookies().items() if "-login-" in name)
    bare = login.removeprefix("__Host-")
    for shopper in (shop.anna, shop.ben):
        for tossed in (
            attacker.header(),
            login,
            bare,
            f"__Secure-{bare}",
            login.lower(),
            f'{login.replace("=", "=" + chr(34), 1)}"',
        ):
            for header in (f"{tossed}; {shopper.header()}", f"{shopper.header()}; {tossed}"):
                reply = await shopper.send(foreign, *WORDS, cookies=header)
                going_on = shopper is shop.ben and reply.status == 303 and reply.get("location") in ("/", "/account")
                assert going_on or refused(reply) is None


async def test_a_replayed_callback(shop):
    """The address and all cookies of a login that has ended log nobody in: Wix takes its code once."""
    carl = shop.shop.browser()
    address = await shop.shop.approved(carl)
    before = carl.header()
    assert (await carl.send(address, *WORDS)).get("location") == "/account"
    for _ in range(2):
        refused(await shop.shop.browser().send(address, *WORDS, cookies=before))
    shop.exchanges += 3
    assert await shop.shop.who(carl) == "member2"


async def test_two_callbacks_at_once(shop):
    """Of ten copies of a callback that are sent at once, one logs in."""
    curl = shop.shop.browser()
    address = await shop.shop.approved(curl)
    cookies, found = curl.header(), []

    async def once() -> None:
        found.append(await shop.shop.browser().send(address, *WORDS, cookies=cookies))

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(once)
    ends = sorted(reply.get("location") for reply in found)
    assert ends.count("/account") == 1
    assert all("error=refused" in location for location in ends if location != "/account")
    shop.exchanges = shop.wix.exchanges


async def test_a_callback_by_another_method(shop):
    """HEAD, POST and the like use up no callback, and neither do pages that are loaded ahead or in the background."""
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"):
        options = ["-X", method, *with_header(f"Origin: {shop.origin}"), *SITE]
        refused(await shop.anna.send(shop.address, *options, keeps=False), 400, 404, 405)
    refused(await shop.anna.send(shop.address, "-I", keeps=False), 404, 405)
    for ahead in ("Sec-Purpose: prefetch", "Sec-Purpose: PREFETCH;prerender", "Purpose: preview", "X-Moz: prefetch"):
        assert (await shop.anna.send(shop.address, *WORDS, "-H", ahead, keeps=False)).status == 503
    assert any("-login-" in name for name in shop.anna.cookies())


async def test_a_forged_state(shop):
    """States that are made up, cut off, doubled, encoded twice or very long end no login."""
    code, state = shop.code, shop.state
    for forged in (
        state[:-1],
        state + "x",
        state.lower(),
        state.upper(),
        "",
        "%00",
        quote(quote(state + "=")),
        "x" * 4000,
    ):
        refused(await shop.anna.send(f"/auth/callback?code={code}&state={forged}", *WORDS, keeps=False))
    for query in (
        f"code={code}",
        f"state={state}&state={state}&code={code}",
        f"code={code}&state[]={state}",
        "",
        "&&&=;",
    ):
        refused(await shop.anna.send(f"/auth/callback?{query}", *WORDS, keeps=False))


async def test_an_expired_login(shop):
    """After more than 30 minutes the callback is refused, also with a cookie that the browser should have dropped."""
    shop.town.now += 1_801
    reply = await shop.anna.send(shop.address, *WORDS, keeps=False)
    assert "error=expired" in reply.get("location")


# Cookies


async def test_forged_cookies(shop):
    """Changed, swapped, foreign, doubled and oversize cookies are none. A flood of them is an answer, too."""
    login, visitor = sorted(shop.anna.cookies(), key=lambda name: "-login-" not in name)
    own = shop.anna.cookies()
    changed = own[login][:-2] + ("AA" if own[login][-2:] != "AA" else "BB")
    junk = "; ".join(f"{login[:-12]}{number:012x}=1.{number}" for number in range(60))
    for header in (
        *(f"{visitor}={own[visitor]}; {login}={value}" for value in ("", "1", changed, own[visitor], "x" * 3_900)),
        f"{visitor}={own[login]}; {login}={own[login]}",
        f"{visitor}={own[visitor]}; {login.upper()}={own[login]}",
        f"{visitor}={own[visitor]}; {junk}",
        "; ".join(f"a{number}={'y' * 4_000}" for number in range(30)),
        "\x01=\x02; =; ;;; \xff=\xfe; " + login,
    ):
        reply = await shop.anna.send(shop.address, *WORDS, cookies=header)
        refused(reply, 0, 400, 431)  # 0: a server may hang up while too long a header is still being sent


async def test_cookies_of_another_key(shop, tmp_path):
    """Cookies that a shop with another key has sealed, for the same site, are none here."""
    other = tmp_path / "other"
    other.mkdir()
    async with open_shop("fastapi", other, keys=[OTHER_KEY]) as elsewhere:
        curl = elsewhere.browser()
        await elsewhere.approved(curl)
        login = next(value for name, value in curl.cookies().items() if "-login-" in name)
    name = next(name for name in shop.anna.cookies() if "-login-" in name)
    refused(await shop.anna.send(shop.address, *WORDS, cookies=shop.anna.header(**{name: login})), 303)
    assert CLIENT_ID not in login
