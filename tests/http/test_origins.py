"""Which origins may see a visitor's token."""

from __future__ import annotations

import httpx
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wixvisitor import ConfigurationError
from wixvisitor._http.origins import Origins

WIX = "https://www.wixapis.com"
EDGE = "https://edge.wixapis.com"

ALLOWED = [
    WIX,
    f"{WIX}/",
    f"{WIX}/ecom/v2/carts/current?a=1#b",
    "https://www.wixapis.com:443/x",
    "HTTPS://WWW.WIXAPIS.COM/x",
    "https://user:password@www.wixapis.com/x",
    f"{EDGE}/x",
]
REFUSED = [
    "http://www.wixapis.com/x",
    "https://www.wixapis.com:8443/x",
    "https://www.wixapis.com:80/x",
    "https://wixapis.com/x",
    "https://evil.www.wixapis.com/x",
    "https://www.wixapis.com.evil.test/x",
    "https://www.wixapis.com@evil.test/x",
    "https://evil.test/https://www.wixapis.com",
    "https://evil.test/?https://www.wixapis.com",
    "https://www.wixapis.com./x",
    "https://www.w\u0456xapis.com/x",
    "wss://www.wixapis.com/x",
    "ftp://www.wixapis.com/x",
    "//www.wixapis.com/x",
    "/x",
    "",
    "https://127.0.0.1/",
    "http://localhost/",
]


@pytest.mark.parametrize("url", ALLOWED)
def test_allowed(family, url):
    """A token goes to the base URL's origin and the allowed ones, however they are spelled."""
    assert Origins(WIX, (EDGE,)).allow(family.URL(url))


@pytest.mark.parametrize("url", REFUSED)
def test_refused(family, url):
    """It goes nowhere else: not to another scheme, host or port."""
    assert not Origins(WIX, (EDGE,)).allow(family.URL(url))


def test_international_hosts(family):
    """An international name is the same origin in either spelling."""
    origins = Origins("https://bücher.example")
    assert origins.allow(family.URL("https://xn--bcher-kva.example/x"))
    assert origins.allow(family.URL("https://BÜCHER.example/x"))
    assert not origins.allow(family.URL("https://bucher.example/x"))


def test_only_the_origin_counts(family):
    """A path in the base URL widens or narrows nothing."""
    origins = Origins("https://proxy.test/wix", ("https://edge.test/a/b",))
    assert origins.allow(family.URL("https://proxy.test/other"))
    assert origins.allow(family.URL("https://edge.test/"))


@pytest.mark.parametrize(
    ("url", "paths"),
    [
        ("https://proxy.test/wix/cart", ["/wix/cart", "/cart"]),
        ("https://proxy.test//wix//cart/", ["/wix/cart/", "/cart/"]),
        ("https://proxy.test/wixcart", ["/wixcart"]),
        ("https://proxy.test/wix", ["/wix"]),
        ("https://proxy.test/w%69x/c%61rt", ["/wix/cart", "/cart"]),
        ("https://edge.test/a/b/cart", ["/a/b/cart", "/cart"]),
        ("https://edge.test/wix/cart", ["/wix/cart"]),
        ("https://other.test/wix/cart", ["/wix/cart"]),
    ],
)
def test_paths_behind_a_prefix(family, url, paths):
    """A path is known as it is, and without the part that only leads to Wix."""
    assert Origins("https://proxy.test/wix", ("https://edge.test/a/b/",)).paths_of(family.URL(url)) == paths


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8000",
        "http://wix.localhost",
        "http://127.0.0.1",
        "http://127.9.9.9:1",
        "http://[::1]:8000",
        "HTTP://LOCALHOST",
    ],
)
def test_plain_http_on_loopback(family, url):
    """Plain http is for this machine."""
    assert Origins(url).allow(family.URL(f"{url}/x"))
    assert Origins(WIX, (url,)).allow(family.URL(f"{url}/x"))


@pytest.mark.parametrize(
    "url",
    [
        "http://www.wixapis.com",
        "http://10.0.0.1",
        "http://0.0.0.0",
        "http://192.168.1.1:8000",
        "http://[::2]",
        "http://127.0.0.1.evil.test",
        "http://localhost.evil.test",
        "http://evillocalhost",
        "http://2130706433",
    ],
)
def test_plain_http_elsewhere(url):
    """To any other host it is a ConfigurationError."""
    with pytest.raises(ConfigurationError, match="https"):
        Origins(url)
    with pytest.raises(ConfigurationError, match="allowed_origins"):
        Origins(WIX, (url,))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "www.wixapis.com",
        "//www.wixapis.com",
        "https://",
        "https:///x",
        "ftp://www.wixapis.com",
        "file:///etc/passwd",
        "https://user@www.wixapis.com",
        "https://www.wixapis.com?x=1",
        "https://www.wixapis.com#x",
        "https://www.wixapis.com:port",
        "a\x00b",
        "x" * 70_000,
        None,
        1,
        b"https://www.wixapis.com",
    ],
)
def test_no_origins(url):
    """What is no origin is a ConfigurationError that names the argument."""
    with pytest.raises(ConfigurationError, match="base_url"):
        Origins(url)
    with pytest.raises(ConfigurationError, match="allowed_origins"):
        Origins(WIX, (url,))


def test_one_text_is_not_several():
    """A text in place of a sequence would be read letter by letter."""
    with pytest.raises(ConfigurationError, match="tuple"):
        Origins(WIX, EDGE)


@pytest.mark.parametrize("base", [WIX, f"{WIX}/", "https://proxy.test/wix", "https://proxy.test/wix/"])
@pytest.mark.parametrize(
    "path", ["/x", "x", "/x/y?a=1&b=%20", "?a=1", "", "/", "/ä b", "../x", "a:b", "/x?next=https://evil.test", "/x#y"]
)
def test_relative_urls(family, base, path):
    """A relative URL is joined as the httpx client would join it."""
    client = family.AsyncClient(base_url=base)
    assert family.URL(Origins(base).absolute(path)) == client._merge_url(path).copy_with(fragment=None)


@pytest.mark.parametrize("url", ["https://other.test/x?y#z", "http://other.test", "https://user@other.test/x"])
@pytest.mark.parametrize("kind", [str, httpx.URL, httpx2.URL])
def test_absolute_urls(url, kind):
    """An absolute URL stays, as a text or as a URL of either family."""
    assert httpx.URL(Origins(WIX).absolute(kind(url))) == httpx.URL(url)


@pytest.mark.parametrize("url", ["//evil.test/x", "///evil.test", "/\\evil.test", "\\\\evil.test"])
def test_relative_urls_stay_here(url):
    """What only looks relative to a host ends at the base URL's origin."""
    origins = Origins(WIX)
    assert origins.allow(httpx.URL(origins.absolute(url)))


@pytest.mark.parametrize("url", ["a\x00b", "https://a:b:c", "x" * 70_000, None, b"/x", 7, ["/x"]])
def test_no_urls(url):
    """What is no URL is a ConfigurationError."""
    with pytest.raises(ConfigurationError, match="url"):
        Origins(WIX).absolute(url)


@given(st.text() | st.text().map("https:{}".format) | st.text().map("https://www.wixapis.com{}".format))
def test_any_url(text):
    """Any text ends in an absolute URL or a ConfigurationError, and in no other host than it names."""
    origins = Origins(WIX)
    url = absolute_or_none(origins, text)
    assert (
        url is None or (url.scheme in text.lower() and url.host == httpx.URL(text).host.lower()) or origins.allow(url)
    )


def absolute_or_none(origins: Origins, text: str) -> httpx.URL | None:
    try:
        return httpx.URL(origins.absolute(text))
    except ConfigurationError:
        return None
