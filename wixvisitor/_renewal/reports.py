"""What is logged about a failed renewal. No line holds a token."""

from __future__ import annotations

import logging
import traceback

from wixvisitor._renewal.decision import Need
from wixvisitor._tasks.log import fields, logger
from wixvisitor._wire.redaction import redact
from wixvisitor.errors import ConfigurationError, TokenRequestError, WixVisitorError


def log_failure(error: WixVisitorError, need: Need, key: str, *, still_works: bool) -> None:
    """Logs once what no caller is told, however many callers there are."""
    level = logging.WARNING if error._asked_wix else logging.DEBUG  # the pool's cooldown has its own line
    about = fields(key, error=error)
    if need is Need.BACKGROUND:
        logger.log(
            level, "wixvisitor: the renewal in the background failed, the token still works: %s", error, extra=about
        )
    elif need is Need.ANOTHER and isinstance(error, TokenRequestError | ConfigurationError):
        logger.log(level, "wixvisitor: a 401, and the renewal failed for now: %s", error, extra=about)
    elif need is Need.TOKEN and still_works:
        logger.log(level, "wixvisitor: the renewal failed, the token still works: %s", error, extra=about)


def unexpected(error: Exception, secrets: tuple[str, ...]) -> WixVisitorError:
    """Logs a bug, of this library or of what was handed to it, and returns what the callers are told."""
    trace = "".join(traceback.format_exception(error))  # as text: a log record would keep the frames with tokens
    logger.error("wixvisitor: something failed in an unexpected way\n%s", redact(trace, secrets))
    return WixVisitorError(f"Something failed in an unexpected way: {type(error).__name__}")
