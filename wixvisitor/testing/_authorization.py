"""Authorization requests and codes: RFC 6749 section 4.1 with PKCE (RFC 7636). Pure.

The fields are those of ``AuthorizeRequest`` in ``@wix/auto_sdk_redirects_redirects`` 1.0.56. Wix's answers to a wrong
request and to a wrong code are not public; here they are those of RFC 6749.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any

from attrs import define, field, frozen

from wixvisitor.testing._redirect_uris import with_parameters
from wixvisitor.testing._refusals import Refused, oauth_error, validation_error
from wixvisitor.testing._visitors import TokenResponse, Visitor

Json = dict[str, Any]

_MODES = ("query", "fragment", "web_message")
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")  # RFC 7636 section 4.2: the hash of SHA-256 in base64url
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")  # RFC 7636 section 4.1
_STATE = re.compile(r"[ -~]{1,4096}")  # RFC 6749 appendix A.5


@frozen(kw_only=True)
class AuthorizationRequest:
    """A login's request, which has been checked, but for the redirect URI.

    Attributes:
        redirect_uri: ``""`` with the response mode ``web_message``, which needs none.
        session_token: Of a login with a password, or ``""``.
        idp: The identity provider that the shop has chosen, or ``""``.
        is_silent: Whether no page may be shown.

    """

    client_id: str
    redirect_uri: str
    challenge: str = field(repr=False)
    state: str
    response_mode: str
    scope: str
    session_token: str = field(repr=False)
    idp: str
    is_silent: bool

    def callback(self, content: Mapping[str, str]) -> str:
        """The address to which the browser is sent with a code or an error (RFC 6749 section 4.1.2)."""
        return with_parameters(self.redirect_uri, content, in_fragment=self.response_mode == "fragment")


@define(kw_only=True, eq=False)
class Code:
    """A code that was issued for a member's login.

    Attributes:
        tokens: The tokens of its first use; None before.

    """

    request: AuthorizationRequest
    visitor: Visitor
    member_id: str
    is_used: bool = False
    tokens: TokenResponse | None = field(default=None, repr=False)


def read_request(auth: Json, *, client_id: str) -> AuthorizationRequest:
    """Returns the request of a redirect session's ``auth``.

    A ``state`` is demanded, although Wix's typings do not: without it an app cannot tell whose login comes back.

    Args:
        auth: The JSON.
        client_id: The client of the caller's token.

    Raises:
        Refused: A field is missing or wrong: 400.

    """
    name = "auth.authRequest"
    request = auth.get("authRequest")
    if not isinstance(request, dict):
        raise validation_error(name, "must be an object", rule="REQUIRED_FIELD")
    found = {key: _text(request, key, name) for key in _TEXTS}
    found["responseMode"] = found["responseMode"] or "query"
    _check(found["clientId"] == client_id, f"{name}.clientId", "must be the client of the token")
    _check(found["responseType"] == "code", f"{name}.responseType", "must be code")
    _check(found["codeChallengeMethod"] == "S256", f"{name}.codeChallengeMethod", "must be S256")
    _check(_CHALLENGE.fullmatch(found["codeChallenge"]) is not None, f"{name}.codeChallenge", "must be a S256 hash")
    _check(_STATE.fullmatch(found["state"]) is not None, f"{name}.state", "must be visible text")
    _check(found["responseMode"] in _MODES, f"{name}.responseMode", f"must be one of {', '.join(_MODES)}")
    needs_uri = found["responseMode"] != "web_message"
    _check(bool(found["redirectUri"]) or not needs_uri, f"{name}.redirectUri", "must not be empty")
    prompt = auth.get("prompt")
    _check(prompt in (None, "login", "none", "consent", "select_account"), "auth.prompt", "must be login or none")
    return AuthorizationRequest(
        client_id=found["clientId"],
        redirect_uri=found["redirectUri"],
        challenge=found["codeChallenge"],
        state=found["state"],
        response_mode=found["responseMode"],
        scope=found["scope"],
        session_token=found["sessionToken"],
        idp=found["idp"],
        is_silent=prompt == "none",
    )


_TEXTS = (
    *("clientId", "responseType", "redirectUri", "scope", "state", "responseMode"),
    *("codeChallenge", "codeChallengeMethod", "sessionToken", "idp"),
)


def _text(request: Json, key: str, name: str) -> str:
    value = request.get(key)
    if value is not None and not isinstance(value, str):
        raise validation_error(f"{name}.{key}", "must be a string")
    return value or ""


def _check(is_right: bool, name: str, description: str) -> None:  # noqa: FBT001 - a condition, not an option
    if not is_right:
        raise validation_error(name, description)


def check_exchange(code: Code, *, client_id: str, redirect_uri: object, verifier: object) -> None:
    """Checks the exchange of a code that has not been used.

    Raises:
        Refused: It is another client's (RFC 6749 section 4.1.3), names another redirect URI (there), or has not the
            request's verifier (RFC 7636 section 4.6): 400.

    """
    if client_id != code.request.client_id:
        raise invalid_grant("The code belongs to another client")
    if (redirect_uri or "") != code.request.redirect_uri:
        raise invalid_grant("The redirect URI is not that of the login")
    if not isinstance(verifier, str) or _VERIFIER.fullmatch(verifier) is None:
        raise oauth_error(400, "invalid_request", "The code verifier must have 43 to 128 characters of RFC 7636")
    digest = hashlib.sha256(verifier.encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    if not hmac.compare_digest(challenge, code.request.challenge):
        raise invalid_grant("The code verifier is not that of the login")


def invalid_grant(description: str) -> Refused:
    """The refusal of a code, or of a session token (RFC 6749 section 5.2)."""
    return oauth_error(400, "invalid_grant", description)
