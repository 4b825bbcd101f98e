"""A complete answer of the fake, and how it is sent."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from anyio.lowlevel import checkpoint
from attrs import evolve, field, frozen
from starlette.types import ASGIApp, Message, Scope, Send

Body = bytes | Iterable[bytes]
BodyArgument = dict[str, Any] | str | bytes | Iterable[bytes] | None
Header = tuple[str, str]


@frozen(kw_only=True)
class Answer:
    """A response that has not been sent yet."""

    status: int
    headers: tuple[Header, ...]
    body: Body = field(repr=False)

    def with_headers(self, headers: Iterable[Header]) -> "Answer":
        """The same answer with these headers added."""
        return evolve(self, headers=(*self.headers, *headers))


def fault_answer(status: int, headers: Mapping[str, str] | None, body: BodyArgument) -> Answer:
    """The answer of a ``fail`` fault. A dict is sent as JSON, a str as HTML or text, None as an empty body."""
    kind, content = _content(body)
    given = {name.lower(): value for name, value in (headers or {}).items()}
    named = {"content-type": kind, **given} if kind else given
    return Answer(status=status, headers=tuple(named.items()), body=content)


def _content(body: BodyArgument) -> tuple[str, Body]:
    if body is None:
        return "", b""
    if isinstance(body, dict):
        return "application/json", json.dumps(body).encode()
    if isinstance(body, str):
        kind = "text/html" if body.lstrip().startswith("<") else "text/plain"
        return f"{kind}; charset=utf-8", body.encode()
    return "application/octet-stream", body


async def answer_of(app: ASGIApp, scope: Scope, body: bytes) -> Answer:
    """The answer of an ASGI app to a request whose body has been read."""
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, send)
    start = messages[0]
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"])
    content = b"".join(message.get("body", b"") for message in messages[1:])
    kept = tuple(header for header in headers if header[0] != "content-length")
    return Answer(status=start["status"], headers=kept, body=content)


async def send_answer(answer: Answer, send: Send, *, cut_after: int | None) -> None:
    """Sends an answer, with a Content-Length if the size of the body is known.

    With ``cut_after``, at most this many bytes of the body are sent, and the response is not ended.
    """
    # RFC 9110 section 6.4.1: these statuses have no content.
    bodiless = answer.status < 200 or answer.status in (204, 304)
    body: Body = b"" if bodiless else answer.body
    headers = list(answer.headers)
    if isinstance(body, bytes) and not bodiless:
        length = len(body) if cut_after is None else max(len(body), cut_after + 1)
        headers.append(("content-length", str(length)))
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    chunks = (body,) if isinstance(body, bytes) else body
    for chunk in chunks if cut_after is None else _first(chunks, cut_after):
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
        # Other tasks must run, too, while an endless body is sent.
        await checkpoint()
    if cut_after is None:
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _first(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    for chunk in chunks:
        if size <= 0:
            return
        yield chunk[:size]
        size -= len(chunk)
