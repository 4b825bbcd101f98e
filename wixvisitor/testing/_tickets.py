"""Things that a secret stands for, for a limited time: codes, session tokens, links. Pure, but for the secrets."""

import secrets
from collections.abc import Callable
from typing import Generic, TypeVar

from attrs import define, field

Value = TypeVar("Value")


@define(kw_only=True, eq=False)
class Tickets(Generic[Value]):
    """Keeps values under secrets until they are too old or too many. The caller must hold the fake's lock.

    Attributes:
        lifetime: Returns the seconds from the issue of a secret to its end.
        now: Returns seconds since the epoch.
        limit: How many are kept, the last ones.

    """

    lifetime: Callable[[], float]
    now: Callable[[], float]
    limit: int = 10_000
    _held: dict[str, tuple[float, Value]] = field(factory=dict, repr=False)

    def issue(self, value: Value) -> str:
        """Keeps a value, and returns its secret."""
        secret = secrets.token_urlsafe(32)
        self._held[secret] = (self.now() + self.lifetime(), value)
        self._forget_old()
        return secret

    def find(self, secret: object) -> Value | None:
        """The value of this secret, or None if it is unknown or too old."""
        ends_at, value = self._held.get(secret, (0.0, None)) if isinstance(secret, str) else (0.0, None)
        return value if self.now() < ends_at else None

    def take(self, secret: object) -> Value | None:
        """The value of this secret, which from now on is unknown; None if it is unknown or too old."""
        value = self.find(secret)
        if isinstance(secret, str):
            self._held.pop(secret, None)
        return value

    def _forget_old(self) -> None:
        now = self.now()
        while self._held:
            oldest = next(iter(self._held))
            if self._held[oldest][0] > now and len(self._held) <= self.limit:
                break
            del self._held[oldest]
