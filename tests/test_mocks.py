"""What people do with ``unittest.mock``: patched methods, mocks of sessions and pools, and mocks as ``client=``."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any
from unittest import mock

import httpx
import pytest

from tests.constants import CART, CLIENT_ID
from wixvisitor import EMPTY_TOKENS, ConfigurationError, VisitorPool, VisitorSession
from wixvisitor.asgi import CatalogReader
from wixvisitor.testing import FakeWix

pytestmark = pytest.mark.anyio
MADE = httpx.Response(200, json={"made": "up"})


@pytest.mark.parametrize("name", ["get", "post", "request"])
async def test_a_method_of_a_session_can_be_patched(name: str) -> None:
    """``patch.object`` replaces a method for a while, and the session has its own one again afterwards."""
    session = VisitorSession(CLIENT_ID)
    with mock.patch.object(session, name, return_value=MADE) as patched:
        assert await getattr(session, name)(CART) is MADE
    patched.assert_awaited_once_with(CART)
    assert inspect.ismethod(getattr(session, name))


async def test_methods_of_a_pool_and_of_the_catalogue_can_be_patched() -> None:
    """The same holds for what else handlers are given."""
    pool = VisitorPool(CLIENT_ID)
    catalog = CatalogReader(pool, ["/stores/"])
    session = VisitorSession(CLIENT_ID)
    with mock.patch.object(pool, "session", return_value=session), mock.patch.object(catalog, "get", return_value=MADE):
        assert await pool.session("anna") is session
        assert await catalog.get("/stores/") is MADE


async def test_an_autospec_of_a_session() -> None:
    """Its coroutine methods are awaited, its plain ones are not, wrong arguments fail, and ``async with`` works."""
    session = mock.create_autospec(VisitorSession, instance=True)
    session.get.return_value = MADE
    session.get_tokens.return_value = EMPTY_TOKENS
    session.stream.return_value.__aenter__.return_value = MADE
    assert await session.get(CART) is MADE
    assert session.get_tokens() is EMPTY_TOKENS
    async with session, session.stream("GET", CART) as response:
        assert response is MADE
    with pytest.raises(TypeError):
        session.get_tokens("too many")


async def test_an_autospec_of_a_pool() -> None:
    """``session`` and ``forget`` are awaited."""
    pool = mock.create_autospec(VisitorPool, instance=True)
    pool.session.return_value = mock.create_autospec(VisitorSession, instance=True)
    pool.session.return_value.get.return_value = MADE
    assert await (await pool.session("anna")).get(CART) is MADE
    await pool.forget("anna")


@pytest.mark.parametrize(
    "make",
    [
        lambda kind: mock.AsyncMock(spec=kind),
        lambda kind: mock.MagicMock(spec=kind),
        lambda kind: mock.create_autospec(kind, instance=True),
        lambda _: mock.AsyncMock(),
    ],
)
@pytest.mark.parametrize("kind", [VisitorSession, VisitorPool])
async def test_a_mock_of_a_client(family: ModuleType, make: Any, kind: Any) -> None:
    """A mock of a client cannot send: an error at once, which names what can."""
    with pytest.raises(ConfigurationError, match=r"client=FakeWix\(\)\.client\(\)"):
        kind(CLIENT_ID, client=make(family.AsyncClient))


async def test_a_mock_without_a_spec() -> None:
    """It could be a function that makes clients; when it makes none, the error is the same."""
    async with VisitorSession(CLIENT_ID, client=mock.MagicMock()) as session:
        with pytest.raises(ConfigurationError, match=r"client=FakeWix\(\)\.client\(\)"):
            await session.get(CART)


async def test_a_mock_of_a_function_that_makes_clients(still: FakeWix) -> None:
    """It works as the function does."""
    make = mock.Mock(side_effect=still.client)
    async with VisitorSession(CLIENT_ID, client=make, clock=still.now) as session:
        await session.get(CART)
    make.assert_called_once_with()


async def test_a_coroutine_function_that_makes_clients() -> None:
    """It is refused when it is given."""

    async def later() -> httpx.AsyncClient:
        return httpx.AsyncClient()

    with pytest.raises(ConfigurationError, match="client: expected a client, or a plain function"):
        VisitorSession(CLIENT_ID, client=later)  # type: ignore[arg-type]


async def test_httpx_itself_is_a_mock() -> None:
    """Where a test has replaced ``httpx.AsyncClient``, the error says what to do."""
    with mock.patch("httpx.AsyncClient"):
        async with VisitorSession(CLIENT_ID) as session:
            with pytest.raises(ConfigurationError, match=r"client=FakeWix\(\)\.client\(\)"):
                await session.get(CART)
