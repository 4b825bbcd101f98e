"""What a Wix API's error answer means, in every shape that was seen. Pure.

The documented shape is ``{"message", "details": {"applicationError" | "validationError"}}``
(https://dev.wix.com/docs/rest/articles/getting-started/errors); legacy services send ``{"errorCode",
"errorDescription"}``, OAuth ones ``{"error", "error_description"}``, bot protection an HTML page, and system errors
are "sent empty by design".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from wixvisitor._wire.redaction import redact, unescaped
from wixvisitor._wire.token_endpoint import REQUEST_ID_HEADER
from wixvisitor.errors import WixAPIError

if TYPE_CHECKING:
    import httpx

ResponseT = TypeVar("ResponseT", bound="httpx.Response")

_MAX = 1_000_000  # bytes of a body that are looked at
_LATIN = ("iso-8859-1", "iso8859-1", "latin-1", "latin1", "windows-1252", "cp1252", "us-ascii", "ascii")
_ENCODINGS = frozenset({"utf-8", "utf8", "utf-16", "utf-16le", "utf-16be", *_LATIN})


def raise_for_error(response: ResponseT) -> ResponseT:
    """Returns a response with a 2xx status.

    Takes responses of httpx and httpx2. A streamed response that was not read yet (``await response.aread()``) is
    judged by its status alone.

    Raises:
        WixAPIError: for any other status, whatever the body is.
    """
    if response.is_success:
        return response
    # Nothing of this in a local variable: whoever prints tracebacks with locals would print the token.
    raise read_error(
        response.status_code,
        _text(response),
        response.headers.get(REQUEST_ID_HEADER),
        secrets=(_token_of(response),),
    )


def read_error(
    status_code: int, text: str, request_id: str | None = None, *, secrets: tuple[str, ...] = ()
) -> WixAPIError:
    """Returns the error that an answer with this status and body stands for, without these secrets."""
    text = text[:_MAX]
    redacted = redact(_unescaped(text) if "\\u" in text else text, secrets)
    body = _object(redacted)
    details = body.get("details")
    details = details if isinstance(details, dict) else {}
    application = _dict(details.get("applicationError"))
    return WixAPIError(
        _message(body, application, redacted),
        status_code=status_code,
        code=_code(body, application),
        details=details,
        field_violations=_violations(details),
        request_id=redact(request_id[:100]) if request_id else None,
    )


def _token_of(response: httpx.Response) -> str:
    """Returns the token that was sent, ``""`` if none was, or nobody knows."""
    try:
        return str(response.request.headers.get("Authorization", ""))
    except RuntimeError:  # the response was made by hand, in a test
        return ""


def _text(response: httpx.Response) -> str:
    try:
        return bytes(response.content[:_MAX]).decode(_encoding(response), "replace").removeprefix("\ufeff")
    except Exception:  # ResponseNotRead or DecodingError, of whichever client's family
        return ""


def _encoding(response: httpx.Response) -> str:
    """Returns what JSON and HTML come in; whatever else is read as UTF-8: some codecs take hours, or inflate a text."""
    name = str(response.charset_encoding or "utf-8").lower().replace("_", "-")
    return name if name in _ENCODINGS else "utf-8"


def _unescaped(text: str) -> str:
    """Returns JSON, or whatever it is, without its escapes, which may hide the beginning of a token from the mask."""
    try:
        return json.dumps(json.loads(text), ensure_ascii=False)
    except (ValueError, RecursionError):
        return unescaped(text)


def _object(text: str) -> dict[str, Any]:
    try:
        return _dict(json.loads(text))
    except (ValueError, RecursionError):
        return {}


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
        return "an HTML page instead of JSON; with 403 this is bot protection in front of the API"
    return "no message" if not text.strip() else "a body that is no Wix error"


def _violations(details: dict[str, Any]) -> list[dict[str, Any]]:
    violations = _dict(details.get("validationError")).get("fieldViolations")
    return [item for item in violations if isinstance(item, dict)] if isinstance(violations, list) else []
