"""The API of logins with a password: ``/_api/iam/…``, and the member of a token.

The paths and bodies are those of ``@wix/sdk`` 1.21.16. What Wix answers to a wrong API key, and to a visitor who asks
for the member, is not public; those answers are the fake's own choice.
"""

from typing import Any

from wixvisitor.testing._calls import Call
from wixvisitor.testing._member import Member, Outcome
from wixvisitor.testing._refusals import application_error, validation_error
from wixvisitor.testing._site import CallContext, Site
from wixvisitor.testing._visitors import IssuedToken

Json = dict[str, Any]


def login(context: CallContext) -> Json:
    """``POST /_api/iam/authentication/v2/login``."""
    check_captcha(context)
    return _answer(context.site.members.login(_email(context), context.body.get("password")))


def register(context: CallContext) -> Json:
    """``POST /_api/iam/authentication/v2/register``."""
    check_captcha(context)
    password, profile = context.body.get("password"), context.body.get("profile")
    return _answer(context.site.members.register(_email(context), password, profile))


def verify(context: CallContext) -> Json:
    """``POST /_api/iam/verification/v1/auth/verify``."""
    return _answer(context.site.members.verify(context.body.get("code"), context.body.get("stateToken")))


def send_recovery_email(context: CallContext) -> Json:
    """``POST /_api/iam/recovery/v1/send-email``. The mail's link leads to the fake's own page for a new password."""
    redirect = context.body.get("redirect")
    content = redirect if isinstance(redirect, dict) else {}
    url = content.get("url") or ""
    if not isinstance(url, str):
        raise validation_error("redirect.url", "must be a string")
    hosted = context.site.hosted

    def page(secret: str) -> str:
        return hosted.link(context.base_url, "reset", {"token": secret})

    context.site.members.ask_reset(context.body.get("email"), url, page)
    return {}


def sign_on(site: Site, call: Call) -> Json:
    """``POST /_api/iam/authentication/v2/sign-on``, with an API key."""
    identify_with_key(site, call)
    body = call.json if isinstance(call.json, dict) else {}
    login_id = body.get("loginId")
    email = login_id.get("email") if isinstance(login_id, dict) else None
    member, session_token = site.members.signed_on(email, body.get("profile"))
    return {"sessionToken": session_token, "identity": _identity(member)}


def my_member(context: CallContext) -> Json:
    """``GET /members/v1/members/my``.

    Raises:
        Refused: The token is a visitor's: 403.

    """
    member_id = context.token.member_id
    if member_id is None:
        raise application_error(403, "PERMISSION_DENIED", "A visitor is no member")
    member = context.site.members.by_id.get(member_id)
    if member is None:  # made by ``mint_member``
        return {"member": {"id": member_id}}
    names = {name: member.profile[name] for name in ("firstName", "lastName") if name in member.profile}
    return {
        "member": {
            "id": member.id,
            "loginEmail": member.email,
            "loginEmailVerified": member.is_verified,
            "status": "APPROVED" if member.is_approved else "PENDING",
            "profile": {"nickname": member.profile.get("nickname") or member.email.partition("@")[0]},
            "contact": {**names, "emails": [member.email]},
        }
    }


def identify_with_key(site: Site, call: Call) -> IssuedToken:
    """The visitor's token of a call with ``Authorization: <token>,<API key>``.

    Raises:
        Refused: The token or the key is missing or wrong: 401.

    """
    token, _, key = call.headers.get("authorization", "").partition(",")
    found = site.visitors.identify(token)
    known = site.settings.api_keys
    if not key or (known is not None and key not in known):
        raise application_error(401, "UNAUTHENTICATED", "The API key is missing or unknown")
    call.visitor_id = found.visitor.id
    return found


def check_captcha(context: CallContext) -> None:
    """Checks that the call brings a solved captcha, if the site asks for one.

    Raises:
        Refused: There is none: 400, ``-19971``, or it is wrong: 400, ``-19970``.

    """
    solved = context.site.settings.captcha_tokens
    if solved is None:
        return
    given = context.body.get("captchaTokens")
    entries = [entry for entry in given if isinstance(entry, dict)] if isinstance(given, list) else []
    tokens = [token for entry in entries for token in entry.values() if token]
    if not tokens:
        raise application_error(400, "-19971", "A captcha token is required")
    if not all(isinstance(token, str) and token in solved for token in tokens):
        raise application_error(400, "-19970", "The captcha token is invalid")


def _email(context: CallContext) -> object:
    login_id = context.body.get("loginId")
    return login_id.get("email") if isinstance(login_id, dict) else None


def _answer(outcome: Outcome) -> Json:
    answer: Json = {"state": outcome.state}
    if outcome.session_token:
        answer["sessionToken"] = outcome.session_token
    if outcome.state_token:
        answer["stateToken"] = outcome.state_token
    return {**answer, "identity": _identity(outcome.member)}


def _identity(member: Member) -> Json:
    return {
        "id": member.id,
        "email": {"address": member.email, "isVerified": member.is_verified},
        "identityProfile": {**member.profile, "emails": [member.email]},
        "status": {"name": "ACTIVE" if member.is_approved else "PENDING", "reasons": []},
    }
