"""Where tokens outlive the process. ``MemoryStorage`` and ``FileStorage`` need no extra."""

from wixvisitor.storage._protocol import (
    ANY_VERSION,
    AnyVersion,
    ConditionalStorage,
    LeasingStorage,
    Record,
    TokenStorage,
    VersionConflict,
)
from wixvisitor.storage.file import FileStorage
from wixvisitor.storage.memory import MemoryStorage

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
