"""The login's routes, and handlers that need a member, on aiohttp's server."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from wixvisitor._session import VisitorSession
from wixvisitor._web.login_flow import NAME, LoginFlow, OnLogin
from wixvisitor._web.login_rules import MAX_BODY
from wixvisitor._web.member import MemberRequired, member_of
from wixvisitor.aiohttp._visit import visit_of


async def get_member(request: web.Request) -> VisitorSession:
    """Returns the member of the browser that made this request. Makes no call to Wix.

    Raises:
        web.HTTPSeeOther: no member is logged in, and the browser opens a page: it is sent to the login of
            ``login_router``, and comes back after it.
        web.HTTPUnauthorized: no member is logged in; for all other requests, and if the app has no such route.
        ConfigurationError, StorageError: as ``get_visitor``.

    Concurrency: all calls within a request get the same object.
    Cancellation: the visitor is unchanged.
    """
    try:
        return await member_of(visit_of(request), request.rel_url.raw_query_string, _login_path(request))
    except MemberRequired as error:
        headers = dict(error.headers)
        location = headers.pop("Location", None)
        if location is None:
            raise web.HTTPUnauthorized(headers=headers) from None
        raise web.HTTPSeeOther(URL(location, encoded=True), headers=headers) from None


def _login_path(request: web.Request) -> str | None:
    """Returns the path of the login, None if neither the app nor the apps around it have such a route."""
    for app in reversed(request.match_info.apps):
        resource = app.router.named_resources().get(NAME)
        if resource is not None:
            return resource.url_for().raw_path
    return None


def login_router(
    redirect_uri: str,
    *,
    prefix: str | None = None,
    after_login: str = "/",
    after_logout: str = "/",
    login_page: str | None = None,
    forms: bool = False,
    idp: str | None = None,
    keys: Sequence[str | bytes] | None = None,
    on_login: OnLogin | None = None,
) -> list[web.RouteDef]:
    """Returns the routes of logins: ``app.add_routes(login_router("https://shop.example/auth/callback"))``.

    ``GET /auth/login?next=/account`` begins a login on Wix's page. A form that posts to ``/auth/logout?next=/`` logs
    out. The app also needs ``setup``. docs/how-to/login.md has the details.

    Args:
        redirect_uri: the callback's address, as it is listed at Wix. The other routes are beside it. Its origin is the
            one whose pages may post.
        prefix: the path of the routes in the app that gets them, if it is not that of ``redirect_uri``: ``""`` if the
            routes get ``/auth`` from a sub-application, or a mount.
        after_login: the path to which a login leads without ``next``.
        after_logout: the path to which a logout leads without ``next``.
        login_page: the path of your own login page. Members who have to log in are sent there, with ``next``; and
            logins that failed, with ``error`` and ``next``. None: Wix's page, and a short page of ours.
        forms: whether there are the routes ``POST login``, ``POST register`` and ``POST verify`` for your own forms.
        idp: ``"google"``, ``"facebook"``, or the ID of an identity provider: skips Wix's page.
        keys: the keys of the cookies of logins that have begun; None: those of the visitor's cookie. Needed with a
            ``SharedCookie``.
        on_login: called with the member and the ``MemberLogin`` after each login. ``login.previous`` has the tokens
            from before, so that your code can compare the carts.

    Raises:
        ConfigurationError: an argument is wrong.
    """
    flow = LoginFlow(
        redirect_uri,
        after_login=after_login,
        after_logout=after_logout,
        login_page=login_page,
        forms=forms,
        idp=idp,
        keys=keys,
        on_login=on_login,
    )
    return [
        web.route(method, path, _Endpoint(flow, name).serve, name=NAME if name == "login" else None)
        for method, path, name in flow.routes(prefix)
    ]


class _Endpoint:
    """A route of logins."""

    def __init__(self, flow: LoginFlow, name: str) -> None:
        self._flow, self._name = flow, name

    async def serve(self, request: web.Request) -> web.Response:
        """Answers one request."""
        handling = self._flow.handle(
            self._name, visit_of(request), request.rel_url.raw_query_string, lambda: _body(request)
        )
        answer = await handling
        return web.Response(status=answer.status, body=answer.body, headers=CIMultiDict(answer.headers))


async def _body(request: web.Request) -> bytes | None:
    """Returns the request's body, None if it is too large, ``b""`` if it is broken or the browser has left."""
    body = bytearray()
    try:
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > MAX_BODY:
                return None
    except (web.RequestPayloadError, ConnectionError):
        return b""
    return bytes(body)
