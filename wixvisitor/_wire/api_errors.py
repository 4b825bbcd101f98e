"""Reads a Wix API's error answer, in every shape that was observed. Pure.

Wix documents ``{"message", "details": {"applicationError" | "validationError"}}``
(https://dev.wix.com/docs/rest/articles/getting-started/errors). Older services send ``{"errorCode",
"errorDescription"}``, and OAuth services ``{"error", "error_description"}``. Bot protection sends an HTML page. By
Wix's documentation, system errors are "sent empty by design".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from wixvisitor._wire.json_text import parsed_object
from wixvisitor._wire.redaction import redact, unescaped
from wixvisitor._wire.token_endpoint import REQUEST_ID_HEADER
from wixvisitor.errors import WixAPIError

if TYPE_CHECKING:
    import httpx

ResponseT = TypeVar("ResponseT", bound="httpx.Response")

_MAX = 1_000_000  # bytes of a body that are read; the rest is ignored
_LATIN = ("iso-8859-1", "iso8859-1", "latin-1", "latin1", "windows-1252", "cp1252", "us-ascii", "ascii")
_ENCODINGS = frozenset({"utf-8", "utf8", "utf-16", "utf-16le", "utf-16be", *_LATIN})


def raise_for_error(response: ResponseT) -> ResponseT:
    """Returns a response with a 2xx status.

    Accepts responses of httpx and httpx2. If a streamed response has not been read yet (``await response.aread()``),
    the error carries its status but nothing of its body.

    Raises:
        WixAPIError: the status is not 2xx. The body may be anything.
    """
    if response.is_success:
        return response
    raise error_of(response)


def error_of(response: Any, secrets: tuple[str, ...] = ()) -> WixAPIError:
    """Returns the error for a response of httpx or httpx2 that is not 2xx. It shows no secret and no token."""
    # No local variable holds the body or the token: some tools print tracebacks with local variables.
    return read_error(
        response.status_code,
        _text(response),
        response.headers.get(REQUEST_ID_HEADER),
        secrets=(_token_of(response), *secrets),
    )


def read_error(
    status_code: int, text: str, request_id: str | None = None, *, secrets: tuple[str, ...] = ()
) -> WixAPIError:
    """Returns the ``WixAPIError`` for an answer with this status and body. The secrets are redacted in it."""
    text = text[:_MAX]
    redacted = redact(_unescaped(text) if "\\u" in text else text, secrets)
    body = parsed_object(redacted) or {}
    details = body.get("details")
    details = details if isinstance(details, dict) else {}
    application = _dict(details.get("applicationError"))
    return WixAPIError(
        _message(body, application, redacted),
        status_code=status_code,
        code=_code(body, application),
        details=details,
        field_violations=_violations(details),
        request_id=redact(request_id[:1_000], secrets)[:100] if request_id else None,
    )


def _token_of(response: httpx.Response) -> str:
    """Returns the token that was sent; ``""`` if no token was sent or the response does not know its request."""
    try:
        return str(response.request.headers.get("Authorization", ""))
    except RuntimeError:  # a response that a test made by hand has no request
        return ""


def _text(response: httpx.Response) -> str:
    try:
        return bytes(response.content[:_MAX]).decode(_encoding(response), "replace").removeprefix("\ufeff")
    except Exception:  # ResponseNotRead or DecodingError; httpx and httpx2 have classes of their own
        return ""


def _encoding(response: httpx.Response) -> str:
    """Returns the body's encoding if it is a usual one for JSON and HTML, else UTF-8.

    Other codecs are not used: some of them run for hours, or make a text much larger.
    """
    name = str(response.charset_encoding or "utf-8").lower().replace("_", "-")
    return name if name in _ENCODINGS else "utf-8"


def _unescaped(text: str) -> str:
    """Returns the text without JSON's escapes, because an escape can hide the beginning of a token from ``redact``."""
    try:
        return json.dumps(json.loads(text), ensure_ascii=False)
    except (ValueError, RecursionError):
        return unescaped(text)


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _code(body: dict[str, Any], application: dict[str, Any]) -> str | None:
    error = body.get("error")
    nested = error.get("code") if isinstance(error, dict) else error
    for code in (application.get("code"), body.get("code"), body.get("errorCode"), nested):
        if isinstance(code, str | int) and not isinstance(code, bool) and code != "":
            return str(code)
    return None


def _message(body: dict[str, Any], application: dict[str, Any], text: str) -> str:
    error = _dict(body.get("error"))
    candidates = (body, application, error)
    for key in ("message", "description", "errorDescription", "error_description"):
        for source in candidates:
            if isinstance(source.get(key), str) and source[key]:
                return str(source[key])
    if text.lstrip()[:1] == "<":
        return "the body is an HTML page instead of JSON; with status 403, bot protection sent it"
    return "the body is empty" if not text.strip() else "the body has none of the known shapes of a Wix error"


def _violations(details: dict[str, Any]) -> list[dict[str, Any]]:
    violations = _dict(details.get("validationError")).get("fieldViolations")
    return [item for item in violations if isinstance(item, dict)] if isinstance(violations, list) else []
