"""httpx and httpx2 behind one face: they do the same with unrelated classes.

Nothing here imports httpx2; whoever hands us one of its clients has.
"""

from __future__ import annotations

import functools
import sys
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from types import ModuleType
from typing import Any, Final

import anyio
import httpx

from wixvisitor._internals import bare_stream
from wixvisitor.errors import ConfigurationError

_LONGEST_ENCODED: Final = 16_384  # bytes; compressed they may be 16 MB, and whoever streams did not ask for that
_LONGEST_READ: Final = 5.0  # seconds; a server may send a byte now and then for ever
_LONGEST_END: Final = 1.0  # seconds that leaving a response may take, for closing it and again for what it leaves
_DRAINED: Final = 16  # chunks that a closed stream may still give before it is cut off


def family_of(client: object) -> ModuleType:
    """Returns the module that this client's class comes from: httpx or httpx2.

    Raises:
        ConfigurationError: it is no asynchronous client of either.
    """
    for name in ("httpx", "httpx2"):
        module = sys.modules.get(name)
        if module is not None and isinstance(client, module.AsyncClient):
            return module
    raise ConfigurationError(
        f"client: expected an httpx.AsyncClient or httpx2.AsyncClient, not {type(client).__module__}."
        f"{type(client).__qualname__}"
    )


def family_of_request(request: object) -> ModuleType:
    """Returns the module that this request's class comes from."""
    httpx2 = sys.modules.get("httpx2")
    return httpx2 if httpx2 is not None and isinstance(request, httpx2.Request) else httpx


def is_replayable(request: Any, family: ModuleType) -> bool:
    """Whether a request's body is held in memory, so that it can be sent once more."""
    return isinstance(request.stream, family.ByteStream)


async def read_to_end(response: Any, family: ModuleType, *, limit: int) -> bool:
    """Reads a response that may be streamed, and so gives its connection back.

    Returns:
        Whether the whole body was read. If it is longer than ``limit`` bytes, or takes longer than five seconds,
        nothing is lost: the response starts again from its first byte.
    """
    if response.is_closed:
        return True
    if response.headers.get("content-encoding"):
        limit = min(limit, _LONGEST_ENCODED)
    stream, chunks, size = response.stream, [], 0
    source, end = aiter(bare_stream(response)), anyio.current_time() + _LONGEST_READ
    async for chunk in source:
        chunks.append(chunk)
        size += len(chunk)
        if size > limit or anyio.current_time() > end:
            response.stream = _rewound(family)(chunks, source, stream)
            return False
    await stream.aclose()
    response.stream = family.ByteStream(b"".join(chunks))
    await response.aread()
    return True


async def end_stream(stream: Any, source: AsyncIterator[bytes]) -> None:
    """Closes a stream (or response) that was left early, and with it the generators inside, which nobody could reach.

    trio warns of a generator that is garbage collected half-way; a closed stream soon ends its own. One that goes on
    sending is cut off, after so many chunks and so much time.
    """
    with anyio.move_on_after(_LONGEST_END):
        await stream.aclose()
    with anyio.move_on_after(_LONGEST_END), suppress(Exception):
        for _ in range(_DRAINED):
            await anext(source)
        if isinstance(source, AsyncGenerator):
            await source.aclose()


@functools.cache
def _rewound(family: ModuleType) -> Any:
    class Rewound(family.AsyncByteStream):  # type: ignore[misc, name-defined]
        """A stream of which some was read already, from the beginning."""

        def __init__(self, chunks: list[bytes], rest: AsyncIterator[bytes], stream: Any) -> None:
            self._chunks, self._rest, self._stream = deque(chunks), rest, stream

        def __aiter__(self) -> AsyncIterator[bytes]:
            return self

        async def __anext__(self) -> bytes:  # no generator, which could be left half-way like those inside
            return self._chunks.popleft() if self._chunks else await anext(self._rest)

        async def aclose(self) -> None:
            await end_stream(self._stream, self._rest)

    return Rewound
