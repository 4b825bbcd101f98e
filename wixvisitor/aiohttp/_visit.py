"""The visit that belongs to a request of aiohttp's server."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from wixvisitor._web.site import Site
from wixvisitor._web.visit import Visit
from wixvisitor._wire.redaction import drops_frames
from wixvisitor.errors import ConfigurationError

SITE: Final = web.AppKey("wixvisitor_site", Site)
VISIT: Final = web.RequestKey("wixvisitor_visit", Visit)


def visit_of(request: web.Request) -> Visit:
    """Returns the visit of this request, made at the first call.

    Raises:
        ConfigurationError: the app was not set up.
    """
    visit = request.get(VISIT)
    if visit is None:
        site = request.config_dict.get(SITE)
        if site is None:
            raise ConfigurationError("This app has no visitors: call wixvisitor.aiohttp.setup(app, pool, cookie=…)")
        visit = request[VISIT] = Visit(site.visits(), _Request(request))
    return visit


class _Request:
    """A request as this layer sees it. Its repr shows nothing."""

    __slots__ = ("is_websocket", "method", "native")

    def __init__(self, request: web.Request) -> None:
        self.native = request
        self.method = request.method
        self.is_websocket = (request.headers.get("Upgrade") or "").lower() == "websocket"

    @drops_frames
    def get(self, name: str, /) -> str | None:
        """Returns the header of this name, None if there is none."""
        found = self.native.headers.getall(name, None)
        return None if found is None else "; ".join(found)

    @property
    def path(self) -> str:
        """The path, encoded, as the browser sent it."""
        return self.native.rel_url.raw_path
