"""What every signature of a session and a pool names: the policy, and the event of changed tokens. Pure.

The other events are in ``events``, which a program imports only if it uses them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

import attrs

from wixvisitor._tokens import TokenRole

Policy = Literal["auto", "new_visitor", "raise"]
"""What users write for ``on_refused``."""


class ChangeReason(StrEnum):
    """Why a session's tokens changed."""

    MINTED = "minted"
    """There were none; this is a new visitor."""
    RENEWED = "renewed"
    """The same visitor has a new access token."""
    REPLACED = "replaced"
    """Wix refused the refresh token; this is another visitor."""
    ADOPTED = "adopted"
    """Another process has saved newer tokens."""
    SET = "set"
    """``set_tokens``, ``generate_visitor_tokens`` with tokens, or a login."""
    FORGOTTEN = "forgotten"
    """``forget`` or a logout: there is no visitor any more."""


class Event:
    """The base of all events.

    Attributes:
        key: which record of the storage; None for the whole site.
    """

    __slots__ = ()
    key: Any  # a text or None; type checkers want all subclasses to agree, and in some of them it is never None


@attrs.frozen
class TokensChanged(Event):
    """The tokens changed.

    Attributes:
        reason: why.
        key: which record of the storage.
        old_role: whose tokens were held before.
        new_role: whose are held now.
    """

    reason: ChangeReason
    key: str
    old_role: TokenRole
    new_role: TokenRole
