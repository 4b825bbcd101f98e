"""The shared cookie as front ends and frameworks write it: what a browser's JavaScript reads is read here, too."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import quote, quote_plus

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.constants import CLIENT_ID
from tests.web.conftest import COOKIES, anyio_backend, open_shop  # noqa: F401 - the last two are fixtures
from wixvisitor import AccessToken, RefreshToken, TokenRole, Tokens
from wixvisitor._web.headers import cookies_of
from wixvisitor.cookies import SharedCookie, Unreadable

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000
END = NOW + 14_400
NAMES = ("wixSession", "session", "wix-session")
TOKENS = Tokens(AccessToken("OauthNG.JWS.a.b.c", END), RefreshToken("JWS.d.e.f", TokenRole.VISITOR))


def uri_component(text: str) -> str:
    return quote(text, safe="!~*'()")


def by_python(text: str) -> str:
    """What ``set_cookie`` of Starlette and Flask sends."""
    cookie = SimpleCookie()
    cookie["x"] = text
    return cookie["x"].coded_value


def by_js_cookie(text: str) -> str:
    """What js-cookie writes: the characters that a cookie's value may hold stay as they are."""
    return quote(text, safe="!~*'()#$&+:<>=/?@[]^`{}|")


SPELLINGS: dict[str, Callable[[str], str]] = {
    "encodeURIComponent": uri_component,
    "encodeURI": lambda text: quote(text, safe="!~*'();/?:@&=+$,#"),
    "not at all": str,
    "in quotes": lambda text: f'"{text}"',
    "twice": lambda text: uri_component(uri_component(text)),
    "three times": lambda text: uri_component(uri_component(uri_component(text))),
    "lower case": lambda text: uri_component(text).replace("%2C", "%2c").replace("%3A", "%3a"),
    "encoded, in quotes": lambda text: f'"{uri_component(text)}"',
    "js-cookie": by_js_cookie,
    "JSON.stringify twice": lambda text: uri_component(json.dumps(text)),
    "JSON.stringify twice, not encoded": json.dumps,
    "Express": lambda text: uri_component(f"j:{text}"),
    "Python's http.cookies": by_python,
    "Python's http.cookies, encoded": lambda text: by_python(uri_component(text)),
    "a form's field": lambda text: quote_plus(json.dumps(json.loads(text))),
    "with spaces": lambda text: json.dumps(json.loads(text), indent=2).replace("\n", " "),
    "escaped": lambda text: uri_component(text.replace("JWS", "\\u004aWS").replace("/", "\\/")),
}


def content(name: str, tokens: Any, site: str | None = CLIENT_ID) -> str:
    wrapped = {"clientId": site, "tokens": tokens} if name == "wixSession" else tokens
    return json.dumps(wrapped, separators=(",", ":"))


def read(name: str, value: str) -> Tokens:
    """What is read of a value as it stands in the header."""
    (sent,) = cookies_of(f"a=b; {name}={value}; c", name)[name]
    return SharedCookie(name).read(sent, CLIENT_ID, NOW).tokens


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spellings(name, spelling):
    """However the JSON is written into the cookie, it is read."""
    assert read(name, SPELLINGS[spelling](content(name, TOKENS.to_dict()))) == TOKENS


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("end", "seconds"),
    [
        (END, END),
        (END + 0.25, END),
        (str(END), END),
        (f"{END}.75", END),
        (END * 1000, END),
        (END * 1000 + 0.5, END),
        (str(END * 1000), END),
        (float(END), END),
        (1.8000144e9, END),
        (datetime.fromtimestamp(END, UTC).isoformat().replace("+00:00", ".000Z"), END),
        (datetime.fromtimestamp(END, UTC).isoformat()[:-6], END),
        (0, 0),
        *(
            (odd, 0)
            for odd in (None, "", "soon", True, -1, [], {}, 1e30, "9" * 400, 10**20, "NaN", "1e5", "0001-01-01")
        ),
    ],
)
def test_the_end(name, end, seconds):
    """An end in any form that JavaScript makes of it is taken; what is none counts as over, which costs a renewal."""
    tokens = TOKENS.to_dict()
    tokens["accessToken"]["expiresAt"] = end
    found = read(name, uri_component(content(name, tokens)))
    assert found == Tokens(AccessToken(TOKENS.access_token.value, seconds), TOKENS.refresh_token)


def test_the_tokens_own_end(still):
    """Where the cookie has no end the token's own is taken, so that it costs nothing."""
    minted = still.mint_visitor(CLIENT_ID)
    tokens = {"accessToken": {"value": minted["access_token"]}, "refreshToken": {"value": "JWS.r", "role": "visitor"}}
    assert read("session", uri_component(json.dumps(tokens))).access_token.expires_at == int(still.now()) + 14_400


@pytest.mark.parametrize(
    "tokens",
    [
        {"accessToken": None},
        {"accessToken": {}},
        {"accessToken": {"value": None}},
        {"accessToken": {"value": "", "expiresAt": None}},
        {},
    ],
)
def test_without_an_access_token(tokens):
    """The refresh token alone is the visitor."""
    half = TOKENS.to_dict()["refreshToken"]
    found = read("session", uri_component(json.dumps(tokens | {"refreshToken": half})))
    assert found == Tokens(AccessToken("", 0), TOKENS.refresh_token)


@pytest.mark.parametrize("role", [None, "missing"])
def test_without_a_role(role):
    """A refresh token without a role is a visitor's."""
    tokens = TOKENS.to_dict()
    tokens["refreshToken"].pop("role") if role else tokens["refreshToken"].update(role=None)
    assert read("session", uri_component(json.dumps(tokens))) == TOKENS


@pytest.mark.parametrize("site", [None, CLIENT_ID.upper()])
def test_the_client_id(site):
    """A ``wixSession`` whose client ID is null, or in capitals, is this site's."""
    assert read("wixSession", content("wixSession", TOKENS.to_dict(), site)) == TOKENS


@pytest.mark.parametrize(
    "value",
    [
        *("[]", "7", '"text"', "null", "%FF", "{", "%7B%7D", "j:", "j:7", "\\", "{}", '{"tokens":7}'),
        '{"accessToken":{"value":7}}',
        '{"accessToken":{"value":"a\\nb"}}',
        '{"refreshToken":{"value":"r","role":"owner"}}',
        '{"refreshToken":{"value":7}}',
        '{"refreshToken":"r"}',
        "%2525252525257B%7D",
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_visitor(name, value):
    """What holds no tokens is not taken."""
    with pytest.raises(Unreadable):
        SharedCookie(name).read(value, CLIENT_ID, NOW)


@given(text=st.text(alphabet='{}[]":,\\%+0123456789abcjJWS. ', max_size=60))
def test_any_text(text):
    """Any text is tokens or unreadable, nothing else."""
    with contextlib.suppress(Unreadable):
        SharedCookie("session").read(text, CLIENT_ID, NOW)


def test_from_dict_stays_strict():
    """What is read leniently from a cookie is an error everywhere else."""
    for end in (END + 0.25, str(END), None):
        with pytest.raises(ValueError, match="expiresAt"):
            Tokens.from_dict({"accessToken": {"value": "a", "expiresAt": end}})


@pytest.mark.parametrize("spelling", ["not at all", "twice", "Python's http.cookies", "Express"])
@pytest.mark.parametrize("framework", ["starlette", "aiohttp"])
async def test_a_request(open_shop, still, client_id, framework, spelling):  # noqa: F811 - pytest's fixture
    """A page's visitor is the server's, and the server writes the usual form when it renews."""
    minted = still.mint_visitor(client_id)
    refresh = {"value": minted["refresh_token"], "role": "visitor"}
    access = {"value": minted["access_token"], "expiresAt": still.now() + 14_400.5}
    text = json.dumps({"clientId": client_id, "tokens": {"accessToken": access, "refreshToken": refresh}})
    header = {"Cookie": f"wixSession={SPELLINGS[spelling](text)}"}
    async with open_shop(framework, cookie=COOKIES["wixSession"](secure=framework != "aiohttp")) as town:
        async with town.browsers(headers=header) as browser:
            assert "set-cookie" not in (await browser.get("/cart")).headers
            still.advance(5 * 3600)
            answer: httpx.Response = await browser.get("/cart")
        assert answer.headers["set-cookie"].startswith("wixSession=%7B%22clientId%22%3A")
        assert town.visitors == 1
