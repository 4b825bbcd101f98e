"""An event loop that is blocked for seconds, longer than a renewal may take and than its lease lasts."""

from __future__ import annotations

import pytest

from tests.constants import LIFETIME
from tests.faults.conftest import Open
from tests.faults.truth import used
from wixvisitor.testing import FakeWix

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.faults,
    pytest.mark.parametrize(
        ("store", "backend"), [("file", "asyncio"), ("file", "trio"), ("sqlite", "trio"), ("redis", "asyncio")]
    ),
]

BLOCKED = 2.5  # seconds
TIMEOUT = 1.5  # seconds of ``renew_timeout``; the lease ends after a third of them


@pytest.mark.parametrize("cold", [True, False], ids=["mint", "renewal"])
async def test_blocked_while_wix_answers(still: FakeWix, told: Open, store: str, backend: str, *, cold: bool) -> None:
    """Whoever waits in the blocked loop has a token or a typed error afterwards; others have not waited for it."""
    async with still.serve() as url:
        blocked, other = [await told(url, store, backend=backend, renew_timeout=TIMEOUT) for _ in range(2)]
        if not cold:
            await blocked.do("ask", now=still.now())
            still.advance(LIFETIME + 1)
        still.delay(0.3, times=None)
        blocked.tell("ask", now=still.now(), callers=50, block=BLOCKED)
        assert await other.do("ask", now=still.now(), callers=50) == {"404": 50}
        visitor = await other.do("whose")
        ended = await blocked.hear()
        assert ended.total() == 50
        assert set(ended) <= {"404", "TokenRequestError", "StorageError"}  # Valkey's client has run out of time as well
        await blocked.recovers(still.now())
        assert await blocked.do("whose") == visitor
    assert len(used(still)) == 1
    assert cold or len(still.visitors) == 1
