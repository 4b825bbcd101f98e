"""The base URL: the session's, the client's own, or Wix's; two that differ are refused."""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

import pytest

from tests.conftest import Served
from tests.constants import CART, CLIENT_ID, FINE
from wixvisitor import ConfigurationError, TokenRequestError, Tokens, VisitorPool, VisitorSession
from wixvisitor.testing import FakeWix

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_backoff")]


async def test_the_clients_own_is_used(served: Served, family: ModuleType) -> None:
    """A client's base URL is that of its sessions' and pools' API and token calls."""
    async with family.AsyncClient(base_url=served.url) as client:
        session = VisitorSession(CLIENT_ID, client=client, clock=served.fake.now)
        assert (await session.get(CART)).status_code in FINE
        async with VisitorPool(CLIENT_ID, client=client, clock=served.fake.now) as pool:
            assert (await (await pool.session("anna")).get(CART)).status_code in FINE
    assert len(served.fake.token_calls()) == 2


@pytest.mark.parametrize("slash", ["", "/"])
async def test_a_path_goes_before_each_call(still: FakeWix, visitor: Tokens, family: ModuleType, slash: str) -> None:
    """A base URL with a path puts it before the paths of token calls and API calls, with or without a slash."""
    client = still.client(family, base_url=f"https://gateway.example/wix{slash}")
    session = VisitorSession(CLIENT_ID, client=client, tokens=visitor, clock=still.now)
    await session.get(CART)
    still.fail(503, path="/wix/oauth2/token", times=None)
    with pytest.raises(TokenRequestError):
        await session.renew_token()
    assert {call.path for call in still.calls} == {f"/wix{CART}", "/wix/oauth2/token"}


@pytest.mark.parametrize(
    ("given", "own"),
    [
        ("https://gateway.example", "https://gateway.example/"),
        ("https://gateway.example/wix/", "https://gateway.example/wix"),
        ("https://GATEWAY.example:443", "https://gateway.example"),
        ("https://www.wixapis.com", ""),
    ],
)
def test_the_same_twice(still: FakeWix, family: ModuleType, given: str, own: str) -> None:
    """The same base URL may be given to both; a slash at the end and the default port make no difference."""
    client = still.client(family, base_url=own)
    VisitorSession(CLIENT_ID, client=client, base_url=given)
    VisitorPool(CLIENT_ID, client=client, base_url=given)


def test_wixs_own_says_nothing(still: FakeWix, family: ModuleType) -> None:
    """A client with Wix's own address, as FakeWix makes it, may serve a session with another base URL."""
    session = VisitorSession(CLIENT_ID, client=still.client(family), base_url="https://gateway.example/wix")
    assert str(session._settings.origins.base) == "https://gateway.example/wix"


@pytest.mark.parametrize(
    "own", ["https://www.wixapis.com/v9", "https://gateway.example/v9", "https://gateway.example:8443"]
)
@pytest.mark.parametrize("kind", [VisitorSession, VisitorPool])
def test_two_that_differ(still: FakeWix, family: ModuleType, own: str, kind: Any) -> None:
    """It is unclear which one is meant, so the error names both, and nothing was sent."""
    with pytest.raises(ConfigurationError, match=rf"base_url: it is https://gateway\.example/wix, but .*{own}"):
        kind(CLIENT_ID, client=still.client(family, base_url=own), base_url="https://gateway.example/wix")


@pytest.mark.parametrize("own", ["http://gateway.example", "https://user:secret@gateway.example", "/only/a/path"])
def test_one_that_may_see_no_token(still: FakeWix, family: ModuleType, own: str) -> None:
    """A client's base URL has to be what ``base_url=`` has to be; the error says that it is the client's."""
    with pytest.raises(ConfigurationError, match="client: its base_url: ") as caught:
        VisitorSession(CLIENT_ID, client=still.client(family, base_url=own))
    assert "secret" not in str(caught.value)


async def test_a_function_that_makes_clients(still: FakeWix, family: ModuleType) -> None:
    """Its clients have no base URL, or the session's; another one is an error at the first use."""
    for own in ("", "https://www.wixapis.com/"):
        make = functools.partial(still.client, family, base_url=own)
        async with VisitorSession(CLIENT_ID, client=make, clock=still.now) as session:
            assert (await session.get(CART)).status_code in FINE
    calls = len(still.calls)
    make = functools.partial(still.client, family, base_url="https://gateway.example")
    async with VisitorSession(CLIENT_ID, client=make) as session:
        with pytest.raises(ConfigurationError, match=r"made with base_url=https://gateway\.example"):
            await session.get(CART)
    assert len(still.calls) == calls
