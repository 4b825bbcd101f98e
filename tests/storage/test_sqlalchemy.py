"""SQLAlchemyStorage on real servers: the contract, and whose connections it touches."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.constants import IN_CI
from tests.storage.conftest import Proxy
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
    gate: Proxy | None = None

    async def make_storage(self, **arguments: Any) -> SQLAlchemyStorage:
        self.prefix = f"t_{uuid.uuid4().hex}"
        storage = SQLAlchemyStorage(self.url, prefix=self.prefix, timeout=PATIENT, **arguments)
        await storage.create_table()
        return storage

    async def reopen(self, storage: TokenStorage) -> SQLAlchemyStorage:
        return SQLAlchemyStorage(self.url, prefix=self.prefix, timeout=PATIENT)

    async def make_expiring(self, seconds: float) -> SQLAlchemyStorage:
        return await self.make_storage(expire_after=seconds)

    async def lose_next_reply(self, storage: TokenStorage) -> bool:
        if self.gate is not None:
            self.gate.lose_replies()
        return self.gate is not None


class TestPostgreSQL(OnADatabase):
    @pytest.fixture(autouse=True, params=["psycopg", "asyncpg"] if IN_CI else ["psycopg"])
    def _url(self, request: pytest.FixtureRequest, postgres: Any, proxy: Callable[..., Proxy]) -> None:
        self.gate = proxy(postgres.port)
        self.url = postgres.url(f"postgresql+{request.param}", self.gate.port)


class TestMariaDB(OnADatabase):
    @pytest.fixture(autouse=True)
    def _url(self, mariadb: Any, proxy: Callable[..., Proxy]) -> None:
        self.gate = proxy(mariadb.port)
        self.url = mariadb.url("mysql+asyncmy", self.gate.port)


class TestSQLite(OnADatabase):
    @pytest.fixture(autouse=True)
    def _url(self, tmp_path: Path) -> None:
        self.url = f"sqlite+aiosqlite:///{tmp_path}/shop.db"
