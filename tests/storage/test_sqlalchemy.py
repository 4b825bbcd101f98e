"""SQLAlchemyStorage on real servers: the contract, and whose connections it touches."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from wixvisitor.storage import TokenStorage
from wixvisitor.storage.sqlalchemy import SQLAlchemyStorage
from wixvisitor.testing import StorageContract

pytestmark = [pytest.mark.anyio, pytest.mark.machine]

PATIENT = 20.0  # seconds; for tests whose subject is not the time


@pytest.fixture
def anyio_backend() -> str:
    """SQLAlchemy is for asyncio only."""
    return "asyncio"


class OnADatabase(StorageContract):
    url: str

    async def make_storage(self, **arguments: Any) -> SQLAlchemyStorage:
        prefix = f"t_{uuid.uuid4().hex}"
        storage = SQLAlchemyStorage(self.url, prefix=prefix, timeout=PATIENT, **arguments)
        self.prefixes = {**getattr(self, "prefixes", {}), storage: prefix}
        await storage.create_table()
        return storage

    async def reopen(self, storage: TokenStorage) -> SQLAlchemyStorage:
        assert isinstance(storage, SQLAlchemyStorage)
        return SQLAlchemyStorage(self.url, prefix=self.prefixes[storage], timeout=PATIENT)

    async def make_expiring(self, seconds: float) -> SQLAlchemyStorage:
        return await self.make_storage(expire_after=seconds)


class TestPostgreSQL(OnADatabase):
    @pytest.fixture(autouse=True, params=["psycopg", "asyncpg"])
    def _url(self, request: pytest.FixtureRequest, postgres: Any) -> None:
        self.url = postgres.url(f"postgresql+{request.param}")


class TestMariaDB(OnADatabase):
    @pytest.fixture(autouse=True)
    def _url(self, mariadb: Any) -> None:
        self.url = mariadb.url("mysql+aiomysql")


class TestSQLite(OnADatabase):
    @pytest.fixture(autouse=True)
    def _url(self, tmp_path: Path) -> None:
        self.url = f"sqlite+aiosqlite:///{tmp_path}/shop.db"
