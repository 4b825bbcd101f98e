"""The token endpoint: its requests, its answers, and what an answer means. Pure.

Sources: the requests are those of ``@wix/sdk`` 1.21.16 (``build/auth/oauth2/OAuthStrategy.js``, JSON in camelCase). A
token answer follows RFC 6749 section 5.1, in snake_case. Wix documents errors as in RFC 6749 section 5.2, but
``{"message", "details"}``, ``{"errorCode", "errorDescription"}``, HTML and empty bodies were observed as well.
Wix documents nowhere how it refuses a refresh token. So the rules of ``judge_refusal`` are this library's own, and a
caller can replace them (``VisitorSession(judge_refusal=…)``).
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal

import attrs

from wixvisitor._tokens import AccessToken
from wixvisitor._wire.claims import read_claims
from wixvisitor._wire.json_text import parsed
from wixvisitor._wire.redaction import redact, unescaped
from wixvisitor.errors import ConfigurationError, InvalidTokenResponse, TokenRequestError

TOKEN_PATH: Final = "/oauth2/token"  # noqa: S105 - a path, not a secret
CONSISTENT_HEADER: Final = "X-Wix-Consistent"
REQUEST_ID_HEADER: Final = "x-wix-request-id"
IAM_PREFIX: Final = "/_api/iam/"  # logins: a 401 there means a wrong password (code -19976), not a rejected token

DEFAULT_LIFETIME: Final = 14_400  # seconds; Wix documents 4 hours
_MIN, _MAX = 60, 86_400  # seconds; an access token's lifetime is clamped to this range
_MAX_NAME: Final = 50  # characters of a Content-Encoding that an error's message may contain
_EXCERPT: Final = 500  # characters of an answer that an error's message may contain
# The codes of RFC 6749 section 5.2 that are about the client and not about the token, and the text that Wix sends for
# a client ID that is not a GUID.
_CLIENT_ERROR: Final = (
    "invalid_client|unauthorized_client|unsupported_grant_type|invalid_scope|appRuntimeKeys|appId is not a valid GUID"
)
# The other codes of RFC 6749 (sections 4.1.2.1 and 5.2) and RFC 8628 (section 3.5) that are about the request or the
# server, and codes of quotas. Only a whole value counts.
_OTHER_CODES: Final = frozenset(
    {
        *("invalid_request", "server_error", "temporarily_unavailable", "access_denied", "unsupported_response_type"),
        *("slow_down", "authorization_pending", "resource_exhausted", "too_many_requests", "throttled"),
    }
)
# Texts that say that the refresh token is no longer valid: RFC 6749's invalid_grant, RFC 6750's invalid_token, codes
# like INVALID_REFRESH_TOKEN, and sentences like "The refresh_token is invalid." (wix-incubator/DeviantArt-API #58,
# together with the code "invalid_request") or "[business][FATAL] … - invalid_token".
_DEAD: Final = "invalid|expired|revoked|used|unknown|malformed|inactive"
_NAMES_TOKEN: Final = (
    r"(?i:\binvalid_grant\b"
    rf"|\b(?:{_DEAD})[ _-]+(?:refresh[ _-]*)?(?:token|grant)\b"
    rf"|(?<!access)(?<!access[ _-])\b(?:refresh[ _-]*)?token[ _-]+(?:\w+[ _-]+){{0,3}}?(?:{_DEAD}|not[ _-]found)\b)"
)

Verdict = Literal["certain", "doubtful", "never"]
"""Whether the answer to a renewal refuses the refresh token: ``certain`` yes, ``doubtful`` perhaps, ``never`` no."""


@attrs.frozen(eq=False, repr=False, match_args=False)
class TokenRequest:
    """One request to the token endpoint.

    Attributes:
        grant_type: ``anonymous``, ``refresh_token``, or that of a login.
        content: the JSON body.
        secrets: texts in the request, for redacting them in the answer and in errors.
        refresh_token: the refresh token in the body, ``""`` if there is none.
        works_once: whether a repeat would be refused, as with a login's code.
        path: where it goes to.
        authorization: the value of the ``Authorization`` header, ``""`` for none.
    """

    grant_type: str
    content: bytes
    secrets: tuple[str, ...] = ()
    refresh_token: str = ""
    works_once: bool = False
    path: str = TOKEN_PATH
    authorization: str = ""


@attrs.frozen(match_args=False)
class TokenAnswer:
    """An answer of the token endpoint. A ``judge_refusal`` function gets it as its argument.

    Attributes:
        status_code: the HTTP status.
        json: the parsed body; None if it is not JSON.
        text: the body's text, with tokens redacted and cut after 500 characters.
        request_id: Wix's ``x-wix-request-id``; None if the answer has none.
        retry_after: seconds that Wix asks to wait; None if it asks for none.
        date: Wix's clock when the answer arrived (``Date`` plus ``Age``), in epoch seconds; None if it is unknown.
        encoding: the body's ``Content-Encoding`` if the body could not be decompressed; else ``""``.
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
        access_token: the new access token, with its expiry.
        refresh_token: a new refresh token; None if the answer has none.
        lifetime: seconds from the request to the access token's expiry.
    """

    access_token: AccessToken
    refresh_token: str | None
    lifetime: int


@attrs.frozen(eq=False, repr=False)
class Refused:
    """Wix refused the refresh token."""

    answer: TokenAnswer


def mint_request(client_id: str) -> TokenRequest:
    """Returns the request that mints a new visitor."""
    return TokenRequest("anonymous", _body({"clientId": client_id, "grantType": "anonymous"}))


def renew_request(client_id: str, refresh_token: str) -> TokenRequest:
    """Returns the request that renews a visitor's access token."""
    fields = {"clientId": client_id, "refreshToken": refresh_token, "grantType": "refresh_token"}
    return TokenRequest("refresh_token", _body(fields), (refresh_token,), refresh_token)


def read_answer(
    status_code: int,
    body: bytes,
    *,
    headers: dict[str, str],
    now: float,
    secrets: tuple[str, ...] = (),
    cut: bool = False,
    encodings: str = "",
) -> TokenAnswer:
    """Returns the parsed answer.

    The body is decoded as ``fetch``'s ``response.json()`` does it: as UTF-8, whatever ``Content-Type`` says, without
    a byte order mark.

    Args:
        status_code: the HTTP status.
        body: the bytes that were read of the body.
        headers: the answer's headers, with names in lower case.
        now: epoch seconds. They are needed for a ``Retry-After`` date if the answer has no ``Date`` header.
        secrets: what was sent. It is redacted in ``text``.
        cut: whether the body is longer than the bytes that were read. Then it is not parsed.
        encodings: the body's ``Content-Encoding`` if the body is still compressed, else ``""``.
    """
    text = body.decode("utf-8", "replace").removeprefix("\ufeff")
    content = None if cut else parsed(text)
    encoding, date = redact(encodings)[:_MAX_NAME] if content is None else "", server_time(headers)
    if encoding:
        text = ""  # compressed bytes are not readable
    return TokenAnswer(
        status_code,
        content,
        redact(unescaped(text), secrets)[
            :_EXCERPT
        ],  # redacted before the cut: a cut within a secret would leave its beginning
        request_id=redact(headers[REQUEST_ID_HEADER][:100]) if headers.get(REQUEST_ID_HEADER) else None,
        retry_after=read_retry_after(headers.get("retry-after"), now if date is None else date),
        date=date,
        encoding=encoding,
    )


def judge_refusal(answer: TokenAnswer) -> Verdict:
    """Judges whether the answer to a renewal refuses the refresh token. Only a refusal may cost a visitor.

    - ``"certain"``: 400, 401 or 403 with a JSON object that calls the token invalid, expired, revoked, used, unknown,
      malformed, inactive or not found: ``invalid_grant`` (RFC 6749 section 5.2), ``INVALID_REFRESH_TOKEN``,
      ``invalid_token``, or such a text.
    - ``"never"``: a code about the client, the request, the server or a quota; any other status; no JSON object.
    - ``"doubtful"``: any other 400, 401 or 403 with a JSON object. Gateways and firewalls also send such answers, so
      one counts as a refusal only after it is confirmed (``_renewal.doubts``).
    """
    if answer.status_code not in (400, 401, 403) or not isinstance(answer.json, dict) or _is_client_error(answer):
        return "never"
    texts = list(_texts(answer.json))
    if any(re.search(_NAMES_TOKEN, text) for text in texts):
        return "certain"
    return "never" if any(text.strip().lower() in _OTHER_CODES for text in texts) else "doubtful"


def is_refusal(answer: TokenAnswer) -> bool:
    """Whether ``judge_refusal`` returns ``"certain"``. Deprecated: use that function; version 0.2 removes this one."""
    message = 'is_refusal is deprecated, and version 0.2 removes it: judge_refusal returns "certain" where it was True'
    warnings.warn(message, DeprecationWarning, stacklevel=2)
    return judge_refusal(answer) == "certain"


def kind_of(answer: TokenAnswer) -> str:
    """Returns a text that is equal for answers of one kind: status and texts, with IDs and numbers replaced."""
    texts = [re.sub(r"[0-9a-fA-F-]*[0-9][0-9a-fA-F-]*", "#", text) for text in _texts(answer.json)]
    return "\n".join((str(answer.status_code), *texts))


def _texts(content: Any) -> Iterator[str]:
    """Yields the texts in a JSON value, without the keys of objects."""
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
    """Whether Wix answered 400, 401 or 403 to a refresh token whose own ``exp`` is past.

    ``exp`` is compared with Wix's clock if the answer has a date, else with ``now``. A local clock may be wrong, so an
    expired ``exp`` alone never costs a visitor: only an answer of Wix does.
    """
    claims = read_claims(refresh_token)
    late = claims is not None and claims.expires_at <= (answer.date if answer.date is not None else now)
    return late and answer.status_code in (400, 401, 403) and not _is_client_error(answer)


def grant(answer: TokenAnswer, requested_at: float) -> Granted:
    """Returns the tokens of a 200.

    Args:
        answer: the token endpoint's answer.
        requested_at: when the request was sent, in epoch seconds by Wix's clock if it is known. The lifetime counts
            from there.

    Raises:
        InvalidTokenResponse: the answer has no usable tokens.
    """
    data = answer.json if isinstance(answer.json, dict) else {}
    access, refresh = data.get("access_token"), data.get("refresh_token")
    if not isinstance(access, str) or not _is_token(access) or not (refresh in (None, "") or _is_token(refresh)):
        raise InvalidTokenResponse(
            f"The token endpoint answered 200, but without usable tokens{_why(answer)}. "
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
            f"The token endpoint answered {status}: {answer.text or 'an empty body'} "
            "Check the client ID: Wix dashboard, Settings, Headless Settings.",
            **_from(answer),
        )
    return TokenRequestError(
        f"The token endpoint gave no usable answer ({status}){_why(answer)}. "
        "The visitor is unchanged; try again later.",
        **_from(answer, retry=True),
    )


def _why(answer: TokenAnswer) -> str:
    """Returns a message's part about the encoding: for example "br" cannot be read if brotli is not installed."""
    return f"; its body is compressed ({answer.encoding}) and could not be decompressed" if answer.encoding else ""


def described(answer: TokenAnswer) -> dict[str, Any]:
    """Returns the attributes that an error takes from an answer."""
    return _from(answer)


def read_retry_after(value: str | None, now: float) -> float | None:
    """Returns a ``Retry-After`` (RFC 9110 section 10.2.3: seconds or a date) in seconds; None if it is neither."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        date = _date(value)
        seconds = math.nan if date is None else max(0.0, date - now)
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def is_header_safe(value: str) -> bool:
    """Whether a token can be sent in a header: printable ASCII without blanks (RFC 6750 section 2.1)."""
    return value.isascii() and value.isprintable() and " " not in value


def _body(fields: dict[str, str]) -> bytes:
    # An error of the encoding would quote the whole text. Half a surrogate pair is for Wix to refuse.
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _is_token(value: object) -> bool:
    return isinstance(value, str) and bool(value) and is_header_safe(value)


def _lifetime(access: str, expires_in: object, date: float | None, requested_at: float) -> int:
    """Returns the token's lifetime in seconds: ``expires_in``, or less if the token's ``exp`` comes earlier.

    ``exp`` comes earlier in a stale answer from a cache. It is compared with the server's own clock, because the local
    clock may be wrong. If the answer has no ``Date``, the local clock is used, unless ``exp`` is already past by it.
    """
    claims = read_claims(access)
    seconds = _number(expires_in)
    if seconds is None:
        seconds = float(claims.lifetime if claims else DEFAULT_LIFETIME)
    if claims and (date is not None or claims.expires_at > requested_at):
        seconds = min(seconds, claims.expires_at - (requested_at if date is None else date))
    return int(min(max(seconds, _MIN), _MAX))


def _number(value: object) -> float | None:
    """Returns a number or a numeric string as a float, as ``Number(expires_in)`` in ``@wix/sdk``; None for others."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def server_time(headers: Mapping[str, str]) -> float | None:
    """Returns the server's clock in epoch seconds: ``Date`` plus ``Age``, the age of a cached answer (RFC 9111).

    Args:
        headers: an answer's headers, in a mapping that finds names in lower case.
    """
    date, age = _date(headers.get("date")), _number(headers.get("age"))
    return date if date is None or age is None else date + max(age, 0.0)


def _date(value: str | None) -> float | None:
    """Returns an HTTP date (RFC 9110 section 5.6.7: three forms, always GMT) in epoch seconds; None if it is none."""
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
