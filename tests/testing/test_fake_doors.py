"""Both doors, both families of clients, both event loops."""

import importlib
import logging
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import anyio
import httpx
import pytest

from wixvisitor.testing import FakeWix

pytestmark = pytest.mark.anyio

ANONYMOUS = {"clientId": "0a1b2c3d-0000-4000-8000-000000000001", "grantType": "anonymous"}


async def eventually(happened: Callable[[], bool]) -> None:
    with anyio.fail_after(2):
        while not happened():  # noqa: ASYNC110 - it happens in another thread
            await anyio.sleep(0.002)


async def test_a_visitor_is_minted(client: Any, fake: FakeWix) -> None:
    """A token call mints a visitor whose token the API accepts."""
    tokens = (await client.post("/oauth2/token", json=ANONYMOUS)).json()
    response = await client.get("/ecom/v2/carts/current", headers={"Authorization": tokens["access_token"]})
    assert response.status_code == 404
    assert [call.visitor_id for call in fake.calls] == list(fake.visitors) * 2


async def test_every_answer_has_a_request_id_and_a_date(client: Any, fake: FakeWix) -> None:
    """Each answer carries its own request id, which the call log knows, and the date of the fake's clock."""
    fake.advance(86_400)
    answers = [await client.post("/oauth2/token", json=ANONYMOUS), await client.get("/nowhere")]
    assert [answer.headers["x-wix-request-id"] for answer in answers] == [call.request_id for call in fake.calls]
    assert answers[0].headers["x-wix-request-id"] != answers[1].headers["x-wix-request-id"]
    assert time.strftime("%d %b %Y", time.gmtime(fake.now())) in answers[0].headers["date"]


async def test_a_dropped_connection(client: Any, fake: FakeWix, family: ModuleType) -> None:
    """A dropped call is a protocol error of the client's own family, and no visitor was minted."""
    fake.drop()
    with pytest.raises(family.RemoteProtocolError):
        await client.post("/oauth2/token", json=ANONYMOUS)
    assert not fake.visitors
    assert fake.calls[0].status is None


async def test_a_lost_answer(client: Any, fake: FakeWix, family: ModuleType) -> None:
    """A drop after the commit leaves a visitor that the client has never heard of."""
    fake.drop(committed=True)
    with pytest.raises(family.RemoteProtocolError):
        await client.post("/oauth2/token", json=ANONYMOUS)
    assert len(fake.visitors) == 1


async def test_an_answer_cut_short(client: Any, fake: FakeWix, family: ModuleType) -> None:
    """A truncated answer delivers its first bytes and then breaks off."""
    fake.truncate(10)
    received: list[bytes] = []

    async def read() -> None:
        async with client.stream("POST", "/oauth2/token", json=ANONYMOUS) as response:
            assert response.status_code == 200
            async for chunk in response.aiter_bytes():
                received.append(chunk)  # noqa: PERF401 - what came before the break counts

    with pytest.raises(family.RemoteProtocolError):
        await read()
    assert b"".join(received) == b'{"access_t'


async def test_an_answer_that_never_comes(client: Any, fake: FakeWix, family: ModuleType) -> None:
    """A hanging call runs into the client's read timeout, and ends for the fake as well."""
    fake.hang()
    with pytest.raises(family.ReadTimeout):
        await client.post("/oauth2/token", json=ANONYMOUS, timeout=family.Timeout(20.0, read=0.03))
    await eventually(lambda: not fake.calls[0].under_way)
    assert fake.calls[0].status is None


async def test_a_late_answer(client: Any, fake: FakeWix) -> None:
    """A delayed answer is late by real time."""
    fake.delay(0.03)
    started = time.perf_counter()
    assert (await client.post("/oauth2/token", json=ANONYMOUS)).status_code == 200
    assert time.perf_counter() - started >= 0.03


async def test_a_huge_answer(client: Any, fake: FakeWix) -> None:
    """An answer may be 50 MB."""
    fake.fail(200, body=b"x" * 50_000_000)
    response = await client.post("/oauth2/token", json=ANONYMOUS)
    assert len(response.content) == 50_000_000


async def test_a_streamed_answer(client: Any, fake: FakeWix) -> None:
    """An answer may come in chunks and without a length."""
    fake.fail(200, body=[b"one", b"two"])
    response = await client.post("/oauth2/token", json=ANONYMOUS)
    assert response.content == b"onetwo"
    assert "content-length" not in response.headers


async def test_an_endless_answer(fake: FakeWix, family: ModuleType) -> None:
    """At the loopback door an answer may have no end; it stops with the client."""

    def forever() -> Any:
        while True:
            yield b"x" * 1000

    fake.fail(200, body=forever())
    async with fake.serve() as base_url, family.AsyncClient(base_url=base_url) as client:
        async with client.stream("POST", "/oauth2/token", json=ANONYMOUS) as response:
            assert response.status_code == 200
        assert (await client.post("/oauth2/token", json=ANONYMOUS)).status_code == 200


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_content(client: Any, fake: FakeWix, status: int) -> None:
    """A status that allows no body has none."""
    fake.fail(status, body="ignored")
    response = await client.post("/oauth2/token", json=ANONYMOUS)
    assert (response.status_code, response.content) == (status, b"")


async def test_the_server_stops_while_a_call_hangs(fake: FakeWix, caplog: pytest.LogCaptureFixture) -> None:
    """The end of `serve()` takes less than a second whatever calls do, and logs no error."""
    fake.hang()
    errors = []

    async def call(base_url: str) -> None:
        async with httpx.AsyncClient(base_url=base_url, timeout=30) as client:
            try:
                await client.post("/oauth2/token", json=ANONYMOUS)
            except httpx.TransportError as error:
                errors.append(error)

    started = 0.0
    async with anyio.create_task_group() as tasks, fake.serve() as base_url:
        tasks.start_soon(call, base_url)
        await eventually(lambda: bool(fake.calls))
        started = time.perf_counter()
    assert time.perf_counter() - started < 1
    assert len(errors) == 1
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_the_server_stops_when_the_test_is_cancelled(fake: FakeWix) -> None:
    """A cancelled test leaves no server behind."""
    base_url = ""
    with anyio.move_on_after(0.02):
        async with fake.serve() as base_url:
            await anyio.sleep_forever()
    async with httpx.AsyncClient(base_url=base_url) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("/nowhere")


async def test_several_servers(fake: FakeWix) -> None:
    """Servers may run at once and after one another; all lead to the same state."""
    for _ in range(2):
        async with fake.serve() as one, fake.serve() as two:
            assert one != two
            async with httpx.AsyncClient() as client:
                for base_url in (one, two):
                    await client.post(f"{base_url}/oauth2/token", json=ANONYMOUS)
    assert len(fake.visitors) == 4


async def test_the_server_answers_while_the_caller_is_blocked(fake: FakeWix) -> None:
    """A synchronous client in the test's own thread gets its answer."""
    async with fake.serve() as base_url:
        response = httpx.post(f"{base_url}/oauth2/token", json=ANONYMOUS)  # noqa: ASYNC210 - blocking is the point
    assert response.status_code == 200


async def test_any_host_leads_to_the_fake(fake: FakeWix) -> None:
    """In process the host of the URL does not matter."""
    async with fake.client(base_url="https://edge.wixapis.com") as client:
        assert (await client.post("/oauth2/token", json=ANONYMOUS)).status_code == 200
        assert str(client.base_url) == "https://edge.wixapis.com"


async def test_a_head_request(client: Any) -> None:
    """A method that a route does not have is answered like an unknown route."""
    assert (await client.head("/ecom/v2/carts/current")).content == b""


@pytest.mark.parametrize("missing", ["graphql", "starlette", "uvicorn"])
def test_a_missing_extra(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """Without its libraries the import fails with the name of the extra."""
    for name in [name for name in sys.modules if name.startswith("wixvisitor.testing")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"needs \w+.*'wixvisitor\[testing\]'"):
        getattr(importlib.import_module("wixvisitor.testing"), "FakeWix")  # noqa: B009 - asking is the test


async def test_a_port_of_your_choice(fake: FakeWix, anyio_backend: str) -> None:
    """`serve` takes a port, says if another server has it, and takes it again right after the end."""
    async with fake.serve() as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            async with fake.serve(port=port):
                pass
    for _ in range(2):
        async with fake.serve(port=port) as again, httpx.AsyncClient(base_url=again) as client:
            assert again == url
            assert (await client.post("/oauth2/token", json=ANONYMOUS)).status_code == 200
    assert len(fake.visitors) == 2
