"""Adds security headers to answers, and refuses form posts from other sites."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_POLICY: Final = "default-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
_SAFE: Final = ("GET", "HEAD", "OPTIONS")


def headers_for(origin: str) -> dict[str, str]:
    """Returns what an answer of a shop with this origin says.

    Browsers apply ``form-action`` to the redirect after a form as well, and the forms that log in and out lead to Wix.
    Which hosts Wix's pages have is not documented, so every one with https will do; on this machine http, for FakeWix.
    """
    wix = "https:" if origin.startswith("https:") else "https: http:"
    return {
        "Cache-Control": "private, no-store",
        "Content-Security-Policy": f"{_POLICY} {wix}",
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }


class Guard:
    """Adds the security headers that an answer lacks, and refuses what another site's page posts here.

    The visitor's cookie is ``SameSite=Lax``, which keeps it out of such posts in the first place; this is the second
    lock, for browsers and neighbours on the same site that the first one does not stop.
    """

    def __init__(self, app: ASGIApp, *, headers: Mapping[str, str]) -> None:
        self._app, self._headers = app, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/static/"):
                    headers["Cache-Control"] = "no-cache"  # kept, but asked for again: files change with a deployment
            await send(message)

        foreign = scope["method"] not in _SAFE and is_foreign(Headers(scope=scope))
        app = PlainTextResponse("This form was sent from another site.", 403) if foreign else self._app
        await app(scope, receive, guarded)


def is_foreign(headers: Headers) -> bool:
    """Whether a page of another origin makes this request; a program that is no browser says nothing of the kind."""
    site = headers.get("sec-fetch-site")
    if site is not None:  # Fetch Metadata, section 2.3; "none" is the shopper's own doing, like a reload
        return site not in {"same-origin", "none"}
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host")
