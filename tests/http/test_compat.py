"""Responses that have no end, or no end yet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from types import ModuleType
from typing import Any

import anyio
import anyio.lowlevel
import attrs
import pytest

from tests.constants import SessionMaker
from wixvisitor import TokenRequestError, Tokens
from wixvisitor._http import compat
from wixvisitor.testing import FakeWix

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_backoff")]


@attrs.define
class Sent:
    """What an endless body has sent."""

    chunks: int = 0


def endless(family: ModuleType, sent: Sent, *, size: int = 65_536, yields: bool = True) -> Any:
    """A body without an end, whose ``aclose`` does nothing."""

    class Endless(family.AsyncByteStream):  # type: ignore[misc, name-defined]
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                sent.chunks += 1
                if yields:
                    await anyio.lowlevel.checkpoint()
                yield b"x" * size

    return Endless()


@pytest.fixture(params=[True, False], ids=["yields", "never yields"])
def yields(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


async def test_leaving_a_response_that_never_ends(
    session_of: SessionMaker, visitor: Tokens, family: ModuleType, *, yields: bool
) -> None:
    """A 401 without an end is passed on, and leaving it ends, whether the transport can be closed or not."""
    sent = Sent()
    transport = family.MockTransport(lambda _: family.Response(401, stream=endless(family, sent, yields=yields)))
    async with family.AsyncClient(transport=transport) as client:
        session = session_of(client=client, tokens=visitor)
        with anyio.fail_after(5):
            async with session.stream("GET", "/a") as response:
                assert response.status_code == 401
            before = sent.chunks
            async with session.stream("GET", "/a") as response, aclosing(response.aiter_raw()) as chunks:
                async for chunk in chunks:
                    assert chunk == b"x" * 65_536
                    if sent.chunks > before + 40:
                        break
    assert sent.chunks < 200


async def test_a_token_answer_that_never_ends(session_of: SessionMaker, family: ModuleType, *, yields: bool) -> None:
    """A token endpoint that sends without an end is a TokenRequestError, soon."""
    transport = family.MockTransport(lambda _: family.Response(200, stream=endless(family, Sent(), yields=yields)))
    async with family.AsyncClient(transport=transport) as client:
        with anyio.fail_after(5), pytest.raises(TokenRequestError):
            await session_of(client=client).auth_headers()


async def test_a_401_that_comes_in_drops(
    session_of: SessionMaker, visitor: Tokens, still: FakeWix, family: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 401 that takes longer than the time that there is for it is passed on with all that came before."""
    monkeypatch.setattr(compat, "_MAX_READ", 0.0)
    body = b"".join(bytes([65 + number]) * 10 for number in range(20))

    class Drops(family.AsyncByteStream):  # type: ignore[misc, name-defined]
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for start in range(0, len(body), 10):
                await anyio.sleep(0.001)
                yield body[start : start + 10]

    async with family.AsyncClient(
        transport=family.MockTransport(lambda _: family.Response(401, stream=Drops()))
    ) as client:
        response = await session_of(client=client, tokens=visitor).get("/a")
    assert (response.status_code, response.content) == (401, body)
    assert still.token_calls() == []
