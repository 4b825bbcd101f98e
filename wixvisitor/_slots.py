"""How many token requests a pool has under way at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf

import anyio

from wixvisitor.errors import TokenRequestError


class Slots:
    """A pool's turns at the token endpoint, first come, first served.

    Concurrency: counted separately in each event loop.
    Cancellation: a turn that was waited for, or taken, is the next one's.
    """

    def __init__(self, number: float = inf) -> None:
        from anyio.lowlevel import RunVar  # noqa: PLC0415 - anyio imports its parts when they are needed, and so do we

        self.number = number
        self._limiter = RunVar[anyio.CapacityLimiter]("wixvisitor: turns at the token endpoint")

    @asynccontextmanager
    async def turn(self, seconds: float) -> AsyncIterator[None]:
        """Waits for a turn, and has it until the block ends.

        Raises:
            TokenRequestError: none came within these seconds; Wix was not asked.
        """
        if self.number == inf:  # a session by itself; anyio keeps a limiter as long as the event loop lasts
            yield
            return
        limiter = self._limiter.get(None)
        if limiter is None:
            limiter = anyio.CapacityLimiter(self.number)
            self._limiter.set(limiter)
        try:
            with anyio.fail_after(max(seconds, 0.0)):
                await limiter.acquire()
        except TimeoutError:
            raise TokenRequestError(
                f"The token endpoint was busy with other visitors: {self.number:g} of the pool's token requests "
                f"(max_token_requests) were under way all the time. The visitor is intact, try later."
            ) from None
        try:
            yield
        finally:
            limiter.release()
