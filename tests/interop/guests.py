"""Both sides log in and out, under one face: what ``shoppers.py`` has, and logins."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import anyio
from attrs import define

from tests.constants import CLIENT_ID
from wixvisitor import Tokens, VisitorSession, WixVisitorError
from wixvisitor.members import MemberLogin, MemberLoginError
from wixvisitor.testing import FakeWix

from .real_sdk import SdkError, real_sdk
from .shoppers import Ours, Shopper, Theirs
from .shopping import mugs

CALLBACK, HOME, EMAIL, PASSWORD = (
    "https://shop.example/callback",
    "https://shop.example/",
    "anna@example.com",
    "correct horse",
)
Errors = list[str]


class Guest(Shopper, Protocol):
    """A shopper who may log in. Each method returns what the app is told of failures."""

    def adding(self, times: int) -> AbstractAsyncContextManager[Errors]:
        """Puts so many mugs into the cart, all at once, while the block runs; the errors are there at its end."""

    async def begins(self) -> str:
        """Begins a login on Wix's page: the page's address."""

    def coming_back(self, address: str) -> AbstractAsyncContextManager[Errors]:
        """Ends the login that began last, with the address to which Wix sent the browser, while the block runs."""

    async def logs_in(self, password: str) -> Errors:
        """Sends the shop's own form."""

    def logging_out(self) -> AbstractAsyncContextManager[Errors]:
        """Logs out; the block runs once that is done or waits for something. At its end the errors are there."""

    async def restarts(self) -> None:
        """Is another process from now on, which has the tokens and the login as JSON."""


@define
class OurGuest(Ours):
    """A ``VisitorSession``."""

    base_url: str
    login: MemberLogin | None = None

    @asynccontextmanager
    async def adding(self, times: int) -> AsyncGenerator[Errors]:
        errors: Errors = []

        async def add() -> None:
            errors.extend(await self.add_mug(times))

        async with anyio.create_task_group() as group:
            group.start_soon(add)
            yield errors

    async def begins(self) -> str:
        self.login = await self.session.members.start_login(CALLBACK)
        return self.login.url

    @asynccontextmanager
    async def coming_back(self, address: str) -> AsyncGenerator[Errors]:
        assert self.login is not None
        login, errors = self.login, Errors()

        async def finish() -> None:
            errors.extend(await _told(self.session.members.finish_login(login, address)))

        async with anyio.create_task_group() as group:
            group.start_soon(finish)
            yield errors

    async def logs_in(self, password: str) -> Errors:
        return await _told(self.session.members.login(EMAIL, password))

    @asynccontextmanager
    async def logging_out(self) -> AsyncGenerator[Errors]:
        errors: Errors = []

        async def leave() -> None:
            errors.extend(await _told(self.session.members.logout(HOME)))

        async with anyio.create_task_group() as group:
            group.start_soon(leave)
            await anyio.wait_all_tasks_blocked()
            yield errors

    async def restarts(self) -> None:
        assert self.login is not None
        tokens, login = self.session.get_tokens().to_json(), self.login.to_json()
        await self.session.aclose()
        self.session = _session(self.fake, self.base_url, Tokens.from_json(tokens))
        self.login = MemberLogin.from_json(login)


async def _told(work: Coroutine[Any, Any, Any]) -> Errors:
    try:
        await work
    except MemberLoginError as error:
        why = error.reason if error.reason != "unknown" else error.status_code
        return [type(error).__name__ if why is None else f"{type(error).__name__}: {why}"]
    except WixVisitorError as error:
        return [type(error).__name__]
    return []


@define
class TheirGuest(Theirs):
    """A client of the real SDK, used as its documentation says."""

    login: Any = None

    @asynccontextmanager
    async def adding(self, times: int) -> AsyncGenerator[Errors]:
        errors: Errors = []
        begun = await self.sdk.begin_calls(times, "currentCart.addToCurrentCart", mugs(self.fake))
        yield errors
        errors.extend(_texts(await self.sdk.end_calls(begun)))

    async def begins(self) -> str:
        self.login = await self.sdk.call("auth.generateOAuthData", CALLBACK)
        options = {"prompt": "login", "responseMode": "query"}
        return str((await self.sdk.call("auth.getAuthUrl", self.login, options))["authUrl"])

    @asynccontextmanager
    async def coming_back(self, address: str) -> AsyncGenerator[Errors]:
        errors: Errors = []
        found = await self.sdk.call("auth.parseFromUrl", address, "query")
        begun = await self.sdk.begin_calls(1, "auth.getMemberTokens", found["code"], found["state"], self.login)
        yield errors
        (tokens,) = await self.sdk.end_calls(begun)
        errors.extend(_texts([tokens]))
        if not errors:
            await self.sdk.call("auth.setTokens", tokens)

    async def logs_in(self, password: str) -> Errors:
        (outcome,) = await self.sdk.call_at_once(1, "auth.login", {"email": EMAIL, "password": password})
        if isinstance(outcome, SdkError):
            return _texts([outcome])
        return [outcome["errorCode"]] if outcome["loginState"] == "FAILURE" else []

    @asynccontextmanager
    async def logging_out(self) -> AsyncGenerator[Errors]:
        yield _texts(await self.sdk.call_at_once(1, "auth.logout", HOME))

    async def restarts(self) -> None:
        self.login = json.loads(json.dumps(self.login))
        await self.sdk.create(CLIENT_ID, await self.sdk.saved_tokens())


def _texts(outcomes: Sequence[Any]) -> Errors:
    """The errors among what calls returned, in one line, without what differs from run to run."""
    return [_text(error) for error in outcomes if isinstance(error, SdkError)]


def _text(error: SdkError) -> str:
    if error.name == "SyntaxError":  # each version of Node has its own words
        return error.name
    message = json.loads(error.message)["message"] if error.message.startswith("{") else error.message
    return f"{error.name}: {message.partition('. request id')[0]}"


def _session(fake: FakeWix, base_url: str, tokens: Tokens | None) -> VisitorSession:
    return VisitorSession(CLIENT_ID, tokens=tokens, base_url=base_url, clock=fake.now)


@asynccontextmanager
async def ours(fake: FakeWix, base_url: str, tokens: Tokens | None) -> AsyncGenerator[Guest]:
    """A session that resumes these tokens."""
    guest = OurGuest(_session(fake, base_url, tokens), fake, base_url)
    try:
        yield guest
    finally:
        await guest.session.aclose()


@asynccontextmanager
async def theirs(fake: FakeWix, base_url: str, tokens: Tokens | None) -> AsyncGenerator[Guest]:
    """A client of the SDK that resumes these tokens."""
    async with real_sdk(base_url) as sdk:
        await sdk.set_time(fake.now())
        await sdk.create(CLIENT_ID, tokens and tokens.to_json())
        yield TheirGuest(sdk, fake)


Opening = Callable[[FakeWix, str, Tokens | None], AbstractAsyncContextManager[Guest]]
"""What both sides log in with."""
