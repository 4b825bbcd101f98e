"""What could not be saved at once, and states that were refused, while the store changes or goes back in time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.constants import CLIENT_ID, SessionMaker
from wixvisitor import EMPTY_TOKENS, StorageError, TokenRole, Tokens, VisitorSession
from wixvisitor.storage import ANY_VERSION, AnyVersion, MemoryStorage, Record, VersionConflict
from wixvisitor.testing import FakeWix

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_backoff")]
KEY = f"{CLIENT_ID}:default"


class Troubled(MemoryStorage):
    """Fails, loses races and meets others as it is told.

    Attributes:
        is_away: whether every call fails.
        loses: how many saves find another version.
        load_fails: how many loads fail after such a save.
        meanwhile: what happens once, right after a load.
    """

    is_away = False
    loses = load_fails = 0
    meanwhile: Callable[[], Any] | None = None

    async def load(self, key: str) -> Record | None:
        self._check()
        if self.load_fails and not self.loses:
            self.load_fails -= 1
            raise OSError("the store is away")
        record = await super().load(key)
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return record

    async def save(
        self, key: str, value: str, *, expected: str | AnyVersion | None = ANY_VERSION, keep_for: float | None = None
    ) -> str:
        self._check()
        if self.loses:
            self.loses -= 1
            raise VersionConflict("somebody else was faster")
        return await super().save(key, value, expected=expected, keep_for=keep_for)

    def _check(self) -> None:
        if self.is_away:
            raise OSError("the store is away")


class Plain:
    """The same without versions."""

    def __init__(self) -> None:
        self._store = Troubled()

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._store, name, value) if name != "_store" else object.__setattr__(self, name, value)

    async def load(self, key: str) -> str | None:
        record = await self._store.load(key)
        return None if record is None else record.value

    async def save(self, key: str, value: str) -> None:
        await self._store.save(key, value)

    async def delete(self, key: str) -> None:
        await self._store.delete(key)


@pytest.fixture(params=[Troubled, Plain], ids=["with versions", "plain"])
def storage(request: pytest.FixtureRequest) -> Any:
    return request.param()


@pytest.fixture
def another_member(still: FakeWix, tokens_from: Callable[..., Tokens]) -> Callable[[], Tokens]:
    """Returns a member who logs in now."""
    return lambda: tokens_from(still.mint_member(CLIENT_ID), TokenRole.MEMBER)


async def fails_to_log_in(session: VisitorSession, storage: Any, member: Tokens) -> None:
    """A login that finds no store, which is back afterwards."""
    storage.is_away = True
    with pytest.raises(StorageError):
        await session.set_tokens(member)
    storage.is_away = False


async def test_a_login_while_the_store_is_away(
    still: FakeWix,
    session_of: SessionMaker,
    storage: Any,
    member: Tokens,
    another_member: Callable[[], Tokens],
) -> None:
    """A login that found no store does not overwrite, an hour later, what another process saved meanwhile."""
    late, other = session_of(storage=storage), session_of(storage=storage)
    await late.generate_visitor_tokens()
    await other.generate_visitor_tokens()
    await fails_to_log_in(late, storage, member)
    still.advance(60)
    newer = another_member()
    await other.set_tokens(newer)
    still.advance(3_600)
    await late.auth_headers()
    assert late.get_tokens().refresh_token == newer.refresh_token
    assert (await session_of(storage=storage).generate_visitor_tokens()).refresh_token == newer.refresh_token


async def test_a_late_login_is_saved(session_of: SessionMaker, still: FakeWix, storage: Any, member: Tokens) -> None:
    """A login that found no store is saved at the session's next use, if nothing was saved since."""
    session = session_of(storage=storage)
    await session.generate_visitor_tokens()
    await fails_to_log_in(session, storage, member)
    still.advance(3_600)
    await session.auth_headers()
    assert (await session_of(storage=storage).generate_visitor_tokens()).refresh_token == member.refresh_token


async def test_a_late_login_meets_a_newer_one(
    still: FakeWix, session_of: SessionMaker, member: Tokens, another_member: Callable[[], Tokens]
) -> None:
    """Another process logs in after the late save has looked at the record and before it is written."""
    storage = Troubled()
    late, other = session_of(storage=storage), session_of(storage=storage)
    await late.generate_visitor_tokens()
    await other.generate_visitor_tokens()
    await fails_to_log_in(late, storage, member)
    still.advance(3_600)
    newer = another_member()
    storage.meanwhile = lambda: other.set_tokens(newer)
    await late.auth_headers()
    assert late.get_tokens().refresh_token == newer.refresh_token
    assert (await session_of(storage=storage).generate_visitor_tokens()).refresh_token == newer.refresh_token


async def test_a_late_login_over_a_store_that_went_back(
    still: FakeWix, session_of: SessionMaker, member: Tokens, another_member: Callable[[], Tokens]
) -> None:
    """The store goes back to what a late login waited for: it is saved, and gives way to the later login again."""
    storage = Troubled()
    late, other = session_of(storage=storage), session_of(storage=storage)
    await late.generate_visitor_tokens()
    await other.generate_visitor_tokens()
    before = await storage.load(KEY)
    assert before is not None
    await fails_to_log_in(late, storage, member)
    still.advance(60)
    newer = another_member()
    await other.set_tokens(newer)
    await storage.save(KEY, before.value)
    still.advance(60)
    await late.auth_headers()
    await other.renew_token()
    await late.renew_token()
    assert late.get_tokens().refresh_token == other.get_tokens().refresh_token == newer.refresh_token


async def test_a_rotated_token_whose_save_lost_to_nobody(session_of: SessionMaker, still: FakeWix) -> None:
    """A save meets another version, and the record cannot be read: the new refresh token is kept, and saved later."""
    still.one_time_refresh_tokens = True
    storage = Troubled()
    session = session_of(storage=storage)
    await session.generate_visitor_tokens()
    storage.loses = storage.load_fails = 1
    with pytest.raises(StorageError):
        await session.renew_token()
    await session.renew_token()
    await session.renew_token()
    assert len(still.visitors) == 1


async def test_two_refused_states(still: FakeWix, session_of: SessionMaker, storage: Any) -> None:
    """What is held is refused, and what the store went back to as well: each is asked for once, then one is made."""
    still.one_time_refresh_tokens = True
    session = session_of(storage=storage)
    await session.generate_visitor_tokens()
    before = await storage.load(KEY)
    latest = await session.renew_token()
    await storage.save(KEY, getattr(before, "value", before))
    still.refuse_refresh_token(latest.refresh_token.value)
    still.advance(5 * 3_600)
    still.reset_calls()
    await session.generate_visitor_tokens()
    assert (len(still.token_calls()), len(still.visitors)) == (3, 2)


async def test_a_logout_and_a_store_that_went_back(
    still: FakeWix, session_of: SessionMaker, storage: Any, member: Tokens
) -> None:
    """Who was logged out by this session does not come back with an older record."""
    session = session_of(storage=storage)
    await session.set_tokens(member)
    before = await storage.load(KEY)
    await session.set_tokens(EMPTY_TOKENS)
    await storage.save(KEY, getattr(before, "value", before))
    still.advance(60)
    await session.auth_headers()
    assert session.get_tokens().refresh_token.role is TokenRole.VISITOR
    fresh = session_of(storage=storage)
    await fresh.generate_visitor_tokens()
    assert fresh.get_tokens().refresh_token == session.get_tokens().refresh_token
