"""What a process may run out of: room on its disk, descriptors, rights, and time for its own code."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import random
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Final

with suppress(ImportError):
    import resource  # on POSIX only

_FEW: Final = 256  # descriptors
_NEW_NAMESPACES: Final = {"user": 0x10000000, "mount": 0x20000}  # CLONE_NEWUSER and CLONE_NEWNS of Linux

_PRIVATE: Final = 0x44000  # MS_REC | MS_PRIVATE: what is mounted is seen in no other namespace


class CannotError(Exception):
    """A machine does not let a process do what was asked; the text is the reason."""


@contextmanager
def full_disk() -> Iterator[None]:
    """No file grows: whatever is written ends with EFBIG. Needs no rights, and concerns this process only."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # Python ignores the signal that goes with it
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Nothing can be opened any more: files have been, until EMFILE."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FEW, hard))
    with contextlib.ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        with suppress(OSError):
            while True:
                stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        yield


SCARCE: Final[dict[str, Callable[[], AbstractContextManager[None]]]] = {
    "full disk": full_disk,
    "no descriptors": no_descriptors,
}


@contextmanager
def filled(place: Path) -> Iterator[None]:
    """The file system of this directory has no room any more, to the last byte: ENOSPC."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def read_only(place: Path) -> Iterator[None]:
    """Nothing can be made, renamed or removed in this directory."""
    place.chmod(0o500)
    try:
        yield
    finally:
        place.chmod(0o700)


def mount_small(place: Path, size: str = "256k") -> None:
    """Puts a file system of this size there, for this process alone. It may have one thread only.

    Raises:
        CannotError: this is not Linux, or it is not allowed.
    """
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        _unshare("mount")
    else:  # whoever is nobody's root may be that of a namespace
        _unshare("user", "mount")
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            Path("/proc/self", name).write_text(text, "utf-8")
    mount = ctypes.CDLL(None, use_errno=True).mount
    if mount(b"none", b"/", None, _PRIVATE, None) or mount(
        b"none", os.fsencode(place), b"tmpfs", 0, f"size={size}".encode()
    ):
        raise CannotError(f"no file system can be mounted: {os.strerror(ctypes.get_errno())}")


def obey_permissions(place: Path) -> None:
    """Has the permissions of files bind this process, also if it is root's. It may have one thread only.

    Raises:
        CannotError: they do not.
    """
    if os.geteuid() == 0:
        _unshare("user")  # in a namespace that maps nobody, the owner of a file is its owner and nothing more
    with read_only(place):
        try:
            (place / "probe").touch()
        except PermissionError:
            return
    raise CannotError("permissions do not bind this process")


def _unshare(*names: str) -> None:
    if sys.platform != "linux":
        raise CannotError("namespaces are Linux's")
    if ctypes.CDLL(None, use_errno=True).unshare(sum(_NEW_NAMESPACES[name] for name in names)):
        raise CannotError(f"no namespace of our own: {os.strerror(ctypes.get_errno())}")


def descriptors() -> int:
    """Returns how many are open in this process; the one that counts them is among them."""
    return len(os.listdir("/dev/fd"))  # noqa: PTH208 - the names are counted, not used


def sockets() -> int:
    """Returns how many sockets are open in this process."""
    found = 0
    for name in os.listdir("/dev/fd"):  # noqa: PTH208 - no files
        with suppress(OSError):
            found += stat.S_ISSOCK(os.fstat(int(name)).st_mode)
    return found


@contextmanager
def collecting(seed: int = 0) -> Iterator[None]:
    """Garbage is collected all the time, in a thread of its own; what was there before is left out, to be quick."""
    over, chance = threading.Event(), random.Random(seed)

    def collect() -> None:
        while not over.wait(chance.uniform(0.0, 0.04)):
            gc.collect(chance.choices((0, 1, 2), (60, 35, 5))[0])

    gc.collect()
    gc.freeze()
    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        gc.unfreeze()
