"""Checked by mypy and pyright, never run: the public names have the types that users rely on."""

from __future__ import annotations

from typing import assert_type

import httpx
import httpx2
from aiohttp import web
from fastapi import FastAPI
from fastapi.requests import HTTPConnection
from key_value.aio.protocols import AsyncKeyValue
from sqlalchemy import MetaData

from wixvisitor import AccessToken, GraphQLResult, RefreshToken, TokenRole, Tokens, VisitorPool, VisitorSession
from wixvisitor import aiohttp as for_aiohttp
from wixvisitor import asgi as for_asgi
from wixvisitor import fastapi as for_fastapi
from wixvisitor.asgi import CATALOG_PATHS, CatalogReader
from wixvisitor.fastapi import CatalogVisitor, CurrentMember, CurrentVisitor
from wixvisitor.members import MemberLogin
from wixvisitor.storage import (
    ConditionalStorage,
    FileStorage,
    LeasingStorage,
    ListingStorage,
    MemoryStorage,
    TokenStorage,
)
from wixvisitor.storage.keyvalue import KeyValueStorage
from wixvisitor.storage.moving import Copied, MovingStorage, copy
from wixvisitor.storage.redis import RedisStorage
from wixvisitor.storage.sealed import SealedStorage
from wixvisitor.storage.sqlalchemy import SQLAlchemyStorage, add_tables
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


async def handler(catalog: CatalogVisitor, visitor: CurrentVisitor) -> None:
    """What a handler of FastAPI gets: two visitors of two kinds."""
    assert_type(catalog, CatalogReader)
    assert_type(visitor, VisitorSession)
    assert_type(await catalog.get("/stores/v3/products", params={"a": 1}, timeout=5), httpx.Response)
    assert_type(await catalog.post("/stores/v3/products/query", json={}), httpx.Response)
    assert_type(await catalog.request("GET", "/stores/v3/products"), httpx.Response)
    assert_type(await catalog.graphql("{ a }", {"b": 1}), GraphQLResult)
    async with catalog.stream("GET", "/stores/v3/products") as streamed:
        assert_type(streamed, httpx.Response)


async def catalogues(scope: dict[str, object], connection: HTTPConnection, request: web.Request) -> None:
    """The catalogue's visitor in each framework, and where the paths are said."""
    assert_type(await for_asgi.get_catalog_visitor(scope), CatalogReader)
    assert_type(await for_fastapi.get_catalog_visitor(connection), CatalogReader)
    assert_type(await for_aiohttp.get_catalog_visitor(request), CatalogReader)
    assert_type(CATALOG_PATHS, tuple[str, ...])
    for_fastapi.setup(FastAPI(), VisitorPool("id"), catalog_paths=[*CATALOG_PATHS, "/more/"])
    for_aiohttp.setup(web.Application(), VisitorPool("id"), catalog_paths=("/more/",))


async def members(scope: dict[str, object], connection: HTTPConnection, request: web.Request) -> None:
    """A member in each framework, and the routes of logins."""

    async def on_login(member: VisitorSession, login: MemberLogin) -> None:
        assert_type(login.previous, Tokens)
        await member.set_tokens(login.previous)

    uri = "https://shop.example/auth/callback"
    assert_type(await for_asgi.get_member(scope, login=None), VisitorSession)
    assert_type(await for_fastapi.get_member(connection), VisitorSession)
    assert_type(await for_aiohttp.get_member(request), VisitorSession)
    FastAPI().include_router(for_fastapi.login_router(uri, on_login=on_login))
    web.Application().add_routes(for_aiohttp.login_router(uri, forms=True, login_page="/sign-in"))
    FastAPI().mount("/auth", for_asgi.login_router(uri, keys=["…"]))


async def account(member: CurrentMember) -> None:
    """What a handler of FastAPI gets that needs a member."""
    assert_type(member, VisitorSession)


database: TokenStorage = SQLAlchemyStorage("postgresql+psycopg://localhost/shop")
database_conditional: ConditionalStorage = SQLAlchemyStorage("postgresql+psycopg://localhost/shop")
database_leasing: LeasingStorage = SQLAlchemyStorage("postgresql+psycopg://localhost/shop")
listing: tuple[ListingStorage, ...] = (
    MemoryStorage(),
    FileStorage("visitors/"),
    SQLiteStorage("visitors.db"),
    RedisStorage("redis://localhost"),
    SQLAlchemyStorage("postgresql+psycopg://localhost/shop"),
)
moving_conditional: ConditionalStorage = MovingStorage(MemoryStorage(), MemoryStorage())
add_tables(MetaData(), prefix="shop", schema=None)


async def copies() -> None:
    """The numbers of a copy."""
    assert_type(await copy(MemoryStorage(), database_conditional), Copied)
    assert_type([key async for key in SQLiteStorage("visitors.db").keys()], list[str])  # noqa: SIM118
