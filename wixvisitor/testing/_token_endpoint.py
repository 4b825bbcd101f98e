"""``/oauth2/token`` and ``/oauth2/token-info``.

Reference: https://dev.wix.com/docs/rest/business-management/headless/authentication/retrieve-tokens. Field names may be
in camelCase (as ``@wix/sdk`` sends them) or snake_case. The body may be JSON or a form.
"""

import re
from typing import Any

from wixvisitor.testing._calls import Call
from wixvisitor.testing._grants import exchange_code, external_login
from wixvisitor.testing._refusals import Refused, oauth_error, plain_error
from wixvisitor.testing._settings import Settings
from wixvisitor.testing._site import Site
from wixvisitor.testing._visitors import IssuedToken, TokenResponse

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def issue_tokens(site: Site, call: Call) -> TokenResponse:
    """The answer to a call of the token endpoint.

    Raises:
        Refused: The request is malformed, its client ID or grant type is unknown, or what it brings (a
            refresh token, a code, an API key) is refused.

    """
    if not call.fields:
        raise oauth_error(400, "invalid_request", "The body is neither a JSON object nor a form")
    match call.grant_type:
        case "anonymous":
            visitor, tokens = site.visitors.mint(_client_id(site.settings, call))
        case "refresh_token":
            client_id = _client_id(site.settings, call) if _sent_client_id(call) is not None else None
            visitor, tokens = site.visitors.renew(_refresh_token(call), client_id=client_id)
        case "authorization_code":
            visitor, tokens = exchange_code(site, call, _client_id(site.settings, call))
        case "authorized_client":
            visitor, tokens = external_login(site, call)
        case grant:
            raise oauth_error(400, "unsupported_grant_type", f"The fake does not support the grant type {grant}")
    call.visitor_id = visitor.id
    return tokens


def token_info(site: Site, call: Call) -> dict[str, Any]:
    """Information about a token: https://dev.wix.com/docs/api-reference/app-management/oauth-2/token-info.md.

    The answer for a token that the fake never issued says only that it is not active, as in RFC 7662 section 2.2.
    ``exp`` and ``iat`` are strings, as in Wix's generated types.

    Raises:
        Refused: No token was sent.

    """
    value = call.fields.get("token")
    if not isinstance(value, str):
        raise plain_error(400, "token must not be empty")
    token = site.visitors.access_tokens.get(value) or site.visitors.refresh_tokens.get(value)
    if token is None:
        return {"active": False, "subjectType": "UNKNOWN"}
    call.visitor_id = token.visitor.id
    return {
        "active": not (token.revoked or token.refusal or site.visitors.expired(token)),
        **_subject(token),
        "exp": str(token.expires_at),
        "iat": str(token.issued_at),
        "clientId": token.visitor.client_id,
        "siteId": site.visitors.site["metaSiteId"],
        "instanceId": site.visitors.site["instanceId"],
    }


def _subject(token: IssuedToken) -> dict[str, str]:
    if token.member_id is not None:
        return {"subjectType": "MEMBER", "subjectId": token.member_id}
    return {"subjectType": "VISITOR", "subjectId": token.visitor.id}


def _sent_client_id(call: Call) -> object:
    return call.fields.get("clientId", call.fields.get("client_id"))


def _client_id(settings: Settings, call: Call) -> str:
    client_id = _sent_client_id(call)
    if not isinstance(client_id, str) or _GUID.fullmatch(client_id) is None:
        raise _not_a_guid()
    if settings.client_ids is not None and client_id not in settings.client_ids:
        raise oauth_error(400, "invalid_client", "The client id is unknown")
    return client_id


def _not_a_guid() -> Refused:
    return plain_error(400, "appRuntimeKeys [at index 0] is invalid: appId is not a valid GUID")


def _refresh_token(call: Call) -> str:
    value = call.fields.get("refreshToken", call.fields.get("refresh_token"))
    if not isinstance(value, str):
        raise oauth_error(400, "invalid_request", "The refresh token is missing")
    return value
