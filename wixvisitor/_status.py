"""What a readiness probe asks of a pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
import attrs

from wixvisitor.errors import ConfigurationError, StorageError
from wixvisitor.storage._protocol import AnotherVisitor

if TYPE_CHECKING:
    from wixvisitor._renewal.settings import Settings

_KEY: Final = "wixvisitor.status"  # no visitor's; whether the store has it does not matter


@attrs.frozen(kw_only=True)
class PoolStatus:
    """Whether a pool can do its work now. It holds no secret.

    Attributes:
        paused_until: epoch seconds until which the pool asks Wix for no tokens, after a 429 or an outage; None if it is
            not paused. Visitors whose tokens are valid are served all the time.
        store_error: what the store said instead of an answer; None if it is reachable.
    """

    paused_until: float | None = None
    store_error: str | None = None

    @property
    def is_paused(self) -> bool:
        """Whether the pool asks Wix for no tokens now."""
        return self.paused_until is not None

    @property
    def is_store_reachable(self) -> bool:
        """Whether the store has answered."""
        return self.store_error is None


async def status_of(settings: Settings, timeout: float) -> PoolStatus:
    """Returns the status of the pool with these settings. Reads a key of no visitor, and asks Wix nothing.

    Args:
        settings: the pool's.
        timeout: seconds that the store has.

    Raises:
        ConfigurationError: the timeout is no number above 0.
    """
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0:
        raise ConfigurationError("timeout: expected seconds, a number above 0")
    error: str | None = f"the store did not answer within {timeout:g} s"
    with anyio.move_on_after(timeout):
        error = await _store_error(settings)
    cooldown = settings.limiter.pool_cooldown()
    return PoolStatus(paused_until=None if cooldown is None else cooldown.until, store_error=error)


async def _store_error(settings: Settings) -> str | None:
    from wixvisitor._renewal.records import Records  # noqa: PLC0415 - a slow import that the pool has done by now

    try:
        await Records(settings, _KEY).fetch()
    except StorageError as error:
        return None if isinstance(error.__cause__, AnotherVisitor) else str(error)
    return None
