"""Bodies of aiohttp's requests and responses, as a 401 needs them. Needs the extra ``aiohttp``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import aiohttp
from aiohttp.payload import BytesIOPayload, BytesPayload

_MAX_WAIT: Final = 1.0  # seconds to wait for the end of a 401's body, and then that it may hold its connection


def is_in_memory(body: Any) -> bool:
    """Whether this body can be sent again. Files and streams cannot: they may have changed or be used up."""
    if isinstance(body, aiohttp.MultipartWriter):
        return not body.consumed and all(is_in_memory(part) for part, _, _ in body)
    if isinstance(body, BytesIOPayload):
        return not body.consumed
    return isinstance(body, bytes | BytesPayload)


class UnansweredResponse:
    """``_http.compat.Unanswered`` for aiohttp.

    aiohttp reads a body into its buffer by itself, and gives the connection back at the body's end. So the caller can
    still read the body of a 401 in any way. Only a body that is longer than the buffer holds its connection. Its
    response is closed if the renewal takes more than a second, and reading it then fails.
    """

    __slots__ = ("_request", "_response")

    def __init__(self, request: aiohttp.ClientRequest, response: aiohttp.ClientResponse) -> None:
        self._request, self._response = request, response

    async def take(self) -> None:
        """Waits at most a second for the end of the body. A body longer than the buffer does not end by itself."""
        with suppress(Exception):  # the body is cut off or slow; reading it raises the same error again
            async with asyncio.timeout(_MAX_WAIT):
                await self._response.content.wait_eof()

    async def hold_while(self, wait: Callable[[], Awaitable[None]]) -> None:
        """Waits; closes the response after a second if its body has not ended."""
        if not self._response.content.is_eof():
            with suppress(TimeoutError):
                async with asyncio.timeout(_MAX_WAIT):
                    await wait()
                    return
            if not self._response.content.is_eof():
                self._response.close()
        await wait()

    def pass_on(self) -> None:
        """Does nothing: the body is still in the buffer."""

    async def prepare_replay(self) -> None:
        """Gives the connection back, or closes it if the body has not ended. Waits until the request's body is sent."""
        self._response.release()
        await self._request.close()
