"""Seeds: the same ``tokens=`` at every start, beside a storage, as bots do with an environment variable."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.constants import LIFETIME, SessionMaker
from tests.stores import FailingStorage, PlainStorage, TroubledStorage
from wixvisitor import AccessToken, RefreshToken, StorageError, Tokens
from wixvisitor.storage import FileStorage, MemoryStorage, TokenStorage
from wixvisitor.storage.sqlite import SQLiteStorage
from wixvisitor.testing import FakeWix

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "file", "sqlite", "plain"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> TokenStorage:
    kinds: dict[str, Callable[[], Any]] = {
        "memory": MemoryStorage,
        "file": lambda: FileStorage(tmp_path / "visitors/"),
        "sqlite": lambda: SQLiteStorage(tmp_path / "visitors.db"),
        "plain": PlainStorage,
    }
    made: TokenStorage = kinds[request.param]()
    return made


async def _start(session_of: SessionMaker, storage: TokenStorage, seed: Tokens | None) -> Tokens:
    async with session_of(tokens=seed, storage=storage) as session:
        return await session.generate_visitor_tokens()


async def test_a_dead_seed_makes_one_visitor(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, storage: TokenStorage
) -> None:
    """The seed is dead: the first start replaces it, and each later one goes on as whom the store has."""
    await _start(session_of, storage, visitor)
    still.refuse_refresh_token(visitor.refresh_token.value)
    starts = []
    for _ in range(4):
        still.advance(LIFETIME + 1)
        starts.append((await _start(session_of, storage, visitor)).refresh_token)
    assert len(set(starts)) == 1
    assert len(still.visitors) == 2


async def test_a_login_survives_restarts_with_a_seed(
    still: FakeWix, session_of: SessionMaker, visitor: Tokens, member: Tokens, storage: TokenStorage
) -> None:
    """A member who logged in after the first start is still logged in after the next one."""
    await _start(session_of, storage, visitor)
    async with session_of(tokens=visitor, storage=storage) as session:
        await session.set_tokens(member)
    assert (await _start(session_of, storage, visitor)).refresh_token == member.refresh_token


async def test_another_seed_is_adopted(
    still: FakeWix,
    session_of: SessionMaker,
    visitor: Tokens,
    member: Tokens,
    storage: TokenStorage,
) -> None:
    """A seed that the record has not had wins over what is stored, once; the first one again changes nothing."""
    await _start(session_of, storage, visitor)
    assert (await _start(session_of, storage, member)).refresh_token == member.refresh_token
    assert (await _start(session_of, storage, visitor)).refresh_token == member.refresh_token
    assert (await _start(session_of, storage, None)).refresh_token == member.refresh_token


async def test_the_last_eight_are_remembered(still: FakeWix, session_of: SessionMaker, client_id: str) -> None:
    """A record remembers eight seeds, as hashes, through renewals and sets; the ninth drops the first."""
    storage = MemoryStorage()

    def seed(number: int) -> Tokens:
        return Tokens(
            AccessToken(f"access-{number}", int(still.now()) + 10**6), RefreshToken(f"refresh-{number}", "visitor")
        )

    for number in range(9):
        await _start(session_of, storage, seed(number))
    record = await storage.load(f"{client_id}:default")
    assert record is not None
    assert len(json.loads(record.value)["seeds"]) == 8
    assert "refresh-7" not in record.value
    assert (await _start(session_of, storage, seed(1))).refresh_token.value == "refresh-8"
    assert (await _start(session_of, storage, seed(0))).refresh_token.value == "refresh-0"


async def test_a_record_of_an_earlier_release(session_of: SessionMaker, visitor: Tokens, client_id: str) -> None:
    """A record without seeds is read as ever, and a seed beside it is adopted."""
    storage = MemoryStorage()
    text = json.dumps({"format": 1, "clientId": client_id, **visitor.to_dict()})
    await storage.save(f"{client_id}:default", text)
    assert await _start(session_of, storage, None) == visitor
    other = Tokens(AccessToken("access", 9_999_999_999), RefreshToken("refresh", "visitor"))
    assert (await _start(session_of, storage, other)).refresh_token == other.refresh_token


async def test_what_cannot_be_read_is_not_replaced(session_of: SessionMaker, member: Tokens) -> None:
    """While the record cannot be read ``set_tokens`` fails, and the next use saves them."""
    storage = TroubledStorage(load=StorageError("not now"))
    session = session_of(storage=storage)
    with pytest.raises(StorageError, match="not now"):
        await session.set_tokens(member)
    assert session.get_tokens() == member
    storage.before.clear()
    await session.generate_visitor_tokens()
    assert await _start(session_of, storage, None) == member


async def test_what_is_saved_late_remembers_seeds(session_of: SessionMaker, visitor: Tokens, member: Tokens) -> None:
    """A ``set_tokens`` that is saved by the next use keeps the record's seeds."""
    storage = FailingStorage()
    async with session_of(tokens=visitor, storage=storage) as session:
        storage.fails = True
        with pytest.raises(StorageError):
            await session.set_tokens(member)
        storage.fails = False
        await session.generate_visitor_tokens()
    assert (await _start(session_of, storage, visitor)).refresh_token == member.refresh_token


async def test_a_known_seed_costs_one_read(session_of: SessionMaker, visitor: Tokens) -> None:
    """A restart with a seed that the record has had asks the store once."""
    storage = TroubledStorage()
    await _start(session_of, storage, visitor)
    storage.calls.clear()
    assert await _start(session_of, storage, visitor) == visitor
    assert storage.called("load") == 1
