"""A browser's request, the same for all frameworks. A header is read only when a rule needs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from wixvisitor._web.headers import Headers


class Request(Headers, Protocol):
    """What this layer needs of a request. Its repr shows no header.

    Attributes:
        native: the framework's own object, for ``consent``.
        method: the HTTP method; that of a websocket is GET (RFC 6455, section 4.1).
        is_websocket: whether it opens a websocket.
    """

    native: Any
    method: str
    is_websocket: bool

    @property
    def path(self) -> str:
        """The path, encoded, as the browser sent it."""
        ...


def opens_page(request: Request, *, is_embedded: bool) -> bool:
    """Whether the browser opens a page with this request. Calls of the page's scripts will follow.

    Browsers say it with ``Sec-Fetch-Dest`` (Fetch Metadata, section 2.1). An older
    browser is recognised by its ``Accept`` header, which asks for HTML.

    Args:
        request: a request.
        is_embedded: whether a page inside another site's page counts.
    """
    if request.method not in ("GET", "HEAD") or request.is_websocket:
        return False
    destination = request.get("sec-fetch-dest")
    if destination is None:
        return "text/html" in (request.get("accept") or "")
    return destination == "document" or (is_embedded and destination in ("iframe", "frame"))


def asked(request: Request, consent: Callable[[Any], Any], native: Callable[[Any], Any] | None) -> Any:
    """Returns the answer of ``consent`` to the framework's own request.

    Args:
        request: a request.
        consent: the application's function.
        native: makes the argument of ``consent`` from ``Request.native``; None: it is ``Request.native`` itself.
    """
    return consent(request.native if native is None else native(request.native))
