"""When a token request is repeated, and after how long."""

from __future__ import annotations

import logging
from typing import Final

import anyio
import tenacity

from wixvisitor.errors import TokenRequestError

logger = logging.getLogger("wixvisitor")

_ATTEMPTS: Final = 3
_BACK_OFF: Final = tenacity.wait_exponential(multiplier=0.1, max=2.0) + tenacity.wait_random(0.0, 0.2)  # seconds


def attempts(scope: anyio.CancelScope) -> tenacity.AsyncRetrying:
    """Returns the attempts that there is time for before the scope's deadline, one after the other."""
    return tenacity.AsyncRetrying(
        sleep=anyio.sleep,
        retry=tenacity.retry_if_exception(lambda error: _is_worth_repeating(error, scope.deadline)),
        wait=_pause_before_next,
        stop=tenacity.stop_after_attempt(_ATTEMPTS),
        before_sleep=_note_repetition,
        reraise=True,
    )


def _is_worth_repeating(error: BaseException, deadline: float) -> bool:
    """Whether asking again may help, and what Wix asks to wait fits into the budget."""
    return isinstance(error, TokenRequestError) and anyio.current_time() + (error.retry_after or 0.0) < deadline


def _pause_before_next(state: tenacity.RetryCallState) -> float:
    """Returns the seconds that Wix asks to wait, else 0.1 to 0.3, doubling with each attempt."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, TokenRequestError) and error.retry_after is not None:
        return error.retry_after
    return _BACK_OFF(state)


def _note_repetition(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    logger.info("wixvisitor: the token request is repeated in %.1f s: %s", state.upcoming_sleep, error)
