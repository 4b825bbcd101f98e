"""The interface of a store: three methods. Versions and leases make it safe between processes.

========================  ================================================  ===========================================
a store with              is a                                              and promises
========================  ================================================  ===========================================
load, save, delete        :class:`TokenStorage`                             one visitor in one process, also over
                                                                            restarts; processes that mint or renew at
                                                                            the same moment may overwrite each other
… save(expected=…)        :class:`ConditionalStorage` (compare-and-set)     one visitor across processes and machines
… acquire/release_lease   :class:`LeasingStorage`                           and one call to Wix instead of one each
========================  ================================================  ===========================================

A store that can list its keys is a :class:`ListingStorage`, whatever else it can do; copying it needs no more.

Compare-and-set gives correctness, the lease only saves calls. Adapters need not inherit from anything. A conditional
store whose ``save`` has a further argument ``keep_for`` (seconds, or None) gets it for a record that only says that a
visitor was forgotten. The store has to keep that record for so many seconds, and may then remove it.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Mapping
from enum import Enum
from typing import Final, Protocol, runtime_checkable

import anyio
import attrs

from wixvisitor.errors import StorageError


@attrs.frozen
class Record:
    """The content of a store for one visitor.

    Attributes:
        value: the text that ``save`` was given. It holds secrets and never shows in a repr.
        version: identifies this write, so that a ``save`` can be conditional on it; None if the store has no versions.
    """

    value: str = attrs.field(repr=lambda _: "'[tokens]'")
    version: str | None = None


class AnyVersion(Enum):
    """The type of :data:`ANY_VERSION`."""

    ANY = "any version"
    """The only value."""


ANY_VERSION: Final = AnyVersion.ANY
"""For ``save(expected=…)``: replaces the record, whatever its version is."""


class VersionConflict(StorageError):
    """The store holds another version than the one that ``save`` expected; nothing was written."""


class AnotherVisitor(StorageError):
    """The store works, but has place for one visitor only, which is another one."""


@runtime_checkable
class TokenStorage(Protocol):
    """The minimum that a store has to do.

    Raises: any exception; the session turns it into a :class:`~wixvisitor.StorageError`.
    Concurrency: methods are called from many tasks at once, and one after another from different event loops.
    Cancellation: a cancelled ``save`` took effect completely or not at all.
    """

    async def load(self, key: str) -> Record | str | None:
        """Returns what was saved under ``key`` (a plain text if the store has no versions), None if nothing was."""

    async def save(self, key: str, value: str) -> object:
        """Keeps ``value`` under ``key``, durably before it returns."""

    async def delete(self, key: str) -> None:
        """Forgets ``key``; it need not exist."""


@runtime_checkable
class ConditionalStorage(TokenStorage, Protocol):
    """A store that can compare and set. It is recognised by the ``expected`` argument of its ``save``.

    Raises: as ``TokenStorage``.
    Concurrency: of two processes that save with the same ``expected``, one wins.
    Cancellation: as ``TokenStorage``.
    """

    async def save(self, key: str, value: str, *, expected: str | AnyVersion | None = ANY_VERSION) -> str:
        """Keeps ``value`` under ``key`` and returns its version.

        Args:
            key: the visitor's key.
            value: the record's text.
            expected: the version that the store must hold now; None: there must be no record yet;
                ``ANY_VERSION``: replace whatever there is.

        Raises:
            VersionConflict: the store holds something else. It is unchanged.
        """
        ...


@runtime_checkable
class LeasingStorage(TokenStorage, Protocol):
    """A store in which one of many processes can say "I am renewing this visitor".

    Raises: as ``TokenStorage``. If a lease cannot be had, the session renews without it.
    Concurrency: at most one holder has the lease of a key.
    Cancellation: a cancelled ``acquire_lease`` may have got the lease, which then ends by itself.
    """

    async def acquire_lease(self, key: str, holder: str, seconds: float) -> float:
        """Returns 0.0 if ``holder`` has the lease now, else the seconds until it is free at the latest.

        Does not wait. A lease ends by itself after ``seconds``, or earlier if the store notices that its holder died.

        Args:
            key: the visitor's key.
            holder: a random text that names the caller. Who has the lease and asks again gets it anew.
            seconds: how long the lease lasts.
        """
        ...

    async def release_lease(self, key: str, holder: str) -> None:
        """Gives the lease of ``key`` back; does nothing if ``holder`` does not have it."""


@runtime_checkable
class ListingStorage(TokenStorage, Protocol):
    """A store that can list its keys.

    Raises: as ``TokenStorage``.
    Concurrency: other calls can run between two keys.
    Cancellation: leaves nothing behind.
    """

    def keys(self) -> AsyncIterator[str]:
        """Yields the key of each record. It is an asynchronous generator, which asks the store for some at a time.

        A key that has a record from the beginning to the end comes at least once, perhaps more often. A key whose
        record is made or removed meanwhile may come or not.
        """
        ...


def never_waits(storage: object) -> bool:
    """Whether this store's own class declares that its calls never wait. A subclass has to declare it again."""
    return "_never_waits" in vars(type(storage))


def loads_end_at_once(storage: object) -> bool:
    """Whether this store's own class declares that its ``load`` needs no task of ours.

    Such a ``load`` ends by itself within 10 s, and at once if its caller is cancelled. Stores that never wait are among
    these. A subclass has to declare it again.
    """
    return "_loads_end_at_once" in vars(type(storage)) or never_waits(storage)


async def settle(storage: object, seconds: float) -> None:
    """Lets one of our own stores complete its files, when a pool or session over it is closed. Never raises.

    Args:
        storage: any store.
        seconds: how long it may take.
    """
    own = getattr(type(storage), "_settle", None)  # of the class, since a mock object has every attribute
    if own is not None:
        with anyio.move_on_after(max(0.0, seconds)):
            await own(storage)


def takes_expected(storage: TokenStorage) -> bool:
    """Whether the store can compare and set: its ``save`` takes ``expected``, also through a wrapper's ``**kwargs``."""
    parameters = _parameters_of_save(storage)
    return "expected" in parameters or any(one.kind is one.VAR_KEYWORD for one in parameters.values())


def takes_keep_for(storage: TokenStorage) -> bool:
    """Whether the store's ``save`` can be told how long a record has to be kept."""
    return "keep_for" in _parameters_of_save(storage)


def _parameters_of_save(storage: TokenStorage) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(storage.save).parameters
    except (TypeError, ValueError):
        return {}
