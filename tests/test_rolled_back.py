"""A store that goes back in time: a failover to a replica that lags, a restored backup (rule 7, GOES BACK)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.constants import CLIENT_ID, LIFETIME, SessionMaker
from tests.stores import FailingStorage, PlainStorage
from wixvisitor import (
    EMPTY_TOKENS,
    ConfigurationError,
    SessionExpired,
    StorageError,
    Tokens,
    VisitorPool,
)
from wixvisitor._renewal.records import render
from wixvisitor.cookies import generate_key
from wixvisitor.storage import ANY_VERSION, AnyVersion, FileStorage, MemoryStorage, Record, TokenStorage
from wixvisitor.storage.sealed import SealedStorage
from wixvisitor.storage.sqlite import SQLiteStorage
from wixvisitor.testing import FakeWix

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_backoff")]
KEY = f"{CLIENT_ID}:default"


@pytest.fixture(params=["memory", "a directory", "a file", "sqlite", "sealed", "plain"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> TokenStorage:
    kinds: dict[str, Callable[[], Any]] = {
        "memory": MemoryStorage,
        "a directory": lambda: FileStorage(tmp_path / "visitors/"),
        "a file": lambda: FileStorage(tmp_path / "visitor.json"),
        "sqlite": lambda: SQLiteStorage(tmp_path / "visitors.db"),
        "sealed": lambda: SealedStorage(MemoryStorage(), keys=[generate_key()]),
        "plain": PlainStorage,
    }
    made: TokenStorage = kinds[request.param]()
    return made


async def _text(storage: TokenStorage) -> str:
    record = await storage.load(KEY)
    assert record is not None
    return record.value if isinstance(record, Record) else record


def _pool(still: FakeWix, storage: TokenStorage) -> VisitorPool:
    return VisitorPool(CLIENT_ID, client=still.client(), clock=still.now, storage=storage)


async def test_a_member_stays_logged_in(
    still: FakeWix, session_of: SessionMaker, storage: TokenStorage, member: Tokens
) -> None:
    """The store has the visitor again whom the member was before: the member stays, and is saved again."""
    session = session_of(storage=storage)
    await session.generate_visitor_tokens()
    before = await _text(storage)
    await session.set_tokens(member)
    await storage.save(KEY, before)
    still.advance(LIFETIME + 1)
    await session.auth_headers()
    assert session.get_tokens().refresh_token == member.refresh_token
    async with session_of(storage=storage) as restarted:
        assert restarted.get_tokens() == session.get_tokens()


async def test_who_replaced_a_visitor_stays(still: FakeWix, session_of: SessionMaker, storage: TokenStorage) -> None:
    """The store has the refused visitor again: the one who took its place stays."""
    session = session_of(storage=storage)
    first = await session.generate_visitor_tokens()
    before = await _text(storage)
    still.advance(LIFETIME + 1)
    still.refuse_refresh_token(first.refresh_token.value)
    second = await session.generate_visitor_tokens()
    await storage.save(KEY, before)
    still.advance(LIFETIME + 1)
    assert (await session.generate_visitor_tokens()).refresh_token == second.refresh_token
    assert len(still.visitors) == 2


async def test_a_rotated_token_is_not_lost(still: FakeWix, session_of: SessionMaker, storage: TokenStorage) -> None:
    """Refresh tokens work once, and the store has a spent one: the one in memory is tried first."""
    still.one_time_refresh_tokens = True
    session = session_of(storage=storage)
    await session.generate_visitor_tokens()
    before = await _text(storage)
    for _ in range(2):
        still.advance(LIFETIME + 1)
        await session.generate_visitor_tokens()
        await storage.save(KEY, before)
    still.advance(LIFETIME + 1)
    still.reset_calls()
    await session.generate_visitor_tokens()
    assert len(still.token_calls()) == 1
    assert len(still.visitors) == 1


async def test_the_stores_token_is_tried_as_well(
    still: FakeWix, session_of: SessionMaker, storage: TokenStorage
) -> None:
    """The later state's token is refused, and the store's older one works: nobody is replaced."""
    still.rotate_refresh_tokens = True
    session = session_of(storage=storage)
    first = await session.generate_visitor_tokens()
    before = await _text(storage)
    still.advance(LIFETIME + 1)
    second = await session.generate_visitor_tokens()
    assert first.refresh_token != second.refresh_token
    await storage.save(KEY, before)
    still.refuse_refresh_token(second.refresh_token.value)
    still.advance(LIFETIME + 1)
    await session.generate_visitor_tokens()
    assert len(still.visitors) == 1


async def test_a_refused_member_is_not_logged_out_silently(
    still: FakeWix, session_of: SessionMaker, storage: TokenStorage, member: Tokens
) -> None:
    """The member is refused, and the store has the visitor from before the login: the member is told."""
    session = session_of(storage=storage)
    await session.generate_visitor_tokens()
    before = await _text(storage)
    await session.set_tokens(member)
    await storage.save(KEY, before)
    still.refuse_refresh_token(member.refresh_token.value)
    still.advance(LIFETIME + 1)
    with pytest.raises(SessionExpired):
        await session.auth_headers()


async def test_a_login_after_it_wins(
    still: FakeWix, session_of: SessionMaker, storage: TokenStorage, member: Tokens, visitor: Tokens
) -> None:
    """Another process logs in after the store went back: whoever holds what was before takes that over."""
    holds_more, logs_in = session_of(storage=storage), session_of(storage=storage)
    await holds_more.generate_visitor_tokens()
    before = await _text(storage)
    await holds_more.set_tokens(visitor)
    await storage.save(KEY, before)
    still.advance(60)
    await logs_in.set_tokens(member)
    still.advance(LIFETIME + 1)
    await holds_more.auth_headers()
    assert holds_more.get_tokens().refresh_token == member.refresh_token
    assert member.refresh_token.value in await _text(storage)


async def test_two_processes_agree(still: FakeWix, session_of: SessionMaker, storage: TokenStorage) -> None:
    """A process that started on the older record takes the later one over, once that is saved again."""
    one = session_of(storage=storage)
    first = await one.generate_visitor_tokens()
    before = await _text(storage)
    still.refuse_refresh_token(first.refresh_token.value)
    still.advance(LIFETIME + 1)
    await one.generate_visitor_tokens()
    await storage.save(KEY, before)
    other = await session_of(storage=storage).__aenter__()
    still.advance(LIFETIME + 1)
    await one.generate_visitor_tokens()
    await other.generate_visitor_tokens()
    assert other.get_tokens() == one.get_tokens()
    assert len(still.visitors) == 2


async def test_a_record_that_is_gone_is_saved_again(
    still: FakeWix, session_of: SessionMaker, storage: TokenStorage
) -> None:
    """The store is back before the visitor was first saved: whoever holds it saves it again."""
    session = session_of(storage=storage)
    first = await session.generate_visitor_tokens()
    await storage.delete(KEY)
    still.advance(LIFETIME + 1)
    await session.generate_visitor_tokens()
    async with session_of(storage=storage) as restarted:
        assert restarted.get_tokens().refresh_token == first.refresh_token
    assert len(still.visitors) == 1


@pytest.mark.parametrize("storage", ["memory", "a directory", "a file", "sqlite", "sealed"], indirect=True)
async def test_who_was_forgotten_elsewhere(
    still: FakeWix, session_of: SessionMaker, storage: TokenStorage, member: Tokens
) -> None:
    """Another process forgets a member: whoever still holds the tokens does not save them again, but starts anew."""
    holds = session_of(storage=storage)
    await holds.set_tokens(member)
    await _pool(still, storage).forget("default")
    assert "JWS" not in await _text(storage)
    still.advance(LIFETIME + 1)
    await holds.auth_headers()
    assert not holds.logged_in()
    async with session_of(storage=storage) as restarted:
        assert restarted.get_tokens() == holds.get_tokens()


@pytest.mark.parametrize("storage", ["memory", "a directory", "a file", "sqlite", "sealed"], indirect=True)
async def test_who_was_forgotten_does_not_come_back(still: FakeWix, storage: TokenStorage, member: Tokens) -> None:
    """The store goes back to before ``forget``: a session that is alive since then knows it."""
    pool = _pool(still, storage)
    session = await pool.session("default")
    await session.set_tokens(member)
    before = await _text(storage)
    await pool.forget("default")
    await storage.save(KEY, before)
    assert await pool.session("default") is session
    assert session.get_tokens() == EMPTY_TOKENS
    await session.auth_headers()
    assert not session.logged_in()


@pytest.mark.parametrize("storage", ["memory", "sqlite"], indirect=True)
async def test_a_renewal_finds_nobody_any_more(
    still: FakeWix, session_of: SessionMaker, storage: TokenStorage, visitor: Tokens
) -> None:
    """``renew_token`` after ``forget`` in another process says that there is nobody, and what is held is gone."""
    holds = session_of(storage=storage)
    await holds.set_tokens(visitor)
    await _pool(still, storage).forget("default")
    with pytest.raises(ConfigurationError, match="no refresh token"):
        await holds.renew_token()
    assert holds.get_tokens() == EMPTY_TOKENS
    assert not still.token_calls()


async def test_a_record_without_numbers_wins(
    still: FakeWix, session_of: SessionMaker, storage: TokenStorage, member: Tokens
) -> None:
    """An earlier release saved a login: its record has no numbers, and counts."""
    session = session_of(storage=storage)
    await session.generate_visitor_tokens()
    await storage.save(KEY, render(member, CLIENT_ID))
    still.advance(LIFETIME + 1)
    await session.auth_headers()
    assert session.get_tokens().refresh_token == member.refresh_token
    assert json.loads(await _text(storage))["number"] > 0


@pytest.mark.parametrize(
    "damage",
    [
        {"number": "1"},
        {"number": -1},
        {"number": True},
        {"number": 2**53},
        {"identity": None},
        {"renewals": 1.5},
        {"renewals": []},
    ],
)
async def test_numbers_that_are_none(session_of: SessionMaker, damage: dict[str, Any], member: Tokens) -> None:
    """A record whose numbers cannot be read counts as one without."""
    storage = MemoryStorage()
    session = session_of(storage=storage)
    await session.generate_visitor_tokens()
    content = json.loads(await _text(storage)) | json.loads(member.to_json()) | damage
    await storage.save(KEY, json.dumps(content))
    await session.renew_token()
    assert session.get_tokens().refresh_token == member.refresh_token


async def test_a_number_from_a_clock_ahead(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, member: Tokens
) -> None:
    """A machine whose clock is ahead saved a large number: what is set on it counts all the same."""
    storage = MemoryStorage()
    ahead = session_of(storage=storage, clock=lambda: still.now() + 10**7)
    right = session_of(storage=storage)
    await ahead.set_tokens(visitor)
    await right.set_tokens(member)
    await ahead.renew_token()
    assert ahead.get_tokens().refresh_token == member.refresh_token


async def test_what_could_not_be_saved_takes_no_part(
    session_of: SessionMaker, still: FakeWix, visitor: Tokens, member: Tokens
) -> None:
    """A login that the store refused does not win over what another process saved since."""
    storage = FailingStorage()
    fails, saves = session_of(storage=storage), session_of(storage=storage)
    await fails.generate_visitor_tokens()
    await saves.generate_visitor_tokens()
    storage.fails = True
    with pytest.raises(StorageError):
        await fails.set_tokens(visitor)
    storage.fails = False
    still.advance(-60)  # by its clock the other one is earlier
    await saves.set_tokens(member)
    await fails.auth_headers()
    assert fails.get_tokens() == member


async def test_a_save_meets_a_store_that_goes_back(session_of: SessionMaker, still: FakeWix) -> None:
    """The store goes back between a renewal's look at it and its save: the renewal is saved all the same."""
    still.one_time_refresh_tokens = True

    class GoesBack(MemoryStorage):
        to = ""

        async def save(self, key: str, value: str, *, expected: str | AnyVersion | None = ANY_VERSION) -> str:
            if self.to and expected is not ANY_VERSION:
                to, self.to = self.to, ""
                await super().save(key, to)
            return await super().save(key, value, expected=expected)

    storage = GoesBack()
    session = session_of(storage=storage)
    await session.generate_visitor_tokens()
    before = await _text(storage)
    await session.renew_token()
    storage.to = before
    renewed = await session.renew_token()
    assert renewed.refresh_token.value in await _text(storage)
    await session.renew_token()
    assert len(still.visitors) == 1
