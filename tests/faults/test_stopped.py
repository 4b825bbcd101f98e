"""A process that is stopped amid a renewal, and goes on later."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import anyio
import pytest

from tests.constants import CLIENT_ID
from wixvisitor.testing import FakeWix

pytestmark = [pytest.mark.anyio, pytest.mark.faults, pytest.mark.skipif(sys.platform == "win32", reason="no SIGSTOP")]

PROGRAM = """
import sys, anyio
from wixvisitor import VisitorSession
async def main():
    session = VisitorSession(sys.argv[1], base_url=sys.argv[2], renew_timeout=2.0)
    await session.generate_visitor_tokens()
    print((await session.renew_token()).refresh_token.value[:3])
    await session.aclose()
anyio.run(main, backend=sys.argv[3])
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("answers", [True, False])
async def test_stopped_amid_a_renewal(backend: str, *, answers: bool) -> None:
    """Stopped for longer than a renewal may take, it has its token afterwards, whether or not the answer came."""
    fake, root = FakeWix(), Path(__file__).parents[2]
    gate = fake.hold(path="/oauth2/token", grant_type="refresh_token", times=1)
    async with fake.serve() as url:
        command = [sys.executable, "-c", PROGRAM, CLIENT_ID, url, backend]
        async with await anyio.open_process(command, env={**os.environ, "PYTHONPATH": str(root)}) as process:
            with anyio.fail_after(30):
                await gate.wait_for(1)
                process.send_signal(signal.SIGSTOP)
                if answers:
                    gate.release()
                await anyio.sleep(4.5)
                began = time.monotonic()
                process.send_signal(signal.SIGCONT)
                assert await process.wait() == 0
        assert time.monotonic() - began < 5.0
        gate.release()
    assert len(fake.token_calls("refresh_token")) == (1 if answers else 2)
    assert len(fake.visitors) == 1
