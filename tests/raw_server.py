"""A server of a few bytes: says what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import attrs

Answer = Callable[["Asked", asyncio.StreamWriter], Awaitable[None]]


@attrs.define
class Asked:
    """One request as it came."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


@attrs.define
class RawServer:
    """What it was asked, and over how many connections."""

    url: str = ""
    asked: list[Asked] = attrs.field(factory=list)
    connections: int = 0
    open: int = 0
    most_open: int = 0


def saying(text: str | bytes, *, close: bool = False) -> Answer:
    """An answer of these bytes."""

    async def answer(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(text if isinstance(text, bytes) else text.replace("\n", "\r\n").encode())
        if close:
            writer.close()

    return answer


OK = saying("HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Length: 11\n\n" + '{"a": "é"}', close=False)


async def read_request(reader: asyncio.StreamReader) -> Asked:
    """Reads one request to its end."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in head[1:] if line)]
    asked = Asked(head[0], headers, b"")
    if asked.all("transfer-encoding") == ["chunked"]:
        while size := int(await reader.readline(), 16):
            asked.body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    elif asked.all("content-length"):
        asked.body = await reader.readexactly(int(asked.all("content-length")[0]))
    return asked


@asynccontextmanager
async def raw_server(answer: Answer = OK, *, context: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    """Serves as long as the block, each connection until its end."""
    server = RawServer()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        server.connections += 1
        server.open += 1
        server.most_open = max(server.most_open, server.open)
        try:
            while not writer.is_closing():
                server.asked.append(await read_request(reader))
                await answer(server.asked[-1], writer)
                await writer.drain()
        except (OSError, EOFError, ValueError, asyncio.CancelledError):
            pass
        finally:
            server.open -= 1
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = listening.sockets[0].getsockname()[1]
    server.url = f"{'https' if context else 'http'}://127.0.0.1:{port}"
    try:
        yield server
    finally:
        listening.close()
        await asyncio.sleep(0)  # what is being accepted
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listening.wait_closed()
