"""The catalogue's visitor: one for everybody, who only reads, and gives nothing away."""

from __future__ import annotations

import gc
import json
import logging
import sys
from collections.abc import AsyncGenerator, Callable
from typing import Any

import anyio
import httpx
import httpx2
import pytest

from tests.constants import CART
from tests.web.conftest import COOKIES
from wixvisitor import ConfigurationError, TokenRequestError, Tokens, VisitorPool, VisitorSession
from wixvisitor._wire.catalog import CATALOG_KEY
from wixvisitor.asgi import CatalogReader, VisitorMiddleware, get_catalog_visitor, get_visitor
from wixvisitor.storage import FileStorage, MemoryStorage, TokenStorage
from wixvisitor.storage.sqlite import SQLiteStorage

pytestmark = pytest.mark.anyio

PRODUCTS = "/stores-reader/v1/products/query"
SLUG = "/stores/v3/products/slug/mug"
QUERY = "{ products(limit: 2) { name } }"


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def catalog_of(pool: VisitorPool, **options: Any) -> CatalogReader:
    """The catalogue's visitor as a handler gets it."""
    found: list[CatalogReader] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found.append(await get_catalog_visitor(scope))

    middleware = VisitorMiddleware(app, pool, close=False, **options)
    await middleware({"type": "http", "method": "GET", "headers": []}, None, None)  # type: ignore[arg-type]
    return found[0]


class Plain:
    """The least storage: a text in, a text out."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    async def load(self, key: str) -> str | None:
        return self.texts.get(key)

    async def save(self, key: str, value: str) -> None:
        self.texts[key] = value

    async def delete(self, key: str) -> None:
        self.texts.pop(key, None)


Pools = Callable[..., VisitorPool]


@pytest.fixture
async def pool_of(still, client_id, no_backoff, anyio_backend) -> AsyncGenerator[Pools]:
    """Makes pools over the fake; closes them at the end."""
    pools = []

    def make(module: Any = httpx, **arguments: Any) -> VisitorPool:
        client = arguments.pop("client", None) or still.client(module)
        pools.append(VisitorPool(client_id, client=client, clock=still.now, **arguments))
        return pools[-1]

    yield make
    for pool in pools:
        await pool.aclose()


@pytest.fixture
async def catalog(pool_of: Pools) -> CatalogReader:
    return await catalog_of(pool_of())


# What it does


async def test_it_reads(pool_of, still, family):
    """GET, POST, any method by ``request``, a stream, GraphQL: all of them as one visitor, made at the first call."""
    catalog = await catalog_of(pool_of(family))
    assert still.calls == []
    answers = [
        await catalog.get(SLUG, params={"fields": "CURRENCY"}),
        await catalog.post(PRODUCTS, json={"query": {"paging": {"limit": 2}}}),
        await catalog.post(PRODUCTS, content=b"{}", headers={"Content-Type": "application/json; charset=utf-8"}),
        await catalog.request("get", SLUG, headers={"x-wix-linguist": "de"}, timeout=5, follow_redirects=False),
    ]
    assert [type(answer) for answer in answers] == [family.Response] * 4
    assert [answer.status_code for answer in answers] == [200] * 4
    async with catalog.stream("GET", SLUG) as streamed:
        assert json.loads(await streamed.aread())["product"]["slug"] == "mug"
    assert [product["name"] for product in (await catalog.graphql(QUERY)).data["products"]] == ["Mug", "Tea"]
    assert len({call.visitor_id for call in still.api_calls()}) == len(still.visitors) == 1
    assert [call.grant_type for call in still.token_calls()] == ["anonymous"]
    assert still.api_calls()[3].headers["x-wix-linguist"] == "de"


async def test_first_calls_at_once_make_one_visitor(catalog, still):
    """A hundred calls of an app that has just started share one visitor and one token call."""
    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(catalog.get, SLUG)
    assert len(still.visitors) == len(still.token_calls()) == 1


async def test_it_renews_and_survives(catalog, still):
    """An expired token, and one that an API turns down, are renewed; the visitor stays."""
    await catalog.get(SLUG)
    still.advance(5 * 3600)
    await catalog.get(SLUG)
    (visitor_id,) = still.visitors
    still.revoke_access_tokens(visitor_id)
    answer = await catalog.post(PRODUCTS, json={})
    assert answer.status_code == 200
    assert [call.grant_type for call in still.token_calls()] == ["anonymous", "refresh_token", "refresh_token"]


async def test_a_refused_visitor_is_replaced_whatever_the_policy(pool_of, still):
    """There is no cart to lose, and no handler could do anything about it."""
    catalog = await catalog_of(pool_of(on_refused="raise"))
    await catalog.get(SLUG)
    (visitor_id,) = still.visitors
    still.refuse_refresh_tokens(visitor_id)
    still.advance(5 * 3600)
    assert (await catalog.get(SLUG)).status_code == 200
    assert len(still.visitors) == 2


async def test_all_apps_of_a_pool_share_it(pool_of, still):
    """Two apps over one pool, and an app that is made anew, read as the same visitor; also over the least storage."""
    pool = pool_of(storage=Plain())
    catalogs = [await catalog_of(pool, cookie=COOKIES["id"]()) for _ in range(2)]
    async with anyio.create_task_group() as group:
        for catalog in catalogs:
            group.start_soon(catalog.get, SLUG)
    gc.collect()
    await (await catalog_of(pool, cookie=COOKIES["id"]())).get(SLUG)
    assert len(still.visitors) == 1


@pytest.mark.parametrize("kind", ["memory", "sqlite", "files"])
async def test_it_lives_in_the_pools_storage(pool_of, still, tmp_path, kind):
    """It is kept over restarts, and shared between processes, which make it together once."""
    memory = MemoryStorage()
    stores: dict[str, Callable[[], TokenStorage]] = {
        "memory": lambda: memory,
        "sqlite": lambda: SQLiteStorage(tmp_path / "visitors.db"),
        "files": lambda: FileStorage(f"{tmp_path}/visitors/"),
    }
    storages = [stores[kind]() for _ in range(3)]
    catalogs = [await catalog_of(pool_of(storage=storage), cookie=COOKIES["id"]()) for storage in storages]
    async with anyio.create_task_group() as group:
        for catalog in catalogs[:2]:
            group.start_soon(catalog.get, SLUG)
    await catalogs[2].get(SLUG)
    assert len(still.visitors) == len(still.token_calls()) == 1
    for storage in storages:
        await getattr(storage, "aclose", anyio.lowlevel.checkpoint)()


@pytest.mark.parametrize("form", COOKIES)
async def test_with_every_cookie(pool_of, still, form):
    """Also where the browsers' tokens live in their cookies, and without anybody's consent."""
    catalog = await catalog_of(pool_of(), cookie=COOKIES[form](), consent=lambda _: False)
    for _ in range(3):
        await catalog.get(SLUG)
    assert len(still.visitors) == 1


async def test_a_failing_token_endpoint_is_said(catalog, still):
    """No token to be had is a ``TokenRequestError``, as for every visitor."""
    still.fail(503, times=None)
    with pytest.raises(TokenRequestError):
        await catalog.get(SLUG)


# A record with a member in it


def member_record(tokens: Tokens, client_id: str, *, role: str = "member", access: str | None = None) -> str:
    content = {"format": 1, "clientId": client_id, **tokens.to_dict()}
    content["refreshToken"]["role"] = role
    content["accessToken"]["value"] = content["accessToken"]["value"] if access is None else access
    return json.dumps(content)


@pytest.mark.parametrize(("role", "access"), [("member", None), ("visitor", None), ("member", ""), ("member", "x.y")])
@pytest.mark.parametrize("make", [MemoryStorage, Plain])
async def test_a_member_in_its_record_is_replaced(pool_of, still, client_id, member, make, role, access, caplog):
    """A member in the record, known by its role or only by its token, is not used: a new visitor takes the place."""
    storage = make()
    key = f"{client_id}:{CATALOG_KEY}"
    await storage.save(key, member_record(member, client_id, role=role, access=access))
    (member_id,) = still.visitors
    catalog = await catalog_of(pool_of(storage=storage), cookie=COOKIES["id"]())
    await catalog.get(SLUG)
    assert [call.visitor_id for call in still.api_calls()] != [member_id]
    assert [call.grant_type for call in still.token_calls()] == ["anonymous"]
    record = await storage.load(key)
    assert member.refresh_token.value not in str(getattr(record, "value", record))
    assert any("held a member" in record.getMessage() for record in caplog.records)


async def test_a_member_that_comes_later(pool_of, still, client_id, member):
    """A member put there while the app runs is not used at the next renewal either; nor is one who comes amid it."""
    storage = MemoryStorage()
    key = f"{client_id}:{CATALOG_KEY}"
    catalog = await catalog_of(pool_of(storage=storage), cookie=COOKIES["id"]())
    await catalog.get(SLUG)
    await storage.save(key, member_record(member, client_id))
    still.advance(3 * 3600)
    await catalog.get(SLUG)
    still.advance(3 * 3600)
    await catalog.get(SLUG)
    still.advance(5 * 3600)
    gate = still.hold(grant_type="refresh_token")
    async with anyio.create_task_group() as group:
        group.start_soon(catalog.get, SLUG)
        await gate.wait_for(1)
        await storage.save(key, member_record(member, client_id))
        gate.release()
    members = {id_ for id_, visitor in still.visitors.items() if visitor.member_id}
    assert len(members) == 1
    assert not members & {call.visitor_id for call in still.calls}


async def test_a_record_that_is_none_is_left_alone(pool_of, still, client_id):
    """Junk in its record is a ``StorageError``, as everywhere, and no new visitor."""
    from wixvisitor import StorageError

    for junk in ("junk", "[]", '{"refreshToken":{"role":"member"}}'):
        storage = MemoryStorage()
        await storage.save(f"{client_id}:{CATALOG_KEY}", junk)
        catalog = await catalog_of(pool_of(storage=storage), cookie=COOKIES["id"]())
        with pytest.raises(StorageError):
            await catalog.get(SLUG)
    assert still.visitors == {}


# What it does not do


REFUSED: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", CART, {}),
    ("POST", "/stores/v3/products", {"json": {}}),
    ("DELETE", SLUG, {}),
    ("GET", SLUG, {"follow_redirects": True}),
    ("GET", SLUG, {"cookies": {"a": "b"}}),
    ("GET", SLUG, {"cookies": None}),
    ("GET", SLUG, {"auth": ("a", "b")}),
    ("GET", SLUG, {"extensions": {"target": CART.encode()}}),
    ("POST", PRODUCTS, {"data": {"_method": "DELETE"}}),
    ("POST", PRODUCTS, {"files": {"a": b"b"}}),
    ("POST", PRODUCTS, {"content": b"_method=PUT", "headers": {"content-TYPE": "application/x-www-form-urlencoded"}}),
    ("GET", SLUG, {"params": {"_method": "DELETE"}}),
    ("GET", SLUG, {"params": "a=b&_METHOD=DELETE"}),
    ("GET", SLUG, {"params": [("x-http-method-override", "PUT")]}),
    ("GET", SLUG, {"headers": 7}),
    ("GET", SLUG, {"headers": [("Content-Type", "text/plain")]}),
    *(
        ("GET", SLUG, {"headers": headers})
        for name in (
            *(
                "X-HTTP-Method-Override",
                "x-http-method-override",
                "X-Method-Override",
                "X-HTTP-Method",
                "X_Http_Method",
            ),
            *("X-Http-Method_Override", "Authorization", "AUTHORIZATION", "Proxy-Authorization", "Cookie", "cookie"),
            *("Host", "X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Host", "Transfer-Encoding", "Content-Length"),
        )
        for headers in ({name: "DELETE"}, [(name, "DELETE")], httpx.Headers({name: "1"}), httpx2.Headers({name: "1"}))
    ),
    *(("GET", SLUG, {"headers": [(b"authorization", b"a")]}), ("GET", 7, {}), (7, SLUG, {})),  # type: ignore[list-item]
    ("GET", "https://evil.example/stores/v3/products", {}),
    ("GET", "//evil.example/ecom/v2", {}),
]


@pytest.mark.parametrize("way", ["request", "stream"])
async def test_what_it_refuses(pool_of, still, way, family):
    """Nothing is sent and nobody made for what is not the catalogue's; the error names the visitor to use instead."""
    catalog = await catalog_of(pool_of(family), cookie=COOKIES["id"]())

    async def ask(method: str, url: str, arguments: dict[str, Any]) -> None:
        if way == "request":
            await catalog.request(method, url, **arguments)
            return
        async with catalog.stream(method, url, **arguments):
            """Is not reached."""

    for method, url, arguments in REFUSED:
        with pytest.raises(ConfigurationError) as caught:
            await ask(method, url, arguments)
        assert "CurrentVisitor" in str(caught.value) or url == 7, (method, url, arguments)
    assert still.calls == []


async def test_what_the_clients_owner_set_counts_too(pool_of, still):
    """A client whose own headers or parameters stand for another method reads no catalogue."""
    for options in ({"headers": {"X-HTTP-Method-Override": "DELETE"}}, {"params": {"_method": "DELETE"}}):
        catalog = await catalog_of(pool_of(client=still.client(**options)))
        for call in (catalog.get(SLUG), catalog.graphql(QUERY)):
            with pytest.raises(ConfigurationError, match="override the method"):
                await call
    assert still.calls == []


async def test_no_redirect_is_followed(pool_of, still, family):
    """Also where the client follows them by itself: the answer is the redirect, and does not lead on with the token."""
    still.fail(307, path=SLUG, headers={"Location": CART})
    catalog = await catalog_of(pool_of(client=still.client(family, follow_redirects=True)))
    answer = await catalog.get(SLUG)
    assert (answer.status_code, answer.headers["Location"]) == (307, CART)
    assert answer.next_request is None
    assert [call.path for call in still.api_calls()] == [SLUG]


@pytest.mark.parametrize(
    "document",
    [
        "mutation { addToCurrentCart(catalogItemId: 1) { id } }",
        "query Q { products { name } } mutation M { addToCurrentCart(catalogItemId: 1) { id } }",
        "{ products { name } } mutation { addToCurrentCart(catalogItemId: 1) { id } }",
        "subscription { products { name } }",
        "# query\nmutation { a }",
        "\ufeffmutation { a }",
        "{ a } # \u2028 mutation { b }",
        "{ a } # \r mutation { b }",
        'fragment F on Query { a } mutation { b(text: """query { a }""") }',
        "fragment F on Query { a }",
        "type Query { a: Int }",
        "extend type Query { a: Int }",
        "{ a } type Query { a: Int }",
        "",
        "query",
        "{ a",
        "{a" * 20_000,
        "{ a }" + " " * 200_000,
        None,
        b"{ a }",
    ],
)
async def test_graphql_that_does_not_only_ask(catalog, still, document):
    """A mutation anywhere in the document, and what no parser understands, is refused before anything is sent."""
    with pytest.raises(ConfigurationError, match="CurrentVisitor"):
        await catalog.graphql(document)
    assert still.calls == []


@pytest.mark.parametrize(
    "document",
    [
        QUERY,
        "query Q($n: Int) { products(limit: $n) { ...P } } fragment P on Product { name }",
        "# mutation { a }\n{ mutation: products(limit: 2) { name @skip(if: false) } }",
    ],
)
async def test_graphql_that_only_asks(catalog, document):
    """Queries with fragments, variables, and the word in a comment or an alias are answered."""
    result = await catalog.graphql(document, {"n": 2})
    assert result.errors == []
    assert len(next(iter(result.data.values()))) == 2


async def test_graphql_without_the_extra(catalog, still, monkeypatch):
    """Without graphql-core the error names the extra; nothing is sent."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "graphql"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "graphql", None)
    with pytest.raises(ImportError, match=r"pip install 'wixvisitor\[graphql\]'"):
        await catalog.graphql("{ somethingThatNobodyAskedBefore }")
    assert still.calls == []


# What it gives away


def test_its_public_names():
    """It is no session: there is nothing that reads, sets or hands out tokens."""
    assert not issubclass(CatalogReader, VisitorSession)
    names = {name for name in dir(CatalogReader) if not name.startswith("_")}
    assert names == {"get", "graphql", "max_retries", "post", "request", "stream"}


async def test_no_token_leaves_it(pool_of, still, family):
    """Neither its repr, nor an answer's request, nor an error's request, nor a replay's holds the token."""
    catalog = await catalog_of(pool_of(family))
    await catalog.get(SLUG)
    (visitor_id,) = still.visitors
    still.revoke_access_tokens(visitor_id)
    answer = await catalog.post(PRODUCTS, json={})
    assert answer.status_code == 200
    requests = [answer.request, *(earlier.request for earlier in answer.history)]
    async with catalog.stream("GET", SLUG) as streamed:
        requests.append(streamed.request)
    still.drop(path=SLUG)
    with pytest.raises(family.HTTPError) as caught:
        await catalog.get(SLUG)
    requests.append(caught.value.request)
    assert len(requests) == 4
    assert all("authorization" not in request.headers for request in requests)
    tokens = [*still._visitors.access_tokens, *still._visitors.refresh_tokens]
    assert not any(token in repr(catalog) for token in tokens)


async def test_cookies_that_wix_sets_stay_with_nobody(pool_of, still):
    """What Wix sets for the catalogue's visitor travels with no later request, neither its own nor another's."""
    pool = pool_of()
    still.add_header("Set-Cookie", "XSRF=1", path=SLUG)
    catalog = await catalog_of(pool)
    await catalog.get(SLUG)
    shopper = await pool.session("anna")
    await shopper.get(CART)
    await catalog.get(SLUG)
    assert not any("cookie" in call.headers for call in still.calls)


async def test_a_shopper_is_somebody_else(pool_of, still):
    """The browser's visitor and the catalogue's are two, in one request as well."""
    pool, seen = pool_of(), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await (await get_catalog_visitor(scope)).get(SLUG)
        await (await get_visitor(scope)).get(CART)
        seen.append([call.visitor_id for call in still.api_calls()])

    middleware = VisitorMiddleware(app, pool, close=False)
    await middleware({"type": "http", "method": "GET", "headers": []}, None, None)  # type: ignore[arg-type]
    assert len(set(seen[0])) == 2


async def test_an_app_without_the_middleware():
    """The error says what to do."""
    with pytest.raises(ConfigurationError, match="wrap it"):
        await get_catalog_visitor({"type": "http"})


async def test_it_says_nothing_when_all_is_well(catalog, caplog):
    """Reading is no news: no warning, no error."""
    await catalog.get(SLUG)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
