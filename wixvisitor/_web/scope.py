"""ASGI's types, and the visit that the middleware puts into a scope."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from wixvisitor._web.visit import Visit
from wixvisitor.errors import ConfigurationError

# The types of ASGI 3.0 (asgi.readthedocs.io)
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

KEY: Final = "wixvisitor"


def known(visit: object) -> Visit:
    """Returns the visit that the middleware has put into a scope under ``KEY``.

    Raises:
        ConfigurationError: the app is not wrapped in ``VisitorMiddleware``.
    """
    if not isinstance(visit, Visit):
        raise ConfigurationError("This app has no visitors: wrap it, app = VisitorMiddleware(app, pool, cookie=…)")
    return visit
