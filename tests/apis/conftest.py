"""A visitor in front of answers that a test gives, over httpx and httpx2."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from types import ModuleType
from typing import Any

import attrs
import pytest

from tests.constants import CLIENT_ID, EPOCH
from wixvisitor import AccessToken, RefreshToken, TokenRole, Tokens, VisitorSession

TOKENS = Tokens(AccessToken("OauthNG.JWS.a.b.c", int(EPOCH) + 14_000), RefreshToken("JWS.r", TokenRole.VISITOR))


@attrs.define
class Wix:
    """Gives each request the next answer, and an empty object when none is left. An exception is raised."""

    family: ModuleType
    answers: list[Any] = attrs.field(factory=list)
    requests: list[Any] = attrs.field(factory=list)

    def answer(self, status: int = 200, json: Any = None, *, headers: dict[str, str] | None = None) -> None:
        """Adds an answer."""
        self.answers.append(self.family.Response(status, json=json if json is not None else {}, headers=headers))

    def handle(self, request: Any) -> Any:
        self.requests.append(request)
        answer = self.answers.pop(0) if self.answers else self.family.Response(200, json={})
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def wix(family: ModuleType) -> Wix:
    return Wix(family)


@pytest.fixture
async def session_for(wix: Wix, anyio_backend: str) -> AsyncGenerator[Callable[..., VisitorSession]]:
    """Makes a session in front of these answers; takes what `VisitorSession` takes."""
    async with wix.family.AsyncClient(transport=wix.family.MockTransport(wix.handle)) as client:
        yield lambda **arguments: VisitorSession(
            CLIENT_ID, tokens=TOKENS, client=client, clock=lambda: EPOCH, **arguments
        )


@pytest.fixture
def shopper(session_for: Callable[..., VisitorSession]) -> VisitorSession:
    return session_for()
