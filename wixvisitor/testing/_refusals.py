"""Error answers, in each of the shapes that Wix uses."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from wixvisitor.testing._settings import RefusalStyle

Json = dict[str, Any]


class Refused(Exception):
    """Ends the handling of a call with an error answer."""

    def __init__(self, status: int, body: Json) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body


async def refused_response(_request: Request, refused: Exception) -> Response:
    """The response that Starlette sends for a ``Refused``."""
    assert isinstance(refused, Refused)
    return JSONResponse(refused.body, status_code=refused.status)


def application_error(status: int, code: str, description: str, data: Json | None = None) -> Refused:
    """An error as https://dev.wix.com/docs/rest/articles/getting-started/errors describes it."""
    error = {"code": code, "description": description, "data": data or {}}
    return Refused(status, {"message": description, "details": {"applicationError": error}})


def validation_error(field: str, description: str, *, rule: str = "OTHER") -> Refused:
    """A 400 that names the wrong field."""
    violation = {"field": field, "description": description, "violatedRule": rule, "ruleName": "", "data": {}}
    return Refused(
        400,
        {"message": f"{field} {description}", "details": {"validationError": {"fieldViolations": [violation]}}},
    )


def plain_error(status: int, message: str) -> Refused:
    """An error in Wix's shape with empty ``details``."""
    return Refused(status, {"message": message, "details": {}})


def oauth_error(status: int, error: str, description: str) -> Refused:
    """An error as RFC 6749 section 5.2 describes it. Wix's reference says that it follows this section."""
    return Refused(status, {"error": error, "error_description": description})


def refresh_refused(style: RefusalStyle, description: str) -> Refused:
    """The refusal of a refresh token, in the style that the test has set."""
    match style.shape:
        case "oauth":
            return oauth_error(style.status, "invalid_grant", description)
        case "wix":
            return application_error(style.status, "INVALID_REFRESH_TOKEN", description)
        case "legacy":
            text = f"[business][FATAL] {description} - invalid_token"
            return Refused(style.status, {"errorCode": -1, "errorDescription": text, "success": False})
        case "unknown":
            return plain_error(style.status, "the request was not accepted")
