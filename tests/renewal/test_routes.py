"""Routes that answer 401 whatever the token is: a pool learns them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from types import ModuleType

import anyio
import httpx
import pytest

from tests.constants import CART, EPOCH, FINE
from wixvisitor import VisitorPool
from wixvisitor._renewal.routes import MAX_RENEWALS, STREAK, Routes, route_of
from wixvisitor.testing import FakeWix

anyio_test = pytest.mark.anyio
MISSING = "/bookings/v2/services"


# The rule


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/ecom/v2/carts/current", "/ecom/v2/carts/current"),
        ("/stores/v1/products/1f3c5b7e-0a2b-4c6d-8e9f-001122334455", "/stores/v1/products/*"),
        ("/stores/v1/products/12", "/stores/v1/products/*"),
        ("/ecom/v2/carts/abcdef0123456789:addItem", "/ecom/v2/carts/*:addItem"),
        ("/blog/v3/posts/slugs/what-we-baked-in-2026", "/blog/v3/posts/slugs/*"),
        ("/oauth2/token", "/oauth2/token"),
        ("/stores-reader/catalog-v3/query", "/stores-reader/catalog-v3/query"),
        ("/members/v1/me@shop.example/a%20b", "/members/v1/*/*"),
        ("/x?id=1", "/x"),
        ("/", "/"),
    ],
)
def test_what_a_route_is(path: str, route: str, family: ModuleType) -> None:
    """IDs and the query make no other route; method and host do."""
    assert route_of("get", family.URL(f"https://www.wixapis.com{path}")) == f"GET www.wixapis.com{route}"


def taught(visitors: int = STREAK) -> Routes:
    routes = Routes()
    for number in range(visitors):
        assert routes.take("a", EPOCH)
        routes.rejected("a", f"visitor {number}")
    return routes


def test_a_learned_route() -> None:
    """From the fifth visitor on, ten in a minute is the most, those before it included."""
    routes = taught()
    assert [routes.take("a", EPOCH) for _ in range(20)] == [True] * (MAX_RENEWALS - STREAK) + [False] * (
        20 - MAX_RENEWALS + STREAK
    )
    assert not routes.may_renew("a", EPOCH + 59)
    assert routes.may_renew("a", EPOCH + 60)
    assert routes.may_renew("b", EPOCH)


def test_a_route_that_is_not_learned() -> None:
    """Four visitors, or one visitor many times, teach nothing."""
    routes = taught(STREAK - 1)
    for _ in range(50):
        assert routes.take("a", EPOCH)
        assert not routes.rejected("a", "visitor 0")


def test_one_success_is_enough() -> None:
    """A replay that is not turned down makes it a route like any other, and breaks a row."""
    routes = taught()
    routes.succeeded("a")
    assert all(routes.take("a", EPOCH) for _ in range(50))


def test_the_news_is_told_once() -> None:
    """The fifth visitor is the one that teaches."""
    routes = Routes()
    news = []
    for number in range(8):
        routes.take("a", EPOCH)
        news.append(routes.rejected("a", str(number)))
    assert news == [False] * 4 + [True] + [False] * 3


def test_a_clock_that_goes_back() -> None:
    """A clock that was set back does not stop renewals."""
    routes = taught()
    while routes.take("a", EPOCH):
        pass
    assert routes.may_renew("a", EPOCH - 3_600)


def test_memory_is_bounded() -> None:
    """What is remembered of many routes does not grow without end."""
    routes = Routes()
    for number in range(5_000):
        routes.take(f"/{number}", EPOCH)
    assert len(routes._known) == 1_024


# The pool


@pytest.fixture
async def pool(still: FakeWix, client_id: str, anyio_backend: str) -> AsyncGenerator[VisitorPool]:
    client = still.client(httpx, timeout=60.0)
    async with client, VisitorPool(client_id, client=client, clock=still.now) as pool:
        yield pool


async def all_ask(pool: VisitorPool, keys: list[str], path: str) -> set[int]:
    found = set[int]()

    async def ask(key: str) -> None:
        session = await pool.session(key)
        await session.auth_headers()
        kept.append(session)
        found.add((await session.get(path)).status_code)

    kept: list[object] = []
    async with anyio.create_task_group() as tasks:
        for key in keys:
            tasks.start_soon(ask, key)
    return found


@anyio_test
async def test_250_shoppers(pool: VisitorPool, still: FakeWix, caplog: pytest.LogCaptureFixture) -> None:
    """All at once on a route that is always 401 cost few renewals, and a line in the log."""
    keys = [f"shopper {number}" for number in range(250)]
    still.fail(401, path=MISSING, times=None)
    assert await all_ask(pool, keys, MISSING) == {401}
    first = len(still.token_calls("refresh_token"))
    assert first <= MAX_RENEWALS + 4
    assert sum("answers 401 to fresh tokens" in record.getMessage() for record in caplog.records) == 1
    still.advance(61)
    assert await all_ask(pool, keys, MISSING) == {401}
    assert len(still.token_calls("refresh_token")) - first <= MAX_RENEWALS


@anyio_test
async def test_one_after_the_other(pool: VisitorPool, still: FakeWix) -> None:
    """Shoppers who come one after the other cost ten renewals in a minute, whatever the IDs in the paths are."""
    still.fail(401, path="/bookings/*", times=None)
    for number in range(40):
        assert await all_ask(pool, [f"{number}"], f"/bookings/v2/services/{number + 1_000}") == {401}
    assert len(still.token_calls("refresh_token")) == MAX_RENEWALS


@anyio_test
async def test_a_revoked_token_elsewhere(pool: VisitorPool, still: FakeWix) -> None:
    """Beside a learned route, a token that was revoked is renewed at the first request."""
    still.fail(401, path=MISSING, times=None)
    for number in range(20):
        await all_ask(pool, [f"{number}"], MISSING)
    still.reset_calls()
    session = await pool.session("another")
    tokens = await session.generate_visitor_tokens()
    assert (await session.get(MISSING)).status_code == 401
    assert (await session.get(CART)).status_code in FINE
    assert not still.token_calls("refresh_token")
    still.revoke_access_token(tokens.access_token.value)
    assert (await session.get(CART)).status_code in FINE
    assert len(still.token_calls("refresh_token")) == 1


@anyio_test
async def test_until_it_works_again(pool: VisitorPool, still: FakeWix) -> None:
    """Once the app is installed, one replay ends it: all revoked tokens on the route are renewed at once."""
    fault = still.fail(401, path=CART, times=None)
    for number in range(20):
        await all_ask(pool, [f"{number}"], CART)
    fault.remove()
    still.advance(61)
    still.reset_calls()
    for number in range(30):
        session = await pool.session(f"new {number}")
        tokens = await session.generate_visitor_tokens()
        still.revoke_access_token(tokens.access_token.value)
        assert (await session.get(CART)).status_code in FINE
    assert len(still.token_calls("refresh_token")) == 30


@anyio_test
async def test_who_renews_for_another_reason(pool: VisitorPool, still: FakeWix) -> None:
    """A renewal that was asked for is made, also while a 401 of a learned route waits for its own."""
    still.fail(401, path=MISSING, times=None)
    for number in range(20):
        await all_ask(pool, [f"{number}"], MISSING)
    session = await pool.session("another")
    await session.auth_headers()
    still.reset_calls()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(session.get, MISSING)
        tasks.start_soon(session.renew_token)
    assert len(still.token_calls("refresh_token")) == 1
