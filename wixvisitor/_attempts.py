"""When a token request is repeated, and after how long."""

from __future__ import annotations

import logging
from typing import Final

import anyio
import tenacity

from wixvisitor.errors import TokenRequestError

logger = logging.getLogger("wixvisitor")

_ATTEMPTS: Final = 3
_LONGEST_WAIT: Final = 2.0  # seconds, as all here; whoever would have to wait longer is told at once
_BACK_OFF: Final = tenacity.wait_exponential(multiplier=0.1, max=_LONGEST_WAIT) + tenacity.wait_random(max=0.2)


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
    """Whether asking again may help, and what Wix asks to wait is short and fits into the budget."""
    if not isinstance(error, TokenRequestError):
        return False
    wait = error.retry_after or 0.0
    return wait <= _LONGEST_WAIT and anyio.current_time() + wait < deadline


def _pause_before_next(state: tenacity.RetryCallState) -> float:
    """Returns the seconds that Wix asks to wait, else 0.1 to 0.3, doubling with each attempt."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, TokenRequestError) and error.retry_after is not None:
        return error.retry_after
    return _BACK_OFF(state)


def _note_repetition(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    logger.info("wixvisitor: the token request is repeated in %.1f s: %s", state.upcoming_sleep, error)
