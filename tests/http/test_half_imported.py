"""Another thread imports a module at this very moment: it is in ``sys.modules``, and most of it is missing."""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import httpx
import pytest

from tests.constants import SessionMaker
from wixvisitor._http.compat import family_of, family_of_request
from wixvisitor.storage.sqlite import SQLiteStorage
from wixvisitor.testing import FakeWix


@pytest.fixture
def half(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts half a module of this name in place of the whole one."""

    def put(name: str) -> None:
        module = ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        module.__spec__._initializing = True
        monkeypatch.setitem(sys.modules, name, module)

    return put


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_asyncio(
    half: Callable[[str], None], still: FakeWix, session_of: SessionMaker, tmp_path: Any, anyio_backend: str
) -> None:
    """A session on trio goes on while another thread imports asyncio."""
    storage = SQLiteStorage(tmp_path / "visitors.db")
    session = session_of(storage=storage)
    half("asyncio")
    await session.auth_headers()
    await storage.aclose()
    assert len(still.visitors) == 1


def test_httpx2(half: Callable[[str], None]) -> None:
    """An httpx client is one while another thread imports httpx2."""
    half("httpx2")
    assert family_of(httpx.AsyncClient()) is httpx
    assert family_of_request(httpx.Request("GET", "https://example.com")) is httpx
