"""What comes from Wix: tokens, the token endpoint's answers, the clocks in their headers, and errors of the APIs."""

from __future__ import annotations

import base64
import copy
import json
import math
import pickle
import re
from contextlib import suppress
from typing import Any, Final

import httpx

from wixvisitor import AccessToken, RefreshToken, TokenRole, Tokens, WixAPIError, raise_for_error
from wixvisitor._renewal.decision import MAX_RETRY_AFTER, next_cooldown, snapshot_of
from wixvisitor._wire import token_endpoint
from wixvisitor._wire.claims import read_claims
from wixvisitor._wire.graphql import GraphQLResult, read_graphql
from wixvisitor._wire.token_endpoint import Granted, Refused, TokenAnswer
from wixvisitor.errors import ConfigurationError, TokenRequestError

from .ends import NOW, check_sendable, check_tokens, ending

OPAQUE: Final = "0p4que-r3fre5h-0f-n0b0dy"  # a refresh token that does not look like one of Wix's
_LATEST: Final = 1e11  # seconds; the year 5138
_ESCAPE: Final = re.compile(r"\\u([0-9a-fA-F]{4})")


def token_json(data: bytes) -> None:
    """``Tokens.from_json``: tokens that survive a round trip, or a ``ValueError`` that names the field."""
    for text in (data, data.decode("utf-8", "surrogatepass") if _is_text(data) else data.decode("latin-1")):
        names = r"^(tokens|accessToken|refreshToken)\b.*: "
        end = ending(lambda text=text: Tokens.from_json(text), ValueError, names=names, given=_decoded(data))
        if end.error is None:
            check_tokens(end.value)


def token_answer(data: bytes) -> None:
    """An answer of the token endpoint: a status, headers, an empty line and a body."""
    head, _, body = data.partition(b"\n\n")
    status, _, lines = head.decode("latin-1").partition("\n")
    pairs = (line.partition(":") for line in lines.split("\n"))
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    code = int(status[:3]) if re.fullmatch("[1-5][0-9][0-9]", status[:3], re.ASCII) else 200
    given = _decoded(body)
    shown_already = OPAQUE[:12] in given.replace(OPAQUE, "")
    secrets = () if shown_already or OPAQUE[:12] in head.decode("latin-1") else (OPAQUE[:12],)
    allowed, names = (TokenRequestError, ConfigurationError), "^The token endpoint answered|^The token endpoint gave no"
    end = ending(lambda: _judged(code, body, headers), *allowed, names=names, given=given, secrets=secrets)
    match end.value, end.error:
        case Granted() as granted, None:
            _check_granted(granted)
        case Refused(answer), None:
            assert answer.status_code in (400, 401, 403)
            assert len(answer.text) <= 500
        case _, TokenRequestError() as error:
            assert len(error.body) <= 500
            _check_patience(error.retry_after)
        case _, error:
            assert isinstance(error, ConfigurationError)
            assert code != 200


def jwt_payload(data: bytes) -> None:
    """A token's payload: hints that are plausible, or none. With ``raw:`` before it, a token's whole text."""
    token = f"OauthNG.JWS.e30.{base64.urlsafe_b64encode(data).decode().rstrip('=')}.c2ln"
    if data.startswith(b"raw:"):
        token = data[4:].decode("latin-1")
    claims = read_claims(token)
    if claims is not None:
        assert 0 < claims.issued_at < claims.expires_at < _LATEST
        assert 0 < claims.lifetime < _LATEST
        ids = (claims.visitor_id, claims.member_id)
        assert all(one is None or (isinstance(one, str) and one) for one in ids)
    refresh = RefreshToken("JWS.r", TokenRole.VISITOR)
    check_tokens(Tokens(AccessToken(token, int(NOW)), refresh))
    answer = TokenAnswer(401, {}, date=NOW)
    assert isinstance(token_endpoint.has_run_out(token, answer, NOW), bool)
    if token and token_endpoint.is_header_safe(token):
        _check_granted(token_endpoint.grant(TokenAnswer(200, {"access_token": token}, date=NOW), NOW))


def retry_after(data: bytes) -> None:
    """``Retry-After``: seconds to wait, or None."""
    _check_patience(token_endpoint.read_retry_after(data.decode("latin-1"), NOW))


def http_date(data: bytes) -> None:
    """``Date``, and in a second line ``Age``: Wix's clock, or None."""
    date, _, age = data.decode("latin-1").partition("\n")
    answer = token_endpoint.read_answer(401, b"{}", headers={"date": date, "age": age}, now=NOW)
    assert answer.date is None or (isinstance(answer.date, float) and math.isfinite(answer.date))
    assert isinstance(token_endpoint.has_run_out(_EXPIRED, answer, NOW), bool)


def wix_error(data: bytes) -> None:
    """An API's error: a content type and a request ID in two lines, then a body. Always a ``WixAPIError``."""
    kind, _, rest = data.partition(b"\n")
    request_id, _, body = rest.partition(b"\n")
    headers = [(b"Content-Type", kind), (b"x-wix-request-id", request_id)]
    response = httpx.Response(418, headers=headers, content=body)
    text = _decoded(body) if b"charset" not in kind.lower() else ""
    end = ending(lambda: raise_for_error(response), WixAPIError, names="^Wix answered 418", given=text)
    error = end.error
    assert isinstance(error, WixAPIError)
    assert error.message
    assert error.code is None or isinstance(error.code, str)
    assert isinstance(error.details, dict)
    assert all(isinstance(violation, dict) for violation in error.field_violations)
    assert error.request_id is None or len(error.request_id) <= 100
    assert str(copy.copy(error)) == str(error)
    with suppress(RecursionError):  # of details that are as deep as JSON may be
        assert str(pickle.loads(pickle.dumps(error))) == str(error)


def graphql_answer(data: bytes) -> None:
    """An answer to a GraphQL call: data and errors, or a ``WixAPIError``."""
    end = ending(lambda: read_graphql(200, data), WixAPIError, names="not a GraphQL answer", given=_decoded(data))
    if end.error is None:
        assert isinstance(end.value, GraphQLResult)
        assert isinstance(end.value.data, dict)
        assert all(isinstance(error, dict) for error in end.value.errors)


_EXPIRED: Final = "JWS.e30.{}.c2ln".format(base64.urlsafe_b64encode(b'{"iat":1,"exp":1799999999}').decode().rstrip("="))


def _judged(status: int, body: bytes, headers: dict[str, str]) -> Granted | Refused:
    """What ``TokenEndpoint`` makes of an answer to a renewal."""
    answer = token_endpoint.read_answer(status, body, headers=headers, now=NOW, secrets=(OPAQUE,))
    if status == 200:
        return token_endpoint.grant(answer, NOW)
    if token_endpoint.judge_refusal(answer) == "certain" or token_endpoint.has_run_out(_EXPIRED, answer, NOW):
        return Refused(answer)
    assert OPAQUE not in token_endpoint.kind_of(answer) or OPAQUE in body.decode(errors="replace")
    raise token_endpoint.failure(answer)


def _check_granted(granted: Granted) -> None:
    assert 60 <= granted.lifetime <= 86_400
    assert granted.refresh_token is None or isinstance(granted.refresh_token, str)
    refresh = RefreshToken(granted.refresh_token or "", TokenRole.VISITOR)
    check_sendable(Tokens(granted.access_token, refresh))
    held = snapshot_of(Tokens(granted.access_token, refresh), renew_before=900.0, jitter=0.0, lifetime=granted.lifetime)
    assert NOW < held.renew_at < granted.access_token.expires_at


def _check_patience(seconds: float | None) -> None:
    assert seconds is None or (math.isfinite(seconds) and seconds >= 0)
    pause = next_cooldown(None, NOW, 0.5, cause=None, retry_after=seconds)
    assert NOW <= pause.until <= NOW + MAX_RETRY_AFTER


def _is_text(data: bytes) -> bool:
    with suppress(UnicodeDecodeError):
        return bool(data.decode("utf-8", "surrogatepass")) or not data
    return False


def _decoded(data: bytes) -> str:
    """The text that a JSON body holds, its escapes read, also where it is no JSON."""
    encoding = json.detect_encoding(data) if data else "utf-8"
    text: Any = data.decode(encoding, "replace")
    return str(_ESCAPE.sub(lambda code: chr(int(code[1], 16)), text))
