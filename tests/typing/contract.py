"""Checked by mypy and pyright, never run: the public names have the types that users rely on."""

from __future__ import annotations

from typing import assert_type

import httpx
import httpx2
from key_value.aio.protocols import AsyncKeyValue

from wixvisitor import AccessToken, GraphQLResult, RefreshToken, TokenRole, Tokens, VisitorPool, VisitorSession
from wixvisitor.storage import ConditionalStorage, FileStorage, LeasingStorage, MemoryStorage, TokenStorage
from wixvisitor.storage.keyvalue import KeyValueStorage
from wixvisitor.storage.redis import RedisStorage
from wixvisitor.storage.sealed import SealedStorage
from wixvisitor.storage.sqlite import SQLiteStorage

memory: TokenStorage = MemoryStorage()
conditional: ConditionalStorage = MemoryStorage()
leasing: LeasingStorage = MemoryStorage()
file: TokenStorage = FileStorage("visitors/")
file_conditional: ConditionalStorage = FileStorage("visitors/")
file_leasing: LeasingStorage = FileStorage("visitors/")
sqlite_conditional: ConditionalStorage = SQLiteStorage("visitors.db")
sqlite_leasing: LeasingStorage = SQLiteStorage("visitors.db")
redis_conditional: ConditionalStorage = RedisStorage("redis://localhost")
redis_leasing: LeasingStorage = RedisStorage("redis://localhost")
sealed: ConditionalStorage = SealedStorage(FileStorage("visitors/"), keys=["…"])


def bridged(store: AsyncKeyValue) -> TokenStorage:
    """The bridge is the least that counts as a storage."""
    return KeyValueStorage(store)


class TwentyLines:
    """The least adapter: a text in, a text out."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    async def load(self, key: str) -> str | None:
        return self.texts.get(key)

    async def save(self, key: str, value: str) -> None:
        self.texts[key] = value

    async def delete(self, key: str) -> None:
        self.texts.pop(key, None)


least: TokenStorage = TwentyLines()
tokens = Tokens(AccessToken("", 0), RefreshToken("", TokenRole.NONE))


async def users() -> None:
    """What people write."""
    session = VisitorSession("id", storage=least, tokens=tokens, client=httpx2.AsyncClient())
    async with session as entered, session.stream("GET", "/x", params={"a": 1}) as streamed:
        assert_type(entered, VisitorSession)
        assert_type(streamed, httpx.Response)
    assert_type(await session.get("/x"), httpx.Response)
    assert_type(await session.graphql("{ a }"), GraphQLResult)
    assert_type(await session.auth_headers(), dict[str, str])
    assert_type(session.get_tokens(), Tokens)
    httpx.AsyncClient(auth=session.auth)
    httpx2.AsyncClient(auth=session.auth)
    async with VisitorPool("id") as pool:
        assert_type(await pool.session("k"), VisitorSession)
