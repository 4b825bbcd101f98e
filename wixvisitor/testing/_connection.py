"""How the fake closes a connection, and how it notices that a client disconnects: ASGI itself has no way to close."""

from collections.abc import Awaitable, Callable
from typing import Never, Protocol

import anyio
from starlette.types import Receive, Scope

ABORT = "wixvisitor.abort"
"""The ASGI extension with which a server allows the app to close the connection."""


class Abort(Protocol):
    """Closes the connection of a request."""

    def __call__(self, *, flush: bool) -> None:
        """Closes at once, or with ``flush`` after everything that was written has been sent."""


class ConnectionDropped(Exception):
    """The fake wants to close this connection, and the server has no ``ABORT`` extension."""


async def close_connection(scope: Scope, *, flush: bool) -> Never:
    """Closes the connection, and waits until the server cancels this call.

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
    """The request's whole body, or None if the client disconnected before its end."""
    chunks = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)


async def while_connected(receive: Receive, work: Callable[[], Awaitable[None]]) -> None:
    """Does the work, and cancels it if the client disconnects. Read the request's body before."""
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_cancel_when_gone, receive, tasks.cancel_scope)
        try:
            await work()
        except Exception as error:
            # Raised again outside the task group, where it does not become an exception group.
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _cancel_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
