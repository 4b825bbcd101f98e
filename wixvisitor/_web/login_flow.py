"""What the login's routes do, without a framework: a ``Visit``, a query and a body come in, an ``Answer`` goes out.

A login that fails changes no session: it ends in a page or a redirect, and only ``finish_login`` adopts a member.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from wixvisitor._session import VisitorSession
from wixvisitor._tasks.log import fields as log_fields
from wixvisitor._tasks.log import logger
from wixvisitor._web import login_rules as rules
from wixvisitor._web.login_call import Body, Call, is_for_now
from wixvisitor._web.login_cookies import LoginCookies
from wixvisitor._web.login_forms import Forms
from wixvisitor._web.login_hosted import Hosted
from wixvisitor._web.login_pages import Answer, for_script, page, redirect
from wixvisitor._web.login_rules import Place, safe_next, with_query
from wixvisitor._web.visit import Visit
from wixvisitor._web.visits import Visits
from wixvisitor._wire.redaction import drops_frames_async
from wixvisitor.errors import (
    ConfigurationError,
    MemberLoginError,
    SessionExpired,
    StorageError,
    TokenRequestError,
    WixAPIError,
)
from wixvisitor.members import MemberLogin

OnLogin = Callable[[VisitorSession, MemberLogin], Awaitable[object]]

NAME: Final = "wixvisitor_login"  # of the login's route, by which a framework finds its path


class LoginFlow:
    """The routes of one site's logins.

    Args:
        redirect_uri: the callback's address, as it is listed at Wix. The other routes are beside it.
        after_login: the path to which a login leads without ``next``.
        after_logout: the path to which a logout leads without ``next``.
        login_page: the path of the application's own page; it gets the reason of a failure as ``error``.
        forms: whether there are routes for the application's own forms, with passwords.
        idp: the identity provider whose page is shown in place of Wix's.
        keys: those of the cookies of logins; None: the visitor's cookie's.
        on_login: called after each login, with the member and the login.

    Raises:
        ConfigurationError: an argument is wrong.

    Concurrency: for one event loop at a time, like the app.
    """

    def __init__(
        self,
        redirect_uri: str,
        *,
        after_login: str = "/",
        after_logout: str = "/",
        login_page: str | None = None,
        forms: bool = False,
        idp: str | None = None,
        keys: Sequence[str | bytes] | None = None,
        on_login: OnLogin | None = None,
    ) -> None:
        self.place = Place.of(redirect_uri)
        self.after_login = rules.checked_path(after_login, "after_login")
        self.after_logout = rules.checked_path(after_logout, "after_logout")
        self.login_page = None if login_page is None else rules.checked_path(login_page, "login_page")
        if forms and login_page is None:
            raise ConfigurationError("login_page: forms=True needs the path of your page with the form")
        if on_login is not None and not callable(on_login):
            raise ConfigurationError("on_login: expected a coroutine function of the member and the login")
        self.hosted = Hosted(self, idp)
        self.forms = Forms(self) if forms else None
        self._keys, self._on_login = keys, on_login
        self._made: tuple[Visits, LoginCookies] | None = None
        self._methods = {name: method for method, _, name in self.routes()}

    def routes(self, prefix: str | None = None) -> list[tuple[str, str, str]]:
        """Returns the method, path and name of each route.

        Args:
            prefix: the path of the routes in the app; None: as in ``redirect_uri``.

        Raises:
            ConfigurationError: the prefix is no path.
        """
        place = self.place
        if prefix is not None and not rules.is_prefix(prefix):
            raise ConfigurationError('prefix: expected a path without a slash at its end, like "/auth", or ""')
        start = place.prefix if prefix is None else prefix
        found = [
            ("GET", f"{start}/login", "login"),
            ("GET", f"{start}{place.callback.removeprefix(place.prefix)}", "callback"),
            ("POST", f"{start}/logout", "logout"),
        ]
        names = {"login": "password", "register": "register", "verify": "verify"} if self.forms else {}
        return [*found, *(("POST", f"{start}/{end}", name) for end, name in names.items())]

    async def handle(self, name: str, visit: Visit, query: str, body: Body) -> Answer:
        """Returns the answer of a route.

        Raises:
            ConfigurationError: the app is not set up for logins.
            What ``on_login`` raises. The member is logged in all the same.

        Cancellation: leaves the visitor intact; a login whose answer never started has to begin again.
        """
        call = Call(visit, query, body)
        del query, body  # error reporters print local variables, and the query holds a code
        answer = await self._answer(name, call)
        if rules.is_json(visit.request.get("content-type")):
            answer = for_script(answer)
        if call.done is not None and self._on_login is not None:
            visitor, login = call.done
            await self._on_login(visitor, login)
        return answer

    @drops_frames_async
    async def _answer(self, name: str, call: Call) -> Answer:
        request = call.visit.request
        method = self._methods[name]
        if request.method != method:
            return page("method", headers=[("Allow", method)])  # RFC 9110, section 15.5.6
        if method == "POST" and not rules.is_own_page(request, self.place.origin):
            return page("foreign", links=self.links(self.after_login))
        if method == "GET" and rules.is_prefetch(request):
            return page("prefetch")
        return await self.mapped(call.visit, self._handler(name)(call))

    def _handler(self, name: str) -> Callable[[Call], Awaitable[Answer]]:
        handlers: dict[str, Callable[[Call], Awaitable[Answer]]] = {
            "login": self.hosted.begin,
            "callback": self.hosted.callback,
            "logout": self._logout,
        }
        if self.forms is not None:
            handlers |= {"password": self.forms.log_in, "register": self.forms.register, "verify": self.forms.verify}
        return handlers[name]

    # POST logout

    async def _logout(self, call: Call) -> Answer:
        visit = call.visit
        target = safe_next(rules.single_fields(call.query).get("next"), self.after_logout, self.place.own)
        if not visit.allowed or visit.sender.given is None:
            return redirect(target)
        visitor = await visit.visitor()
        if not visitor.logged_in():
            return redirect(target)
        try:
            return redirect(await visitor.members.logout(self.place.origin + target))
        except Exception as error:
            if visitor.logged_in() or _reason(visit, error) is None:
                raise
            logger.warning("wixvisitor: logged out here, but not at Wix: %s", error, extra=log_fields(error=error))
            return redirect(target)

    # What all of them need

    def cookies(self, visits: Visits) -> LoginCookies:
        """Returns the cookies of this site's logins."""
        if self._made is None or self._made[0] is not visits:
            made = LoginCookies(visits.cookie, self._keys, visits.client_id, self.place.redirect_uri)
            self._made = visits, made
        return self._made[1]

    def target(self, given: str | None) -> str:
        """Returns the path to which a login leads."""
        return safe_next(given, self.after_login, self.place.own)

    def fail(self, reason: str, target: str) -> Answer:
        """Returns the page of a login that failed: the application's own, if it has one."""
        if self.login_page is not None:
            return redirect(with_query(self.login_page, error=reason, next=target))
        return page(reason, links=self.links(target))

    def links(self, target: str) -> list[tuple[str, str]]:
        """Returns the links of a page."""
        again = with_query(self.place.path("login"), next=target)
        return [(again, "Log in"), (self.after_login, "Back to the site")]

    async def mapped(self, visit: Visit, work: Awaitable[Answer], *, instead: Answer | None = None) -> Answer:
        """Returns the answer, or a page for an error that is not the application's.

        Args:
            visit: the request's.
            work: makes the answer.
            instead: the answer in place of the page.
        """
        try:
            return await work
        except Exception as error:
            reason = _reason(visit, error)
            if reason is None:
                raise
            logger.warning("wixvisitor: a login or logout failed: %s", error, extra=log_fields(error=error))
            if instead is not None:
                return instead
            seconds = getattr(error, "retry_after", None)
            headers = [] if seconds is None else [("Retry-After", str(math.ceil(seconds)))]
            return page(reason, links=self.links(self.after_login), headers=headers)


def _reason(visit: Visit, error: Exception) -> str | None:
    """Returns what the page says about an error, None if the application has to see it."""
    if (
        isinstance(error, TokenRequestError | StorageError)
        or visit.visits.is_transport_error(error)
        or is_for_now(error)
    ):
        return "unavailable"
    return "failed" if isinstance(error, WixAPIError | MemberLoginError | SessionExpired) else None
