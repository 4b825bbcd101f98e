"""Fixtures for the tests of the pages."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import respx

from tests.constants import CLIENT_ID
from wixvisitor.cookies import generate_key
from wixvisitor.testing import FakeWix


@pytest.fixture
def loop() -> Iterator[None]:
    """The thread's event loop: Mangum makes one where there is none, as on Lambda, and never closes it."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture
def logs() -> Iterator[None]:
    """Takes back what a page, or Litestar, does to logging in the whole process: levels, and handlers of the root."""
    before = {logger: logger.level for logger in map(logging.getLogger, (None, "wixvisitor"))}
    yield
    for logger, level in before.items():
        logger.setLevel(level)
    root = logging.getLogger()
    for handler in [one for one in root.handlers if not type(one).__module__.startswith("_pytest.")]:
        root.removeHandler(handler)


@pytest.fixture
def wix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loop: None, logs: None) -> Iterator[FakeWix]:
    """Answers calls to Wix's address; the environment and the directory are those that the pages' apps expect."""
    fake = FakeWix()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOP_KEYS", generate_key())
    monkeypatch.setenv("STORE_KEYS", f"{generate_key()},{generate_key()}")
    monkeypatch.setenv("WIX_CLIENT_ID", CLIENT_ID)
    with respx.mock(assert_all_called=False) as router:
        router.route(host="www.wixapis.com").mock(side_effect=respx.ASGIHandler(fake.app))
        router.route(host="127.0.0.1").pass_through()
        yield fake
