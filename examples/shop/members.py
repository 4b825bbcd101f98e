"""Logging in, registering, and the member's account. The routes below ``/auth`` are wixvisitor's: see ``app.py``."""

from __future__ import annotations

from typing import Annotated, Any, Final

import attrs
from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from examples.shop.views import show
from examples.shop.wix import Cart, CurrentShop
from wixvisitor import VisitorSession, WixAPIError, raise_for_error
from wixvisitor.fastapi import CurrentMember, CurrentVisitor
from wixvisitor.members import MemberLoginError

router = APIRouter()

SIGN_IN: Final = "/sign-in"
ACCOUNT: Final = "/account"
MEMBER: Final = "/members/v1/members/my"

_FAILED: Final = "That did not work, and nothing has changed. Please try again."
# What login_router says in ``error``. A login never tells whether an address has an account.
_ERRORS: Final = {
    "invalid_credentials": "This email address and this password do not belong together.",
    "invalid_email": "This is no email address.",
    "email_already_exists": "There is an account with this email address already. Please log in.",
    "fields": "Please fill in both your email address and a password.",
    "invalid_code": "This code is wrong or too old. Please look at the email again.",
    "reset_password": "Please set a new password first: 'Forgot your password?' sends you a link.",
    "missing_captcha_token": "Wix wants to see that you are no robot. Please log in on Wix's page.",
    "invalid_captcha_token": "Wix wants to see that you are no robot. Please log in on Wix's page.",
    "throttled": "That was tried too often. Please wait a few minutes.",
    "refused": "You are not logged in: the login was cancelled, or Wix refused it.",
    "over": "This login is over, or it began in another browser. Please log in here.",
    "expired": "This took too long. Please begin again.",
    "changed": "You have logged in or out in another tab meanwhile. Please begin again.",
    "cookies": "A login needs cookies. Please allow them for this shop.",
}
_DONE: Final = {
    "logged-out": "You are logged out. See you soon!",
    "reset": "If there is an account with this address, an email with a link is on its way.",
}


@router.get(SIGN_IN)
async def sign_in(request: Request, visitor: CurrentVisitor) -> Response:
    """The forms for a login and a registration, which post to ``/auth``. A refusal comes back here, with ``error``.

    ``next`` goes back to ``/auth`` as it came, and is checked there. So this page sends no browser to it.
    """
    told = request.query_params
    error, state = told.get("error", ""), told.get("state", "")
    return show(
        request,
        "sign-in.html",
        next=told.get("next", ACCOUNT),
        error=_ERRORS.get(error, _FAILED) if error else "",
        needs_code=state == "email_verification_required" or error == "invalid_code",
        needs_approval=state == "owner_approval_required",
        message=_DONE.get(told.get("done", ""), ""),
        is_member=visitor.logged_in(),
        cart=_unasked(visitor),
    )


@router.get("/password")
async def forgot_password(request: Request, visitor: CurrentVisitor) -> Response:
    """The form that asks for an email with a link to set a new password."""
    return show(request, "password.html", cart=_unasked(visitor))


@router.post("/password")
async def send_password_reset(request: Request, visitor: CurrentVisitor, email: Annotated[str, Form()]) -> Response:
    """Lets Wix send that email. The answer does not tell whether there is an account with this address."""
    try:
        await visitor.members.send_password_reset(email, request.app.state.origin + SIGN_IN)
    except MemberLoginError as error:
        if error.reason != "invalid_email":
            return RedirectResponse(f"{SIGN_IN}?error={error.reason}", 303)
    return RedirectResponse(f"{SIGN_IN}?done=reset", 303)


@router.get(ACCOUNT)
async def account(request: Request, member: CurrentMember, shop: CurrentShop) -> Response:
    """The member's account. A browser without a member is sent to the login, and comes back."""
    return show(request, "account.html", profile=await profile_of(member), cart=await shop.cart())


@attrs.frozen
class Profile:
    """What Wix knows of a member."""

    name: str = ""
    email: str = ""
    is_verified: bool = False


async def profile_of(member: VisitorSession) -> Profile | None:
    """Returns the member's profile; None if the site lacks the app for it, which is Wix Members Area.

    Raises:
        What ``VisitorSession.request`` does, and ``WixAPIError``.
    """
    try:
        answer = raise_for_error(await member.get(MEMBER, params={"fieldSet": "FULL"})).json()
    except WixAPIError as error:
        if error.status_code in {403, 404, 428}:
            return None
        raise
    found: dict[str, Any] = answer.get("member") or {}
    contact, profile = found.get("contact") or {}, found.get("profile") or {}
    names = (contact.get("firstName"), contact.get("lastName"))
    return Profile(
        name=" ".join(filter(None, names)) or str(profile.get("nickname") or ""),
        email=str(found.get("loginEmail") or ""),
        is_verified=found.get("loginEmailVerified") is True,
    )


def _unasked(visitor: VisitorSession) -> Cart | None:
    """Returns the empty cart of who is no visitor yet; None: the page's JavaScript asks for it."""
    return None if visitor.get_tokens().refresh_token.value else Cart()
