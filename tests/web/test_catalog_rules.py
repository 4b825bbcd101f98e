"""The catalogue's paths: what is on the list, however it is spelt, and the key that no caller can give."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

import httpx
import httpx2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.constants import IN_CI
from wixvisitor import ConfigurationError, VisitorPool, VisitorSession
from wixvisitor._http.origins import Origins
from wixvisitor._web.catalog_rules import CatalogRules
from wixvisitor._wire.catalog import CATALOG_KEY, CATALOG_PATHS, READING_POSTS
from wixvisitor.storage import MemoryStorage

BASE = "https://www.wixapis.com"
GATEWAY = "https://gateway.example/wix/v1"
EDGE = "https://edge.wixapis.com"

ALLOWED = [
    ("GET", "/stores/v3/products/slug/mug"),
    ("GET", "/stores/v3/products/query?.r=e30"),
    ("GET", "stores/v3/products/"),
    ("POST", "/stores-reader/v1/products/query"),
    ("POST", "/stores/v3/products/search"),
    ("POST", "/stores/v3/products/count"),
    ("POST", "/categories/v1/categories/query"),
    ("GET", "/blog/v3/posts/slugs/a%20post"),
    ("GET", "/blog/v3/posts/slugs/caf%C3%A9"),
    ("GET", "/blog/v3/posts/slugs/שלום"),
    ("GET", "/blog/v3/posts/slugs/v1.2..beta"),
    ("GET", "/v3/posts"),
    ("GET", "/v3/posts/"),
    ("GET", "/v3/posts/0f8fad5b-d9cb-469f-a165-70867728950e"),
    ("POST", "/v3/posts/query"),
    ("POST", "/v3/tags/query"),
    ("POST", "/events/v3/events/query"),
    ("POST", "/events/v1/events/query"),
    ("POST", "/events/v3/ticket-definitions/available/query"),
    ("POST", "/bookings/v2/services/query"),
    ("POST", "/_api/bookings/v2/services/query"),
    ("POST", "/availability-calendar/v1/availability/query"),
    ("POST", "/bookings/v1/availability/query"),
    ("GET", "/service-availability/v2/time-slots/event"),
    ("GET", "/pricing-plans/v2/plans/public"),
    ("POST", "/pricing-plans/v3/plans/query"),
    ("POST", "/reviews/v1/reviews/query"),
    ("GET", "/wix-data/v2/items/1?dataCollectionId=a"),
    ("POST", "/wix-data/v2/items/query"),
    ("POST", "/wix-data/v2/items/aggregate"),
    ("GET", "/%73tores/v3/products"),
    ("GET", "/ecom/../stores/v3/products"),  # the client resolves this before it is sent
    ("GET", f"{BASE}/stores/v3/products"),
    ("GET", f"{EDGE}/stores/v3/products"),
]

REFUSED = [
    ("GET", "/ecom/v2/carts/current"),
    ("GET", "/"),
    ("GET", ""),
    ("GET", "/stores"),
    ("GET", "/stores/"),
    ("GET", "/stores-v2/products"),
    ("GET", "/Stores/v3/products"),
    ("GET", "/v3"),
    ("GET", "/v3/posts-drafts"),
    ("GET", "/v3/postsquery"),
    ("GET", "/members/v1/members/my"),
    ("GET", "/events/v2/guests"),
    ("GET", "/bookings/v2/bookings"),
    ("GET", "/pricing-plans/v2/member/orders"),
    ("GET", "/wix-data/v2/collections"),
    ("POST", "/wix-data/v2/items"),
    ("POST", "/stores/v3/products"),
    ("POST", "/stores/v3/products/query/all"),
    ("POST", "/stores/v3/products/Query"),
    ("POST", "/stores/v3/products/query-and-delete"),
    ("POST", "/graphql/alpha"),
    ("POST", "/oauth2/token"),
    ("POST", "/ecom/v1/orders/search"),
    ("PUT", "/stores/v3/products/1"),
    ("PATCH", "/stores/v3/products/1"),
    ("DELETE", "/stores/v3/products/1"),
    ("HEAD", "/stores/v3/products/1"),
    ("GET", "/stores/../ecom/v2/carts/current"),
    ("GET", "/stores/%2e%2e/ecom/v2/carts/current"),
    ("GET", "/stores/%2E%2E/ecom/v2/carts/current"),
    ("GET", "/stores/.%2e/ecom/v2/carts/current"),
    ("GET", "/stores/%252e%252e/ecom/v2/carts/current"),
    ("GET", "/stores/%25252e%25252e/ecom/v2/carts/current"),
    ("GET", "/stores/..%2fecom/v2/carts/current"),
    ("GET", "/stores/..%252Fecom/v2/carts/current"),
    ("GET", "/stores/..\\ecom\\v2\\carts\\current"),
    ("GET", "/stores/..%5cecom%5Cv2/carts/current"),
    ("GET", "/stores/..%255cecom/v2/carts/current"),
    ("GET", "/stores/..;/ecom/v2/carts/current"),
    ("GET", "/stores/..;a=b/ecom/v2/carts/current"),
    ("GET", "/stores/..%3b/ecom/v2/carts/current"),
    ("GET", "/stores/%00/%2e%2e/ecom/v2/carts/current"),
    ("GET", "/stores/v3%00"),
    ("GET", "/stores/v3%0d%0a/x"),
    ("GET", "/stores/%c0%ae%c0%ae/ecom"),
    ("GET", "/stores/..%c0%afecom"),
    ("GET", "/stores/%u002e%u002e/ecom"),
    ("GET", "/stores/\uff052e\uff052e/ecom"),
    ("GET", "/stores/\uff0e\uff0e/ecom"),
    ("GET", "/stores/\u2025/ecom"),
    ("GET", "/stores/.\u200b./ecom"),
    ("GET", "/stores/.. /ecom"),
    ("GET", "/stores/.../ecom"),
    ("GET", "/stores/..\uff0fecom"),
    ("GET", "/stores/..\u2215ecom"),
    ("GET", "/stores//v3/products"),
    ("GET", "/stores/%2f/products"),
    ("GET", "/stores/v3%3fx=1/products"),
    ("GET", "/stores/v3%23/products"),
    ("GET", f"{BASE}//stores/v3/products"),
    ("GET", f"{BASE}/ecom/v2/carts/current"),
    ("GET", f"{EDGE}/ecom/v2/carts/current"),
    ("GET", "https://evil.example/stores/v3/products"),
    ("GET", "https://www.wixapis.com:444/stores/v3/products"),
    ("GET", "http://www.wixapis.com/stores/v3/products"),
    ("GET", "https://somebody@www.wixapis.com/stores/v3/products"),
    ("GET", "https://www.wixapis.com@evil.example/stores/v3/products"),
    ("GET", "/stores/v3/products?_method=DELETE"),
    ("GET", "/stores/v3/products?a=1;_method=DELETE"),
    ("GET", "/stores/v3/products?%5Fmethod=DELETE"),
    ("GET", "/stores/v3/products?%255Fmethod=DELETE"),
    ("GET", "/stores/v3/products?_Method"),
    ("GET", "/stores/v3/products?X-HTTP-Method-Override=PUT"),
]


def check(method: str, url: str, *, base: str = BASE, paths: object = CATALOG_PATHS, module: object = httpx) -> None:
    """Checks a request as a client would build and send it."""
    origins = Origins(base, (EDGE,))
    rules = CatalogRules(origins, paths)  # type: ignore[arg-type] # some are wrong on purpose
    rules.check_arguments(method, {})
    rules.check(module.Request(method, origins.absolute(url)))  # type: ignore[attr-defined]


def allows(method: str, url: str, **options: object) -> bool:
    try:
        check(method, url, **options)  # type: ignore[arg-type]
    except ConfigurationError as error:
        assert "CurrentVisitor" in str(error)  # noqa: PT017 - whatever was refused, the cure is named
        return False
    return True


@pytest.mark.parametrize("module", [httpx, httpx2])
@pytest.mark.parametrize(("method", "url"), ALLOWED)
def test_what_may_be_read(method, url, module):
    """Products, posts, events, services, availability, plans, reviews and items, by GET and by POSTs that read."""
    assert allows(method, url, module=module)


@pytest.mark.parametrize("module", [httpx, httpx2])
@pytest.mark.parametrize(("method", "url"), REFUSED)
def test_what_is_refused(method, url, module):
    """Every other path, method and origin, and every spelling that some server could read as another path."""
    assert not allows(method, url, module=module)


@pytest.mark.parametrize(
    ("url", "is_allowed"),
    [
        ("/stores/v3/products", True),
        (f"{GATEWAY}/stores/v3/products", True),
        ("https://gateway.example/stores/v3/products", False),
        ("https://gateway.example/wix/v1", False),
        ("https://gateway.example/wix/v1x/stores/v3/products", False),
        ("/../stores/v3/products", False),
        ("/../../stores/v3/products", False),
        ("/%2e%2e/stores/v3/products", False),
        ("/wix/v1/stores/v3/products", False),
        (f"{EDGE}/stores/v3/products", True),
        (f"{EDGE}/wix/v1/stores/v3/products", False),
    ],
)
def test_a_base_url_with_a_path(url, is_allowed):
    """The base URL's own path is left out of the comparison, on its own origin only, and cannot be left."""
    assert allows("GET", url, base=GATEWAY) is is_allowed


@pytest.mark.parametrize("base", ["https://gateway.example/wix%2fv1", "https://gateway.example/a//b"])
def test_a_base_url_that_can_be_read_in_two_ways(base):
    """Nothing can be said about paths below it, so none is allowed."""
    assert not allows("GET", "/stores/v3/products", base=base)


@pytest.mark.parametrize(
    ("paths", "url", "is_allowed"),
    [
        (("/funktionen/größe/",), "/funktionen/größe/1", True),
        (("/funktionen/größe/",), "/funktionen/gr%C3%B6%C3%9Fe/1", True),
        (("/a%20b",), "/a b", True),
        (("/stores/v3/",), "/stores/v3/x", True),
        (("/stores/v3/",), "/stores/v3", False),
        (("/stores/v3",), "/stores/v3", True),
        (["/stores/v3"], "/stores/v3x", False),
        ((), "/stores/v3/products", False),
    ],
)
def test_a_list_of_ones_own(paths, url, is_allowed):
    """A prefix that ends in a slash covers what is below it, another one covers itself, too."""
    assert allows("GET", url, paths=paths) is is_allowed


@pytest.mark.parametrize(
    "paths",
    [
        *("/stores/", b"/stores/", None, 7, {"/stores/"}, iter(["/stores/"])),
        *([None], [7], [""], ["/"], ["//"], ["stores/"], ["/stores//v3"], ["/stores/../"], ["/stores/%2e%2e/"]),
        *(["/stores;x/"], ["/stores?x=1"], ["/st\x00res/"], ["https://www.wixapis.com/stores/"], ["/stores/", "/"]),
    ],
)
def test_wrong_lists(paths):
    """What is no sequence of plain paths, or covers everything, is noticed when the app is made."""
    with pytest.raises(ConfigurationError, match="catalog_paths: expected"):
        CatalogRules(Origins(BASE), paths)


# Whatever the spelling: a few servers, and proxies before them, that read paths each in their own way


def dots_resolved(segments: list[str]) -> list[str]:
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            kept = kept[:-1]
        elif segment != ".":
            kept.append(segment)
    return kept


def readings(path: str) -> set[str]:
    """How servers may read a path: each decodes it once to three times, and some do more."""
    found, text = set(), path
    for _ in range(3):
        text = unquote(text, errors="replace")
        ways = {text, text.replace("\\", "/"), unicodedata.normalize("NFKC", text), text.split("\x00")[0]}
        ways |= {re.sub(r";[^/]*", "", way) for way in ways}
        ways |= {re.split(r"[?#]", way)[0] for way in ways}
        ways |= {re.sub(r"/+", "/", way) for way in ways}
        ways |= {re.sub(r"[\u200b ]+(?=/|$)", "", way) for way in ways}
        found |= {"/" + "/".join(dots_resolved(way.split("/")[1:])) for way in ways}
    return found


def is_listed(path: str) -> bool:
    return any(path.startswith(prefix if prefix.endswith("/") else f"{prefix}/") for prefix in CATALOG_PATHS) or (
        path in CATALOG_PATHS and not path.endswith("/")
    )


PIECES = st.sampled_from(
    [
        *("/", "//", "\\", "%2f", "%2F", "%252f", "%5c", "%255C", ".", "..", "%2e", "%2E", "%252e", ";", ";a=b", "%3b"),
        *(
            "%00",
            "%0a",
            "%20",
            " ",
            "%c0%ae",
            "%ef%bc%8f",
            "\uff0e",
            "\u2025",
            "\uff0f",
            "\u200b",
            "?",
            "%3f",
            "#",
            "%23",
            "%",
            "%25",
        ),
        *("stores", "Stores", "%73tores", "ecom", "v2", "v3", "posts", "carts", "current", "query", "oauth2", "token"),
        *("/stores/", "/v3/posts", "/ecom/v2/carts/current", "/../", "é", "%c3%a9"),
    ]
)


@settings(max_examples=1_500 if IN_CI else 200)
@given(st.lists(PIECES, max_size=12).map("".join), st.sampled_from(["GET", "POST"]))
@example("/stores/..;/ecom/v2/carts/current", "GET")
@example("/v3//posts", "GET")
def test_whatever_is_allowed_every_server_reads_as_listed(text, method):
    """If a path is allowed, then its normal form is on the list, whichever server normalises it, and a POST reads."""
    try:
        origins = Origins(BASE)
        request = httpx.Request(method, origins.absolute(f"/stores/{text}"))
        CatalogRules(origins, CATALOG_PATHS).check(request)
    except ConfigurationError:
        return
    for path in readings(request.url.raw_path.decode().partition("?")[0]):
        assert is_listed(path), path
        assert method == "GET" or path.rstrip("/").rpartition("/")[2] in READING_POSTS


@given(st.text(max_size=40), st.sampled_from(["GET", "POST", "DELETE"]))
def test_any_url(text, method):
    """Whatever text is asked for, it is allowed or a ``ConfigurationError``, nothing else."""
    try:
        check(method, text)
    except ConfigurationError:
        return
    assert method != "DELETE"


# The key


@pytest.mark.anyio
@pytest.mark.parametrize(
    "key", [CATALOG_KEY, CATALOG_KEY.upper(), f" {CATALOG_KEY}", CATALOG_KEY.replace("c", "\uff43")]
)
async def test_no_caller_can_give_the_key(key, client_id):
    """Neither a pool nor a session takes the catalogue's key, in no spelling that a store could take for it."""
    async with VisitorPool(client_id) as pool:
        for call in (pool.session, pool.forget):
            with pytest.raises(ConfigurationError, match="reserved for the visitor that all browsers share"):
                await call(key)
    with pytest.raises(ConfigurationError, match="reserved"):
        VisitorSession(client_id, key=key, storage=MemoryStorage())
