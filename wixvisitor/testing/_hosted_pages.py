"""The routes of the hosted pages: plain HTML for browsers."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wixvisitor.testing import _checkout_page as checkout_page
from wixvisitor.testing import _login_page as login_page
from wixvisitor.testing._calls import CALL, HOSTED, Call
from wixvisitor.testing._html import notice
from wixvisitor.testing._site import Site
from wixvisitor.testing._visit import PageRefused, Visit

Endpoint = Callable[[Request], Awaitable[Response]]

_OWN_SITE = (None, "same-origin", "none")  # Fetch Metadata (W3C): other sites' pages send no form here

_PAGES: dict[str, tuple[Callable[[Visit], Response], list[str]]] = {
    "login": (login_page.login, ["GET", "POST"]),
    "logout": (login_page.logout, ["GET"]),
    "reset": (login_page.new_password, ["GET", "POST"]),
    "checkout": (checkout_page.checkout, ["GET", "POST"]),
    "other": (checkout_page.other, ["GET"]),
}


def hosted_routes(site: Site) -> list[Route]:
    """The routes of all hosted pages."""
    return [Route(HOSTED + name, _endpoint(site, page), methods=methods) for name, (page, methods) in _PAGES.items()]


def _endpoint(site: Site, page: Callable[[Visit], Response]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        call: Call = request.scope[CALL]
        if call.method == "POST" and call.headers.get("sec-fetch-site") not in _OWN_SITE:
            return notice("Not from here", "This form belongs to another page.", status=403)
        with site.lock:
            visit = Visit(site=site, call=call, is_secure=request.url.scheme == "https")
            try:
                return page(visit)
            except PageRefused as refused:
                return refused.response

    return endpoint
