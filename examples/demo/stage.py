"""What the demo's chapters share: the story, the process that is alive, and what Wix saw."""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs

from examples.demo.facts import Facts, LifeFailed, tally
from examples.demo.process import LifeProcess
from examples.demo.story import Story, brief
from wixvisitor.testing import Call, FakeWix

FOUR_HOURS = 4 * 3600


@attrs.define
class Stage:
    """Where the demo with FakeWix takes place. Its clock stands still unless the demo moves it.

    Attributes:
        life: the process that is alive.
        home: the visitor as it was when Wix made it.
        lines: what was put into its cart.

    """

    story: Story
    fake: FakeWix
    life: LifeProcess
    home: Facts | None = None
    lines: tuple[str, ...] = ()
    _counted: int = 0

    async def do(self, what: str, **details: Any) -> Facts:
        """Returns what the process saw while it did this, by the fake's clock."""
        with self.story.waiting():
            return await self.life.obey(what, now=self.fake.now(), **details)

    def new_token_calls(self) -> Counter[str]:
        """Returns by kind the token calls that reached Wix since this was last asked."""
        calls = self.fake.token_calls()
        fresh, self._counted = calls[self._counted :], len(calls)
        return Counter(kind(call) for call in fresh)

    @property
    def visitor(self) -> Facts:
        """The visitor as it was when Wix made it.

        Raises:
            LifeFailed: it has not been made.

        """
        if self.home is None:
            raise LifeFailed("no visitor was made")
        return self.home

    def show(self, facts: Facts, calls: Counter[str]) -> None:
        """Shows whose the tokens are now, what Wix was asked, and who waited."""
        before, now = short(self.home), short(facts)
        self.story.measured("visitor id", f"{now}, as before" if before == now else f"{before} -> {now}")
        self.story.measured("token calls", tally(calls))
        if facts.callers:
            self.story.measured("waited", waited(facts))

    def claim_nobody_was_replaced(self, facts: Facts) -> None:
        """Claims that the visitor is who it was, by its tokens and by Wix's own books."""
        same = facts.is_same_visitor(self.visitor) and set(self.fake.visitors) == {self.visitor.visitor}
        self.story.claim("no visitor was replaced: the same one, the only one that Wix knows", same, facts.visitor)

    async def claim_cart(self) -> None:
        """Claims that the cart is there, and that Wix says it is this visitor's."""
        cart = await self.do("cart")
        seen = f"{cart.status}, {listed(cart.lines)}"
        own = cart.owner == self.visitor.visitor
        self.story.claim(f"its cart is there: {listed(self.lines)}", own and cart.lines == self.lines, seen)


def kind(call: Call) -> str:
    """Returns what a token call was, and what became of it."""
    if call.status is None:
        return "connection dropped"
    if call.status >= 500:
        return f"failed ({call.status})"
    if call.status != 200:
        return f"refused ({call.status})"
    return "new visitor" if call.grant_type == "anonymous" else "renewal"


def short(facts: Facts | None) -> str:
    """Returns a visitor's id, shortened."""
    return (facts.visitor or "unknown")[:8] if facts is not None else "none"


def listed(lines: tuple[str, ...]) -> str:
    """Returns a cart's content as prose."""
    return ", ".join(lines) or "nothing"


def waited(facts: Facts) -> str:
    """Returns who waited, and how long."""
    if not facts.waited:
        return f"none of {facts.callers}"
    return f"{facts.waited} of {facts.callers}, the longest {brief(facts.longest)}"
