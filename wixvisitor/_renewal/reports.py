"""What is logged about a renewal, and who is told that the tokens changed. No line holds a token."""

from __future__ import annotations

import logging
import traceback

from wixvisitor._renewal.decision import Need
from wixvisitor._renewal.settings import Settings, TokensChanged
from wixvisitor._wire.redaction import redact
from wixvisitor.errors import ConfigurationError, TokenRequestError, WixVisitorError

logger = logging.getLogger("wixvisitor")


def tell(settings: Settings, event: TokensChanged | None) -> None:
    """Logs that the tokens changed, and calls ``on_change``, whose failure changes nothing."""
    if event is None:
        return
    logger.info("wixvisitor: tokens %s (%s -> %s)", event.reason, event.old_role, event.new_role)
    if settings.on_change is None:
        return
    try:
        settings.on_change(event)
    except Exception:
        logger.exception("wixvisitor: on_change raised; the tokens are in use all the same")


def log_failure(error: WixVisitorError, need: Need, *, still_works: bool) -> None:
    """Logs once what no caller is told, however many callers there are."""
    level = logging.WARNING if error._asked_wix else logging.DEBUG  # the pool's cooldown has its own line
    if need is Need.BACKGROUND:
        logger.log(level, "wixvisitor: the renewal in the background failed, the token still works: %s", error)
    elif need is Need.ANOTHER and isinstance(error, TokenRequestError | ConfigurationError):
        logger.log(level, "wixvisitor: a 401, and the renewal failed for now: %s", error)
    elif need is Need.TOKEN and still_works:
        logger.log(level, "wixvisitor: the renewal failed, the token still works: %s", error)


def unexpected(error: Exception, secrets: tuple[str, ...]) -> WixVisitorError:
    """Logs a bug, of this library or of what was handed to it, and returns what the callers are told."""
    trace = "".join(traceback.format_exception(error))  # as text: a log record would keep the frames with tokens
    logger.error("wixvisitor: something failed in an unexpected way\n%s", redact(trace, secrets))
    return WixVisitorError(f"Something failed in an unexpected way: {type(error).__name__}")
