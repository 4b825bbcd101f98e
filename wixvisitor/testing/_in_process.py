"""The fake without a network: a transport for httpx or httpx2 that calls the ASGI app in the same process.

The module's own ``ASGITransport`` does the work. Added here: a dropped connection, a truncated answer and a read
timeout raise the module's exceptions. The client gets an answer only when it is complete, so bodies are not streamed,
and an endless body never arrives.
"""

from collections.abc import AsyncIterator
from types import ModuleType, TracebackType
from typing import Any, Self

import anyio
from attrs import define, field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wixvisitor.testing._connection import ConnectionDropped


@define(eq=False)
class InProcessTransport:
    """A transport that passes requests to an ASGI app.

    Args:
        app: The app.
        module: httpx or httpx2, the module of the client that uses this transport.

    """

    app: ASGIApp
    module: ModuleType = field(kw_only=True)

    async def handle_async_request(self, request: Any) -> Any:
        """The app's complete answer.

        Raises:
            module.ReadTimeout: The answer took longer than the request's read timeout.
            module.RemoteProtocolError: The fake dropped the connection.

        """
        exchange = _Exchange(self.app)
        transport = self.module.ASGITransport(app=exchange)
        timeout = request.extensions.get("timeout", {}).get("read")
        try:
            with anyio.move_on_after(timeout):
                response = await transport.handle_async_request(request)
                if exchange.cut_short:
                    response.stream = self._cut_short(response.stream)
                return response
        except ConnectionDropped:
            text = "Server disconnected without sending a response."
            raise self.module.RemoteProtocolError(text, request=request) from None
        raise self.module.ReadTimeout(f"FakeWix did not answer within {timeout} s", request=request)

    async def aclose(self) -> None:
        """Does nothing, because there is no connection."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        await self.aclose()

    def _cut_short(self, stream: Any) -> Any:
        error = self.module.RemoteProtocolError(
            "peer closed connection without sending complete message body (the fake cut it short)"
        )

        async def chunks(_self: object) -> AsyncIterator[bytes]:
            async for chunk in stream:
                yield chunk
            raise error

        # The client accepts only a stream of its own module's class.
        return type("CutShort", (self.module.AsyncByteStream,), {"__aiter__": chunks})()


@define(eq=False)
class _Exchange:
    """One request to the app. If the app drops the connection within an answer, ends the answer and notes that."""

    app: ASGIApp
    cut_short: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except ConnectionDropped:
            if not started:
                raise
            self.cut_short = True
            await send({"type": "http.response.body", "body": b"", "more_body": False})
