"""One process of a replay: a real refresher, whose every await on the store or on Wix stands still until it may go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import anyio
import attrs
from anyio.lowlevel import checkpoint

from tests.renewal_model.model import Tokens
from wixvisitor import TokenRequestError, WixVisitorError
from wixvisitor import Tokens as RealTokens
from wixvisitor._renewal.refresher import Refresher
from wixvisitor._renewal.settings import Settings, checked
from wixvisitor._wire.token_endpoint import Granted, Refused, TokenAnswer
from wixvisitor.errors import StorageError
from wixvisitor.storage import Record

if TYPE_CHECKING:
    from .replay import Replay

CLIENT_ID: Final = "5e9c1d0a-7c1e-4a52-9d5e-1f2a3b4c5d6e"
RENEW_TIMEOUT: Final = 15.0


class Over(StorageError):
    """The replay has ended, and so does whatever still waits for its next step."""


@attrs.define(eq=False)
class Player:
    """One process: a refresher of its own, its store, and its way to Wix.

    Attributes:
        at: the await that it stands at.
        how: what becomes of it.
        clock: its own ``anyio.current_time()``; what it waits counts for nobody else.
    """

    replay: Replay
    at: str = ""
    how: str = ""
    clock: float = 0.0
    using: Tokens = attrs.field(factory=Tokens)
    _arrived: anyio.Event = attrs.field(factory=anyio.Event)
    _may_go: anyio.Event = attrs.field(factory=anyio.Event)

    async def live(self) -> None:
        """Needs a token, again and again."""
        refresher = Refresher(self._settings(), "default", self, None)  # type: ignore[arg-type]
        while not self.replay.is_over:
            try:
                held = await refresher.usable()
                self.using = seen(held.tokens)
                await self._stand("done")
            except WixVisitorError:
                self.replay.now += 61  # the longest pause after a failure
                await checkpoint()

    async def go(self, how: str) -> None:
        """Takes the step that it stands at, and returns when it stands at the next."""
        self.replay.current, self.how, self._arrived = self, how, anyio.Event()
        self._may_go.set()
        await self._arrived.wait()

    async def arrive(self) -> None:
        """Returns when it stands at its first step."""
        await self._arrived.wait()

    async def _stand(self, at: str) -> str:
        self.at, self._may_go = at, anyio.Event()
        self._arrived.set()
        if not self.replay.is_over:
            await self._may_go.wait()
        if self.replay.is_over:
            raise Over("the replay has ended")
        if self.how == "the store fails":
            raise OSError("the store failed")
        return self.how

    def wake(self) -> None:
        """Ends whatever stands still."""
        self._may_go.set()

    def _settings(self) -> Settings:
        return checked(
            CLIENT_ID,
            storage=self,
            base_url="https://www.wixapis.com",
            allowed_origins=(),
            renew_before=0.0,
            renew_timeout=RENEW_TIMEOUT,
            on_refused="auto",
            on_change=None,
            is_refusal=None,
            clock=lambda: self.replay.now,
        )

    # The store

    async def load(self, key: str) -> Record | None:
        await self._stand("load")
        return await self.replay.store.load(key)

    async def save(self, key: str, value: str, *, expected: Any = None) -> str:
        how = await self._stand("save")
        version = await self.replay.store.save(key, value, expected=expected)
        if how == "saves, the reply is lost":
            raise OSError("the connection broke")
        return version

    async def delete(self, key: str) -> None:
        raise AssertionError("nobody forgets the visitor")

    async def acquire_lease(self, key: str, holder: str, seconds: float) -> float:
        await self._stand("lease")
        if self.replay.lease_of in ("", holder):
            self.replay.lease_of = holder
            return 0.0
        return seconds

    async def release_lease(self, key: str, holder: str) -> None:
        await self._stand("release")
        if self.replay.lease_of == holder:
            self.replay.lease_of = ""

    # Wix

    def check_open(self) -> None:
        """The pool is never closed."""

    async def renew(self, refresh_token: str, deadline: float, turn: object) -> Granted | Refused:
        while (how := await self._stand("ask")) == "the answer is lost, asks again":
            self.replay.wix_renews(refresh_token)
        if how == "no answer, gives up":
            raise TokenRequestError("no answer")
        granted = self.replay.wix_renews(refresh_token)
        if how == "the answer is lost, gives up":
            raise TokenRequestError("no answer")
        return granted or Refused(TokenAnswer(401, {"error": "invalid_grant"}))

    async def mint(self, deadline: float, turn: object) -> Granted:
        while (how := await self._stand("mint")) == "the answer is lost, asks again":
            self.replay.wix_mints()
        if how == "no answer, gives up":
            raise TokenRequestError("no answer")
        granted = self.replay.wix_mints()
        if how == "the answer is lost, gives up":
            raise TokenRequestError("no answer")
        return granted


def seen(tokens: RealTokens) -> Tokens:
    """Returns tokens in the model's words."""
    if not tokens.access_token.value:
        return Tokens()
    visitor, _, access = map(int, tokens.access_token.value.split("-"))
    assert tokens.refresh_token.value.split("-")[0] == str(visitor)
    return Tokens(visitor, int(tokens.refresh_token.value.split("-")[1]), access)
