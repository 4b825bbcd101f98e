"""What MemoryStorage does beyond the contract."""

from __future__ import annotations

import contextlib
import threading

import anyio
import pytest

from tests.constants import CLIENT_ID
from wixvisitor import AccessToken, RefreshToken, TokenRole, Tokens, VisitorSession
from wixvisitor.storage import ConditionalStorage, LeasingStorage, MemoryStorage, VersionConflict
from wixvisitor.storage.memory import SharedText

pytestmark = pytest.mark.anyio


async def test_offers_everything():
    """It can compare and set, and it has leases."""
    storage = MemoryStorage()
    assert isinstance(storage, ConditionalStorage)
    assert isinstance(storage, LeasingStorage)


async def test_two_objects_are_two_stores():
    """Nothing is shared between two objects."""
    one, two = MemoryStorage(), MemoryStorage()
    await one.save("key", "value")
    await one.acquire_lease("key", "a", 60)
    assert await two.load("key") is None
    assert await two.acquire_lease("key", "b", 60) == 0.0


async def test_repr_counts():
    """The repr says how many visitors there are, and nothing of them."""
    storage = MemoryStorage()
    await storage.save("a key", "JWS.a.classified.c")
    assert repr(storage) == "<MemoryStorage of 1 visitors>"


def test_one_event_loop_after_another():
    """A record and a lease outlive the event loop in which they were made."""
    storage = MemoryStorage()
    anyio.run(storage.save, "key", "value", backend="asyncio")
    anyio.run(storage.acquire_lease, "key", "a", 60.0, backend="trio")
    record = anyio.run(storage.load, "key", backend="trio")
    assert record is not None
    assert record.value == "value"
    assert anyio.run(storage.acquire_lease, "key", "b", 60.0, backend="asyncio") > 0


def test_threads_have_one_winner_a_round():
    """Of eight threads, each with its own event loop, one wins each compare-and-set."""
    storage, rounds = MemoryStorage(), 20
    expected: list[str | None] = [None]
    won: list[str] = []
    barrier = threading.Barrier(8)

    async def save(value: str) -> None:
        with contextlib.suppress(VersionConflict):
            won.append(await storage.save("key", value, expected=expected[0]))

    def contend(number: int) -> None:
        for turn in range(rounds):
            barrier.wait()
            anyio.run(save, f"{number}.{turn}")
            if barrier.wait() == 0:
                expected[0] = won[-1]

    threads = [threading.Thread(target=contend, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == len(set(won)) == rounds


async def test_lease_time_is_the_seconds_left():
    """Who is refused learns how much of the lease is left."""
    storage = MemoryStorage()
    await storage.acquire_lease("key", "a", 60)
    first = await storage.acquire_lease("key", "b", 5)
    await anyio.sleep(0.01)
    assert 59 < await storage.acquire_lease("key", "b", 5) <= first <= 60


async def test_given_back_leases_take_no_memory():
    """A store of many visitors keeps no trace of leases that were given back."""
    storage = MemoryStorage()
    for number in range(100):
        await storage.acquire_lease(str(number), "a", 60)
        await storage.release_lease(str(number), "a")
    assert not storage._leases


async def test_version_conflict_says_why():
    """The conflict's text says what happened, without the value."""
    storage = MemoryStorage()
    await storage.save("key", "first")
    with pytest.raises(VersionConflict, match="another process"):
        await storage.save("key", "second", expected=None)


async def test_the_tokens_of_a_session_in_use_are_in_memory_once() -> None:
    """The record shares the tokens' text with the session that saved it, and reads as it was written."""
    storage = MemoryStorage()
    access, refresh = f"OauthNG.JWS.{'a' * 600}", f"JWS.{'r' * 600}"
    tokens = Tokens(AccessToken(access, 4_000_000_000), RefreshToken(refresh, TokenRole.VISITOR))
    async with VisitorSession(CLIENT_ID, storage=storage, tokens=tokens) as session:
        held = session.get_tokens()
        (kept,) = storage._records.values()
        assert {id(part) for part in kept.parts} >= {id(held.access_token.value), id(held.refresh_token.value)}
        record = await storage.load(f"{CLIENT_ID}:default")
    assert record is not None
    assert Tokens.from_json(record.value) == tokens
    assert type(record.value) is str


@pytest.mark.parametrize("tokens", [("a", "b"), ("b", "a"), ("", "b"), ("a", "x")])
def test_a_text_without_these_tokens_stays_a_text(tokens: tuple[str, ...]) -> None:
    """Only a text that holds the tokens in their order is kept in parts; no text ever changes."""
    shared = SharedText.of("1a2b3", tokens)
    assert shared == "1a2b3"
    assert getattr(shared, "parts", None) == (("1", "a", "2", "b", "3") if tokens == ("a", "b") else None)
