"""A FakeWix with its page: the page at ``/``, its controls at ``/_fake/…``, and the API everywhere else."""

import importlib.resources
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from attrs import frozen
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from wixvisitor.testing._calls import HOSTED, Call
from wixvisitor.testing._fake import FakeWix
from wixvisitor.testing._stand_in.controls import Controls, refusal
from wixvisitor.testing._stand_in.events import EventStream
from wixvisitor.testing._stand_in.facts import Facts
from wixvisitor.testing._stand_in.guard import LOCAL_ORIGINS, BodyLimit, HostCheck, OwnPageOnly

_FILES: Final = {
    "/": ("page.html", "text/html"),
    "/_fake/page.css": ("page.css", "text/css"),
    "/_fake/page.js": ("page.js", "text/javascript"),
    "/_fake/icon.svg": ("icon.svg", "image/svg+xml"),
}


def with_page(
    fake: FakeWix,
    *,
    hosts: Iterable[str] = (),
    origins: Iterable[str] = (),
    changed: Callable[[], None] = lambda: None,
) -> ASGIApp:
    """Returns the fake with its page as an ASGI app.

    Args:
        fake: The fake.
        hosts: Names by which the stand-in is called, besides ``localhost`` and IP addresses.
        origins: Origins whose pages may call the API, besides those of this machine.
        changed: Called after each call of a visitor, each visit to a hosted page, and each change by the controls.

    """
    facts = Facts(fake=fake)

    def ended(call: Call) -> None:
        facts.counts.note(call)
        if call.visitor_id is not None or call.path.startswith(HOSTED):
            changed()

    fake._log.on_end = ended
    patterns = (LOCAL_ORIGINS, *map(re.escape, origins))
    api = CORSMiddleware(
        fake.app,
        allow_origin_regex="|".join(patterns),
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["x-wix-request-id", "date", "retry-after"],
    )
    page = OwnPageOnly(app=_page_app(Controls(fake, facts, changed), EventStream(facts)))
    return HostCheck(app=BodyLimit(app=_Switch(page=page, api=api)), hosts=hosts)


@frozen(kw_only=True)
class _Switch:
    page: ASGIApp
    api: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one ASGI request."""
        is_page = scope["path"] == "/" and scope["method"] in ("GET", "HEAD")
        app = self.page if is_page or scope["path"].startswith("/_fake/") else self.api
        await app(scope, receive, send)


def _page_app(controls: Controls, events: EventStream) -> Starlette:
    routes = [Route(path, _file(*file)) for path, file in _FILES.items()]
    app = Starlette(
        routes=[*routes, Route("/_fake/events", events), *controls.routes()],
        exception_handlers={HTTPException: refusal},
    )
    app.router.redirect_slashes = False
    return app


def _file(name: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    content = importlib.resources.files("wixvisitor.testing._stand_in").joinpath("page", name).read_bytes()

    async def endpoint(_request: Request) -> Response:
        return Response(content, media_type=kind)

    return endpoint
