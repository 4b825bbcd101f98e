"""The routes for the application's own forms: login with a password, registration, and the code of an email.

A form is answered with a redirect, a script's JSON with JSON. After a success the browser goes on to Wix and comes back
to the callback (``start_login`` with a session token, which is in Wix's typings). So Wix's own pages know the member.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs

from wixvisitor._tasks.log import fields as log_fields
from wixvisitor._tasks.log import logger
from wixvisitor._web import login_rules as rules
from wixvisitor._web.login_call import Call, as_visitor, is_for_now
from wixvisitor._web.login_pages import Answer, in_json, page, redirect
from wixvisitor._web.login_rules import Pending, text_of, with_query
from wixvisitor.errors import MemberLoginError
from wixvisitor.members import LoginOutcome

if TYPE_CHECKING:
    from wixvisitor._session import VisitorSession
    from wixvisitor._web.login_flow import LoginFlow

# What pages are told in place of Wix's reason. A page must not tell whether an address has an account here.
_OF_LOGINS: Final = {"invalid_email": "invalid_credentials", "invalid_password": "invalid_credentials"}
_OF_CODES: Final = {"unknown": "invalid_code"}


@attrs.frozen(repr=False)
class _Form:
    """What a form or script has sent."""

    fields: dict[str, Any]
    is_json: bool
    target: str


class Forms:
    """The routes for forms of one site.

    Args:
        flow: the site's other routes.

    Concurrency: as ``LoginFlow``.
    """

    def __init__(self, flow: LoginFlow) -> None:
        self._flow = flow

    async def log_in(self, call: Call) -> Answer:
        """Answers ``POST login``: ``email`` and ``password``, ``next``, and the tokens of captchas."""
        return await self._with_password(call, "login")

    async def register(self, call: Call) -> Answer:
        """Answers ``POST register``: the same, and a ``profile``."""
        return await self._with_password(call, "register")

    async def verify(self, call: Call) -> Answer:
        """Answers ``POST verify``: the ``code`` that Wix has sent by email. A wrong one can be corrected."""
        form = await self._form(call)
        if isinstance(form, Answer):
            return form
        visit, cookies = call.visit, self._flow.cookies(call.visit.visits)
        pending, removals = cookies.find_verification(call.cookie)
        if pending is None or pending.is_over(visit.visits.clock()):
            return self._refused(form, "expired").plus(cookies=removals)
        if not rules.is_same(visit.owner(), pending.owner):
            return self._refused(form, "changed").plus(cookies=removals)
        outcome = LoginOutcome(state="email_verification_required", state_token=pending.state)
        visitor = await visit.visitor()
        form = attrs.evolve(form, target=pending.target)
        ask = partial(visitor.members.verify, text_of(form.fields, "code"), outcome)
        answer = await self._asked(form, ask, _OF_CODES)
        return answer if isinstance(answer, Answer) else (await self._go_on(call, form, answer)).plus(cookies=removals)

    async def _with_password(self, call: Call, name: str) -> Answer:
        form = await self._form(call)
        if isinstance(form, Answer):
            return form
        email, password = text_of(form.fields, "email"), text_of(form.fields, "password")
        if not email or not password:
            return self._refused(form, "fields")
        if not call.visit.allowed:
            return self._refused(form, "cookies")
        visitor = await call.visit.visitor()
        ask = partial(_method(visitor, name, form.fields), email, password, **_captchas(form.fields))
        answer = await self._asked(form, partial(as_visitor, visitor, ask), _OF_LOGINS if name == "login" else {})
        return answer if isinstance(answer, Answer) else await self._go_on(call, form, answer)

    async def _asked(
        self, form: _Form, ask: Callable[[], Awaitable[LoginOutcome]], names: Mapping[str, str]
    ) -> LoginOutcome | Answer:
        """Returns the outcome, or the answer if Wix refuses.

        Raises:
            MemberLoginError: Wix does not answer now.
        """
        try:
            return await ask()
        except MemberLoginError as error:
            if error.reason == "unknown" and is_for_now(error):
                raise
            logger.info("wixvisitor: a login was refused: %s", error.reason, extra=log_fields(error=error))
            return self._refused(form, names.get(error.reason, error.reason))

    async def _go_on(self, call: Call, form: _Form, outcome: LoginOutcome) -> Answer:
        """Returns what follows the outcome: Wix's redirect, or the page that asks for the code of the email."""
        flow, visit = self._flow, call.visit
        if outcome.state == "success":
            answer = await flow.hosted.to_wix(call, form.target, session_token=outcome.session_token)
            return _as_json(answer) if form.is_json else answer
        cookies: list[str] = []
        owner = visit.owner()
        if outcome.state == "email_verification_required" and owner is not None:
            pending = Pending(int(visit.visits.clock()), owner, outcome.state_token, "", form.target)
            cookies = flow.cookies(visit.visits).keep_verification(pending)
        if form.is_json:
            return in_json(200, state=outcome.state).plus(cookies=cookies)
        return redirect(with_query(str(flow.login_page), state=outcome.state, next=form.target)).plus(cookies=cookies)

    async def _form(self, call: Call) -> _Form | Answer:
        body = await call.body()
        if body is None:
            return page("too_large")
        found = rules.fields_of(body, call.visit.request.get("content-type") or "")
        if found is None:
            return page("fields")
        fields, is_json = found
        return _Form(fields, is_json, self._flow.target(text_of(fields, "next")))

    def _refused(self, form: _Form, reason: str) -> Answer:
        if form.is_json:
            return in_json(429 if reason == "throttled" else 400, error=reason)
        return redirect(with_query(str(self._flow.login_page), error=reason, next=form.target))


def _method(visitor: VisitorSession, name: str, fields: dict[str, Any]) -> Callable[..., Awaitable[LoginOutcome]]:
    if name == "login":
        return visitor.members.login
    profile = fields.get("profile")
    return partial(visitor.members.register, profile=profile if isinstance(profile, dict) else None)


def _captchas(fields: dict[str, Any]) -> dict[str, str | None]:
    return {name: text_of(fields, name) or None for name in ("recaptcha_token", "invisible_recaptcha_token")}


def _as_json(answer: Answer) -> Answer:
    """Returns a redirect as JSON: a script cannot follow it to Wix's page, so the page has to go there."""
    location = dict(answer.headers).get("Location", "")
    cookies = [value for name, value in answer.headers if name == "Set-Cookie"]
    return in_json(200, state="success", url=location).plus(cookies=cookies)
