"""Wix's spelling of the token endpoint, both ways, and what an answer means. Pure.

Facts and where they come from: the requests are ``@wix/sdk`` 1.21.16's own (``build/auth/oauth2/OAuthStrategy.js``,
JSON in camelCase); the answer is RFC 6749 section 5.1 in snake_case; errors follow RFC 6749 section 5.2 by Wix's
documentation, but ``{"message", "details"}``, ``{"errorCode", "errorDescription"}``, HTML and nothing were all seen.
What Wix answers to a refresh token that it no longer accepts is recorded nowhere, so ``judge_refusal`` is a judgement,
and can be replaced (``VisitorSession(judge_refusal=…)``).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal

import attrs

from wixvisitor._tokens import AccessToken
from wixvisitor._wire.claims import read_claims
from wixvisitor._wire.redaction import redact, unescaped
from wixvisitor.errors import ConfigurationError, InvalidTokenResponse, TokenRequestError

TOKEN_PATH: Final = "/oauth2/token"  # noqa: S105 - a path, no secret
CONSISTENT_HEADER: Final = "X-Wix-Consistent"
REQUEST_ID_HEADER: Final = "x-wix-request-id"
IAM_PREFIX: Final = "/_api/iam/"  # logins: their 401 is about a password (code -19976), never about our token

DEFAULT_LIFETIME: Final = 14_400  # seconds; Wix documents 4 hours
_MIN, _MAX = 60, 86_400  # seconds; what an access token's lifetime is clamped to
_MAX_NAME: Final = 50  # characters of a Content-Encoding that an error's message may carry
_EXCERPT: Final = 500  # characters of an answer that an error's message may carry
# RFC 6749 section 5.2's codes that speak of the client and not of the token, and the one text that Wix is known to
# send for a client ID that is no GUID.
_CLIENT_ERROR: Final = (
    "invalid_client|unauthorized_client|unsupported_grant_type|invalid_scope|appRuntimeKeys|appId is not a valid GUID"
)
# The other codes of RFC 6749 (sections 4.1.2.1 and 5.2) and RFC 8628 (section 3.5) that speak of the request or of the
# server, and those of quotas. As whole values only: "invalid_request" may stand beside a text that names the token.
_OTHER_CODES: Final = frozenset(
    {
        *("invalid_request", "server_error", "temporarily_unavailable", "access_denied", "unsupported_response_type"),
        *("slow_down", "authorization_pending", "resource_exhausted", "too_many_requests", "throttled"),
    }
)
# What names the refresh token as dead: RFC 6749's invalid_grant, RFC 6750's invalid_token, codes like
# INVALID_REFRESH_TOKEN, and texts like "The refresh_token is invalid." (wix-incubator/DeviantArt-API #58, beside
# "invalid_request") or "[business][FATAL] … - invalid_token".
_DEAD: Final = "invalid|expired|revoked|used|unknown|malformed|inactive"
_NAMES_TOKEN: Final = (
    r"(?i:\binvalid_grant\b"
    rf"|\b(?:{_DEAD})[ _-]+(?:refresh[ _-]*)?(?:token|grant)\b"
    rf"|(?<!access)(?<!access[ _-])\b(?:refresh[ _-]*)?token[ _-]+(?:\w+[ _-]+){{0,3}}?(?:{_DEAD}|not[ _-]found)\b)"
)

Verdict = Literal["certain", "doubtful", "never"]
"""Whether an answer to a renewal says that the refresh token is refused: for certain, perhaps, or not at all."""


@attrs.frozen(eq=False, repr=False, match_args=False)
class TokenRequest:
    """One request to the token endpoint.

    Attributes:
        grant_type: ``anonymous`` or ``refresh_token``.
        content: the JSON body.
        secret: the refresh token in it, so that it can be masked wherever it comes back.
    """

    grant_type: str
    content: bytes
    secret: str = ""


@attrs.frozen(match_args=False)
class TokenAnswer:
    """What the token endpoint answered; this is what a ``judge_refusal`` function judges.

    Attributes:
        status_code: the HTTP status.
        json: the parsed body, None if it is no JSON.
        text: the body's text, tokens masked, cut at 500 characters.
        request_id: Wix's ``x-wix-request-id``.
        retry_after: seconds that Wix asks to wait, or None.
        date: Wix's clock when the answer arrived (``Date`` plus ``Age``) in epoch seconds, or None.
        encoding: how the body is compressed, if it could not be read because of that; else ``""``.
    """

    status_code: int
    json: Any = attrs.field(repr=False)
    text: str = ""
    request_id: str | None = None
    retry_after: float | None = None
    date: float | None = None
    encoding: str = ""


@attrs.frozen(eq=False, repr=False)
class Granted:
    """A token response.

    Attributes:
        access_token: with its expiry.
        refresh_token: a new refresh token, None if the answer has none.
        lifetime: seconds that the access token has from the request on.
    """

    access_token: AccessToken
    refresh_token: str | None
    lifetime: int


@attrs.frozen(eq=False, repr=False)
class Refused:
    """Wix does not accept this refresh token any more."""

    answer: TokenAnswer


def mint_request(client_id: str) -> TokenRequest:
    """Returns the request that makes a new visitor."""
    return TokenRequest("anonymous", _body({"clientId": client_id, "grantType": "anonymous"}))


def renew_request(client_id: str, refresh_token: str) -> TokenRequest:
    """Returns the request that renews a visitor's access token."""
    fields = {"clientId": client_id, "refreshToken": refresh_token, "grantType": "refresh_token"}
    return TokenRequest("refresh_token", _body(fields), refresh_token)


def read_answer(
    status_code: int,
    body: bytes,
    *,
    headers: dict[str, str],
    now: float,
    secret: str = "",
    cut: bool = False,
    encodings: str = "",
) -> TokenAnswer:
    """Returns the answer in the form that the rules judge.

    The body is read as ``fetch``'s ``response.json()`` reads it: UTF-8, whatever ``Content-Type`` says, without a byte
    order mark before it.

    Args:
        status_code: the HTTP status.
        body: what was read of the body.
        headers: its headers, names in lower case.
        now: epoch seconds, for a ``Retry-After`` that is a date in an answer without one of its own.
        secret: the refresh token that was sent, masked in ``text``.
        cut: the body was longer than what was read, so it is not parsed.
        encodings: how the body is compressed, if it still is.
    """
    text = body.decode("utf-8", "replace").removeprefix("\ufeff")
    try:
        content = None if cut else json.loads(text)
    except (ValueError, RecursionError):
        content = None
    encoding, date = redact(encodings)[:_MAX_NAME] if content is None else "", server_time(headers)
    if encoding:
        text = ""  # nothing that a person could read
    return TokenAnswer(
        status_code,
        content,
        redact(unescaped(text), (secret,))[
            :_EXCERPT
        ],  # masked first: a cut in the middle of a secret would leave its beginning
        request_id=redact(headers[REQUEST_ID_HEADER][:100]) if headers.get(REQUEST_ID_HEADER) else None,
        retry_after=read_retry_after(headers.get("retry-after"), now if date is None else date),
        date=date,
        encoding=encoding,
    )


def judge_refusal(answer: TokenAnswer) -> Verdict:
    """Judges whether this answer to a renewal says that the refresh token is refused: the rule that costs a visitor.

    - ``"certain"``: 400, 401 or 403 with a JSON object that names the token as invalid, expired, revoked, used or
      unknown: ``invalid_grant`` (RFC 6749 section 5.2), ``INVALID_REFRESH_TOKEN``, ``invalid_token``, or such a text.
    - ``"never"``: codes about the client, the request, the server or a quota; every other status; no JSON object.
    - ``"doubtful"``: every other 400, 401 or 403 with a JSON object. Gateways and firewalls send those as well, so
      they count only once they are confirmed (``_renewal.doubts``).
    """
    if answer.status_code not in (400, 401, 403) or not isinstance(answer.json, dict) or _is_client_error(answer):
        return "never"
    texts = list(_texts(answer.json))
    if any(re.search(_NAMES_TOKEN, text) for text in texts):
        return "certain"
    return "never" if any(text.strip().lower() in _OTHER_CODES for text in texts) else "doubtful"


def is_refusal(answer: TokenAnswer) -> bool:
    """Whether ``judge_refusal`` calls this answer certain. Use that function instead; this one goes with 1.0."""
    return judge_refusal(answer) == "certain"


def kind_of(answer: TokenAnswer) -> str:
    """Returns what answers of one kind have in common: status, keys and texts, without what differs each time."""
    texts = [re.sub(r"[0-9a-fA-F-]*[0-9][0-9a-fA-F-]*", "#", text) for text in _texts(answer.json)]
    return "\n".join((str(answer.status_code), *texts))


def _texts(content: Any) -> Iterator[str]:
    """Yields the texts in a JSON value, those of objects behind their keys' order; not the keys."""
    todo = [content]
    while todo:
        value = todo.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            todo += value.values()
        elif isinstance(value, list):
            todo += value


def has_run_out(refresh_token: str, answer: TokenAnswer, now: float) -> bool:
    """Whether Wix turned down a refresh token whose own ``exp`` is past, by Wix's clock if the answer tells it.

    The clock alone never costs a visitor: it may be wrong, so Wix is asked all the same.
    """
    claims = read_claims(refresh_token)
    late = claims is not None and claims.expires_at <= (answer.date if answer.date is not None else now)
    return late and answer.status_code in (400, 401, 403) and not _is_client_error(answer)


def grant(answer: TokenAnswer, requested_at: float) -> Granted:
    """Returns the tokens of a 200.

    Args:
        answer: the endpoint's.
        requested_at: when the request was sent, by Wix's clock as far as it is known; the lifetime counts from there.

    Raises:
        InvalidTokenResponse: it is no token response.
    """
    data = answer.json if isinstance(answer.json, dict) else {}
    access, refresh = data.get("access_token"), data.get("refresh_token")
    if not isinstance(access, str) or not _is_token(access) or not (refresh in (None, "") or _is_token(refresh)):
        raise InvalidTokenResponse(
            f"The token endpoint answered 200, but not with tokens{_why(answer)}. "
            "The visitor is unchanged; try again later.",
            **_from(answer, retry=True),
        )
    lifetime = _lifetime(access, data.get("expires_in"), answer.date, requested_at)
    return Granted(AccessToken(access, int(requested_at) + lifetime), refresh or None, lifetime)


def failure(answer: TokenAnswer) -> ConfigurationError | TokenRequestError:
    """Returns the error for an answer that is neither a grant nor a refusal."""
    status = answer.status_code
    if _is_client_error(answer) and 400 <= status < 500:
        return ConfigurationError(
            f"The token endpoint answered {status}: {answer.text or 'nothing'} "
            "Check the client ID: Wix dashboard, Settings, Headless Settings.",
            **_from(answer),
        )
    return TokenRequestError(
        f"The token endpoint gave no usable answer ({status}){_why(answer)}. "
        "The visitor is unchanged; try again later.",
        **_from(answer, retry=True),
    )


def _why(answer: TokenAnswer) -> str:
    """What cannot be read here: "br" where brotli is missing, for instance, or what is not what it is called."""
    return f"; its body is compressed ({answer.encoding}) in a way that cannot be read here" if answer.encoding else ""


def described(answer: TokenAnswer) -> dict[str, Any]:
    """Returns what an error carries of an answer."""
    return _from(answer)


def read_retry_after(value: str | None, now: float) -> float | None:
    """Returns a ``Retry-After`` (RFC 9110 section 10.2.3: seconds or a date) in seconds, None if it is neither."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        date = _date(value)
        seconds = math.nan if date is None else max(0.0, date - now)
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def is_header_safe(value: str) -> bool:
    """Whether a token can travel in a header: printable ASCII without blanks (RFC 6750 section 2.1)."""
    return value.isascii() and value.isprintable() and " " not in value


def _body(fields: dict[str, str]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def _is_token(value: object) -> bool:
    return isinstance(value, str) and bool(value) and is_header_safe(value)


def _lifetime(access: str, expires_in: object, date: float | None, requested_at: float) -> int:
    """Seconds that the token has: what the answer says, less what a stale answer has already used up.

    ``exp`` is compared with the server's own clock, so that a wrong local clock does no harm. Of an answer without a
    ``Date`` the local one has to do, as long as the token has not expired by it.
    """
    claims = read_claims(access)
    seconds = _number(expires_in)
    if seconds is None:
        seconds = float(claims.lifetime if claims else DEFAULT_LIFETIME)
    if claims and (date is not None or claims.expires_at > requested_at):
        seconds = min(seconds, claims.expires_at - (requested_at if date is None else date))
    return int(min(max(seconds, _MIN), _MAX))


def _number(value: object) -> float | None:
    """``expires_in`` as ``@wix/sdk`` reads it, ``Number(expires_in)``: a number or a numeric string."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def server_time(headers: Mapping[str, str]) -> float | None:
    """Returns the server's clock: a cached answer keeps its ``Date`` and says in ``Age`` how old it is (RFC 9111).

    Args:
        headers: an answer's, names in lower case or in any.
    """
    date, age = _date(headers.get("date")), _number(headers.get("age"))
    return date if date is None or age is None else date + max(age, 0.0)


def _date(value: str | None) -> float | None:
    """Returns an HTTP date (RFC 9110 section 5.6.7, all three forms, always GMT) in epoch seconds."""
    try:
        date = parsedate_to_datetime(value or "")
        return (date.replace(tzinfo=UTC) if date.tzinfo is None else date).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _is_client_error(answer: TokenAnswer) -> bool:
    return isinstance(answer.json, dict) and re.search(_CLIENT_ERROR, json.dumps(answer.json)) is not None


def _from(answer: TokenAnswer, *, retry: bool = False) -> dict[str, Any]:
    carried: dict[str, Any] = {
        "status_code": answer.status_code,
        "request_id": answer.request_id,
        "body": answer.text,
    }
    return carried | {"retry_after": answer.retry_after} if retry else carried
