"""Stores, in which tokens outlive the process. ``MemoryStorage`` and ``FileStorage`` need no extra.

What belongs here: the protocols of a store, one module for each adapter, and what only stores need.
May import: ``_tokens``, ``errors``, ``_wire`` and ``_tasks``; nothing that knows of visitors or HTTP.
``_renewal`` and everything above it import from here. Open ``_protocol`` first: it says what a store promises.
"""

from typing import TYPE_CHECKING, Any

from wixvisitor.storage._protocol import (
    ANY_VERSION,
    AnyVersion,
    ConditionalStorage,
    LeasingStorage,
    ListingStorage,
    Record,
    TokenStorage,
    VersionConflict,
)
from wixvisitor.storage.memory import MemoryStorage

if TYPE_CHECKING:
    from wixvisitor.storage.file import FileStorage

__all__ = [
    "ANY_VERSION",
    "AnyVersion",
    "ConditionalStorage",
    "FileStorage",
    "LeasingStorage",
    "ListingStorage",
    "MemoryStorage",
    "Record",
    "TokenStorage",
    "VersionConflict",
]


def __getattr__(name: str) -> Any:
    """Imports ``FileStorage`` when it is first used."""
    if name == "FileStorage":
        from wixvisitor.storage.file import FileStorage  # noqa: PLC0415 - imported only where it is used

        return FileStorage
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
