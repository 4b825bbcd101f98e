"""Whose cart each shopper was shown, as the stand-in for Wix saw it: it knows whom an access token belongs to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import attrs

from wixvisitor.testing import FakeWix
from wixvisitor.testing._calls import Call

SHOPPER = "shopper"  # the query parameter in which every request says which key it is for


@attrs.define
class _Wanted:
    """A time in which somebody may be minted for a key: nobody is there yet, or not all have heard of whoever is."""

    key: str
    since: float
    until: float = math.inf


@attrs.define
class Truth:
    """One key, one visitor, for good, unless Wix itself refused that visitor.

    Attributes:
        patience: seconds for which a process may still mint for a key that another one has just found a visitor for,
            because it was stopped in between.
        owners: whose each key is.
        refused: visitors whose refresh token Wix refuses.
        lost: a sentence for each visitor that was lost.
        replaced: how many visitors followed one that was refused.
        answers: how many requests were answered as somebody.
        minted: how many visitors were made.
    """

    patience: float = 0.0
    owners: dict[str, str] = attrs.field(factory=dict)
    refused: set[str] = attrs.field(factory=set)
    lost: list[str] = attrs.field(factory=list)
    replaced: int = 0
    answers: int = 0
    minted: int = 0
    _wanted: list[_Wanted] = attrs.field(factory=list)
    _former: dict[str, set[str]] = attrs.field(factory=dict)

    def expect(self, key: str, since: float) -> None:
        """From then on somebody may be minted for this key, until its first request was answered."""
        self._wanted.append(_Wanted(key, since))

    def refuse(self, key: str, now: float) -> None:
        """Wix refuses the refresh token of whose this key is, and somebody else may be minted for it."""
        self.refused.add(self.owners[key])
        self.expect(key, now)

    def read(self, calls: Iterable[Call]) -> None:
        """Reads calls in the order of their arrival."""
        for call in calls:
            if call.visitor_id is None:
                continue
            if call.grant_type == "anonymous":
                self._mints(call.visitor_id, call.received_at)
            elif call.is_api_call:
                self._answers(call.query.get(SHOPPER, "default"), call.visitor_id, call.received_at)

    def compare(self, stored: Mapping[str, str]) -> None:
        """Compares what a store holds in the end: for each key, whose record it is."""
        for key, owner in self.owners.items():
            holder = stored.get(key, "nobody")
            if holder != owner and owner not in self.refused:
                self.lost.append(f"{key}: the store has {holder}, the requests were answered as {owner}")

    def _mints(self, visitor: str, now: float) -> None:
        self.minted += 1
        if not any(one.since <= now < one.until for one in self._wanted):
            self.lost.append(f"{visitor} was minted at {now:.3f}, when every key had its visitor")

    def _answers(self, key: str, visitor: str, now: float) -> None:
        self.answers += 1
        owner = self.owners.setdefault(key, visitor)
        if visitor in self._former.get(key, ()):
            return  # refused, but granted an access token just before; that one works until it expires
        if visitor != owner:
            if owner not in self.refused:
                self.lost.append(f"{key}: answered as {visitor} at {now:.3f}, before that as {owner}")
                return
            self.owners[key] = visitor
            self._former.setdefault(key, set()).add(owner)
            self.replaced += 1
        for one in self._wanted:
            if one.key == key and one.until == math.inf and (owner not in self.refused or visitor != owner):
                one.until = now + self.patience


def drained(fake: FakeWix) -> list[Call]:
    """Takes the calls out of the stand-in's log that have ended, up to the first that has not."""
    with fake._lock:
        log = fake._log.calls
        count = next((number for number, call in enumerate(log) if call.under_way), len(log))
        return [log.popleft() for _ in range(count)]


def used(fake: FakeWix) -> set[str]:
    """Returns the visitors as whom requests were answered."""
    return {call.visitor_id for call in fake.api_calls() if call.visitor_id is not None}
