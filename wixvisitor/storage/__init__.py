"""Stores, in which tokens outlive the process. ``MemoryStorage`` and ``FileStorage`` need no extra."""

from typing import TYPE_CHECKING, Any

from wixvisitor.storage._protocol import (
    ANY_VERSION,
    AnyVersion,
    ConditionalStorage,
    LeasingStorage,
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
