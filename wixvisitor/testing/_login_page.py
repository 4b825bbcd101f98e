"""The login page, the page for a new password, and the logout.

A login ends with a code or an error in the browser's address (RFC 6749 section 4.1.2), or in a message to the page that
frames it. The errors ``login_required`` and ``access_denied`` are those of OpenID Connect and RFC 6749.
"""

from starlette.responses import Response

from wixvisitor.testing._authorization import AuthorizationRequest
from wixvisitor.testing._hosted import Redirect
from wixvisitor.testing._html import escaped, message_page, notice, page
from wixvisitor.testing._member import Member, Outcome
from wixvisitor.testing._redirect_uris import is_redirect_uri, is_return_url, origin_of
from wixvisitor.testing._refusals import Refused
from wixvisitor.testing._visit import PageRefused, Visit, go, not_allowed

_IDPS = {  # from idp-connections.js of @wix/sdk-runtime
    "0e6a50f5-b523-4e29-990d-f37fa2ffdd69": "Google",
    "3ecad13f-52c3-483d-911f-31dbcf2a6d23": "Facebook",
}
_LOGIN_FIELDS = """<label>Password
<input name="password" type="password" required autocomplete="current-password"></label>
<button class="main" name="action" value="login">Log in</button>
<button name="action" value="register">Sign up</button>"""
_WITH_IDP = '<button class="main" name="action" value="idp">Continue</button>'
_CANCEL = '<button name="action" value="cancel" formnovalidate>Cancel</button>'


def login(visit: Visit) -> Response:
    """Logs in: with the session token or the browser's own login, or after the form."""
    redirect, request = _checked(visit)
    if visit.is_form:
        return _form_sent(visit, redirect, request)
    members = visit.site.members
    member = members.session_tokens.take(request.session_token) if request.session_token else None
    if member is None and request.is_silent and not request.session_token:
        member = visit.member
    if member is not None:
        return _finished(visit, redirect, request, member)
    if request.is_silent:
        return _failed(redirect, request, "login_required", "The browser is not logged in")
    return _form(visit, request)


def logout(visit: Visit) -> Response:
    """Ends the browser's login, and the tokens of the member or visitor who asked for the link."""
    redirect = visit.redirect("logout")
    visitors, settings = visit.site.visitors, visit.site.settings
    for table in (visitors.access_tokens, visitors.refresh_tokens):
        for token in table.values():
            if token.visitor is redirect.visitor and token.member_id == redirect.member_id:
                token.revoked = True
                token.refusal = token.refusal or settings.refusal
    if redirect.post_flow_url:
        return visit.log_out(go(visit.back(redirect.post_flow_url, member=None)))
    return visit.log_out(notice("You are logged out", "You can close this page."))


def new_password(visit: Visit) -> Response:
    """Sets a new password, for the link of a mail."""
    members, secret = visit.site.members, visit.value("token")
    asked = members.find_reset(secret)
    if asked is None:
        return notice("This link does not work", "It is unknown, used or too old.", status=410)
    if asked.url and not is_return_url(asked.url, visit.site.settings.allowed_redirect_uris):
        return not_allowed(asked.url)
    if not visit.is_form:
        return _password_form(secret, asked.member)
    try:
        members.reset(secret, visit.value("password"))
    except Refused as refused:
        return _password_form(secret, asked.member, _text_of(refused))
    return go(asked.url) if asked.url else notice("Your new password is set", "You can log in with it.")


def _checked(visit: Visit) -> tuple[Redirect, AuthorizationRequest]:
    redirect = visit.redirect("auth")
    request = redirect.request
    assert request is not None
    allowed = visit.site.settings.allowed_redirect_uris
    if request.redirect_uri and not is_redirect_uri(request.redirect_uri, allowed):
        raise PageRefused(not_allowed(request.redirect_uri))
    if redirect.is_used:
        raise PageRefused(notice("This login is over", "Go back to the shop, and begin again there.", status=410))
    return redirect, request


def _form_sent(visit: Visit, redirect: Redirect, request: AuthorizationRequest) -> Response:
    action = visit.value("action")
    if action == "cancel":
        return _failed(redirect, request, "access_denied", "The login was cancelled")
    try:
        outcome = _outcome(visit, request, action)
    except Refused as refused:
        if action == "verify":
            return _code_form(visit, visit.value("state_token"), _text_of(refused))
        return _form(visit, request, _text_of(refused))
    match outcome.state:
        case "REQUIRE_EMAIL_VERIFICATION":
            return _code_form(visit, outcome.state_token)
        case "REQUIRE_OWNER_APPROVAL":
            text = "The owner of the site has to approve you first. You can log in after that."
            return notice("Almost there", text)
        case "SUCCESS":
            visit.site.members.session_tokens.take(outcome.session_token)
            return _finished(visit, redirect, request, outcome.member)


def _outcome(visit: Visit, request: AuthorizationRequest, action: str) -> Outcome:
    members, email, password = visit.site.members, visit.value("email"), visit.value("password")
    if action == "verify":
        return members.verify(visit.value("code"), visit.value("state_token"))
    if action == "register" and not request.idp:
        return members.register(email, password, None)
    if action == "idp" and request.idp:
        member, session_token = members.signed_on(email, None)
        return Outcome(state="SUCCESS", member=member, session_token=session_token)
    return members.login(email, password)


def _finished(visit: Visit, redirect: Redirect, request: AuthorizationRequest, member: Member) -> Response:
    """Sends the code. The browser is the member's from now on."""
    return visit.log_in(member, _answer(redirect, request, visit.site.hosted.code_for(redirect, request, member)))


def _failed(redirect: Redirect, request: AuthorizationRequest, error: str, description: str) -> Response:
    content = {"error": error, "error_description": description, "state": request.state}
    return _answer(redirect, request, content)


def _answer(redirect: Redirect, request: AuthorizationRequest, content: dict[str, str]) -> Response:
    redirect.is_used = True
    if request.response_mode == "web_message":
        return message_page(content, origin_of(request.redirect_uri) if request.redirect_uri else "*")
    return go(request.callback(content))


def _form(visit: Visit, request: AuthorizationRequest, wrong: str = "") -> Response:
    idp = _IDPS.get(request.idp, "your identity provider") if request.idp else ""
    body = f"""{_wrong(wrong)}<form method="post" action="login">
{_hidden("session", visit.value("session"))}
<label>Email
<input name="email" type="email" required autocomplete="username" value="{escaped(visit.value("email"))}"></label>
{_WITH_IDP if idp else _LOGIN_FIELDS}
{_CANCEL}
</form>"""
    return page(f"Log in with {idp}" if idp else "Log in", body, status=400 if wrong else 200)


def _code_form(visit: Visit, state_token: str, wrong: str = "") -> Response:
    body = f"""{_wrong(wrong)}<p>We have sent you a code by email.</p>
<form method="post" action="login">
{_hidden("session", visit.value("session"))}
{_hidden("state_token", state_token)}
<label>Code
<input name="code" required inputmode="numeric" autocomplete="one-time-code"></label>
<button class="main" name="action" value="verify">Go on</button>
{_CANCEL}
</form>"""
    return page("Check your email", body, status=400 if wrong else 200)


def _password_form(secret: str, member: Member, wrong: str = "") -> Response:
    body = f"""{_wrong(wrong)}<p>For {escaped(member.email)}.</p>
<form method="post" action="reset">
{_hidden("token", secret)}
<label>New password
<input name="password" type="password" required autocomplete="new-password"></label>
<button class="main">Save</button>
</form>"""
    return page("Set a new password", body, status=400 if wrong else 200)


def _hidden(name: str, value: str) -> str:
    return f'<input type="hidden" name="{name}" value="{escaped(value)}">'


def _wrong(text: str) -> str:
    return f'<p class="wrong" role="alert">{escaped(text)}</p>\n' if text else ""


def _text_of(refused: Refused) -> str:
    return str(refused.body["message"])
