"""A process without a descriptor left: calls end with typed errors; with descriptors again the same session works."""

from __future__ import annotations

import sys

import pytest

from tests.constants import LIFETIME
from tests.faults.conftest import Open
from wixvisitor.testing import FakeWix

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.faults,
    pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX limits"),
    pytest.mark.parametrize(
        ("store", "backend"),
        [
            ("memory", "asyncio"),
            ("memory", "trio"),
            ("file", "asyncio"),
            ("file", "trio"),
            ("sqlite", "asyncio"),
            ("sqlite", "trio"),
            ("redis", "asyncio"),
        ],
    ),
]

OURS = {"StorageError", "TokenRequestError"}


@pytest.mark.parametrize("is_open", [True, False], ids=["has a client", "has done nothing yet"])
async def test_exhausted_before_the_first_request(
    still: FakeWix, told: Open, store: str, backend: str, *, is_open: bool
) -> None:
    """A process that can open nothing, not even the code that it has not needed yet, mints nobody.

    When it can, it does so once, with the same session.
    """
    async with still.serve() as url:
        child = await told(url, store, backend=backend)
        if is_open:
            await child.do("open")
        await child.do("do_without", what="no descriptors")
        ended = await child.do("ask", now=still.now(), callers=50)
        assert ended.total() == 50
        assert set(ended) <= ({*OURS} if is_open else {*OURS, "ConnectError"}), ended  # ConnectError: no certificates
        assert not still.calls
        await child.do("have_again")
        await child.recovers(still.now())
    assert len(still.visitors) == len(still.token_calls()) == 1


@pytest.mark.parametrize("hangs_up", [True, False], ids=["no connection", "a connection"])
async def test_exhausted_at_expiry(still: FakeWix, told: Open, store: str, backend: str, *, hangs_up: bool) -> None:
    """A renewal that can open nothing costs no visitor, whether or not it has a connection to Wix."""
    async with still.serve() as url:
        child = await told(url, store, backend=backend)
        await child.do("ask", now=still.now())
        visitor = await child.do("whose")
        if hangs_up:
            await child.do("hang_up")
        await child.do("do_without", what="no descriptors")
        still.advance(LIFETIME + 1)
        ended = await child.do("ask", now=still.now(), callers=50)
        assert ended.total() == 50
        assert set(ended) <= {*OURS, "404", "ConnectError"}, ended  # httpx's own is about the request to the API
        assert not hangs_up or "404" not in ended
        await child.do("have_again")
        await child.recovers(still.now())
        assert await child.do("whose") == visitor
    assert len(still.visitors) == len(still.token_calls("anonymous")) == 1
