"""What an answer says to the browser unless it knows better, and which requests are not listened to."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS: Final = {
    "Cache-Control": "private, no-store",
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_SAFE: Final = ("GET", "HEAD", "OPTIONS")


class Guard:
    """Adds the security headers, and refuses what another site's page posts here.

    The visitor's cookie is ``SameSite=Lax``, which keeps it out of such posts in the first place; this is the second
    lock, for browsers and neighbours on the same site that the first one does not stop.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                own = headers.get("cache-control")
                headers.update(HEADERS)
                if own is not None:  # a page that is the same for everybody
                    headers["Cache-Control"] = own
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
