"""Logins under failures: the real @wix/sdk and wixvisitor in the same situations, each against a FakeWix of its own.

The numbers are counted, not timed, and the same in every run.
"""

from __future__ import annotations

from attrs import field, frozen

from tests.constants import CLIENT_ID
from wixvisitor import TokenRole
from wixvisitor.testing import FakeWix

from .compare import START, counted, versions, who
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


def end(row: Row) -> tuple[TokenRole, bool | None, int, int]:
    """Who the client is in the end, with which cart."""
    return row.after, row.stays, row.visitors_after, row.mugs


def ending(row: Row) -> str:
    """The same in a few words; bold where it is wrong."""
    role = {NONE: "logged out", VISITOR: "not logged in", MEMBER: "logged in"}[row.after]
    parts = [role if row.is_right else f"**{role}**"]
    if row.stays is not None:
        visitors = counted(row.visitors_after, "visitor")
        parts += [visitors if row.stays else f"**{visitors}**", f"{row.mugs} of {counted(row.mugs_added, 'mug')}"]
    return ", ".join(parts)


def told(row: Row) -> str:
    """What the app is told."""
    return " and ".join(f"`{text}`" for text in dict.fromkeys(row.told)) or "nothing"
