"""The file of ``--reload-state``. Blocking."""

import json
import os
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from wixvisitor.testing._stand_in.state import check_format


class StateFile:
    """The state of a stand-in on disk. A ``with`` block locks it against a second stand-in.

    Concurrency: one call at a time.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(f"{path}.lock", thread_local=False)

    def __enter__(self) -> Self:
        """Locks the file.

        Raises:
            OSError: The file's directory does not exist, or cannot be written.
            ValueError: Another stand-in uses the file.

        """
        self.path.parent.stat()  # filelock would make the directory
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ValueError("another stand-in uses it") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def read(self) -> dict[str, Any] | None:
        """Returns the state, or None if there is no file.

        Raises:
            OSError: The file cannot be read.
            ValueError: It holds something else. It is left as it is.

        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            content = json.loads(data)
        except (ValueError, RecursionError):
            raise ValueError("it is no JSON (cut off?)") from None
        return check_format(content)

    def write(self, content: dict[str, Any]) -> None:
        """Replaces the file, atomically and durably: whenever the program dies, one complete state is on disk.

        Raises:
            OSError: It cannot be written. The old state remains.

        """
        text = json.dumps(content, separators=(",", ":"))  # five times as fast as json.dump
        descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.", suffix=".tmp")
        draft = Path(name)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(descriptor)
            _replace(draft, self.path)
        except BaseException:
            with suppress(OSError):
                draft.unlink()
            raise
        with suppress(OSError):  # not every system can do that, and the file is complete
            _sync(self.path.parent)


def _replace(draft: Path, path: Path) -> None:
    """Renames the draft. Windows refuses that while another program has the file open, so it is tried again there."""
    for pause in (0.01, 0.1, 0.5) if sys.platform == "win32" else ():
        with suppress(PermissionError):
            os.replace(draft, path)
            return
        time.sleep(pause)
    os.replace(draft, path)


def _sync(directory: Path) -> None:
    """Makes the directory's list of files durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
