"""The real @wix/sdk and wixvisitor in the same situations, each against a FakeWix of its own.

The numbers are counted, not timed, and the same in every run: the clock stands still but where a situation moves it.
"""

import json
from collections.abc import Awaitable, Callable

from attrs import field, frozen

from tests.constants import CLIENT_ID
from wixvisitor import TokenRole, Tokens
from wixvisitor._wire.claims import read_claims
from wixvisitor.testing import FakeWix

from .real_sdk import HERE
from .shoppers import Opening, Shopper, ours, theirs
from .shopping import EXPIRED, tokens_of

START = 1_795_400_000.0
RECOVERED = 120
"""Seconds after an outage; longer than any pause of ours."""

Errors = list[str]


@frozen
class Situation:
    """What happens to a client, and how many mugs it is told to put into its cart meanwhile."""

    name: str
    calls: int
    act: Callable[[Shopper, FakeWix], Awaitable[Errors]]
    before: TokenRole = TokenRole.VISITOR
    """Who it is when it starts, with one mug in the cart and, but for NONE, an access token that has expired."""


@frozen
class Row:
    """What became of one client in one situation."""

    situation: str
    client: str
    token_calls: int
    visitors_before: int
    visitors_after: int
    stays: bool
    """Whether every call was one shopper's, the one who was there before, and the client still is that shopper."""
    mugs: int
    """In the cart that the client has in the end."""
    mugs_added: int
    """By its calls that were served."""
    calls: int
    errors: Errors = field(factory=list)


async def a_hundred_calls(shopper: Shopper, fake: FakeWix) -> Errors:
    return await shopper.add_mug(100)


async def one_503(shopper: Shopper, fake: FakeWix) -> Errors:
    fake.fail(503)
    return await shopper.add_mug()


async def one_dropped_connection(shopper: Shopper, fake: FakeWix) -> Errors:
    fake.drop()
    return await shopper.add_mug()


async def an_outage(shopper: Shopper, fake: FakeWix) -> Errors:
    outage = fake.fail(503, times=None)
    errors = [error for _ in range(10) for error in await shopper.add_mug()]
    outage.remove()
    fake.advance(RECOVERED)
    await shopper.clock_moved()
    return errors + await shopper.add_mug()


async def a_refusal(shopper: Shopper, fake: FakeWix) -> Errors:
    for visitor_id in fake.visitors:
        fake.refuse_refresh_tokens(visitor_id)
    return await shopper.add_mug()


SITUATIONS = (
    Situation("100 calls at once, no visitor yet", 100, a_hundred_calls, before=TokenRole.NONE),
    Situation("100 calls at once, token expired", 100, a_hundred_calls),
    Situation("token expired, one 503 from the token endpoint", 1, one_503),
    Situation("token expired, one dropped connection", 1, one_dropped_connection),
    Situation("token expired, 10 calls during an outage (503), 1 after it", 11, an_outage),
    Situation("visitor's refresh token refused", 1, a_refusal),
    Situation("member's refresh token refused", 1, a_refusal, before=TokenRole.MEMBER),
)


def who(tokens: Tokens) -> tuple[str | None, TokenRole]:
    """The visitor's id, as the fake writes it into access tokens, and the role."""
    claims = read_claims(tokens.access_token.value)
    return claims.visitor_id if claims else None, tokens.refresh_token.role


async def run(situation: Situation, client: str, opening: Opening) -> Row:
    """Puts one client into one situation."""
    fake = FakeWix(clock=lambda: START, strict=True)
    grant = {TokenRole.VISITOR: fake.mint_visitor, TokenRole.MEMBER: fake.mint_member}.get(situation.before)
    tokens = None if grant is None else tokens_of(grant(CLIENT_ID), fake, situation.before)
    async with fake.serve() as base_url, opening(fake, base_url, tokens) as shopper:
        if tokens is not None:
            assert await shopper.add_mug() == []
            fake.advance(EXPIRED)
            await shopper.clock_moved()
        fake.reset_calls()
        visitors = len(fake.visitors)
        errors = await situation.act(shopper, fake)
        after = who(await shopper.tokens())
    shoppers = {call.visitor_id for call in fake.api_calls()} | {after[0]}
    cart = fake.visitors[after[0] or ""].cart
    return Row(
        situation=situation.name,
        client=client,
        token_calls=len(fake.token_calls()),
        visitors_before=visitors,
        visitors_after=len(fake.visitors),
        stays=len(shoppers) == 1 and (tokens is None or after == who(tokens)),
        mugs=0 if cart is None else sum(line.quantity for line in cart.lines),
        mugs_added=(tokens is not None) + situation.calls - len(errors),
        calls=situation.calls,
        errors=errors,
    )


def versions() -> tuple[str, str]:
    """The names of both clients, with the version of the SDK that package.json pins."""
    pins = json.loads((HERE / "package.json").read_text("utf-8"))["dependencies"]
    return f"@wix/sdk {pins['@wix/sdk']}", "wixvisitor"


def sides() -> dict[str, Opening]:
    """Both clients."""
    return dict(zip(versions(), (theirs, ours), strict=True))


async def compare() -> list[Row]:
    """Every situation, for both clients."""
    return [await run(situation, *side) for situation in SITUATIONS for side in sides().items()]


def cell(row: Row) -> str:
    """What became of the client, in a few words; bold if it is no longer the shopper who it was."""
    visitors = counted(row.visitors_after, "visitor")
    parts = [visitors if row.stays else f"**{visitors}**", f"{row.mugs} of {counted(row.mugs_added, 'mug')}"]
    parts.append(counted(row.token_calls, "token call"))
    of_all = "the call ends" if row.calls == 1 else f"{len(row.errors)} of {row.calls} calls end"
    failed = "".join(f"; {of_all} in `{kind}`" for kind in sorted(set(row.errors)))
    return ", ".join(parts) + failed


def counted(number: int, thing: str) -> str:
    """A number of things."""
    return f"{number} {thing}{'' if number == 1 else 's'}"
