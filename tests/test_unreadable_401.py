"""A 401 counts by its status, whatever is wrong with its body."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from types import ModuleType
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.constants import CART, FINE, SessionMaker
from wixvisitor import Tokens
from wixvisitor._http import compat
from wixvisitor.testing import FakeWix

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_backoff", "soon")]
Body = Callable[[ModuleType], AsyncIterator[bytes]]


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for seconds is waited for a moment."""
    for name in ("_MAX_READ", "_MAX_PIECE", "_MAX_HOLD"):
        monkeypatch.setattr(compat, name, 0.05)


async def _cut_off(family: ModuleType) -> AsyncIterator[bytes]:
    yield b'{"mess'
    raise family.RemoteProtocolError("peer closed connection without sending complete message body")


async def _reset(family: ModuleType) -> AsyncIterator[bytes]:
    if family.__name__ == "":  # makes this a generator
        yield b""
    raise family.ReadError("connection reset by peer")


async def _endless(_: ModuleType) -> AsyncIterator[bytes]:
    while True:
        await anyio.lowlevel.checkpoint()
        yield b"x" * 65_536


async def _silent(_: ModuleType) -> AsyncIterator[bytes]:
    yield b"{"
    await anyio.sleep_forever()


async def _in_drops(_: ModuleType) -> AsyncIterator[bytes]:
    for number in range(20):
        await anyio.sleep(0.01)
        yield bytes([65 + number])


async def _no_gzip(_: ModuleType) -> AsyncIterator[bytes]:
    yield b'{"message": "expired"}'


async def _half_gzip(family: ModuleType) -> AsyncIterator[bytes]:
    yield gzip.compress(b"expired" * 100)[:20]
    raise family.RemoteProtocolError("cut off")


async def _bomb(_: ModuleType) -> AsyncIterator[bytes]:
    yield gzip.compress(bytes(30_000_000))


BODIES: dict[str, tuple[Body, dict[str, str]]] = {
    "cut off": (_cut_off, {"Content-Length": "100"}),
    "reset": (_reset, {}),
    "endless": (_endless, {}),
    "silent": (_silent, {}),
    "in drops": (_in_drops, {}),
    "false gzip": (_no_gzip, {"Content-Encoding": "gzip"}),
    "false br": (_no_gzip, {"Content-Encoding": "br"}),
    "half gzip": (_half_gzip, {"Content-Encoding": "gzip"}),
    "bomb": (_bomb, {"Content-Encoding": "gzip"}),
}


@pytest.fixture(params=BODIES)
def body(request: pytest.FixtureRequest) -> tuple[Body, dict[str, str]]:
    return BODIES[request.param]


def client_for(
    still: FakeWix, family: ModuleType, body: tuple[Body, dict[str, str]], dead: Tokens, connections: int = 1
) -> Any:
    """A client with few connections, over which the API answers 401 with this body to the dead token."""
    inner, place = still.client(family), anyio.Semaphore(connections)
    make, headers = body

    class Stream(family.AsyncByteStream):  # type: ignore[misc, name-defined]
        def __init__(self, source: AsyncIterator[bytes]) -> None:
            self._source, self._holds = source, True

        def __aiter__(self) -> AsyncIterator[bytes]:
            return self._source

        async def aclose(self) -> None:
            if self._holds:
                self._holds = False
                place.release()

    class Transport(family.AsyncBaseTransport):  # type: ignore[misc, name-defined]
        async def handle_async_request(self, request: Any) -> Any:
            with anyio.fail_after(5):
                await place.acquire()
            try:
                if request.headers.get("Authorization") == dead.access_token.value:
                    return family.Response(401, headers=headers, stream=Stream(make(family)))
                response = await inner._transport.handle_async_request(request)
                await response.aread()
            except BaseException:
                place.release()
                raise
            place.release()
            return response

    return family.AsyncClient(transport=Transport())


async def test_it_is_renewed_and_replayed(
    body: tuple[Body, dict[str, str]], still: FakeWix, session_of: SessionMaker, visitor: Tokens, family: ModuleType
) -> None:
    """The first request already has what the replay brought, and so has a stream, over the client's one connection."""
    for is_streamed in (False, True):
        session = session_of(client=client_for(still, family, body, visitor), tokens=visitor)
        still.reset_calls()
        with anyio.fail_after(10):
            if is_streamed:
                async with session.stream("GET", CART) as response:
                    await response.aread()
            else:
                response = await session.get(CART)
        assert response.status_code in FINE
        assert len(still.token_calls("refresh_token")) == 1
        assert [past.status_code for past in response.history] == [401]


@pytest.mark.filterwarnings("ignore:Async generator 'httpx:ResourceWarning")  # httpx's own, after an error
@pytest.mark.parametrize("name", ["cut off", "in drops", "false gzip", "endless"])
async def test_without_a_replay_it_is_as_readable_as_it_was(
    name: str, still: FakeWix, session_of: SessionMaker, visitor: Tokens, family: ModuleType
) -> None:
    """If the renewal fails, or the request cannot be repeated, the caller reads the 401 as it would without us."""

    async def upload() -> AsyncIterator[bytes]:
        yield b"once"

    for content in (None, upload()):
        session = session_of(client=client_for(still, family, BODIES[name], visitor, connections=2), tokens=visitor)
        fault = still.fail(503, path="/oauth2/token", times=None)
        with anyio.fail_after(10):
            async with session.stream("POST", CART, content=content) as response:
                assert response.status_code == 401
                read, error = await all_of(response)
        fault.remove()
        await session.aclose()
        match name:
            case "cut off":
                assert (read, type(error)) == (b'{"mess', family.RemoteProtocolError)
            case "in drops":
                assert (read, error) == (bytes(range(65, 85)), None)
            case "false gzip":
                assert (read, type(error)) == (b"", family.DecodingError)
            case "endless":
                # At least what is read before the renewal. If that takes a second, the connection is given up.
                assert len(read) > 1_048_576


async def all_of(response: Any) -> tuple[bytes, Exception | None]:
    """What can be read of a response, up to a few megabytes, and what went wrong then."""
    read = b""
    try:
        async with aclosing(response.aiter_bytes()) as chunks:
            async for chunk in chunks:
                read += chunk
                if len(read) > 2_000_000:
                    break
    except Exception as error:
        return read, error
    return read, None


async def test_a_request_that_cannot_be_repeated_renews_all_the_same(
    body: tuple[Body, dict[str, str]], still: FakeWix, session_of: SessionMaker, visitor: Tokens, family: ModuleType
) -> None:
    """The next request goes out with the token that was renewed in the background."""

    async def upload() -> AsyncIterator[bytes]:
        yield b"once"

    session = session_of(client=client_for(still, family, body, visitor), tokens=visitor)
    async with session.stream("POST", CART, content=upload()) as response:
        assert response.status_code == 401
    with anyio.fail_after(10):
        assert (await session.get(CART)).status_code in FINE
    assert len(still.token_calls("refresh_token")) == 1


async def test_the_connection_that_fails_is_not_named_with_a_token(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, family: ModuleType
) -> None:
    """An error that was met before the renewal, and is raised after it, brings no frames from then."""
    session = session_of(client=client_for(still, family, BODIES["reset"], visitor), tokens=visitor)
    still.fail(503, path="/oauth2/token", times=None)
    with pytest.raises(family.ReadError) as caught:
        await session.get(CART)
    frames, trace = list[str](), caught.value.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    assert "_reset" not in frames
