"""What happens to a shopper around a login or logout, written once for both clients."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import frozen

from wixvisitor import TokenRole
from wixvisitor._wire import members as wire
from wixvisitor.testing import FakeWix

from .guests import EMAIL, PASSWORD, Errors, Guest
from .shopping import EXPIRED

CODE = "authorization_code"
VISITOR, MEMBER, NONE = TokenRole.VISITOR, TokenRole.MEMBER, TokenRole.NONE
Act = Callable[[Guest, FakeWix], Awaitable[Errors]]


@frozen
class Situation:
    """What happens to a client that has one mug in its cart.

    Attributes:
        wanted: who the client has to be in the end.
        before: who the client is at first.
        is_expired: whether the access token has expired at first.
    """

    name: str
    act: Act
    wanted: TokenRole
    before: TokenRole = VISITOR
    is_expired: bool = False


async def approved(guest: Guest, fake: FakeWix) -> str:
    """A login up to the address with which the browser comes back."""
    return fake.log_in(await guest.begins(), EMAIL)


async def comes_back(guest: Guest, address: str) -> Errors:
    """The end of a login."""
    async with guest.coming_back(address) as told:
        pass
    return told


def failing(fault: Callable[[FakeWix], object]) -> Act:
    """The exchange of the code fails, and the shopper goes on."""

    async def act(guest: Guest, fake: FakeWix) -> Errors:
        address = await approved(guest, fake)
        fault(fake)
        told = await comes_back(guest, address)
        return told + await guest.add_mug()

    return act


def repeated(act: Act) -> Act:
    """The same, and a second login after that."""

    async def again(guest: Guest, fake: FakeWix) -> Errors:
        told = await act(guest, fake)
        return told + await comes_back(guest, await approved(guest, fake))

    return again


async def unanswered(guest: Guest, fake: FakeWix) -> Errors:
    address = await approved(guest, fake)
    gate = fake.hold(grant_type=CODE)
    fake.drop(grant_type=CODE)
    async with guest.coming_back(address) as told:
        await gate.wait_for(1)
        served = await guest.add_mug()
        gate.release()
    return told + served


async def used_code(guest: Guest, fake: FakeWix) -> Errors:
    address = await approved(guest, fake)
    told = await comes_back(guest, address) + await comes_back(guest, address)
    return told + await guest.add_mug()


async def foreign_state(guest: Guest, fake: FakeWix) -> Errors:
    foreign = await approved(guest, fake)
    await guest.begins()
    return await comes_back(guest, foreign) + await guest.add_mug()


async def refused_by_shopper(guest: Guest, fake: FakeWix) -> Errors:
    address = await approved(guest, fake)
    told = await comes_back(guest, address.replace("code=", "error=access_denied&was="))
    return told + await guest.add_mug()


async def abandoned(guest: Guest, fake: FakeWix) -> Errors:
    await guest.begins()
    return await guest.add_mug()


async def restarted(guest: Guest, fake: FakeWix) -> Errors:
    address = await approved(guest, fake)
    await guest.restarts()
    return await comes_back(guest, address) + await guest.add_mug()


def renewing(times: int) -> Act:
    """The login ends while so many calls wait for a renewal, whose answer comes late."""

    async def act(guest: Guest, fake: FakeWix) -> Errors:
        fake.code_lifetime = 2 * EXPIRED
        address = await approved(guest, fake)
        await expire(guest, fake)
        gate = fake.hold(grant_type="refresh_token")
        async with guest.adding(times) as errors:
            await gate.wait_for(1)
            told = await comes_back(guest, address)
            gate.release()
        return told + errors

    return act


async def begun_in_a_hiccup(guest: Guest, fake: FakeWix) -> Errors:
    fake.fail(503)
    told = await comes_back(guest, await approved(guest, fake))
    return told + await guest.add_mug()


async def wrong_password(guest: Guest, fake: FakeWix) -> Errors:
    return await guest.logs_in("wrong horse") + await guest.add_mug()


async def form_in_an_outage(guest: Guest, fake: FakeWix) -> Errors:
    fake.fail(503, path=wire.LOGIN_PATH)
    return await guest.logs_in(PASSWORD) + await guest.add_mug()


async def member_in_a_hiccup(guest: Guest, fake: FakeWix) -> Errors:
    fake.fail(503)
    return await guest.add_mug()


async def logout(guest: Guest, fake: FakeWix) -> Errors:
    async with guest.logging_out() as told:
        pass
    return told


async def logout_in_an_outage(guest: Guest, fake: FakeWix) -> Errors:
    fake.fail(503, path=wire.REDIRECT_PATH)
    return await logout(guest, fake)


async def logout_while_renewing(guest: Guest, fake: FakeWix) -> Errors:
    gate = fake.hold(grant_type="refresh_token", times=1)
    async with guest.adding(1) as errors:
        await gate.wait_for(1)
        async with guest.logging_out() as told:
            gate.release()
    return told + errors


async def expire(guest: Guest, fake: FakeWix) -> None:
    """Lets the access token expire."""
    fake.advance(EXPIRED)
    await guest.clock_moved()


EXCHANGE: dict[str, Callable[[FakeWix], object]] = {
    "answers 503": lambda fake: fake.fail(503, grant_type=CODE),
    "answers 429": lambda fake: fake.fail(429, grant_type=CODE, headers={"Retry-After": "30"}),
    "answers 200 with HTML": lambda fake: fake.fail(200, grant_type=CODE, body="<html>"),
    "answers 200 without tokens": lambda fake: fake.fail(200, grant_type=CODE, body={}),
    "ends in a closed connection": lambda fake: fake.drop(grant_type=CODE),
    "works, but its answer is lost": lambda fake: fake.drop(grant_type=CODE, committed=True),
}
SITUATIONS = (
    *(Situation(f"the exchange of the code {name}", failing(EXCHANGE[name]), VISITOR) for name in EXCHANGE),
    *(
        Situation(f"the exchange of the code {name}; a second login at once", repeated(failing(EXCHANGE[name])), MEMBER)
        for name in ("answers 503", "answers 429", "works, but its answer is lost")
    ),
    Situation("the exchange of the code gets no answer; a call meanwhile", unanswered, VISITOR),
    Situation("the same callback twice", used_code, MEMBER),
    Situation("the callback of another login", foreign_state, VISITOR),
    Situation("the shopper refuses on Wix's page", refused_by_shopper, VISITOR),
    Situation("a login is abandoned", abandoned, VISITOR),
    Situation("a restart between login and callback", restarted, MEMBER),
    Situation("wrong password in the shop's form", wrong_password, VISITOR),
    Situation("the shop's form is sent, and Wix answers 503", form_in_an_outage, VISITOR),
    Situation(
        "a login begins, token expired, one 503 from the token endpoint",
        begun_in_a_hiccup,
        MEMBER,
        is_expired=True,
    ),
    Situation("a login ends while one call renews the token", renewing(1), MEMBER),
    Situation("a login ends while 100 calls renew the token", renewing(100), MEMBER),
    Situation(
        "a member's token expired, one 503 from the token endpoint",
        member_in_a_hiccup,
        MEMBER,
        before=MEMBER,
        is_expired=True,
    ),
    Situation("a logout", logout, NONE, before=MEMBER),
    Situation("a logout, and Wix answers 503", logout_in_an_outage, NONE, before=MEMBER),
    Situation(
        "a logout while one call renews the token",
        logout_while_renewing,
        NONE,
        before=MEMBER,
        is_expired=True,
    ),
)
