"""The token endpoint's grants of logins: ``authorization_code`` and ``authorized_client``.

Their bodies are those of ``@wix/sdk`` 1.21.16. Wix's answers to a wrong one are not public; here they are those of
RFC 6749. What happens to the visitor's cart is the setting ``cart_at_login``, because Wix does not document it.
"""

from wixvisitor.testing._authorization import Code, check_exchange, invalid_grant
from wixvisitor.testing._calls import Call
from wixvisitor.testing._iam import identify_with_key
from wixvisitor.testing._member import Member
from wixvisitor.testing._site import Site
from wixvisitor.testing._visitors import TokenResponse, Visitor

Granted = tuple[Visitor, TokenResponse]


def exchange_code(site: Site, call: Call, client_id: str) -> Granted:
    """Exchanges a login's code for the member's tokens. A code is worth nothing after its first use, right or wrong.

    Without ``offline_access`` in the login's ``scope`` there is no refresh token, as in Wix's typings.

    Raises:
        Refused: The code is unknown, used or too old, or the exchange is not that of the login: 400.

    """
    code = site.hosted.codes.find(call.fields.get("code"))
    if code is None:
        raise invalid_grant("The code is unknown or too old")
    if code.is_used:
        _revoke_reused(site, code)
        raise invalid_grant("The code has been used")
    code.is_used = True
    check_exchange(
        code,
        client_id=client_id,
        redirect_uri=_field(call, "redirectUri", "redirect_uri"),
        verifier=_field(call, "codeVerifier", "code_verifier"),
    )
    member = site.members.by_id.get(code.member_id)
    if member is None:
        raise invalid_grant("The member is gone")
    visitor, tokens = _log_in(site, code.visitor, member)
    site.hosted.unknown_logins.discard((visitor.id, member.id))
    if "offline_access" not in code.request.scope.split():
        site.visitors.refresh_tokens.pop(tokens["refresh_token"])
        tokens["refresh_token"] = None
    code.tokens = tokens
    return visitor, tokens


def external_login(site: Site, call: Call) -> Granted:
    """Logs a member in with an API key. The hosted pages know of it only with a session token.

    Raises:
        Refused: The token or the key is wrong: 401. The member or the session token is: 400.

    """
    visitor = identify_with_key(site, call).visitor
    member_id = _field(call, "memberId", "member_id")
    member = site.members.by_id.get(member_id) if isinstance(member_id, str) else None
    if member is None:
        raise invalid_grant("The member is unknown")
    session_token = _field(call, "sessionToken", "session_token")
    if session_token is not None and site.members.session_tokens.take(session_token) is not member:
        raise invalid_grant("The session token is unknown, used, too old, or another member's")
    visitor, tokens = _log_in(site, visitor, member)
    login = (visitor.id, member.id)
    if session_token is None:
        site.hosted.unknown_logins.add(login)
    else:
        site.hosted.unknown_logins.discard(login)
    return visitor, tokens


def _log_in(site: Site, visitor: Visitor, member: Member) -> Granted:
    home = member.home if member.home is not None and member.home.client_id == visitor.client_id else None
    if site.settings.cart_at_login == "member" and home is not None:
        visitor = home
    site.visitors.by_id.setdefault(visitor.id, visitor)  # it may have been forgotten: a stand-in keeps only so many
    member.home = member.home or visitor
    visitor.member_id = member.id
    visitor.seen_at = site.server_time()
    return visitor, site.visitors.issue(visitor, member.id)


def _revoke_reused(site: Site, code: Code) -> None:
    if not site.settings.revoke_on_code_reuse or code.tokens is None:
        return
    access = site.visitors.access_tokens.get(code.tokens["access_token"])
    refresh = site.visitors.refresh_tokens.get(code.tokens["refresh_token"] or "")
    if access is not None:
        access.revoked = True
    if refresh is not None:
        refresh.refusal = site.settings.refusal


def _field(call: Call, camel: str, snake: str) -> object:
    return call.fields.get(camel, call.fields.get(snake))
