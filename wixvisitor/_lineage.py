"""Which of two states of a visitor is the later one, also when the store went back in time (rule 7). Pure.

A failover to a replica that lags, or a restored backup, brings an older record back. So every record says where it
stands: its number grows with each new identity (mint, login, logout, set, forget, replacement), and within an identity
the renewals are counted. Only a state that a save acknowledged, or that was read, takes part in a comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

_LARGEST: Final = 2**53 - 1  # the largest whole number that JavaScript keeps


@attrs.frozen(eq=True, weakref_slot=False, match_args=False)
class Lineage:
    """Where a record stands among all that its key has had.

    Attributes:
        number: grows with each new identity; milliseconds since the epoch, where the clock is right.
        identity: random; drawn anew at each mint, login, logout, set, forget and replacement.
        renewals: how often this identity was renewed.
    """

    number: int
    identity: int
    renewals: int = 0

    def is_after(self, other: Lineage | None) -> bool:
        """Whether this state is certainly the later one; never than one without numbers, as older versions write."""
        if other is None:
            return False
        if self.number != other.number:
            return self.number > other.number
        return self.identity == other.identity and self.renewals > other.renewals

    def renewed(self) -> Lineage:
        """Returns where the same identity stands after one more renewal."""
        return Lineage(self.number, self.identity, self.renewals + 1)


def after_all(now: float, identity: int, *known: Lineage | None) -> Lineage:
    """Returns where a new identity stands: after all that are known.

    Args:
        now: seconds since the epoch.
        identity: a random number; it only tells apart what has the same number otherwise.
        known: what is held, and what the store holds.
    """
    number = max(int(now * 1000), *(lineage.number + 1 for lineage in known if lineage is not None), 1)
    return Lineage(min(number, _LARGEST), identity)


def later(one: Lineage | None, other: Lineage | None) -> Lineage | None:
    """Returns the later of two; the second where neither is."""
    return one if one is not None and (other is None or one.is_after(other)) else other


def read(content: Mapping[str, Any]) -> Lineage | None:
    """Returns what a record says; None if it says nothing that can be understood."""
    numbers = [content.get(name) for name in ("number", "identity", "renewals")]
    if not all(type(number) is int and 0 <= number <= _LARGEST for number in numbers):
        return None
    return Lineage(*numbers)  # type: ignore[arg-type]


def written(lineage: Lineage | None) -> dict[str, int]:
    """Returns the keys of a record."""
    return {} if lineage is None else attrs.asdict(lineage)
