"""The ASGI middleware by itself: headers, lifespan, both event loops, disconnects."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import anyio
import httpx
import pytest

from tests.stores import TroubledStorage
from tests.web.conftest import KEY
from tests.web.shops import Shop, starlette_app
from wixvisitor import ConfigurationError, StorageError, VisitorPool
from wixvisitor.asgi import VisitorMiddleware, get_visitor
from wixvisitor.cookies import IdCookie, SealedCookie
from wixvisitor.storage import FileStorage

pytestmark = pytest.mark.anyio


def answering(*headers: tuple[str, str], looks: bool = True) -> Any:
    """An app that looks at the visitor and answers with these headers."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if looks:
            await (await get_visitor(scope)).generate_visitor_tokens()
        raw = [(name.encode(), value.encode()) for name, value in headers]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        await send({"type": "http.response.body", "body": b"{}"})

    return app


@pytest.fixture
def pool(still, client_id) -> VisitorPool:
    return VisitorPool(client_id, client=still.client(), clock=still.now)


async def asked(app: Any, pool: VisitorPool, headers: Any = None, method: str = "GET") -> httpx.Response:
    wrapped = VisitorMiddleware(app, pool, cookie=IdCookie([KEY]))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(wrapped), base_url="https://shop.example") as browser:
        return await browser.request(method, "/", headers=headers)


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_both_event_loops(still, client_id, anyio_backend):
    """It works on trio as on asyncio: a page's parallel calls, an expiry, one visitor."""
    shop = Shop(VisitorPool(client_id, client=still.client(), clock=still.now), IdCookie([KEY]))
    transport = httpx.ASGITransport(starlette_app(shop))
    async with httpx.AsyncClient(transport=transport, base_url="https://shop.example") as browser:
        await browser.get("/page", headers={"Sec-Fetch-Dest": "document"})
        async with anyio.create_task_group() as group:
            for _ in range(6):
                group.start_soon(browser.get, "/cart")
        still.advance(5 * 3600)
        assert (await browser.get("/cart")).status_code == 200
    assert len(still.visitors) == 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], ["Cookie"]),
        ([("Vary", "Accept")], ["Accept, Cookie"]),
        ([("Vary", "Accept"), ("vary", "Origin")], ["Accept, Origin, Cookie"]),
        ([("Vary", "accept, COOKIE")], ["accept, COOKIE"]),
        ([("Vary", "*")], ["*"]),
    ],
)
async def test_vary_is_added_to(pool, given, expected):
    """The app's own ``Vary`` stays, and names the cookie once."""
    response = await asked(answering(*given), pool)
    assert response.headers.get_list("vary") == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("private", "private"),
        ("Private, max-age=60", "Private, max-age=60"),
        ("no-store, max-age=0", "no-store, max-age=0"),
        ("max-age=60", "max-age=60, private"),
        ("no-cache", "no-cache, private"),
        ("max-age=0, must-revalidate", "max-age=0, must-revalidate, private"),
        ("must-revalidate", "must-revalidate, private"),
        ('private="X-Name", max-age=60', 'private="X-Name", max-age=60, private'),
        ('max-age=60, to="us, private "', 'max-age=60, to="us, private ", private'),
    ],
)
async def test_cache_control_of_the_app(pool, given, expected):
    """What the app says about caching stays, and is made private if a cookie goes with it (RFC 9111, section 7.3)."""
    response = await asked(answering(("Cache-Control", given)), pool)
    assert response.headers.get_list("cache-control") == [expected]
    assert "set-cookie" in response.headers


@pytest.mark.parametrize(
    "value", ["public", "max-age=60, public", "PUBLIC,max-age=1", "s-maxage=5", "max-age=1,s-maxage=5"]
)
async def test_shared_caches_get_no_cookie(pool, value):
    """An answer for everybody carries nobody's cookie."""
    response = await asked(answering(("Cache-Control", value)), pool)
    assert "set-cookie" not in response.headers


async def test_a_public_document_is_no_error(pool, caplog):
    """A cacheable page that looked at nobody just gets no reservation: nothing is wrong with it."""
    page = answering(("Cache-Control", "public, max-age=60"), looks=False)
    response = await asked(page, pool, {"Sec-Fetch-Dest": "document"})
    assert "set-cookie" not in response.headers
    assert "vary" not in response.headers
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


@pytest.mark.parametrize(
    ("method", "headers", "is_reserved"),
    [
        ("GET", {"Sec-Fetch-Dest": "document"}, True),
        ("GET", {"Sec-Fetch-Dest": "empty", "Accept": "text/html"}, False),
        ("GET", {"Sec-Fetch-Dest": "image"}, False),
        ("GET", {"Sec-Fetch-Dest": "iframe"}, False),
        ("GET", {"Accept": "text/html,*/*"}, True),
        ("GET", {"Accept": "*/*"}, False),
        ("POST", {"Sec-Fetch-Dest": "document"}, False),
    ],
)
async def test_what_is_a_document(pool, method, headers, is_reserved):
    """Navigations reserve an id; what scripts, images, health checks and forms ask for does not."""
    response = await asked(answering(looks=False), pool, headers, method)
    assert ("set-cookie" in response.headers) == is_reserved


async def test_the_apps_own_cookies_stay(pool):
    """The visitor's cookie is one more; the app's are untouched."""
    response = await asked(answering(("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")), pool)
    first, second, ours = (cookie.partition("=")[0] for cookie in response.headers.get_list("set-cookie"))
    assert (first, second) == ("a", "b")
    assert ours.startswith("__Host-wixvisitor-")


async def test_an_app_that_is_not_wrapped():
    """Without the middleware the error says what to do."""
    with pytest.raises(ConfigurationError, match="wrap it"):
        await get_visitor({"type": "http"})


async def test_the_same_object_within_a_request(pool):
    """Any number of askers within a request share one visitor object, also at once."""
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def ask() -> None:
            seen.append(await get_visitor(scope))

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(ask)
        await answering(looks=False)(scope, receive, send)

    await asked(app, pool)
    assert len(seen) == 5
    assert all(visitor is seen[0] for visitor in seen)


async def agrees_later(_: object) -> bool:
    """What is true of a coroutine is no yes."""
    return False


async def test_a_consent_that_has_to_be_awaited_is_no_yes(pool):
    """Where it is noticed only when it is asked, the request fails, and nobody is remembered."""
    app = VisitorMiddleware(answering(), pool, cookie=IdCookie([KEY]), consent=lambda scope: agrees_later(scope))  # noqa: PLW0108 - nobody sees that it is async
    with pytest.raises(ConfigurationError, match="consent: expected True or False"):
        await asked(app, pool)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"pool": "id"}, "VisitorPool"),
        ({"cookie": "key"}, "IdCookie, SealedCookie or SharedCookie"),
        ({"consent": 1}, "consent"),
        ({"consent": agrees_later}, "consent: expected a plain function"),
    ],
)
async def test_wrong_arguments(pool, arguments, text):
    """A wrong argument is an error that says what is expected."""
    with pytest.raises(ConfigurationError, match=text):
        VisitorMiddleware(answering(), **{"pool": pool, "cookie": IdCookie([KEY]), **arguments})


async def test_a_store_that_would_never_be_read(client_id, tmp_path):
    """Tokens in the cookie and a storage as well is a misunderstanding, and is said so."""
    pool = VisitorPool(client_id, storage=FileStorage(tmp_path / "visitors/"))
    with pytest.raises(ConfigurationError, match="would never be read"):
        VisitorMiddleware(answering(), pool, cookie=SealedCookie([KEY]))


async def test_without_a_cookie_argument(pool, still, client_id, tmp_path):
    """Visitors who are lost with the process need no key; whoever keeps them has to keep a key as well."""
    app = VisitorMiddleware(answering(), pool)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://shop.example") as browser:
        assert "__Host-wixvisitor" in (await browser.get("/")).headers["set-cookie"]
        assert "set-cookie" not in (await browser.get("/")).headers
    kept = VisitorPool(client_id, client=still.client(), storage=FileStorage(tmp_path / "visitors/"))
    with pytest.raises(ConfigurationError, match="the storage outlives this process"):
        VisitorMiddleware(answering(), kept)


async def test_a_store_that_fails(still, client_id):
    """A store that cannot be read is an error in the handler, and no new visitor."""
    pool = VisitorPool(client_id, client=still.client(), storage=TroubledStorage(load=OSError("disk")))
    with pytest.raises(StorageError):
        await asked(answering(), pool)
    assert still.visitors == {}


# The answer to X-Wix-Consistent


async def test_consistent_reaches_the_next_request(still, pool):
    """What Wix says in ``X-Wix-Consistent`` goes with this browser's next request, and with nobody else's."""
    shop = Shop(pool, IdCookie([KEY]))
    transport = httpx.ASGITransport(starlette_app(shop))
    async with httpx.AsyncClient(transport=transport, base_url="https://shop.example") as anna:
        async with httpx.AsyncClient(transport=transport, base_url="https://shop.example") as ben:
            still.add_header("X-Wix-Consistent", "anna-1", times=1, path="/ecom/*")
            await anna.get("/cart")
            await ben.get("/cart")
            await anna.get("/cart")
    assert [call.headers.get("x-wix-consistent") for call in still.api_calls()] == [None, None, "anna-1"]


async def test_consistent_of_somebody_who_was_replaced(still, pool):
    """A visitor that takes another's place does not say what Wix said to the other."""
    shop = Shop(pool, IdCookie([KEY]))
    transport = httpx.ASGITransport(starlette_app(shop))
    async with httpx.AsyncClient(transport=transport, base_url="https://shop.example") as browser:
        still.add_header("X-Wix-Consistent", "first", times=1, path="/ecom/*")
        await browser.get("/cart")
        still.refuse_refresh_tokens(next(iter(still.visitors)))
        still.advance(5 * 3600)
        await browser.get("/cart")
        await browser.get("/cart")
    assert len(still.visitors) == 2
    assert [call.headers.get("x-wix-consistent") for call in still.api_calls()] == [None] * 3


# Lifespan


async def lived(app: Any, said: list[str]) -> None:
    """Runs an app's lifespan, from start to end."""
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        said.append(message["type"])

    await app({"type": "lifespan", "asgi": {}}, receive, send)


@pytest.mark.parametrize("close", [True, False])
async def test_the_end_of_the_app(still, client_id, close):
    """At shutdown the pool and its storage are closed, unless the app wants to do that itself."""
    storage = TroubledStorage()
    shop = Shop(VisitorPool(client_id, client=still.client(), storage=storage), IdCookie([KEY]), {"close": close})
    said: list[str] = []
    await lived(starlette_app(shop), said)
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert storage.called("aclose") == close


async def test_an_app_that_starts_again(still, client_id):
    """One app may be started and ended several times in one event loop, as tests do. In between its pool is closed."""
    pool = VisitorPool(client_id, client=still.client())
    app = starlette_app(Shop(pool, IdCookie([KEY])))
    for _ in range(2):
        async with (
            anyio.create_task_group() as group,
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://shop.example") as browser,
        ):
            ended = anyio.Event()
            await group.start(_running, app, ended)
            assert (await browser.get("/cart")).status_code == 200
            ended.set()
        with pytest.raises(ConfigurationError, match="closed"):
            await pool.session("anybody")


async def _running(app: Any, ended: anyio.Event, *, task_status: Any) -> None:
    messages = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> dict[str, Any]:
        message = next(messages)
        if message == "lifespan.shutdown":
            await ended.wait()
        return {"type": message}

    async def send(message: Any) -> None:
        if message["type"] == "lifespan.startup.complete":
            task_status.started()

    await app({"type": "lifespan", "asgi": {}}, receive, send)


async def test_an_app_that_leaves_its_lifespan(still, client_id):
    """For an app that returns from its lifespan at once, as many a raw one does, the middleware serves it, too."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"

    storage, said = TroubledStorage(), list[str]()
    pool = VisitorPool(client_id, client=still.client(), storage=storage)
    await lived(VisitorMiddleware(app, pool, cookie=IdCookie([KEY])), said)
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert storage.called("aclose")


async def test_an_app_without_lifespan(still, client_id):
    """For an app that refuses the lifespan scope, as Django does, the middleware serves it."""
    from tests.web.shops import django_app

    storage = TroubledStorage()
    said: list[str] = []
    pool = VisitorPool(client_id, client=still.client(), storage=storage)
    await lived(django_app(Shop(pool, IdCookie([KEY]))), said)
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert storage.called("aclose")


async def test_an_app_that_fails_to_start(pool):
    """An app's own failure at startup stays its own."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await lived(VisitorMiddleware(app, pool, cookie=IdCookie([KEY])), [])


async def test_a_storage_that_does_not_close(still, client_id, caplog):
    """A storage that fails at the end is a line in the log; the app goes down in order."""
    said: list[str] = []
    pool = VisitorPool(client_id, client=still.client(), storage=TroubledStorage(aclose=OSError("stuck")))
    await lived(starlette_app(Shop(pool, IdCookie([KEY]))), said)
    assert said[-1] == "lifespan.shutdown.complete"
    assert "could not be closed: OSError: stuck" in caplog.text


async def test_other_scopes_pass(pool):
    """A scope of a kind that is not known passes through untouched."""
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    scope = {"type": "webtransport"}
    await VisitorMiddleware(app, pool, cookie=IdCookie([KEY]))(scope, None, None)  # type: ignore[arg-type]
    assert seen == [scope]


# A client that goes away, with a real server


@contextlib.asynccontextmanager
async def uvicorn_serving(app: Any, until: Any) -> Any:
    import asyncio

    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, lifespan="on"))
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


async def closing_the_tab(browser: httpx.AsyncClient, gate: Any) -> None:
    """Asks for the cart, and goes away while Wix is asked."""
    async with anyio.create_task_group() as group:
        group.start_soon(browser.get, "/cart")
        await gate.wait_for(1)
        group.cancel_scope.cancel()


@pytest.mark.parametrize("form", [IdCookie, SealedCookie])
async def test_a_client_that_goes_away(still, client_id, form, until):
    """A browser that closes its tab while Wix is asked, is the same visitor afterwards."""
    pool = VisitorPool(client_id, client=still.client(), clock=still.now)
    shop = Shop(pool, form([KEY], secure=False))
    async with uvicorn_serving(starlette_app(shop), until) as url, httpx.AsyncClient(base_url=url) as browser:
        await browser.get("/page", headers={"Sec-Fetch-Dest": "document"})
        gate = still.hold(grant_type="anonymous")
        await closing_the_tab(browser, gate)
        gate.release()
        first = json.loads((await browser.get("/cart")).text)
        still.advance(5 * 3600)
        gate = still.hold(grant_type="refresh_token")
        for _ in range(3):
            await closing_the_tab(browser, gate)
        gate.release()
        assert json.loads((await browser.get("/cart")).text) == first
    assert len(still.visitors) == 1
