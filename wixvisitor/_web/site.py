"""The visitors of an app whose pool may not exist before the app starts."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, cast

from wixvisitor._pool import VisitorPool
from wixvisitor._renewal.settings import plain_function
from wixvisitor._web.visits import Visits
from wixvisitor.errors import ConfigurationError

PoolOrMaker = VisitorPool | Callable[[], VisitorPool]


class Site:
    """The ``Visits`` of one app: made at once for a pool, and at each start of the app for a function.

    Args:
        pool: the pool, or a function that returns it. The function is called at the end of the app's start, or at the
            first request if the server does not tell the app that it starts.
        options: the other arguments of ``Visits``.

    Raises:
        ConfigurationError: an argument is wrong.

    Concurrency: for one event loop at a time, like the app.
    """

    __slots__ = ("_make", "_options", "_visits")

    def __init__(self, pool: Any, **options: Any) -> None:
        self._options = options
        self._make: Callable[[], VisitorPool] | None = None
        self._visits: Visits | None = None
        if inspect.isclass(pool) or not callable(pool):
            self._visits = Visits(cast("VisitorPool", pool), **options)
        else:
            plain_function(options["consent"], "consent")
            self._make = plain_function(pool, "pool")

    @property
    def cookie(self) -> Any:
        """The kind of cookie; None before a default one is made."""
        return self._options["cookie"] if self._visits is None else self._visits.cookie

    def visits(self) -> Visits:
        """Returns the visits. Makes them if there are none yet.

        Raises:
            ConfigurationError: the function returned no pool, or an argument does not fit this pool.
        """
        visits = self._visits
        if visits is None:
            assert self._make is not None
            made = self._make()
            if not isinstance(made, VisitorPool):
                raise ConfigurationError("pool: expected the function to return a VisitorPool")
            visits = self._visits = Visits(made, **self._options)
        return visits

    def open(self) -> None:
        """Opens a pool that was closed at an earlier end of the app. Called when the app begins to start."""
        if self._visits is not None:
            self._visits.open()

    async def aclose(self) -> None:
        """Closes the pool and its storage, if the app closes them. The next start calls the function again."""
        visits = self._visits
        if visits is None:
            return
        if self._make is not None:
            self._visits = None
        await visits.aclose()
