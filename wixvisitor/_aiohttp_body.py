"""Bodies between httpx and aiohttp, both ways. Needs the extra ``aiohttp``."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from types import ModuleType
from typing import Any, Final

import aiohttp

from wixvisitor._aiohttp_errors import httpx_error

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})  # httpx asks its table of codes for each
_PIECE: Final = 65_536  # bytes of a long body that are written at a time


class UnreadableBody(Exception):
    """Reading the request's body failed; what its owner raised is in ``error``, and none of aiohttp's business."""

    def __init__(self, error: Exception) -> None:
        super().__init__(type(error).__name__)
        self.error = error


class Upload:
    """A request's body, piece by piece, each within its time. aiohttp itself knows no time limit for writing.

    Attributes:
        timer: to be entered around the request; expires when a piece takes longer than ``seconds``.
        error: what reading the body raised, None if it did not.
    """

    def __init__(self, stream: Any, seconds: float | None) -> None:
        self.timer = asyncio.timeout(None)
        self.error: Exception | None = None
        self._stream, self._seconds = stream, seconds

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yields the body to aiohttp, which asks for the next piece when it has written one."""
        try:
            async for chunk in self._stream:
                for start in range(0, len(chunk), _PIECE):
                    self._expire_in(self._seconds)
                    yield chunk[start : start + _PIECE]
                    self._expire_in(None)
        except Exception as error:
            self.error = error
            raise

    def _expire_in(self, seconds: float | None) -> None:
        with suppress(RuntimeError):  # the answer was there before the body's end, and the timer is done
            self.timer.reschedule(None if seconds is None else asyncio.get_running_loop().time() + seconds)


class Body:
    """A response's body, as it comes from aiohttp; ``response_of`` makes it httpx's or httpx2's.

    Attributes:
        is_whole: whether nobody has touched it, and nothing has to be decoded.
    """

    family: ModuleType

    def __init__(self, response: aiohttp.ClientResponse, request: Any) -> None:
        self._response, self._request = response, request
        self.is_whole = "Content-Encoding" not in response.headers

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.is_whole = False
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except Exception as error:
            failure = httpx_error(error, self.family, self._request) or error
        else:
            return
        raise failure

    async def read(self) -> bytes:
        """Returns all of it."""
        self.is_whole = False
        try:
            return await self._response.read()
        except Exception as error:
            failure = httpx_error(error, self.family, self._request) or error
        raise failure

    async def aclose(self) -> None:
        """Gives the connection back, or closes it if there is more to come."""
        if not self._response.closed:
            self._response.release()
            await self._response.wait_for_close()


class Response:
    """A response that takes its own time, and whose untouched body is read at once, not through four generators.

    Attributes:
        started: by ``time.perf_counter``, when the request was sent.
        sets_cookies: whether there are any.
    """

    family: ModuleType
    status_code: int
    headers: Any
    stream: Any
    is_closed: bool
    started = 0.0
    sets_cookies = True

    @property
    def has_redirect_location(self) -> bool:
        return self.status_code in _REDIRECTS and "Location" in self.headers

    async def aread(self) -> bytes:
        body = self.stream
        if self.is_closed or not (isinstance(body, Body) and body.is_whole):
            return bytes(await super().aread())  # type: ignore[misc]
        self.is_stream_consumed = True
        try:
            self._content = await body.read()
        finally:
            await self.aclose()
        self._num_bytes_downloaded = len(self._content)
        return self._content

    def __reduce__(self) -> Any:
        """Pickles it as a response of httpx's own class, which anybody can read."""
        return _unpickled, (self.family.Response, self.__getstate__())

    async def aclose(self) -> None:
        if not self.is_closed and self.started:
            self.elapsed = timedelta(seconds=time.perf_counter() - self.started)
        if isinstance(self.stream, Body):
            self.is_closed = True
            await self.stream.aclose()
        else:
            await super().aclose()  # type: ignore[misc]


def _unpickled(response_class: Any, state: dict[str, Any]) -> Any:
    response = response_class.__new__(response_class)
    response.__setstate__(state)
    return response


def response_of(family: ModuleType, response: aiohttp.ClientResponse, request: Any) -> Any:
    """Returns httpx's (or httpx2's) response to the request, for what aiohttp answered."""
    version = response.version
    extensions = {"http_version": b"HTTP/1.0" if version and version.minor == 0 else b"HTTP/1.1"}
    if response.reason:
        extensions["reason_phrase"] = response.reason.encode("ascii", "ignore")
    body_class, response_class = _classes(family)
    body = body_class(response, request)
    made = response_class(
        response.status, headers=response.raw_headers, stream=body, request=request, extensions=extensions
    )
    made.sets_cookies = "Set-Cookie" in response.headers
    return made


@functools.cache
def _classes(family: ModuleType) -> tuple[Any, Any]:
    body = type("Body", (Body, family.AsyncByteStream), {"family": family})
    return body, type("Response", (Response, family.Response), {"family": family})
