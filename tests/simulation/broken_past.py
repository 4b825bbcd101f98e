"""Mistakes about a store that goes back in time, and about what is saved late: one patch each."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import attrs

from wixvisitor._renewal import records
from wixvisitor._renewal.decision import Snapshot
from wixvisitor._renewal.lineage import Lineage, later
from wixvisitor._renewal.records import Records, Stored
from wixvisitor._renewal.run import Outcome, Renewal


def _the_store_always_wins() -> Any:
    """What the store holds counts, whatever is held."""
    return patch.object(Lineage, "is_after", lambda self, other: False)


def _numbers_ignore_the_clock() -> Any:
    """A new identity is numbered after what is known, so that a login after the rollback loses to what was lost."""
    after_all = records.after_all
    return patch.object(records, "after_all", lambda now, identity, *known: after_all(0.0, identity, *known))


def _numbers_stay() -> Any:
    """A login, a logout or a forget has the number of whom it follows."""
    new_identity = Records.new_identity

    def same(self: Records, *known: Lineage | None) -> Lineage:
        lineage, before = new_identity(self, *known), functools.reduce(later, known, self.lineage)
        return lineage if before is None else Lineage(before.number, lineage.identity)

    return patch.object(Records, "new_identity", same)


def _a_refused_state_goes_on_to_win() -> Any:
    """What is held counts also when Wix has refused it, and whom the store has is never asked for."""
    load = Renewal._load

    async def held(self: Renewal, _refused: frozenset[str] = frozenset()) -> Snapshot:
        return await load(self)

    return patch.object(Renewal, "_load", held)


def _a_logout_is_nothing_held() -> Any:
    """Whoever is logged out takes what the store has, as if nothing was known."""
    load = Renewal._load

    async def wrong(self: Renewal, refused: frozenset[str] = frozenset()) -> Snapshot:
        return await load(self, refused | {""})

    return patch.object(Renewal, "_load", wrong)


def _forget_deletes() -> Any:
    """A forgotten visitor leaves no record, and whoever still holds it saves it again."""

    async def delete(self: Records, _held: object) -> None:
        await self.settings.storage.delete(self.scoped_key)

    return patch.object(Records, "forget", delete)


def _what_was_not_acknowledged_counts() -> Any:
    """Tokens that are not saved yet are the later ones, whatever was saved meanwhile."""

    def always(_: Renewal, winner: Stored, new: Snapshot) -> bool:
        return winner.tokens != new.tokens

    return patch.object(Renewal, "_may_save_over", always)


def _what_is_set_late_stands_anew() -> Any:
    """What could not be saved stands where the next attempt comes, after all that was saved meanwhile."""
    save_given = Renewal._save_given

    async def anew(self: Renewal, given: Snapshot) -> Outcome:
        unsaved = given.unsaved and attrs.evolve(given.unsaved, lineage=None)
        return await save_given(self, attrs.evolve(given, unsaved=unsaved))

    return patch.object(Renewal, "_save_given", anew)


MISTAKES: tuple[tuple[str, Callable[[], Any], tuple[int, ...], str], ...] = (
    ("the store always wins", _the_store_always_wins, (14,), "rollback"),
    ("numbers ignore the clock", _numbers_ignore_the_clock, (14,), "rollback"),
    ("a login keeps the number", _numbers_stay, (14,), "rollback"),
    ("a logout is nothing held", _a_logout_is_nothing_held, (14,), "rollback"),
    ("forget deletes the record", _forget_deletes, (14,), "rollback"),
    ("a refused state goes on to win", _a_refused_state_goes_on_to_win, (7, 14), "rollback"),
    ("what was not acknowledged counts", _what_was_not_acknowledged_counts, (1, 6, 14), "rollback"),
    ("what is set late stands anew", _what_is_set_late_stands_anew, (6,), "rollback"),
)
"""Name, patch, the invariants that it violates, and in which kind of world."""
