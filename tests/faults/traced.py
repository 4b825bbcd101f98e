"""Tells the model of a disk what another program does, as strace saw it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import wixvisitor
from tests.faults.disk import Disk

CALLS: Final = (
    "openat,mkdir,mkdirat,write,pwrite64,ftruncate,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,close"
)
_LINE: Final = re.compile(r"(?:\d+ +)?(\w+)\((.*)\) += (-?\d+)")
_TEXT: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_DESCRIPTOR: Final = re.compile(r"^\d+<([^>]*)>")


def can_trace() -> bool:
    """Whether strace is there and may look at a process."""
    strace = shutil.which("strace")
    return bool(strace) and subprocess.run([strace, "-o", os.devnull, "true"], capture_output=True).returncode == 0


def trace(program: str, disk: Disk, log: Path, *arguments: object) -> None:
    """Runs the program, which says ``begins <value>`` and ``has <value>`` on its output."""
    command = ["strace", "-f", "-y", "-xx", "-s", "1000000", "-o", str(log), "-e", f"trace={CALLS}"]
    environment = {**os.environ, "PYTHONPATH": str(Path(wixvisitor.__file__).parents[1])}
    result = subprocess.run(
        [*command, sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        env=environment,
    )
    assert result.returncode == 0, result.stderr
    begun: dict[str, str] = {}
    for line in log.read_text("utf-8").splitlines():
        thread = line.split(" ", 1)[0]
        if line.endswith("<unfinished ...>"):
            begun[thread] = line.removesuffix("<unfinished ...>")
            continue
        whole = re.sub(r"^\d+ +<\.\.\. \w+ resumed> ?", lambda _, thread=thread: begun.pop(thread), line)
        found = _LINE.match(whole)
        if found and not found[3].startswith("-"):
            _tell(disk, found[1], found[2], int(found[3]))


def _tell(disk: Disk, call: str, arguments: str, result: int) -> None:
    texts = [bytes.fromhex(text.replace("\\x", "")) for text in _TEXT.findall(arguments)]
    paths = [Path(os.fsdecode(text)) for text in texts]
    descriptor = _DESCRIPTOR.match(arguments)
    opened = Path(os.fsdecode(_plain(descriptor[1]))) if descriptor else Path()
    match call:
        case "openat" if "O_CREAT" in arguments:
            disk.make(paths[0])
        case "mkdir" | "mkdirat":
            disk.make(paths[0])
        case "write" if texts[0].startswith((b"begins ", b"has ")):
            disk.say(*texts[0].decode().split())
        case "pwrite64":
            disk.write(opened, int(arguments.rsplit(", ", 1)[1]), texts[0][:result])
        case "ftruncate":
            disk.cut(opened, int(arguments.rsplit(", ", 1)[1]))
        case "fsync" | "fdatasync":
            disk.sync(opened)
        case "rename" | "renameat" | "renameat2":
            disk.rename(*paths)
        case "unlink" | "unlinkat":
            disk.remove(paths[0])
        case _:
            pass


def _plain(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", "")) if "\\x" in text else os.fsencode(text)
