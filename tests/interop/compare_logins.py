"""Logins under failures: the real @wix/sdk and wixvisitor in the same situations, each against a FakeWix of its own.

`python -m tests.interop.compare_logins` prints the tables of docs/how-to/login.md and of the README. The numbers are
counted, not timed, and the same in every run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import anyio
from attrs import field, frozen

from tests.constants import CLIENT_ID
from wixvisitor import TokenRole
from wixvisitor.testing import FakeWix

from .compare import START, markdown, versions, who
from .guests import EMAIL, PASSWORD, Errors, Opening, ours, theirs
from .login_situations import MEMBER, NONE, SITUATIONS, VISITOR, Situation, expire
from .shopping import tokens_of


@frozen
class Row:
    """What became of one client in one situation.

    Attributes:
        after: who the client is in the end.
        is_right: whether that is who it has to be.
        stays: whether all calls, and the client in the end, are the visitor from before; None after a logout.
        mugs: in the cart that the client has in the end.
        mugs_added: by its calls that were served.
        told: what the app is told of failures.
    """

    situation: str
    client: str
    after: TokenRole
    is_right: bool
    token_calls: int
    visitors_before: int
    visitors_after: int
    stays: bool | None
    mugs: int
    mugs_added: int
    told: Errors = field(factory=list)


async def run(situation: Situation, client: str, opening: Opening) -> Row:
    """Puts one client into one situation."""
    fake = FakeWix(clock=lambda: START, strict=True)
    fake.add_member(EMAIL, PASSWORD)
    grant = fake.mint_visitor if situation.before is VISITOR else fake.mint_member
    tokens = tokens_of(grant(CLIENT_ID), fake, situation.before)
    async with fake.serve() as base_url, opening(fake, base_url, tokens) as guest:
        assert await guest.add_mug() == []
        if situation.is_expired:
            await expire(guest, fake)
        fake.reset_calls()
        visitors = len(fake.visitors)
        told = await situation.act(guest, fake)
        after = who(await guest.tokens())
    shoppers = {call.visitor_id for call in fake.api_calls()} | {after[0]}
    adds = [call for call in fake.api_calls() if call.path.endswith("add-to-cart")]
    visitor = fake.visitors.get(after[0] or "")
    cart = None if visitor is None else visitor.cart
    return Row(
        situation=situation.name,
        client=client,
        after=after[1],
        is_right=after[1] is situation.wanted,
        token_calls=len(fake.token_calls()),
        visitors_before=visitors,
        visitors_after=len(fake.visitors),
        stays=None if after[1] is NONE else shoppers - {None} == {who(tokens)[0]},
        mugs=0 if cart is None else sum(line.quantity for line in cart.lines),
        mugs_added=1 + len(adds),
        told=told,
    )


def sides() -> dict[str, Opening]:
    """Both clients."""
    return dict(zip(versions(), (theirs, ours), strict=True))


async def compare() -> list[Row]:
    """Every situation, for both clients."""
    return [await run(situation, *side) for situation in SITUATIONS for side in sides().items()]


def render(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    heads = ("situation", "client", "in the end", "visitors", "stays one visitor", "in the cart", "the app is told")
    return markdown(heads, [cells(row, first=not index % 2) for index, row in enumerate(rows)])


def cells(row: Row, *, first: bool) -> list[str]:
    """One line of the table; the situation stands in its first line only."""
    role = {NONE: "logged out", VISITOR: "visitor", MEMBER: "member"}[row.after]
    return [
        row.situation if first else "",
        row.client,
        role if row.is_right else f"**{role}**",
        f"{row.visitors_before} → {row.visitors_after}",
        "-" if row.stays is None else "yes" if row.stays else "**no**",
        "-" if row.stays is None else f"{row.mugs} of {row.mugs_added}",
        ", ".join(f"`{text}`" for text in dict.fromkeys(row.told)) or "nothing",
    ]


def for_readme(rows: Sequence[Row]) -> list[Row]:
    """The rows that the README has."""
    names = {situation.name for situation in SITUATIONS if situation.in_readme}
    return [row for row in rows if row.situation in names]


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")
    found = anyio.run(compare)
    sys.stdout.write(f"{render(for_readme(found))}\n{render(found)}")
