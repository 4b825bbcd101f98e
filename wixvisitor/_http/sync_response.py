"""An answer of an async client for code that is not async: its body is read in the event loop of the client."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from wixvisitor._tasks.background_loop import Call


def read_in_loop(response: httpx.Response, run: Callable[[Call[Any]], Any]) -> httpx.Response:
    """Returns a plain answer, of httpx or httpx2 as the given one is. The given one's owner closes it.

    Args:
        response: the answer of an async client, whose body may not have been read.
        run: makes a call in its event loop.
    """
    if response.is_stream_consumed:  # a mock's, or it was read on the way
        return response
    kind = type(response)
    family: Any = sys.modules[kind.__module__.partition(".")[0]]  # httpx or httpx2: each accepts its own streams only

    class Body(family.SyncByteStream):  # type: ignore[misc] # its base is Any
        def __iter__(self) -> Iterator[bytes]:
            chunks = response.aiter_raw()
            while (chunk := run(Call(functools.partial(anext, chunks, None)))) is not None:
                yield chunk

    answer = kind(
        response.status_code,
        headers=response.headers,
        stream=Body(),
        request=response.request,
        extensions=response.extensions,
        history=response.history,
        default_encoding=response.default_encoding,
    )
    answer.next_request = response.next_request
    return answer
