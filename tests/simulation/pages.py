"""Wix's hosted pages and redirect sessions, as the simulation has them: FakeWix's own, without a server."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from threading import RLock
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers

from wixvisitor.testing import _login_page as login_page
from wixvisitor.testing._calls import TOKEN_PATH, Call
from wixvisitor.testing._grants import exchange_code
from wixvisitor.testing._hosted import Hosted
from wixvisitor.testing._members import Members
from wixvisitor.testing._redirects import redirect_session
from wixvisitor.testing._settings import Settings
from wixvisitor.testing._site import CallContext, Site
from wixvisitor.testing._visit import PageRefused, Visit
from wixvisitor.testing._visitors import IssuedToken, TokenResponse, Visitor, Visitors

REDIRECT_PATH = "/_api/redirects-api/v1/redirect-session"
CART_PATH = "/ecom/v2/carts/current"
_API = "https://www.wixapis.com"


class Pages:
    """The pages of one site, and the codes that they hand out."""

    def __init__(self, settings: Settings, visitors: Visitors, server_time: Callable[[], float]) -> None:
        members = Members(settings=settings, server_time=server_time)
        hosted = Hosted(settings=settings, server_time=server_time)
        self._site = Site(
            settings=settings,
            visitors=visitors,
            members=members,
            hosted=hosted,
            products={},
            server_time=server_time,
            lock=RLock(),
        )
        self._people = itertools.count(1)

    # What an app asks

    def cart_id(self, visitor: Visitor) -> str:
        """The visitor's cart; a member has that of the visitor who logged in."""
        return (visitor.cart or self._site.new_cart(visitor)).id

    def redirect(self, token: IssuedToken, body: bytes) -> dict[str, Any]:
        """A link to a page."""
        call, content = self._call("POST", REDIRECT_PATH, body=body), json.loads(body)
        context = CallContext(site=self._site, token=token, body=content, params={}, call=call, base_url=_API)
        return redirect_session(context)

    def exchange(self, fields: dict[str, str]) -> tuple[Visitor, TokenResponse]:
        """The member's tokens for a code, which works once."""
        call = self._call("POST", TOKEN_PATH, body=json.dumps(fields).encode())
        return exchange_code(self._site, call, fields["clientId"])

    # What a browser does

    def log_in(self, url: str) -> str:
        """A new member logs in on the page; the address to which the browser is sent, "" if the link is used."""
        return self._login(url, action="idp", email=f"member{next(self._people)}@shop.example")

    def cancel(self, url: str) -> str:
        """The shopper does not log in after all; the address to which the browser is sent, "" if the link is used."""
        return self._login(url, action="cancel")

    def log_out(self, url: str) -> None:
        """Ends the tokens of the member who asked for the link."""
        login_page.logout(self._visit(self._call("GET", url)))

    # What is true

    def is_used(self, code: str) -> bool:
        """Whether this code was exchanged."""
        found = self._site.hosted.codes.find(code)
        return found is None or found.is_used

    def visitor_of(self, url: str) -> str:
        """The visitor for whom this link was made."""
        redirect = self._site.hosted.redirects.find(dict(parse_qsl(urlsplit(url).query))["session"])
        assert redirect is not None
        return redirect.visitor.id

    def checkout_of(self, url: str) -> str:
        """The cart that this link leads to."""
        return dict(parse_qsl(urlsplit(url).query))["checkoutId"]

    def _login(self, url: str, **form: str) -> str:
        form["session"] = dict(parse_qsl(urlsplit(url).query))["session"]
        try:
            response = login_page.login(self._visit(self._call("POST", url, form=form)))
        except PageRefused:
            return ""
        return response.headers["location"]

    def _visit(self, call: Call) -> Visit:
        return Visit(site=self._site, call=call, is_secure=True)

    def _call(self, method: str, url: str, *, body: bytes = b"", form: dict[str, str] | None = None) -> Call:
        parts, headers = urlsplit(url), {}
        if form is not None:
            body, headers = urlencode(form).encode(), {"content-type": "application/x-www-form-urlencoded"}
        return Call(
            method=method,
            path=parts.path,
            query=dict(parse_qsl(parts.query)),
            headers=Headers(headers),
            body=body,
            received_at=self._site.server_time(),
            request_id="",
        )
