"""The two sides under one face, so that each situation is written once."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import anyio
from attrs import define

from tests.constants import CLIENT_ID
from wixvisitor import Tokens, VisitorSession, WixVisitorError
from wixvisitor.testing import FakeWix

from .real_sdk import RealSdk, SdkError, real_sdk
from .shopping import CART, mugs


class Shopper(Protocol):
    """One client, as its users have it."""

    async def add_mug(self, times: int = 1) -> list[str]:
        """Puts so many mugs into the cart, with one call each, all at once; the errors of those that failed."""

    async def tokens(self) -> Tokens:
        """Who the client is now."""

    async def clock_moved(self) -> None:
        """Takes over the fake's time."""


@define
class Ours:
    """A `VisitorSession`."""

    session: VisitorSession
    fake: FakeWix

    async def add_mug(self, times: int = 1) -> list[str]:
        errors: list[str] = []

        async def add() -> None:
            try:
                response = await self.session.post(f"{CART}/add-to-cart", json=mugs(self.fake))
            except WixVisitorError as error:
                errors.append(type(error).__name__)
            else:
                errors.extend([] if response.is_success else [str(response.status_code)])

        async with anyio.create_task_group() as group:
            for _ in range(times):
                group.start_soon(add)
        return errors

    async def tokens(self) -> Tokens:
        return self.session.get_tokens()

    async def clock_moved(self) -> None:
        """Nothing to do: the session was given the fake's clock."""


@define
class Theirs:
    """A client of the real SDK."""

    sdk: RealSdk
    fake: FakeWix

    async def add_mug(self, times: int = 1) -> list[str]:
        outcomes = await self.sdk.call_at_once(times, "currentCart.addToCurrentCart", mugs(self.fake))
        return [str(outcome) for outcome in outcomes if isinstance(outcome, SdkError)]

    async def tokens(self) -> Tokens:
        return Tokens.from_json(await self.sdk.saved_tokens())

    async def clock_moved(self) -> None:
        await self.sdk.set_time(self.fake.now())


@asynccontextmanager
async def ours(fake: FakeWix, base_url: str, tokens: Tokens | None) -> AsyncGenerator[Shopper]:
    """A session that resumes these tokens."""
    async with VisitorSession(CLIENT_ID, tokens=tokens, base_url=base_url, clock=fake.now) as session:
        yield Ours(session, fake)


@asynccontextmanager
async def theirs(fake: FakeWix, base_url: str, tokens: Tokens | None) -> AsyncGenerator[Shopper]:
    """A client of the SDK that resumes these tokens."""
    async with real_sdk(base_url) as sdk:
        await sdk.set_time(fake.now())
        await sdk.create(CLIENT_ID, tokens and tokens.to_json())
        yield Theirs(sdk, fake)


Opening = Callable[[FakeWix, str, Tokens | None], AbstractAsyncContextManager[Shopper]]
