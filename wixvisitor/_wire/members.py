"""Wix's spelling of logins, logouts and redirects: requests, answers and errors. Pure.

Every request is the one that ``@wix/sdk`` 1.21.16 sends (``auth/oauth2/OAuthStrategy.js``); ``tests/interop`` compares
them. The meaning of the error codes is from its ``constants.js``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from wixvisitor._wire.token_endpoint import TOKEN_PATH, TokenAnswer, TokenRequest
from wixvisitor.errors import MemberLoginError, MemberLoginReason, WixAPIError

REDIRECT_PATH: Final = "/_api/redirects-api/v1/redirect-session"
LOGIN_PATH: Final = "/_api/iam/authentication/v2/login"
REGISTER_PATH: Final = "/_api/iam/authentication/v2/register"
SIGN_ON_PATH: Final = "/_api/iam/authentication/v2/sign-on"
VERIFY_PATH: Final = "/_api/iam/verification/v1/auth/verify"
RECOVERY_PATH: Final = "/_api/iam/recovery/v1/send-email"
CART_PATH: Final = "/ecom/v2/carts/current"

# @wix/sdk-runtime's idp-connections.js
IDP_IDS: Final = {
    "google": "0e6a50f5-b523-4e29-990d-f37fa2ffdd69",
    "facebook": "3ecad13f-52c3-483d-911f-31dbcf2a6d23",
}
_REASONS: Final[dict[str, MemberLoginReason]] = {
    "-19971": "missing_captcha_token",
    "CAPTCHA_TOKEN_REQUIRED": "missing_captcha_token",
    "-19970": "invalid_captcha_token",
    "-19995": "email_already_exists",
    "DUPLICATE_EMAIL": "email_already_exists",
    "-19976": "invalid_password",
    "-19973": "reset_password",
    "-19999": "invalid_email",  # no member has it
    "THROTTLED_FEATURE": "throttled",
}
_STATES: Final = {
    "SUCCESS": "success",
    "REQUIRE_EMAIL_VERIFICATION": "email_verification_required",
    "REQUIRE_OWNER_APPROVAL": "owner_approval_required",
}
# What the page of a redirect session with responseMode "web_message" posts to its opener.
_POSTED: Final = r"""["']?\b{name}\b["']?\s*:\s*(["'])(?P<value>[^"'\\]*)\1"""


def code_challenge(code_verifier: str) -> str:
    """Returns the S256 challenge of a verifier (RFC 7636 section 4.2)."""
    digest = hashlib.sha256(code_verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def login_body(
    client_id: str,
    *,
    redirect_uri: str | None,
    challenge: str,
    state: str,
    response_mode: str,
    prompt: str,
    session_token: str | None,
    idp: str | None,
) -> dict[str, Any]:
    """Returns the body of the redirect session that leads to Wix's login page."""
    request = {
        **({"redirectUri": redirect_uri} if redirect_uri else {}),
        "clientId": client_id,
        "codeChallenge": challenge,
        "codeChallengeMethod": "S256",
        "responseMode": response_mode,
        "responseType": "code",
        "scope": "offline_access",
        "state": state,
        **({"sessionToken": session_token} if session_token else {}),
        **({"idp": IDP_IDS.get(idp, idp)} if idp else {}),
    }
    return {"auth": {"authRequest": request, "prompt": prompt}}


def logout_body(client_id: str, return_to: str) -> dict[str, Any]:
    """Returns the body of the redirect session that logs a member out at Wix."""
    return {"logout": {"clientId": client_id}, "callbacks": {"postFlowUrl": return_to}}


def checkout_body(checkout_id: str, return_to: str, thank_you: str | None) -> dict[str, Any]:
    """Returns the body of the redirect session that leads to Wix's checkout."""
    callbacks = {"postFlowUrl": return_to, **({"thankYouPageUrl": thank_you} if thank_you else {})}
    return {"ecomCheckout": {"checkoutId": checkout_id}, "callbacks": callbacks}


def credentials_body(
    email: str,
    password: str,
    *,
    profile: Mapping[str, Any] | None = None,
    recaptcha_token: str | None = None,
    invisible_recaptcha_token: str | None = None,
) -> dict[str, Any]:
    """Returns the body of a login or registration with a password."""
    tokens = {"Recaptcha": recaptcha_token, "InvisibleRecaptcha": invisible_recaptcha_token}
    captcha = {name: token for name, token in tokens.items() if token is not None}
    return {
        "loginId": {"email": email},
        "password": password,
        **({"profile": dict(profile)} if profile is not None else {}),
        **({"captchaTokens": [captcha]} if captcha else {}),
    }


def recovery_body(client_id: str, email: str, redirect_uri: str) -> dict[str, Any]:
    """Returns the body that asks for an email with a link to set a new password."""
    return {"email": email, "redirect": {"url": redirect_uri, "clientId": client_id}}


def code_request(client_id: str, code: str, code_verifier: str, redirect_uri: str | None) -> TokenRequest:
    """Returns the token request that exchanges a login's code, which works once."""
    fields = {
        "clientId": client_id,
        "grantType": "authorization_code",
        **({"redirectUri": redirect_uri} if redirect_uri else {}),
        "code": code,
        "codeVerifier": code_verifier,
    }
    return TokenRequest("authorization_code", _json(fields), (code, code_verifier), works_once=True)


def sign_on_request(email: str, profile: Mapping[str, Any] | None, authorization: str) -> TokenRequest:
    """Returns the request that signs a member on with an API key."""
    fields = {"loginId": {"email": email}, **({"profile": dict(profile)} if profile is not None else {})}
    return _with_api_key("sign_on", fields, authorization, path=SIGN_ON_PATH)


def external_request(member_id: str, session_token: str | None, authorization: str) -> TokenRequest:
    """Returns the token request that logs a member in with an API key.

    Args:
        member_id: the member.
        session_token: of a sign-on; None for a login that Wix's own pages do not know.
        authorization: the header's value: the visitor's token, a comma, and the API key.
    """
    fields = {"grant_type": "authorized_client"}
    if session_token is None:
        fields |= {"scope": "offline_access", "member_id": member_id}
    else:
        fields |= {"member_id": member_id, "session_token": session_token}
    return _with_api_key("authorized_client", fields, authorization, path=TOKEN_PATH)


def _with_api_key(grant: str, fields: Mapping[str, Any], authorization: str, *, path: str) -> TokenRequest:
    secrets = (authorization, *authorization.split(","), str(fields.get("session_token", "")))
    return TokenRequest(grant, _json(fields), secrets, works_once=True, path=path, authorization=authorization)


def _json(fields: Mapping[str, Any]) -> bytes:
    # An error of the encoding would quote the whole text. Half a surrogate pair is for Wix to refuse.
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def read_redirect(content: Any) -> str:
    """Returns the address to which a redirect session sends the browser.

    Raises:
        ValueError: the answer has none.
    """
    session = content.get("redirectSession") if isinstance(content, dict) else None
    url = session.get("fullUrl") if isinstance(session, dict) else None
    if not isinstance(url, str) or urlsplit(url).scheme not in ("https", "http"):
        raise ValueError("the answer has no redirectSession.fullUrl")
    return url


def read_cart_id(content: Any) -> str:
    """Returns the ID of the cart.

    Raises:
        ValueError: the answer has none.
    """
    cart = content.get("cart") if isinstance(content, dict) else None
    cart_id = cart.get("id") if isinstance(cart, dict) else None
    if not isinstance(cart_id, str):
        raise ValueError("the answer has no cart.id")
    return cart_id


def read_outcome(content: Any) -> tuple[str, str, str]:
    """Returns the state of a login with a password, its session token and its state token; ``""`` for none.

    Raises:
        MemberLoginError: Wix says something else.
    """
    data = content if isinstance(content, dict) else {}
    state = data.get("state")
    if not isinstance(state, str) or state not in _STATES:
        name = state if isinstance(state, str) and re.fullmatch("[A-Z_]{1,60}", state) else None
        raise MemberLoginError("Wix's answer has no known state", reason="unknown", code=name)
    return _STATES[state], _text(data.get("sessionToken")), _text(data.get("stateToken"))


def read_sign_on(content: Any) -> tuple[str, str]:
    """Returns the session token and the member's ID.

    Raises:
        MemberLoginError: the answer has none.
    """
    data = content if isinstance(content, dict) else {}
    identity = data.get("identity")
    member_id = identity.get("id") if isinstance(identity, dict) else None
    if not (isinstance(member_id, str) and member_id and _text(data.get("sessionToken"))):
        raise MemberLoginError("Wix's answer to the sign-on has no member", reason="unknown")
    return _text(data["sessionToken"]), member_id


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def callback_params(url_or_params: str | Mapping[str, str], response_mode: str) -> dict[str, str]:
    """Returns the parameters with which Wix sent the browser back.

    Args:
        url_or_params: the whole address, its query, or the parameters as a mapping.
        response_mode: ``"query"`` or ``"fragment"``: where an address has them.
    """
    if not isinstance(url_or_params, str):
        return {str(name): str(value) for name, value in url_or_params.items() if value is not None}
    try:
        parts = urlsplit(url_or_params)
    except ValueError:  # a host that cannot be parsed
        return {}
    text = parts.fragment if response_mode == "fragment" else parts.query
    if not parts.scheme and not text:
        text = url_or_params.lstrip("?#")
    # A parameter that is there twice is a sign of tampering; then none counts (RFC 6749 section 3.1).
    return {name: values[0] for name, values in parse_qs(text).items() if len(values) == 1}


def posted_params(page: str) -> dict[str, str]:
    """Returns what the page of a redirect session posts to its opener: ``code`` and ``state``, or an ``error``."""
    found = {}
    for name in ("code", "state", "error", "error_description"):
        match = re.search(_POSTED.format(name=name), page)
        if match is not None:
            found[name] = match["value"]
    return found


def login_error(error: WixAPIError) -> MemberLoginError:
    """Returns the error of a login for an API's error."""
    reason = _REASONS.get(error.code or "", "unknown")
    if reason == "unknown" and any(_is_email(violation) for violation in error.field_violations):
        reason = "invalid_email"
    if reason == "unknown" and error.status_code == 429:
        reason = "throttled"
    return MemberLoginError(
        error.message, reason=reason, code=error.code, status_code=error.status_code, request_id=error.request_id
    )


def _is_email(violation: Mapping[str, Any]) -> bool:
    data = violation.get("data")
    return isinstance(data, dict) and data.get("type") == "EMAIL"


def exchange_error(answer: TokenAnswer) -> MemberLoginError:
    """Returns the error for an answer that refuses to exchange a code or a session."""
    content = answer.json if isinstance(answer.json, dict) else {}
    code = content.get("error") or content.get("errorCode")
    return MemberLoginError(
        f"Wix refused the login: {answer.text or 'an empty answer'}",
        reason="unknown",
        code=None if code is None else str(code)[:100],
        status_code=answer.status_code,
        request_id=answer.request_id,
    )
