"""Every exception of wixvisitor, grouped by who can act on it.

::

    WixVisitorError
    ├── ConfigurationError        you: an argument or the client ID is wrong; nothing was lost
    ├── TokenRequestError         time: Wix's token endpoint gave no usable answer; the visitor is intact, try later
    │   └── InvalidTokenResponse  time: it answered 200 with something that is no token response
    ├── SessionExpired            the shopper: Wix refused the refresh token, and the policy forbids a new visitor
    ├── MemberLoginError          the shopper, or time: a login or registration failed; visitor and member are as before
    ├── StorageError              the operator: the store cannot be read or written, or its record is damaged
    └── WixAPIError               the caller: an API answered with an error (raised by ``raise_for_error`` only)

No exception's text, arguments or attributes hold a token: everything that looks like a token is redacted first.
"""

from __future__ import annotations

import copy
from typing import Any, Literal, Self

from wixvisitor._tokens import TokenRole


class WixVisitorError(Exception):
    """The base class of all exceptions that wixvisitor raises on purpose."""

    _asked_wix = True  # False on an error that was raised without asking the token endpoint
    _backs_off = False  # True on an error of the store after which the visitor's next save waits
    _was_frozen = False  # True on the error of a token call during which the process was frozen

    def _again(self) -> Self:
        """Returns a copy. Each task raises its own copy, so that tasks share no traceback."""
        twin = copy.copy(self)
        twin.__traceback__ = None
        return twin

    def __copy__(self) -> Self:
        twin = type(self).__new__(type(self), *self.args)
        twin.__dict__.update(self.__dict__)
        if hasattr(self, "__notes__"):
            twin.__notes__ = list(self.__notes__)
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[WixVisitorError], args: tuple[Any, ...], state: dict[str, Any]) -> WixVisitorError:
    """Unpickles an exception without calling its ``__init__``, which has keyword-only arguments."""
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class _EndpointError(WixVisitorError):
    """The answer of the token endpoint, for the errors that come from it.

    Attributes:
        status_code: the HTTP status, or None when there was no answer.
        request_id: Wix's own id of the request (``x-wix-request-id``).
        body: the beginning of the answer's text, tokens redacted.
    """

    def __init__(
        self, message: str, *, status_code: int | None = None, request_id: str | None = None, body: str = ""
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.request_id = request_id
        self.body = body


class ConfigurationError(_EndpointError):
    """An argument is wrong, or the token endpoint does not accept the client ID. Nothing was changed or lost."""


class TokenRequestError(_EndpointError):
    """The token endpoint gave no usable answer. The visitor is intact; try later.

    Attributes:
        retry_after: seconds after which to try again: the time that Wix named, or the rest of the cooldown after a
            failure; None if that is not known.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        request_id: str | None = None,
        body: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, status_code=status_code, request_id=request_id, body=body)
        self.retry_after = retry_after


class InvalidTokenResponse(TokenRequestError):
    """The token endpoint answered 200 with something that is no token response: HTML, nothing, half of it, ``[]``."""


class SessionExpired(_EndpointError):
    """Wix refused the refresh token, and ``on_refused`` forbids replacing this role by a new visitor.

    Attributes:
        role: the :class:`~wixvisitor.TokenRole` whose session ended. A member has to log in again; then
            ``set_tokens`` with the new tokens brings the session back.
    """

    def __init__(
        self,
        message: str,
        *,
        role: TokenRole,
        status_code: int | None = None,
        request_id: str | None = None,
        body: str = "",
    ) -> None:
        super().__init__(message, status_code=status_code, request_id=request_id, body=body)
        self.role = role


class StorageError(WixVisitorError):
    """The store cannot be read or written, or its content is no visitor's record. It is left as it was."""


MemberLoginReason = Literal[
    "invalid_email",
    "invalid_password",
    "reset_password",
    "missing_captcha_token",
    "invalid_captcha_token",
    "email_already_exists",
    "throttled",
    "unknown",
]
"""Why a login failed; ``@wix/sdk``'s names in snake case, and ``"throttled"``."""


class MemberLoginError(WixVisitorError):
    """A login or registration failed. The session is as it was before.

    Attributes:
        reason: why, for the page that the shopper sees.
        code: Wix's own code; None where the answer has none.
        status_code: the HTTP status; None if no request failed, as when the shopper refused on Wix's page.
        request_id: Wix's own id of the request (``x-wix-request-id``).
    """

    def __init__(
        self,
        message: str,
        *,
        reason: MemberLoginReason = "unknown",
        code: str | None = None,
        status_code: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.code = code
        self.status_code = status_code
        self.request_id = request_id


class WixAPIError(WixVisitorError):
    """A Wix API answered with an error.

    Attributes:
        status_code: the HTTP status.
        code: Wix's application error code (``"OWNED_CART_NOT_FOUND"``), or None where the body has none.
        message: Wix's message, or a description of a body without one. Tokens are redacted.
        details: the body's ``details`` as Wix sent them, ``{}`` without any.
        field_violations: the ``fieldViolations`` of a validation error, each a dict with Wix's own keys.
        request_id: Wix's own id of the request (``x-wix-request-id``).
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int,
        code: str | None = None,
        details: dict[str, Any] | None = None,
        field_violations: list[dict[str, Any]] | None = None,
        request_id: str | None = None,
    ) -> None:
        label = f"{status_code} {code}" if code else str(status_code)
        trail = f" (request id {request_id})" if request_id else ""
        super().__init__(f"Wix answered {label}: {message}{trail}")
        self.status_code = status_code
        self.code = code
        self.message = message
        self.details = details or {}
        self.field_violations = field_violations or []
        self.request_id = request_id
