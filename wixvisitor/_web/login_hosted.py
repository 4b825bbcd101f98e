"""The routes for a login on Wix's page: its beginning and its callback."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wixvisitor._tasks.log import fields as log_fields
from wixvisitor._tasks.log import logger
from wixvisitor._web import login_rules as rules
from wixvisitor._web.login_call import Call, as_visitor
from wixvisitor._web.login_pages import Answer, page, redirect
from wixvisitor._web.login_rules import Pending, with_query
from wixvisitor._web.visit import Visit
from wixvisitor.errors import MemberLoginError
from wixvisitor.members import MemberLogin

if TYPE_CHECKING:
    from wixvisitor._web.login_flow import LoginFlow


class Hosted:
    """The routes for a login on Wix's page, of one site.

    Args:
        flow: the site's other routes.
        idp: the identity provider whose page is shown in place of Wix's.

    Concurrency: as ``LoginFlow``.
    """

    def __init__(self, flow: LoginFlow, idp: str | None) -> None:
        self._flow, self._idp = flow, idp

    async def begin(self, call: Call) -> Answer:
        """Answers ``GET login``.

        With ``prompt=none`` the browser goes on as the visitor if that fails, also at the callback, and whatever the
        reason is: the shopper has asked for the next page, not for a login.
        """
        visit, fields = call.visit, rules.single_fields(call.query)
        target = self._flow.target(fields.get("next"))
        if rules.is_in_background(visit.request):
            return page("foreign", links=self._flow.links(target))
        if fields.get("required") and self._flow.login_page is not None:
            return redirect(with_query(self._flow.login_page, next=target))
        is_silent = fields.get("prompt") == "none"
        if not visit.allowed:
            return redirect(target) if is_silent else self._flow.fail("cookies", target)
        self._flow.cookies(visit.visits)  # raises if there are no keys, before a visitor is made
        begun = self.to_wix(call, target, is_silent=is_silent)
        return await self._flow.mapped(visit, begun, instead=redirect(target) if is_silent else None)

    async def to_wix(
        self, call: Call, target: str, *, is_silent: bool = False, session_token: str | None = None
    ) -> Answer:
        """Returns the redirect to Wix's page, with the cookie of the login that begins.

        Args:
            call: the request.
            target: where the browser goes after the login.
            is_silent: whether Wix shows no page, so that only a browser whose member Wix knows is logged in.
            session_token: of a login with a password.
        """
        visit = call.visit
        visitor = await visit.visitor()
        shows_page = not is_silent and session_token is None

        async def start() -> MemberLogin:
            return await visitor.members.start_login(
                self._flow.place.redirect_uri,
                prompt="login" if shows_page else "none",
                idp=self._idp if shows_page else None,
                session_token=session_token,
            )

        login = await as_visitor(visitor, start)
        owner, now = visit.owner(), visit.visits.clock()
        if owner is None:
            return self._flow.fail("cookies", target)
        pending = Pending(int(now), owner, login.state, login.code_verifier, target, is_silent)
        cookies = self._flow.cookies(visit.visits).begin(call.cookie, pending, now)
        return redirect(login.url).plus(cookies=cookies)

    async def callback(self, call: Call) -> Answer:
        """Answers the callback. The cookie of its login is removed, whatever comes of it."""
        fields = rules.single_fields(call.query)
        pending, removals = self._flow.cookies(call.visit.visits).find(call.cookie, fields.get("state", ""))
        instead = redirect(pending.target) if pending is not None and pending.is_silent else None
        answer = await self._flow.mapped(call.visit, self._finish(call, pending, fields, instead), instead=instead)
        return answer.plus(cookies=removals)

    async def _finish(
        self, call: Call, pending: Pending | None, fields: dict[str, str], instead: Answer | None
    ) -> Answer:
        """Returns the answer to a callback; for a failure ``instead``, if the login asked without a page."""
        visit = call.visit
        if pending is None:
            return await self._out_of_turn(visit, "over", self._flow.after_login)
        if pending.is_over(visit.visits.clock()):
            return instead or await self._out_of_turn(visit, "expired", pending.target)
        if not rules.is_same(visit.owner(), pending.owner):
            return instead or await self._out_of_turn(visit, "changed", pending.target)
        visitor = await visit.visitor()
        login = MemberLogin(
            url="",
            state=pending.state,
            code_verifier=pending.secret,
            redirect_uri=self._flow.place.redirect_uri,
            original_uri=pending.target,
            previous=visitor.get_tokens(),
        )
        try:
            await visitor.members.finish_login(login, fields)
        except MemberLoginError as error:
            logger.info("wixvisitor: a login failed: %s", ascii(str(error)), extra=log_fields(error=error))
            return instead or self._flow.fail("refused", pending.target)
        call.done = visitor, login
        return redirect(pending.target)

    async def _out_of_turn(self, visit: Visit, reason: str, target: str) -> Answer:
        """Returns the answer to a callback that belongs to no login of this browser; a member just goes on."""
        if visit.allowed and visit.sender.given is not None and (await visit.visitor()).logged_in():
            return redirect(target)
        return self._flow.fail(reason, target)
