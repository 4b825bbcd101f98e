"""One Wix Headless visitor stays one visitor: across coroutines, cancellations, restarts, processes and machines.

Start with :class:`VisitorSession` (one visitor) or :class:`VisitorPool` (many). The optional parts
(``wixvisitor.testing`` and the integrations) are modules of their own and are never imported from here.
"""

from wixvisitor._auth import VisitorAuth
from wixvisitor._pool import VisitorPool
from wixvisitor._renewal.settings import ChangeReason, TokensChanged
from wixvisitor._session import VisitorSession
from wixvisitor._tokens import EMPTY_TOKENS, AccessToken, RefreshToken, TokenRole, Tokens
from wixvisitor._version import __version__
from wixvisitor._wire.api_errors import raise_for_error
from wixvisitor._wire.graphql import GraphQLResult
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
    "GraphQLResult",
    "InvalidTokenResponse",
    "RefreshToken",
    "SessionExpired",
    "StorageError",
    "TokenAnswer",
    "TokenRequestError",
    "TokenRole",
    "Tokens",
    "TokensChanged",
    "VisitorAuth",
    "VisitorPool",
    "VisitorSession",
    "WixAPIError",
    "WixVisitorError",
    "__version__",
    "is_refusal",
    "judge_refusal",
    "raise_for_error",
]
