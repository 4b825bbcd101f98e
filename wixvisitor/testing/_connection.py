"""What an ASGI app cannot say about its connection, and what it can only guess."""

from collections.abc import Awaitable, Callable
from typing import Never, Protocol

import anyio
from starlette.types import Receive, Scope

ABORT = "wixvisitor.abort"
"""The ASGI extension by which a server lets the app close the connection."""


class Abort(Protocol):
    """Closes the connection of a request."""

    def __call__(self, *, flush: bool) -> None:
        """Closes now, or once what was sent has left."""


class ConnectionDropped(Exception):
    """The fake closes this connection. Raised where the server offers no way to do so."""


async def close_connection(scope: Scope, *, flush: bool) -> Never:
    """Closes the connection and waits to be cancelled for it.

    Raises:
        ConnectionDropped: The server has no ``ABORT`` extension.

    """
    abort: Abort | None = scope.get("extensions", {}).get(ABORT)
    if abort is None:
        raise ConnectionDropped
    abort(flush=flush)
    await anyio.sleep_forever()
    raise AssertionError("unreachable")


async def read_body(receive: Receive) -> bytes | None:
    """The request's whole body, or None if the client went away before its end."""
    chunks = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)


async def while_connected(receive: Receive, work: Callable[[], Awaitable[None]]) -> None:
    """Does the work, and stops when the client goes away; the request's body must have been read."""
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_cancel_when_gone, receive, tasks.cancel_scope)
        try:
            await work()
        except Exception as error:
            # Raised again outside of the group, which would wrap it.
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _cancel_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
