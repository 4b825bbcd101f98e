"""Older tokens of the same visitor, given again and again: the newer ones stay, and Wix is not asked."""

from __future__ import annotations

import pytest

from tests.constants import LIFETIME, SessionMaker
from wixvisitor import AccessToken, RefreshToken, Tokens
from wixvisitor._renewal.decision import is_older_copy
from wixvisitor.storage import MemoryStorage
from wixvisitor.testing import FakeWix

pytestmark = pytest.mark.anyio


async def test_given_again_and_again(still: FakeWix, session_of: SessionMaker) -> None:
    """Ten calls with an old copy make no token call, and change nobody."""
    session = session_of()
    old = await session.generate_visitor_tokens()
    still.advance(LIFETIME + 1)
    new = await session.generate_visitor_tokens()
    still.reset_calls()
    for _ in range(10):
        assert await session.generate_visitor_tokens(old) == new
    assert not still.token_calls()


async def test_at_a_restart(still: FakeWix, session_of: SessionMaker) -> None:
    """An old copy as ``tokens=``, or with the first call, does not take the place of what the store has."""
    storage = MemoryStorage()
    session = session_of(storage=storage)
    old = await session.generate_visitor_tokens()
    still.advance(LIFETIME + 1)
    new = await session.generate_visitor_tokens()
    still.reset_calls()
    async with session_of(storage=storage, tokens=old) as restarted:
        assert restarted.get_tokens() == new
    assert await session_of(storage=storage).generate_visitor_tokens(old) == new
    assert not still.token_calls()


async def test_somebody_else(still: FakeWix, session_of: SessionMaker, visitor: Tokens, member: Tokens) -> None:
    """Another visitor's tokens, and a member's, are adopted, however old they are."""
    session = session_of()
    still.advance(100)
    await session.generate_visitor_tokens()
    assert await session.generate_visitor_tokens(visitor) == visitor
    assert await session.generate_visitor_tokens(member) == member


async def test_what_does_not_tell(visitor: Tokens) -> None:
    """Tokens whose shape is not known are no older copies."""
    unknown = Tokens(AccessToken("opaque", 1), RefreshToken("opaque", visitor.refresh_token.role))
    assert not is_older_copy(unknown, visitor)
    assert not is_older_copy(visitor, unknown)
    assert not is_older_copy(visitor, visitor)
