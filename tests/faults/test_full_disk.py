"""A full disk under the file and SQLite stores: what was renewed lives in memory, and is saved when there is room.

Two kinds of it: a limit that lets no file of the process grow (EFBIG), and a file system without a free byte (ENOSPC).
"""

from __future__ import annotations

import sys

import pytest

from tests.constants import LIFETIME
from tests.faults.conftest import Open, Told
from wixvisitor.testing import FakeWix

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.faults,
    pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX limits"),
    pytest.mark.parametrize("how", ["limit", "small"]),
    pytest.mark.parametrize("store", ["file", "sqlite"]),
    pytest.mark.parametrize("backend", ["asyncio", "trio"]),
]


async def started(told: Open, url: str, store: str, how: str, backend: str) -> Told:
    """A process that has read its store, which is on a small disk or not."""
    child = await told(url, store, disk="small" if how == "small" else "", backend=backend)
    await child.do("open")
    return child


def missing(how: str) -> str:
    """What the process has to do without."""
    return "room" if how == "small" else "full disk"


async def restarted(child: Told, still: FakeWix) -> str:
    """Whose visitor the program has at its next start, which needs the store alone."""
    still.reset_calls()
    await child.do("restart")
    assert await child.do("ask", now=still.now()) == {"404": 1}
    assert not still.token_calls()
    return str(await child.do("whose"))


async def test_renewed_on_a_full_disk(still: FakeWix, told: Open, store: str, how: str, backend: str) -> None:
    """A renewal that cannot be saved serves everybody from memory; with room again the same session saves."""
    async with still.serve() as url:
        child = await started(told, url, store, how, backend)
        await child.do("ask", now=still.now())
        visitor = await child.do("whose")
        await child.do("do_without", what=missing(how))
        for _ in range(3):
            still.advance(LIFETIME + 1)
            assert await child.do("ask", now=still.now(), callers=20) == {"404": 20}
            assert await child.do("whose") == visitor
        await child.do("have_again")
        still.advance(LIFETIME + 1)
        assert await child.do("ask", now=still.now(), callers=20) == {"404": 20}
        assert await restarted(child, still) == visitor
    assert len(still.visitors) == 1


async def test_rotated_on_a_full_disk(still: FakeWix, told: Open, store: str, how: str, backend: str) -> None:
    """A new refresh token that replaces the only one is used by nobody before it is saved, and is not lost."""
    still.one_time_refresh_tokens = True
    async with still.serve() as url:
        child = await started(told, url, store, how, backend)
        await child.do("ask", now=still.now())
        before = await child.do("whose")
        still.advance(LIFETIME + 1)
        still.reset_calls()
        await child.do("do_without", what=missing(how))
        for _ in range(3):
            assert await child.do("ask", now=still.now(), callers=20) == {"StorageError": 20}
        assert len(still.token_calls()) == 1
        assert not still.api_calls()
        await child.do("have_again")
        assert await child.do("ask", now=still.now(), callers=20) == {"404": 20}
        after = await child.do("whose")
        assert after != before
        assert len(still.token_calls()) == 1
        assert await restarted(child, still) == after
    assert len(still.visitors) == 1


async def test_minted_on_a_full_disk(still: FakeWix, told: Open, store: str, how: str, backend: str) -> None:
    """A visitor that cannot be saved is used by nobody and kept; the first use after there is room saves it."""
    async with still.serve() as url:
        child = await started(told, url, store, how, backend)
        await child.do("do_without", what=missing(how))
        for _ in range(3):
            assert await child.do("ask", now=still.now(), callers=20) == {"StorageError": 20}
        assert not still.api_calls()
        assert len(still.visitors) <= 1
        await child.do("have_again")
        assert await child.do("ask", now=still.now(), callers=20) == {"404": 20}
        assert len(still.token_calls()) == 1
        assert await restarted(child, still) == await child.do("whose")
    assert len(still.visitors) == 1
