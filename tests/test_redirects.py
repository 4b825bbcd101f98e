"""Redirects: the token and `X-Wix-Consistent` stay with the origins that may see them."""

from __future__ import annotations

import pickle
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import aiohttp
import httpx
import httpx2
import httpx_aiohttp
import httpx_aiohttp.httpx2
import pytest

from tests.constants import CART, SessionMaker
from wixvisitor import Tokens, VisitorSession
from wixvisitor._http.bound_header import bind, supports_binding
from wixvisitor.testing import FakeWix

from .origins import NAME, Place, place

pytestmark = pytest.mark.anyio

STATE = "state-of-this-visitor"

CLIENTS: dict[str, Callable[[], Any]] = {
    "httpx": lambda: httpx.AsyncClient(follow_redirects=True),
    "httpx2": lambda: httpx2.AsyncClient(follow_redirects=True),
    "httpx-aiohttp": lambda: httpx.AsyncClient(
        transport=httpx_aiohttp.AiohttpTransport(client=aiohttp.ClientSession), follow_redirects=True
    ),
    "httpx2-aiohttp": lambda: httpx2.AsyncClient(
        transport=httpx_aiohttp.httpx2.AiohttpTransport(client=aiohttp.ClientSession), follow_redirects=True
    ),
}


@pytest.fixture(
    params=[
        pytest.param((kind, loop), id=f"{kind}-{loop}")
        for kind in CLIENTS
        for loop in ("asyncio", "trio")
        if "aiohttp" not in kind or loop == "asyncio"
    ]
)
def kind_and_loop(request: pytest.FixtureRequest) -> tuple[str, str]:
    pair: tuple[str, str] = request.param
    return pair


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> str:
    if "kind_and_loop" not in request.fixturenames:
        return "asyncio"
    return str(request.getfixturevalue("kind_and_loop")[1])


@pytest.fixture
async def client(kind_and_loop: tuple[str, str], anyio_backend: str) -> AsyncGenerator[Any]:
    async with CLIENTS[kind_and_loop[0]]() as client:
        yield client


async def _by_session(session: VisitorSession, _: Any, url: str, **arguments: Any) -> Any:
    return await session.get(url, **arguments)


async def _by_stream(session: VisitorSession, _: Any, url: str, **arguments: Any) -> Any:
    async with session.stream("GET", url, **arguments) as response:
        await response.aread()
        return response


async def _by_auth(session: VisitorSession, client: Any, url: str, **arguments: Any) -> Any:
    return await client.get(url, auth=session.auth, **arguments)


DOORS: dict[str, Callable[..., Awaitable[Any]]] = {"session": _by_session, "stream": _by_stream, "auth": _by_auth}


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> Callable[..., Awaitable[Any]]:
    return DOORS[request.param]


@asynccontextmanager
async def shopping(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, client: Any, *others: Place
) -> AsyncGenerator[tuple[Place, VisitorSession]]:
    """Wix's place, and a session whose visitor has been sent a state there."""
    async with still.serve() as url:
        session = session_of(
            client=client, tokens=visitor, base_url=url, allowed_origins=[other.url for other in others]
        )
        still.add_header(NAME, STATE, times=1)
        await session.get(CART)
        still.reset_calls()
        yield Place(still, url), session


@pytest.mark.parametrize("status", [302, 307])
async def test_nothing_of_the_visitor_reaches_a_foreign_origin(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, client: Any, door: Any, status: int
) -> None:
    """A redirect arrives at a foreign origin with neither the token nor the visitor's state, and so does the next."""
    async with shopping(still, session_of, visitor, client) as (wix, session), place(still) as foreign:
        wix.leads_to("/away", f"{foreign.url}/further", status)
        foreign.leads_to("/further", f"{foreign.url}/end", status)
        await door(session, client, f"{wix.url}/away")
        assert wix.heard == [(True, STATE)]
        assert foreign.heard == [(False, None)] * 2


async def test_it_does_not_come_back(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, client: Any, door: Any
) -> None:
    """Behind a foreign origin that leads back to Wix, the request stays a stranger's."""
    async with shopping(still, session_of, visitor, client) as (wix, session), place(still) as foreign:
        wix.leads_to("/away", f"{foreign.url}/back")
        foreign.leads_to("/back", f"{wix.url}{CART}")
        assert (await door(session, client, f"{wix.url}/away")).status_code == 401
        assert wix.heard == [(True, STATE), (False, None)]
        assert foreign.heard == [(False, None)]


async def test_between_allowed_origins(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, client: Any, door: Any
) -> None:
    """A redirect to another allowed origin, and back, has the token and the state; a client of its own has neither."""
    async with place(still) as edge, shopping(still, session_of, visitor, client, edge) as (wix, session):
        wix.leads_to("/edge", f"{edge.url}/back")
        edge.leads_to("/back", f"{wix.url}{CART}")
        await door(session, client, f"{wix.url}/edge")
        assert len(wix.heard) == 2
        assert len(edge.heard) == 1
        heard = (True, STATE) if door is not _by_auth else (False, None)
        assert wix.heard == [(True, STATE), heard]
        assert edge.heard == [heard]


async def test_a_401_behind_a_redirect(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, client: Any, door: Any
) -> None:
    """The 401 of an allowed origin that a redirect led to is about the token, which is renewed."""
    async with place(still) as edge, shopping(still, session_of, visitor, client, edge) as (wix, session):
        edge.leads_to("/back", f"{wix.url}{CART}")
        still.revoke_access_token(visitor.access_token.value)
        response = await door(session, client, f"{edge.url}/back")
        if door is not _by_auth:
            assert response.status_code in (200, 404)
            assert len(still.token_calls("refresh_token")) == 1


@pytest.mark.parametrize("status", [302, 303, 307])
async def test_within_the_origin_it_stays(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, client: Any, door: Any, status: int
) -> None:
    """A redirect within the origin keeps the token and the state."""
    async with shopping(still, session_of, visitor, client) as (wix, session):
        wix.leads_to("/moved", CART, status)
        await door(session, client, f"{wix.url}/moved")
        assert wix.heard == [(True, STATE)] * 2


async def test_a_replay_is_redirected(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, client: Any, door: Any
) -> None:
    """A request that is sent once more after a 401 is as careful as the first one."""
    async with shopping(still, session_of, visitor, client) as (wix, session), place(still) as foreign:
        still.fail(401, path="/away", times=1)
        wix.leads_to("/away", f"{foreign.url}/end")
        await door(session, client, f"{wix.url}/away")
        calls = [heard for heard, call in zip(wix.heard, still.calls, strict=True) if call.path == "/away"]
        assert calls == [(True, STATE)] * 2
        assert foreign.heard == [(False, None)]


async def test_the_callers_own_header(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, client: Any, door: Any
) -> None:
    """A header of this name that the caller set himself is his: it goes where his client takes it."""
    async with still.serve() as url, place(still) as foreign:
        session = session_of(client=client, tokens=visitor, base_url=url)
        Place(still, url).leads_to("/away", f"{foreign.url}/end")
        await door(session, client, f"{url}/away", headers={"X-Wix-Consistent": "mine"})
        assert foreign.heard == [(False, "mine")]


async def test_a_redirect_that_is_followed_by_hand(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, client: Any, door: Any
) -> None:
    """The `next_request` of a response that was not followed carries nothing to a foreign origin."""
    async with shopping(still, session_of, visitor, client) as (wix, session):
        wix.leads_to("/away", "https://foreign.example/")
        response = await door(session, client, f"{wix.url}/away", follow_redirects=False)
        assert NAME not in response.next_request.headers
        assert "authorization" not in response.next_request.headers


async def test_a_replay_for_another_visitor_has_no_state(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, family: ModuleType
) -> None:
    """When a 401 ends in a new visitor, the request is replayed without what Wix had said to the old one."""
    session = session_of(family, tokens=visitor)
    still.add_header(NAME, STATE, times=1)
    await session.get(CART)
    still.revoke_access_token(visitor.access_token.value)
    still.refuse_refresh_token(visitor.refresh_token.value)
    await session.get(CART)
    first, replayed = still.api_calls()[-2:]
    assert first.headers[NAME] == STATE
    assert replayed.headers["authorization"] != first.headers["authorization"]
    assert NAME not in replayed.headers


def test_a_bound_header_is_like_any_other(family: ModuleType) -> None:
    """Hooks and transports find, replace and remove it under its own name, and the token stays alone under its."""
    headers = family.Headers({"Authorization": "token", "X-Wix-Consistent": "the caller's"})
    bind(headers, "X-Wix-Consistent", "one")
    bind(headers, "X-Wix-Consistent", "two")
    assert headers["Authorization"] == "token"
    assert headers["x-wix-consistent"] == "two"
    assert headers.get_list("X-Wix-Consistent") == ["two"]
    assert dict(headers) == {"authorization": "token", "x-wix-consistent": "two"}
    assert pickle.loads(pickle.dumps(headers)) == headers
    headers["X-Wix-Consistent"] = "a hook's"
    assert headers.raw[-1] == (b"X-Wix-Consistent", b"a hook's")
    assert len(headers.raw) == 2
    bind(headers, "X-Wix-Consistent", "three")
    del headers["X-Wix-Consistent"]
    assert headers.raw == [(b"Authorization", b"token")]
    bind(headers, "X-Wix-Consistent", "")
    assert headers.raw == [(b"Authorization", b"token")]


def test_where_it_cannot_be_bound_it_is_not_sent() -> None:
    """With headers that work in another way inside, the state stays at home rather than leave without the token."""

    class Copying(httpx.Headers):
        """Keeps its names in a way of its own."""

        def __init__(self, headers: Any = None, encoding: str | None = None) -> None:
            super().__init__(dict(headers) if headers else None, encoding)

    assert not supports_binding(Copying)
    headers = Copying({"Authorization": "token"})
    bind(headers, "X-Wix-Consistent", "state")
    bind(headers, "X-Wix-Consistent", "")
    assert headers.raw == [(b"Authorization", b"token")]


def test_it_can_be_bound_in_what_is_installed(family: ModuleType) -> None:
    """The installed libraries are such that the state is sent."""
    assert supports_binding(family.Headers)
