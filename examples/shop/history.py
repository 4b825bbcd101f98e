"""What this process knows of its visitors besides their tokens: who renewed them last, and how often Wix was called."""

from __future__ import annotations

import hashlib
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import attrs

from wixvisitor import ChangeReason, TokensChanged, VisitorSession

MOST: Final = 10_000  # visitors that are remembered
LIFETIME: Final = 14_400  # seconds that an access token of Wix lives
_NEW: Final = (ChangeReason.MINTED, ChangeReason.REPLACED)


@attrs.define
class Past:
    """One visitor's past in this process.

    Attributes:
        calls: to Wix, the token endpoint not counted.
        reason: why the tokens changed last; None if this process has only read them.
        at: when that was, in seconds since the epoch.
    """

    calls: int = 0
    reason: ChangeReason | None = None
    at: float = 0.0


class History:
    """The visitors' pasts; ``VisitorPool(on_change=history.note)`` fills it."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._pasts: OrderedDict[str, Past] = OrderedDict()
        self._clock = clock

    def note(self, change: TokensChanged) -> None:
        """Remembers that a visitor's tokens changed."""
        past = Past() if change.reason is ChangeReason.REPLACED else self._past(change.key)
        past.reason, past.at = change.reason, self._clock()
        self._keep(change.key, past)

    def count_call(self, visitor: VisitorSession) -> None:
        """Remembers a call to Wix."""
        self._of(visitor).calls += 1

    def describe(self, visitor: VisitorSession) -> dict[str, Any]:
        """Returns a visitor's state for the page: nothing of it is secret. Times are in seconds."""
        tokens, past, now = visitor.get_tokens(), self._of(visitor), self._clock()
        left = max(0, int(tokens.access_token.expires_at - now))
        return {
            "visitor": name_of(visitor),
            "role": tokens.refresh_token.role.value,
            "expires_in": left,
            "token_age": _age(past, left, now) if tokens.access_token.value else None,
            "last_change": past.reason.value if past.reason else None,
            "changed_ago": int(now - past.at) if past.reason else None,
            "calls": past.calls,
            "process": os.getpid(),
        }

    def _of(self, visitor: VisitorSession) -> Past:
        """Returns a visitor's past, which is also found when it has another key.

        A cookie shared with JavaScript holds no key, so the visitor is found by its refresh token.
        """
        key, name = visitor.key, name_of(visitor)
        past = self._pasts.get(key) or self._past(name or key)
        for known in filter(None, (key, name)):
            self._keep(known, past)
        return past

    def _past(self, key: str) -> Past:
        return self._pasts.get(key) or Past()

    def _keep(self, key: str, past: Past) -> None:
        self._pasts[key] = past
        self._pasts.move_to_end(key)
        while len(self._pasts) > MOST:
            self._pasts.popitem(last=False)


def name_of(visitor: VisitorSession) -> str:
    """Returns a short name for a visitor, ``""`` for none yet. It is a hash: no way leads back to the token."""
    value = visitor.get_tokens().refresh_token.value
    return hashlib.sha256(f"the shop's name for\0{value}".encode()).hexdigest()[:8] if value else ""


def _age(past: Past, left: int, now: float) -> int:
    """Returns the token's age. Where another process got it, it follows from how long tokens live."""
    if past.reason in (*_NEW, ChangeReason.RENEWED):
        return int(now - past.at)
    return max(0, LIFETIME - left)
