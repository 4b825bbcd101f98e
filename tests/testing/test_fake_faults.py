"""Faults, gates, the call log and strict mode."""

import threading
from typing import Any

import anyio
import httpx
import pytest

from tests.constants import CART
from wixvisitor.testing import FakeWix

pytestmark = pytest.mark.anyio

ANONYMOUS = {"clientId": "0a1b2c3d-0000-4000-8000-000000000001", "grantType": "anonymous"}


async def statuses(client: httpx.AsyncClient, count: int) -> list[int]:
    return [(await client.post("/oauth2/token", json=ANONYMOUS)).status_code for _ in range(count)]


async def test_failures_take_turns(fake: FakeWix, wix: httpx.AsyncClient) -> None:
    """Faults are used in the order they were added, each as often as it may be."""
    first, second = fake.fail(503, times=2), fake.fail(500)
    assert await statuses(wix, 4) == [503, 503, 500, 200]
    assert (first.used, second.used) == (2, 1)
    assert [call.status for call in fake.calls] == [503, 503, 500, 200]


async def test_a_failure_after_some_calls(fake: FakeWix, wix: httpx.AsyncClient) -> None:
    """`after` lets calls through first."""
    fake.fail(503, after=2)
    assert await statuses(wix, 4) == [200, 200, 503, 200]


async def test_a_failure_for_ever(fake: FakeWix, wix: httpx.AsyncClient) -> None:
    """`times=None` is for ever, until the fault is removed."""
    fault = fake.fail(503, times=None)
    assert await statuses(wix, 3) == [503, 503, 503]
    fault.remove()
    assert await statuses(wix, 1) == [200]
    assert fault.used == 3


async def test_a_failure_of_one_grant(fake: FakeWix, wix: httpx.AsyncClient) -> None:
    """`grant_type` spares the calls of other grants."""
    fake.fail(503, grant_type="refresh_token")
    assert await statuses(wix, 1) == [200]
    refresh = {**ANONYMOUS, "grantType": "refresh_token", "refreshToken": "x"}
    assert (await wix.post("/oauth2/token", json=refresh)).status_code == 503
    assert len(fake.token_calls("refresh_token")) == len(fake.token_calls("anonymous")) == 1


async def test_paths(fake: FakeWix, wix: httpx.AsyncClient) -> None:
    """A path is exact, a beginning before a `*`, or None for the API; a route with a fault is not unknown."""
    fake.fail(501, path=CART)
    fake.fail(502, path="/blog/*")
    fake.fail(503, path=None)
    paths = [CART, "/blog/v3/posts", "/elsewhere"]
    assert [(await wix.get(path)).status_code for path in paths] == [501, 502, 503]
    assert await statuses(wix, 1) == [200]
    assert not fake.unmatched


@pytest.mark.parametrize(
    ("body", "content", "content_type"),
    [
        (None, b"", None),
        ({"error": "x"}, b'{"error": "x"}', "application/json"),
        ("<html>", b"<html>", "text/html; charset=utf-8"),
        ("slow down", b"slow down", "text/plain; charset=utf-8"),
        (b"\x00", b"\x00", "application/octet-stream"),
    ],
)
async def test_bodies(
    fake: FakeWix, wix: httpx.AsyncClient, body: Any, content: bytes, content_type: str | None
) -> None:
    """The type of the body decides its content type."""
    fake.fail(429, body=body, headers={"Retry-After": "7"})
    response = await wix.post("/oauth2/token", json=ANONYMOUS)
    assert (response.content, response.headers.get("content-type")) == (content, content_type)
    assert response.headers["retry-after"] == "7"


async def test_own_headers_win(fake: FakeWix, wix: httpx.AsyncClient) -> None:
    """A fault's headers replace those the fake would set."""
    fake.fail(503, headers={"Content-Type": "text/odd", "X-Wix-Request-Id": "mine", "Date": "never"}, body="x")
    response = await wix.post("/oauth2/token", json=ANONYMOUS)
    assert response.headers.get_list("x-wix-request-id") == ["mine"]
    assert (response.headers["content-type"], response.headers["date"]) == ("text/odd", "never")


async def test_a_failure_after_the_commit(fake: FakeWix, wix: httpx.AsyncClient) -> None:
    """A committed failure has done the work."""
    fake.fail(504, committed=True)
    assert await statuses(wix, 1) == [504]
    assert len(fake.visitors) == 1


async def test_a_delay_before_a_failure(fake: FakeWix, wix: httpx.AsyncClient) -> None:
    """Delays add to what comes after them."""
    delay, failure = fake.delay(0.001), fake.fail(503)
    assert await statuses(wix, 1) == [503]
    assert (delay.used, failure.used) == (1, 1)


async def test_cookies_and_headers(fake: FakeWix, wix: httpx.AsyncClient) -> None:
    """Cookies and headers are put on the API's answers, errors included, and not on the token endpoint's."""
    fake.set_cookie("server=a; Path=/")
    fake.set_cookie("once=b; Path=/", times=1)
    fake.add_header("X-Wix-Consistent", "token-1")
    response = await wix.get(CART)
    assert response.headers.get_list("set-cookie") == ["server=a; Path=/", "once=b; Path=/"]
    assert response.headers["x-wix-consistent"] == "token-1"
    assert (await wix.get(CART)).headers.get_list("set-cookie") == ["server=a; Path=/"]
    assert "set-cookie" not in (await wix.post("/oauth2/token", json=ANONYMOUS)).headers
    assert fake.calls[1].headers["cookie"] == "server=a; once=b"


async def test_a_gate(client: Any, fake: FakeWix) -> None:
    """Calls wait at a gate, before anything is done for them, until it is released."""
    answers: list[int] = []

    async def call() -> None:
        answers.append((await client.post("/oauth2/token", json=ANONYMOUS)).status_code)

    gate = fake.hold()
    async with anyio.create_task_group() as tasks:
        with gate:
            for _ in range(5):
                tasks.start_soon(call)
            await gate.wait_for(5)
            assert (gate.waiting, len(fake.visitors), answers) == (5, 0, [])
    assert answers == [200] * 5
    assert (gate.waiting, fake.max_concurrency(), fake.max_concurrency(CART)) == (0, 5, 0)
    await call()
    assert fake.max_concurrency() == 5


async def test_a_gate_after_the_commit(fake: FakeWix, wix: httpx.AsyncClient) -> None:
    """A committed gate holds the answer only."""
    async with anyio.create_task_group() as tasks:
        gate = fake.hold(committed=True)
        tasks.start_soon(statuses, wix, 1)
        await gate.wait_for(1)
        assert len(fake.visitors) == 1
        gate.release()


async def test_a_gate_is_released_from_another_thread(fake: FakeWix, wix: httpx.AsyncClient) -> None:
    """Any thread may release a gate."""
    gate = fake.hold()
    thread = threading.Timer(0.02, gate.release)
    thread.start()
    assert await statuses(wix, 1) == [200]
    thread.join()


async def test_nobody_comes_to_the_gate(fake: FakeWix) -> None:
    """Waiting for calls that do not come is a TimeoutError that says how many came."""
    with pytest.raises(TimeoutError, match="0 of 1 calls"):
        await fake.hold().wait_for(1, timeout=0.01)


async def test_a_call_leaves_the_gate(client: Any, fake: FakeWix) -> None:
    """A client that goes away no longer waits, and nothing was done for it."""
    gate = fake.hold()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(statuses, client, 1)
        await gate.wait_for(1)
        tasks.cancel_scope.cancel()
    with anyio.fail_after(2):
        while gate.waiting:  # noqa: ASYNC110 - it happens in another thread
            await anyio.sleep(0.002)
    gate.release()
    assert not fake.visitors


async def test_sequential_calls_are_not_concurrent(client: Any, fake: FakeWix) -> None:
    """One call after another is a concurrency of one."""
    await statuses(client, 5)
    assert fake.max_concurrency() == 1


async def test_the_call_log(fake: FakeWix, wix: httpx.AsyncClient) -> None:
    """A call knows what was sent and what became of it, and its repr shows no token."""
    access_token = fake.mint_visitor(ANONYMOUS["clientId"])["access_token"]
    await wix.get(CART, params={"a": "1"}, headers={"Authorization": access_token, "X-Own": "mine"})
    await wix.post("/oauth2/token", json={**ANONYMOUS, "refreshToken": "secret-refresh"})
    api, token = fake.calls
    assert (api.method, api.path, api.query, api.json, api.status) == ("GET", CART, {"a": "1"}, None, 404)
    assert (api.headers["x-own"], api.headers["AUTHORIZATION"]) == ("mine", access_token)
    assert token.json["grantType"] == "anonymous"
    assert b"anonymous" in token.body
    assert abs(token.received_at - fake.now()) < 5
    assert access_token not in repr(api)
    assert "secret-refresh" not in repr(token)
    assert (fake.api_calls(), fake.token_calls()) == ([api], [token])
    fake.reset_calls()
    assert (fake.calls, fake.max_concurrency()) == ([], 0)


async def test_an_unknown_route(fake: FakeWix, wix: httpx.AsyncClient) -> None:
    """An unknown route is a 404 in Wix's format, remembered, and `check` complains of it."""
    response = await wix.get("/blog/v3/posts")
    assert (response.status_code, response.json()["details"]) == (404, {})
    assert [call.path for call in fake.unmatched] == ["/blog/v3/posts"]
    with pytest.raises(AssertionError, match="GET /blog/v3/posts"):
        fake.check()


async def test_strict_mode() -> None:
    """A strict fake complains at the end of `with` and of `serve()`; one that is not says nothing."""
    with FakeWix() as fake:
        async with fake.client() as wix:
            await wix.get("/nowhere")
    with pytest.raises(AssertionError, match="GET /nowhere"), FakeWix(strict=True) as fake:
        async with fake.client() as wix:
            await wix.get("/nowhere")
    with pytest.raises(AssertionError, match="GET /nowhere"):
        async with FakeWix(strict=True).serve() as base_url, httpx.AsyncClient() as client:
            await client.get(f"{base_url}/nowhere")


async def test_strict_mode_hides_no_exception() -> None:
    """A strict fake keeps quiet when the test has failed already."""

    async def fail_in_with() -> None:
        with FakeWix(strict=True) as fake:
            async with fake.client() as wix:
                await wix.get("/nowhere")
            raise ZeroDivisionError

    async def fail_in_serve() -> None:
        async with FakeWix(strict=True).serve() as base_url, httpx.AsyncClient() as client:
            await client.get(f"{base_url}/nowhere")
            raise ZeroDivisionError

    for failing in (fail_in_with, fail_in_serve):
        with pytest.raises(ZeroDivisionError):
            await failing()
