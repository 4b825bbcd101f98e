"""The fake over a loopback port: uvicorn in a separate thread.

The server has its own event loop. So it serves callers on asyncio and trio, and also while their loop is blocked.
"""

import asyncio
import socket
import sys
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

_REACHED_AT = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - where a server on all addresses is reached
GRACE = 0.5
"""Seconds that running calls have to end after the server has closed their connections."""


@asynccontextmanager
async def serving(app: ASGIApp, *, host: str = "127.0.0.1", port: int = 0) -> AsyncGenerator[str]:
    """Serves an app on this port, 0: a free one, and yields the base URL.

    Raises:
        OSError: The host is unknown, or the port is in use.

    Cancellation: the server is stopped within a second.
    """
    listener = _listener(host, port)
    thread = _ServerThread(app, listener)
    thread.start()
    try:
        yield f"http://{_REACHED_AT.get(host, f'[{host}]' if ':' in host else host)}:{listener.getsockname()[1]}"
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(thread.stop)


def _listener(host: str, port: int) -> socket.socket:
    """A socket that listens already, so that clients can connect before the thread has started."""
    # asyncio turns off Nagle's algorithm only if the protocol is given. With it, each answer is 40 ms late.
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":  # after a restart, old connections may still wait on the port for a minute
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
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
        # If the server failed, the loop is closed already, and the thread has reported the failure.
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
    """A uvicorn server that stops at once: not at the next tick, and not only after the end of every call."""

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
            # In every round, because a connection may have been accepted since.
            for connection in list(self.server_state.connections):
                connection.transport.abort()
            if time.monotonic() > give_up:
                return
            await asyncio.sleep(0.001)


class _AbortableProtocol(H11Protocol):
    """uvicorn's protocol with the ``ABORT`` extension, with which the app can close the connection."""

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
