"""What the shopper reads when something failed: one place says it for pages and for JavaScript."""

from __future__ import annotations

import logging
import math
from typing import Any, Final

import attrs
import httpx
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from examples.shop.views import show
from wixvisitor import SessionExpired, StorageError, TokenRequestError, WixAPIError

logger = logging.getLogger("examples.shop")

PAUSE: Final = 5  # seconds, where Wix did not say how long to wait

CART_IS_SAFE: Final = "Your cart is safe. Please try again in a moment."


@attrs.frozen
class Trouble:
    """What is said about a failure.

    Attributes:
        retry_after: seconds, None where waiting does not help.
        is_logout: whether the shopper's login has ended, and they may go on as a guest.
    """

    status: int
    title: str
    text: str
    retry_after: int | None = None
    is_logout: bool = False


BUSY: Final = Trouble(503, "One moment, please", f"The shop is out of breath. {CART_IS_SAFE}", PAUSE)
BROKEN: Final = Trouble(500, "That did not work", "Something is wrong on our side. Your cart is safe.")
NOTHING_HERE: Final = Trouble(404, "Nothing on this shelf", "There is no page at this address.")
GONE: Final = Trouble(404, "It is gone already", "This is no longer in the shop or in your cart.")
UNREADABLE: Final = Trouble(422, "We did not understand that", "Please go back, and try it once more.")
LOGGED_OUT: Final = Trouble(
    401, "Please log in again", "Your login has ended. Log in again, or go on as a guest.", is_logout=True
)
MEMBERS_ONLY: Final = Trouble(401, "Please log in", "This is for members who are logged in.")


_KINDS: Final[tuple[tuple[type[Exception], Trouble], ...]] = (
    (SessionExpired, LOGGED_OUT),
    (StorageError, BUSY),
    (httpx.HTTPError, BUSY),
    (RequestValidationError, UNREADABLE),
)


def trouble_of(error: Exception) -> Trouble:
    """Returns what to say about this."""
    match error:
        case TokenRequestError():
            pause = PAUSE if error.retry_after is None else max(1, math.ceil(error.retry_after))
            return attrs.evolve(BUSY, retry_after=pause)
        case WixAPIError():
            return _of_answer(error.status_code)
        case HTTPException():
            known = {401: MEMBERS_ONLY, 404: NOTHING_HERE}
            return known.get(error.status_code) or attrs.evolve(UNREADABLE, status=error.status_code)
        case _:
            return next((trouble for kind, trouble in _KINDS if isinstance(error, kind)), BROKEN)


def _of_answer(status: int) -> Trouble:
    if status in {400, 404}:
        return GONE
    is_success = status < 300  # with something that is no answer of Wix's
    return BUSY if is_success or status in {401, 429} or status >= 500 else BROKEN


def install(app: FastAPI) -> None:
    """Lets the app answer failures with this."""
    for kind in (TokenRequestError, WixAPIError, HTTPException, Exception, *(kind for kind, _ in _KINDS)):
        app.add_exception_handler(kind, _answer)


async def _answer(request: Request, error: Any) -> Response:
    trouble = trouble_of(error)
    if trouble.status >= 500:
        logger.warning("%s %s: %s: %s", request.method, request.url.path, type(error).__name__, error)
    headers = dict(request.app.state.headers)  # an unhandled error's answer does not pass the guard
    if isinstance(error, HTTPException):
        headers |= error.headers or {}
        if error.status_code < 400:  # ``CurrentMember`` sends the browser to the login
            return Response(status_code=error.status_code, headers=headers)
    if trouble.retry_after is not None:
        headers["Retry-After"] = str(trouble.retry_after)
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": attrs.asdict(trouble)}, trouble.status, headers)
    return show(request, "trouble.html", status=trouble.status, headers=headers, trouble=trouble)
