"""The loopback door: uvicorn in a thread of its own.

It has its own event loop, so that it serves callers on asyncio and trio alike, and goes on when theirs is blocked.
"""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import uvicorn
from anyio import CancelScope, to_thread
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from wixvisitor.testing._connection import ABORT

GRACE = 0.5
"""Seconds that calls get to notice that their connections are closed when the server stops."""


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncGenerator[str]:
    """Serves an app on a free port of 127.0.0.1, and hands out the base URL.

    Cancellation: the server is stopped all the same, within a second.
    """
    listener = _listener()
    thread = _ServerThread(app, listener)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(thread.stop)


def _listener() -> socket.socket:
    """A socket that listens already, so that no one has to wait until the thread is up."""
    # asyncio turns Nagle's algorithm off only where the protocol is given, and with it each answer is 40 ms late.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    return listener


class _ServerThread:
    def __init__(self, app: ASGIApp, listener: socket.socket) -> None:
        self._app = app
        self._listener = listener
        self._up = threading.Event()
        self._ask_to_stop: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._run, name="wixvisitor-fake-wix", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._up.wait()
        # The loop is closed already if the server failed; the thread has reported that then.
        with suppress(RuntimeError):
            self._ask_to_stop()
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._up.set()
            self._listener.close()

    async def _serve(self) -> None:
        stop = asyncio.Event()
        self._ask_to_stop = partial(asyncio.get_running_loop().call_soon_threadsafe, stop.set)
        self._up.set()
        await _Server(_config(self._app), stop).serve(sockets=[self._listener])


class _Server(uvicorn.Server):
    """Stops at once when told to, rather than at the next tick and after every call's end."""

    def __init__(self, config: uvicorn.Config, stop: asyncio.Event) -> None:
        super().__init__(config)
        self._stop = stop

    async def main_loop(self) -> None:
        await self._stop.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - uvicorn's signature
        for server in self.servers:
            server.close()
        give_up = time.monotonic() + GRACE
        while self.server_state.tasks or self.server_state.connections:
            # A connection may have been accepted only now.
            for connection in list(self.server_state.connections):
                connection.transport.abort()
            if time.monotonic() > give_up:
                return
            await asyncio.sleep(0.001)


class _AbortableProtocol(H11Protocol):
    """Lets the app close the connection: the ``ABORT`` extension of the ASGI scope."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        app = self.app

        async def abortable(scope: Scope, receive: Receive, send: Send) -> None:
            extensions = {**scope.get("extensions", {}), ABORT: self._abort}
            await app({**scope, "extensions": extensions}, receive, send)

        self.app = abortable

    def _abort(self, *, flush: bool) -> None:
        if flush:
            self.transport.close()
        else:
            self.transport.abort()


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_AbortableProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=3600,
    )
