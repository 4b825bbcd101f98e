"""Tells which of two records of a visitor is the later one, also when the store went back in time (rule 7). Pure.

A failover to a replica that lags, or a restored backup, brings an older record back. So every record has a lineage: a
number that grows with each new identity (mint, login, logout, set, forget, replacement), and the count of this
identity's renewals. Only records that were read, or whose save the store acknowledged, are compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self

_LARGEST_IDENTITY: Final = 2**48 - 1
_MAX_RENEWALS: Final = 2**32 - 1
_LARGEST: Final = 2**53 - 1  # the largest whole number that JavaScript keeps


class Lineage(int):
    """A record's place among all records that its key has had: one whole number, since every idle visitor has one."""

    __slots__ = ()

    def __new__(cls, number: int, identity: int, renewals: int = 0) -> Self:
        """Returns a lineage.

        Args:
            number: grows with each new identity; milliseconds since the epoch, where the clock is right.
            identity: random; drawn anew at each mint, login, logout, set, forget and replacement.
            renewals: how often this identity was renewed.
        """
        return super().__new__(cls, (number << 80) | (identity << 32) | renewals)

    @property
    def number(self) -> int:
        """Grows with each new identity."""
        return self >> 80

    @property
    def identity(self) -> int:
        """A random number."""
        return self >> 32 & _LARGEST_IDENTITY

    @property
    def renewals(self) -> int:
        """How often this identity was renewed."""
        return self & _MAX_RENEWALS

    def is_after(self, other: Lineage | None) -> bool:
        """Whether this record is certainly later. None is no lineage, as in records of older versions: never later."""
        if other is None:
            return False
        if self.number != other.number:
            return self.number > other.number
        return self.identity == other.identity and self.renewals > other.renewals

    def renewed(self) -> Lineage:
        """Returns the lineage of the same identity after one more renewal."""
        return Lineage(self.number, self.identity, self.renewals + 1)


def after_all(now: float, identity: int, *known: Lineage | None) -> Lineage:
    """Returns the lineage of a new identity, later than all that are known.

    Args:
        now: seconds since the epoch.
        identity: a random number, which tells apart two identities with the same number.
        known: the lineages of what is held and of what the store holds.
    """
    number = max(int(now * 1000), *(lineage.number + 1 for lineage in known if lineage is not None), 1)
    return Lineage(min(number, _LARGEST), identity)


def later(one: Lineage | None, other: Lineage | None) -> Lineage | None:
    """Returns the later of two lineages; the second if neither is later."""
    return one if one is not None and (other is None or one.is_after(other)) else other


def read(content: Mapping[str, Any]) -> Lineage | None:
    """Returns a record's lineage; None if the record has none, or a damaged one."""
    number, identity, renewals = (content.get(name) for name in ("number", "identity", "renewals"))
    limits = ((number, _LARGEST), (identity, _LARGEST_IDENTITY), (renewals, _MAX_RENEWALS))
    if not all(type(value) is int and 0 <= value <= most for value, most in limits):
        return None
    return Lineage(number, identity, renewals)  # type: ignore[arg-type]


def written(lineage: Lineage | None) -> dict[str, int]:
    """Returns the keys that a record needs for its lineage."""
    if lineage is None:
        return {}
    return {"number": lineage.number, "identity": lineage.identity, "renewals": lineage.renewals}
