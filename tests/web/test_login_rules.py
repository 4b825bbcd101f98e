"""The rules of the login's routes, by themselves."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.constants import CLIENT_ID
from tests.web.conftest import KEY
from wixvisitor._web.login_cookies import LoginCookies
from wixvisitor._web.login_pages import redirect
from wixvisitor._web.login_rules import LARGEST, Pending, Place, fields_of, safe_next, single_fields, with_query
from wixvisitor.cookies import IdCookie

URI = "https://shop.example/auth/callback"
HOSTS = ["//evil", "/\\evil", "/\t/evil", "/./..//evil", "/a/../b", "/x//y"]


@pytest.mark.parametrize("path", HOSTS)
@pytest.mark.parametrize("times", [0, 1, 2])
def test_encoded_hosts(path, times):
    """What becomes another host when a server decodes it, once or twice, is not taken."""
    for _ in range(times):
        path = "/" + path[1:].replace("%", "%25").replace("/", "%2F").replace("\\", "%5C").replace("\t", "%09")
    assert safe_next(path, "/") == "/"


@given(st.text(st.sampled_from("/\\.%25fFcC@:?#&=aé \t\n\x00\x85\u2028\uff0f"), max_size=30))
def test_any_target(text):
    """Whatever is given, the result is a plain path, for browsers and for what decodes it."""
    found = safe_next(text, "/home", ("/auth/login",))
    assert found.isascii()
    assert found.isprintable()
    path = found.partition("?")[0].partition("#")[0]
    for _ in range(3):
        assert path.startswith("/")
        assert not {"\\", "\t", "\n", "\x00"} & set(path)
        assert "//" not in path
        path = unquote(path)


@given(st.text(max_size=400), st.integers(0, 10**10))
def test_any_login_fits_its_cookie(text, since):
    """The cookie of any login is at most 1 KiB, and gives back what was kept."""
    cookies = LoginCookies(IdCookie([KEY]), None, CLIENT_ID, URI)
    target = safe_next("/" + text, "/")
    pending = Pending(since, "o" * 32, "s" * 43, "v" * 43, target, is_silent=True)
    (header,) = cookies.begin("", pending, float(since))
    pair = header.partition(";")[0]
    assert len(pair) <= LARGEST
    assert cookies.find(pair, "s" * 43)[0] == pending


def test_the_longest_target():
    """A path of 400 characters is kept, a longer one is not."""
    assert safe_next("/" + '"' * 133, "/") == "/" + "%22" * 133
    assert safe_next("/" + "a" * 399, "/").endswith("a")
    assert safe_next("/" + "a" * 400, "/") == "/"
    assert safe_next("/" + '"' * 134, "/") == "/"


@given(st.text())
def test_any_address_in_a_redirect(text):
    """No text of an address ends the header that it is in."""
    location = dict(redirect(f"https://wix.example/{text.encode('utf-8', 'replace').decode()}").headers)["Location"]
    assert location.isascii()
    assert location.isprintable()
    assert " " not in location


def test_places():
    """The routes are beside the callback, and the origin is the browser's spelling."""
    place = Place.of("https://Shop.example:443/de/auth/back")
    assert (place.origin, place.path("login"), place.callback) == (
        "https://shop.example",
        "/de/auth/login",
        "/de/auth/back",
    )
    assert Place.of("http://localhost:8000/callback").path("login") == "/login"
    assert Place.of("http://[::1]:8000/a/b").origin == "http://[::1]:8000"


@given(st.binary(max_size=200), st.sampled_from(["application/json", "application/x-www-form-urlencoded", "", "x"]))
def test_any_body(body, kind):
    """Whatever is sent is fields or nothing."""
    found = fields_of(body, kind)
    assert found is None or isinstance(found[0], dict)


@given(st.text(max_size=100))
def test_any_query(text):
    """Whatever a query is, its fields are texts."""
    assert all(isinstance(value, str) for value in single_fields(text).values())
    assert single_fields(with_query("/a", next=text).partition("?")[2]).get("next", "") == text.encode(
        "utf-8", "replace"
    ).decode("utf-8", "replace")
