"""Answers that a test gives for the APIs that the fake does not play."""

import difflib
import re
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from wixvisitor.testing._api_methods import METHODS
from wixvisitor.testing._calls import CALL, Call
from wixvisitor.testing._refusals import Refused, refused_response
from wixvisitor.testing._site import Site

T = TypeVar("T")
Given: TypeAlias = T | Callable[[Call], T]

_PLAIN = {place for place in METHODS.values() if "{" not in place[1]}


class AnswerControls:
    """Keeps the answers. The caller's method is ``answer``.

    Concurrency: may be called from any thread while the fake is serving.
    """

    _given: dict[str, Any]

    def _answer_with(self, name: str, body: Any) -> None:
        if name not in METHODS:
            near = difflib.get_close_matches(name, METHODS, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"wixvisitor.apis has no function {name!r}{hint}")
        self._given[name] = body


def answering(routes: ASGIApp, site: Site, given: dict[str, Any]) -> ASGIApp:
    """The app that sends the given answers to callers with a valid token, and leaves all other calls to the routes."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        name = method_of(scope["method"], scope["path"], given) if scope["type"] == "http" and given else None
        if name is None:
            await routes(scope, receive, send)
            return
        call: Call = scope[CALL]
        try:
            with site.lock:
                call.visitor_id = site.visitors.identify(call.headers.get("authorization")).visitor.id
                body = given[name]
                response = JSONResponse(body(call) if callable(body) else body)
        except Refused as refused:
            response = await refused_response(Request(scope), refused)  # type: ignore[assignment]
        await response(scope, receive, send)

    return app


def method_of(method: str, path: str, names: dict[str, Any]) -> str | None:
    """The one of these methods that a request is for. ``/members/my`` is not ``/members/{id}``."""
    candidates = [name for name in names if METHODS[name][0] == method and _pattern(METHODS[name][1]).fullmatch(path)]
    if (method, path) in _PLAIN:
        candidates = [name for name in candidates if METHODS[name][1] == path]
    return min(candidates, key=lambda name: METHODS[name][1].count("{"), default=None)


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile("[^/]+".join(map(re.escape, re.split(r"\{[^}]+\}", path))))
