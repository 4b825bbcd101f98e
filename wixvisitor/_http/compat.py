"""One interface over httpx and httpx2: they do the same, but their classes are unrelated.

Nothing here imports httpx2: a caller with a client of httpx2 has imported it already.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from types import ModuleType
from typing import Any, Final, Protocol

import anyio
import attrs
import httpx

from wixvisitor._http.internals import transport_stream
from wixvisitor._tasks.shared_task import loaded
from wixvisitor._wire.redaction import without_frames
from wixvisitor.errors import ConfigurationError

_MAX_ENCODED: Final = 16_384  # bytes of a compressed body; decompressed, they may be 16 MB
_MAX_READ: Final = 5.0  # seconds; a slow server may send single bytes for ever
_MAX_PIECE: Final = 1.0  # seconds more for the chunk that is awaited when ``_MAX_READ`` is over
_MAX_HOLD: Final = 1.0  # seconds that an unfinished response may keep its connection during a wait
_MAX_END: Final = 1.0  # seconds for closing a response, and again for the generators inside it
_MOCK: Final = (
    "client: a mock of a client cannot send. For tests use client=FakeWix().client(), from wixvisitor.testing, or a "
    "client with a transport of your own: httpx.AsyncClient(transport=httpx.MockTransport(function)). Or mock the "
    "session: unittest.mock.create_autospec(VisitorSession, instance=True)"
)
_DRAINED: Final = 16  # chunks that are read from a closed stream before its generator is closed


def family_of(client: object) -> ModuleType:
    """Returns the module that this client's class comes from: httpx or httpx2.

    Raises:
        ConfigurationError: it is not an asynchronous client of httpx or httpx2, or it is a mock of one, which has no
            transport to send through.
    """
    if is_mock(client):
        raise ConfigurationError(_MOCK)
    for name in ("httpx", "httpx2"):
        module: ModuleType | None = loaded(name)
        if module is not None and isinstance(client, module.AsyncClient):
            return module
    raise ConfigurationError(
        f"client: expected an httpx.AsyncClient or httpx2.AsyncClient, not {type(client).__module__}."
        f"{type(client).__qualname__}"
    )


def is_mock(thing: object) -> bool:
    """Whether this is an object of ``unittest.mock``. These claim to be of the class that they were made for."""
    mocks: Any = loaded("unittest.mock")
    return mocks is not None and issubclass(type(thing), mocks.NonCallableMock)


def is_client(thing: object) -> bool:
    """Whether this is a client of httpx or httpx2, or a mock of one.

    Any other mock may be a function that makes clients, unless it returns an awaitable.
    """
    mocks: Any = loaded("unittest.mock")
    found = [module.AsyncClient for module in map(loaded, ("httpx", "httpx2")) if module is not None]
    kinds = tuple(kind for kind in found if isinstance(kind, type))  # a test may have patched the class itself
    return isinstance(thing, kinds) or (mocks is not None and isinstance(thing, mocks.AsyncMock))


def family_of_request(request: object) -> ModuleType:
    """Returns the module that this request's class comes from."""
    httpx2: ModuleType | None = loaded("httpx2")
    return httpx2 if httpx2 is not None and isinstance(request, httpx2.Request) else httpx


def is_replayable(request: Any, family: ModuleType) -> bool:
    """Whether a request's body is in memory, so that it can be sent again."""
    return isinstance(request.stream, family.ByteStream)


class Unanswered(Protocol):
    """A response that the caller may never get, such as a 401 before the renewal.

    Only its status matters here. An error in its body is not raised here; it is raised when the caller reads the body.
    """

    async def take(self) -> None:
        """Reads as much of the body as arrives soon, so that the connection becomes free for the renewal."""

    async def hold_while(self, wait: Callable[[], Awaitable[None]]) -> None:
        """Awaits ``wait``. If the body is unfinished, releases the connection after a second."""

    def pass_on(self) -> None:
        """Prepares the response for being returned to the caller."""

    async def prepare_replay(self) -> None:
        """Ends the response, so that its request can be sent again."""


class UnansweredResponse:
    """``Unanswered`` for httpx and httpx2.

    Args:
        response: the response, of httpx or httpx2. It may be streamed.
        limit: how many bytes are read at most.
    """

    __slots__ = ("_family", "_limit", "_response", "_taken")

    def __init__(self, response: Any, family: ModuleType, *, limit: int) -> None:
        self._response, self._family, self._limit = response, family, limit
        self._taken: _Taken | None = None

    async def take(self) -> None:
        """Reads the body, so that the connection becomes free.

        Afterwards the response can be read from its first byte. It ends as this reading ended: with the body's end or
        an error. If the body is longer than the limit, or slower than five seconds, the rest is read from the network.
        """
        response = self._response
        if self._taken is not None or response.is_closed:
            return
        limit = min(self._limit, _MAX_ENCODED) if response.headers.get("content-encoding") else self._limit
        stream = response.stream
        taken = self._taken = await _take(aiter(transport_stream(response)), limit)
        if taken.has_more:
            response.stream = _rewound(self._family)(taken, stream)
            return
        await end_stream(stream, taken.source)
        if taken.error is None and taken.is_whole and self._can_be_decoded(body := taken.body()):
            response.stream = self._family.ByteStream(body)
            await response.aread()
        else:
            response.stream = _rewound(self._family)(taken, None)

    def pass_on(self) -> None:
        """Prepares the response for the caller: closing it early then closes the generators inside, too."""
        response = self._response
        if self._taken is None and not response.is_closed:
            self._taken = _Taken(aiter(transport_stream(response)), has_more=True)
            response.stream = _rewound(self._family)(self._taken, response.stream)

    async def hold_while(self, wait: Callable[[], Awaitable[None]]) -> None:
        """Awaits ``wait``. Releases the connection of an unfinished response after a second: ``wait`` may need it."""
        if self._taken is not None and self._taken.has_more:
            with anyio.move_on_after(_MAX_HOLD):
                await wait()
                return
            await self._let_go()
        await wait()

    async def prepare_replay(self) -> None:
        """Makes the response readable without an error: the client reads it before it sends the replay."""
        await self.take()
        await self._let_go()
        if self._taken is not None and not self._response.is_closed:
            self._response.headers.pop("content-encoding", None)
            self._response.stream = self._family.ByteStream(self._taken.body())

    async def _let_go(self) -> None:
        if self._taken is not None and self._taken.has_more:
            self._taken.has_more = False
            await self._response.stream.aclose()

    def _can_be_decoded(self, body: bytes) -> bool:
        response = self._response
        if not response.headers.get("content-encoding"):
            return True
        try:  # tested on a copy: a failed read cannot be repeated on the response itself
            self._family.Response(response.status_code, headers=response.headers, content=body)
        except Exception:  # each decompression library has errors of its own
            return False
        return True


@attrs.define(eq=False, repr=False, match_args=False)
class _Taken:
    """What was read of a stream, and how the reading ended: at the stream's end, with an error, or before its end."""

    source: AsyncIterator[bytes]
    chunks: deque[bytes] = attrs.field(factory=deque)
    is_whole: bool = False
    has_more: bool = False
    error: Exception | None = None

    def body(self) -> bytes:
        return b"".join(self.chunks)


async def _take(source: AsyncIterator[bytes], limit: int) -> _Taken:
    """Reads a stream. If a chunk does not arrive in time, the rest is lost: a cancelled read cannot be resumed."""
    taken, size, now = _Taken(source), 0, anyio.current_time()
    try:
        with anyio.CancelScope(deadline=now + _MAX_READ + _MAX_PIECE):
            async for chunk in source:
                taken.chunks.append(chunk)
                size += len(chunk)
                if size > limit or anyio.current_time() > now + _MAX_READ:
                    taken.has_more = True
                    return taken
            taken.is_whole = True
    except Exception as error:
        taken.error = without_frames(error)
    return taken


async def end_stream(stream: Any, source: AsyncIterator[bytes]) -> None:
    """Closes a stream (or response) that was left early, and the asynchronous generators inside it.

    trio warns when an unfinished generator is garbage collected. A closed stream normally ends its generator soon. If
    it goes on, the generator is closed after a number of chunks or some time.
    """
    with anyio.move_on_after(_MAX_END):
        await stream.aclose()
    with anyio.move_on_after(_MAX_END), suppress(Exception):
        for _ in range(_DRAINED):
            await anext(source)
        if isinstance(source, AsyncGenerator):
            await source.aclose()


@functools.cache
def _rewound(family: ModuleType) -> Any:
    class Rewound(family.AsyncByteStream):  # type: ignore[misc, name-defined]
        """A stream that was partly read, again from its beginning."""

        def __init__(self, taken: _Taken, stream: Any) -> None:
            self._chunks, self._taken, self._stream = taken.chunks.copy(), taken, stream

        def __aiter__(self) -> AsyncIterator[bytes]:
            return self

        async def __anext__(self) -> bytes:  # not a generator: an unfinished one would have to be closed, too
            if self._chunks:
                return self._chunks.popleft()
            if self._taken.error is not None:
                raise self._taken.error
            if not self._taken.has_more:
                raise StopAsyncIteration
            return await anext(self._taken.source)

        async def aclose(self) -> None:
            if self._stream is not None:
                await end_stream(self._stream, self._taken.source)

    return Rewound
