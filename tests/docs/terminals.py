"""Terminals that a page types into."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

_DONE = "-- done --"


class Terminal:
    """A shell that runs as long as the page.

    Args:
        folder: where it begins.
        log: the file that gets its output.
        environment: its variables.
        serves: whether its last command is a server, which Ctrl-C ends.
    """

    def __init__(self, folder: Path, log: Path, environment: Mapping[str, str], *, serves: bool) -> None:
        self.serves, self._log, self._since = serves, log, 0
        self._is_serving = False
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                ["bash", "--noprofile", "--norc"],
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._type("trap : INT" if serves else "set -e")  # the shell outlives a Ctrl-C; or ends with a failure

    def run(self, code: str) -> None:
        """Runs the commands, to their end if they have one."""
        if self._is_serving:
            self.interrupt()
        self._since = self._log.stat().st_size
        self._type(code)
        self._is_serving = self.serves
        if not self.serves:
            self._wait_until_done()

    def interrupt(self) -> None:
        """Presses Ctrl-C, and waits until the shell is ready again."""
        os.killpg(self.process.pid, signal.SIGINT)
        self._wait_until_done()

    def output(self) -> str:
        """Returns what was printed since the last block. A character may be half written yet."""
        return self._log.read_bytes()[self._since :].decode(errors="replace").replace(_DONE, "")

    def kill(self) -> None:
        """Ends the shell, and what runs in it."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # what was typed and never read
            self.process.stdin.close()

    def _type(self, code: str) -> None:
        """Types it. If the shell has ended, who waits for the output says so."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(f"{code}\n".encode())
            self.process.stdin.flush()

    def _wait_until_done(self) -> None:
        start = self._log.stat().st_size if self.serves else self._since
        self._type(f"echo {_DONE}")
        end = time.monotonic() + 600  # pip may have much to load
        while _DONE.encode() not in self._log.read_bytes()[start:]:
            assert self.process.poll() is None, f"a command failed:\n{self.output()}"
            assert time.monotonic() < end, f"a command does not end:\n{self.output()}"
            time.sleep(0.02)
