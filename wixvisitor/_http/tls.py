"""One TLS context for all clients that are made here: reading the certificates takes 25 ms and most of a MiB."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import httpx

from wixvisitor._tasks.locks import fork_safe_lock

if TYPE_CHECKING:
    import ssl

_Environment = tuple[str | None, str | None]

_lock = fork_safe_lock()
_made: tuple[_Environment, ssl.SSLContext] | None = None


def shared_context() -> ssl.SSLContext:
    """Returns the process's context, as httpx makes it; another one if the environment names other certificates now.

    Raises:
        OSError: the certificates cannot be read. The next call tries again.

    Concurrency: safe from many threads and event loops, which share it.
    """
    global _made  # noqa: PLW0603 - there is one for each process
    environment = (os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    made = _made
    if made is not None and made[0] == environment:
        return made[1]
    with _lock:
        if _made is None or _made[0] != environment:
            _made = (environment, httpx.create_ssl_context())
        return _made[1]
