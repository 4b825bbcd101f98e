"""Closes a client that was made here when its event loop ends, if nothing has closed it before.

A job that calls ``asyncio.run`` and never ``aclose()`` would leave open sockets, and a ``ResourceWarning`` for each.
``asyncio.run``, ``asyncio.Runner`` and uvloop close all asynchronous generators of a loop before they close the loop
(docs.python.org/3/library/asyncio-eventloop.html: ``loop.shutdown_asyncgens``). So each client belongs to one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

from wixvisitor._tasks.shared_task import loaded


def owner_of(client: Any, loop: object) -> AsyncGenerator[None] | None:
    """Returns a generator that closes the client at the loop's end, or when nothing refers to the generator any more.

    Args:
        client: a client of httpx or httpx2.
        loop: the running event loop.

    Returns:
        The generator; None on trio, which warns of a generator that was not closed as it warns of a socket.
    """
    asyncio = loaded("asyncio")
    if asyncio is None or not isinstance(loop, asyncio.AbstractEventLoop):
        return None
    owner = _own(client)
    with suppress(StopIteration):
        anext(owner).send(None)  # runs up to the yield, and awaits nothing; from here on the loop knows the generator
    return owner


async def close(client: Any, owner: AsyncGenerator[None] | None) -> None:
    """Closes the client, and ends its generator."""
    await client.aclose()
    if owner is not None:
        with suppress(RuntimeError):  # the loop is closing it at this moment
            await owner.aclose()


async def _own(client: Any) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        await client.aclose()
