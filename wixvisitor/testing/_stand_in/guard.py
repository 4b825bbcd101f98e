"""Protects a stand-in from pages of other sites, which run in the browser of the developer and reach loopback, too.

- The Host header must be an IP address, ``localhost``, or a name that was allowed. So a name of another site that was
  made to point to this machine (DNS rebinding) leads nowhere.
- The page and its controls answer requests of this page only: Origin and Sec-Fetch-Site (Fetch Metadata, W3C) tell.
  Programs such as curl send neither.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

from attrs import field, frozen
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY: Final = 4 * 1024 * 1024
"""How many bytes the body of a request may have."""
LOCAL_ORIGINS: Final = r"https?://(localhost|[a-z0-9.-]+\.localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?"
"""The origins whose pages may call the API."""
_PORT: Final = re.compile(r":[0-9]*$")
_CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_HEADERS: Final = (
    (b"content-security-policy", _CONTENT_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


def _lower(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.lower() for name in names)


@frozen(kw_only=True)
class HostCheck:
    """Answers 421 to a Host that is not the stand-in's.

    Attributes:
        hosts: Names that are allowed besides IP addresses and ``localhost``.

    """

    app: ASGIApp
    hosts: frozenset[str] = field(converter=_lower)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one ASGI request."""
        headers = Headers(scope=scope)
        host = _PORT.sub("", headers.get("host", "")).lower()
        if not (is_local(host) or host in self.hosts):
            text = f"The stand-in for Wix is not called {host[:100]!r}. If it is, start it with --allow-host.\n"
            await PlainTextResponse(text, 421)(scope, receive, send)
            return
        await self.app(scope, receive, send)


def is_local(host: str) -> bool:
    """Whether this is no name that somebody else's DNS can explain: an IP address, or ``localhost``."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


@frozen(kw_only=True)
class BodyLimit:
    """Answers 413 to a body of more than ``MAX_BODY`` bytes, and gives the others to the app in one piece."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one ASGI request."""
        chunks: list[bytes] = []
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            chunks.append(message.get("body", b""))
            more = message.get("more_body", False)
            if sum(map(len, chunks)) > MAX_BODY:
                await PlainTextResponse(f"The stand-in takes at most {MAX_BODY} bytes.\n", 413)(scope, receive, send)
                return
        whole: list[Message] = [{"type": "http.request", "body": b"".join(chunks), "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self.app(scope, replay, send)


@frozen(kw_only=True)
class OwnPageOnly:
    """Answers 403 to requests of other sites' pages, and adds the headers that protect the page itself."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one ASGI request."""

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        app = self.app if is_own(scope) else _FOREIGN
        await app(scope, receive, protected)


_FOREIGN: Final = JSONResponse(
    {"message": "This is for the stand-in's own page and for programs, not for pages of other origins."}, 403
)


def is_own(scope: Scope) -> bool:
    """Whether a request comes from the stand-in's page, from a program, or is a visit to the page."""
    headers = Headers(scope=scope)
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if scope["path"] == "/" and scope["method"] in ("GET", "HEAD"):
        return headers.get("sec-fetch-mode", "navigate") == "navigate" or site == "same-origin"
    if origin is not None and origin.partition("://")[2] != headers.get("host"):
        return False
    return site in (None, "same-origin", "none")
