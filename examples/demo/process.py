"""The demo's hold on another process: starts it, tells it what to do, and makes sure that it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import anyio
import attrs
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from examples.demo.facts import LIFE, Facts, LifeFailed, Setting, facts_of, to_line

_PATIENCE: Final = 60.0  # seconds for one command; the session gives up earlier, and says why
_LONGEST: Final = 1 << 20  # bytes of one reply


@attrs.define
class LifeProcess:
    """A visitor's process.

    Concurrency: one command at a time.
    """

    process: Process
    _replies: BufferedByteReceiveStream

    @property
    def pid(self) -> int:
        """Its number."""
        return self.process.pid

    async def obey(self, do: str, **details: Any) -> Facts:
        """Returns what the process saw while it did this.

        Raises:
            LifeFailed: it could not do it, or is no more.

        """
        assert self.process.stdin is not None
        try:
            with anyio.fail_after(_PATIENCE):
                with suppress(anyio.BrokenResourceError):  # it has ended, and may have said something before
                    await self.process.stdin.send(to_line({"do": do, **details}).encode())
                reply = await self._replies.receive_until(b"\n", _LONGEST)
        except (anyio.BrokenResourceError, anyio.EndOfStream, anyio.IncompleteRead):
            raise LifeFailed(f"process {self.pid} ended while it should {do}") from None
        except TimeoutError:
            raise LifeFailed(f"process {self.pid} did not {do} within {_PATIENCE:g} s") from None
        try:
            return facts_of(json.loads(reply))
        except ValueError:
            raise LifeFailed(f"process {self.pid} answered with no facts") from None

    async def kill(self) -> int:
        """Ends the process from outside, without a chance to tidy up, and returns its exit status."""
        self.process.kill()
        return await self.process.wait()


@asynccontextmanager
async def living(setting: Setting) -> AsyncIterator[LifeProcess]:
    """Starts a process for the visitor of this setting; at the end there is none.

    Cancellation: the process is killed.
    """
    command = [sys.executable, "-m", LIFE, json.dumps(attrs.asdict(setting))]
    # A session of its own, on Windows a group: Ctrl-C is the demo's, and the demo ends its processes.
    group = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
    async with await anyio.open_process(
        command, stderr=None, env=_environment(setting), start_new_session=True, creationflags=group
    ) as process:
        assert process.stdout is not None
        yield LifeProcess(process, BufferedByteReceiveStream(process.stdout))


def _environment(setting: Setting) -> dict[str, str]:
    """Returns ours, but for proxies, which must not stand between the process and this machine."""
    if not setting.base_url.startswith("http://"):
        return dict(os.environ)
    return {**os.environ, "no_proxy": "127.0.0.1,localhost", "NO_PROXY": "127.0.0.1,localhost"}
