"""One TLS context for all of our own clients: reading the certificates takes 25 ms and nearly a MiB."""

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
    """Returns the process's TLS context, made as httpx makes it.

    If ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` has changed since, it is a new context.

    Raises:
        OSError: the certificates cannot be read. The next call tries again.

    Concurrency: safe from many threads and event loops. All of them share the context.
    """
    global _made  # noqa: PLW0603 - one context for the process
    environment = (os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    made = _made
    if made is not None and made[0] == environment:
        return made[1]
    with _lock:
        if _made is None or _made[0] != environment:
            _made = (environment, httpx.create_ssl_context())
        return _made[1]
