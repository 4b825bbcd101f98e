"""Fixtures for all tests: both event loops, a moved clock, a stand-in for Wix."""

from __future__ import annotations

from types import ModuleType

import httpx
import httpx2
import pytest

from wixvisitor.testing import FakeWix

CLIENT_ID = "5e9c1d0a-7c1e-4a52-9d5e-1f2a3b4c5d6e"


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def client_id() -> str:
    return CLIENT_ID


@pytest.fixture
def fake() -> FakeWix:
    return FakeWix()


@pytest.fixture(params=[httpx, httpx2], ids=["httpx", "httpx2"])
def family(request: pytest.FixtureRequest) -> ModuleType:
    module: ModuleType = request.param
    return module
