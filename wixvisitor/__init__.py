"""One Wix Headless visitor stays one visitor: across coroutines, cancellations, restarts, processes and machines.

Start with :class:`VisitorSession` (one visitor) or :class:`VisitorPool` (many). The optional parts
(``wixvisitor.testing`` and the integrations) are modules of their own and are never imported from here.

Each name is imported at its first use. pytest imports this package in every run, since it has a plugin, and a program
that uses ``VisitorSession`` needs no ``VisitorPool``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from wixvisitor._version import __version__

if TYPE_CHECKING:
    from wixvisitor import errors, storage
    from wixvisitor._auth import VisitorAuth
    from wixvisitor._diagnose import diagnose
    from wixvisitor._pool import VisitorPool
    from wixvisitor._renewal.changes import ChangeReason, Event, TokensChanged
    from wixvisitor._renewal.events import (
        LeaseWaited,
        PauseBegan,
        PauseEnded,
        StoreCalled,
        TokenRequested,
        TokenWaited,
    )
    from wixvisitor._session import VisitorSession
    from wixvisitor._status import PoolStatus
    from wixvisitor._tokens import EMPTY_TOKENS, AccessToken, RefreshToken, TokenRole, Tokens
    from wixvisitor._wire.api_errors import raise_for_error
    from wixvisitor._wire.diagnosis import Diagnosis, Finding
    from wixvisitor._wire.graphql import GraphQLResult
    from wixvisitor._wire.redaction import redact
    from wixvisitor._wire.token_endpoint import TokenAnswer, is_refusal, judge_refusal
    from wixvisitor.errors import (
        ConfigurationError,
        InvalidTokenResponse,
        SessionExpired,
        StorageError,
        TokenRequestError,
        WixAPIError,
        WixVisitorError,
    )

__all__ = [
    "EMPTY_TOKENS",
    "AccessToken",
    "ChangeReason",
    "ConfigurationError",
    "Diagnosis",
    "Event",
    "Finding",
    "GraphQLResult",
    "InvalidTokenResponse",
    "LeaseWaited",
    "PauseBegan",
    "PauseEnded",
    "PoolStatus",
    "RefreshToken",
    "SessionExpired",
    "StorageError",
    "StoreCalled",
    "TokenAnswer",
    "TokenRequestError",
    "TokenRequested",
    "TokenRole",
    "TokenWaited",
    "Tokens",
    "TokensChanged",
    "VisitorAuth",
    "VisitorPool",
    "VisitorSession",
    "WixAPIError",
    "WixVisitorError",
    "__version__",
    "diagnose",
    "errors",
    "is_refusal",
    "judge_refusal",
    "raise_for_error",
    "redact",
    "storage",
]

_HOMES: Final = {
    "_auth": ("VisitorAuth",),
    "_diagnose": ("diagnose",),
    "_pool": ("VisitorPool",),
    "_renewal.changes": ("ChangeReason", "Event", "TokensChanged"),
    "_renewal.events": ("LeaseWaited", "PauseBegan", "PauseEnded", "StoreCalled", "TokenRequested", "TokenWaited"),
    "_session": ("VisitorSession",),
    "_status": ("PoolStatus",),
    "_tokens": ("EMPTY_TOKENS", "AccessToken", "RefreshToken", "TokenRole", "Tokens"),
    "_wire.api_errors": ("raise_for_error",),
    "_wire.diagnosis": ("Diagnosis", "Finding"),
    "_wire.graphql": ("GraphQLResult",),
    "_wire.redaction": ("redact",),
    "_wire.token_endpoint": ("TokenAnswer", "is_refusal", "judge_refusal"),
    "errors": (
        "ConfigurationError",
        "InvalidTokenResponse",
        "SessionExpired",
        "StorageError",
        "TokenRequestError",
        "WixAPIError",
        "WixVisitorError",
    ),
}
_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Imports a public name at its first use (PEP 562)."""
    if name in ("errors", "storage"):
        return importlib.import_module(f"{__name__}.{name}")
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
