"""Makes a call to the database: on a connection of its own, in time, and again if that is safe and may help."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

import attrs
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from wixvisitor.errors import StorageError
from wixvisitor.storage._asyncio_calls import check_asyncio, finish
from wixvisitor.storage._sql_engines import CLOSING, Engines, isolation_of
from wixvisitor.storage._sql_errors import explained, is_contention, is_passing, is_useless

T = TypeVar("T")

_ATTEMPTS: Final = 2
_ATTEMPTS_IN_CONTENTION: Final = 10  # while other transactions change the same rows
_BACK_OFF: Final = (0.005, 0.03)  # seconds between two attempts


@attrs.define
class Attempt:
    """One attempt of a call.

    Attributes:
        is_repeated: whether an earlier attempt may have reached the database.
        pool: the pool that lent a connection; None: there is no connection yet.
    """

    is_repeated: bool
    pool: Any = None


Work = Callable[[AsyncConnection, Attempt], Awaitable[T]]


class Calls:
    """Makes calls.

    Args:
        engines: what lends the connections.
        timeout: seconds that a call may take.
    """

    def __init__(self, engines: Engines, timeout: float) -> None:
        self.engines = engines
        self._timeout = timeout

    async def run(self, verb: str, work: Work[T], seconds: float | None = None) -> T:
        """Returns what the work returns. It is done again if the connection is lost or other transactions interfere.

        Args:
            verb: what is done, for an error.
            work: uses the connection, and does nothing twice if the attempt is a repeated one.
            seconds: how long it may take; None: the timeout.

        Raises:
            StorageError: it failed, or the time is over.

        Cancellation: takes effect when the attempt under way has ended.
        """
        _check_asyncio()
        until, number = time.monotonic() + (seconds or self._timeout), 0
        while True:
            attempt, left = Attempt(is_repeated=number > 0), until - time.monotonic()
            share, number = left if number else left / 2, number + 1
            try:
                return await finish(partial(self.engines.run, partial(_made, work, attempt)), max(share, 0.0))
            except StorageError:
                raise
            except Exception as error:
                most = _ATTEMPTS_IN_CONTENTION if is_contention(error) else _ATTEMPTS
                is_last = number >= most or not is_passing(error) or time.monotonic() >= until
                failure = explained(verb, error, self.engines.secrets, has_connection=attempt.pool is not None)
                useless = attempt.pool if is_useless(error) else None
            if useless is not None:
                await self.engines.renew(useless)
            if is_last:
                raise failure  # without the frames of SQLAlchemy, whose locals hold the record and the password
            await asyncio.sleep(random.uniform(*_BACK_OFF))  # noqa: S311 - it spreads load

    async def aclose(self) -> None:
        """Closes the engine that was made here in this event loop. Never raises."""
        with suppress(StorageError, TimeoutError):  # on trio no engine was ever made
            _check_asyncio()
            await finish(self.engines.aclose, CLOSING + 2 * self._timeout)


async def _made(work: Work[T], attempt: Attempt, engine: AsyncEngine) -> T:
    """Does the work with a connection, which is given back to the pool."""
    pool = engine.sync_engine.pool
    borrowed = engine.connect() if isolation_of(engine.dialect.driver) == "AUTOCOMMIT" else engine.begin()
    async with borrowed as connection:
        attempt.pool = pool
        return await work(connection, attempt)


def _check_asyncio() -> None:
    check_asyncio("SQLAlchemyStorage", "SQLAlchemy")
