from collections.abc import AsyncGenerator
from types import ModuleType
from typing import Any

import httpx
import pytest

from wixvisitor.testing import FakeWix


@pytest.fixture(params=["in process", "loopback"])
async def client(
    request: pytest.FixtureRequest, fake: FakeWix, family: ModuleType, anyio_backend: str
) -> AsyncGenerator[Any]:
    """A client of each family at each door."""
    if request.param == "in process":
        async with fake.client(family, timeout=5.0) as client:
            yield client
    else:
        async with fake.serve() as base_url, family.AsyncClient(base_url=base_url, timeout=5.0) as client:
            yield client


@pytest.fixture
async def wix(fake: FakeWix, anyio_backend: str) -> AsyncGenerator[httpx.AsyncClient]:
    """A client in process, for what does not depend on the door."""
    async with fake.client() as client:
        yield client
