"""A directory in which nothing can be written any more, under the file and SQLite stores.

Also if the tests are root's: the process gives up what root may, so that permissions bind it.
"""

from __future__ import annotations

import sys

import pytest

from tests.constants import LIFETIME
from tests.faults.conftest import Open
from wixvisitor.testing import FakeWix

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.faults,
    pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX permissions"),
    pytest.mark.parametrize("store", ["file", "sqlite"]),
    pytest.mark.parametrize("backend", ["asyncio", "trio"]),
]


async def test_nowhere_to_begin(still: FakeWix, told: Open, store: str, backend: str) -> None:
    """Where no store can be made, callers are told so and Wix is not asked; once it can be, the session works."""
    async with still.serve() as url:
        child = await told(url, store, disk="bound", backend=backend)
        await child.do("do_without", what="rights")
        for _ in range(3):
            assert await child.do("ask", now=still.now(), callers=20) == {"StorageError": 20}
        assert not still.api_calls()
        assert len(still.visitors) <= 1
        await child.do("have_again")
        assert await child.do("ask", now=still.now(), callers=20) == {"404": 20}
        visitor = await child.do("whose")
        await child.do("restart")
        assert await child.do("ask", now=still.now()) == {"404": 1}
        assert await child.do("whose") == visitor
    assert len(still.visitors) == len(still.token_calls()) == 1


async def test_read_only_at_expiry(still: FakeWix, told: Open, store: str, backend: str) -> None:
    """A renewal that cannot be saved serves everybody all the same, and neither it nor a restart costs the visitor."""
    async with still.serve() as url:
        child = await told(url, store, disk="bound", backend=backend)
        await child.do("ask", now=still.now())
        visitor = await child.do("whose")
        await child.do("do_without", what="rights")
        for _ in range(3):
            still.advance(LIFETIME + 1)
            assert await child.do("ask", now=still.now(), callers=20) == {"404": 20}
            assert await child.do("whose") == visitor
        await child.do("restart")
        # The file's record can be read; SQLite cannot open a log where it cannot make the files beside it.
        ended = await child.do("ask", now=still.now(), callers=20)
        assert ended in ({"404": 20}, {"StorageError": 20}), ended
        await child.do("have_again")
        assert await child.do("ask", now=still.now(), callers=20) == {"404": 20}
        assert await child.do("whose") == visitor
    assert len(still.visitors) == 1
