"""The real renewal with the model's mistakes: each is a patch that does one thing wrong, named as in ``MISTAKES``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from unittest.mock import patch

import attrs

from wixvisitor._renewal import work
from wixvisitor._renewal.decision import Snapshot, Unread
from wixvisitor._renewal.records import Records
from wixvisitor._renewal.run import Outcome, Renewal
from wixvisitor._tokens import Tokens


def _saves_over_whatever_is_there() -> Any:
    save = Records.save

    async def wrong(self: Records, tokens: Tokens, expected: object, lineage: Any) -> str | None:
        return await save(self, tokens, Unread.UNREAD, lineage)

    return patch.object(Records, "save", wrong)


def _does_not_load_again() -> Any:
    @attrs.define(eq=False)
    class Blind(Renewal):
        has_turn: bool = False

        async def _load(self, refused: frozenset[str] = frozenset()) -> Snapshot:
            found = await super()._load(refused)
            return self.held if self.has_turn and self.held is not None else found

        async def _renew(self) -> Outcome:
            self.has_turn = True
            return await super()._renew()

    return patch.object(work, "Renewal", Blind)


def _keeps_its_own_after_losing() -> Any:
    def wrong(self: Renewal, winner: object, new: Snapshot, reason: Any) -> Outcome:
        return Outcome(new, reason)

    return patch.object(Renewal, "_lost_to", wrong)


def _uses_what_could_not_be_saved() -> Any:
    save = Renewal._save

    async def wrong(self: Renewal, new: Snapshot, reason: Any, *, must: bool, **named: Any) -> Outcome:
        return await save(self, new, reason, must=False, **named)

    return patch.object(Renewal, "_save", wrong)


def _never_waits_for_the_lease() -> Any:
    acquire = Renewal._acquire

    async def wrong(self: Renewal, holder: str, seconds: float) -> float:
        await acquire(self, holder, seconds)
        return 0.0

    return patch.object(Renewal, "_acquire", wrong)


WRONG: Final[dict[str, Callable[[], Any]]] = {
    "saves over whatever is there": _saves_over_whatever_is_there,
    "does not load again": _does_not_load_again,
    "keeps its own after losing": _keeps_its_own_after_losing,
    "uses what could not be saved": _uses_what_could_not_be_saved,
    "never waits for the lease": _never_waits_for_the_lease,
}
